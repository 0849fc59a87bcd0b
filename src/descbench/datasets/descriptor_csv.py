"""Descriptors of HPatches patches in the benchmark's own format: ``<folder>/<sequence>/<view>.csv``, a row a patch.

Format: docs/protocols/hpatches_patches.md, Descriptor files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from descbench.datasets.hpatches_patches import STRIPS
from descbench.errors import DataError
from descbench.io.atomic import write_text
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines

DELIMITERS = (",", ";")
# As the benchmark's scripts write them: fixed, with 5 decimals; general, with 5 digits; exact, all of a float32.
STYLES: Mapping[str, str] = {"fixed": "%10.5f", "general": "%.5g", "exact": "%.9g"}
_NUMBER = re.compile(r" *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})? *")


def read_descriptor_csv(path: Path, delimiter: str = ",") -> np.ndarray:
    """(N, D) float32 descriptors of one view, D at least 2.

    Args:
        path: the file.
        delimiter: between the numbers of a row, one of ``DELIMITERS``; blanks around numbers do not count.

    Raises:
        DataError: the file is absent or cut short, has rows of different lengths or of one number (another delimiter),
            or holds what is not a finite float32 number.
    """
    try:
        lines = read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file; every sequence needs the files {STRIPS[0]}.csv to t5.csv.") from None
    if lines and not lines[-1]:
        lines.pop()
    elif lines:
        raise DataError(f"{path}: line {len(lines)}: does not end, the file is cut short; write it again.")
    if not lines:
        raise DataError(f"{path}: empty; write it again.")
    width = lines[0].count(delimiter) + 1
    if width == 1:
        other = next((sign for sign in DELIMITERS if sign != delimiter and sign in lines[0]), None)
        advice = f"the delimiter seems to be {other!r}" if other else f"is {delimiter!r} the delimiter?"
        raise DataError(f"{path}: line 1: one number in a row, where a descriptor has at least two; {advice}")
    for number, line in enumerate(lines, 1):
        if line.count(delimiter) + 1 != width:
            raise DataError(
                f"{path}: line {number}: {line.count(delimiter) + 1} numbers, line 1 has {width}; write it again."
            )
    try:
        found = np.loadtxt(lines, np.float64, comments=None, delimiter=delimiter, ndmin=2)
        with np.errstate(over="ignore"):
            single = found.astype(np.float32)
        if len(found) == len(lines) and np.isfinite(single).all():
            return single
    except ValueError:
        pass
    raise _first_wrong(path, lines, delimiter)


def read_descriptors(folder: Path, sequence: str, count: int, patches: Path, delimiter: str = ",") -> np.ndarray:
    """(16, N, D) float32 descriptors of a sequence, a view in the order of ``STRIPS`` each.

    Args:
        folder: of the descriptor.
        sequence: its name, the name of the folder in it.
        count: N, patches of the sequence.
        patches: file of these patches, for messages.
        delimiter: as in :func:`read_descriptor_csv`.

    Raises:
        DataError: a file is absent or malformed, has a row too many or too few, or another dimension than ``ref.csv``.
    """
    views = []
    for view in STRIPS:
        path = folder / sequence / f"{view}.csv"
        found = read_descriptor_csv(path, delimiter)
        if len(found) != count:
            raise DataError(
                f"{path}: {len(found)} descriptors, but {patches} has {count} patches of each view; describe these."
            )
        if views and found.shape[1] != views[0].shape[1]:
            raise DataError(
                f"{path}: descriptors of {found.shape[1]} dimensions, {STRIPS[0]}.csv has {views[0].shape[1]}; write "
                "both again."
            )
        views.append(found)
    return np.stack(views)


def write_descriptor_csv(path: Path, descriptors: np.ndarray, delimiter: str = ",", style: str = "fixed") -> None:
    """Write the descriptors (N, D) of one view, atomically.

    Args:
        path: the file.
        descriptors: finite, N at least 1, D at least 2.
        delimiter: one of ``DELIMITERS``.
        style: key of ``STYLES``; ``exact`` gives back the same float32 numbers, the others round.

    Raises:
        DataError: descriptors that the format cannot hold.
    """
    if descriptors.ndim != 2 or len(descriptors) < 1 or descriptors.shape[1] < 2:
        raise DataError(f"{path}: descriptors of shape {descriptors.shape} cannot be written; rows of 2 numbers can.")
    if not np.isfinite(descriptors).all():
        row = np.flatnonzero(~np.isfinite(descriptors).all(axis=1))[0]
        raise DataError(f"{path}: descriptor {row} holds NaN or infinity; the network or its weights are broken.")
    line = delimiter.join([STYLES[style]] * descriptors.shape[1]) + "\n"
    write_text(path, "".join(line % tuple(row) for row in descriptors.tolist()))


def write_descriptors(
    folder: Path, sequence: str, descriptors: np.ndarray, delimiter: str = ",", style: str = "fixed"
) -> list[Path]:
    """Write a sequence (16, N, D) and return the files; arguments and errors as in :func:`write_descriptor_csv`."""
    files = [folder / sequence / f"{view}.csv" for view in STRIPS]
    for path, view in zip(files, descriptors, strict=True):
        write_descriptor_csv(path, view, delimiter, style)
    return files


def _first_wrong(path: Path, lines: list[str], delimiter: str) -> DataError:
    """The error that names the first word that is not a finite number."""
    for number, line in enumerate(lines, 1):
        for word in line.split(delimiter):
            with np.errstate(over="ignore"):
                if not _NUMBER.fullmatch(word) or not np.isfinite(np.float32(word)):
                    return DataError(
                        f"{path}: line {number}: {shorten(word.strip(), 40)!r} is not a finite 32-bit number; write "
                        "it again."
                    )
    return DataError(f"{path}: not a table of numbers; write it again.")
