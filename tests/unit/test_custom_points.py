"""Networks of points of one's own: what they may give, what is made of it, and what is said of each fault."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from own_points import MODULE
from PIL import Image
from pydantic import TypeAdapter
from torch import nn

import descbench
from descbench.cli import main
from descbench.config.custom_contracts import PointContract
from descbench.config.keypoint_features import KeypointFeatures
from descbench.config.load import load_config
from descbench.config.networks import CustomModel, Model
from descbench.custom_modules import import_callable
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.errors import ConfigError, DataError
from descbench.features.extract import extract_features
from descbench.features.extractor import Network
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardReader
from descbench.lineage import Lineage
from descbench.metrics.counts_file import read_counts
from descbench.metrics.match_counts import count_matches
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.custom import build_custom
from descbench.models.custom_points import CustomPointNet
from descbench.models.export import export_network

BOTH = {"channels": 1, "describes": "found", "dim": 9}
ANY = {**BOTH, "describes": "given"}
FINDS = {"channels": 1}
GIVEN = {"channels": 1, "detects": False, "describes": "given", "dim": 9}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a module of the user's, who stands in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "my_points", raising=False)
    (tmp_path / "my_points.py").write_text(MODULE)
    return tmp_path


def own(name, points, **more):
    return CustomModel(architecture="custom", factory=f"my_points:{name}", points=points, **more)


def picture(channels=1, height=40, width=60, seed=0):
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


def peaks(image, **arguments):
    """What the user's own code finds, as it gives it."""
    with torch.inference_mode():
        return import_callable("my_points:Peaks")(**arguments)(image)


def best(image, most=None):
    """Points, strengths and descriptors as they are to come out."""
    points, scores, rows = peaks(image)
    order = torch.sort(scores, descending=True, stable=True).indices[:most]
    return points[order], scores[order], F.normalize(rows[order], dim=1)


# --- what it gives ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["tuple", "list", "dictionary", "lightglue", "lists", "list of one", "double", "sizes"]
)
@pytest.mark.parametrize("most", [None, 7])
def test_points_in_any_form(form, most):
    network = build_custom(own("Peaks", BOTH, arguments={"form": form}))
    image = picture()
    with torch.inference_mode():
        found = network.find_points(image.clone(), most)
    points, scores, rows = best(image, most)
    assert len(points) == (most or len(points)) > 5
    torch.testing.assert_close(found.points, points, rtol=0, atol=0)
    torch.testing.assert_close(found.scores, scores, rtol=0, atol=0)
    torch.testing.assert_close(found.descriptors, rows)
    torch.testing.assert_close(found.sizes, 3 + scores if form == "sizes" else torch.full_like(scores, 8.0))
    assert {values.dtype for values in vars(found).values()} == {torch.float32}


def test_half_precision_is_widened():
    with torch.inference_mode():
        found = build_custom(own("Peaks", BOTH, arguments={"form": "half"})).find_points(picture())
    assert {values.dtype for values in vars(found).values()} == {torch.float32}
    assert len(found.points) == len(best(picture())[0])


def test_kinds_of_networks_of_points():
    """What its block says, the configuration and the network say."""
    kinds = {("Peaks", "both"): BOTH, ("Peaks", "any"): ANY, ("Detector", "finds"): FINDS, ("Descriptor", "g"): GIVEN}
    answers = {}
    for (name, kind), points in kinds.items():
        model = own(name, points)
        network = build_custom(model)
        assert (type(network), network.channels, network.dim) == (CustomPointNet, 1, points.get("dim", 0))
        assert (network.mean, network.std) == ((0.0,), (1.0,))
        answers[kind] = (model.DETECTS_KEYPOINTS, model.DESCRIBES_POINTS, model.DESCRIBES_ITS_OWN)
        assert not model.RUNS_BY_BACKENDS
        assert not model.DESCRIBES_PATCHES
    assert answers == {
        "both": (True, True, True),
        "any": (True, True, False),
        "finds": (True, False, False),
        "g": (False, True, False),
    }
    plain = CustomModel(architecture="custom", factory="my_points:Peaks")
    assert (plain.DETECTS_KEYPOINTS, plain.DESCRIBES_POINTS, plain.DESCRIBES_ITS_OWN) == (False,) * 3
    assert plain.RUNS_BY_BACKENDS


@pytest.mark.parametrize(("name", "points"), [("Peaks", ANY), ("Descriptor", GIVEN)])
def test_points_that_something_else_found(name, points):
    network, image = build_custom(own(name, points)), picture()
    places = torch.tensor([[0.0, 0.0], [12.3, 30.2], [59.0, 39.0]])
    with torch.inference_mode():
        found = network.describe_points(image, places)
        expected = import_callable("my_points:Peaks")().describe(image, places)
        none = network.describe_points(image, places[:0])
    torch.testing.assert_close(found, F.normalize(expected, dim=1))
    assert none.shape == (0, 9)


@pytest.mark.parametrize("form", ["tuple", "no descriptors"])
def test_what_is_found_is_described_if_need_be(form):
    """By the module's `describe`, where `forward` gave no descriptors."""
    network = build_custom(own("Peaks", ANY, arguments={"form": form}))
    with torch.inference_mode():
        found = network.find_points(picture(), 7)
    torch.testing.assert_close(found.descriptors, best(picture(), 7)[2])


def test_networks_do_what_their_contract_says():
    finder, describer = build_custom(own("Detector", FINDS)), build_custom(own("Descriptor", GIVEN))
    with torch.inference_mode():
        assert finder.find_points(picture()).descriptors is None
        with pytest.raises(ConfigError, match="my_points:Detector: describes no points that it is given; set"):
            finder.describe_points(picture(), torch.zeros(2, 2))
        with pytest.raises(
            ConfigError, match=r"my_points:Descriptor: finds no points, as `points.detects: false` says"
        ):
            describer.find_points(picture())
    with pytest.raises(ConfigError, match=r"my_points:Detector: the module has no method `describe\(image, points\)`"):
        build_custom(own("Detector", ANY))


@pytest.mark.parametrize("contract", [BOTH, ANY, FINDS])
def test_an_image_may_have_no_points(contract):
    network = build_custom(own("Peaks" if contract != FINDS else "Detector", contract))
    with torch.inference_mode():
        found = network.find_points(torch.zeros(1, 1, 20, 30), 5)
    assert (found.points.shape, found.scores.shape, found.sizes.shape) == ((0, 2), (0,), (0,))
    assert found.descriptors is None if contract == FINDS else found.descriptors.shape == (0, 9)


# --- in features -----------------------------------------------------------------------------


def stored(image, most):
    """As features have them: equal strengths by place."""
    points, scores, rows = best(image, most)
    order = np.lexsort((points[:, 1], points[:, 0], -scores))
    return points[order], scores[order], rows[order]


def extract(folder, models, settings, name="shard.h5", colours=False):
    random = np.random.default_rng(0)
    for number in range(2):
        pixels = random.integers(0, 255, (40, 60, 3 if colours else 1), np.uint8)
        Image.fromarray(pixels.repeat(3 if not colours else 1, 2)).save(folder / f"{number}.png")
    write_manifest(Manifest(tuple(rows_of("database", ["0.png", "1.png"]))), folder / "m.csv")
    networks = {}
    for key, model in models.items():
        convert_checkpoint(model, model.weights.file, folder / f"{key}.pt", seed=3)
        networks[key] = Network(folder / f"{key}.pt", model)
    shard = ShardSpec.read(folder / "m.csv", "database", 0, 2, features="f" * 64)
    extract_features(shard, folder, networks, settings, folder / name, device="cpu", workers=0)
    with ShardReader(folder / name) as reader:
        return reader.read(0, 1)


def pixels_of(folder, channels=1):
    with Image.open(folder / "0.png") as opened:
        array = np.asarray(opened.convert("RGB"))[..., :channels]
    return torch.from_numpy(array.transpose(2, 0, 1).copy())[None].float() / 255


def features(detector, model=None, **more):
    found = {"kind": "keypoints", "image_size": 60, "max_features": 12, **more}
    found |= {"detector": "network", "detector_model": detector} if detector != "sift" else {}
    return KeypointFeatures(**found, **({"describe": "network", "model": model} if model else {"describe": "pixels"}))


@pytest.mark.parametrize("contract", [BOTH, ANY])
def test_features_of_its_own_points(here, contract):
    found = extract(here, {"net": own("Peaks", contract)}, features("net", "net"))
    points, scores, rows = stored(pixels_of(here), 12)
    np.testing.assert_allclose(found.strengths, scores, rtol=1e-3)
    np.testing.assert_allclose(found.keypoints, points + 0.5, atol=1e-6)
    np.testing.assert_allclose(found.descriptors, rows, atol=1e-6)
    assert set(found.scales.tolist()) == {8.0}


def test_features_of_others_points(here):
    """SIFT's places, described by a network of one's own, and places of one's own described by the pixels around."""
    found = extract(here, {"net": own("Descriptor", GIVEN)}, features("sift", "net"))
    places = torch.from_numpy(found.keypoints - 0.5)
    expected = import_callable("my_points:Peaks")().describe(pixels_of(here), places)
    np.testing.assert_allclose(found.descriptors, F.normalize(expected.detach(), dim=1), atol=1e-6)
    sizes = {}
    for size in (8.0, 20.0):
        found = extract(here, {"net": own("Detector", {**FINDS, "size": size})}, features("net"))
        np.testing.assert_allclose(found.keypoints, stored(pixels_of(here), 12)[0] + 0.5, atol=1e-6)
        sizes[size] = (set(found.scales.tolist()), found.descriptors)
    assert [sizes[size][0] for size in sizes] == [{8.0}, {20.0}]
    assert np.abs(sizes[8.0][1] - sizes[20.0][1]).max() > 0.01


@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [(1, None, None), (3, None, None), (1, (0.5,), (0.25,)), (3, (0.1, 0.2, 0.3), (0.5,) * 3)],
)
def test_channels_and_normalisation(here, monkeypatch, channels, mean, std):
    """Pixels come in 0..1, unless the block says otherwise: grey, or in colours."""
    (here / "seeing.py").write_text(
        "import torch\n\n\nSEEN = []\n\n\nclass Seeing(torch.nn.Module):\n    def forward(self, image):\n"
        "        SEEN.append(image.clone())\n        return torch.ones(1, 2), torch.ones(1)\n"
    )
    monkeypatch.delitem(__import__("sys").modules, "seeing", raising=False)
    given = {key: value for key, value in (("mean", mean), ("std", std)) if value}
    model = CustomModel(architecture="custom", factory="seeing:Seeing", points={"channels": channels}, **given)
    extract(here, {"net": model}, features("net"), colours=channels == 3)
    seen = __import__("seeing").SEEN[-2][0]
    expected = pixels_of(here, channels)[0]
    if given:
        expected = (expected - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(seen, expected)


def test_code_that_wants_the_usual_layout(here, monkeypatch):
    """Networks of ours are laid out channels last for speed, after which `view` of the user's would fail."""
    (here / "viewing.py").write_text(
        "import torch\n\n\nclass Viewing(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8))\n\n"
        "    def forward(self, image):\n        maps = self.layers(image)\n        width = maps.shape[-1]\n"
        "        rows = maps.view(-1, width).t().reshape(width, 8, -1)[:, :, 0]\n"
        "        points = torch.stack((2.0 * torch.arange(width), torch.zeros(width)), 1)\n"
        "        return points, rows.norm(dim=1), rows\n"
    )
    monkeypatch.delitem(__import__("sys").modules, "viewing", raising=False)
    model = CustomModel(architecture="custom", factory="viewing:Viewing", points={"describes": "found", "dim": 8})
    assert len(extract(here, {"net": model}, features("net", "net")).descriptors) == 12


def test_weights_of_a_file(here):
    torch.save({"state_dict": {"module.scale": torch.tensor(-2.0)}}, here / "w.pth")
    weights = {"source": "custom", "file": here / "w.pth", "licence": "MIT"}
    models = {"net": own("Peaks", BOTH, weights=weights)}
    found = extract(here, models, features("net", "net"))
    np.testing.assert_allclose(found.descriptors, -stored(pixels_of(here), 12)[2], atol=1e-6)
    torch.save({"other": torch.zeros(1)}, here / "w.pth")
    with pytest.raises(DataError, match=r"w\.pth: key 'scale' \(\) is missing"):
        extract(here, models, features("net", "net"))


def test_changed_code_and_weights_make_features_anew(here):
    torch.save({}, here / "w.pth")
    model = own("Peaks", BOTH, weights={"source": "custom", "file": "w.pth", "licence": "CC-BY-NC-4.0"})
    overlay = {
        "models": {"mine": model.model_dump(mode="json")},
        "features": {
            "own": {"kind": "keypoints", "detector": "network", "detector_model": "mine", "describe": "rootsift"},
        },
        "methods": {"own": {"match": "nearest"}},
    }

    def digests():
        lineage = Lineage(load_config(overlay))
        return lineage.digest_features("own"), lineage.digest_own_files_behind("own")

    seen = [digests()]
    (here / "my_points.py").write_text(MODULE + "\n")
    seen.append(digests())
    torch.save({"a": torch.zeros(1)}, here / "w.pth")
    seen.append(digests())
    overlay["models"]["mine"]["points"]["size"] = 9.0
    seen.append(digests())
    assert len({features for features, _ in seen}) == 4
    assert {path.rpartition("/")[2] for path in seen[0][1]} == {"my_points.py", "w.pth"}
    assert Lineage(load_config(overlay)).restricted_behind([("own", "x")]) == {"own": {"mine": "CC-BY-NC-4.0"}}


def test_two_images_are_matched(here, capsys):
    """`descbench match`, by points and descriptors of one's own: a shift is found."""
    network = {"architecture": "custom", "factory": "my_points:Peaks", "points": BOTH}
    block = {
        "kind": "keypoints",
        "detector": "network",
        "detector_model": "mine",
        "describe": "network",
        "model": "mine",
    }
    config = {
        "catalog": [],
        "device": "cpu",
        "models": {"mine": network},
        "features": {"own": {**block, "image_size": None}},
        "methods": {"own": {"match": "nearest"}},
    }
    (here / "config").mkdir()
    (here / "config/config.yaml").write_text(yaml.safe_dump(config))
    convert_checkpoint(own("Peaks", BOTH), None, here / "results/checkpoints/mine.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (80, 90), np.uint8)
    Image.fromarray(pixels[:70, :80]).save(here / "one.png")
    Image.fromarray(pixels[5:75, 7:87]).save(here / "two.png")
    assert main(["match", "one.png", "two.png", "--method", "own"]) == 0
    assert "inliers" in capsys.readouterr().out
    found = descbench.match_pair("one.png", "two.png", "own")
    assert found.inliers.sum() > 50
    np.testing.assert_allclose((found.first - found.second)[found.inliers], [[7, 5]] * found.inliers.sum(), atol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "winograd"])
def test_counted_matches(here, backend):
    """Features and matches of images, counted; whatever the backend, torch runs a network of one's own."""
    models = {"found": own("Peaks", BOTH), "given": own("Peaks", ANY, arguments={"form": "no descriptors"})}
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60), np.uint8)
        Image.fromarray(pixels).save(here / f"{number}.png")
    networks = {}
    for name, model in models.items():
        convert_checkpoint(model, None, here / f"{name}.pt")
        networks[name] = (here / f"{name}.pt", model)
    images = [here / "0.png", here / "1.png"]
    count_matches("x", networks, images, here / "x.json", most=30, settings="", device="cpu", backend=backend)
    counted = read_counts(here / "x.json", "x", "")
    assert counted.backend.startswith("torch ")
    assert counted.counts["found"].features == counted.counts["given"].features == (30, 30)
    assert counted.counts["found"].matches == counted.counts["given"].matches
    assert counted.counts["found"].matches[0] > 0


def test_no_patches_are_exported(here):
    convert_checkpoint(own("Peaks", BOTH), None, here / "net.pt")
    with pytest.raises(ConfigError, match="architecture custom describes no cut-out patches"):
        export_network(here / "net.pt", own("Peaks", BOTH), here / "out.onnx")


DISK = """
from kornia.feature import DISK
from torch import nn


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = DISK()

    def forward(self, image):
        (found,) = self.net(image, pad_if_not_divisible=True)
        return found.keypoints, found.detection_scores, found.descriptors
"""


def test_a_published_network_behind_ten_lines(here, monkeypatch):
    """DISK as kornia has it, with weights of a file, finds and describes what architecture `disk` does with these."""
    disk = TypeAdapter(Model).validate_python({"architecture": "disk", "weights": {"source": "random", "seed": 1}})
    convert_checkpoint(disk, None, here / "disk.pt")
    theirs = load_network(here / "disk.pt", disk)
    torch.save({f"net.{key}": value for key, value in theirs.state_dict().items()}, here / "w.pth")
    (here / "their_disk.py").write_text(DISK)
    monkeypatch.delitem(__import__("sys").modules, "their_disk", raising=False)
    weights, points = {"source": "custom", "file": here / "w.pth"}, {"describes": "found", "dim": 128}
    model = CustomModel(architecture="custom", factory="their_disk:Wrapped", points=points, weights=weights)
    convert_checkpoint(model, None, here / "mine.pt")
    mine = load_network(here / "mine.pt", model)
    assert (list(mine.mean), list(mine.std)) == (list(theirs.mean), list(theirs.std))
    with torch.inference_mode():
        expected, found = (network.find_points(picture(3, 75, 90), 50) for network in (theirs, mine))
    assert len(expected.points) == 50
    for name in ("points", "scores", "sizes"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    torch.testing.assert_close(found.descriptors, expected.descriptors)


# --- faults ----------------------------------------------------------------------------------


class Faulty(nn.Module):
    """Right, but for what is done to what it gives."""

    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong

    def forward(self, image):
        points = torch.tensor([[3.0, 4.0], [10.0, 2.0], [0.0, 0.0]])
        return self.wrong(points, torch.tensor([0.5, 0.25, 0.75]), torch.eye(3))

    def describe(self, image, points):
        return self.wrong(points)


def faulty(wrong, contract=None):
    contract = contract or {"channels": 3, "describes": "found", "dim": 3}
    return CustomPointNet(Faulty(wrong), "m:f", PointContract(**contract))


def fail(*_):
    raise ArithmeticError("no root")


def replaced(tensor, row, value):
    tensor[row] = value
    return tensor


NAN, WANTED = float("nan"), r"wanted are \(points, strengths\), or a dictionary with `keypoints` and `scores`"
FAULTS = {
    "raises": (fail, r"m:f: failed on an image \(1, 3, 8, 12\) at .*test_custom_points\.py, line \d+ \(Arith.*root\)"),
    "a tensor": (lambda p, s, d: p, rf"gives a Tensor; {WANTED}\."),
    "nothing": (lambda p, s, d: None, rf"gives a NoneType; {WANTED}\."),
    "one": (lambda p, s, d: (p,), rf"gives a Tensor; {WANTED}\."),
    "four": (lambda p, s, d: (p, s, d, s), rf"gives a tuple of 4; {WANTED}\."),
    "a batch": (lambda p, s, d: [{"keypoints": p}] * 4, rf"gives a list of 4; {WANTED}\."),
    "no strengths": (
        lambda p, s, d: {"keypoints": p, "descriptors": d},
        rf"gives no `scores`; {WANTED}, and `desc.*`\.",
    ),
    "no keypoints": (lambda p, s, d: {"points": p, "scores": s}, rf"gives no `keypoints`; {WANTED}"),
    "no descriptors": (
        lambda p, s, d: (p, s),
        r"gives no `descriptors`; .*, and `descriptors` by `points.describes: fou",
    ),
    "numpy": (lambda p, s, d: (p.numpy(), s, d), "gives `keypoints` as a ndarray, not a tensor"),
    "whole pixels": (lambda p, s, d: (p.long(), s, d), "gives `keypoints` of torch.int64; floating-point tensors are"),
    "whole strengths": (lambda p, s, d: (p, s.int(), d), "gives `scores` of torch.int32; floating-point tensors are"),
    "whole descriptors": (lambda p, s, d: (p, s, d.bool()), "gives `descriptors` of torch.bool; floating-point"),
    "another device": (lambda p, s, d: (p, s.to("meta"), d), "gives `scores` on meta, and is given the image on cpu"),
    "three numbers": (
        lambda p, s, d: (p.repeat(1, 2)[:, :3], s, d),
        r"gives `keypoints` \(3, 3\); wanted is \(N, 2\)\.",
    ),
    "a number": (lambda p, s, d: (p.sum(), s, d), r"gives `keypoints` \(\); wanted is \(N, 2\)\."),
    "two images": (lambda p, s, d: (torch.stack([p, p]), s, d), r"gives `keypoints` \(2, 3, 2\); wanted is \(N, 2\)\."),
    "fewer strengths": (lambda p, s, d: (p, s[:2], d), r"gives `scores` \(2,\) of 3 points; wanted is \(3,\)\."),
    "a column": (lambda p, s, d: (p, s[:, None], d), r"gives `scores` \(3, 1\) of 3 points; wanted is \(3,\)\."),
    "fewer descriptors": (
        lambda p, s, d: (p, s, d[:1]),
        r"gives `descriptors` \(1, 3\) of 3 points; wanted is \(3, 3\) by",
    ),
    "another dim": (
        lambda p, s, d: (p, s, d[:, :2]),
        r"gives `descriptors` \(3, 2\) of 3 points; wanted is \(3, 3\) by `poi",
    ),
    "turned": (
        lambda p, s, d: (p[:2], s[:2], d[:, :2]),
        r"gives `descriptors` \(3, 2\) of 2 points; wanted is \(2, 3\)",
    ),
    "NaN": (lambda p, s, d: (replaced(p, 1, NAN), s, d), "gives `keypoints` with NaN or infinity"),
    "infinite": (lambda p, s, d: (p, replaced(s, 1, float("inf")), d), "gives `scores` with NaN or infinity"),
    "NaN described": (lambda p, s, d: (p, s, replaced(d, 1, NAN)), "gives `descriptors` with NaN or infinity"),
    "left": (
        lambda p, s, d: (p - 0.6, s, d),
        r"gives 1 of 3 points outside the image, the first at x -0\.6, y -0\.6; x com",
    ),
    "below": (
        lambda p, s, d: (p.flip(1), s, d),
        r"gives 1 of 3 points outside the image, the first at x 2, y 10; x comes fi",
    ),
    "right": (
        lambda p, s, d: (replaced(p, 2, 11.6), s, d),
        r"gives 1 of 3 points outside the image, the first at x 11\.6",
    ),
    "short sizes": (
        lambda p, s, d: {"keypoints": p, "scores": s, "descriptors": d, "sizes": s[:1]},
        r"gives `sizes` \(1,\) of 3 points; wanted is \(3,\)\.",
    ),
    "sizes of nothing": (
        lambda p, s, d: {"keypoints": p, "scores": s, "descriptors": d, "sizes": s - 0.25},
        r"gives `sizes` down to 0; all are above 0\.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_detector(fault):
    wrong, message = FAULTS[fault]
    start = "" if fault == "raises" else r"^m:f: of an image \(1, 3, 8, 12\) it "
    with torch.inference_mode(), pytest.raises(ConfigError, match=start + message) as error:
        faulty(wrong).find_points(torch.zeros(1, 3, 8, 12))
    assert str(error.value).count(". ") == 0
    assert str(error.value).endswith(".")


def test_points_up_to_the_edges_of_pixels_are_inside():
    with torch.inference_mode():
        found = faulty(lambda p, s, d: (torch.tensor([[-0.5, -0.5], [11.5, 7.5]]), s[:2], d[:2])).find_points(
            torch.zeros(1, 3, 8, 12)
        )
    assert found.points.tolist() == [[-0.5, -0.5], [11.5, 7.5]]


DESCRIBER_FAULTS = {
    "raises": (
        fail,
        r"m:f: failed on an image \(1, 3, 8, 12\) and 2 points at .*line \d+ \(ArithmeticError: no root\)",
    ),
    "a pair": (lambda p: (p, p), "gives `descriptors` as a tuple, not a tensor"),
    "nothing": (lambda p: None, "gives no `descriptors`"),
    "another dim": (lambda p: torch.ones(2, 4), r"gives `descriptors` \(2, 4\) of 2 points; wanted is \(2, 3\) by"),
    "fewer": (lambda p: torch.ones(1, 3), r"gives `descriptors` \(1, 3\) of 2 points; wanted is \(2, 3\)"),
    "whole numbers": (lambda p: torch.ones(2, 3).int(), "gives `descriptors` of torch.int32; floating-point"),
    "another device": (
        lambda p: torch.ones(2, 3, device="meta"),
        "gives `descriptors` on meta, and is given the image on",
    ),
    "NaN": (lambda p: torch.full((2, 3), NAN), "gives `descriptors` with NaN or infinity"),
}


@pytest.mark.parametrize("fault", DESCRIBER_FAULTS)
def test_faults_of_a_descriptor(fault):
    wrong, message = DESCRIBER_FAULTS[fault]
    network = faulty(wrong, {"channels": 3, "detects": False, "describes": "given", "dim": 3})
    with torch.inference_mode(), pytest.raises(ConfigError, match=message) as error:
        network.describe_points(torch.zeros(1, 3, 8, 12), torch.ones(2, 2))
    assert str(error.value).startswith("m:f: ")
    assert str(error.value).endswith(".")


def test_descriptors_may_come_in_a_dictionary_or_a_batch():
    rows = torch.eye(3)[:2]
    for wrong in (lambda p: {"descriptors": rows}, lambda p: rows[None], lambda p: [rows]):
        network = faulty(wrong, {"channels": 3, "detects": False, "describes": "given", "dim": 3})
        assert torch.equal(network.describe_points(torch.zeros(1, 3, 8, 12), torch.ones(2, 2)), rows)


class Changing(nn.Module):
    """Changes what it is given."""

    def forward(self, image):
        values = image[0, 0, :2, 0].clone()
        image.zero_()
        return torch.tensor([[0.0, 0.0], [0.0, 1.0]]), values

    def describe(self, image, points):
        rows = image[0, 0, :2, :3].clone()
        points.zero_()
        return rows


def test_code_that_changes_what_it_is_given():
    """What is found is described on the same image, at the same places."""
    network = CustomPointNet(Changing(), "m:f", PointContract(channels=1, describes="given", dim=3))
    image = torch.tensor([[[[0.25, 0.5, 1.0], [0.125, 0.0, 0.0]]]])
    with torch.inference_mode():
        found = network.find_points(image.clone())
    assert found.points.tolist() == [[0, 0], [0, 1]]
    torch.testing.assert_close(found.descriptors, F.normalize(image[0, 0], dim=1))


def test_no_points_are_described_by_no_code():
    network = faulty(fail, {"channels": 3, "describes": "given", "dim": 3})
    assert network.describe_points(torch.zeros(1, 3, 8, 12), torch.zeros(0, 2)).shape == (0, 3)


def test_faults_are_told_when_the_checkpoint_is_made(here):
    """On one image that has corners; not of values, which weights decide that are not read yet."""
    with pytest.raises(
        ConfigError, match=r"my_points:Peaks: of an image \(1, 3, 96, 128\) it gives `descriptors` .*points\.dim`"
    ):
        convert_checkpoint(own("Peaks", {"describes": "found", "dim": 8}), None, here / "net.pt")
    with pytest.raises(ConfigError, match=r"models\.net\.arguments: my_points:Peaks takes .*'shape'"):
        convert_checkpoint(own("Peaks", BOTH, arguments={"shape": 3}), None, here / "net.pt")
    build_custom(own("Peaks", BOTH, arguments={"scale": float("1e39")}))


@pytest.mark.parametrize("on_bad_image", ["stop", "skip"])
def test_faults_name_the_image(here, monkeypatch, on_bad_image):
    (here / "fickle.py").write_text(
        "import torch\n\n\nclass Fickle(torch.nn.Module):\n    def forward(self, image):\n"
        "        return torch.full((2, 2), 100.0), torch.ones(2)\n"
    )
    monkeypatch.delitem(__import__("sys").modules, "fickle", raising=False)
    model = CustomModel(architecture="custom", factory="fickle:Fickle", points={})
    message = r"^0\.png: fickle:Fickle: of an image \(1, 3, 40, 60\) it gives 2 of 2 points outside the image"
    with pytest.raises(ConfigError, match=message):
        extract(here, {"net": model}, features("net", on_bad_image=on_bad_image))
    assert not (here / "shard.h5").exists()


# --- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "more", "message"),
    [
        ({"detects": False}, {}, "it neither detects nor describes; set `detects: true`, or `describes: given`"),
        ({"detects": False, "describes": "found", "dim": 3}, {}, "`describes: found` is of points that it detects"),
        ({"describes": "found"}, {}, "`describes` needs `dim`"),
        ({"dim": 3}, {}, "`dim` is of descriptors; set `describes` too"),
        ({**GIVEN, "size": 3.0}, {}, "`size` is of points that it detects; leave it out"),
        ({"channels": 2}, {}, "points.channels"),
        ({}, {"patches": {"dim": 3}}, "a network takes `patches` or `points`; give each a block of its own"),
        (FINDS, {"mean": [0.1, 0.2, 0.3]}, "`mean` has 3 numbers, and the network's images 1 channels"),
        ({}, {"std": [0.5]}, "`std` has 1 numbers, and the network's images 3 channels"),
        (None, {"mean": [0.5]}, "`mean` has 1 numbers, and the network's images 3 channels"),
    ],
)
def test_contracts_that_are_refused(points, more, message):
    block = {"architecture": "custom", "factory": "my_points:Peaks", "points": points, **more}
    with pytest.raises(ConfigError, match=rf"models\.mine.*{message}"):
        load_config({"models": {"mine": block}})


def test_imagenets_normalisation_can_be_asked_for():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    asked = build_custom(own("Peaks", {"describes": "found", "dim": 9}, mean=mean, std=std))
    assert (asked.mean, asked.std) == (mean, std)


@pytest.mark.parametrize(
    ("contract", "block", "message"),
    [
        (
            FINDS,
            {"describe": "network", "model": "mine"},
            r"model: 'mine' \(custom\) describes neither patches nor points",
        ),
        (
            GIVEN,
            {"detector": "network", "detector_model": "mine"},
            r"detector_model: 'mine' \(custom\) detects no keyp",
        ),
        (
            BOTH,
            {"describe": "network", "model": "mine"},
            "model: 'mine' describes the points alone that it finds itself; s",
        ),
        (BOTH, {"kind": "global", "model": "mine"}, r"model 'mine' \(custom\) describes points; use `kind: keypoints`"),
        (
            FINDS,
            {"kind": "local", "model": "mine"},
            r"model 'mine' \(custom\) describes nothing; features of `kind: key",
        ),
    ],
)
def test_features_that_do_not_fit(contract, block, message):
    usual = {"kind": "keypoints", "describe": "sift"} if block.get("kind") is None else {}
    values = {
        "models": {"mine": own("Peaks", contract).model_dump(mode="json")},
        "features": {"f": {**usual, **block}},
    }
    with pytest.raises(ConfigError, match=message):
        load_config(values)


def test_more_bits_than_dimensions_are_refused():
    values = {
        "models": {"mine": own("Peaks", BOTH).model_dump(mode="json")},
        "datasets": {"photos": {"format": "folder", "database": "photos"}},
        "features": {
            "f": {
                "kind": "keypoints",
                "detector": "network",
                "detector_model": "mine",
                "describe": "network",
                "model": "mine",
            }
        },
        "methods": {
            "f": {"search": "hamming", "codebook": {"dataset": "photos", "role": "database", "size": 8}, "bits": 16}
        },
    }
    with pytest.raises(ConfigError, match="bits: 16 is more than the 9 dimensions of 'f'"):
        load_config(values)


def test_checkpoints_of_networks_of_points(here):
    """Loaded again they are the same network."""
    model = own("Peaks", ANY, arguments={"scale": 3.0})
    convert_checkpoint(model, None, here / "net.pt")
    network = load_network(here / "net.pt", model)
    assert isinstance(network, CustomPointNet)
    assert network.module.scale.item() == 3.0
    other = own("Peaks", {**ANY, "size": 9.0}, arguments={"scale": 3.0})
    with pytest.raises(DataError, match=r"net\.pt: holds .* the configuration asks for"):
        load_network(here / "net.pt", other)
