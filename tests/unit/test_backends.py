"""Backends: the same descriptors as torch, whatever the size of the image, and clear words where one is absent."""

import importlib.util
import sys
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter

from descbench.config.features import KeypointFeatures, LocalFeatures
from descbench.config.load import load_config, read_yaml
from descbench.config.models import Backend
from descbench.config.networks import FireModel, GemModel, HowModel, Model, NetVladModel
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.errors import ConfigError
from descbench.features.extract import extract_features
from descbench.features.extractor import Described, Network
from descbench.features.images import LoadedImage
from descbench.features.keypoint_features import keypoint_extractor
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardReader
from descbench.lineage import Lineage
from descbench.models import backends
from descbench.models.backends import export_level, use_backend
from descbench.models.checkpoints import build_empty_network, convert_checkpoint, load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.levels import ImageTooSmallError, LevelNetwork

SCALES = [2.0, 1.0, 0.25]
POINTS = {
    "r2d2": {"architecture": "r2d2", "mchan": 1, "min_size": 0, "min_scale": 0.5, "repeatability": 0.3},
    "superpoint": {"architecture": "superpoint"},
    "hndesc": {"architecture": "hndesc", "backbone": "r2d2"},
}
run_level = LevelNetwork.run_level
MODELS = {
    "how": {"architecture": "how", "backbone": "resnet18", "dim": 16},
    "how_r50": {"architecture": "how", "backbone": "resnet50", "skip_layer": 1, "smoothing": 0},
    "fire": {"architecture": "fire", "backbone": "resnet18", "templates": 12, "dim_lit": 32, "dim": 16},
    "gem": {"architecture": "gem", "backbone": "vgg16"},
    "gem_whitened": {"architecture": "gem", "backbone": "resnet50", "whitening": "network"},
    "netvlad": {"architecture": "netvlad", "clusters": 8, "bias": True},
    "netvlad_whitened": {"architecture": "netvlad", "backbone": "alexnet", "clusters": 4, "whitening": 16},
    "max": {"architecture": "netvlad", "backbone": "alexnet", "pooling": "max"},
    "avg": {"architecture": "netvlad", "backbone": "alexnet", "pooling": "avg"},
}


def backend(name):
    absent = [package for package in ("onnx", name) if importlib.util.find_spec(package) is None]
    reason = (
        f"no package {' and '.join(absent)}: backend {name} is optional, and there may be no build of it for this "
        "Python. To run this test: pip install -r requirements/backends.txt"
    )
    return pytest.param(name, marks=pytest.mark.skipif(bool(absent), reason=reason))


EXPORTED = [backend("onnxruntime"), backend("openvino")]
BACKENDS = ["winograd", *EXPORTED]


def block(name):
    kinds = {"how": HowModel, "fire": FireModel, "gem": GemModel, "netvlad": NetVladModel}
    return kinds[MODELS[name]["architecture"]].model_validate({**MODELS[name], "weights": {"source": "random"}})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoint of a model, made when first asked for."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def get(name):
        if not (folder / name).exists():
            convert_checkpoint(block(name), None, folder / name)
        return folder / name

    return get


def network(checkpoints, name) -> LevelNetwork:
    return prepare_for_inference(load_network(checkpoints(name), block(name)))


def image(height, width):
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(smooth).astype(np.float32) / 127 - 1).permute(2, 0, 1)[None].contiguous()


def relative(found, expected):
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("model", ["how", "how_r50", "fire"])
@torch.inference_mode()
def test_local_descriptors(checkpoints, model, name):
    """One export serves all sizes; every map is torch's within 1e-5 of the descriptor's norm."""
    plain, other = network(checkpoints, model), network(checkpoints, model)
    use_backend(other, name)
    for size in ((72, 100), (64, 64), (72, 100)):
        for found, expected in zip(other.maps(image(*size), SCALES), plain.maps(image(*size), SCALES), strict=True):
            assert found[0].shape == expected[0].shape
            assert relative(found[0], expected[0]) < 1e-5
            torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", BACKENDS)
@torch.inference_mode()
def test_selection_is_the_same(checkpoints, name):
    plain, other = network(checkpoints, "how"), network(checkpoints, "how")
    use_backend(other, name)
    found, expected = (net.local(image(150, 200), SCALES, 40) for net in (other, plain))
    assert torch.equal(found.locations, expected.locations)
    assert torch.equal(found.scales, expected.scales)
    torch.testing.assert_close(found.strengths, expected.strengths, rtol=1e-5, atol=0)
    assert relative(found.descriptors, expected.descriptors) < 1e-5


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("model", ["gem", "gem_whitened", "netvlad", "netvlad_whitened", "max", "avg"])
@torch.inference_mode()
def test_global_descriptors(checkpoints, model, name):
    plain, other = network(checkpoints, model), network(checkpoints, model)
    use_backend(other, name)
    for size in ((72, 100), (66, 64)):
        expected = plain.describe(image(*size), [1.0, 0.5])
        assert relative(other.describe(image(*size), [1.0, 0.5]), expected) < 1e-5


@pytest.mark.parametrize("name", BACKENDS)
@torch.inference_mode()
def test_results_are_not_overwritten_by_the_next_image(checkpoints, name):
    other = network(checkpoints, "how")
    use_backend(other, name)
    first = other.run_level(image(96, 96))[0]
    kept = first.clone()
    other.run_level(image(96, 96) * 0.5)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("name", ["torch", *BACKENDS])
@torch.inference_mode()
def test_too_small_for_the_network(checkpoints, name):
    """Every backend refuses the same sizes, whatever it would do with an empty map."""
    net = network(checkpoints, "gem")
    use_backend(net, name)
    assert net.describe(image(16, 40)).isfinite().all()
    with pytest.raises(ImageTooSmallError, match="40 x 15 pixels, the network needs 16"):
        net.describe(image(15, 40))


@torch.inference_mode()
def test_smallest_side_is_that_of_torch(checkpoints):
    for name in MODELS:
        net = network(checkpoints, name)
        assert all(output.isfinite().all() for output in net.level(image(net.smallest_side, net.smallest_side)))
        if net.smallest_side > 1:
            with pytest.raises(RuntimeError, match="too small"):
                net.level(image(net.smallest_side - 1, 64))


def test_torch_is_named_with_its_version(checkpoints):
    net = network(checkpoints, "how")
    assert use_backend(net, "torch") == f"torch {torch.__version__}"
    assert net.runner is None


@pytest.mark.parametrize(("missing", "name"), [("onnxruntime", "onnxruntime"), ("openvino", "openvino")])
def test_absent_backend(monkeypatch, missing, name):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError) as caught:
        use_backend(build_empty_network(block("how")), name)
    message = str(caught.value)
    assert f"backend: {name} was asked for, but the package {missing} is not installed" in message
    assert "pip install -r requirements/backends.txt" in message
    assert "\n" not in message


def test_absent_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", backends)  # any module will do: it is not reached
    with pytest.raises(ConfigError, match="the package onnx is not installed"):
        use_backend(build_empty_network(block("how")), "onnxruntime")


@pytest.mark.parametrize("name", EXPORTED)
def test_export_names_its_axes(checkpoints, name):
    import onnx

    model = onnx.load_from_string(export_level(network(checkpoints, "how")))
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "image": [1, 3, "height", "width"],
        "descriptors": [1, 16, "height_of_map", "width_of_map"],
        "attention": ["height_of_map", "width_of_map"],
    }
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("name", BACKENDS)
def test_extraction(tmp_path, checkpoints, name):
    """A shard by a backend holds what torch's holds, and says who ran the network."""
    (tmp_path / "images").mkdir()
    for number, size in enumerate([(120, 96), (64, 100)]):
        pixels = ((image(*size)[0] + 1) * 127).permute(1, 2, 0).numpy().astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.png")
    write_manifest(Manifest(tuple(rows_of("database", ["0.png", "1.png"]))), tmp_path / "town.csv")
    settings = LocalFeatures(kind="local", model="how", image_size=120, scales=(1.0, 0.5), max_features=8)
    for chosen, workers in (("torch", 0), (name, 1)):
        extract_features(
            ShardSpec.read(tmp_path / "town.csv", "database", 0, 2, features="d" * 64),
            tmp_path / "images",
            {"how": Network(checkpoints("how"), block("how"))},
            settings,
            tmp_path / f"{chosen}.h5",
            backend=chosen,
            workers=workers,
        )
    with ShardReader(tmp_path / "torch.h5") as plain, ShardReader(tmp_path / f"{name}.h5") as other:
        assert (other.info.device, other.info.backend.split()[0]) == ("cpu", name)
        found, expected = other.read(), plain.read()
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    np.testing.assert_array_equal(found.image_ids, expected.image_ids)
    assert relative(torch.from_numpy(found.descriptors), torch.from_numpy(expected.descriptors)) < 1e-5


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Networks that find or describe points."""
    folder, networks = tmp_path_factory.mktemp("points"), {}
    for name, values in POINTS.items():
        model = TypeAdapter(Model).validate_python({**values, "weights": {"source": "random", "seed": 3}})
        convert_checkpoint(model, None, folder / f"{name}.pt")
        networks[name] = Network(folder / f"{name}.pt", model)
    return networks


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("finder", "describer"), [("r2d2", "r2d2"), ("superpoint", "superpoint"), (None, "hndesc")])
def test_keypoints_are_those_of_torch(points, monkeypatch, finder, describer, name):
    """As many, in the same places, but for one that rounding moves across a limit; the file says who ran them."""
    found = {"detector": "sift"} if finder is None else {"detector": "network", "detector_model": finder}
    settings = KeypointFeatures(kind="keypoints", describe="network", model=describer, max_features=60, **found)
    networks = {key: points[key] for key in {finder, describer} - {None}}
    pixels = ((image(96, 120)[0] + 1) * 127).permute(1, 2, 0).numpy().astype(np.uint8)
    loaded = LoadedImage(pixels, (0, 0), (1, 1))
    shown: list[Described] = []
    ran: list[LevelNetwork] = []
    monkeypatch.setattr(LevelNetwork, "run_level", lambda self, level: ran.append(self) or run_level(self, level))
    for chosen in ("torch", name):
        ran.clear()
        extractor = keypoint_extractor(networks, settings, device="cpu", backend=chosen)
        with torch.inference_mode():
            shown.append(extractor.describe(loaded, "a.png"))
        assert {net.runner is not None for net in ran} == {chosen in ("onnxruntime", "openvino")}
        assert extractor.backend.split()[0] == chosen
        assert ", opencv" in extractor.backend
    plain, other = ({tuple(np.round(p, 2)): d for p, d in zip(s.keypoints, s.descriptors, strict=True)} for s in shown)
    assert len(plain) > 20
    assert len(plain.keys() ^ other.keys()) <= 2
    common = list(plain.keys() & other.keys())
    np.testing.assert_allclose([other[key] for key in common], [plain[key] for key in common], atol=1e-4)


def test_without_networks_none_is_told():
    extractor = keypoint_extractor({}, KeypointFeatures(kind="keypoints", describe="rootsift"), device="cpu")
    assert extractor.backend.startswith("opencv")


def test_another_backend_is_another_digest(project):
    """Features of two backends are never mixed: readers ask for the digest, and rules pass it on."""
    values = {**read_yaml(project / "config/config.yaml"), **read_yaml(project / "config/demo.yaml")}
    name = next(iter(values["features"]))
    digests = {
        Lineage(load_config({**values, "backend": chosen})).digest_features(name) for chosen in get_args(Backend)
    }
    assert len(digests) == 4


def test_backend_beside_cuda_is_refused(project):
    values = {**read_yaml(project / "config/config.yaml"), **read_yaml(project / "config/demo.yaml")}
    with pytest.raises(ConfigError, match="backend: openvino runs on the CPU; set `device: cpu`"):
        load_config({**values, "backend": "openvino", "device": "cuda"})


@pytest.mark.parametrize("name", MODELS)
def test_networks_are_loaded_without_drawing_them(checkpoints, name):
    """Built on the meta device: nothing of it is left, and no random number is used up."""
    assert all(tensor.is_meta for tensor in build_empty_network(block(name)).state_dict().values())
    path = checkpoints(name)
    before = torch.random.get_rng_state()
    net = load_network(path, block(name))
    assert torch.equal(before, torch.random.get_rng_state())
    stored = torch.load(path, weights_only=True)["state_dict"]
    tensors = dict(net.named_parameters()) | dict(net.named_buffers())
    assert not any(tensor.is_meta for tensor in tensors.values())
    assert {key: tensor.dtype for key, tensor in net.state_dict().items()} == {k: t.dtype for k, t in stored.items()}
    assert all(torch.equal(tensor, stored[key]) for key, tensor in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not net.training
