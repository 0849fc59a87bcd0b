"""Mean matching accuracy: how many matches of two images lie where the true homography maps them.

Definition: docs/protocols/hpatches_sequences.md, Mean matching accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLDS = tuple(range(1, 11))


def warp(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """(M, 2) float64 where a homography maps points; what it maps to infinity is infinite.

    Args:
        points: (M, 2) x, y.
        homography: (3, 3) float64.
    """
    mapped = np.column_stack([np.asarray(points, np.float64), np.ones(len(points))]) @ homography.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = mapped[:, :2] / mapped[:, 2:]
    return np.where(np.isnan(found), np.inf, found)


def match_errors(first: np.ndarray, second: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """(M,) float64 distances in pixels of the second image between its points and where those of the first belong.

    Args:
        first, second: (M, 2) x, y of the matches in both images.
        homography: (3, 3) true, from pixels of the first to those of the second.
    """
    differences = warp(first, homography) - np.asarray(second, np.float64)
    return np.hypot(differences[:, 0], differences[:, 1])


def matching_accuracy(errors: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> list[float]:
    """Share of matches whose error is at most each threshold; 0 where there is no match."""
    if not len(errors):
        return [0.0] * len(thresholds)
    return [float((errors <= threshold).sum() / len(errors)) for threshold in thresholds]
