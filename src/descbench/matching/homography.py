"""The homography that most matches of two images agree with.

Definition: docs/protocols/hpatches_sequences.md, Homography accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

FEWEST = 4  # matches that a homography can be fitted to


@dataclass(frozen=True)
class HomographySettings:
    """How a homography is estimated.

    Attributes:
        estimator: ``ransac`` or ``usac_magsac`` of OpenCV, or ``poselib`` (LO-RANSAC with refinement).
        threshold: largest distance in pixels of the second image between a match and where the homography maps it.
        iterations: most samples that are drawn.
        confidence: of having drawn one without a wrong match, at which drawing ends.
    """

    estimator: Literal["ransac", "usac_magsac", "poselib"] = "ransac"
    threshold: float = 3.0
    iterations: int = 5000
    confidence: float = 0.9995


@dataclass(frozen=True)
class EstimatedHomography:
    """What was found.

    Attributes:
        matrix: (3, 3) float64 from pixels of the first image to those of the second; None: nothing was found.
        inliers: (M,) bool, matches that it explains.
    """

    matrix: np.ndarray | None
    inliers: np.ndarray


def estimate_homography(
    first: np.ndarray, second: np.ndarray, settings: HomographySettings | None = None
) -> EstimatedHomography:
    """Estimate the homography of matched points; with fewer than four, or without any agreement, nothing is found.

    The same points give the same homography, since all estimators start from a fixed seed.

    Args:
        first, second: (M, 2) float32 x, y of the matches in both images.
        settings: how; None: as HNDesc.
    """
    settings = settings or HomographySettings()
    nothing = EstimatedHomography(None, np.zeros(len(first), bool))
    if len(first) < FEWEST:
        return nothing
    matrix, inliers = _ESTIMATORS[settings.estimator](first, second, settings)
    if matrix is None or not np.isfinite(matrix).all() or not inliers.any():
        return nothing
    return EstimatedHomography(np.asarray(matrix, np.float64), inliers)


def count_inliers(first: np.ndarray, second: np.ndarray, threshold: float = 5.0) -> int:
    """How many matches :func:`find_inliers` finds; arguments as there."""
    return int(find_inliers(first, second, threshold).sum())


def find_inliers(first: np.ndarray, second: np.ndarray, threshold: float = 5.0) -> np.ndarray:
    """Matches (M,) bool that one homography explains, by OpenCV's RANSAC with its own settings.

    Args:
        first, second: (M, 2) float32 x, y.
        threshold: in pixels of the second image.
    """
    return estimate_homography(first, second, HomographySettings("ransac", threshold, 2000, 0.995)).inliers


def _opencv(method: int) -> Callable[..., tuple[np.ndarray | None, np.ndarray]]:
    def estimate(
        first: np.ndarray, second: np.ndarray, settings: HomographySettings
    ) -> tuple[np.ndarray | None, np.ndarray]:
        points = (np.ascontiguousarray(points, np.float32) for points in (first, second))
        matrix, mask = cv2.findHomography(
            *points, method, settings.threshold, maxIters=settings.iterations, confidence=settings.confidence
        )
        return matrix, np.zeros(len(first), bool) if mask is None else mask.ravel() != 0

    return estimate


def _poselib(
    first: np.ndarray, second: np.ndarray, settings: HomographySettings
) -> tuple[np.ndarray | None, np.ndarray]:
    import poselib  # only where it is asked for

    options = {
        "max_reproj_error": settings.threshold,
        "max_iterations": settings.iterations,
        "success_prob": settings.confidence,
        "seed": 0,
    }
    matrix, told = poselib.estimate_homography(np.asarray(first, float), np.asarray(second, float), options)
    return matrix, np.asarray(told["inliers"], bool)


_ESTIMATORS = {
    "ransac": _opencv(cv2.RANSAC),
    "usac_magsac": _opencv(cv2.USAC_MAGSAC),
    "poselib": _poselib,
}
