"""Keypoints of an image, and patches cut around them (docs/protocols/oxford_bow.md, Keypoints and patches)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

# Width and height of patches in pixels: what SIFT needs of one, and more than networks see.
SIDE = 48


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of an image, strongest first.

    Attributes:
        points: (n, 2) float64 x, y; the middle of the first pixel is 0, 0.
        sizes: (n,) float64 diameter in pixels.
        angles: (n,) float64 radians from the x axis towards the y axis, which points down.
        strengths: (n,) float64, descending.
        descriptors: (n, dim) float32, where what found them described them too.
        shapes: (n, 2, 2) float64 of determinant 1 where patches are not square: what a patch's axes, of the length that
            the size says, are mapped by, turned by the angle already.
    """

    points: np.ndarray
    sizes: np.ndarray
    angles: np.ndarray
    strengths: np.ndarray
    descriptors: np.ndarray | None = None
    shapes: np.ndarray | None = None

    def axes(self) -> np.ndarray:
        """(n, 2, 2) float64: what patches are turned, and where they have a shape, stretched by."""
        if self.shapes is not None:
            return self.shapes
        cosines, sines = np.cos(self.angles), np.sin(self.angles)
        return np.stack([np.stack([cosines, -sines], 1), np.stack([sines, cosines], 1)], 1)


def to_grey(pixels: np.ndarray, grey: np.ndarray | None = None) -> np.ndarray:
    """(H, W) uint8 of (H, W, 3) uint8 in the order red, green, blue; ``grey`` itself where the image has its own."""
    return grey if grey is not None else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def strongest(keypoints: Keypoints, most: int | None) -> Keypoints:
    """The strongest keypoints, strongest first.

    Equal strengths are ordered by place, size and angle, so that the order is the same whatever the threads.

    Args:
        keypoints: in any order.
        most: how many are kept; None = all.
    """
    x, y = keypoints.points.T
    order = np.lexsort((keypoints.angles, keypoints.sizes, y, x, -keypoints.strengths))[:most]
    return Keypoints(*(None if values is None else values[order] for values in vars(keypoints).values()))


def cut_patches(grey: np.ndarray, keypoints: Keypoints, region: float, side: int = SIDE) -> np.ndarray:
    """Upright patches around keypoints: each is turned so that its keypoint's angle is 0.

    A patch that is larger than ``side`` is taken from a level of an image pyramid (a Gaussian filter and every second
    pixel) where its pixels lie less than two apart, along its longer axis where it has a shape; beyond the edge the
    last pixel is repeated.

    Args:
        grey: (H, W) uint8.
        keypoints: where.
        region: width of a patch in the image, over the size of its keypoint.
        side: width and height of the patches in pixels.

    Returns:
        (n, side, side) uint8.
    """
    patches = np.empty((len(keypoints.points), side, side), np.uint8)
    levels, middle = [grey], (side - 1) / 2
    axes = keypoints.axes() * (keypoints.sizes * (region / side))[:, None, None]
    steps = np.linalg.norm(axes, 2, (1, 2))
    for patch, (x, y), step, turned in zip(patches, keypoints.points, steps, axes, strict=True):
        level = max(0, math.floor(math.log2(step)))
        while len(levels) <= level and min(levels[-1].shape) > 1:
            levels.append(cv2.pyrDown(levels[-1]))
        level = min(level, len(levels) - 1)
        across = np.zeros((2, 3))
        across[:, :2] = turned / 2**level
        across[:, 2] = np.array((x, y)) / 2**level - across[:, :2] @ (middle, middle)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(levels[level], across, (side, side), patch, flags, cv2.BORDER_REPLICATE)
    return patches
