"""DISK, ALIKED and DeDoDe: kornia's networks of points, with the keys of the published files.

What they compute: docs/protocols/hndesc.md, Other networks of points. Their own images are in 0..1; only DeDoDe's are
normalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import torch
import torch.nn.functional as F

from descbench.models.kornia_features import kornia_features
from descbench.models.levels import IMAGENET_MEAN, IMAGENET_STD, ImageTooSmallError
from descbench.models.points import FoundPoints, best_first, normalise_places, sample_map

_kornia = kornia_features()
_dedode = import_module("kornia.feature.dedode.dedode_models")
_sample_keypoints = import_module("kornia.feature.dedode.utils").sample_keypoints
# Pixels that a point stands for, where the network says nothing of its size.
_PATCH = 8.0
_MOST = 10_000  # keypoints of DeDoDe, which has no limit of their scores


class _Colours:
    """Networks of images in colours, of at least so many pixels in height and width."""

    channels = 3
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    smallest_side = 32

    def _check(self, image: torch.Tensor) -> tuple[int, int]:
        """Height and width of an image.

        Raises:
            ImageTooSmallError: a side is below ``smallest_side``.
        """
        height, width = image.shape[-2:]
        if min(height, width) < self.smallest_side:
            raise ImageTooSmallError(f"{width} x {height} pixels, the network needs {self.smallest_side}")
        return height, width

    def _padded(self, image: torch.Tensor, multiple: int) -> torch.Tensor:
        """An image with zeros to the right and below, so that its sides are multiples."""
        height, width = self._check(image)
        return F.pad(image, (0, -width % multiple, 0, -height % multiple))


def _best(points: torch.Tensor, scores: torch.Tensor, most: int | None, rows: torch.Tensor | None) -> FoundPoints:
    """The best points, best first."""
    kept = best_first(scores, most)
    sizes = torch.full_like(scores[kept], _PATCH)
    return FoundPoints(points[kept].float(), sizes, scores[kept], None if rows is None else rows[kept])


class Disk(_Colours, _kornia.DISK):
    """DISK of Tyszkiewicz et al., NeurIPS 2020.

    Args:
        window: side of the window in which a keypoint has the highest score.
        threshold: scores of keypoints are above it.
    """

    dim = 128

    def __init__(self, window: int = 5, threshold: float = 0.0) -> None:
        super().__init__()
        self.window, self.threshold = window, threshold

    def find_points(self, image: torch.Tensor, most: int | None = None) -> FoundPoints:
        """Points of an image (1, 3, H, W) in 0..1, best first, with descriptors (n, 128) of unit length."""
        self._check(image)
        (found,) = self(image, None, self.window, self.threshold, pad_if_not_divisible=True)
        return _best(found.keypoints, found.detection_scores, most, found.descriptors)

    def describe_points(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, 128) of unit length at points of an image, read bilinearly between its pixels."""
        height, width = self._check(image)
        _, dense = self.heatmap_and_dense_descriptors(self._padded(image, 16))
        places = normalise_places(points, (height, width))
        return sample_map(dense[..., :height, :width], places, align_corners=True)


class Aliked(_Colours, _kornia.ALIKED):
    """ALIKED of Zhao et al., IEEE Transactions on Instrumentation and Measurement 2023.

    Args:
        variant: of the network.
        threshold: scores of keypoints are above it.
        radius: pixels in which a keypoint has the highest score.
    """

    def __init__(self, variant: str = "n16", threshold: float = 0.2, radius: int = 2) -> None:
        super().__init__(f"aliked-{variant}", -1, threshold, radius)
        self.dim = self.conv4.in_channels

    def find_points(self, image: torch.Tensor, most: int | None = None) -> FoundPoints:
        """Points of an image (1, 3, H, W) in 0..1, best first, with descriptors of unit length."""
        self._check(image)
        (found,) = self(image)
        return _best(found.keypoints, found.keypoint_scores, most, found.descriptors)

    def describe_points(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, dim) of unit length at points of an image."""
        size = self._check(image)
        if not len(points):
            return image.new_zeros(0, self.dim)
        dense, _ = self.extract_dense_map(image)
        return self.desc_head(dense, [normalise_places(points, size)])[0][0]


class DedodeDetector(_Colours, _dedode.DeDoDeDetector):
    """DeDoDe's detector L of Edstedt et al., 3DV 2024."""

    mean, std = IMAGENET_MEAN, IMAGENET_STD
    dim = 0

    def __init__(self) -> None:
        made = _dedode.get_detector("L", torch.float32)
        super().__init__(made.encoder, made.decoder)

    def find_points(self, image: torch.Tensor, most: int | None = None) -> FoundPoints:
        """The most likely pixels of an image (1, 3, H, W), normalised, best first; no more than 10000."""
        height, width = self._check(image)
        logits = self(self._padded(image, 14))[..., :height, :width]
        likely = logits.reshape(1, -1).softmax(1).reshape(1, height, width)
        places, scores = _sample_keypoints(likely, num_samples=min(most or _MOST, _MOST))
        size = torch.tensor([width, height], dtype=places.dtype, device=places.device)
        return _best((places[0] + 1) / 2 * size - 0.5, scores[0], most, None)


class DedodeDescriptor(_Colours, _dedode.DeDoDeDescriptor):
    """DeDoDe's descriptor B of Edstedt et al., 3DV 2024."""

    mean, std = IMAGENET_MEAN, IMAGENET_STD
    dim = 256

    def __init__(self) -> None:
        made = _dedode.get_descriptor("B", torch.float32)
        super().__init__(made.encoder, made.decoder)

    def describe_points(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, 256) of unit length at points of an image (1, 3, H, W), normalised."""
        height, width = self._check(image)
        dense = self(self._padded(image, 14))[..., :height, :width]
        size = torch.tensor([width, height], dtype=points.dtype, device=points.device)
        return sample_map(dense, (points + 0.5) / size * 2 - 1)
