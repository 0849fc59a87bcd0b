"""A training of HNDesc small enough for tests: drawn images in the layout of MegaDepth, read by its own reader."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from descbench.config.crop_training import HNDescTraining
from descbench.config.datasets import MegaDepthDataset
from descbench.config.point_networks import HNDescModel
from descbench.datasets.build import build_manifest
from descbench.models.checkpoints import convert_checkpoint
from descbench.training.train_crops import CropTrainingFiles

MODEL = HNDescModel.model_validate(
    {"architecture": "hndesc", "backbone": "r2d2", "weights": {"source": "random", "seed": 3}}
)
DATASET = MegaDepthDataset(format="megadepth", images="MegaDepth", stylised="styled", keypoints="points")
SETTINGS = HNDescTraining.model_validate(
    {
        "recipe": "hndesc",
        "dataset": "drawn",
        "crop": 32,
        "points": 12,
        "batch": 3,
        "steps": 2,
        "epochs": 2,
        "decay_every": 2,
        "learning_rate": 1e-3,
        "hardest": 6,
        "validation": None,
        "workers": 0,
    }
)


def changed(**values: Any) -> HNDescTraining:
    """The settings, but for some."""
    return HNDescTraining.model_validate({**SETTINGS.model_dump(), **values})


def draw_image(seed: int) -> np.ndarray:
    """(70, 90, 3) uint8: squares of all colours; every fifth image has too little contrast for a pair."""
    coarse = np.random.default_rng(seed).integers(0, 256, (14, 18, 3), np.uint8)
    return (coarse // 12 + 80 if seed % 5 == 4 else coarse).repeat(5, 0).repeat(5, 1)


def write_images(folder: Path, count: int = 7, first: int = 0) -> None:
    """Training images with copies and keypoints, and four images for validation."""
    for number in range(first, first + count + 4):
        role = "train" if number < first + count else "test"
        name, pixels = f"{role}_{number % 2}/{number:02d}", draw_image(number if role == "train" else number + 100)
        points = np.argwhere(np.ones((13, 17))) * 5.0 + 5
        points = np.column_stack([points[:, ::-1], np.ones(len(points))]).astype(np.float32)
        np.random.default_rng(number).shuffle(points)
        for place, content in ((f"MegaDepth/{role}", pixels), (f"styled/{role}", 255 - pixels // 2)):
            path = folder / place / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path, quality=95)
        path = folder / "points" / f"{name}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(points))


def make_crop_training(
    folder: Path, model: HNDescModel = MODEL, dataset: MegaDepthDataset = DATASET, **images: int
) -> CropTrainingFiles:
    """Images, their manifest, and a drawn start checkpoint."""
    write_images(folder, **images)
    convert_checkpoint(model, None, folder / "start.pt")
    build_manifest("drawn", dataset, folder, folder / "m.csv", folder / "m.gt.json")
    return CropTrainingFiles(
        start=folder / "start.pt",
        manifest=folder / "m.csv",
        labels=folder / "m.gt.json",
        root=folder,
        keypoints=(),
        validation_keypoints=(),
        checkpoint=folder / "trained.pt",
        history=folder / "history.csv",
        folder=folder / "work",
    )
