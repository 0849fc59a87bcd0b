"""HardNet, its variant with biases, and HardNetPS (docs/protocols/hardnet.md)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.networks import HardNetModel
from descbench.models.hardnet import HardNet, HardNetClassical, HardNetPS, draw_weights
from descbench.models.patches import PatchNetwork
from descbench.models.published import Published, read_uncounted

_VARIANTS = {
    "hardnet": lambda model: HardNet(model.dropout),
    "classical": lambda model: HardNetClassical(model.dropout),
    "ps": lambda model: HardNetPS(),
}


def build(model: HardNetModel, name: str | None = None) -> PatchNetwork:
    """The network of a block."""
    return _VARIANTS[model.variant](model)


def initialise(network: PatchNetwork) -> None:
    """Draw a network as the original starts."""
    draw_weights(network)


def read_official(model: HardNetModel, weights: Path) -> Published:
    """A published checkpoint; those of old PyTorch do not count batches, and start at 0 here."""
    return read_uncounted(weights)
