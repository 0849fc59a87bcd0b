"""What networks over image pyramids share: the part that runs once for each level, which a backend may take over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import nn

Tensors = tuple[torch.Tensor, ...]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImageTooSmallError(ValueError):
    """A level of the pyramid that leaves the network no cell."""


class LevelNetwork(nn.Module, ABC):
    """A network that every level of an image's pyramid goes through.

    A subclass defines :meth:`level`, and resizes, selects or sums outside it; it runs a level by :meth:`run_level`.

    Attributes:
        level_outputs: name of each output of ``level`` -> its axes that follow height and width, in this order.
        channels: of the images that it takes.
        smallest_side: pixels that a level must have in height and width.
        runner: what runs a level instead of ``level``; None for torch itself.
        mean, std: of the pixels in 0..1 that it was made for.
        rewritable: whether inference may change its layers and their layout, which code of the user's may count on.
    """

    level_outputs: ClassVar[Mapping[str, tuple[int, ...]]] = MappingProxyType({})
    channels = 3
    smallest_side = 1
    runner: Callable[[torch.Tensor], Tensors] | None = None
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    rewritable: ClassVar[bool] = True

    @abstractmethod
    def level(self, image: torch.Tensor) -> Tensors:
        """The network on one level, (1, channels, H, W) float32, normalised; a tensor for each of ``level_outputs``."""

    def run_level(self, image: torch.Tensor) -> Tensors:
        """:meth:`level`, by the backend in use.

        Raises:
            ImageTooSmallError: a side is below ``smallest_side``.
        """
        height, width = image.shape[-2:]
        if min(height, width) < self.smallest_side:
            raise ImageTooSmallError(f"{width} x {height} pixels, the network needs {self.smallest_side}")
        return self.level(image) if self.runner is None else self.runner(image)
