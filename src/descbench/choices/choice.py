"""A choice of how results are scored, and the file of what a cell scores under each.

Definition: docs/protocols/choices.md, How to read it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

from descbench.errors import DataError, StaleFileError
from descbench.io.digests import sha256_file
from descbench.io.jsonfiles import as_record, read_json, write_checked_json
from descbench.io.kinds import shorten
from descbench.metrics.scores import Scores, read_scores

Values = dict[str, float]
Results = TypeVar("Results")
_WHAT = "file of protocol choices"
# Sums in another order than that of the scores file differ by rounding only.
_ROUNDING = 1e-9


class NotMeantError(Exception):
    """A choice that says nothing about these results; the message is the reason, for whoever misses it."""


@dataclass(frozen=True)
class Choice(Generic[Results]):
    """A choice of scoring.

    Attributes:
        name: in tables.
        text: what is computed, in one sentence.
        rescore: results of a method on a dataset -> metric -> value, of the metrics that it concerns, in the units of
            the scores file; NotMeantError where it concerns none.
        used_by: who is known to score so; empty where nobody is for certain.
    """

    name: str
    text: str
    rescore: Callable[[Results], Values]
    used_by: str = ""


@dataclass(frozen=True)
class Rescored:
    """What one choice makes of a cell.

    Attributes:
        name, text, used_by: of the choice.
        values: by metric, in the unit of the scores file; empty where the choice says nothing about these results.
        reason: why it does not; None where it does.
    """

    name: str
    text: str
    used_by: str
    values: dict[str, float]
    reason: str | None = None


@dataclass(frozen=True)
class RescoredCell:
    """Content of a file of protocol choices.

    Attributes:
        cell: method and dataset.
        scores: SHA-256 of the scores file that the choices are compared with.
        choices: all of the family.
    """

    cell: str
    scores: str
    choices: list[Rescored]


def rescore(
    choices: Sequence[Choice[Results]], results: Results, scores: Path, ours: Mapping[str, float], output: Path
) -> None:
    """Score results under each choice and write what comes out.

    Args:
        choices: of the family.
        results: of a method on a dataset, as the choices take them.
        scores: the scores file of these results.
        ours: metric -> value that the results score as the scores file says they do.
        output: file to write.

    Raises:
        StaleFileError: the scores file has other values than ``ours``.
    """
    known = read_scores(scores)
    check_same(known, ours, scores)
    found = [_rescored(choice, results, known) for choice in choices]
    write_checked_json(output, asdict(RescoredCell(known.cell or "", sha256_file(scores), found)))


def check_same(known: Scores, ours: Mapping[str, float], path: Path) -> None:
    """Refuse scores that are not of the results at hand; StaleFileError."""
    for name, value in ours.items():
        metric = known.metrics.get(name)
        stated = None if metric is None else metric.value
        if (stated is None) != math.isnan(value) or (stated is not None and abs(stated - value) > _ROUNDING):
            raise StaleFileError(
                f"{path}: {name} is {stated}, but the results that it was made from give {value}; delete it and rerun."
            )


def read_rescored(path: str | os.PathLike[str], cell: str, scores: Path) -> RescoredCell:
    """Read what :func:`rescore` wrote.

    Args:
        path: the file.
        cell: method and dataset that it must be of.
        scores: the scores file that it must have been compared with.

    Raises:
        StaleFileError: it is of another cell, or of other scores.
        DataError: it is damaged.
    """
    found = as_record(RescoredCell, read_json(path, _WHAT), path, _WHAT)
    if found.cell != cell:
        raise StaleFileError(
            f"{path}: protocol choices of {shorten(found.cell)}, not of {cell}; delete the file and rerun."
        )
    if found.scores != sha256_file(scores):
        raise StaleFileError(f"{path}: compared with other scores than {scores} has now; delete the file and rerun.")
    for choice in found.choices:
        if any(not math.isfinite(value) for value in choice.values.values()):
            raise DataError(f"{path}: {shorten(choice.name)} has a value that is not a number; delete it and rerun.")
    return found


def _rescored(choice: Choice[Results], results: Results, known: Scores) -> Rescored:
    try:
        values = choice.rescore(results)
    except NotMeantError as reason:
        return Rescored(choice.name, choice.text, choice.used_by, {}, str(reason))
    kept = {name: float(value) for name, value in values.items() if name in known.metrics and math.isfinite(value)}
    reason = None if kept else "no query counts"
    return Rescored(choice.name, choice.text, choice.used_by, kept, reason)
