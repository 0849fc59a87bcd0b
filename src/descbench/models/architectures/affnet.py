"""AffNet (docs/protocols/oxford_bow.md, Affine frames)."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from descbench.config.keypoint_networks import AffNetModel
from descbench.models.frames import AffNet
from descbench.models.published import Published, read_uncounted

# It holds constants beside its weights, which the meta device would lose.
NEEDS_VALUES = True


def build(model: AffNetModel, name: str | None = None) -> AffNet:
    """The network of a block."""
    return AffNet()


def initialise(network: AffNet) -> None:
    """Draw a network with PyTorch's initial weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()


def read_official(model: AffNetModel, weights: Path) -> Published:
    """A published file."""
    return read_uncounted(weights)
