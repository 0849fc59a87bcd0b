"""HPatches patches as they are published: a folder for each sequence, 16 strips of patches in it (docs/data.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from descbench.datasets.patch_sets import PatchLabels, PatchSource
from descbench.errors import DataError
from descbench.io.grey_images import read_grey

SIDE = 65
# Reference, easy, hard, tough: of image 1, and of images 2 to 6 with more and more jitter.
STRIPS = ("ref", *(f"{noise}{image}" for noise in "eht" for image in range(1, 6)))
# Ten times what the longest strips hold.
_MOST_PATCHES = 20_000


def read_hpatches_patches(folder: Path) -> PatchSource:
    """Patches of one sequence: strip by strip in the order of ``STRIPS``, and in each from top to bottom.

    Patch k of every strip shows the same point as patch k of ``ref``.

    Raises:
        DataError: a strip is absent, damaged, or of another shape than the first.
    """
    first = read_strip(folder / f"{STRIPS[0]}.png")
    count = len(first)
    points = np.tile(np.arange(count, dtype=np.int64), len(STRIPS))
    views = np.repeat(np.arange(len(STRIPS), dtype=np.int64), count)
    labels = PatchLabels(points, views, STRIPS, np.empty((0, 2), np.int64), np.empty(0, np.uint8))
    return PatchSource(labels, SIDE, _read_strips(folder, count))


def read_strip(path: Path) -> np.ndarray:
    """(N, 65, 65) uint8 patches of a strip.

    Raises:
        DataError: it is not a grey PNG, 65 pixels wide and a multiple of that high.
    """
    pixels = read_grey(path, "PNG", (SIDE * _MOST_PATCHES, SIDE))
    height, width = pixels.shape
    if width != SIDE or height % SIDE:
        raise DataError(
            f"{path}: {width} x {height} pixels are not a strip of {SIDE} x {SIDE} patches, which is {SIDE} wide and a "
            f"multiple of {SIDE} high; fetch the archive again."
        )
    return pixels.reshape(-1, SIDE, SIDE)


def _read_strips(folder: Path, count: int) -> Iterator[np.ndarray]:
    for name in STRIPS:
        patches = read_strip(folder / f"{name}.png")
        if len(patches) != count:
            raise DataError(
                f"{folder / name}.png: {len(patches)} patches, {STRIPS[0]}.png has {count}; fetch the archive again."
            )
        yield patches
