"""The pieces of a training step of HOW (how.md sections 5.3 and 5.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from descbench.losses.contrastive import contrastive_loss


def freeze_batch_norm_statistics(network: nn.Module) -> None:
    """Put every BatchNorm into eval mode: running statistics stay, weight and bias are still trained."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def accumulate_gradients(
    network: nn.Module, tuples: Iterable[Sequence[torch.Tensor]], labels: torch.Tensor, margin: float
) -> list[tuple[float, torch.Tensor]]:
    """Forward and backward of every tuple; gradients add up, nothing is divided.

    Args:
        network: maps (1, 3, H, W) to a (1, D) descriptor.
        tuples: per tuple its images (1, 3, H, W), query first; sizes may differ.
        labels: (images of a tuple,) as in :func:`contrastive_loss`.
        margin: of the loss.

    Returns:
        Per tuple its loss and its (D, images) descriptors, detached.
    """
    results = []
    for images in tuples:
        descriptors = torch.cat([network(image) for image in images]).T
        loss = contrastive_loss(descriptors, labels, margin)
        loss.backward()
        results.append((loss.item(), descriptors.detach()))
    return results
