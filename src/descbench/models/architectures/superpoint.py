"""SuperPoint (docs/protocols/hndesc.md, SuperPoint)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.point_networks import SuperPointModel
from descbench.models.initial import draw_quiet_residuals
from descbench.models.published import Published
from descbench.models.superpoint import SuperPoint
from descbench.models.torch_files import load_torch_file


def build(model: SuperPointModel, name: str | None = None) -> SuperPoint:
    """The network of a block."""
    return SuperPoint(model.nms_radius, model.keypoint_threshold, model.remove_borders, model.sampling)


def initialise(network: SuperPoint) -> None:
    """Draw a network whose first filters see contrast alone."""
    draw_quiet_residuals(network)


def read_official(model: SuperPointModel, weights: Path) -> Published:
    """The published file, a bare state dict, or one that has it under ``state_dict``."""
    return Published(weights, load_torch_file(weights))
