"""Single images to train on in the layout of HNDesc's MegaDepth: rows of facades, stylised copies and keypoints.

A stylised copy is the same view in another light, painted in few colours and tinted; every pixel shows what the image
shows there. Keypoints are corners of the image, the strongest first.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from descbench.config.toytown import Singles
from descbench.datasets.hpatches_sequences import IMAGES
from descbench.datasets.megadepth import FOLDERS
from descbench.datasets.toytown.layouts import encode_jpeg, write_file
from descbench.datasets.toytown.phototour import find_corners
from descbench.datasets.toytown.seeds import rng_for
from descbench.datasets.toytown.sequences import SequenceImage, photograph_wall

IMAGES_FOLDER, STYLISED, KEYPOINTS = "MegaDepth", "MegaDepth-stylized", "MegaDepth-light-features/kpts/superpoint"
_COLOURS = 8  # levels of each channel in a copy


@dataclass(frozen=True)
class SingleImage:
    """One image to take.

    Attributes:
        role: ``train`` or ``val``.
        number: from 0; six in a row are of the same facades.
    """

    role: str
    number: int

    @property
    def name(self) -> str:
        """Path below the folder of its role, without suffix."""
        return f"{self.wall}/{self.number:05d}"

    @property
    def wall(self) -> str:
        """Name of the facades it shows."""
        return f"{self.role}_facades{self.number // IMAGES:03d}"


@dataclass(frozen=True)
class Single:
    """An image, its stylised copy (both (H, W, 3) uint8), and its keypoints (N, 3) float32 with rows x, y, 1."""

    pixels: np.ndarray
    stylised: np.ndarray
    keypoints: np.ndarray


def plan_singles(settings: Singles) -> list[SingleImage]:
    """All images."""
    counts = {"train": settings.train, "val": settings.val}
    return [SingleImage(role, number) for role, count in counts.items() for number in range(count)]


def take_single(image: SingleImage, settings: Singles, seed: int) -> Single:
    """The image with what comes with it."""
    shot = SequenceImage(image.wall, image.number % IMAGES + 1)
    light, style = (rng_for(seed, image.wall, word, image.number) for word in ("light", "style"))
    pixels = photograph_wall(shot, settings, seed, light, dusk=False)
    copy = _painted(photograph_wall(shot, settings, seed, style, dusk=bool(style.random() < 0.25)), style)
    rows, columns = find_corners(pixels @ np.array([0.299, 0.587, 0.114]), True)
    points = np.column_stack([columns, rows, np.ones(len(rows))])[: settings.keypoints]
    return Single(pixels, copy, points.astype(np.float32))


def write_singles(folder: Path, taken: Mapping[SingleImage, Single]) -> list[Path]:
    """The official layout: images, stylised copies of training images, and a pickle of keypoints for each image."""
    files = []
    for image, single in taken.items():
        place = f"{FOLDERS[image.role]}/{image.name}.jpg"
        files.append(write_file(folder / IMAGES_FOLDER / place, encode_jpeg(single.pixels)))
        if image.role == "train":
            files.append(write_file(folder / STYLISED / place, encode_jpeg(single.stylised)))
        content = pickle.dumps(single.keypoints, protocol=2)
        files.append(write_file(folder / KEYPOINTS / f"{image.name}.pkl", content))
    return files


def _painted(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Strokes of few colours under a tint."""
    flat = np.asarray(Image.fromarray(pixels).filter(ImageFilter.ModeFilter(3)), np.float32) / 255
    tint = rng.uniform(0.8, 1.25, 3)
    painted = np.round(flat ** rng.uniform(0.6, 1.1) * (_COLOURS - 1)) / (_COLOURS - 1) * tint
    return (np.clip(painted, 0, 1) * 255).astype(np.uint8)
