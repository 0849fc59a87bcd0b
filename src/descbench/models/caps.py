"""CAPS as HNDesc's evaluation runs it: a coarse and a fine map (docs/protocols/hndesc.md, CAPS)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from descbench.models.hndesc import DIM, HNDescCaps
from descbench.models.points import normalise_places


class BatchNormOfInput(nn.BatchNorm2d):
    """BatchNorm by the statistics of its input, whatever the mode; a type of its own is never folded."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) of the same shape; nothing is counted."""
        return F.batch_norm(values, None, None, self.weight, self.bias, training=True, eps=self.eps)


class Caps(HNDescCaps):
    """The network, whose two maps are read at each point and joined.

    Args:
        of_image: whether BatchNorm has the statistics of the very image, or those of the training.
    """

    level_outputs: ClassVar = {"coarse": (2, 3), "fine": (2, 3)}
    dim = 2 * DIM
    # BatchNorm of one value a channel has no variance.
    smallest_side = 32

    def __init__(self, *, of_image: bool = True) -> None:
        super().__init__()
        if of_image:
            for module in self.modules():
                if type(module) is nn.BatchNorm2d:
                    module.__class__ = BatchNormOfInput

    def level(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The coarse (1, 128, h / 4, w / 4) and the fine map (1, 128, h, w)."""
        coarse, fine = self.maps(image, coarse=True)
        return coarse, fine

    def describe_points(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, 256) of unit length at points of an image (1, 3, H, W)."""
        places = normalise_places(points, tuple(image.shape[-2:]))[None, None]
        read = [F.grid_sample(dense, places, align_corners=False)[0, :, 0].t() for dense in self.run_level(image)]
        return F.normalize(torch.cat(read, 1), dim=1)
