"""Checkpoints: official files and random weights on one side, one format of ours on the other.

A checkpoint of ours is a dict ``{"format", "model", "mean", "std", "extra", "state_dict", "source"}``
written with ``torch.save``. Files are read by :mod:`descbench.models.torch_files`: nothing in them runs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from descbench.config.networks import Model
from descbench.errors import DataError, StaleFileError
from descbench.io.digests import sha256_file
from descbench.models.architectures import architecture
from descbench.models.empty import without_values
from descbench.models.levels import LevelNetwork
from descbench.models.patches import PatchNetwork
from descbench.models.sealed import read_sealed, write_sealed
from descbench.models.state_dicts import find_state_dict, first_state_dict, load_state
from descbench.models.torch_files import load_torch_file

FORMAT = 2
Network = LevelNetwork | PatchNetwork


def build_network(model: Model) -> Network:
    """The network of a catalogue block, without its weights."""
    return architecture(model.architecture).build(model)


def build_empty_network(model: Model, name: str | None = None) -> Network:
    """The network of a catalogue block for :func:`load_state` to fill, without values where that is possible.

    Drawing initial weights, only to overwrite them, takes seconds for the larger networks. ``name`` is the block's,
    for messages.
    """
    module = architecture(model.architecture)
    with nullcontext() if getattr(module, "NEEDS_VALUES", False) else without_values():
        return module.build(model, name)


def convert_checkpoint(model: Model, weights: Path | None, output: Path, *, seed: int = 0) -> None:
    """Write the checkpoint of a model from a published file or from a seed.

    Args:
        model: block of the catalogue.
        weights: published file; None for random weights, and for a custom network, whose block names its own.
        output: checkpoint of ours.
        seed: of random weights whose block names none.

    Raises:
        DataError: the file is not a checkpoint, or of another architecture (names the first key that
            does not fit, with both shapes).
    """
    content = _CONTENT[model.weights.source](model, weights, seed, output.stem)
    write_sealed({"format": FORMAT, "name": output.stem, "model": _architecture(model), **content}, output)


def save_network(network: nn.Module, model: Model, output: Path, source: Mapping[str, Any]) -> None:
    """Write the checkpoint of a network that :func:`load_network` gave, with its present weights.

    Args:
        network: with ``mean`` and ``std``.
        model: its block of the catalogue.
        output: checkpoint of ours.
        source: what the weights were made from, for the record.
    """
    content = {
        "format": FORMAT,
        "name": output.stem,
        "model": _architecture(model),
        "mean": list(network.mean),
        "std": list(network.std),
        "extra": {},
        "state_dict": {key: value.detach().cpu() for key, value in network.state_dict().items()},
        "source": dict(source),
    }
    write_sealed(content, output)


def load_network(checkpoint: Path, model: Model) -> Network:
    """The network of a checkpoint of ours, in eval mode, with ``mean`` and ``std`` as attributes.

    Raises:
        DataError: no checkpoint of ours, or of another architecture than ``model``.
        StaleFileError: of another model than the file is called after.
    """
    content = _read(checkpoint)
    if content["model"] != _architecture(model):
        raise DataError(f"{checkpoint}: holds {content['model']}, the configuration asks for {_architecture(model)}.")
    network = build_empty_network(model, checkpoint.stem)
    load_state(network, content["state_dict"], checkpoint)
    if content["extra"]:
        network.set_learned_whitening(content["extra"])
    network.mean, network.std = content["mean"], content["std"]
    return network.eval()


def checkpoint_digest(checkpoint: Path) -> str:
    """SHA-256 over names, types, shapes and values of a checkpoint's weights, whatever the container."""
    content = _read(checkpoint)
    digest = hashlib.sha256()
    tensors = {**content["state_dict"], **{f"extra.{k}": v for k, v in content["extra"].items()}}
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(checkpoint: Path) -> dict[str, Any]:
    """Content of a checkpoint of ours, of the model that its name says."""
    content = read_sealed(checkpoint)
    if content.get("format") != FORMAT:
        raise DataError(f"{checkpoint}: not a checkpoint of descbench (format {FORMAT}); delete it and rerun.")
    if content["name"] != checkpoint.stem:
        raise StaleFileError(f"{checkpoint}: holds the weights of {content['name']!r}; delete it and run again.")
    return content


def _architecture(model: Model) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude={"weights"})


def _record(network: Network, source: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds of a network and of where its weights come from."""
    return {
        "mean": list(network.mean),
        "std": list(network.std),
        "extra": {},
        "state_dict": network.state_dict(),
        "source": source,
    }


def _random(model: Model, weights: Path | None, seed: int, name: str) -> dict[str, Any]:
    """Random weights of a seed, the global random state left alone."""
    own = model.weights.seed
    return _untrained(model, seed if own is None else own, name)


def _untrained(model: Model, seed: int, name: str) -> dict[str, Any]:
    made = architecture(model.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = made.build(model, name)
        made.initialise(network)
    return _record(network, {"file": None, "sha256": None, "seed": seed})


def _imagenet(model: Model, weights: Path, seed: int, name: str) -> dict[str, Any]:
    """A backbone of torchvision's layout; what is not learned on ImageNet has the random weights of the seed."""
    content, initial, made = load_torch_file(weights), _untrained(model, seed, name), architecture(model.architecture)
    if described := [key for key in ("meta", "net_params") if key in content]:
        raise DataError(
            f"{weights}: holds a whole network with its description ({described[0]!r}), no backbone of ImageNet; use "
            "`source: official`."
        )
    found = {
        made.from_imagenet(str(key).removeprefix("module.")): tensor
        for key, tensor in first_state_dict(content, weights).items()
    }
    expected = initial["state_dict"]
    beyond = {key: tensor for key, tensor in expected.items() if key.startswith(made.BEYOND_IMAGENET)}
    state = {**beyond, **{key: found[key] for key in expected if key in found}}
    load_state(build_empty_network(model), state, weights)
    source = {"file": weights.name, "sha256": sha256_file(weights), "seed": seed}
    return {**initial, "state_dict": state, "source": source}


def _custom(model: Model, weights: Path | None, seed: int, name: str) -> dict[str, Any]:
    """A network of the user's, as its factory gives it, or with the weights of a file."""
    file, made = model.weights.file, architecture(model.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = made.build(model, name)
    if file is not None:
        state = find_state_dict(load_torch_file(file), file, network.module.state_dict())
        load_state(network.module, state, file)
    return _record(network, {"file": file and str(file), "sha256": file and sha256_file(file), "seed": seed})


def _official(model: Model, weights: Path, seed: int, name: str) -> dict[str, Any]:
    found = architecture(model.architecture).read_official(model, weights)
    network = build_empty_network(model, name)
    load_state(network, find_state_dict(found.content, found.file, network.state_dict()), found.file)
    network.mean = _of_channels(found.mean, network.mean, found.file)
    network.std = _of_channels(found.std, network.std, found.file)
    if min(network.std) <= 0:
        raise DataError(f"{found.file}: its std {network.std} is not positive; fetch it again.")
    source = {"file": found.file.name, "sha256": sha256_file(found.file), "seed": None}
    return {**_record(network, source), "extra": dict(found.extra)}


def _of_channels(values: Any, usual: Sequence[float], weights: Path) -> list[float]:
    """A number of a file for each channel of the pixels; the network's usual ones where it has none."""
    try:
        found = [float(value) for value in (usual if values is None else values)]
        if isinstance(values, str) or len(found) != len(usual) or not all(map(math.isfinite, found)):
            raise ValueError
    except (TypeError, ValueError):
        raise DataError(f"{weights}: its mean or std are not {len(usual)} numbers; fetch it again.") from None
    return found


# What weights that are no other model's are made of, by their `source`.
_CONTENT = {"random": _random, "imagenet": _imagenet, "custom": _custom, "official": _official}
