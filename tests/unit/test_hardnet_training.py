"""Training on patches: every option, resume to the bit, what is drawn, and what is refused."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_patches import MODEL, POINTS, SETTINGS, VIEWS, draw_patches, make_patch_training, write_part

from descbench.config.training import HardNetTraining
from descbench.datasets.patch_sets import Patches, PatchLabels, read_patches
from descbench.errors import DataError
from descbench.features.classical_patches import describe_sift
from descbench.features.describe_patches import run_network
from descbench.features.patch_pixels import resize_patches
from descbench.models.checkpoints import load_network
from descbench.training import hardnet
from descbench.training.classical_mining import SIFT_INIT, mine_negatives
from descbench.training.hardnet import HardNetRecipe
from descbench.training.launch import TrainingJob, read_job, train
from descbench.training.patches import SIDE, Preparation, TrainingPatches, flip
from descbench.training.train_patches import PatchTrainingFiles, train_on_patches
from descbench.training.triplets import draw_triplets

pytestmark = pytest.mark.usefixtures("one_thread")


def changed(**values: Any) -> HardNetTraining:
    return HardNetTraining.model_validate({**SETTINGS.model_dump(), **values})


def trained(files: PatchTrainingFiles, settings: HardNetTraining, model=MODEL) -> dict[str, torch.Tensor]:
    train_on_patches(files, model, settings, device="cpu")
    return load_network(files.checkpoint, model).state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[key]) for key, value in one.items())


def rows_of(files: PatchTrainingFiles) -> list[dict[str, str]]:
    with open(files.history, newline="") as stream:
        return list(csv.DictReader(stream))


def into(files: PatchTrainingFiles, folder: Path) -> PatchTrainingFiles:
    """The same training, with results elsewhere."""
    return replace(files, checkpoint=folder / "t.pt", history=folder / "h.csv", folder=folder / "work")


@pytest.fixture(scope="module")
def through(tmp_path_factory) -> PatchTrainingFiles:
    """A training that ran through."""
    files = make_patch_training(tmp_path_factory.mktemp("patches") / "training")
    train_on_patches(files, MODEL, SETTINGS, device="cpu")
    return files


OPTIONS: dict[str, Any] = {
    "sampling": "average",
    "loss": "softmax",
    "margin": 0.01,
    "anchor_swap": False,
    "spread_out": 10.0,
    "decorrelation": 1.0,
    "triplets": 8,
    "redraw": False,
    "bounds": "all_but_last",
    "epochs": 1,
    "batch": 5,
    "optimiser": "adam",
    "learning_rate": 1.0,
    "momentum": 0.1,
    "dampening": 0.0,
    "weight_decay": 0.1,
    "fliprot": False,
    "augmentation": True,
    "seed": 5,
}


@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_changes_the_weights(through, tmp_path, key):
    """The start and all random numbers are the same; only the option differs."""
    assert getattr(SETTINGS, key) != OPTIONS[key]
    found = trained(into(through, tmp_path), changed(**{key: OPTIONS[key]}))
    assert not same(found, load_network(through.checkpoint, MODEL).state_dict())


@pytest.mark.parametrize(
    "values",
    [
        {"sampling": sampling, "loss": loss}
        for sampling, kinds in (
            ("random", ("triplet_margin", "softmax", "contrastive")),
            ("random_global", ("triplet_margin", "softmax", "contrastive")),
            ("l2net", ("softmax",)),
            ("classical", ("triplet_margin",)),
            ("classical_sift", ("contrastive",)),
        )
        for loss in kinds
    ],
    ids=lambda values: "-".join(values.values()),
)
def test_samplings_and_losses(through, tmp_path, values):
    found = trained(into(through, tmp_path), changed(**values))
    assert all(value.isfinite().all() for value in found.values())
    assert not same(found, load_network(through.checkpoint, MODEL).state_dict())


def test_the_setting_of_the_paper(through, tmp_path):
    """Learning rate 0.1 and dropout 0.1, as they stand in the paper; dropout acts in training alone."""
    nips = MODEL.model_copy(update={"dropout": 0.1})
    files = into(make_patch_training(tmp_path / "nips", nips), tmp_path)
    assert same(load_network(files.start, nips).state_dict(), load_network(through.start, MODEL).state_dict())
    found = trained(files, SETTINGS, nips)
    assert not same(found, load_network(through.checkpoint, MODEL).state_dict())
    slow = trained(into(files, tmp_path / "slow"), changed(learning_rate=0.1), nips)
    assert not same(slow, found)


def test_other_parts_are_other_patches(through, tmp_path):
    files = into(through, tmp_path)
    other = replace(files, patches=(through.start.parent / "two.h5",))
    joined = replace(into(through, tmp_path / "joined"), patches=(*files.patches, *other.patches))
    weights = [trained(files, SETTINGS) for files in (other, joined)]
    assert not same(weights[0], weights[1])
    assert not any(same(found, load_network(through.checkpoint, MODEL).state_dict()) for found in weights)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize(
    "values",
    [{}, {"sampling": "random", "redraw": False}, {"augmentation": True}, {"sampling": "classical"}],
    ids=str,
)
def test_a_stopped_training_goes_on_to_the_same_bits(through, tmp_path, monkeypatch, name, values):
    settings = changed(**values)
    expected = trained(into(through, tmp_path / "whole"), settings)
    files, calls, plain = into(through, tmp_path / "stopped"), [], HardNetRecipe.loss

    def loss(self, item):
        calls.append(item)
        if len(calls) == 5:  # the second step of the second epoch
            os.kill(os.getpid(), getattr(signal, name))
        return plain(self, item)

    monkeypatch.setattr(HardNetRecipe, "loss", loss)
    with pytest.raises(SystemExit):
        train_on_patches(files, MODEL, settings, device="cpu")
    state = torch.load(files.folder / "state.pt", weights_only=True)["state"]
    assert (state["epoch"], state["step"]) == (1, 2)
    monkeypatch.setattr(HardNetRecipe, "loss", plain)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - what runs in between
    assert same(trained(files, settings), expected)
    assert files.history.read_text() == (tmp_path / "whole/h.csv").read_text()


def test_history_and_the_last_epoch(through, tmp_path, monkeypatch):
    """The last epoch is kept, whichever is the best; the best where that is asked for."""
    rows = rows_of(through)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    # Three steps of 4, 4 and 2 pairs an epoch.
    assert float(rows[0]["learning_rate"]) == pytest.approx(10 * (1 - 2 * 4 / 20))
    rate = changed(learning_rate=100.0)
    best = trained(into(through, tmp_path / "best"), rate.model_copy(update={"keep": "best"}))
    # All epochs are done; which of them is kept trains nothing again.
    monkeypatch.setattr(HardNetRecipe, "plan", None)
    last = trained(into(through, tmp_path / "best"), rate)
    marked = [int(row["best"]) for row in rows_of(into(through, tmp_path / "best"))]
    assert same(best, last) == (marked[-1] == 1)


def test_the_best_epoch_by_validation(tmp_path, monkeypatch):
    """Scores are fractions of wrong pairs, smaller is better; only some epochs are scored, and no weight moves."""
    files = make_patch_training(tmp_path / "training", validated=True)
    block = {"patches": {"drawn": ["two"]}, "every": 2}
    found = trained(files, changed(epochs=4, validation=block))
    scores = [row["score"] for row in rows_of(files)]
    assert [bool(score) for score in scores] == [False, True, False, True]
    assert all(0 <= float(score) <= 1 for score in scores if score)
    unscored = trained(into(replace(files, validation=()), tmp_path / "unscored"), changed(epochs=4))
    assert same(found, unscored)
    every = into(files, tmp_path / "every")
    best = trained(every, changed(epochs=4, keep="best", validation={**block, "every": 1}))
    rows = rows_of(every)
    values = [float(row["score"]) for row in rows]
    chosen = values.index(min(values)) + 1
    assert max(int(row["epoch"]) for row in rows if row["best"] == "1") == chosen
    assert same(best, found) == (chosen == 4)


def test_other_parts_are_scored_otherwise(tmp_path):
    files = make_patch_training(tmp_path / "training", validated=True)
    settings = changed(epochs=1, validation={"patches": {"drawn": ["two"]}})
    trained(files, settings)
    harder = write_part(tmp_path, "two", 2, draw_patches(2, noise=150))
    other = replace(into(files, tmp_path / "other"), validation=(harder,))
    trained(other, settings)
    assert rows_of(files)[0]["score"] != rows_of(other)[0]["score"]


def test_it_learns(tmp_path):
    """A few dozen steps make descriptors of the same point alike, on patches that were not seen."""
    files = make_patch_training(tmp_path / "training", validated=True)
    many, unseen = (draw_patches(seed, points=60, noise=90) for seed in (1, 2))
    files = replace(
        files, patches=(write_part(tmp_path, "many", 1, many),), validation=(write_part(tmp_path, "unseen", 2, unseen),)
    )
    block = {"patches": {"drawn": ["two"]}}
    short = changed(epochs=3, triplets=320, batch=32, learning_rate=0.5, fliprot=False, validation=block)
    trained(files, short)
    rows = rows_of(files)
    assert float(rows[-1]["train_loss"]) < 0.8 * float(rows[0]["train_loss"])


def test_a_job_for_other_processes(through, tmp_path):
    """A job of patches is written and read like one of images, and trains the same network."""
    job = TrainingJob(into(through, tmp_path), MODEL, SETTINGS, device="cpu")
    job.write(tmp_path / "job.json")
    found = read_job(tmp_path / "job.json")
    assert found == job
    found.run()
    assert same(*(load_network(path, MODEL).state_dict() for path in (tmp_path / "t.pt", through.checkpoint)))


def test_a_loss_that_is_not_finite_names_patches(through, tmp_path, monkeypatch):
    monkeypatch.setattr(HardNetRecipe, "loss", lambda self, item: sum(p.sum() for p in self.network.parameters()) / 0)
    with pytest.raises(DataError, match=r"not finite, on images drawn/one patch \d+, "):
        train_on_patches(into(through, tmp_path), MODEL, SETTINGS, device="cpu")


def test_a_batch_of_more_pairs_than_points(through, tmp_path):
    with pytest.raises(DataError, match=rf"drawn/one patch 0.*{POINTS} points are fewer than the 10.*lower `batch`"):
        train_on_patches(into(through, tmp_path), MODEL, changed(batch=10), device="cpu")


def test_a_validation_without_pairs(tmp_path):
    files = make_patch_training(tmp_path / "training", validated=True)
    (one,) = files.patches
    lone = write_part(tmp_path, "lone", 3, draw_patches(3, points=1))
    block = {"patches": {"drawn": ["two"]}}
    with pytest.raises(DataError, match=r"lone\.h5: lists no test pairs of both kinds"):
        train_on_patches(replace(files, validation=(one, lone)), MODEL, changed(validation=block), device="cpu")


# --- triplets ----------------------------------------------------------------------------------


def plain_triplets(labels: np.ndarray, count: int, batch: int, cut: int) -> list[list[int]]:
    """Number by number from numpy's global generator."""
    randint = np.random.randint
    patches = [np.flatnonzero(labels == label).tolist() for label in range(labels.max() + 1)]
    used: set[int] = set()
    found = []
    for _ in range(count):
        if len(used) >= batch:
            used = set()
        c1 = randint(0, len(patches) - cut)
        while c1 in used:
            c1 = randint(0, len(patches) - cut)
        used.add(c1)
        c2 = randint(0, len(patches) - cut)
        while c2 == c1:
            c2 = randint(0, len(patches) - cut)
        n1, n2 = 0, 1
        if len(patches[c1]) != 2:
            n1 = randint(0, len(patches[c1]) - cut)
            n2 = randint(0, len(patches[c1]) - cut)
            while n2 == n1:
                n2 = randint(0, len(patches[c1]) - cut)
        n3 = randint(0, len(patches[c2]) - cut)
        found.append([patches[c1][n1], patches[c1][n2], patches[c2][n3]])
    return found


@pytest.mark.parametrize("bounds", ["all", "all_but_last"])
@pytest.mark.parametrize("seed", range(4))
def test_triplets_in_bulk_are_those_of_numpy(bounds, seed):
    """More numbers than are taken at once; the generator goes on where it would have been."""
    layout = np.random.default_rng(seed)
    sizes = layout.integers(2 if bounds == "all" else 3, 40, 300 + seed)
    labels = layout.permutation(np.repeat(np.arange(len(sizes)), sizes))
    np.random.seed(seed)  # noqa: NPY002
    stream = np.random.RandomState(seed)
    for count in (1, 20_000):
        expected = plain_triplets(labels, count, 128, int(bounds == "all_but_last"))
        assert draw_triplets(labels, count, 128, stream, bounds).tolist() == expected
    assert stream.randint(1 << 30) == np.random.randint(1 << 30)  # noqa: NPY002


def test_a_batch_has_a_point_once():
    labels = np.repeat(np.arange(40), 3)
    triplets = draw_triplets(labels, 64, 16, np.random.RandomState(0))
    points = labels[triplets]
    assert all(len(set(batch)) == 16 for batch in points[:, 0].reshape(-1, 16))
    assert (points[:, 0] == points[:, 1]).all()
    assert (triplets[:, 0] != triplets[:, 1]).all()
    assert (points[:, 0] != points[:, 2]).all()


@pytest.mark.parametrize(
    ("labels", "bounds", "message"),
    [
        ([0, 0, 2, 2], "all", "no patch shows point 1, but points above it have patches"),
        ([0, 0, 1, 2, 2], "all", "point 1 has 1 patches, too few for a pair"),
        ([0, 0, 1, 1], "all", "2 points are fewer than the 3 of a batch"),
        ([0, 0, 1, 1, 2, 2], "all_but_last", "2 points are fewer than the 3 of a batch"),
    ],
)
def test_labels_that_give_no_triplets(labels, bounds, message):
    with pytest.raises(ValueError, match=message):
        draw_triplets(np.array(labels), 4, 3, np.random.RandomState(0), bounds)


def test_hard_negatives_are_near_patches_of_other_points():
    """Of each anchor one of its neighbours; a duplicate under another number is none, and some have none at all."""
    random = np.random.default_rng(0)
    labels = np.concatenate([np.repeat(np.arange(10), 2), np.full(20, 10)])
    rows = random.normal(0, 0.01, (40, 4)).astype(np.float32) + (labels == 10)[:, None] * np.float32(100)
    rows[2] = rows[0]  # point 1 has a patch of point 0
    triplets = draw_triplets(labels, 200, 8, np.random.RandomState(0))
    mined, share = mine_negatives(triplets, labels, rows)
    assert (mined[:, :2] == triplets[:, :2]).all()
    assert (labels[mined[:, 2]] != labels[mined[:, 0]]).all()
    far = labels[mined[:, 0]] == 10
    # The twenty patches of the last point are each other's neighbours: what was drawn stays.
    assert (mined[far, 2] == triplets[far, 2]).all()
    assert share == pytest.approx((~far).mean())
    assert (mined[~far, 2] < 20).all()
    assert not (mined[mined[:, 0] == 0, 2] == 2).any()
    squares = ((rows[mined[~far, 0]] - rows[mined[~far, 2]]) ** 2).sum(1)
    for anchor, square in zip(mined[~far, 0], squares, strict=True):
        assert (((rows - rows[anchor]) ** 2).sum(1) < square).sum() <= 13
    with pytest.raises(ValueError, match="12 patches have no 12 neighbours each"):
        mine_negatives(triplets, labels[:12], rows[:12])


def test_a_negative_is_taken_once():
    """SiftInit: seven nearest, none twice for a patch, none that took the patch; then what was drawn stays."""
    random, labels = np.random.default_rng(0), np.arange(40) // 2
    rows = random.standard_normal((40, 4)).astype(np.float32)
    triplets = np.stack([np.arange(40), np.arange(40) ^ 1, (np.arange(40) + 20) % 40], axis=1).repeat(9, axis=0)
    mined, share = mine_negatives(triplets, labels, rows, SIFT_INIT)
    hard = mined[(mined != triplets).any(axis=1)]
    taken = [frozenset((int(a), int(n))) for a, n in hard[:, [0, 2]] if (a + 20) % 40 != n]
    assert 0.3 < share < 7 / 9
    assert len(taken) == len(set(taken)) > 100
    again, every = mine_negatives(triplets, labels, rows)
    assert every == 1
    assert len({(a, n) for a, _, n in again.tolist()}) < len(again)


def test_the_first_negatives_are_by_sift(through, tmp_path, monkeypatch):
    """And those after them by the network."""
    found = []
    monkeypatch.setattr(hardnet, "mine_negatives", lambda *a: found.append(a[2]) or mine_negatives(*a))
    trained(into(through, tmp_path), changed(sampling="classical_sift", anchor_swap=False))
    first, second = found
    assert first.shape == second.shape
    patches = read_patches(through.patches[0]).patches
    assert np.array_equal(first[:3], describe_sift(resize_patches(resize_patches(patches[:3], SIDE), 65)))
    assert np.linalg.norm(second, axis=1) == pytest.approx(1, abs=1e-3)


def test_mined_negatives_are_told(through, tmp_path):
    files = into(through, tmp_path)
    trained(files, changed(sampling="classical"))
    assert all(0 < float(row["hard_negatives"]) <= 1 for row in rows_of(files))


def test_the_network_of_classical_mining_is_trained(tmp_path):
    """Its biases learn too; those before a BatchNorm take its mean, so that nothing else can move them much."""
    model = MODEL.model_copy(update={"variant": "classical", "dropout": 0.1})
    files = make_patch_training(tmp_path / "training", model)
    start = load_network(files.start, model).state_dict()
    found = trained(files, changed(sampling="classical", learning_rate=0.1), model)
    assert found.keys() == start.keys()
    assert {"features.0.bias", "features.19.bias"} < found.keys()
    assert all(torch.isfinite(value).all() for value in found.values())
    assert not torch.equal(found["features.0.weight"], start["features.0.weight"])
    assert not torch.equal(found["features.0.bias"], start["features.0.bias"])


def test_two_processes_train_the_same_network(through, tmp_path):
    """One process has the whole batch, whose statistics are not shared out; nothing but time differs."""
    train(TrainingJob(into(through, tmp_path), MODEL, SETTINGS, device="cpu"), processes=2)
    found = load_network(tmp_path / "t.pt", MODEL).state_dict()
    expected = load_network(through.checkpoint, MODEL).state_dict()
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-5)


# --- patches -----------------------------------------------------------------------------------


def test_parts_are_joined_with_points_of_their_own(through):
    folder = through.start.parent
    parts = [read_patches(folder / f"{name}.h5") for name in ("one", "two")]
    joined = TrainingPatches(parts)
    assert joined.labels.tolist() == np.repeat(np.arange(2 * POINTS), VIEWS).tolist()
    chosen = np.array([POINTS * VIEWS + 4, 3, POINTS * VIEWS])
    expected = [parts[1].patches[4], parts[0].patches[3], parts[1].patches[0]]
    np.testing.assert_array_equal(joined.take(chosen), expected)
    assert [joined.name(patch) for patch in chosen] == ["drawn/two patch 4", "drawn/one patch 3", "drawn/two patch 0"]


def test_strips_are_joined_in_the_order_of_the_original():
    """Easy ones, the reference, hard and tough ones; 65 pixels become 64."""
    names = ("ref", *(f"{noise}{k}" for noise in "eht" for k in range(1, 6)))
    pixels = np.repeat(np.arange(32, dtype=np.uint8), 65 * 65).reshape(32, 65, 65)
    views, points = np.repeat(np.arange(16), 2), np.tile(np.arange(2), 16)
    labels = PatchLabels(points, views, names, np.empty((0, 2), np.int64), np.empty(0, np.uint8))
    joined = TrainingPatches(
        [Patches("hpatches", "v_wall", pixels, labels, "a"), Patches("b", "c", pixels, labels, "d")]
    )
    found = joined.take(np.arange(64))
    assert found.shape == (64, SIDE, SIDE)
    order = [names[value // 2] for value in found[:32:2, 0, 0]]
    assert order == [f"e{k}" for k in range(1, 6)] + ["ref"] + [f"{n}{k}" for n in "ht" for k in range(1, 6)]
    assert joined.labels.tolist() == [0, 1] * 16 + [2, 3] * 16


def test_flips():
    """Transposed first, then mirrored: both together are a quarter of a turn."""
    patch = torch.arange(9.0).reshape(1, 1, 3, 3).repeat(4, 1, 1, 1)
    flips = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    plain, mirrored, transposed, both = flip(patch, flips)[:, 0]
    assert torch.equal(plain, patch[0, 0])
    assert torch.equal(mirrored, patch[0, 0].flip(1))
    assert torch.equal(transposed, patch[0, 0].T)
    assert torch.equal(both, torch.rot90(patch[0, 0], -1))


@pytest.mark.parametrize("augmented", [False, True])
def test_a_validation_sees_patches_as_they_are_prepared(augmented):
    """Resized once, from all of their pixels, as with training."""
    patches = np.random.default_rng(0).integers(0, 256, (40, 64, 64), np.uint8)
    prepared = Preparation(32, (0.4,), (0.2,), augmented=augmented)
    seen = []

    def network(inputs: torch.Tensor) -> torch.Tensor:
        seen.append(inputs)
        return inputs.flatten(1)

    run_network(network, patches, torch.device("cpu"), prepared.plain)
    torch.testing.assert_close(torch.cat(seen), prepared.plain(patches), rtol=0, atol=0)


def test_augmentation_is_small_and_of_each_patch():
    """Patches of one gradient: each is turned by a few degrees and cut a little, and what lies outside is black."""
    ramp = np.tile(np.linspace(60, 200, 64).astype(np.uint8), (50, 64, 1))
    prepared = Preparation(32, (0.4,), (0.2,), augmented=True)
    found = prepared.drawn(ramp, np.random.default_rng(1)).numpy()[:, 0]
    assert found.shape == (50, 32, 32)
    assert len({patch.tobytes() for patch in found}) == 50
    plain = prepared.plain(ramp[:1]).numpy()[0, 0]
    middle = slice(8, 24)
    assert np.abs(found[:, middle, middle] - plain[middle, middle]).max() < 0.1
    # Corners that turned in from outside are darker than anything in the ramp, 60 of 255.
    assert found.min() < 0.1 < plain.min()
    np.testing.assert_array_equal(found, prepared.drawn(ramp, np.random.default_rng(1)).numpy()[:, 0])
