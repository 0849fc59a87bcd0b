"""Hessian-Affine keypoints by pyhesaff, the detector behind the published engines (an optional package).

Definition: docs/protocols/oxford_bow.md, Affine frames.
"""

from __future__ import annotations

from types import ModuleType

import cv2
import numpy as np

from descbench.errors import ConfigError
from descbench.features.detectors import Detector
from descbench.features.keypoints import Keypoints, strongest, to_grey

# HesAff's own, the recipe of its authors.
THRESHOLD = 16 / 3
# Width of what an ellipse of pyhesaff encloses, over the sigma of its keypoint.
_REGION = 3 * np.sqrt(3)
# x, y, the three of the ellipse, and an orientation that is 0.
_NUMBERS = 6
# Strengths are measured at so many scales an octave, on an image that is halved until a sigma is below so many pixels.
_SCALES = 3
_LARGEST_SIGMA = 4.0


def hesaff_detector(threshold: float | None, most: int | None) -> Detector:
    """Hessian-Affine keypoints; their patches have a shape, and the y axis of a patch stays upright.

    Args:
        threshold: least strength, in grey values of 0 to 255; None: 16 / 3.
        most: how many keypoints are kept; None = all.

    Raises:
        ConfigError: pyhesaff is not installed.
    """
    pyhesaff = _pyhesaff()

    def detect(pixels: np.ndarray, grey: np.ndarray | None = None) -> Keypoints:
        image = np.ascontiguousarray(to_grey(pixels, grey))
        rows = pyhesaff.detect_feats_in_image(image, threshold=THRESHOLD if threshold is None else threshold)[0]
        x, y, across, sheared, down = np.asarray(rows, np.float64).reshape(-1, _NUMBERS)[:, :5].T
        sigmas = np.sqrt(across * down) / _REGION
        axes = np.zeros((len(rows), 2, 2))
        axes[:, 0, 0], axes[:, 1, 0], axes[:, 1, 1] = across, sheared, down
        axes /= np.sqrt(across * down)[:, None, None]
        points = np.stack([x, y], axis=1)
        strengths = _strengths(image, points, sigmas)
        angles = np.arctan2(axes[:, 1, 0], axes[:, 0, 0])
        return strongest(Keypoints(points, 2 * sigmas, angles, strengths, shapes=axes), most)

    return detect


def _pyhesaff() -> ModuleType:
    try:
        import pyhesaff
    except ImportError:
        raise ConfigError(
            "detector hesaff needs the package pyhesaff: `pip install -r requirements/hesaff.txt`, or take detector "
            "hessian with AffNet."
        ) from None
    return pyhesaff


def _strengths(grey: np.ndarray, points: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """(n,) root of the determinant of the Hessian times sigma squared, which pyhesaff does not give.

    Args:
        grey: (H, W) uint8.
        points: (n, 2) x, y.
        sigmas: (n,) of the keypoints; the nearest of three an octave is measured at.
    """
    found = np.zeros(len(points))
    steps = np.rint(_SCALES * np.log2(sigmas)).astype(int)
    for step in np.unique(steps):
        sigma, level, factor = 2.0 ** (step / _SCALES), grey.astype(np.float32), 1
        while sigma / factor > _LARGEST_SIGMA and min(level.shape) > 1:
            level, factor = cv2.pyrDown(level), 2 * factor
        # pyrDown has smoothed by about half a pixel of the level.
        rest = max((sigma / factor) ** 2 - (0.25 if factor > 1 else 0.0), 0.01)
        smooth = np.pad(cv2.GaussianBlur(level, (0, 0), np.sqrt(rest)).astype(np.float64), 1, mode="edge")
        chosen = steps == step
        columns, rows = np.clip(np.rint(points[chosen] / factor).astype(int), 0, np.array(level.shape[::-1]) - 1).T + 1
        middle = smooth[rows, columns]
        xx = smooth[rows, columns - 1] + smooth[rows, columns + 1] - 2 * middle
        yy = smooth[rows - 1, columns] + smooth[rows + 1, columns] - 2 * middle
        crossed = smooth[rows + 1, columns + 1] + smooth[rows - 1, columns - 1]
        crossed = (crossed - smooth[rows + 1, columns - 1] - smooth[rows - 1, columns + 1]) / 4
        found[chosen] = np.sqrt(np.abs(xx * yy - crossed**2)) * (sigma / factor) ** 2
    return found
