"""HardNet and HardNetPS (docs/protocols/hardnet.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from descbench.config.networks import HardNetModel
from descbench.models.hardnet import HardNet, HardNetPS, draw_weights
from descbench.models.patches import PatchNetwork
from descbench.models.published import Published
from descbench.models.state_dicts import first_state_dict
from descbench.models.torch_files import load_torch_file

_VARIANTS = {"hardnet": lambda model: HardNet(model.dropout), "ps": lambda model: HardNetPS()}
_COUNTED, _COUNTER = ".running_var", ".num_batches_tracked"


def build(model: HardNetModel, name: str | None = None) -> PatchNetwork:
    """The network of a block."""
    return _VARIANTS[model.variant](model)


def build_empty(model: HardNetModel, name: str | None = None) -> PatchNetwork:
    """The same on the meta device."""
    with torch.device("meta"):
        return build(model)


def initialise(network: PatchNetwork) -> None:
    """Draw a network as the original starts."""
    draw_weights(network)


def read_official(model: HardNetModel, weights: Path) -> Published:
    """A published checkpoint; those of old PyTorch do not count batches, and start at 0 here."""
    state = first_state_dict(load_torch_file(weights), weights)
    return Published(weights, {"state_dict": {**_counters(state), **state}})


def _counters(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """A counter of batches for each BatchNorm."""
    names = [key.removesuffix(_COUNTED) for key in state if isinstance(key, str) and key.endswith(_COUNTED)]
    return {f"{name}{_COUNTER}": torch.tensor(0) for name in names}
