"""DISK (docs/protocols/hndesc.md, Other networks of points)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.point_networks import DiskModel
from descbench.models.initial import reset_parameters
from descbench.models.kornia_points import Disk
from descbench.models.published import Published
from descbench.models.torch_files import load_torch_file


def build(model: DiskModel, name: str | None = None) -> Disk:
    """The network of a block."""
    return Disk(model.window, model.keypoint_threshold)


def initialise(network: Disk) -> None:
    """Draw a network with the initial weights of PyTorch."""
    reset_parameters(network)


def read_official(model: DiskModel, weights: Path) -> Published:
    """A published file: a training's, with the network under ``extractor``."""
    return Published(weights, {"state_dict": load_torch_file(weights).get("extractor")})
