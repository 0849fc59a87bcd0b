"""State dicts as others save them: wrapped by DataParallel, Lightning or torch.compile, under keys of many names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from descbench.errors import DataError
from descbench.io.kinds import shorten

# Where a file keeps the state dict, in the order they are tried.
_PLACES = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
_SHOWN = 3  # keys that a message shows


def find_state_dict(content: Mapping[str, Any], source: Path, wanted: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The state dict in what a file holds: the one that fits ``wanted`` exactly, under whatever prefix and place.

    A file has it at its top or under a key such as ``model_state_dict``; wrappers put ``module.``, ``model.`` or both
    before every key. Where none fits, the first one is given as it is, for :func:`load_state` to say why.

    Raises:
        DataError: there are no tensors under names.
    """
    for state in _state_dicts(content, 2):
        for stripped in _without_prefix(state):
            if _fits(stripped, wanted):
                return stripped
    return first_state_dict(content, source)


def first_state_dict(content: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The first dictionary of tensors in what a file holds, at its top or under a key such as ``model_state_dict``.

    Raises:
        DataError: there is none.
    """
    for state in _state_dicts(content, 2):
        return state
    raise DataError(f"{source}: no dictionary of tensors in this checkpoint (it has {_listed(content)}).")


def load_state(network: nn.Module, state: Mapping[str, Any], source: Path) -> None:
    """Load weights strictly: copies, in the types of the network, which may stand on the meta device.

    Raises:
        DataError: names the first key that is missing, unknown, of another shape or not finite, and what keys there
            are.
    """
    expected = network.state_dict()
    there = f"the file has {_listed(state)}, the network {_listed(expected)}; weights of another architecture?"
    for key, tensor in expected.items():
        if key not in state:
            raise DataError(f"{source}: key {key!r} {tuple(tensor.shape)} is missing; {there}")
        if not isinstance(state[key], torch.Tensor):
            raise DataError(f"{source}: key {key!r} is a {type(state[key]).__name__}, no tensor; {there}")
        if state[key].shape != tensor.shape:
            raise DataError(
                f"{source}: key {key!r} has shape {tuple(state[key].shape)}, the network needs {tuple(tensor.shape)}; "
                "weights of another architecture?"
            )
        if tensor.is_floating_point() and (state[key].is_complex() or not torch.isfinite(state[key]).all()):
            raise DataError(f"{source}: key {key!r} holds NaN, infinite or complex weights; fetch the file again.")
    unknown = [key for key in state if key not in expected]
    if unknown:
        raise DataError(f"{source}: unknown key {shorten(repr(unknown[0]))} ({len(unknown)} in all); {there}")
    values = {key: state[key].detach().to(tensor.dtype, copy=True) for key, tensor in expected.items()}
    network.load_state_dict({key: value.contiguous() for key, value in values.items()}, assign=True)


def sequential_key(key: str) -> str:
    """Key of a torchvision ResNet as it is called once the children stand in a sequence."""
    places = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    first, _, rest = key.partition(".")
    return f"features.{places[first]}.{rest}" if first in places else key


def _state_dicts(content: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Dictionaries that hold tensors: this one, then those at the usual places in it."""
    if not isinstance(content, dict):
        return
    if any(isinstance(value, torch.Tensor) for value in content.values()):
        yield content
    for place in _PLACES if depth else ():
        yield from _state_dicts(content.get(place), depth - 1)


def _without_prefix(state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The state dict as it is, then without the beginnings ``x.`` that all its keys share."""
    keys = list(state)
    yield dict(state)
    while all(isinstance(key, str) and "." in key for key in keys) and len({key.split(".")[0] for key in keys}) == 1:
        keys = [key.partition(".")[2] for key in keys]
        yield dict(zip(keys, state.values(), strict=True))


def _fits(state: Mapping[str, Any], wanted: Mapping[str, torch.Tensor]) -> bool:
    return set(state) == set(wanted) and all(
        isinstance(state[key], torch.Tensor) and state[key].shape == tensor.shape for key, tensor in wanted.items()
    )


def _listed(names: Mapping[Any, Any]) -> str:
    shown = ", ".join(shorten(name, 80) for name in list(names)[:_SHOWN])
    return f"{shown}, ... ({len(names)} keys)" if len(names) > _SHOWN else shown or "no keys"
