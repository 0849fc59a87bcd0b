"""TFeat and HardTFeat (docs/protocols/hardnet.md, Other descriptors)."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from descbench.config.networks import TFeatModel
from descbench.models.patches import PatchNetwork
from descbench.models.published import Published
from descbench.models.state_dicts import first_state_dict
from descbench.models.tfeat import HardTFeat, TFeat
from descbench.models.torch_files import load_torch_file

_VARIANTS = {"tfeat": TFeat, "hardtfeat": HardTFeat}
# Filters of a SIFT layer that the file of HardTFeat holds beside the network.
_BESIDE = "SIFT."


def build(model: TFeatModel, name: str | None = None) -> PatchNetwork:
    """The network of a block."""
    return _VARIANTS[model.variant]()


def initialise(network: PatchNetwork) -> None:
    """Draw a network with PyTorch's initial weights, but orthogonal filters."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
            nn.init.orthogonal_(module.weight)


def read_official(model: TFeatModel, weights: Path) -> Published:
    """A published file."""
    state = first_state_dict(load_torch_file(weights), weights)
    kept = {key: value for key, value in state.items() if not str(key).startswith(_BESIDE)}
    return Published(weights, {"state_dict": kept})
