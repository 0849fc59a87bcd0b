"""Networks of the user's own, made by a factory."""

from __future__ import annotations

from pathlib import Path

from descbench.config.networks import CustomModel
from descbench.errors import DataError
from descbench.models.custom import build_custom as build
from descbench.models.levels import LevelNetwork
from descbench.models.published import Published

__all__ = ["build", "initialise", "read_official"]

# A factory may compute with values, so that its network is never built on the meta device.
NEEDS_VALUES = True


def initialise(network: LevelNetwork) -> None:
    """Nothing: weights are as the factory draws them."""


def read_official(model: CustomModel, weights: Path) -> Published:
    """Nobody publishes weights of a network of the user's own."""
    raise DataError(f"{weights}: a custom network has no official weights; name the file as `source: custom`.")
