"""Training of HNDesc against what the original gave: losses, pairs of crops, colours, and a step of Adam."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import rounding
import standin
import torch
import torch.nn.functional as F
from goldens import golden_files

from descbench.config.crop_training import HNDescTraining
from descbench.features.images import to_tensor
from descbench.losses.average_precision import ap_loss, average_precision, bin_lines, in_pair_triplet_loss
from descbench.models.hndesc import HNDescCaps, HNDescR2D2
from descbench.training import colours, homographies
from descbench.training.crops import CropBatch
from descbench.training.hndesc import SAMPLINGS, HNDescRecipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
ROUNDING = 1e-6
# Criteria by the name that files give them; `_k<hardest>` and `_nq<bins>` may follow.
CRITERIA: dict[str, dict[str, Any]] = {
    "in_batch": {},
    "all_negs": {"negatives": "all"},
    "in_pair": {"negatives": "in_pair"},
    "in_batch_euc": {"euclidean": True},
}


def cases(pattern: str) -> list:
    return [pytest.param(path, id=path.stem) for path in golden_files("hndesc", pattern)]


# --- losses ------------------------------------------------------------------------------------


def near(found: torch.Tensor, expected: np.ndarray, name: str = "") -> None:
    """Equal but for the rounding of numbers as large as the largest."""
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=ROUNDING * size, err_msg=name)


@pytest.mark.parametrize("path", cases("ap_loss*.npz"))
def test_average_precision(path):
    golden = np.load(path)
    bins = len(golden["quant_w"]) // 2
    for lines, name in zip(bin_lines(bins), ("quant_w", "quant_b"), strict=True):
        np.testing.assert_array_equal(lines.flatten(), golden[name])
    values = torch.from_numpy(golden["x"]).requires_grad_()
    ap = average_precision(values, torch.from_numpy(golden["label"]), bins)
    near(ap, golden["ap"])
    (1 - ap).mean().backward()
    # A bin's line has slope 19, so that rounding of the sums counts as many times.
    np.testing.assert_allclose(values.grad, golden["grad"], rtol=0, atol=(bins - 1) * ROUNDING)


def options_of(criterion: str) -> dict[str, Any]:
    numbers = {}
    for key, mark in (("bins", "nq"), ("hardest", "k")):
        if said := re.fullmatch(rf"(.+)_{mark}(\d+)", criterion):
            criterion, numbers[key] = said[1], int(said[2])
    return {**CRITERIA[criterion], **numbers}


def compare(golden: Any, stem: str, outcome: str, calculate: Any) -> None:
    """Values and gradients with respect to descriptors before they are of unit length."""
    names = [name for name in ("anc", "pos", "hn") if f"{stem}_{name}" in golden]
    rows = [torch.from_numpy(golden[f"{stem}_{name}"]).requires_grad_() for name in names]
    loss, ap = calculate(*(F.normalize(tensor) for tensor in rows), golden[f"{stem}_ids"].tolist())
    near(loss, golden[f"{outcome}_loss"], outcome)
    if ap is not None:
        near(ap, golden[f"{outcome}_ap"], outcome)
    loss.backward()
    for name, tensor in zip(names, rows, strict=True):
        near(tensor.grad, golden[f"{outcome}_g{name}"], f"{outcome} {name}")


@pytest.mark.parametrize("path", cases("criteria*.npz"))
def test_criteria(path):
    golden, seen = np.load(path), set()
    stems = [key.removesuffix("_ids") for key in golden if key.endswith("_ids")]
    for outcome in (key.removesuffix("_loss") for key in golden if key.endswith("_loss")):
        stem = max((stem for stem in stems if outcome.startswith(stem)), key=len)
        criterion = outcome.removeprefix(stem).removeprefix("_")
        if criterion == "":
            compare(golden, stem, outcome, lambda a, p, extra, ids: ap_loss(a, p, ids, extra=extra))
        elif criterion == "triplet":
            compare(golden, stem, outcome, lambda a, p, ids: (in_pair_triplet_loss(a, p, ids), None))
        else:
            options = options_of(criterion)
            compare(golden, stem, outcome, lambda a, p, ids, o=options: ap_loss(a, p, ids, **o))
        seen.add(outcome)
    assert seen


# --- pairs of crops ----------------------------------------------------------------------------


def numbers(values: np.ndarray) -> homographies.Jitter:
    """Jitters of a file, in the order of drawing."""
    scale, x, y, one, other, rotation = map(float, values)
    return homographies.Jitter(scale, (x, y), (one, other), rotation)


@pytest.mark.parametrize("path", cases("homography_augmentation*.npz"))
def test_homographies(path):
    golden = np.load(path)
    (height, width), side = golden["hw"].tolist(), int(golden["crop"])
    image = standin.image(int(golden["image_seed"]), height, width)
    for draw in range(len(golden["jitter1"])):
        jitters = [numbers(golden[f"jitter{number}"][draw]) for number in (1, 2)]
        axes = [int(golden[f"horver{number}"][draw]) for number in (1, 2)]
        first = homographies.place_first(jitters[0], axes[0], (width, height), side)
        second = homographies.place_second(jitters[1], axes[1], first, golden["sign2"][draw].tolist(), side)
        for number, warp in enumerate((first, second), 1):
            np.testing.assert_allclose(warp.centre, golden[f"center{number}"][draw], atol=1e-3)
            np.testing.assert_allclose(warp.matrix, golden[f"image_to_crop{number}"][draw], atol=1e-3)
            crop = homographies.crop_image(image, warp.matrix, side)
            assert np.abs(crop.astype(int) - golden[f"crops{number}"][draw]).max() <= 1
        matrices = homographies.relative(first.matrix, second.matrix)
        for matrix, name in zip(matrices, ("crop1_from_crop2", "crop2_from_crop1"), strict=True):
            np.testing.assert_allclose(matrix, golden[name][draw], atol=1e-3)
        compare_points(golden, draw, side, first.matrix, matrices[1])


def compare_points(golden: Any, draw: int, side: int, matrix: np.ndarray, to_second: np.ndarray) -> None:
    """Keypoints of both crops; whether one lies within 1e-2 pixels of a border's other side is not compared."""
    points = homographies.map_points(matrix, golden["kpts"][:, :2] / golden["kpts"][:, 2:])
    points = points[homographies.inside(points, side)]
    count = int(golden["n1"][draw])
    np.testing.assert_allclose(points, golden["kpts1"][draw, :count, :2], atol=1e-2)
    targets = homographies.map_points(to_second, points)
    np.testing.assert_allclose(targets, golden["kpts2"][draw, :count], atol=1e-2)
    near_border = (np.minimum(np.abs(targets), np.abs(targets - (side - 1))) < 1e-2).any(1)
    same = homographies.inside(targets, side) == golden["valid2"][draw, :count]
    assert (same | near_border).all()


@pytest.mark.parametrize("path", cases("augmentation_ops*.npz"))
def test_colours(path):
    golden = np.load(path)
    image = standin.image(int(golden["image_seed"]), *golden["hw"].tolist())
    value = {key.removeprefix("param_"): golden[key].item() for key in golden if key.startswith("param_")}
    # Seed and variance of the noise are those of the files at hand, which do not say them.
    random = np.random.RandomState(value.get("noise_seed", 5))
    exact = {
        "brightness_contrast": lambda: colours.brightness_contrast(image, value["alpha"], value["beta"]),
        "hsv": lambda: colours.hue_saturation(image, value["hue"], value["sat"]),
        "to_gray": lambda: colours.to_grey(image),
        "gauss_noise": lambda: colours.add_noise(
            image, random.normal(0, np.sqrt(value.get("noise_var", 30)), image.shape)
        ),
    }
    for name in (key for key in golden if re.fullmatch(r"shuffle_[012]{3}", key)):
        exact[name] = lambda order=name: colours.shuffle_channels(image, tuple(map(int, order[-3:])))
    rounded = {
        "clahe": lambda: colours.equalise(image, value["clip"]),
        "gaussian_blur": lambda: colours.gaussian_blur(image, value["gk"]),
        "blur": lambda: colours.box_blur(image, value["bk"]),
    }
    held = [name for name in (*exact, *rounded) if name in golden]
    assert held
    for name in held:
        found = (exact | rounded)[name]()
        assert np.abs(found.astype(int) - golden[name]).max() <= (name in rounded), name
    if "normalize" in golden:
        normal = to_tensor(image, MEAN, STD).permute(1, 2, 0)
        np.testing.assert_allclose(normal, golden["normalize"], atol=2e-6)


# --- a step of Adam ----------------------------------------------------------------------------


def batch_of(golden: Any) -> CropBatch:
    """The crops of a file, which says how they are made of drawn images, and their keypoints."""
    height, width = golden["hw"].tolist()
    drawn = [
        torch.stack([to_tensor(standin.image(seed, height, width), MEAN, STD) for seed in golden[name].tolist()])
        for name in ("src_seeds", "mix_seeds")
    ]
    second = 0.7 * drawn[0] + 0.3 * drawn[1]
    rows = zip(golden["kpts_src"], golden["kpts_trg"], golden["mask"], strict=True)
    points = [(torch.from_numpy(one[kept]), torch.from_numpy(other[kept])) for one, other, kept in rows]
    return CropBatch(drawn[0], second, points)


def recipe_of(backbone: str) -> HNDescRecipe:
    settings = HNDescTraining(recipe="hndesc", dataset="drawn")
    network = {"caps": HNDescCaps, "r2d2": HNDescR2D2}[backbone]()
    standin.fill_(network.state_dict())
    return HNDescRecipe(network.train(), SAMPLINGS[backbone], None, settings, torch.device("cpu"))


def take_step(backbone: str, batch: CropBatch, twin: int | None = None) -> tuple[HNDescRecipe, float]:
    """A recipe after a step, and the loss before it. Twins are off by rounding."""
    recipe = recipe_of(backbone)
    if twin is not None:
        rounding.disturb(recipe.network, twin)
    with rounding.doubtful_relus(opened=twin is None):
        loss = recipe.loss(batch)
        loss.backward()
    recipe.optimiser.step()
    recipe.scheduler.step()
    return recipe, loss.item()


def summed(tensor: torch.Tensor | None) -> np.ndarray | None:
    """Norm and sum, as files keep them."""
    return None if tensor is None else np.array([tensor.double().norm().item(), tensor.double().sum().item()])


@pytest.mark.parametrize("path", cases("train_step_inputs*.npz"))
@pytest.mark.parametrize("backbone", ["caps", "r2d2"])
def test_a_step(path, backbone):
    """Loss, gradients and weights after a step, with running statistics that have moved twice."""
    batch, name = batch_of(np.load(path)), path.stem.replace("_inputs", "")
    golden = json.loads(path.with_name(f"{name}.json").read_text())
    if backbone not in golden:
        pytest.skip(f"{name}.json has no step of {backbone}; nothing to compare")
    golden = golden[backbone]
    recipe, loss = take_step(backbone, batch)
    twins = [take_step(backbone, batch, number) for number in range(3)]
    moved = max(abs(other - loss) for _, other in twins)
    assert loss == pytest.approx(golden["loss"], abs=1e-4 + 2 * moved)
    assert loss == pytest.approx(1 - golden["ap"], abs=1e-4 + 2 * moved)
    parameters = dict(recipe.network.named_parameters())
    others = [dict(twin.network.named_parameters()) for twin, _ in twins]
    assert parameters.keys() == golden["grad_norm_sum"].keys()
    for key, expected in golden["grad_norm_sum"].items():
        found = summed(parameters[key].grad)
        assert (found is None) == (expected is None), key
        if expected is None:
            continue
        apart = np.max([np.abs(summed(other[key].grad) - found) for other in others], 0)
        # A sum is of numbers whose norm is the scale of what rounding does to it.
        scale = expected[0] * np.array([1, np.sqrt(parameters[key].numel())])
        assert (np.abs(found - expected) <= 1e-3 * scale + 1e-5 + 2 * apart).all(), key
    compare_states(recipe, [twin for twin, _ in twins], golden["state_after_step_norm_sum"])


def compare_states(recipe: HNDescRecipe, twins: list[HNDescRecipe], golden: dict[str, list[float]]) -> None:
    """A first step of Adam is as long as the learning rate, of either sign where the gradient is rounding alone."""
    state, rate = recipe.network.state_dict(), recipe.settings.learning_rate
    others = [twin.network.state_dict() for twin in twins]
    assert state.keys() == golden.keys()
    for key, expected in golden.items():
        found, size = summed(state[key]), np.sqrt(state[key].numel())
        apart = np.max([np.abs(summed(other[key]) - found) for other in others], 0)
        steps = rate * np.array([size, 0.0]) if key.endswith(("weight", "bias")) else 0.0
        tolerance = 1e-4 * expected[0] * np.array([1, size]) + 1e-5 + 2 * apart + 0.01 * steps
        assert (np.abs(found - expected) <= tolerance).all(), key


@pytest.mark.parametrize("path", cases("train_step_inputs*.npz"))
def test_descriptors_of_keypoints_in_training(path):
    """How the maps are read, by backbone: bilinearly, or at the nearest pixel."""
    golden = np.load(path)
    batch, size = batch_of(golden), tuple(golden["hw"].tolist())
    held = [item for item in (("caps", ""), ("r2d2", "_r2d2")) if f"anc{item[1]}" in golden]
    assert held
    for backbone, suffix in held:
        recipe = recipe_of(backbone)
        with torch.no_grad():
            maps = [recipe.network(crops) for crops in (batch.first, batch.second)]
        for dense, side, name in zip(maps, range(2), ("anc", "pos"), strict=True):
            rows = [SAMPLINGS[backbone](dense[i : i + 1], both[side], size) for i, both in enumerate(batch.points)]
            np.testing.assert_allclose(torch.cat(rows), golden[f"{name}{suffix}"], atol=1e-4)
