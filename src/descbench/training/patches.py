"""Patches to learn from: several parts joined, mirrored, and prepared for the network.

Definition: docs/protocols/hardnet.md, Training patches; docs/protocols/hardnet.md, Augmentation.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from descbench.datasets.patch_sets import Patches
from descbench.features.patch_pixels import resize_patches, to_tensor

SIDE = 64
# Views of HPatches in the order in which the original joins them; other sets stay in theirs.
_ORDER = (*(f"e{k}" for k in range(1, 6)), "ref", *(f"{noise}{k}" for noise in "ht" for k in range(1, 6)))
_DEGREES, _SCALE, _RATIO = 5.0, (0.9, 1.0), (0.9, 1.1)
_TRIES = 10


class TrainingPatches:
    """Patches of several parts, one behind the other.

    Args:
        parts: in this order.

    Attributes:
        labels: (N,) int64 point of each patch; points of a part are counted on from those before.
        digest: of all parts.
    """

    def __init__(self, parts: Sequence[Patches]) -> None:
        self._parts = parts
        self._rows = [_training_order(part) for part in parts]
        self._starts = np.cumsum([0, *map(len, self._rows)])
        labels, offset = [], 0
        for part, rows in zip(parts, self._rows, strict=True):
            labels.append(part.labels.points[rows] + offset)
            offset = int(labels[-1].max()) + 1
        self.labels = np.concatenate(labels)
        self.digest = [part.digest for part in parts]

    def take(self, chosen: np.ndarray) -> np.ndarray:
        """(n, 64, 64) uint8 of (n,) numbers of patches; other sides are resized."""
        found = np.empty((len(chosen), SIDE, SIDE), np.uint8)
        places = np.searchsorted(self._starts, chosen, "right") - 1
        for number in np.unique(places):
            mine = places == number
            rows = self._rows[number][chosen[mine] - self._starts[number]]
            found[mine] = resize_patches(self._parts[number].patches[rows], SIDE)
        return found

    def name(self, patch: int) -> str:
        """A patch by its part and its number there, from 0."""
        number = int(np.searchsorted(self._starts, patch, "right")) - 1
        part = self._parts[number]
        return f"{part.patch_set}/{part.part} patch {self._rows[number][patch - self._starts[number]]}"


@dataclass(frozen=True)
class Preparation:
    """How patches of 64 x 64 pixels become those of the network.

    Attributes:
        side: of the network's patches.
        mean, std: that its pixels are normalised by; with ``augmented`` they are not.
        augmented: whether Pillow resizes, and patches are rotated and cropped in training.
    """

    side: int
    mean: Sequence[float]
    std: Sequence[float]
    augmented: bool = False

    def plain(self, patches: np.ndarray) -> torch.Tensor:
        """(n, 1, side, side) float32, nothing drawn."""
        if not self.augmented:
            return to_tensor(resize_patches(patches, self.side), self.mean, self.std)
        size = (self.side, self.side)
        return _from_images([Image.fromarray(patch).resize(size, Image.Resampling.BILINEAR) for patch in patches])

    def drawn(self, patches: np.ndarray, stream: np.random.Generator) -> torch.Tensor:
        """As in training; each patch is rotated and cropped by a draw of its own."""
        if not self.augmented:
            return self.plain(patches)
        return _from_images([_rotated_and_cropped(patch, self.side, stream) for patch in patches])


def draw_flips(count: int) -> np.ndarray:
    """(count, 2) bool from Python's random numbers: whether a pair is mirrored, and whether it is transposed."""
    return np.array([random.random() > 0.5 for _ in range(2 * count)]).reshape(count, 2)


def flip(patches: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Transpose, then mirror left and right, the patches (n, 1, S, S) for which ``flips`` (n, 2) says so."""
    mirrored, transposed = (flips[:, column, None, None, None] for column in (0, 1))
    turned = torch.where(transposed, patches.transpose(2, 3), patches)
    return torch.where(mirrored, turned.flip(3), turned)


def _training_order(part: Patches) -> np.ndarray:
    """Rows of a part in the order of training: that of the part, HPatches' views in the original's order."""
    names = part.labels.view_names
    if set(names) != set(_ORDER):
        return np.arange(len(part.labels.points))
    ranks = np.array([_ORDER.index(name) for name in names])
    return np.argsort(ranks[part.labels.views], kind="stable")


def _from_images(images: Sequence[Image.Image]) -> torch.Tensor:
    return to_tensor(np.stack([np.asarray(image) for image in images]), (0.0,), (1.0,))


def _rotated_and_cropped(patch: np.ndarray, side: int, stream: np.random.Generator) -> Image.Image:
    """A patch turned by up to 5 degrees, black outside, and a random part of it resized."""
    image = Image.fromarray(patch).rotate(stream.uniform(-_DEGREES, _DEGREES), Image.Resampling.BILINEAR)
    left, top, width, height = _crop(image.width, image.height, stream)
    cropped = image.crop((left, top, left + width, top + height))
    return cropped.resize((side, side), Image.Resampling.BILINEAR)


def _crop(width: int, height: int, stream: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of a part of 90 to 100 % of the area with sides in a ratio of 0.9 to 1.1."""
    for _ in range(_TRIES):
        area = width * height * stream.uniform(*_SCALE)
        ratio = math.exp(stream.uniform(*map(math.log, _RATIO)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = int(stream.integers(width - wide + 1)), int(stream.integers(height - high + 1))
            return left, top, wide, high
    return 0, 0, width, height
