"""HOW (docs/protocols/how.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from descbench.config.networks import HowModel
from descbench.models.how import HowNet
from descbench.models.initial import draw_quiet_residuals
from descbench.models.published import Published, read_described
from descbench.models.state_dicts import sequential_key as from_imagenet

__all__ = ["BEYOND_IMAGENET", "build", "from_imagenet", "initialise", "read_official"]

BEYOND_IMAGENET = ("dim_reduction.",)
_SCALES = [2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25]


def build(model: HowModel, name: str | None = None) -> HowNet:
    """The network of a block."""
    return HowNet(model.backbone, model.skip_layer, model.dim, model.smoothing)


def initialise(network: HowNet) -> None:
    """Draw a network whose reduction keeps lengths and angles."""
    draw_quiet_residuals(network)
    nn.init.orthogonal_(network.dim_reduction.weight)


def read_official(model: HowModel, weights: Path) -> Published:
    """Checkpoints of both formats."""
    return read_described("HOW", model, weights, _fields, upgrade=upgrade_checkpoint)


def upgrade_checkpoint(content: Mapping[str, Any]) -> dict[str, Any]:
    """Bring an old checkpoint (recognised by the absence of ``_version``) to the new format.

    Source: docs/protocols/how.md, Checkpoints. Network parameters are made from ``meta``; ``whiten.*`` becomes
    ``dim_reduction.*``. A checkpoint that is new already is returned as it is.
    """
    if "_version" in content:
        return dict(content)
    meta = content["meta"]
    renamed = {key.replace("whiten.", "dim_reduction.", 1): value for key, value in content["state_dict"].items()}
    parameters = {
        "architecture": meta["architecture"],
        "pretrained": True,
        "skip_layer": meta["skip_layer"],
        "dim_reduction": {"dim": meta["dim"]},
        "smoothing": {"kernel_size": meta["feat_pool_k"]},
        "runtime": {
            "mean_std": [meta["mean"], meta["std"]],
            "image_size": 1024,
            "features_num": 1000,
            "scales": list(_SCALES),
            "training_scales": [1],
        },
    }
    return {**content, "state_dict": renamed, "net_params": parameters, "_version": "how/2020"}


def _fields(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the parameters of a checkpoint say of the block."""
    return {"smoothing": (parameters["smoothing"] or {"kernel_size": 0})["kernel_size"]}
