"""Pixels of patches: resized as OpenCV does, to the bit, and normalised (docs/protocols/hardnet.md, Patches)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

# OpenCV's weights are whole numbers of so many bits.
_BITS = 11


def resize_patches(patches: np.ndarray, side: int) -> np.ndarray:
    """Resize patches bilinearly in whole numbers, as ``cv2.resize`` does with grey images of 8 bits.

    Args:
        patches: (N, H, W) uint8.
        side: height and width wanted.

    Returns:
        (N, side, side) uint8; the patches themselves where they have this size.
    """
    if patches.shape[1:] == (side, side):
        return patches
    if patches.shape[1:] == (2 * side, 2 * side):
        return _halved(patches)
    left, right, weights = _places(patches.shape[2], side, clamp=True)
    wide = patches.astype(np.int32)
    rows = (wide[:, :, left] * weights[0] + wide[:, :, right] * weights[1]) >> 4
    above, below, weights = _places(patches.shape[1], side, clamp=False)
    upper, lower = (
        (rows[:, chosen] * weight[:, None]) >> 16 for chosen, weight in zip((above, below), weights, strict=True)
    )
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def to_tensor(patches: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(N, 1, H, W) float32 of (N, H, W) uint8 patches: divided by 255, less ``mean[0]``, over ``std[0]``."""
    scaled = torch.from_numpy(patches).float() / 255
    return ((scaled - mean[0]) / std[0])[:, None]


def grey_of_colours(pixels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of (H, W, 3) uint8 in the order red, green, blue, as OpenCV reads a PNG as grey (cut off)."""
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return ((red * 9797 + green * 19234 + blue * 3737) >> 15).astype(np.uint8)


def _halved(patches: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels, halves rounded up: what the whole numbers come to, in a quarter of the time."""
    rows = patches[:, ::2].astype(np.uint16) + patches[:, 1::2]
    return ((rows[:, :, ::2] + rows[:, :, 1::2] + 2) >> 2).astype(np.uint8)


def _places(length: int, wanted: int, *, clamp: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two pixels for each of ``wanted`` new ones, and their weights (2, wanted) int32.

    Beyond the edge both are the pixel at the edge; with ``clamp`` (OpenCV: columns, not rows) the first then has all
    the weight.
    """
    centres = ((np.arange(wanted) + 0.5) * (length / wanted) - 0.5).astype(np.float32)
    first = np.floor(centres).astype(np.int64)
    part = centres - first.astype(np.float32)
    if clamp:
        part[(first < 0) | (first >= length - 1)] = 0
    weights = np.stack([np.float32(1) - part, part]) * np.float32(1 << _BITS)
    return first.clip(0, length - 1), (first + 1).clip(0, length - 1), np.rint(weights).astype(np.int32)
