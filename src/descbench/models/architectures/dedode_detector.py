"""DeDoDe's detector (docs/protocols/hndesc.md, Other networks of points)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.keypoint_networks import DedodeDetectorModel
from descbench.models.initial import reset_parameters
from descbench.models.kornia_points import DedodeDetector
from descbench.models.published import Published, read_uncounted


def build(model: DedodeDetectorModel, name: str | None = None) -> DedodeDetector:
    """The network of a block."""
    return DedodeDetector()


def initialise(network: DedodeDetector) -> None:
    """Draw a network with the initial weights of PyTorch."""
    reset_parameters(network)


def read_official(model: DedodeDetectorModel, weights: Path) -> Published:
    """A published file, a bare state dict."""
    return read_uncounted(weights)
