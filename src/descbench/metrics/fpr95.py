"""FPR95 of pairs of patches: how many wrong pairs pass at the distance that 95 % of the right pairs keep to.

Definition: docs/protocols/hpatches_patches.md, FPR95. It is the share of wrong pairs that stand before the right pair
with which 95 % of the right ones are reached, so it is the mean of one value a wrong pair, 1 where it stands there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descbench.metrics.intervals import DRAWS, draw_rows, middle

_RECALL = 95  # percent


def fpr95(distances: np.ndarray, matches: np.ndarray) -> float:
    """False positive rate at 95 % recall, a fraction from 0 to 1; lower is better.

    Args:
        distances: (M,) of the pairs, smaller for patches that are more alike. Equal ones stay in the order of the list.
        matches: (M,) 1 where both patches show the same point, else 0.

    Raises:
        ValueError: arrays that do not fit, NaN or infinity, or a list without right or without wrong pairs.
    """
    _, fooled = _in_order(distances, matches)
    return float(fooled.sum() / np.count_nonzero(np.asarray(matches) == 0))


def fooled_pairs(distances: np.ndarray, matches: np.ndarray) -> np.ndarray:
    """(M,) float64: 1 for wrong pairs that pass as right, 0 for other wrong pairs, NaN for right pairs.

    Their mean is :func:`fpr95`. Arguments and errors as there.
    """
    order, fooled = _in_order(distances, matches)
    values = np.full(len(order), np.nan)
    values[order] = fooled
    values[np.asarray(matches) != 0] = np.nan
    return values


def threshold(distances: np.ndarray, matches: np.ndarray) -> tuple[float, np.ndarray]:
    """Where the false positives of :func:`fpr95` end. Arguments and errors as there.

    Returns:
        distance of the first right pair with which 95 % of the right pairs are reached, and which pairs (M,) stand
        before it or are it.
    """
    order, _ = _in_order(distances, matches)
    last = np.flatnonzero(np.asarray(matches)[order] != 0)[needed_pairs(np.count_nonzero(matches)) - 1]
    passed = np.zeros(len(order), bool)
    passed[order[: last + 1]] = True
    return float(np.asarray(distances)[order[last]]), passed


@dataclass(frozen=True)
class Drawn:
    """What draws of pairs gave, at R recalls.

    Attributes:
        counts: (n, R) int64, wrong pairs of each draw that pass.
        right: (R,) int64, right pairs of a draw that make each recall.
        wrong: wrong pairs of a draw.
    """

    counts: np.ndarray
    right: np.ndarray
    wrong: int


def fpr95_interval(
    distances: np.ndarray, matches: np.ndarray, points: np.ndarray | None = None
) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval over pairs: in each draw the threshold is found anew.

    Right and wrong pairs are drawn by themselves, as many as there are of each, divided by :func:`design_effect`.

    Args:
        distances, matches: as in :func:`fpr95`, with its errors.
        points: (M, 2) points that the patches of the pairs show; None: pairs say nothing of each other.

    Returns:
        lowest and highest plausible value; None where there are fewer than two right or two wrong pairs.
    """
    drawn = draw_false_positives(distances, matches, (_RECALL,), points)
    return None if drawn is None else middle(drawn.counts[:, 0] / drawn.wrong)


def before_right_pairs(distances: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, int]:
    """How many wrong pairs stand before each right pair, (n,) int64 ascending, and how many wrong pairs there are.

    Arguments and errors as in :func:`fpr95`.
    """
    order, _ = _in_order(distances, matches)
    places = np.flatnonzero(np.asarray(matches)[order] != 0)
    return places - np.arange(len(places)), len(order) - len(places)


def draw_false_positives(
    distances: np.ndarray, matches: np.ndarray, recalls: Sequence[int], points: np.ndarray | None = None
) -> Drawn | None:
    """The draws of :func:`fpr95_interval`, at several recalls in percent; arguments and errors as there."""
    before, wrong_count = before_right_pairs(distances, matches)
    if min(len(before), wrong_count) < 2:
        return None
    effect = 1.0 if points is None else design_effect(distances, matches, points)
    drawn_count, drawn_wrong = (max(2, round(size / effect)) for size in (len(before), wrong_count))
    needed = needed_pairs(drawn_count, np.array(recalls))
    rights = (row for rows in draw_rows(len(before), drawn=drawn_count) for row in rows)
    wrongs = (row for rows in draw_rows(wrong_count, stream=1, drawn=drawn_wrong) for row in rows)
    counts = np.empty((DRAWS, len(recalls)), np.int64)
    passed = np.zeros(wrong_count + 1, np.int64)
    for number, (right, wrong) in enumerate(zip(rights, wrongs, strict=True)):
        # Of the drawn right pairs, the one that reaches the recall decides: all wrong ones before it pass.
        reached = np.cumsum(np.bincount(right, minlength=len(before)))
        np.cumsum(np.bincount(wrong, minlength=wrong_count), out=passed[1:])
        counts[number] = passed[before[np.searchsorted(reached, needed)]]
    return Drawn(counts, needed, drawn_wrong)


def design_effect(distances: np.ndarray, matches: np.ndarray, points: np.ndarray) -> float:
    """How many times the variance of FPR95 is what it were if no two pairs shared a point; at least 1.

    Definition: docs/protocols/hpatches_patches.md, FPR95. Arguments and errors as in :func:`fpr95_interval`.
    """
    order, fooled = _in_order(distances, matches)
    right, points = np.asarray(matches)[order] != 0, np.asarray(points)[order]
    share = fooled.sum() / np.count_nonzero(~right)
    influence = np.where(right, 0.0, (fooled - share) / np.count_nonzero(~right))
    influence[right] = _influence_of_threshold(right)
    alone = math.fsum(influence**2)
    if not alone:
        return 1.0
    # Of each point, what all pairs with it do; wrong pairs stand with both of their points, and count once.
    names, place = np.unique(points, return_inverse=True)
    place = np.sort(place.reshape(points.shape), axis=1)
    wrong = np.where(right, 0.0, influence)
    together = np.bincount(place[:, 0], influence, len(names)) + np.bincount(place[:, 1], wrong, len(names))
    _, both = np.unique(place[:, 0] * len(names) + place[:, 1], return_inverse=True)
    twice = np.bincount(both, wrong)
    return max(1.0, (math.fsum(together**2) - math.fsum(twice**2)) / alone)


def _influence_of_threshold(right: np.ndarray) -> np.ndarray:
    """What each right pair does to FPR95 by moving the threshold, (n,) of the right ones among the ordered pairs.

    It is minus the slope of the curve of wrong pairs over right ones, taken over two standard errors of the recall to
    either side, times the pair's own part in the recall.
    """
    places = np.flatnonzero(right)
    count, wrong, needed = len(places), len(right) - len(places), needed_pairs(len(places))
    reach = math.ceil(2 * math.sqrt(0.95 * 0.05 * count))
    low, high = max(0, needed - 1 - reach), min(count - 1, needed - 1 + reach)
    between = places[high] - places[low] - (high - low)
    slope = between / wrong / ((high - low) / count) if high > low else 0.0
    return -slope * ((np.arange(count) < needed) - needed / count) / count


def _in_order(distances: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of the pairs (M,), nearest first, and which of them, in this order, are wrong pairs that pass."""
    distances, matches = np.asarray(distances), np.asarray(matches) != 0
    if distances.ndim != 1 or distances.shape != matches.shape:
        raise ValueError(f"{distances.shape} distances and {matches.shape} labels do not fit")
    if not np.isfinite(distances).all():
        raise ValueError("a distance is NaN or infinite")
    count = np.count_nonzero(matches)
    if not 0 < count < len(matches):
        raise ValueError(f"{count} of {len(matches)} pairs are right ones; both kinds are needed")
    order = np.argsort(distances, kind="stable")
    right = matches[order]
    threshold = int(np.searchsorted(np.cumsum(right), needed_pairs(count)))
    return order, ~right & (np.arange(len(order)) < threshold)


def needed_pairs(count: int, recall: int | np.ndarray = _RECALL) -> Any:
    """The smallest number that is at least ``recall`` percent of ``count``, in whole numbers; one for each recall."""
    return -(-recall * count // 100)
