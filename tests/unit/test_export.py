"""Networks that leave as TorchScript and ONNX: run without this package, they give the same descriptors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_patches import draw_patches

from descbench.config.networks import HardNetModel, HowModel, HyNetModel, Model, SosNetModel, TFeatModel
from descbench.errors import ConfigError, DataError
from descbench.features.describe_patches import network_describer
from descbench.features.patch_pixels import resize_patches
from descbench.models.checkpoints import convert_checkpoint
from descbench.models.export import export_network

RANDOM = {"weights": {"source": "random", "seed": 3}}
MODELS = {
    "hardnet": HardNetModel.model_validate({"architecture": "hardnet", **RANDOM}),
    "ps": HardNetModel.model_validate({"architecture": "hardnet", "variant": "ps", **RANDOM}),
    "classical": HardNetModel.model_validate({"architecture": "hardnet", "variant": "classical", **RANDOM}),
    "tfeat": TFeatModel.model_validate({"architecture": "tfeat", **RANDOM}),
    "sosnet": SosNetModel.model_validate({"architecture": "sosnet", **RANDOM}),
    "hynet": HyNetModel.model_validate({"architecture": "hynet", **RANDOM}),
    "hardtfeat": TFeatModel.model_validate({"architecture": "tfeat", "variant": "hardtfeat", **RANDOM}),
}
PROGRAM = """
import sys
import numpy
import torch

assert not any(name.startswith("descbench") for name in sys.modules)
network = torch.jit.load(sys.argv[1])
pixels = torch.from_numpy(numpy.load(sys.argv[2]))
numpy.save(sys.argv[3], network(pixels).numpy())
"""


def made(folder: Path, model: Model, ending: str) -> tuple[Path, np.ndarray, np.ndarray]:
    """An exported network, pixels for it, and the descriptors that the workflow makes of the same patches."""
    convert_checkpoint(model, None, folder / "ours.pt")
    export_network(folder / "ours.pt", model, folder / f"out.{ending}")
    patches = draw_patches(1)
    pixels = resize_patches(patches, 32)[:, None].astype(np.float32) / 255
    return (
        folder / f"out.{ending}",
        pixels,
        network_describer(folder / "ours.pt", model, device="cpu").describe(patches),
    )


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_torchscript_needs_torch_alone(tmp_path, model):
    path, pixels, expected = made(tmp_path, model, "pt")
    np.save(tmp_path / "pixels.npy", pixels)
    command = [sys.executable, "-c", PROGRAM, path, tmp_path / "pixels.npy", tmp_path / "found.npy"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 24])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_onnx_by_onnxruntime(tmp_path, model, count):
    pytest.importorskip("onnx", reason="ONNX needs requirements/backends.txt")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is in requirements/backends.txt")
    path, pixels, expected = made(tmp_path, model, "onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [value.name for value in (*session.get_inputs(), *session.get_outputs())] == ["patches", "descriptors"]
    (found,) = session.run(None, {"patches": pixels[:count]})
    np.testing.assert_allclose(found, expected[:count], rtol=0, atol=1e-5)


def test_networks_of_images_stay(tmp_path):
    model = HowModel.model_validate({"architecture": "how", "backbone": "resnet18", "dim": 8, **RANDOM})
    with pytest.raises(ConfigError, match="architecture how describes no cut-out patches"):
        export_network(tmp_path / "x.pt", model, tmp_path / "y.onnx")


def test_onnx_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"ONNX needs the package onnx.*requirements/backends\.txt"):
        made(tmp_path, MODELS["hardnet"], "onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_places_that_networks_leave_for(tmp_path):
    """A name of any bytes; the checkpoint stays what it is, and what cannot be written is said in a sentence."""
    model, checkpoint = MODELS["tfeat"], tmp_path / "ours.pt"
    convert_checkpoint(model, None, checkpoint)
    before = checkpoint.read_bytes()
    with pytest.raises(ConfigError, match=r"ours\.pt is read by this call; name another file"):
        export_network(checkpoint, model, tmp_path / "." / "ours.pt")
    other = shutil.copy(checkpoint, tmp_path / "mine.pt")
    with pytest.raises(ConfigError, match=r"mine\.pt is there and holds something else"):
        export_network(checkpoint, model, Path(other))
    assert checkpoint.read_bytes() == Path(other).read_bytes() == before
    for _ in range(2):
        export_network(checkpoint, model, tmp_path / "again.pt")
    export_network(checkpoint, model, tmp_path / os.fsdecode(b"\xff.pt"))
    assert (tmp_path / os.fsdecode(b"\xff.pt")).stat().st_size > 10_000
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ConfigError, match=r"folder\.pt is a folder; name the file to write"):
        export_network(checkpoint, model, tmp_path / "folder.pt")
    # Nothing can be made there, whoever runs the tests.
    with pytest.raises(DataError, match=r"/proc/out\.pt: could not be written"):
        export_network(checkpoint, model, Path("/proc/out.pt"))


def test_the_number_of_patches_is_free(tmp_path):
    path, pixels, expected = made(tmp_path, MODELS["hardnet"], "pt")
    network = torch.jit.load(str(path))
    for count in (1, 2, 7):
        np.testing.assert_allclose(network(torch.from_numpy(pixels[:count])), expected[:count], rtol=0, atol=1e-5)
