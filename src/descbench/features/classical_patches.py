"""Descriptors of patches that nobody trained: pixels, SIFT, RootSIFT (docs/protocols/hardnet.md, Other descriptors)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from descbench.features.patch_pixels import resize_patches

_PIXELS = 32  # side of the patches that are pixels
# Width of the region that OpenCV's SIFT describes, over the size of its keypoint.
_REGION = 5.303
_DIM = 128


@dataclass(frozen=True)
class Classical:
    """A rule: dimensions, and (n, H, W) uint8 -> (n, dim) float32."""

    dim: int
    describe: Callable[[np.ndarray], np.ndarray]


def library() -> str:
    """What the rules rest on."""
    return f"opencv {cv2.__version__}"


def describe_pixels(patches: np.ndarray) -> np.ndarray:
    """Pixels of 32 x 32 patches, less their mean, of unit length; a patch of one grey is all zeros."""
    rows = resize_patches(patches, _PIXELS).reshape(len(patches), -1).astype(np.float64)
    rows -= rows.mean(1, keepdims=True)
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def describe_sift(patches: np.ndarray) -> np.ndarray:
    """OpenCV's SIFT of one keypoint in the middle of each patch; whole numbers in 0..255."""
    extractor = cv2.SIFT_create()
    side = patches.shape[2]
    keypoint = cv2.KeyPoint(side / 2, side / 2, side / _REGION)
    rows = np.empty((len(patches), _DIM), np.float32)
    for row, patch in zip(rows, patches, strict=True):
        row[:] = extractor.compute(np.ascontiguousarray(patch), [keypoint])[1][0]
    return rows


def describe_rootsift(patches: np.ndarray) -> np.ndarray:
    """Square roots of SIFT's shares of its sum; zeros where that is zero."""
    rows = describe_sift(patches)
    totals = rows.sum(1, keepdims=True)
    return np.sqrt(rows / np.where(totals == 0, 1, totals))


CLASSICAL = {
    "pixels": Classical(_PIXELS**2, describe_pixels),
    "sift": Classical(_DIM, describe_sift),
    "rootsift": Classical(_DIM, describe_rootsift),
}
