"""Key.Net (docs/protocols/oxford_bow.md, Affine frames)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from descbench.config.keypoint_networks import KeyNetModel
from descbench.models.frames import KeyNet
from descbench.models.published import Published, read_uncounted

# It holds constants beside its weights, which the meta device would lose.
NEEDS_VALUES = True


def build(model: KeyNetModel, name: str | None = None) -> KeyNet:
    """The network of a block."""
    return KeyNet()


def initialise(network: KeyNet) -> None:
    """Draw a network with PyTorch's initial weights, but positive ones in the last layer, so that it responds."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    with torch.no_grad():
        network.last_conv[0].weight.abs_()
        network.last_conv[0].bias.zero_()


def read_official(model: KeyNetModel, weights: Path) -> Published:
    """A published file."""
    return read_uncounted(weights)
