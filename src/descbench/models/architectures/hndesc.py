"""HNDesc (docs/protocols/hndesc.md)."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from descbench.config.point_networks import HNDescModel
from descbench.models.hndesc import DenseNetwork, HNDescCaps, HNDescR2D2
from descbench.models.published import Published
from descbench.models.torch_files import load_torch_file

_BACKBONES = {"caps": lambda model: HNDescCaps(), "r2d2": lambda model: HNDescR2D2(model.mchan)}
# Parts of torchvision's ResNet, by name -> their names here; what follows its third stage is not used.
_ENCODER = {"conv1": "firstconv", "bn1": "firstbn"}
BEYOND_IMAGENET = ("conv_coarse.", "upconv", "iconv", "conv_fine.")


def build(model: HNDescModel, name: str | None = None) -> DenseNetwork:
    """The network of a block."""
    return _BACKBONES[model.backbone](model)


def initialise(network: DenseNetwork) -> None:
    """Draw a network with the initial weights of PyTorch; the stages of a ResNet with those of torchvision."""
    for name, module in network.named_modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d) and name.startswith(("firstconv", "layer")):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def from_imagenet(key: str) -> str:
    """Key of one of torchvision's ResNet-50."""
    first, dot, rest = key.partition(".")
    return f"{_ENCODER.get(first, first)}{dot}{rest}"


def read_official(model: HNDescModel, weights: Path) -> Published:
    """A checkpoint of the original's training: its key ``state_dict``."""
    return Published(weights, load_torch_file(weights))
