"""Homography accuracy: how far an estimated homography takes the corners of an image from where they belong.

Definition: docs/protocols/hpatches_sequences.md, Homography accuracy, and At 640 x 480.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from descbench.matching.homography import FEWEST, HomographySettings, estimate_homography
from descbench.matching.matcher import MatchSettings, match_descriptors, normalised
from descbench.metrics.mma import warp
from descbench.neighbours.nearest import NearestProducts

CORNER_THRESHOLDS = (1, 3, 5, 10)
FIXED_THRESHOLDS = (1, 3, 5)
FIXED_SIZE = (640, 480)
_FIXED = HomographySettings("ransac", 3.0, 5000, 0.995)
_SCORE_THRESHOLD = 3.0
Size = tuple[int, int]
Corners = Literal["second", "first", "swapped"]


def image_corners(first: Size, second: Size, corners: Corners = "second") -> np.ndarray:
    """(4, 2) float64 x, y of the points whose displacement is measured.

    Args:
        first, second: width and height of both images.
        corners: of which image: ``second`` (HNDesc), ``first``, or ``swapped``: of the second with its height and width
            in each other's place.
    """
    width, height = first if corners == "first" else second
    if corners == "swapped":
        width, height = height, width
    return np.array([(0, 0), (0, height - 1), (width - 1, height - 1), (width - 1, 0)], np.float64)


def corner_error(estimated: np.ndarray | None, true: np.ndarray, points: np.ndarray) -> float:
    """Mean distance in pixels between where two homographies map points; infinity where nothing was estimated.

    Args:
        estimated, true: (3, 3) float64.
        points: (4, 2), of :func:`image_corners`.
    """
    if estimated is None:
        return math.inf
    differences = warp(points, estimated) - warp(points, true)
    error = float(np.hypot(differences[:, 0], differences[:, 1]).mean())
    return math.inf if math.isnan(error) else error


def scaled_homography(
    homography: np.ndarray, before: tuple[Size, Size], after: tuple[tuple[float, float], tuple[float, float]]
) -> np.ndarray:
    """(3, 3) float64 between two images that were resized: S_2 H S_1^-1.

    Args:
        homography: (3, 3) between the originals.
        before, after: width and height of the first and of the second image.
    """
    first, second = (np.diag([new[0] / old[0], new[1] / old[1], 1.0]) for old, new in zip(before, after, strict=True))
    return second @ homography @ np.linalg.inv(first)


def fixed_corner_error(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], homography: np.ndarray
) -> float:
    """Corner error of two images of 640 x 480, matched by the keypoints that both can see.

    Args:
        first, second: (N, 2) float32 x, y and (N, D) descriptors of both images.
        homography: (3, 3) true, between the resized images.
    """
    (points_a, rows_a), (points_b, rows_b) = first, second
    seen_a, seen_b = _inside(warp(points_a, homography)), _inside(warp(points_b, np.linalg.inv(homography)))
    matches = match_descriptors(rows_a[seen_a], rows_b[seen_b], MatchSettings()).indices
    if len(matches) < FEWEST:
        return math.inf
    found = estimate_homography(points_a[seen_a][matches[:, 0]], points_b[seen_b][matches[:, 1]], _FIXED)
    return corner_error(found.matrix, homography, image_corners(FIXED_SIZE, FIXED_SIZE))


def matching_score(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], homography: np.ndarray
) -> float:
    """Share of keypoints seen by both images whose nearest neighbour is right, the mean of both directions.

    Arguments as of :func:`fixed_corner_error`.
    """
    (points_a, rows_a), (points_b, rows_b) = first, second
    if not len(points_a) or not len(points_b):
        return 0.0
    back = points_b[_nearest(rows_a, rows_b)], points_a, np.linalg.inv(homography)
    forth = points_a[_nearest(rows_b, rows_a)], points_b, homography
    return (_right_share(*back) + _right_share(*forth)) / 2


def _right_share(matched: np.ndarray, points: np.ndarray, homography: np.ndarray) -> float:
    """Of the matched points that a homography maps into the other image, those that come near their partners."""
    mapped = warp(matched, homography)
    width, height = FIXED_SIZE
    visible = (mapped >= 0).all(1) & (mapped <= (width - 1, height - 1)).all(1)
    near = np.hypot(*(mapped - points).T) < _SCORE_THRESHOLD
    return float((near & visible).sum() / max(visible.sum(), 1))


def _nearest(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) the most similar of the others."""
    return NearestProducts(normalised(others)).search(normalised(rows), 1)[0][:, 0]


def _inside(points: np.ndarray) -> np.ndarray:
    """(N,) whether points lie in an image of 640 x 480, its first row and column included."""
    return ((points >= 0) & (points < FIXED_SIZE)).all(1)
