"""Published weights, as the readers of each architecture hand them over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from descbench.config.networks import FireModel, HowModel
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.models.state_dicts import first_state_dict
from descbench.models.torch_files import load_torch_file

_COUNTED, _COUNTER = ".running_var", ".num_batches_tracked"

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """Weights of a published file.

    Attributes:
        file: where they were read.
        content: what holds the state dict, at its top or under a usual key.
        mean, std: of pixels in 0..1, as the file has them; None where it does not say.
        extra: further tensors of the network, by name.
    """

    file: Path
    content: Values
    mean: Any = None
    std: Any = None
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)


def read_toolbox_file(weights: Path) -> dict[str, Any]:
    """A checkpoint of the CNN image retrieval toolbox, on which HOW and FIRe rest: a state dict and metadata.

    Raises:
        DataError: it lacks one of them.
    """
    content = load_torch_file(weights)
    for key in ("state_dict", "meta"):
        if key not in content:
            raise DataError(f"{weights}: no {key!r} in this checkpoint (it has {', '.join(map(str, content))}).")
        if not isinstance(content[key], dict):
            raise DataError(f"{weights}: its {key!r} is a {type(content[key]).__name__}, not a dictionary.")
    return content


def read_described(
    kind: str,
    model: HowModel | FireModel,
    weights: Path,
    fields: Callable[[Values], dict[str, Any]],
    *,
    upgrade: Callable[[Values], dict[str, Any]] = dict,
) -> Published:
    """A checkpoint whose ``net_params`` describe the very model that the configuration asks for.

    Args:
        kind: name of the method, for messages.
        model: block of the configuration.
        weights: the file.
        fields: parameters -> values of the block that only this architecture has.
        upgrade: brings an older checkpoint to the newest format.

    Raises:
        DataError: the metadata are missing, or describe another model.
    """
    try:
        content = upgrade(read_toolbox_file(weights))
        parameters = content["net_params"]
        found = {
            "backbone": parameters["architecture"],
            "skip_layer": parameters["skip_layer"],
            "dim": parameters["dim_reduction"]["dim"],
            **fields(parameters),
        }
        mean, std = parameters["runtime"]["mean_std"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{weights}: not a {kind} checkpoint, its metadata lack {shorten(error)}.") from error
    wanted = {name: getattr(model, name) for name in found}
    if found != wanted:
        raise DataError(
            f"{weights}: its {', '.join(found)} are {tuple(found.values())}, the configuration says "
            f"{tuple(wanted.values())}; correct the model block."
        )
    return Published(weights, content, mean, std)


def read_uncounted(weights: Path) -> Published:
    """A file of a state dict, with a counter of batches, at 0, for each BatchNorm that has none, as of old PyTorch."""
    state = first_state_dict(load_torch_file(weights), weights)
    names = [key.removesuffix(_COUNTED) for key in state if isinstance(key, str) and key.endswith(_COUNTED)]
    counters = {f"{name}{_COUNTER}": torch.tensor(0) for name in names}
    return Published(weights, {"state_dict": {**counters, **state}})
