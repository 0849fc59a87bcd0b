"""DISK, ALIKED, DeDoDe and CAPS: what they give is kornia's or CAPS' own; published files, options, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError

from descbench.config.networks import Model
from descbench.models.caps import Caps
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.hndesc import HNDescCaps
from descbench.models.initial import reset_parameters
from descbench.models.kornia_features import kornia_features
from descbench.models.kornia_points import Aliked, DedodeDescriptor, DedodeDetector, Disk
from descbench.models.levels import ImageTooSmallError
from descbench.models.points import normalise_places

RANDOM = {"source": "random", "seed": 3}
OFFICIAL = {"source": "official", "file": "w.pth"}


def block(architecture: str, weights=RANDOM, **options):
    return TypeAdapter(Model).validate_python({"architecture": architecture, "weights": weights, **options})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoints of random networks, made when first asked for."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def get(architecture: str, **options) -> Path:
        path = folder / f"{architecture}-{'-'.join(map(str, options.values()))}.pt"
        if not path.exists():
            convert_checkpoint(block(architecture, **options), None, path)
        return path

    return get


def network(checkpoints, architecture: str, **options):
    return prepare_for_inference(load_network(checkpoints(architecture, **options), block(architecture, **options)))


def picture(height: int = 72, width: int = 100, seed: int = 0) -> torch.Tensor:
    rough = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, (height, width), mode="bicubic").clamp(0, 1)


POINTS = torch.tensor([[0.0, 0.0], [50.5, 30.25], [99.0, 71.0]])


@pytest.mark.parametrize(("architecture", "dim"), [("disk", 128), ("aliked", 128)])
@torch.inference_mode()
def test_points_and_their_descriptors(checkpoints, architecture, dim):
    """The best are the best of all, and descriptors read at their places are those that came with them."""
    made = network(checkpoints, architecture)
    every, few = made.find_points(picture()), made.find_points(picture(), 9)
    assert len(every.points) > 20
    assert every.descriptors.shape[1] == made.dim == dim
    assert every.scores.tolist() == sorted(every.scores.tolist(), reverse=True)
    assert torch.equal(few.points, every.points[:9])
    torch.testing.assert_close(made.describe_points(picture(), few.points), few.descriptors, atol=1e-4, rtol=0)
    torch.testing.assert_close(made.describe_points(picture(), POINTS).norm(dim=1), torch.ones(3))
    assert made.describe_points(picture(), POINTS[:0]).shape == (0, dim)


@pytest.mark.parametrize(
    ("architecture", "key", "value"),
    [
        ("disk", "window", 9),
        ("disk", "keypoint_threshold", None),
        ("aliked", "variant", "t16"),
        ("aliked", "nms_radius", 4),
        ("aliked", "keypoint_threshold", None),
    ],
)
@torch.inference_mode()
def test_an_option_changes_what_is_found(checkpoints, architecture, key, value):
    before = network(checkpoints, architecture).find_points(picture())
    value = float(before.scores.median()) if value is None else value
    after = network(checkpoints, architecture, **{key: value}).find_points(picture())
    assert len(after.points)
    if key == "variant":
        assert (before.descriptors.shape[1], after.descriptors.shape[1]) == (128, 64)
    else:
        assert len(after.points) < len(before.points)


@torch.inference_mode()
def test_dedode_is_that_of_kornia():
    """Sides that are no multiples of 14; points at the middles of pixels."""
    torch.manual_seed(0)
    whole = kornia_features().DeDoDe("L", "B", torch.float32).eval()
    image = picture(45, 60)
    keypoints, scores, descriptions = whole(image, n=30)
    normalised = whole.normalizer(image)
    # Building them anew takes seconds.
    detector, descriptor = whole.detector, whole.descriptor
    detector.__class__, descriptor.__class__ = DedodeDetector, DedodeDescriptor
    found = detector.find_points(normalised, 30)
    torch.testing.assert_close(found.points, keypoints[0] - 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.scores, scores[0])
    assert found.descriptors is None
    described = descriptor.describe_points(normalised, found.points)
    torch.testing.assert_close(described, F.normalize(descriptions[0], dim=1), atol=1e-4, rtol=0)
    assert len(detector.find_points(normalised).points) == 45 * 60


@pytest.mark.parametrize("architecture", ["disk", "aliked", "caps"])
@torch.inference_mode()
def test_published_files(checkpoints, tmp_path, architecture):
    """Weights as they are published, which lack what is not a weight, give the same network."""
    made = load_network(checkpoints(architecture), block(architecture)).eval()
    state = {key: value for key, value in made.state_dict().items() if not key.startswith("dkd.")}
    content = {
        "disk": {"extractor": state, "epoch": 3},
        "aliked": state,
        "caps": {"state_dict": {f"net.{key}": value for key, value in state.items()}},
    }[architecture]
    torch.save(content, tmp_path / "w.pth")
    official = block(architecture, OFFICIAL)
    convert_checkpoint(official, tmp_path / "w.pth", tmp_path / "ours.pt")
    again = load_network(tmp_path / "ours.pt", official).eval()
    torch.testing.assert_close(again.describe_points(picture(), POINTS), made.describe_points(picture(), POINTS))


@torch.inference_mode()
def test_caps_has_statistics_of_the_very_image(checkpoints):
    """As a network that was never put into eval mode; its coarse and fine maps are read and joined, then scaled."""
    image = picture()
    state = torch.load(checkpoints("caps"), weights_only=True)["state_dict"]
    plain = HNDescCaps()
    plain.load_state_dict(state)
    expected = {}
    for statistics in ("image", "training"):
        places = normalise_places(POINTS, (72, 100))[None, None]
        maps = plain.train(statistics == "image").maps(image, coarse=True)
        assert [tuple(dense.shape[1:]) for dense in maps] == [(128, 5, 7), (128, 20, 28)]
        read = torch.cat([F.grid_sample(dense, places, align_corners=False)[0, :, 0] for dense in maps])
        expected[statistics] = F.normalize(read.t(), dim=1)
        plain.load_state_dict(state)  # without the statistics that it counted
        made = network(checkpoints, "caps", statistics=statistics)
        torch.testing.assert_close(made.describe_points(image, POINTS), expected[statistics], atol=1e-4, rtol=0)
    assert (expected["image"] - expected["training"]).abs().max() > 0.01


@pytest.mark.parametrize("make", [Disk, Aliked, Caps])
def test_small_images_are_refused(make):
    made = make()
    small = torch.zeros(1, 3, 31, 64)
    with torch.inference_mode(), pytest.raises(ImageTooSmallError, match="64 x 31 pixels, the network needs 32"):
        made.describe_points(small, POINTS) if make is Caps else made.find_points(small)


def test_an_even_window_is_refused():
    with pytest.raises(ValidationError, match="window 4: an even window has no middle"):
        block("disk", window=4)


def test_weights_of_no_layer_are_drawn_too():
    one, other = Aliked("t16"), Aliked("t16")
    for made in (one, other):
        torch.manual_seed(1)
        reset_parameters(made)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
