"""Patches in the layout of HPatches: corners of a facade, found again by the true homographies, and cut with jitter.

Corners of the first image are cut as they are. In the images 2 to 6 the same region is cut where the homography says,
after it has been moved, turned and stretched a little (easy), more (hard) and much (tough).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from descbench.config.toytown import Strips
from descbench.datasets.hpatches_patches import SIDE, STRIPS
from descbench.datasets.toytown.layouts import write_file
from descbench.datasets.toytown.phototour import find_corners
from descbench.datasets.toytown.seeds import rng_for
from descbench.datasets.toytown.sequences import SequenceImage, take_sequence_image, true_homography
from descbench.errors import DataError

SPLITS = "splits.json"
_REGION = (0.08, 0.16)  # smallest and largest side of a region, shares of the shorter side of the image


@dataclass(frozen=True)
class Jitter:
    """Standard deviations: of places in sides of the region, of angles in radians, of log sizes and log stretches."""

    place: float
    angle: float
    size: float
    stretch: float


JITTERS: Mapping[str, Jitter] = {
    "r": Jitter(0, 0, 0, 0),
    "e": Jitter(0.03, 0.06, 0.04, 0.03),
    "h": Jitter(0.06, 0.12, 0.09, 0.07),
    "t": Jitter(0.10, 0.22, 0.16, 0.12),
}


def take_strips(sequence: str, settings: Strips, seed: int) -> np.ndarray:
    """(16, N, 65, 65) uint8 patches of a sequence, a strip each in the order of ``STRIPS``.

    Raises:
        DataError: fewer than two corners lie inside of all images.
    """
    images = [SequenceImage(sequence, number) for number in range(1, 7)]
    greys = [take_sequence_image(image, settings, seed) @ np.array([0.299, 0.587, 0.114]) for image in images]
    turns = [true_homography(image, settings, seed) for image in images]
    found = []
    for number, (row, column) in enumerate(zip(*find_corners(greys[0], True), strict=True)):
        rng = rng_for(seed, sequence, "strip", number)
        side = min(greys[0].shape) * rng.uniform(*_REGION)
        if (cut := _cut_all(greys, turns, np.array([column, row], float), side, rng)) is not None:
            found.append(cut)
        if len(found) == settings.patches:
            break
    if len(found) < 2:
        raise DataError(f"toytown.strips: {len(found)} corners of {sequence} are inside of all images; widen them.")
    return np.stack(found, axis=1)


def write_strips(folder: Path, patches: Mapping[str, np.ndarray], settings: Strips) -> list[Path]:
    """HPatches' layout: ``<sequence>/ref.png``, ``e1.png`` to ``t5.png``, and the file of splits. Returns the files.

    Args:
        folder: of all sequences.
        patches: (16, N, 65, 65) uint8 of each.
        settings: that say which sequences a split has.
    """
    files = [
        write_file(folder / name / f"{view}.png", _encode_png(strip.reshape(-1, SIDE)))
        for name, strips in patches.items()
        for view, strip in zip(STRIPS, strips, strict=True)
    ]
    splits = {}
    for name, (test, train) in settings.splits().items():
        splits[name] = {"name": name, "test": list(test), **({"train": list(train)} if train else {})}
    return [*files, write_file(folder / SPLITS, (json.dumps(splits, indent=1) + "\n").encode())]


def _cut_all(
    greys: list[np.ndarray], turns: list[np.ndarray], centre: np.ndarray, side: float, rng: np.random.Generator
) -> np.ndarray | None:
    """(16, 65, 65) uint8 patches of a region of the first image; None where one reaches beyond its image."""
    found = []
    for view in STRIPS:
        image = int(view[1:]) if view != STRIPS[0] else 0
        grid = _region(JITTERS[view[0]], centre, side, rng)
        if (patch := _cut(greys[image], grid, turns[image])) is None:
            return None
        found.append(patch)
    return np.stack(found)


def _region(jitter: Jitter, centre: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """(65 * 65, 2) places x, y in the first image of the pixels of a patch, row by row."""
    x, y, angle, size, stretch = rng.normal(size=5)
    angle, size, stretch = jitter.angle * angle, np.exp(jitter.size * size), np.exp(jitter.stretch * stretch)
    steps = ((np.arange(SIDE) + 0.5) / SIDE - 0.5) * side
    local = np.stack(np.meshgrid(steps * size * stretch, steps * size / stretch), axis=-1).reshape(-1, 2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return centre + jitter.place * side * np.array([x, y]) + local @ rotation.T


def _cut(grey: np.ndarray, grid: np.ndarray, turn: np.ndarray) -> np.ndarray | None:
    """The patch (65, 65) uint8 at places of the first image; None where it reaches beyond this one."""
    mapped = np.column_stack([grid, np.ones(len(grid))]) @ turn.T
    x, y = (mapped[:, :2] / mapped[:, 2:]).T
    height, width = grey.shape
    if min(x.min(), y.min()) < 0 or x.max() > width - 1 or y.max() > height - 1:
        return None
    values = map_coordinates(grey, [y, x], order=1)
    return np.round(values).clip(0, 255).astype(np.uint8).reshape(SIDE, SIDE)


def _encode_png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
