"""DeDoDe's descriptor (docs/protocols/hndesc.md, Other networks of points)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.point_networks import DedodeDescriptorModel
from descbench.models.initial import reset_parameters
from descbench.models.kornia_points import DedodeDescriptor
from descbench.models.published import Published, read_uncounted


def build(model: DedodeDescriptorModel, name: str | None = None) -> DedodeDescriptor:
    """The network of a block."""
    return DedodeDescriptor()


def initialise(network: DedodeDescriptor) -> None:
    """Draw a network with the initial weights of PyTorch."""
    reset_parameters(network)


def read_official(model: DedodeDescriptorModel, weights: Path) -> Published:
    """A published file, a bare state dict."""
    return read_uncounted(weights)
