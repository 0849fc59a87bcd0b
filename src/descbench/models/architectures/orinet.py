"""OriNet (docs/protocols/oxford_bow.md, Affine frames)."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from descbench.config.keypoint_networks import OriNetModel
from descbench.models.frames import OriNet
from descbench.models.published import Published, read_uncounted

# It holds constants beside its weights, which the meta device would lose.
NEEDS_VALUES = True


def build(model: OriNetModel, name: str | None = None) -> OriNet:
    """The network of a block."""
    return OriNet()


def initialise(network: OriNet) -> None:
    """Draw a network with PyTorch's initial weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()


def read_official(model: OriNetModel, weights: Path) -> Published:
    """A published file."""
    return read_uncounted(weights)
