"""SOSNet (docs/protocols/hardnet.md, Other descriptors)."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from descbench.config.networks import SosNetModel
from descbench.models.kornia_patches import SosNet
from descbench.models.published import Published, read_uncounted


def build(model: SosNetModel, name: str | None = None) -> SosNet:
    """The network of a block."""
    return SosNet()


def initialise(network: SosNet) -> None:
    """Draw a network with PyTorch's initial weights, but orthogonal filters."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
            nn.init.orthogonal_(module.weight)


def read_official(model: SosNetModel, weights: Path) -> Published:
    """A published file."""
    return read_uncounted(weights)
