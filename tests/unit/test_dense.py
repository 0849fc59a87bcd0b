"""Dense descriptors of an image: those of the network over it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from descbench.cli import main
from descbench.config.networks import HardNetModel, TFeatModel
from descbench.errors import ConfigError, DataError
from descbench.features.dense import describe_densely
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.hardnet import DenseHardNet, to_bytes

RANDOM = {"weights": {"source": "random", "seed": 3}}
MODEL = HardNetModel.model_validate({"architecture": "hardnet", **RANDOM})


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (45, 52, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    convert_checkpoint(MODEL, None, tmp_path / "ours.pt")
    return tmp_path / "a.png"


@pytest.mark.parametrize(("stride", "upscale"), [(1, False), (2, False), (2, True)])
def test_they_are_those_of_the_network(image, tmp_path, stride, upscale):
    network = DenseHardNet(stride)
    network.load_state_dict(load_network(tmp_path / "ours.pt", MODEL).state_dict())
    mean = torch.from_numpy(np.asarray(Image.open(image), np.float32).mean(2))[None, None]
    with torch.inference_mode():
        expected = network.eval()(mean, upscale=upscale)[0].numpy()
    given = {"stride": stride, "upscale": upscale, "device": "cpu"}
    shape = describe_densely(image, tmp_path / "ours.pt", MODEL, tmp_path / "d.npy", **given)
    found = np.load(tmp_path / "d.npy")
    assert found.dtype == np.float32
    assert found.shape == shape == expected.shape
    assert shape[1:] == ((45, 52) if upscale else (5, 6) if stride == 2 else (38, 45))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if not upscale:
        np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1, atol=1e-4)
    describe_densely(image, tmp_path / "ours.pt", MODEL, tmp_path / "d.npy", stored="uint8", **given)
    assert np.abs(np.load(tmp_path / "d.npy").astype(int) - to_bytes(expected)).max() <= 1


@pytest.mark.parametrize(("stride", "smallest"), [(1, 9), (2, 29)])
def test_the_smallest_image_has_one_descriptor(image, tmp_path, stride, smallest):
    for side in (smallest - 1, smallest):
        Image.new("RGB", (side, 60), (9, 200, 40)).save(tmp_path / f"{side}.png")
    settings = {"stride": stride, "device": "cpu"}
    small = tmp_path / f"{smallest - 1}.png"
    told = rf"{small.name}: {smallest - 1} x 60 pixels are too few; {smallest} are needed each way"
    with pytest.raises(DataError, match=told):
        describe_densely(small, tmp_path / "ours.pt", MODEL, tmp_path / "d.npy", **settings)
    shape = describe_densely(tmp_path / f"{smallest}.png", tmp_path / "ours.pt", MODEL, tmp_path / "d.npy", **settings)
    assert shape[2] == (2 if stride == 1 else 1)


def test_the_command(image, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    models = {"net": MODEL.model_dump(), "ps": {**MODEL.model_dump(), "variant": "ps"}}
    Path("mine.yaml").write_text(yaml.safe_dump({"catalog": [], "models": models}))
    checkpoints = Path("results/checkpoints")
    checkpoints.mkdir(parents=True)
    convert_checkpoint(MODEL, None, checkpoints / "net.pt")
    call = ["describe-image", "a.png", "d.npy", "--model", "net", "--configfile", "mine.yaml"]
    Path("config").mkdir()
    Path("config/config.yaml").write_text("catalog: []\n")
    assert main([*call, "--stride", "1", "--image-size", "40", "--stored", "uint8"]) == 0
    assert "d.npy: 128 numbers for 33 x 28 places of a.png" in capsys.readouterr().out
    found = np.load("d.npy")
    assert (found.dtype, found.shape) == (np.uint8, (128, 28, 33))
    assert main([*call, "--upscale"]) == 0
    assert np.load("d.npy").shape == (128, 45, 52)
    capsys.readouterr()
    assert main([*call[:3], "--model", "ps", *call[5:]]) == 1
    assert "results/checkpoints/ps.pt: not there yet" in capsys.readouterr().err


def test_what_is_refused(image, tmp_path, monkeypatch):
    ours, kept = tmp_path / "ours.pt", image.read_bytes()

    def refused(error, message, output="d.npy", model=MODEL, **settings):
        with pytest.raises(error, match=message):
            describe_densely(image, ours, model, tmp_path / output, device="cpu", **settings)
        assert image.read_bytes() == kept

    refused(ConfigError, r"does not end in \.npy", "a.png")
    refused(ConfigError, r"does not end in \.npy", "d.txt")
    for content in (b"PK\3\4 no array", b""):
        (tmp_path / "other.npy").write_bytes(content)
        if content:
            refused(ConfigError, "holds something else", "other.npy")
    np.save(tmp_path / "labels.npy", np.arange(3))
    refused(ConfigError, "holds something else", "labels.npy")
    tfeat = TFeatModel.model_validate({"architecture": "tfeat", **RANDOM})
    convert_checkpoint(tfeat, None, tmp_path / "tfeat.pt")
    ours = tmp_path / "tfeat.pt"
    refused(ConfigError, "tfeat has no dense descriptors", model=tfeat)
    ours = tmp_path / "ours.pt"
    monkeypatch.setattr("descbench.features.dense._MOST_NUMBERS", 45 * 52 * 128 - 1)
    refused(DataError, r"reduce the image \(`--image-size`\)", stride=1)
    refused(DataError, "reduce the image", upscale=True)
    describe_densely(image, ours, MODEL, tmp_path / "d.npy", device="cpu")
