"""Mean average precision of the Oxford and Paris benchmarks, revisited (CVPR 2018) and classic.

Definition: docs/protocols/revisitop.md, Junk to Precision at k. Everything is in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from descbench.config.datasets import KAPPAS

Setups = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
# Suffix of the metrics -> (labels that are positives, labels that are ignored).
SETUPS: Setups = {
    "_easy": (("easy",), ("junk", "hard")),
    "_medium": (("easy", "hard"), ("junk",)),
    "_hard": (("hard",), ("junk", "easy")),
}
CLASSIC_SETUPS: Setups = {"": (("ok",), ("junk",))}


@dataclass(frozen=True)
class MapResult:
    """Result of :func:`compute_map`.

    Attributes:
        map: mean of the average precisions of queries with positives; NaN if there is none.
        aps: (Q,) average precision of each query; NaN without positives.
        mean_precisions: (len(kappas),) mean precision at each kappa.
        precisions: (Q, len(kappas)) precision at each kappa; NaN without positives.
    """

    map: float
    aps: np.ndarray
    mean_precisions: np.ndarray
    precisions: np.ndarray


def compute_ap(ranks: Iterable[int], nres: int) -> float:
    """Average precision by the trapezoid rule.

    Args:
        ranks: 0-based positions of the retrieved positives, ascending.
        nres: number of positives listed for the query, retrieved or not; more than 0.
    """
    ap = 0.0
    for j, rank in enumerate(ranks):
        before = 1.0 if rank == 0 else j / rank
        after = (j + 1) / (rank + 1)
        ap += (before + after) / (2.0 * nres)
    return float(ap)


def compute_map(
    ranks: np.ndarray, gnd: Sequence[Mapping[str, Sequence[int]]], kappas: Sequence[int] = KAPPAS
) -> MapResult:
    """Mean average precision and mean precision at kappa.

    Junk images are taken out of the ranking before anything is counted. The precision at kappa is
    clamped as in the original: kappa is at most the position of the last retrieved positive.
    Two edge cases in which the original stops: a query none of whose positives was retrieved scores
    0 here, and NaN is returned when no query has positives.

    Args:
        ranks: (n_ranked, Q) integer image ids, best first, one column per query.
        gnd: per query the ids under ``ok`` (positives) and, optionally, ``junk`` (ignored).
        kappas: depths of the precision.
    """
    aps = np.full(len(gnd), np.nan)
    precisions = np.full((len(gnd), len(kappas)), np.nan)
    for query, labels in enumerate(gnd):
        positives = np.asarray(labels["ok"], np.int64)
        if positives.size == 0:
            continue
        ranked = ranks[:, query]
        found = np.flatnonzero(np.isin(ranked, positives))
        junk = np.flatnonzero(np.isin(ranked, np.asarray(labels.get("junk", ()), np.int64)))
        positions = found - np.searchsorted(junk, found, side="left")
        aps[query] = compute_ap(positions.tolist(), positives.size)
        precisions[query] = [_precision(positions, kappa) for kappa in kappas]
    return MapResult(_mean(aps), aps, np.array([_mean(column) for column in precisions.T]), precisions)


def setup_scores(
    ranks: np.ndarray,
    gnd: Sequence[Mapping[str, Sequence[int]]],
    setups: Setups = SETUPS,
    kappas: Sequence[int] = KAPPAS,
) -> dict[str, MapResult]:
    """Scores under each setup of a protocol.

    Args:
        ranks: (n_ranked, Q) integer image ids, best first.
        gnd: per query the ids under the labels that the setups name.
        setups: :data:`SETUPS` of the revisited protocol, or :data:`CLASSIC_SETUPS`.
        kappas: depths of the precision.

    Returns:
        the result of each, by the suffix of its metrics: ``_easy``, ``_medium``, ``_hard``; empty of the classic one.
    """
    return {
        suffix: compute_map(
            ranks, [{"ok": _join(query, positive), "junk": _join(query, ignored)} for query in gnd], kappas
        )
        for suffix, (positive, ignored) in setups.items()
    }


def _precision(positions: np.ndarray, kappa: int) -> float:
    if positions.size == 0:
        return 0.0
    depth = min(int(positions[-1]) + 1, kappa)
    return int(np.count_nonzero(positions + 1 <= depth)) / depth


def _mean(values: np.ndarray) -> float:
    """Sum of what is not NaN, in order, over how many those are; NaN for none."""
    known = [float(value) for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def _join(labels: Mapping[str, Sequence[int]], names: Sequence[str]) -> list[int]:
    return [int(i) for name in names for i in labels.get(name, ())]
