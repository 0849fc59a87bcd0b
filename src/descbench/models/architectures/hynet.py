"""HyNet (docs/protocols/hardnet.md, Other descriptors)."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from descbench.config.networks import HyNetModel
from descbench.models.kornia_patches import HyNet
from descbench.models.published import Published, read_uncounted


def build(model: HyNetModel, name: str | None = None) -> HyNet:
    """The network of a block."""
    return HyNet()


def initialise(network: HyNet) -> None:
    """Draw a network with PyTorch's initial weights, but orthogonal filters."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
            nn.init.orthogonal_(module.weight)


def read_official(model: HyNetModel, weights: Path) -> Published:
    """A published file."""
    return read_uncounted(weights)
