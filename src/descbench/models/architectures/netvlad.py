"""NetVLAD (docs/protocols/netvlad.md)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.networks import NetVladModel
from descbench.models.initial import draw_quiet_residuals
from descbench.models.netvlad import NetVladNet
from descbench.models.netvlad_files import read_netvlad_file
from descbench.models.netvlad_init import draw_with_contrast
from descbench.models.published import Published

BEYOND_IMAGENET = ("pool.", "WPCA.")


def build(model: NetVladModel, name: str | None = None) -> NetVladNet:
    """The network of a block."""
    return NetVladNet(model.backbone, model.pooling, model.clusters, model.bias, model.whitening)


def initialise(network: NetVladNet) -> None:
    """Draw a network whose descriptors tell images apart."""
    draw_quiet_residuals(network)
    draw_with_contrast(network)


def from_imagenet(key: str) -> str:
    """Key of the network for one of torchvision's."""
    return key.replace("features.", "encoder.", 1)


def read_official(model: NetVladModel, weights: Path) -> Published:
    """A run of pytorch-NetVlad, a checkpoint of Patch-NetVLAD, or the authors' Matlab network."""
    found = read_netvlad_file(model, weights)
    return Published(found.file, found.state, found.mean, found.std)
