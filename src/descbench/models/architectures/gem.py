"""GeM (docs/protocols/gem.md)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.networks import GemModel
from descbench.models.gem import GemNet
from descbench.models.gem_files import read_learned_whitening
from descbench.models.initial import draw_quiet_residuals
from descbench.models.published import Published, read_toolbox_file


def build(model: GemModel, name: str | None = None) -> GemNet:
    """The network of a block."""
    return GemNet(model.backbone, model.whitening)


def initialise(network: GemNet) -> None:
    """Draw a network."""
    draw_quiet_residuals(network)


def read_official(model: GemModel, weights: Path) -> Published:
    """A checkpoint of the CNN image retrieval toolbox, with the learned whitening that the block asks for."""
    content = read_toolbox_file(weights)
    meta = content["meta"]
    extra = read_learned_whitening(meta, model, weights) if model.whitening == "learned" else {}
    return Published(weights, content, meta.get("mean"), meta.get("std"), extra)
