"""Brown PhotoTour as it is published: bitmaps of patches, their 3-D points, and test pairs (docs/data.md)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from descbench.datasets.patch_sets import ALL, PatchLabels, PatchSource
from descbench.errors import DataError
from descbench.io.grey_images import read_grey
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines

INFO, PAIRS = "info.txt", "m50_100000_100000_0.txt"
SIDE = 64
COLUMNS = 16  # of patches in a bitmap, and rows
PER_BITMAP = COLUMNS**2
_BITMAP = re.compile(r"patches[0-9]{4}\.bmp")
# Digits of an id; more would not fit int64.
_ID = re.compile(r"[0-9]{1,18}")


def read_phototour(folder: Path) -> PatchSource:
    """Patches of one part: bitmaps by number, and in each from left to right and then down.

    ``info.txt`` says how many patches there are and the 3-D point of each; the last bitmap is filled up.

    Raises:
        DataError: a file is absent or malformed, ``info.txt`` has another number of lines than there are patches, or
            the list of pairs is of other patches.
    """
    points = read_points(folder / INFO)
    bitmaps = _list_bitmaps(folder)
    needed = -(-len(points) // PER_BITMAP)
    if len(bitmaps) != needed:
        raise DataError(
            f"{folder / INFO}: lists {len(points)} patches, which fill {needed} bitmaps, but there are {len(bitmaps)}; "
            "fetch the archive again."
        )
    pairs, matches = read_pairs(folder / PAIRS, points)
    labels = PatchLabels(points, np.zeros(len(points), np.int64), (ALL,), pairs, matches)
    return PatchSource(labels, SIDE, _read_bitmaps(bitmaps, len(points)))


def read_bitmap(path: Path) -> np.ndarray:
    """(256, 64, 64) uint8 patches of one bitmap.

    Raises:
        DataError: it is not a grey bitmap of 1024 x 1024 pixels.
    """
    whole = COLUMNS * SIDE
    pixels = read_grey(path, "BMP", (whole, whole))
    if pixels.shape != (whole, whole):
        raise DataError(f"{path}: {pixels.shape[1]} x {pixels.shape[0]} pixels, not {whole} x {whole}; fetch it again.")
    return cut_bitmap(pixels)


def cut_bitmap(pixels: np.ndarray) -> np.ndarray:
    """(N, 64, 64) patches of a bitmap of any number of rows and columns of them, from left to right and then down."""
    rows, columns = (length // SIDE for length in pixels.shape)
    return pixels.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)


def _read_bitmaps(paths: list[Path], count: int) -> Iterator[np.ndarray]:
    for number, path in enumerate(paths):
        yield read_bitmap(path)[: count - number * PER_BITMAP]


def _list_bitmaps(folder: Path) -> list[Path]:
    found = {path.name for path in folder.glob("patches*.bmp")}
    strange = sorted(name for name in found if not _BITMAP.fullmatch(name))
    if strange:
        raise DataError(f"{folder / strange[0]}: bitmaps are called patches0000.bmp and so on; remove it.")
    paths = [folder / f"patches{number:04d}.bmp" for number in range(len(found))]
    missing = [path.name for path in paths if path.name not in found]
    if not found or missing:
        raise DataError(f"{folder}: has no {(missing or ['patches0000.bmp'])[0]}; fetch the archive again.")
    return paths


def read_points(path: Path) -> np.ndarray:
    """(N,) int64: the first number of each line."""
    rows = _read_numbers(path, (0,))
    if not len(rows):
        raise DataError(f"{path}: lists no patches; fetch the archive again.")
    return rows[:, 0]


def read_pairs(path: Path, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (M, 2) and their labels (M,); a line holds patch, point and a third number, twice."""
    rows = _read_numbers(path, (0, 3, 1, 4))
    if not len(rows):
        raise DataError(f"{path}: lists no pairs; fetch the archive again.")
    pairs, named = rows[:, :2], rows[:, 2:]
    beyond = np.flatnonzero((pairs >= len(points)).any(1))
    if len(beyond):
        raise DataError(
            f"{path}: line {beyond[0] + 1}: patch {pairs[beyond[0]].max()} is not among the {len(points)} of {INFO}; "
            "fetch the archive again."
        )
    same = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(same):
        raise DataError(
            f"{path}: line {same[0] + 1}: pairs patch {pairs[same[0], 0]} with itself; fetch the archive again."
        )
    _tell_pairs_twice(path, pairs)
    foreign = np.flatnonzero((points[pairs] != named).any(1))
    if len(foreign):
        raise DataError(
            f"{path}: line {foreign[0] + 1}: its points are not those of {INFO}; both must be of one part: fetch the "
            "archive again."
        )
    return np.ascontiguousarray(pairs), (named[:, 0] == named[:, 1]).astype(np.uint8)


def _tell_pairs_twice(path: Path, pairs: np.ndarray) -> None:
    """Say how many pairs are listed again, in whichever order: the benchmark counts each line."""
    again = len(pairs) - len(np.unique(np.sort(pairs, axis=1), axis=0))
    if again:
        logging.warning("%s: %d of %d lines list a pair again, and count as all others do.", path, again, len(pairs))


def _read_numbers(path: Path, columns: tuple[int, ...]) -> np.ndarray:
    """Columns of every line, (lines, columns) int64; an empty line may end the file."""
    try:
        lines = read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file; unpack its source again.") from None
    if lines and not lines[-1]:
        lines.pop()
    rows = np.empty((len(lines), len(columns)), np.int64)
    width = len(lines[0].split()) if lines else 0
    for number, line in enumerate(lines):
        words = line.split()
        chosen = [words[column] for column in columns if column < len(words)]
        if len(chosen) != len(columns) or not all(map(_ID.fullmatch, chosen)):
            raise DataError(
                f"{path}: line {number + 1}: {shorten(line, 60)!r} does not hold whole numbers in columns "
                f"{', '.join(str(column + 1) for column in columns)}; fetch the archive again."
            )
        if len(words) != width:  # cut off
            raise DataError(
                f"{path}: line {number + 1} holds {len(words)} numbers, the first one {width}; fetch the archive again."
            )
        rows[number] = list(map(int, chosen))
    return rows
