"""How many pairs of patches are taken rightly and wrongly at each recall, with 95 % bands.

Definition: docs/protocols/hpatches_patches.md, Drawn curves. A scores file keeps them among its facts, by name: a part
of a patch set, or noise and kind of wrong pairs of HPatches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.metrics.fpr95 import before_right_pairs, draw_false_positives, needed_pairs
from descbench.metrics.intervals import draw_rows, middle

# Percent of the right pairs.
RECALLS = (1, *range(5, 96, 5), 97, 99)
_RECALLS = np.array(RECALLS)
_BLOCKS = 1000  # what right pairs are gathered into for the draws of sequences

# Value, and the ends of its 95 % interval (both None where they are unknown).
Banded = tuple[float, float | None, float | None]


@dataclass(frozen=True)
class Curve:
    """Of one list of pairs, at each recall of :data:`RECALLS`.

    Attributes:
        recall: (R,) percent of the right pairs that are taken.
        false_positives: (R,) share of the wrong pairs that are nearer than the last of them.
        precision: (R,) share of right pairs among all that are taken.
    """

    recall: list[int]
    false_positives: list[Banded]
    precision: list[Banded]


def pair_curve(distances: np.ndarray, matches: np.ndarray, points: np.ndarray | None = None) -> Curve:
    """The curve of a list of pairs; pairs are drawn as for the interval of FPR95, its design effect at all recalls.

    Args:
        distances, matches, points: as in :func:`descbench.metrics.fpr95.fpr95_interval`, with its errors.
    """
    before, wrong = before_right_pairs(distances, matches)
    drawn = draw_false_positives(distances, matches, RECALLS, points)
    needed = needed_pairs(len(before), _RECALLS)
    values = before[needed - 1]
    if drawn is None:
        return _curve(values, needed, wrong, None, None)
    precision = drawn.right / (drawn.right + drawn.counts)
    return _curve(values, needed, wrong, drawn.counts / drawn.wrong, precision)


def sequence_curve(before: np.ndarray, sequences: np.ndarray, wrong: int, count: int) -> Curve:
    """The curve of right pairs of sequences, which are drawn whole; wrong pairs stay as they are.

    Args:
        before: (P,) ascending, how many wrong pairs stand before each right pair.
        sequences: (P,) the sequence of each right pair, from 0.
        wrong: number of wrong pairs.
        count: of sequences.
    """
    needed = needed_pairs(len(before), _RECALLS)
    values = before[needed - 1]
    if count < 2:
        return _curve(values, needed, wrong, None, None)
    ends = np.unique(np.linspace(1, len(before), min(_BLOCKS, len(before))).astype(np.int64))
    blocks = np.searchsorted(ends, np.arange(len(before)), side="right")
    held = np.bincount(sequences * len(ends) + blocks, minlength=count * len(ends)).reshape(count, len(ends))
    found = [_drawn_places(row, held) for rows in draw_rows(count) for row in rows]
    drawn = before[ends[np.array([places for places in found if places is not None])] - 1]
    return _curve(values, needed, wrong, drawn / wrong, needed / (needed + drawn))


def read_curves(facts: dict[str, Any], where: object) -> dict[str, Curve]:
    """Curves among the facts of a scores file, by name.

    Args:
        facts: of the file.
        where: the file, for messages.

    Raises:
        DataError: they are not curves.
    """
    found = {}
    for name, record in facts.get("curves", {}).items():
        try:
            curve = Curve(
                [int(recall) for recall in record["recall"]],
                [_banded(*triple) for triple in record["false_positives"]],
                [_banded(*triple) for triple in record["precision"]],
            )
            if not len(curve.recall) == len(curve.false_positives) == len(curve.precision):
                raise ValueError(f"{len(curve.recall)} recalls of another number of values")
        except (KeyError, TypeError, ValueError) as error:
            message = f"{where}: curve {shorten(str(name))} is none ({error}); delete the file and rerun."
            raise DataError(message) from error
        found[name] = curve
    return found


def _drawn_places(row: np.ndarray, held: np.ndarray) -> np.ndarray | None:
    """(R,) the block in which each recall is reached by drawn sequences; None: none of them has a right pair."""
    reached = np.cumsum(np.bincount(row, minlength=len(held)) @ held)
    return np.searchsorted(reached, needed_pairs(reached[-1], _RECALLS)) if reached[-1] else None


def _curve(
    values: np.ndarray, needed: np.ndarray, wrong: int, rates: np.ndarray | None, precisions: np.ndarray | None
) -> Curve:
    """Of the counts of wrong pairs (R,), and what came out in the draws (n, R)."""
    return Curve(list(RECALLS), _with_bands(values / wrong, rates), _with_bands(needed / (needed + values), precisions))


def _with_bands(values: np.ndarray, drawn: np.ndarray | None) -> list[Banded]:
    ends: Sequence[tuple[float | None, float | None]]
    ends = [(None, None)] * len(values) if drawn is None else [middle(column) for column in drawn.T]
    return [(float(value), *end) for value, end in zip(values, ends, strict=True)]


def _banded(value: float, low: float | None, high: float | None) -> Banded:
    """Numbers from 0 to 1, the ends in order; TypeError or ValueError."""
    ends = (0.0, 1.0) if low is None and high is None else (low, high)
    if not (0 <= value <= 1 and 0 <= ends[0] <= ends[1] <= 1):
        raise ValueError(f"{low}, {value}, {high} are not shares with their interval")
    return value, low, high
