"""What networks that describe cut-out patches share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn


class PatchNetwork(nn.Module):
    """A network from grey patches (N, 1, side, side) float32 to descriptors (N, dim) float32.

    Attributes:
        side: height and width of the patches in pixels.
        dim: dimensions of a descriptor.
        mean, std: one number each, of pixels in 0..1, which patches are normalised by before they come here.
    """

    side: ClassVar[int] = 32
    dim: int = 128
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def dense(self, stride: int) -> nn.Module | None:
        """The same weights over whole images, with its two strides; None of a network that has no such form."""
        return None

    def check_patches(self, patches: torch.Tensor) -> None:
        """Refuse what is not a batch of patches.

        Raises:
            ValueError: another shape.
        """
        if patches.ndim != 4 or tuple(patches.shape[1:]) != (1, self.side, self.side):
            raise ValueError(f"patches of shape {tuple(patches.shape)}, not (N, 1, {self.side}, {self.side})")


def normalise_patches(patches: torch.Tensor, epsilon: float = 1e-7) -> torch.Tensor:
    """Each patch less its mean, over its standard deviation (divided by n - 1) plus ``epsilon``; no gradients flow.

    Source: docs/protocols/hardnet.md, Network.

    Args:
        patches: (N, 1, H, W) float32.
        epsilon: added to the deviation.
    """
    with torch.no_grad():
        pixels = patches.flatten(1)
        mean, std = pixels.mean(1), pixels.std(1) + epsilon
    return (patches - mean[:, None, None, None]) / std[:, None, None, None]


def unit_length(rows: torch.Tensor, epsilon: float = 1e-10) -> torch.Tensor:
    """Divide by the root of the squared norm over axis 1 plus ``epsilon``."""
    return rows / (rows.square().sum(1, keepdim=True) + epsilon).sqrt()
