"""FIRe (docs/protocols/fire.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from descbench.config.networks import FireModel
from descbench.models.fire import FireNet
from descbench.models.initial import draw_quiet_residuals
from descbench.models.published import Published, read_described
from descbench.models.state_dicts import sequential_key as from_imagenet

__all__ = ["BEYOND_IMAGENET", "build", "from_imagenet", "initialise", "read_official"]

BEYOND_IMAGENET = ("dim_reduction.",)
# Factor on the queries of LIT.
_FOCUS = 16.0


def build(model: FireModel, name: str | None = None) -> FireNet:
    """The network of a block."""
    return FireNet(model.backbone, model.skip_layer, model.dim, model.templates, model.iterations, model.dim_lit)


def initialise(network: FireNet) -> None:
    """Draw a network whose templates look at different places.

    With PyTorch's initial weights all templates of LIT look at the whole image alike (attention maps with a mean
    cosine of 0.98), and super-features that are all the image's mean teach little; so its queries are large.
    """
    draw_quiet_residuals(network)
    nn.init.orthogonal_(network.dim_reduction.weight)
    with torch.no_grad():
        network.lit.project_q.weight *= _FOCUS


def read_official(model: FireModel, weights: Path) -> Published:
    """The released checkpoint. LIT's iterations do not show in the shapes of its weights, but in its parameters."""
    return read_described("FIRe", model, weights, _fields)


def _fields(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the parameters of a checkpoint say of the block."""
    lit = parameters["lit"]
    return {"templates": lit["N"], "iterations": lit["T"], "dim_lit": lit["dim"]}
