"""FPR95 of pairs of patches: how many wrong pairs pass at the distance that 95 % of the right pairs keep to.

Definition: docs/protocols/hpatches_patches.md, FPR95. It is the share of wrong pairs that stand before the right pair
with which 95 % of the right ones are reached, so it is the mean of one value a wrong pair, 1 where it stands there.
"""

from __future__ import annotations

import numpy as np

from descbench.metrics.intervals import draw_rows, middle


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
    last = np.flatnonzero(np.asarray(matches)[order] != 0)[_needed(np.count_nonzero(matches)) - 1]
    passed = np.zeros(len(order), bool)
    passed[order[: last + 1]] = True
    return float(np.asarray(distances)[order[last]]), passed


def fpr95_interval(distances: np.ndarray, matches: np.ndarray) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval over pairs: in each draw the threshold is found anew.

    Right and wrong pairs are drawn by themselves, as many as there are of each. Arguments and errors as in
    :func:`fpr95`.

    Returns:
        lowest and highest plausible value; None where there are fewer than two right or two wrong pairs.
    """
    order, _ = _in_order(distances, matches)
    right = np.asarray(matches)[order] != 0
    places = np.flatnonzero(right), np.flatnonzero(~right)
    count, wrong_count = map(len, places)
    if min(count, wrong_count) < 2:
        return None
    # Of each right pair, how many wrong ones stand before it; of the drawn, the one that reaches 95 % decides.
    before = places[0] - np.arange(count)
    needed = _needed(count)
    found = [np.partition(row, needed - 1)[needed - 1] for rows in draw_rows(count) for row in rows]
    values = np.empty(len(found))
    drawn = (row for rows in draw_rows(wrong_count, stream=1) for row in rows)
    for number, (place, row) in enumerate(zip(found, drawn, strict=True)):
        values[number] = np.count_nonzero(row < before[place])
    return middle(values / wrong_count)


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
    threshold = int(np.searchsorted(np.cumsum(right), _needed(count)))
    return order, ~right & (np.arange(len(order)) < threshold)


def _needed(count: int) -> int:
    """The smallest number that is at least 95 % of ``count``, in whole numbers."""
    return -(-95 * count // 100)
