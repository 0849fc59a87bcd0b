"""FIRe's decorrelation of attention maps (docs/protocols/fire.md, Attention loss)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F


def decorrelation_loss(attentions: Iterable[torch.Tensor]) -> torch.Tensor:
    """Mean cosine between different attention maps of an image, summed over images.

    Published training takes the images of a tuple and multiplies the loss by 0.1.

    Args:
        attentions: (N, h, w) of each image, N >= 2; sizes may differ.

    Returns:
        Scalar, not weighted.
    """
    return torch.stack([_mean_cosine(attention.flatten(1)) for attention in attentions]).sum()


def _mean_cosine(maps: torch.Tensor) -> torch.Tensor:
    """Mean cosine between different rows of (N, L)."""
    cosines = F.normalize(maps, dim=1) @ F.normalize(maps, dim=1).T
    return (cosines.sum() - cosines.trace()) / (len(maps) * (len(maps) - 1))
