"""What networks that find points in an image, or describe given ones, share (docs/protocols/hndesc.md, Sampling)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from descbench.models.levels import LevelNetwork


@dataclass(frozen=True)
class FoundPoints:
    """Points that a network found in an image.

    Attributes:
        points: (n, 2) float32 x, y in pixels of the image; the middle of the first pixel is 0, 0.
        sizes: (n,) float32, width in pixels of what the network looked at.
        scores: (n,) float32, larger for better points.
        descriptors: (n, dim) float32 of unit length, where the network describes what it finds; None elsewhere.
    """

    points: torch.Tensor
    sizes: torch.Tensor
    scores: torch.Tensor
    descriptors: torch.Tensor | None = None


class PointNetwork(LevelNetwork):
    """A network that describes points of an image, and may find them too.

    Attributes:
        dim: dimensions of a descriptor.
    """

    dim: int = 128
    smallest_side: ClassVar[int] = 2

    @abstractmethod
    def describe_points(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, dim) float32 of unit length at given points.

        Args:
            image: (1, channels, H, W) float32, normalised.
            points: (n, 2) float32 x, y in its pixels.
        """

    def find_points(self, image: torch.Tensor, most: int | None = None) -> FoundPoints:
        """Points of an image with their descriptors.

        Args:
            image: (1, channels, H, W) float32, normalised.
            most: how many of the best are kept; None = all.

        Raises:
            TypeError: the network only describes points; its block of configuration says so.
        """
        raise TypeError(f"{type(self).__name__} finds no points")

    def find_together(
        self, image: torch.Tensor, networks: Sequence[PointNetwork], most: int | None = None
    ) -> list[FoundPoints]:
        """As :meth:`find_points` of each of several networks, in less time than one after the other.

        Args:
            image: (1, channels, H, W) float32, normalised.
            networks: of this network's weights and settings, but for the levels of the image pyramid.
            most: how many of the best are kept; None = all.
        """
        found = self.find_points(image, most)
        return [found for _ in networks]


def normalise_places(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Places in -1..1 of an image: -1 is the middle of its first pixel, 1 that of its last one.

    Args:
        points: (n, 2) float32 x, y in pixels.
        size: height and width of the image, above 1.
    """
    height, width = size
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=points.dtype, device=points.device)
    return (points - centre) / centre


def sample_map(dense: torch.Tensor, places: torch.Tensor, *, align_corners: bool = False) -> torch.Tensor:
    """Read a map bilinearly, zero outside, and scale what was read to unit length.

    Args:
        dense: (1, C, h, w) float32.
        places: (n, 2) x, y in -1..1.
        align_corners: whether -1 and 1 are the middles of the first and last cell, or their outer edges.

    Returns:
        (n, C) float32.
    """
    found = F.grid_sample(dense, places[None, None], mode="bilinear", align_corners=align_corners)
    return F.normalize(found[0, :, 0].t(), dim=1)


def sample_descriptors(dense: torch.Tensor, points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Descriptors at points as HNDesc reads them: places by the corners' middles, read by the corners' edges.

    The two conventions do not agree, but the published networks were trained so (docs/protocols/hndesc.md, Sampling).

    Args:
        dense: (1, C, h, w) float32, the map of the whole image.
        points: (n, 2) float32 x, y in pixels of the image.
        size: height and width of the image.

    Returns:
        (n, C) float32 of unit length.
    """
    return sample_map(dense, normalise_places(points, size))


def best_first(scores: torch.Tensor, most: int | None) -> torch.Tensor:
    """Positions of the best scores, best first; of equal ones the earlier come first, whatever the threads."""
    order = torch.sort(scores, descending=True, stable=True).indices
    return order if most is None else order[:most]
