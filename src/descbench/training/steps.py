"""The pieces of a training step of HOW (docs/protocols/how.md, Training)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from descbench.losses.contrastive import contrastive_loss


def freeze_batch_norm_statistics(network: nn.Module) -> None:
    """Put every BatchNorm into eval mode: running statistics stay, weight and bias are still trained."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def tuple_loss(
    network: nn.Module, images: Sequence[torch.Tensor], labels: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward of a tuple. Gradients of the tuples of a step add up, nothing is divided.

    Args:
        network: maps (1, 3, H, W) to a (1, D) descriptor.
        images: (1, 3, H, W) each, query first; sizes may differ.
        labels: (images,) as in :func:`contrastive_loss`.
        margin: of the loss.

    Returns:
        The scalar loss, and the (D, images) descriptors.
    """
    descriptors = torch.cat([network(image) for image in images]).T
    return contrastive_loss(descriptors, labels, margin), descriptors
