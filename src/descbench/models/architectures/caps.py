"""CAPS (docs/protocols/hndesc.md, CAPS)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from descbench.config.point_networks import CapsModel
from descbench.models.caps import Caps
from descbench.models.initial import reset_parameters
from descbench.models.published import Published
from descbench.models.state_dicts import first_state_dict
from descbench.models.torch_files import load_torch_file

_PREFIX = "net."  # of the published keys


def build(model: CapsModel, name: str | None = None) -> Caps:
    """The network of a block."""
    return Caps(of_image=model.statistics == "image")


def initialise(network: Caps) -> None:
    """Draw a network with the initial weights of PyTorch."""
    reset_parameters(network)


def read_official(model: CapsModel, weights: Path) -> Published:
    """The published file, whose keys begin with the name of the network."""
    return Published(weights, {"state_dict": _stripped(first_state_dict(load_torch_file(weights), weights))})


def _stripped(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict whose keys lost the network's name."""
    return {key.removeprefix(_PREFIX): value for key, value in state.items()}
