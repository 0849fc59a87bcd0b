"""R2D2: points of an image pyramid that repeat and are reliable, with 128 numbers of each (docs/protocols/r2d2.md).

Keys of the state dict are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.hndesc import dilated_trunk, trunk
from descbench.models.points import FoundPoints, PointNetwork, best_first, sample_descriptors

DIM = 128
_PATCH = 32.0  # pixels of a level that a point stands for
_SLACK = 0.001  # of a level's scale, so that rounding does not lose one at a limit


@dataclass(frozen=True)
class Pyramid:
    """Which levels of the pyramid are looked at.

    Attributes:
        min_size, max_size: longer side of a level in pixels.
        min_scale, max_scale: of a level over the image; a level must be within both pairs of limits.
        factor: each level is smaller by.
    """

    min_size: int = 256
    max_size: int = 1024
    min_scale: float = 0.0
    max_scale: float = 1.0
    factor: float = 2**0.25

    def sizes(self, height: int, width: int) -> Iterator[tuple[float, int, int, bool]]:
        """Scale, height and width of each level from the image itself downwards, and whether it is looked at."""
        longest, scale, size = max(height, width), 1.0, (height, width)
        least = max(self.min_scale, self.min_size / longest)
        most = min(self.max_scale, self.max_size / longest)
        while scale + _SLACK >= least and min(size) >= 1:
            yield scale, *size, scale - _SLACK <= most
            scale /= self.factor
            size = round(height * scale), round(width * scale)


class R2D2(PointNetwork):
    """The network and its extraction over an image pyramid.

    Args:
        mchan: layers have 8, 16 and 32 times so many channels (N16: 4).
        pyramid: levels that are looked at.
        reliability, repeatability: least values of a point.
    """

    level_outputs: ClassVar = {"descriptors": (2, 3), "reliability": (1, 2), "repeatability": (1, 2)}
    dim = DIM

    def __init__(
        self,
        mchan: int = 4,
        pyramid: Pyramid | None = None,
        reliability: float = 0.7,
        repeatability: float = 0.7,
    ) -> None:
        super().__init__()
        self.pyramid = pyramid or Pyramid()
        self.reliability, self.repeatability = reliability, repeatability
        self.ops = dilated_trunk((*trunk(mchan), (2, DIM, 16, False, False)))
        self.clf, self.sal = nn.Conv2d(DIM, 2, 1), nn.Conv2d(DIM, 1, 1)

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Descriptors (1, 128, H, W), not normalised, reliability and repeatability (1, H, W) of (1, 3, H, W)."""
        found = self.ops(image)
        squares = found.square()
        reliability = F.softmax(self.clf(squares), 1)[:, 1]
        repeatability = F.softplus(self.sal(squares))[:, 0]
        return found, reliability, repeatability / (1 + repeatability)

    def find_points(self, image: torch.Tensor, most: int | None = None) -> FoundPoints:
        """The best points of all levels, best first; of equal scores those of larger levels first, then by rows."""
        return self.find_together(image, [self], most)[0]

    def find_together(
        self, image: torch.Tensor, networks: Sequence[R2D2], most: int | None = None
    ) -> list[FoundPoints]:
        """As :meth:`find_points` of each of several networks; a level that several look at is looked at once.

        Raises:
            ValueError: their pyramids have different factors, and so share no levels.
        """
        pyramids = [network.pyramid for network in networks]
        if len({pyramid.factor for pyramid in pyramids}) > 1:
            raise ValueError("pyramids of different factors share no levels")
        size = tuple(image.shape[-2:])
        seen = [{scale for scale, *_, seen in pyramid.sizes(*size) if seen} for pyramid in pyramids]
        parts: dict[float, tuple[torch.Tensor, ...]] = {}
        for scale, level in _levels(image, pyramids):
            if any(scale in scales for scales in seen):
                parts[scale] = self._of_level(level, scale, size)
        return [_best([parts[scale] for scale in parts if scale in scales], most, image) for scales in seen]

    def describe_points(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, 128) of unit length at points of an image (1, 3, H, W), at its own size, as HNDesc does."""
        dense = F.normalize(self.run_level(image)[0], dim=1)
        return sample_descriptors(dense, points, tuple(image.shape[-2:]))

    def _of_level(self, level: torch.Tensor, scale: float, size: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        """Points in pixels of the image, their sizes, scores and descriptors, of one level by rows."""
        dense, reliability, repeatability = self.run_level(level)
        highest = F.max_pool2d(repeatability, 3, stride=1, padding=1)
        kept = (repeatability == highest) & (repeatability >= self.repeatability) & (reliability >= self.reliability)
        _, rows, columns = torch.nonzero(kept, as_tuple=True)
        (height, width), (full_height, full_width) = level.shape[-2:], size
        points = torch.stack((columns * full_width / width, rows * full_height / height), 1)
        scores = reliability[0, rows, columns] * repeatability[0, rows, columns]
        descriptors = F.normalize(dense[0, :, rows, columns].t(), dim=1)
        return points, torch.full_like(scores, _PATCH / scale), scores, descriptors


def _levels(image: torch.Tensor, pyramids: Sequence[Pyramid]) -> Iterator[tuple[float, torch.Tensor]]:
    """Scale and image of all levels down to the smallest of any pyramid; each is reduced from the one before."""
    level = image
    deepest = max((list(pyramid.sizes(*image.shape[-2:])) for pyramid in pyramids), key=len)
    for scale, height, width, _ in deepest:
        if (height, width) != tuple(level.shape[-2:]):
            level = F.interpolate(level, (height, width), mode="bilinear", align_corners=False)
        yield scale, level


def _best(parts: Sequence[tuple[torch.Tensor, ...]], most: int | None, image: torch.Tensor) -> FoundPoints:
    """The best points of some levels of an image, largest level first."""
    if not parts:
        none = image.new_zeros(0)
        return FoundPoints(none.reshape(0, 2), none, none, image.new_zeros(0, DIM))
    points, sizes, scores, descriptors = (torch.cat(values) for values in zip(*parts, strict=True))
    kept = best_first(scores, most)
    return FoundPoints(points[kept], sizes[kept], scores[kept], descriptors[kept])
