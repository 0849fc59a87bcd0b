"""Networks that find or describe points: their options, published files, order, and levels of the pyramid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.config.point_networks import R2D2Model
from descbench.errors import DataError
from descbench.models.backends import use_backend
from descbench.models.checkpoints import build_network, convert_checkpoint, load_network
from descbench.models.hndesc import read_nearest
from descbench.models.points import best_first, normalise_places, sample_map
from descbench.models.r2d2 import R2D2, Pyramid
from descbench.models.superpoint import SuperPoint, suppress
from descbench.models.torchvision_cpu import models

RANDOM = {"source": "random", "seed": 3}
R2D2_BLOCK = {"architecture": "r2d2", "mchan": 1, "min_size": 0, "min_scale": 0.5, "weights": RANDOM}
SUPERPOINT = {"architecture": "superpoint", "weights": RANDOM}


def block(values):
    return TypeAdapter(Model).validate_python(values)


def network(folder, values):
    model = block(values)
    convert_checkpoint(model, None, folder / "net.pt")
    return load_network(folder / "net.pt", model)


def picture(channels, height=72, width=100, seed=0):
    rough = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, channels, height // 4, width // 4)))
    return torch.nn.functional.interpolate(rough.float(), (height, width), mode="bicubic") * 2


def found(folder, values, most=None):
    made = network(folder, values)
    with torch.inference_mode():
        return made.find_points(picture(made.channels), most)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (SUPERPOINT, "nms_radius", 9),
        (SUPERPOINT, "keypoint_threshold", 0.02),
        (SUPERPOINT, "remove_borders", 20),
        (SUPERPOINT, "sampling", "edges"),
        (SUPERPOINT, "sampling", "swapped"),
        (R2D2_BLOCK, "mchan", 2),
        (R2D2_BLOCK, "min_size", 80),
        (R2D2_BLOCK, "max_size", 90),
        (R2D2_BLOCK, "min_scale", 0.9),
        (R2D2_BLOCK, "max_scale", 0.9),
        (R2D2_BLOCK, "scale_factor", 1.5),
        (R2D2_BLOCK, "reliability", 0.9),
        (R2D2_BLOCK, "repeatability", 0.8),
    ],
)
def test_an_option_changes_what_is_found(kind, key, value, tmp_path):
    before, after = found(tmp_path, kind), found(tmp_path, {**kind, key: value})
    assert len(before.points) > 20
    same = before.points.shape == after.points.shape and torch.equal(before.descriptors, after.descriptors)
    assert not same
    if key not in ("nms_radius", "mchan", "sampling", "scale_factor"):  # fewer points are the same points
        kept = {tuple(point) for point in after.points.tolist()}
        assert kept < {tuple(point) for point in before.points.tolist()}
    if key == "sampling":
        assert torch.equal(before.points, after.points)


def test_the_backbone(tmp_path):
    shapes = {}
    for backbone in ("caps", "r2d2"):
        made = network(tmp_path, {"architecture": "hndesc", "backbone": backbone, "weights": RANDOM})
        with torch.inference_mode():
            shapes[backbone] = made.level(picture(3))[0].shape
            points = torch.tensor([[0.0, 0.0], [50.5, 30.25], [99.0, 71.0]])
            descriptors = made.describe_points(picture(3), points)
        torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(3))
        with pytest.raises(TypeError, match="finds no points"):
            made.find_points(picture(3))
    assert shapes == {"caps": (1, 128, 20, 28), "r2d2": (1, 128, 72, 100)}


def test_the_channels_of_a_backbone():
    """Eight, sixteen and 32 times as many, the descriptor's too; only backbone r2d2 is counted so."""
    for mchan in (1, 4):
        made = build_network(block({"architecture": "hndesc", "backbone": "r2d2", "mchan": mchan, "weights": RANDOM}))
        layers = [module for module in made.ops if isinstance(module, torch.nn.Conv2d)]
        assert [layer.out_channels // mchan for layer in layers] == [8, 8, 16, 16, 32, 32, 32, 32, 32]
        with torch.inference_mode():
            assert made.describe_points(picture(3), torch.tensor([[9.0, 7.0]])).shape == (1, 32 * mchan)
        assert made.dim == 32 * mchan
    other = block({"architecture": "hndesc", "mchan": 2, "weights": RANDOM})
    assert [path for path, _ in other.fits("net", None)] == [("mchan",)]


@pytest.mark.parametrize("kind", [SUPERPOINT, R2D2_BLOCK], ids=["superpoint", "r2d2"])
def test_the_best_points_are_those_of_all(kind, tmp_path):
    every, few = found(tmp_path, kind), found(tmp_path, kind, 7)
    order = best_first(every.scores, 7)
    assert torch.equal(few.points, every.points[order])
    assert torch.equal(few.descriptors, every.descriptors[order])
    torch.testing.assert_close(every.descriptors.norm(dim=1), torch.ones(len(every.points)))


def test_equal_scores_keep_their_order():
    scores = torch.tensor([0.5, 0.75, 0.5, 0.75] * 50)
    assert best_first(scores, 102).tolist() == [*range(1, 200, 2), 0, 2]
    heatmap = torch.zeros(40, 40)
    heatmap[5:35:6, 5:35:6] = 0.25
    points, _ = SuperPoint().select(suppress(heatmap, 2), 3)
    assert points.tolist() == [[5, 5], [11, 5], [17, 5]]


def test_suppression_looks_again_beside_what_was_suppressed():
    """A ridge: 9 suppresses 8, and 7 beyond it is highest among what is left."""
    heatmap = torch.zeros(5, 9)
    heatmap[2, 1:8] = torch.tensor([9.0, 8.0, 7.5, 7.0, 6.5, 6.0, 5.5])
    assert suppress(heatmap, 1)[2].tolist() == [0, 9, 0, 7.5, 0, 6.5, 0, 0, 0]


@pytest.mark.parametrize(
    ("pyramid", "size", "expected"),
    [
        (Pyramid(), (100, 257), [(100, 257)]),
        (Pyramid(), (100, 255), []),
        (Pyramid(), (2048, 1024), [(1024, 512), (861, 431), (724, 362), (609, 304), (512, 256), (431, 215)]),
        (Pyramid(0, 9999, 0.5), (100, 80), [(100, 80), (84, 67), (71, 57), (59, 48), (50, 40)]),
        (Pyramid(0, 9999, 0.5, 0.8, 2.0), (100, 80), [(50, 40)]),
        (Pyramid(0, 9999, 0.0, 1.0, 2.0), (9, 4), [(9, 4), (4, 2), (2, 1)]),
    ],
)
def test_levels_of_a_pyramid(pyramid, size, expected):
    seen = [(height, width) for _, height, width, seen in pyramid.sizes(*size) if seen]
    assert seen[: len(expected)] == expected
    assert not expected or len(seen) == len(expected) or size == (2048, 1024)


def test_points_of_levels_lie_in_the_image(tmp_path):
    points = found(tmp_path, R2D2_BLOCK)
    sizes = sorted(set(points.sizes.tolist()))
    np.testing.assert_allclose(sizes, [32 * 2 ** (level / 4) for level in range(5)], rtol=1e-6)
    assert (points.points >= 0).all()
    assert (points.points < torch.tensor([100.0, 72.0])).all()
    whole = points.points[points.sizes == 32]
    assert torch.equal(whole, whole.round())
    assert torch.equal(points.scores, points.scores.sort(descending=True).values)


def test_an_image_without_levels_has_no_points():
    nothing = R2D2(1).find_points(torch.zeros(1, 3, 40, 60))
    assert nothing.points.shape == (0, 2)
    assert nothing.descriptors.shape == (0, 128)


def test_places_and_maps():
    places = normalise_places(torch.tensor([[0.0, 0.0], [9.0, 4.0], [4.5, 2.0]]), (5, 10))
    assert places.tolist() == [[-1, -1], [1, 1], [0, 0]]
    dense = torch.arange(1.0, 7.0).reshape(1, 1, 2, 3).repeat(1, 2, 1, 1)
    dense[0, 1] = 1
    read = sample_map(dense, torch.tensor([[-1.0, -1.0], [3.0, 0.0]]), align_corners=True)
    torch.testing.assert_close(read, torch.tensor([[0.5, 0.5], [0.0, 0.0]]).sqrt())
    nearest = read_nearest(dense, torch.tensor([[1.5, 0.5], [0.5, 0.4]]))
    torch.testing.assert_close(nearest[:, 0] / nearest[:, 1], torch.tensor([3.0, 1.0]))


# --- published files ---------------------------------------------------------------------------


def official(values, content, folder):
    torch.save(content, folder / "weights.pth")
    model = block({**values, "weights": {"source": "official", "file": "weights.pth"}})
    convert_checkpoint(model, folder / "weights.pth", folder / "net.pt")
    return load_network(folder / "net.pt", model)


def test_r2d2_of_its_authors(tmp_path):
    state = build_network(R2D2Model(architecture="r2d2", mchan=6, weights=RANDOM)).state_dict()
    prefixed = {f"module.{key}": value for key, value in state.items()}
    values = {"architecture": "r2d2", "mchan": 6}
    read = official(values, {"net": "Quad_L2Net_ConfCFS(mchan=6)", "state_dict": prefixed}, tmp_path)
    assert torch.equal(read.ops[0].weight, state["ops.0.weight"])
    for named in ("Quad_L2Net_ConfCFS()", "__import__('os').abort()", None):
        content = {"net": named, "state_dict": prefixed}
        with pytest.raises(DataError, match=r"weights\.pth: its network is .* asks for Quad_L2Net_ConfCFS\(mchan=6\)"):
            official(values, content, tmp_path)
    with pytest.raises(DataError, match="no dictionary of tensors"):
        official(values, {"net": "Quad_L2Net_ConfCFS(mchan=6)"}, tmp_path)


def test_superpoint_and_hndesc_of_their_authors(tmp_path):
    state = SuperPoint().state_dict()
    for content in (state, {"state_dict": state}):
        assert torch.equal(
            official({"architecture": "superpoint"}, content, tmp_path).convDb.bias, state["convDb.bias"]
        )
    values = {"architecture": "hndesc", "backbone": "r2d2"}
    state = build_network(block({**values, "weights": RANDOM})).state_dict()
    content = {"step": 3, "state_dict": state, "optimizer": {"state": {}}, "val_loss": 0.5}
    assert torch.equal(official(values, content, tmp_path).ops[22].bias, state["ops.22.bias"])
    with pytest.raises(DataError, match="weights of another architecture"):
        official({"architecture": "hndesc"}, content, tmp_path)


def test_a_start_of_imagenet(tmp_path):
    resnet = models.resnet50(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "resnet50.pth")
    model = block({"architecture": "hndesc", "weights": {"source": "imagenet", "file": "resnet50.pth"}})
    convert_checkpoint(model, tmp_path / "resnet50.pth", tmp_path / "net.pt")
    made = load_network(tmp_path / "net.pt", model)
    assert torch.equal(made.firstconv.weight, resnet.conv1.weight)
    assert torch.equal(made.layer3[5].bn3.bias, resnet.layer3[5].bn3.bias)
    other = block({"architecture": "hndesc", "backbone": "r2d2", "weights": {"source": "imagenet", "file": "x.pth"}})
    assert [path for path, _ in other.fits("net", None)] == [("weights", "source")]


@pytest.mark.parametrize("limits", [{"min_size": 2000}, {"min_scale": 0.5, "max_scale": 0.3}])
def test_a_pyramid_without_levels_is_refused(limits):
    with pytest.raises(ValueError, match="the smaller limit comes first"):
        R2D2Model(architecture="r2d2", weights=RANDOM, **limits)


@pytest.mark.parametrize("backend", ["winograd", "onnxruntime"])
@pytest.mark.parametrize(
    "kind",
    [
        SUPERPOINT,
        R2D2_BLOCK,
        {"architecture": "hndesc", "weights": RANDOM},
        {"architecture": "hndesc", "backbone": "r2d2", "weights": RANDOM},
    ],
    ids=["superpoint", "r2d2", "hndesc_caps", "hndesc_r2d2"],
)
def test_backends_give_the_same_maps(kind, backend, tmp_path):
    if backend == "onnxruntime":
        pytest.importorskip("onnxruntime")
    made = network(tmp_path, kind)
    image = picture(made.channels, 75, 101)
    with torch.inference_mode():
        expected = made.level(image)
        use_backend(made, backend)
        for theirs, ours in zip(made.run_level(image), expected, strict=True):
            torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
