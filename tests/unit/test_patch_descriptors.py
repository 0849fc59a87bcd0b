"""Descriptors of patches: their files, classical ones, real networks, strips, and what is refused."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from drawn_patches import MODEL, draw_patches, write_part
from PIL import ExifTags, Image
from pydantic import TypeAdapter

from descbench.config.load import load_config
from descbench.config.networks import GemModel, HardNetModel, Model, TFeatModel
from descbench.datasets.patch_sets import read_patches
from descbench.errors import ConfigError, DataError, StaleFileError
from descbench.features.classical_patches import CLASSICAL, describe_pixels
from descbench.features.describe_patches import (
    Describer,
    classical_describer,
    describe_patches,
    in_blocks,
    network_describer,
    with_decimals,
)
from descbench.features.patch_descriptors import read_descriptors, write_descriptors
from descbench.features.patch_pixels import grey_of_colours, resize_patches
from descbench.features.strips import extract_strip, read_patch_strip
from descbench.models.checkpoints import checkpoint_digest, convert_checkpoint, load_network
from descbench.models.hardnet import HardNet, HardNetClassical, HardNetPS, draw_weights
from descbench.models.kornia_features import kornia_features
from descbench.models.patches import PatchNetwork

TFEAT = {"architecture": "tfeat", "weights": {"source": "official", "file": "x"}}


@pytest.fixture
def part(tmp_path) -> Path:
    return write_part(tmp_path, "one", 1)


@pytest.fixture
def network(tmp_path) -> Describer:
    convert_checkpoint(MODEL, None, tmp_path / "drawn.pt")
    return network_describer(tmp_path / "drawn.pt", MODEL, device="cpu")


def turned(patches: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same patches seen otherwise: turned and moved a little, darker or brighter, noisy."""
    random = np.random.default_rng(seed)
    found = []
    for patch in patches:
        shift = tuple(random.integers(-4, 5, 2).tolist())
        moved = Image.fromarray(patch).rotate(random.uniform(-12, 12), Image.Resampling.BILINEAR, translate=shift)
        noisy = np.asarray(moved) * random.uniform(0.7, 1.1) + random.normal(0, 4, patch.shape)
        found.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return np.stack(found)


def found_again(describer: Describer, patches: np.ndarray) -> float:
    """Share of patches whose nearest descriptor among all turned ones is that of the same patch."""
    one, other = (
        np.concatenate(list(in_blocks(describer, pixels))).astype(np.float64) for pixels in (patches, turned(patches))
    )
    distances = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return float((distances.argmin(1) == np.arange(len(one))).mean())


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [5, 7, 1024])
def test_descriptors_of_a_part(part, network, tmp_path, block):
    """The file says what it is of and what made it, whatever the blocks."""
    describe_patches(part, network, tmp_path / "out.h5", block=block)
    found, patches = read_descriptors(tmp_path / "out.h5"), read_patches(part)
    assert (found.patch_set, found.part, found.patches) == ("drawn", "one", patches.digest)
    assert (found.descriptor, found.device) == ("hardnet", "cpu")
    assert found.maker == checkpoint_digest(tmp_path / "drawn.pt")
    plain = load_network(tmp_path / "drawn.pt", MODEL)
    pixels = torch.from_numpy(resize_patches(patches.patches, 32)).float() / 255
    with torch.inference_mode():
        expected = plain(((pixels - plain.mean[0]) / plain.std[0])[:, None])
    np.testing.assert_allclose(found.descriptors, expected, atol=1e-5)


def test_equal_descriptors_are_equal_bytes(part, tmp_path):
    for name in ("a", "b"):
        describe_patches(part, classical_describer("pixels"), tmp_path / f"{name}.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_flipped_bit_is_found(part, tmp_path):
    path = tmp_path / "out.h5"
    describe_patches(part, classical_describer("sift"), path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(whole), 60).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"out\.h5"):
            read_descriptors(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"out\.h5"):
        read_descriptors(path)


def test_descriptors_that_are_no_numbers_are_not_written(part, network, tmp_path):
    def broken(patches: np.ndarray) -> np.ndarray:
        rows = network.describe(patches)
        rows[len(rows) - 1, 3] = np.nan
        return rows

    with pytest.raises(DataError, match=r"patch 9 of drawn/one: its hardnet descriptor is not finite"):
        describe_patches(part, replace(network, describe=broken), tmp_path / "out.h5", block=10)
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(("architecture", "name"), [("sosnet", "SOSNet"), ("hynet", "HyNet")])
def test_networks_of_kornia_describe_as_theirs(tmp_path, architecture, name):
    """From a file with their keys to descriptors of patches, with folded layers."""
    torch.manual_seed(1)
    theirs = getattr(kornia_features(), name)(pretrained=False).train()
    pixels = torch.from_numpy(resize_patches(draw_patches(3), 32)).float()[:, None] / 255
    theirs(pixels)  # so that the statistics of their layers are not those of a new network
    state = {key: value for key, value in theirs.eval().state_dict().items() if not key.endswith("_tracked")}
    torch.save(state, tmp_path / "theirs.pth")
    weights = {"source": "official", "file": "theirs.pth"}
    model = TypeAdapter(Model).validate_python({"architecture": architecture, "weights": weights})
    convert_checkpoint(model, tmp_path / "theirs.pth", tmp_path / "ours.pt")
    found = network_describer(tmp_path / "ours.pt", model, device="cpu").describe(draw_patches(3))
    with torch.inference_mode():
        np.testing.assert_allclose(found, theirs(pixels).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.abs(found - found[0]).max(1)[1:].min() > 1e-3
    with pytest.raises(ValueError, match="patches of shape"):
        load_network(tmp_path / "ours.pt", model)(torch.zeros(2, 1, 30, 32))


def test_another_number_of_descriptors_is_refused(part, network, tmp_path):
    with pytest.raises(DataError, match="2 descriptors of 24 patches"):
        write_descriptors(
            read_patches(part), network.maker, iter([np.zeros((2, 128), np.float32)]), tmp_path / "out.h5"
        )


def test_a_file_of_something_else_is_refused(part):
    with pytest.raises(DataError, match=r"one\.h5: holds a patch set of .* reads a file of patch descriptors"):
        read_descriptors(part)


def test_descriptors_of_other_patches_are_stale(part, tmp_path):
    describe_patches(part, classical_describer("pixels"), tmp_path / "out.h5")
    assert read_descriptors(tmp_path / "out.h5", read_patches(part)).part == "one"
    other = read_patches(write_part(tmp_path, "two", 2))
    with pytest.raises(StaleFileError, match=r"out\.h5: made with another set of patches than drawn/two: it has "):
        read_descriptors(tmp_path / "out.h5", other)


def test_decimals_are_those_of_a_text_file(part, network, tmp_path):
    pixels = read_patches(part).patches
    found, plain = with_decimals(network, 5).describe(pixels), network.describe(pixels)
    expected = np.array([[np.float32(f"{value:10.5f}") for value in row] for row in plain.tolist()])
    np.testing.assert_array_equal(found, expected)
    assert with_decimals(network, 5).maker.digest == f"{network.maker.digest} 5 decimals"


def test_raw_pixels_give_the_same_but_for_rounding(tmp_path, network):
    raw = network_describer(tmp_path / "drawn.pt", MODEL, device="cpu", raw=True)
    pixels = draw_patches(4)
    np.testing.assert_allclose(raw.describe(pixels), network.describe(pixels), atol=1e-5)
    assert raw.maker.digest == f"{network.maker.digest} raw"


# --- networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["hardnet", "classical", "ps"])
def test_old_checkpoints_do_not_count_batches(tmp_path, variant):
    model = HardNetModel.model_validate(
        {"architecture": "hardnet", "variant": variant, "weights": {"source": "official", "file": "x"}}
    )
    torch.manual_seed(0)
    state = {"hardnet": HardNet, "classical": HardNetClassical, "ps": HardNetPS}[variant]().state_dict()
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    torch.save({"epoch": 10, "state_dict": old}, tmp_path / "old.pth")
    convert_checkpoint(model, tmp_path / "old.pth", tmp_path / "ours.pt")
    found = load_network(tmp_path / "ours.pt", model)
    assert all(torch.equal(found.state_dict()[key], value) for key, value in state.items())
    assert (found.mean, found.std) == ([0.443728476019], [0.20197947209])


def test_a_checkpoint_of_the_other_variant(tmp_path):
    torch.save({"epoch": 10, "state_dict": HardNetPS().state_dict()}, tmp_path / "ps.pth")
    model = HardNetModel.model_validate({"architecture": "hardnet", "weights": {"source": "official", "file": "x"}})
    with pytest.raises(DataError, match=r"ps\.pth: key 'features\.19\.weight' .* is missing"):
        convert_checkpoint(model, tmp_path / "ps.pth", tmp_path / "ours.pt")


@pytest.mark.parametrize(("made", "gain"), [(HardNet, 0.6), (HardNetClassical, 0.7)])
def test_drawn_weights_are_orthogonal(made, gain):
    for layer in [m for m in drawn_network(made).features if isinstance(m, torch.nn.Conv2d)][1:]:
        rows = layer.weight.detach().flatten(1)
        torch.testing.assert_close(rows @ rows.T, gain**2 * torch.eye(len(rows)), atol=1e-4, rtol=0)
        assert layer.bias is None or (layer.bias == 0.01).all()


def test_the_network_of_classical_mining():
    """Layers of HardNet with biases of the convolutions: without these it is HardNet."""
    network, plain = drawn_network(HardNetClassical), HardNet().eval()
    state = network.state_dict()
    biases = {key: value for key, value in state.items() if key.endswith(".bias")}
    assert len(state) == len(plain.state_dict()) + len(biases) == 28 + 7
    plain.load_state_dict({key: value for key, value in state.items() if key not in biases})
    patches = torch.rand((3, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        told = network.eval()(patches)
        assert not torch.allclose(told, plain(patches), atol=1e-3)
        for key in biases:
            network.get_parameter(key).zero_()
        torch.testing.assert_close(network(patches), plain(patches))


def test_dropout_is_that_of_the_variant():
    base = {"architecture": "hardnet", "weights": {"source": "random"}}
    found = {
        variant: HardNetModel.model_validate({**base, "variant": variant}).dropout
        for variant in ("hardnet", "classical")
    }
    assert found == {"hardnet": 0.3, "classical": 0.1}
    assert HardNetModel.model_validate({**base, "variant": "classical", "dropout": 0.2}).dropout == 0.2
    with pytest.raises(ValueError, match="less than 1"):
        HardNetModel.model_validate({**base, "variant": "classical", "dropout": 1.0})


def drawn_network(made: type[PatchNetwork] = HardNet) -> PatchNetwork:
    network = made()
    draw_weights(network)
    return network


@pytest.mark.parametrize("shape", [(2, 1, 33, 33), (2, 3, 32, 32), (1, 32, 32)])
def test_patches_of_another_shape(shape):
    with pytest.raises(ValueError, match=re.escape(f"patches of shape {shape}, not (N, 1, 32, 32)")):
        HardNet()(torch.zeros(shape))


@pytest.mark.parametrize(("variant", "file"), [("tfeat", "tfeat-liberty.params"), ("hardtfeat", "HardTFeat.pth")])
def test_real_networks_find_real_patches_again(real_data, tmp_path, variant, file):
    """1123 patches of HPatches: learned descriptors find more of them, turned and moved, than pixels do."""
    model = TFeatModel.model_validate({**TFEAT, "variant": variant})
    convert_checkpoint(model, real_data / "weights_small" / file, tmp_path / "x.pt")
    patches = read_patch_strip(real_data / "hpatches_patches/ref.png")
    assert len(patches) == 1123
    described = network_describer(tmp_path / "x.pt", model, device="cpu")
    shares = {name: found_again(classical_describer(name), patches) for name in ("pixels", "rootsift")}
    share = found_again(described, patches)
    assert shares["pixels"] + 0.1 < share
    assert shares["pixels"] + 0.1 < shares["rootsift"]
    # Random weights of the same network find fewer.
    drawn = model.model_copy(update={"weights": MODEL.weights})
    convert_checkpoint(drawn, None, tmp_path / "drawn.pt")
    assert found_again(network_describer(tmp_path / "drawn.pt", drawn, device="cpu"), patches) + 0.1 < share


def test_real_hardnet_descriptors(real_data):
    """Descriptors that others made with HardNet++ have the length and the sign of ours, and tell keypoints apart."""
    folder = real_data / "keynet_hardnet_graf"
    rows = np.load(folder / "test_im.ppm.dsc.npy")
    assert (rows.shape, rows.dtype) == ((len(np.load(folder / "test_im.ppm.kpt.npy")), 128), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
    products = rows @ rows.T
    np.fill_diagonal(products, -1)
    assert np.median(products.max(1)) < 0.9
    assert abs(float(rows.mean())) < 0.02


def test_kornia_gives_the_same(tmp_path):
    """Another implementation."""
    theirs = kornia_features().HardNet(pretrained=False).eval()
    ours = drawn_network().eval()
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.from_numpy(resize_patches(draw_patches(3), 32)).float()[:, None] / 255
    with torch.inference_mode():
        torch.testing.assert_close(theirs(pixels), ours(pixels), atol=1e-5, rtol=0)


def test_a_network_of_images_describes_no_patches(tmp_path):
    model = GemModel.model_validate({"architecture": "gem", "backbone": "vgg16", "weights": {"source": "random"}})
    with pytest.raises(ConfigError, match="architecture gem describes whole images, no patches"):
        network_describer(tmp_path / "x.pt", model)


# --- classical ---------------------------------------------------------------------------------


def test_classical_descriptors():
    patches = draw_patches(5)
    for name, rule in CLASSICAL.items():
        rows = classical_describer(name).describe(patches)
        assert (rows.shape, rows.dtype) == ((len(patches), rule.dim), np.float32)
        assert "opencv" in classical_describer(name).maker.digest
    sift, rootsift = (CLASSICAL[name].describe(patches) for name in ("sift", "rootsift"))
    assert (sift == np.rint(sift)).all()
    assert 0 <= sift.min() <= sift.max() <= 255
    np.testing.assert_allclose(rootsift**2, sift / sift.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose((rootsift**2).sum(1), 1, atol=1e-5)


def test_patches_of_one_grey():
    grey = np.full((2, 65, 65), 77, np.uint8)
    for rule in CLASSICAL.values():
        assert (rule.describe(grey) == 0).all()


def test_pixels_do_not_see_the_light():
    patches = draw_patches(6)
    np.testing.assert_allclose(describe_pixels(patches), describe_pixels(patches // 2), atol=1e-2)


def test_a_descriptor_that_is_not_known():
    with pytest.raises(ConfigError, match="there is no descriptor 'surf'; known: pixels, sift, rootsift"):
        classical_describer("surf")


def test_pixels_are_opencvs():
    """Every side, up and down: what ``cv2.resize`` gives, to the bit; and its grey of a PNG."""
    random = np.random.default_rng(0)
    for side in (3, 9, 20, 31, 32, 33, 41, 57, 63, 64, 65, 66, 100, 129):
        patches = random.integers(0, 256, (6, side, side), np.uint8)
        for wanted in (32, 64):
            expected = np.stack([cv2.resize(patch, (wanted, wanted)) for patch in patches])
            np.testing.assert_array_equal(resize_patches(patches, wanted), expected)
    colours = random.integers(0, 256, (300, 300, 3), np.uint8)
    written = cv2.imencode(".png", colours[..., ::-1])[1]
    np.testing.assert_array_equal(grey_of_colours(colours), cv2.imdecode(written, cv2.IMREAD_GRAYSCALE))


# --- strips ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "mode", "message"),
    [
        ((130, 65, 3), "RGB", "an image of mode RGB, not grey of 8 bits"),
        ((150, 65), "L", "65 x 150 pixels are not a strip of 65 x 65 patches"),
        ((40, 65), "L", "65 x 40 pixels are not a strip"),
    ],
)
def test_strips_that_are_none(tmp_path, network, shape, mode, message):
    Image.fromarray(np.zeros(shape, np.uint8), mode).save(tmp_path / "strip.png")
    with pytest.raises(DataError, match=rf"strip\.png: {message}"):
        extract_strip(tmp_path / "strip.png", network, tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_files_that_are_no_strip(tmp_path, content):
    path = tmp_path / "strip.png"
    if content is None:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (650, 65), np.uint8)).save(path)
        content = path.read_bytes()[:-9000]
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"strip\.png"):
        read_patch_strip(path)
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        read_patch_strip(tmp_path / "none.png")
    with pytest.raises(DataError, match="is a folder; name the image of a strip"):
        read_patch_strip(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: is a named pipe"):
        read_patch_strip(tmp_path / "pipe.png")


def test_a_strip_is_not_replaced_by_its_descriptors(tmp_path, network):
    Image.fromarray(np.zeros((64, 32), np.uint8)).save(tmp_path / "strip.png")
    before = (tmp_path / "strip.png").read_bytes()
    with pytest.raises(ConfigError, match=r"strip\.png is read by this call; name another file to write"):
        extract_strip(tmp_path / "strip.png", network, tmp_path / "." / "strip.png")
    assert (tmp_path / "strip.png").read_bytes() == before
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(ConfigError, match=r"notes\.txt is there and holds something else"):
        extract_strip(tmp_path / "strip.png", network, tmp_path / "notes.txt")
    for separator in (" ", ","):
        extract_strip(tmp_path / "strip.png", network, tmp_path / "ref.txt", separator=separator)


def test_a_strip_as_the_original_reads_it(tmp_path):
    Image.fromarray(np.arange(150 * 50).reshape(150, 50).astype(np.uint8)).save(tmp_path / "whole.png")
    Image.fromarray(np.arange(170 * 50).reshape(170, 50).astype(np.uint8)).save(tmp_path / "more.png")
    whole, more = read_patch_strip(tmp_path / "whole.png"), read_patch_strip(tmp_path / "more.png", lenient=True)
    assert whole.shape == (3, 50, 50)
    np.testing.assert_array_equal(whole, more)


@pytest.mark.parametrize("lenient", [False, True])
def test_strips_that_nobody_reads_alike(tmp_path, lenient):
    deep, turned = tmp_path / "deep.png", tmp_path / "turned.jpg"
    Image.fromarray(np.arange(150 * 50).reshape(150, 50).astype(np.uint16)).save(deep)
    with pytest.raises(DataError, match=r"deep\.png: an image of mode I;16, not grey of 8 bits"):
        read_patch_strip(deep, lenient=lenient)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.zeros((50, 150), np.uint8)).save(turned, exif=exif)
    with pytest.raises(DataError, match=r"turned\.jpg: its EXIF says that it is to be turned"):
        read_patch_strip(turned, lenient=lenient)


# --- configuration -----------------------------------------------------------------------------

CONFIGURATION = {
    "patch_sets": {
        "brown": {"format": "phototour", "folder": "brown", "parts": ["liberty", "yosemite"]},
        "strips": {"format": "hpatches_patches", "folder": "strips", "parts": ["v_wall"]},
    },
    "models": {
        "start": {"architecture": "hardnet", "weights": {"source": "random"}},
        "ours": {"architecture": "hardnet", "weights": {"source": "train", "start": "start", "training": "brief"}},
    },
    "training": {
        "brief": {
            "recipe": "hardnet",
            "patches": {"brown": ["liberty"]},
            "validation": {"patches": {"brown": ["yosemite"]}},
        }
    },
}


def test_a_training_says_what_it_learns_from():
    block = load_config(CONFIGURATION).training["brief"]
    assert block.datasets == ()
    assert block.patch_parts == (("brown", "liberty"), ("brown", "yosemite"))


@pytest.mark.parametrize(
    ("section", "name", "changes", "message"),
    [
        ("features", "start", {"kind": "local"}, r"model 'start' \(hardnet\) describes cut-out patches of patch sets"),
        ("features", "start", {"kind": "global"}, r"model 'start' \(hardnet\) describes cut-out patches of patch sets"),
        ("features", "start", {}, r"model 'start' \(hardnet\) describes cut-out patches of patch sets"),
        ("methods", "start", {"search": "euclidean"}, r"model 'start' \(hardnet\) describes cut-out patches"),
        ("models", "start", {"variant": "ps", "dropout": 0.1}, "variant ps has no dropout"),
        ("models", "start", {"weights": {"source": "imagenet", "file": "x"}}, "no 'x' in section `sources`"),
        ("training", "brief", {"patches": {"brwn": ["liberty"]}}, "there is no 'brwn' in section `patch_sets`"),
        ("training", "brief", {"patches": {"brown": ["libery"]}}, "'brown' has no part 'libery'; close names: liberty"),
        ("training", "brief", {"patches": {}}, "training.brief.*patches"),
        (
            "training",
            "brief",
            {"validation": {"patches": {"strips": ["v_wall"]}}},
            "validation.patches.strips: lists no test pairs",
        ),
        ("training", "brief", {"sampling": "l2net"}, "sampling l2net has loss softmax only"),
        ("training", "brief", {"triplets": 1025}, "1025 triplets in batches of 1024 leave one"),
        (
            "training",
            "brief",
            {"epochs": 2, "validation": {"patches": {"brown": ["yosemite"]}, "every": 3}},
            "validation.every 3 is more than the 2 epochs",
        ),
    ],
)
def test_blocks_that_do_not_fit(section, name, changes, message):
    blocks = CONFIGURATION.get(section, {})
    content = {**CONFIGURATION, section: {**blocks, name: {**blocks.get(name, {}), **changes}}}
    with pytest.raises(ConfigError, match=message):
        load_config(content)
