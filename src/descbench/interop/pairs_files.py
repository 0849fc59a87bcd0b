"""Pairs files: hloc's ``query map`` lines and kapture's ``query, map, score`` (docs/interop.md, Pairs files)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from descbench.datasets.labels import safe_relative
from descbench.errors import DataError
from descbench.io.atomic import write_text
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines

PairsFormat = Literal["hloc", "kapture"]
_HEADER = "# kapture format: 1.1\n# query_image, map_image, score\n"


@dataclass(frozen=True)
class NamedPair:
    """Two images by name, and how similar they are; hloc's files have no score."""

    query: str
    image: str
    score: float | None = None


def read_pairs_file(path: Path, form: PairsFormat) -> list[NamedPair]:
    """Pairs of a file, in order.

    Raises:
        DataError: the file is absent, holds no pair, or a line that is none, with a name that leaves its folder or a
            score that is not a finite number; names the line.
    """
    try:
        lines = read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such pairs file.") from None
    read = {"hloc": _hloc_pair, "kapture": _kapture_pair}[form]
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (form == "kapture" and line[0] == "#"):
            continue
        try:
            pairs.append(read(line, path))
        except ValueError as error:
            raise DataError(f"{path}: line {number}: {shorten(line)!r} is not a pair of {form}: {error}.") from None
    if not pairs:
        raise DataError(f"{path}: holds no pair.")
    return pairs


def check_replaced(path: Path, form: PairsFormat) -> None:
    """Refuse what is not a pairs file, as :func:`read_pairs_file`; one of comments alone, without a pair, is one."""
    if not all(line.startswith("#") or not line.strip() for line in read_lines(path)):
        read_pairs_file(path, form)


def _hloc_pair(line: str, path: Path) -> NamedPair:
    fields = line.split()
    if len(fields) != 2:
        raise ValueError("two names, a blank between them")
    return NamedPair(*(safe_relative(name, path) for name in fields))


def _kapture_pair(line: str, path: Path) -> NamedPair:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 3:
        raise ValueError("two names and a score, commas between them")
    score = float(fields[2])
    if not math.isfinite(score):
        raise ValueError("a score that is not a finite number")
    return NamedPair(safe_relative(fields[0], path), safe_relative(fields[1], path), score)


def write_pairs_file(pairs: Sequence[NamedPair], path: Path, form: PairsFormat) -> None:
    """Write pairs, in order. Pairs without a score have 1 in a file of kapture.

    Raises:
        DataError: a name that the format cannot hold (a blank for hloc, a comma for kapture), or a full disk.
    """
    for name in (name for pair in pairs for name in (pair.query, pair.image)):
        safe_relative(name, path)
        bad = len(name.split()) != 1 or name.split()[0] != name if form == "hloc" else "," in name or name[0] == "#"
        if bad or "\n" in name or "\r" in name or name != name.strip():
            raise DataError(f"{path}: image name {shorten(name)!r} cannot stand in a pairs file of {form}; rename it.")
    match form:
        case "hloc":
            text = "".join(f"{pair.query} {pair.image}\n" for pair in pairs)
        case "kapture":
            scores = [1.0 if pair.score is None else pair.score for pair in pairs]
            rows = zip(pairs, scores, strict=True)
            text = _HEADER + "".join(f"{pair.query}, {pair.image}, {score!r}\n" for pair, score in rows)
    write_text(path, text)
