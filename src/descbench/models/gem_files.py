"""The learned whitenings that networks of the CNN image retrieval toolbox carry in their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descbench.config.networks import GemModel
from descbench.errors import DataError
from descbench.models.gem import CHANNELS, WHITENINGS


def read_learned_whitening(meta: Mapping[str, Any], model: GemModel, weights: Path) -> dict[str, torch.Tensor]:
    """Means and projections stored under ``Lw``: by training set, then for one scale (``ss``) or several (``ms``).

    That nesting is the toolbox's own (docs/protocols/gem.md, Learned whitening); no published file was at hand.

    Args:
        meta: metadata of the checkpoint.
        model: its ``whitening_set`` names the training set.
        weights: the checkpoint, for messages.

    Returns:
        ``ss_mean`` (D,), ``ss_projection`` (D', D) and the same for ``ms``, float32; one kind may be missing.

    Raises:
        DataError: no whitening of that training set, or one of other dimensions than the network's.
    """
    none = f"{weights}: holds no learned whitening (Lw with m and P); set `whitening: none`."
    sets = meta.get("Lw")
    if not isinstance(sets, Mapping) or not sets:
        raise DataError(none)
    if model.whitening_set not in sets:
        raise DataError(
            f"{weights}: its learned whitenings are of {', '.join(map(str, sets))}, not of {model.whitening_set}; set "
            "`whitening_set` of the model to one of them."
        )
    kinds = sets[model.whitening_set]
    found: dict[str, torch.Tensor] = {}
    for kind in WHITENINGS:
        if isinstance(kinds, Mapping) and kind in kinds:
            mean, projection = _arrays(kinds[kind], none)
            _check_shapes(mean, projection, CHANNELS[model.backbone], f"{weights}: learned whitening {kind!r}")
            found |= {f"{kind}_mean": mean.flatten(), f"{kind}_projection": projection}
    if not found:
        raise DataError(none)
    return found


def _arrays(part: Any, none: str) -> tuple[torch.Tensor, torch.Tensor]:
    try:
        mean, projection = (torch.from_numpy(np.array(part[key], np.float32)) for key in ("m", "P"))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(none) from error
    return mean, projection


def _check_shapes(mean: torch.Tensor, projection: torch.Tensor, dim: int, what: str) -> None:
    if mean.numel() != dim or projection.ndim != 2 or projection.shape[1] != dim:
        raise DataError(
            f"{what} has shapes {tuple(mean.shape)} and {tuple(projection.shape)}, the network gives {dim} dimensions; "
            "weights of another architecture?"
        )
