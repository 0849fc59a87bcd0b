"""R2D2 (docs/protocols/r2d2.md)."""

from __future__ import annotations

from pathlib import Path

import torch

from descbench.config.point_networks import R2D2Model
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.models.initial import draw_quiet_residuals
from descbench.models.published import Published
from descbench.models.r2d2 import R2D2, Pyramid
from descbench.models.torch_files import load_torch_file

# How the network is called in a checkpoint, by its `mchan`. The original runs this text as a program; here it is
# compared.
_CALLED = {4: "Quad_L2Net_ConfCFS()"}
# Of an untrained network, for which any place is reliable, and one repeats that is not quite flat.
_BIAS, _SLOPE = 2.0, 4.0


def build(model: R2D2Model, name: str | None = None) -> R2D2:
    """The network of a block."""
    pyramid = Pyramid(model.min_size, model.max_size, model.min_scale, model.max_scale, model.scale_factor)
    return R2D2(model.mchan, pyramid, model.reliability, model.repeatability)


def initialise(network: R2D2) -> None:
    """Draw a network that finds points where its features are large."""
    draw_quiet_residuals(network)
    with torch.no_grad():
        network.sal.weight.fill_(_SLOPE / network.dim)
        network.sal.bias.fill_(_BIAS)
        network.clf.weight.copy_(torch.tensor([0.0, 1 / network.dim])[:, None, None, None])
        network.clf.bias.copy_(torch.tensor([0.0, _BIAS]))


def read_official(model: R2D2Model, weights: Path) -> Published:
    """A published file: the weights, and the name of their network.

    Raises:
        DataError: they are of another network.
    """
    content = load_torch_file(weights)
    named = content.get("net")
    wanted = _CALLED.get(model.mchan, f"Quad_L2Net_ConfCFS(mchan={model.mchan})")
    if named != wanted:
        raise DataError(
            f"{weights}: its network is {shorten(repr(named))}, the configuration asks for {wanted}; correct `mchan` "
            "of the model, or fetch another file."
        )
    return Published(weights, {"state_dict": content.get("state_dict")})
