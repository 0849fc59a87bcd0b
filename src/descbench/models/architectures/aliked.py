"""ALIKED (docs/protocols/hndesc.md, Other networks of points)."""

from __future__ import annotations

from pathlib import Path

import torch

from descbench.config.point_networks import AlikedModel
from descbench.models.initial import reset_parameters
from descbench.models.kornia_points import Aliked
from descbench.models.published import Published
from descbench.models.state_dicts import first_state_dict
from descbench.models.torch_files import load_torch_file

# It holds constants beside its weights, which the meta device would lose.
NEEDS_VALUES = True


def build(model: AlikedModel, name: str | None = None) -> Aliked:
    """The network of a block."""
    return Aliked(model.variant, model.keypoint_threshold, model.nms_radius)


def initialise(network: Aliked) -> None:
    """Draw a network with the initial weights of PyTorch."""
    reset_parameters(network)


def read_official(model: AlikedModel, weights: Path) -> Published:
    """A published file: a bare state dict, without the constants of the detection."""
    return Published(
        weights, {"state_dict": {**_constants(model), **first_state_dict(load_torch_file(weights), weights)}}
    )


def _constants(model: AlikedModel) -> dict[str, torch.Tensor]:
    """What the network holds beside its weights."""
    return {f"dkd.{name}": value for name, value in build(model).dkd.named_buffers()}
