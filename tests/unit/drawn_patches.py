"""Patch sets small enough for tests: points drawn at random, a few noisy views of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from descbench.config.networks import HardNetModel
from descbench.config.training import HardNetTraining
from descbench.datasets.patch_sets import ALL, PatchLabels, PatchSource, write_patches
from descbench.models.checkpoints import convert_checkpoint
from descbench.training.train_patches import PatchTrainingFiles

MODEL = HardNetModel.model_validate({"architecture": "hardnet", "weights": {"source": "random", "seed": 3}})
SETTINGS = HardNetTraining.model_validate(
    {"recipe": "hardnet", "patches": {"drawn": ["one"]}, "triplets": 10, "batch": 4, "epochs": 2}
)
POINTS, VIEWS = 8, 3


def draw_patches(seed: int, points: int = POINTS, views: int = VIEWS, noise: float = 25.0) -> np.ndarray:
    """(points * views, 64, 64) uint8; views of a point one behind the other."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (points, 1, 8, 8)).repeat(8, 2).repeat(8, 3)
    return (
        np.clip(coarse + random.normal(0, noise, (points, views, 64, 64)), 0, 255).astype(np.uint8).reshape(-1, 64, 64)
    )


def write_part(folder: Path, name: str, seed: int, patches: np.ndarray | None = None) -> Path:
    """A part of patch set ``drawn`` with the pairs of neighbours in its list, right and wrong ones."""
    patches = draw_patches(seed) if patches is None else patches
    points = np.repeat(np.arange(len(patches) // VIEWS), VIEWS)
    first = np.arange(len(patches) - 1)
    pairs = np.column_stack([first, first + 1])
    matches = (points[pairs[:, 0]] == points[pairs[:, 1]]).astype(np.uint8)
    labels = PatchLabels(points, np.zeros(len(points), np.int64), (ALL,), pairs, matches)
    write_patches(PatchSource(labels, 64, iter([patches])), "drawn", name, folder / f"{name}.h5")
    return folder / f"{name}.h5"


def make_patch_training(folder: Path, model: HardNetModel = MODEL, validated: bool = False) -> PatchTrainingFiles:
    """Two parts, and a drawn start checkpoint; the second part is trained on, or else validated with."""
    folder.mkdir(parents=True, exist_ok=True)
    convert_checkpoint(model, None, folder / "start.pt")
    one, two = write_part(folder, "one", 1), write_part(folder, "two", 2)
    return PatchTrainingFiles(
        start=folder / "start.pt",
        patches=(one,),
        validation=(two,) if validated else (),
        checkpoint=folder / "trained.pt",
        history=folder / "history.csv",
        folder=folder / "work",
    )


def photo_labels(points: np.ndarray, pairs: np.ndarray) -> PatchLabels:
    matches = (points[pairs[:, 0]] == points[pairs[:, 1]]).astype(np.uint8)
    return PatchLabels(points, np.zeros(len(points), np.int64), (ALL,), pairs, matches)


def photo_set(seed: int, noise: float) -> tuple[dict[str, np.ndarray], dict[str, PatchLabels]]:
    """Two parts of 60 patches of 30 points; labels are the same for every seed and noise."""
    random, descriptors, labels = np.random.default_rng(seed), {}, {}
    for number, name in enumerate(("quay", "mill")):
        points = np.repeat(np.arange(30), 2)
        other = np.random.default_rng(number).integers(2, 58, 30)
        pairs = np.array(
            [[2 * i, 2 * i + 1] for i in range(30)] + [[2 * i, (2 * i + int(other[i])) % 60] for i in range(30)]
        )
        labels[name] = photo_labels(points, pairs)
        base = np.random.default_rng(50 + number).normal(size=(30, 8))[points]
        descriptors[name] = (base + noise * random.normal(size=base.shape)).astype(np.float32)
    return descriptors, labels
