"""HardNet against what the original gave: keys, descriptors, dense maps, losses, preprocessing and triplets."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rounding
import standin
import torch
from goldens import arrays_like, golden_files, namesake
from PIL import Image
from torch import nn

from descbench.config.networks import HardNetModel
from descbench.config.training import HardNetTraining
from descbench.datasets.phototour import INFO, PAIRS, cut_bitmap, read_pairs, read_points
from descbench.features.describe_patches import Describer, network_describer
from descbench.features.patch_pixels import resize_patches, to_tensor
from descbench.features.strips import extract_strip
from descbench.losses import hardnet as losses
from descbench.models.checkpoints import convert_checkpoint
from descbench.models.folding import prepare_for_inference
from descbench.models.hardnet import MEAN, STD, DenseHardNet, HardNet, HardNetPS, normalise_locally, to_bytes
from descbench.models.patches import normalise_patches
from descbench.training.classical_mining import filter_neighbours
from descbench.training.hardnet import HardNetRecipe, PatchBatch
from descbench.training.patches import Preparation, draw_flips, flip
from descbench.training.triplets import draw_triplets

# What the program that draws up to the last point but one is called, or said of, in a file.
OFF_BY_ONE = ("MultipleDatasets", "off-by-one")


def cases(pattern: str) -> list:
    return [pytest.param(path, id=path.stem) for path in golden_files("hardnet", pattern)]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def plain(network: nn.Module) -> nn.Module:
    standin.fill_(network.state_dict())
    return network


def spread(network: nn.Module) -> nn.Module:
    """Stand-in weights whose filters sum to zero, twice as large: descriptors of patches then differ."""
    for tensor in plain(network).state_dict().values():
        if tensor.ndim == 4:
            values = tensor.double()
            tensor.copy_(2 * (values - values.mean((1, 2, 3), keepdim=True)))
    return network.eval()


def pixels(patches: np.ndarray) -> torch.Tensor:
    return to_tensor(patches, (MEAN,), (STD,))


# --- network -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", cases("state_dict*.json"))
def test_state_dict(path):
    golden = read(path)
    for network in (HardNet(), HardNetPS()):
        state = network.state_dict()
        found = [[key, list(tensor.shape), str(tensor.dtype)] for key, tensor in state.items()]
        assert found == golden[type(network).__name__]
    assert sum(p.numel() for p in HardNet().parameters()) == golden["HardNet_n_learnable"]
    assert list(DenseHardNet().state_dict()) == [key for key, _, _ in golden["HardNet"]]


@pytest.mark.parametrize("path", cases("net_eval*.npz"))
@pytest.mark.parametrize("prepare", [nn.Module.eval, prepare_for_inference], ids=["plain", "folded"])
def test_descriptors(path, prepare):
    """All but patches of one grey: their descriptors are rounding made large."""
    golden, network = np.load(path), prepare(spread(HardNet()))
    clear = golden["patches"].reshape(len(golden["patches"]), -1).std(1) > 0
    assert clear.any()
    patches, raw = pixels(golden["patches"]), torch.from_numpy(golden["patches"])[:, None].float()
    with torch.inference_mode():
        np.testing.assert_allclose(network(patches)[clear], golden["desc"][clear], atol=1e-5)
        np.testing.assert_allclose(network(raw), golden["desc_raw255"], atol=1e-5)
        normal = normalise_patches(patches)
        np.testing.assert_allclose(normal[clear], golden["input_norm"][clear], atol=1e-5)
        before = network.features(normal).flatten(1)[clear].numpy()
        np.testing.assert_allclose(before, golden["features"][clear], atol=1e-5 * np.abs(golden["features"]).max())
        flat = prepare(plain(HardNet()))(patches)[clear]
        np.testing.assert_allclose(flat, golden["desc_plainfill"][clear], atol=1e-5)


@pytest.mark.parametrize("path", cases("net_eval*.npz"))
def test_activations(path):
    """Means of every layer; the grey patch is among what the file has averaged."""
    golden, network = np.load(path), spread(HardNet())
    maps = normalise_patches(pixels(golden["patches"]))
    with torch.inference_mode():
        for number, layer in enumerate(network.features):
            maps = layer(maps)
            if f"act{number}_mean_c" in golden:
                np.testing.assert_allclose(maps.mean((0, 2, 3)), golden[f"act{number}_mean_c"], atol=1e-2)


def step_of_two_towers(golden: Any, *, opened: bool) -> tuple[HardNet, list[torch.Tensor]]:
    """A network after a backward, on one side of what rounding can do, and the loss and both towers' descriptors."""
    network = plain(HardNet(dropout=0)).train()
    if not opened:
        rounding.disturb(network)
    with rounding.doubtful_relus(opened=opened):
        anchors, positives = (network(pixels(golden[name])) for name in ("anchors", "positives"))
        loss = losses.hardnet_loss(anchors, positives)
        loss.backward()
    return network, [loss.detach(), anchors.detach(), positives.detach()]


@pytest.mark.parametrize("path", cases("net_train*.npz"))
def test_a_training_step_of_two_towers(path):
    """Batch statistics are each tower's own, and running ones move twice."""
    golden = np.load(path)
    network, found = step_of_two_towers(golden, opened=True)
    twin, _ = step_of_two_towers(golden, opened=False)
    for values, name in zip(found, ("loss", "out_a", "out_p"), strict=True):
        np.testing.assert_allclose(values, golden[name], atol=1e-4)
    for key, value in network.state_dict().items():
        if (name := key.replace(".", "_")) in golden:
            np.testing.assert_allclose(value, golden[name], atol=1e-5)
    for (key, parameter), other in zip(network.named_parameters(), twin.parameters(), strict=True):
        name, gradient = key.replace(".", "_"), parameter.grad.flatten()
        moved = (gradient - other.grad.flatten()).norm().item()
        norm = float(golden[f"gradnorm_{name}"])
        assert gradient.norm().item() == pytest.approx(norm, abs=1e-3 * norm + 2 * moved)
        first = golden[f"grad64_{name}"]
        moved = (gradient - other.grad.flatten())[: len(first)].abs().max().item()
        tolerance = 1e-3 * np.abs(first).max() + 2 * moved
        np.testing.assert_allclose(gradient[: len(first)], first, rtol=1e-3, atol=tolerance)


@pytest.mark.parametrize("path", cases("dense*.npz"))
def test_dense(path):
    golden, base = np.load(path), int(np.load(path)["img_seed_base"])
    for name in [key.removesuffix("_desc") for key in arrays_like(golden, r"s[12]_\d+x\d+_desc")]:
        stride, sides = name.removeprefix("s").split("_")
        height, width = map(int, sides.split("x"))
        colours = standin.image(base + height, height, width).astype(np.float32)
        image = torch.from_numpy(colours.mean(2))[None, None]
        network = spread(DenseHardNet(int(stride)))
        with torch.inference_mode():
            if f"{name}_localnorm" in golden:
                np.testing.assert_allclose(normalise_locally(image)[0, 0], golden[f"{name}_localnorm"], atol=1e-4)
            found, upscaled = network(image)[0].numpy(), network(image, upscale=True)[0].numpy()
        np.testing.assert_allclose(as_stored(found, golden[f"{name}_desc"]), golden[f"{name}_desc"], atol=1e-4)
        if f"{name}_u8" in golden:
            assert (
                np.abs(as_stored(to_bytes(found).astype(int), golden[f"{name}_u8"]) - golden[f"{name}_u8"]).max() <= 1
            )
        if f"{name}_up" in golden:
            np.testing.assert_allclose(as_stored(upscaled, golden[f"{name}_up"]), golden[f"{name}_up"], atol=1e-4)


def as_stored(values, golden):
    """Every so many places of a map (128, H, W), as a file keeps them."""
    step = -(-values.shape[1] // golden.shape[1])
    return values[:, ::step, ::step]


# --- losses ------------------------------------------------------------------------------------


def loss_of(row: dict[str, Any], a: torch.Tensor, p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    swap, more = row.get("anchor_swap"), {}
    if row["loss"] in ("HardNet", "random_sampling"):
        more = {"kind": row["loss_type"], "margin": row["margin"], "anchor_swap": swap}
    if row["loss"] == "HardNet":
        drawn = torch.tensor(row["perm"]) if row["batch_reduce"] == "random" else None
        return losses.hardnet_loss(a, p, sampling=row["batch_reduce"], permutation=drawn, **more)
    return {
        "L2Net": lambda: losses.l2net_loss(a, p, anchor_swap=swap),
        "random_sampling": lambda: losses.random_negatives_loss(a, p, n, **more),
        "gor": lambda: losses.spread_out_penalty(a, n),
        "decor": lambda: losses.correlation_penalty(a),
    }[row["loss"]]()


@pytest.mark.parametrize("path", cases("losses*.json"))
def test_losses(path):
    arrays = np.load(path.with_suffix(".npz"))
    for row in read(path):
        rows = [torch.from_numpy(arrays[f"{row['set']}_{letter}"]).requires_grad_() for letter in "apn"]
        loss = loss_of(row, *rows)
        assert loss.item() == pytest.approx(row["value"], abs=2e-5), row["id"]
        loss.backward()
        for letter, tensor in zip("apn", rows, strict=True):
            name = f"{row['id']}_g{letter}"
            assert (tensor.grad is None) == (name not in arrays), name
            if name in arrays:
                np.testing.assert_allclose(tensor.grad, arrays[name], atol=2e-5, err_msg=name)


@pytest.mark.parametrize("path", cases("losses*.npz"))
def test_distances(path):
    arrays = np.load(path)
    for name in [key.removesuffix("_dist") for key in arrays_like(arrays, r".+_dist")]:
        a, p = (torch.from_numpy(arrays[f"{name}_{letter}"]) for letter in "ap")
        np.testing.assert_allclose(losses.distance_matrix(a, p), arrays[f"{name}_dist"], atol=2e-5)
        # Under the root of identical rows stands 1e-8, and rounding of the squares may be of that size.
        squares = losses.pair_distances(a, p).square()
        np.testing.assert_allclose(squares, np.square(arrays[f"{name}_dpair"]), atol=1e-6)


# --- patches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", cases("preprocess*.npz"))
def test_resizing(path):
    golden = np.load(path)
    for key in golden:
        if key.endswith("_cv2"):
            name, _, side = key.removesuffix("_cv2").partition("_to")
            np.testing.assert_array_equal(resize_patches(golden[name], int(side)), golden[key])
    np.testing.assert_allclose(pixels(resize_patches(golden["p64"], 32)), golden["p64_transform"], atol=1e-6)


@pytest.mark.parametrize("path", cases("classical_mining*.json"))
def test_neighbours_that_are_no_negatives(path):
    golden = read(path)
    labels, descriptors = np.array(golden["labels"]), np.array(golden["descriptors"], np.float32)
    neighbours = np.array(golden["knn_without_first"])
    assert neighbours.shape[1] == golden["k"]
    assert filter_neighbours(neighbours, labels, descriptors) == golden["kept_classical"]
    assert filter_neighbours(neighbours, labels, descriptors, whole_point=True) == golden["kept_siftinit"]


@pytest.mark.parametrize("path", cases("triplets*.json"))
def test_triplets(path):
    golden = read(path)
    for case in golden["cases"]:
        labels = np.array(case.get("labels", golden["labels"]))
        if said := re.search(r"repeat\(arange\((\d+)\), ?(\d+)\)", case["variant"]):
            labels = np.repeat(np.arange(int(said[1])), int(said[2]))
        bounds = "all_but_last" if any(name in case["variant"] for name in OFF_BY_ONE) else "all"
        stream = np.random.RandomState(case["np_seed"])
        drawn = draw_triplets(labels, case["n_triplets"], case["batch_size"], stream, bounds)
        assert drawn.tolist() == case["triplets"], case["variant"]


@pytest.mark.parametrize("path", cases("preprocess*.npz"))
def test_flips_and_pillow(path):
    golden = np.load(path)
    prepared = Preparation(32, (MEAN,), (STD,))
    random.seed(int(golden["fliprot_seed"]))
    flips = draw_flips(len(golden["fliprot_flip_rot"]))
    np.testing.assert_array_equal(flips, golden["fliprot_flip_rot"])
    for number, letter in enumerate("ap"):
        same = prepared.plain(golden["p64"][[number] * len(flips)])
        np.testing.assert_allclose(flip(same, torch.from_numpy(flips)), golden[f"fliprot_{letter}"], atol=1e-6)
    pillow = Preparation(32, (MEAN,), (STD,), augmented=True)
    np.testing.assert_allclose(pillow.plain(golden["p64"]), golden["p64_pil_test"], atol=1e-6)


@pytest.mark.parametrize("path", cases("phototour*.npz"))
def test_phototour(path, tmp_path):
    """Its bitmaps are smaller than published ones."""
    golden = np.load(path)
    height, width = golden["bmp_size"].tolist()
    bitmaps = [standin.image(seed, height, width)[:, :, 0] for seed in golden["bmp_seeds"].tolist()]
    cut = np.concatenate([cut_bitmap(bitmap) for bitmap in bitmaps])[: int(golden["n"])]
    np.testing.assert_array_equal(cut, golden["patches"])
    (tmp_path / INFO).write_text(str(golden["info_txt"]))
    points = read_points(tmp_path / INFO)
    np.testing.assert_array_equal(points, golden["labels"])
    # The list was drawn at random; no published one pairs a patch with itself or lists a pair twice: both are refused.
    triples = golden["matches"]
    firsts = np.unique(np.sort(triples[:, :2], axis=1), axis=0, return_index=True)[1]
    kept = sorted(line for line in firsts.tolist() if triples[line, 0] != triples[line, 1])
    lines = str(golden["matches_txt"]).splitlines()
    (tmp_path / PAIRS).write_text("".join(f"{lines[line]}\n" for line in kept))
    pairs, matches = read_pairs(tmp_path / PAIRS, points)
    np.testing.assert_array_equal(np.column_stack([pairs, matches]), triples[kept])


# --- training ----------------------------------------------------------------------------------


# Settings of the recipe that a file may name, by their names in the original's options.
STEPPED = {
    "optimiser": "optimizer",
    "weight_decay": "wd",
    "margin": "margin",
    "sampling": "batch_reduce",
    "loss": "loss_type",
    "anchor_swap": "anchorswap",
}


def take_steps(golden: dict[str, Any], towers: Any, count: int, twin: int | None = None) -> dict[str, np.ndarray]:
    """The recorded steps by the recipe; ``desc`` of the first ``count`` anchors. Twins are off by rounding."""
    settings = HardNetTraining(
        recipe="hardnet",
        patches={"brown": ["liberty"]},
        learning_rate=golden["lr0"],
        batch=golden["batch_size"],
        triplets=golden["n_triplets"],
        epochs=golden["epochs"],
        **{key: golden[name] for key, name in STEPPED.items() if name in golden},
    )
    recipe = HardNetRecipe(plain(HardNet(dropout=0)), None, settings, torch.device("cpu"))
    network, (group,) = recipe.network, recipe.optimiser.param_groups
    if twin is not None:
        rounding.disturb(network, twin)
    network.train()
    seen: dict[str, list[Any]] = {"loss": [], "wnorm": [], "lr_used": []}
    for step in range(len(golden["loss"])):
        rows = np.roll(np.arange(len(towers["anchors"])), step)
        flips = torch.tensor([[step % 2 == 1, False]] * len(rows))
        item = PatchBatch(*(flip(pixels(towers[key][rows]), flips) for key in ("anchors", "positives")), None)
        seen["lr_used"].append(group["lr"])
        recipe.optimiser.zero_grad()
        with rounding.doubtful_relus(opened=twin is None):
            loss = recipe.loss(item)
            loss.backward()
        recipe.optimiser.step()
        recipe.scheduler.step()
        seen["loss"].append(loss.item())
        seen["wnorm"].append([parameter.norm().item() for parameter in network.parameters()])
    with torch.inference_mode():
        described = network.eval()(pixels(towers["anchors"][:count])).numpy()
    return {**{name: np.array(values) for name, values in seen.items()}, "lr_after": group["lr"], "desc": described}


@pytest.mark.parametrize("path", cases("train_steps*.json"))
def test_training_steps(path):
    """Optimiser, schedule and loss on the patches of another file, rolled and mirrored as the original did."""
    arrays, towers = np.load(path.with_suffix(".npz")), np.load(namesake(path, "train_steps", "net_train*.npz"))
    for name, golden in read(path).items():
        if not isinstance(golden, dict):
            continue  # a note
        described = arrays[f"desc_eval_{name.replace('.', '')}"]
        ours, *twins = (take_steps(golden, towers, len(described), twin) for twin in (None, 0, 1, 2))
        assert ours["lr_used"].tolist() == golden["lr_used"]
        assert ours["lr_after"] == golden["lr_after"]
        # What rounding moved in a step, it has moved in all that follow; at rate 10 that soon is much.
        moved = {key: 2 * np.max([np.abs(twin[key] - ours[key]) for twin in twins], 0) for key in ("loss", "wnorm")}
        beyond = np.maximum.accumulate(moved["loss"]) + 1e-3
        assert (np.abs(ours["loss"] - golden["loss"]) <= beyond).all()
        beyond = np.maximum.accumulate(moved["wnorm"].max(1))[:, None] + 1e-4 * np.array(golden["wnorm"])
        assert (np.abs(ours["wnorm"] - golden["wnorm"]) <= beyond).all()
        far = 2 * max(np.abs(twin["desc"] - ours["desc"]).max() for twin in twins)
        np.testing.assert_allclose(ours["desc"], described, atol=3e-3 + far)


# --- extraction --------------------------------------------------------------------------------


@pytest.fixture
def describers(tmp_path) -> tuple[Describer, Describer]:
    """The network of these files, by way of a published checkpoint: of pixels as in the example, and raw ones."""
    block = {"architecture": "hardnet", "weights": {"source": "official", "file": "x.pth"}}
    model = HardNetModel.model_validate(block)
    torch.save({"epoch": 10, "state_dict": spread(HardNet()).state_dict()}, tmp_path / "x.pth")
    convert_checkpoint(model, tmp_path / "x.pth", tmp_path / "x.pt")
    made = (network_describer(tmp_path / "x.pt", model, device="cpu", raw=raw) for raw in (False, True))
    return tuple(made)


def compare_texts(found: Path, expected: str, separator: str | None = None) -> None:
    """Numbers of both, and everything but the last digits."""
    lines, wanted = found.read_text().splitlines(), expected.splitlines()
    assert found.read_text().endswith("\n") == expected.endswith("\n")
    assert [len(line) for line in lines] == [len(line) for line in wanted]
    numbers, known = (np.array([line.split(separator) for line in text], float) for text in (lines, wanted))
    np.testing.assert_allclose(numbers, known, atol=2e-5)


@pytest.mark.parametrize("path", cases("extract_strip*.npz"))
def test_strips(path, describers, tmp_path):
    golden, out = np.load(path), tmp_path / "out.txt"
    for name in [key for key in arrays_like(golden, r"strip\w*") if key.replace("strip", "txt") in golden]:
        Image.fromarray(golden[name]).save(tmp_path / f"{name}.png")
        extract_strip(tmp_path / f"{name}.png", describers[0], out, lenient=True)
        compare_texts(out, str(golden[name.replace("strip", "txt")]))
    if "hpatches_csv" in golden:
        extract_strip(tmp_path / "strip.png", describers[1], out, separator=",", lenient=True)
        compare_texts(out, str(golden["hpatches_csv"]), ",")


@pytest.mark.parametrize("path", cases("extract_ref*.npz"))
def test_the_example_of_the_original(path, describers, real_data, tmp_path):
    golden, out = np.load(path), tmp_path / "out.txt"
    beside = path.with_name(f"{path.stem.replace('extract_ref', 'ref')}.png")
    extract_strip(beside if beside.is_file() else real_data / "hpatches_patches/ref.png", describers[0], out)
    lines = out.read_text().splitlines()
    assert len(lines) == golden["n_lines"]
    numbers = np.array([line.split() for line in lines], np.float32)
    np.testing.assert_allclose(numbers, golden["desc"], atol=2e-5)
    first = str(golden["first_lines"]).splitlines()
    assert [len(line) for line in lines[: len(first)]] == [len(line) for line in first]
