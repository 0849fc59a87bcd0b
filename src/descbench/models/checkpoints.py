"""Checkpoints: official files and random weights on one side, one format of ours on the other.

A checkpoint of ours is a dict ``{"format", "model", "mean", "std", "extra", "state_dict", "source"}``
written with ``torch.save``. Files are read by :mod:`descbench.models.torch_files`: nothing in them runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from descbench.config.networks import (
    CustomModel,
    CustomWeights,
    FireModel,
    HowModel,
    ImagenetWeights,
    Model,
    NetVladModel,
    RandomWeights,
)
from descbench.errors import DataError
from descbench.io.digests import sha256_file
from descbench.io.kinds import shorten
from descbench.models.custom import build_custom
from descbench.models.fire import FireNet
from descbench.models.gem import GemNet
from descbench.models.gem_files import read_learned_whitening
from descbench.models.how import HowNet
from descbench.models.levels import LevelNetwork
from descbench.models.netvlad import NetVladNet
from descbench.models.netvlad_files import read_netvlad_file
from descbench.models.netvlad_init import draw_with_contrast
from descbench.models.sealed import read_sealed, write_sealed
from descbench.models.state_dicts import find_state_dict, first_state_dict, load_state
from descbench.models.torch_files import load_torch_file

FORMAT = 1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Weight of the last BatchNorm of a residual block in random networks.
_BRANCH = 0.1
# Factor on the queries of LIT in random networks.
_FOCUS = 16.0
_HOW_SCALES = [2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25]


def build_network(model: Model) -> LevelNetwork:
    """The network of a catalogue block, without its weights."""
    if isinstance(model, HowModel):
        return HowNet(model.backbone, model.skip_layer, model.dim, model.smoothing)
    if isinstance(model, FireModel):
        return FireNet(model.backbone, model.skip_layer, model.dim, model.templates, model.iterations, model.dim_lit)
    if isinstance(model, NetVladModel):
        return NetVladNet(model.backbone, model.pooling, model.clusters, model.bias, model.whitening)
    if isinstance(model, CustomModel):
        return build_custom(model)
    return GemNet(model.backbone, model.whitening)


def build_empty_network(model: Model, name: str | None = None) -> LevelNetwork:
    """The network of a catalogue block without values (on torch's meta device), for :func:`load_state` to fill.

    Drawing initial weights, only to overwrite them, takes seconds for the larger networks. ``name`` is the block's,
    for messages.
    """
    if isinstance(model, CustomModel):  # its factory may compute with values
        return build_custom(model, name)
    with torch.device("meta"):
        return build_network(model)


def convert_checkpoint(model: Model, weights: Path | None, output: Path, *, seed: int = 0) -> None:
    """Write the checkpoint of a model from a published file or from a seed.

    Args:
        model: block of the catalogue.
        weights: published file; None for random weights.
        output: checkpoint of ours.
        seed: of random weights whose block names none.

    Raises:
        DataError: the file is no checkpoint, or of another architecture (names the first key that
            does not fit, with both shapes).
    """
    match model.weights:
        case RandomWeights(seed=own):
            content = _random(model, seed if own is None else own)
        case ImagenetWeights():
            content = _imagenet(model, Path(weights), seed)
        case CustomWeights(file=own):
            content = _own(model, own, seed, output.stem)
        case _:
            content = _official(model, Path(weights))
    write_sealed({"format": FORMAT, "model": _architecture(model), **content}, output)


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
        "model": _architecture(model),
        "mean": list(network.mean),
        "std": list(network.std),
        "extra": {},
        "state_dict": {key: value.detach().cpu() for key, value in network.state_dict().items()},
        "source": dict(source),
    }
    write_sealed(content, output)


def load_network(checkpoint: Path, model: Model) -> LevelNetwork:
    """The network of a checkpoint of ours, in eval mode, with ``mean`` and ``std`` as attributes.

    Raises:
        DataError: no checkpoint of ours, or of another architecture than ``model``.
    """
    content = read_sealed(checkpoint)
    if content.get("format") != FORMAT:
        raise DataError(f"{checkpoint}: not a checkpoint of descbench (format {FORMAT}); delete it and rerun.")
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
    content = read_sealed(checkpoint)
    digest = hashlib.sha256()
    tensors = {**content["state_dict"], **{f"extra.{k}": v for k, v in content["extra"].items()}}
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def upgrade_how_checkpoint(content: Mapping[str, Any]) -> dict[str, Any]:
    """Bring an old HOW checkpoint (recognised by the absence of ``_version``) to the new format.

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
            "scales": list(_HOW_SCALES),
            "training_scales": [1],
        },
    }
    return {**content, "state_dict": renamed, "net_params": parameters, "_version": "how/2020"}


def _architecture(model: Model) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude={"weights"})


def _random(model: Model, seed: int) -> dict[str, Any]:
    """Weights drawn from a seed, the global random state left alone.

    Residual branches start almost silent (the last BatchNorm of each block at 0.1): an untrained network
    then keeps the colours and edges of its first layers, where full branches bury them in noise. The filters
    of the first layer sum to zero, so that they see contrast, and a bright sky does not outweigh a building.
    The queries of LIT are large: with PyTorch's initial weights all its templates look at the whole image alike
    (attention maps with a mean cosine of 0.98), and super-features that are all the image's mean teach little.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(model)
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # After all resets: those of a block's own BatchNorms come later than the block.
        for module in network.modules():
            for last in ("bn3", "bn2"):
                if hasattr(module, last):
                    nn.init.constant_(getattr(module, last).weight, _BRANCH)
                    break
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        with torch.no_grad():
            first.weight -= first.weight.mean((1, 2, 3), keepdim=True)
        if isinstance(network, HowNet):
            nn.init.orthogonal_(network.dim_reduction.weight)
        if isinstance(network, NetVladNet):
            draw_with_contrast(network)
        if isinstance(network, FireNet):
            with torch.no_grad():
                network.lit.project_q.weight *= _FOCUS
    return {
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "extra": {},
        "state_dict": network.state_dict(),
        "source": {"file": None, "sha256": None, "seed": seed},
    }


def _imagenet(model: Model, weights: Path, seed: int) -> dict[str, Any]:
    """A backbone of torchvision's layout, for FIRe with LIT; what is not learned on ImageNet is drawn from the seed."""
    content, initial = load_torch_file(weights), _random(model, seed)
    netvlad = isinstance(model, NetVladModel)
    found = {
        key.replace("features.", "encoder.", 1) if netvlad else _sequential_key(key): tensor
        for key, tensor in ((str(k).removeprefix("module."), v) for k, v in first_state_dict(content, weights).items())
    }
    expected = initial["state_dict"]
    prefixes = ("pool.", "WPCA.") if netvlad else ("dim_reduction.",)
    beyond = {key: tensor for key, tensor in expected.items() if key.startswith(prefixes)}
    state = {**beyond, **{key: found[key] for key in expected if key in found}}
    load_state(build_empty_network(model), state, weights)
    source = {"file": weights.name, "sha256": sha256_file(weights), "seed": seed}
    return {**initial, "state_dict": state, "source": source}


def _own(model: CustomModel, weights: Path | None, seed: int, name: str) -> dict[str, Any]:
    """A network of the user's, as its factory gives it, or with the weights of a file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_custom(model, name)
    if weights is not None:
        content = load_torch_file(weights)
        state = find_state_dict(content, weights, network.module.state_dict())
        load_state(network.module, state, weights)
    return {
        "mean": list(model.mean),
        "std": list(model.std),
        "extra": {},
        "state_dict": network.state_dict(),
        "source": {"file": weights and str(weights), "sha256": weights and sha256_file(weights), "seed": seed},
    }


def _sequential_key(key: str) -> str:
    """Key of a torchvision ResNet as it is called once the children stand in a sequence."""
    places = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    first, _, rest = key.partition(".")
    return f"features.{places[first]}.{rest}" if first in places else key


def _official(model: Model, weights: Path) -> dict[str, Any]:
    if isinstance(model, NetVladModel):
        return _official_netvlad(model, weights)
    content, network = load_torch_file(weights), build_empty_network(model)
    for key in ("state_dict", "meta"):
        if not isinstance(content.get(key), dict):
            raise DataError(f"{weights}: no {key!r} in this checkpoint (it has {', '.join(map(str, content))}).")
    if isinstance(model, HowModel | FireModel):
        content, mean, std = _described(model, content, weights)
    else:
        mean, std = content["meta"].get("mean", IMAGENET_MEAN), content["meta"].get("std", IMAGENET_STD)
    load_state(network, find_state_dict(content, weights, network.state_dict()), weights)
    return {
        "mean": _colour(mean, weights),
        "std": _colour(std, weights),
        "extra": read_learned_whitening(content["meta"], model, weights) if getattr(network, "learned", False) else {},
        "state_dict": network.state_dict(),
        "source": {"file": weights.name, "sha256": sha256_file(weights), "seed": None},
    }


def _colour(values: Any, weights: Path) -> list[float]:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError):
        raise DataError(f"{weights}: its mean or std are not three numbers; fetch it again.") from None
    return [red, green, blue]


def _official_netvlad(model: NetVladModel, weights: Path) -> dict[str, Any]:
    found, network = read_netvlad_file(model, weights), build_empty_network(model)
    load_state(network, find_state_dict(found.state, found.file, network.state_dict()), found.file)
    return {
        "mean": list(IMAGENET_MEAN if found.mean is None else found.mean),
        "std": list(IMAGENET_STD if found.std is None else found.std),
        "extra": {},
        "state_dict": network.state_dict(),
        "source": {"file": found.file.name, "sha256": sha256_file(found.file), "seed": None},
    }


def _described(
    model: HowModel | FireModel, content: Mapping[str, Any], weights: Path
) -> tuple[Mapping[str, Any], Any, Any]:
    """The checkpoint in its newest format, mean and std, when its metadata describe this very model.

    Not all of it shows in the shapes of the weights: LIT's iterations do not (docs/protocols/fire.md, Checkpoints).
    """
    try:
        if isinstance(model, HowModel):
            content = upgrade_how_checkpoint(content)
        parameters = content["net_params"]
        found = _model_fields(model, parameters)
        mean, std = parameters["runtime"]["mean_std"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        kind = {"how": "HOW", "fire": "FIRe"}[model.architecture]
        raise DataError(f"{weights}: not a {kind} checkpoint, its metadata lack {shorten(error)}.") from error
    wanted = {name: getattr(model, name) for name in found}
    if found != wanted:
        raise DataError(
            f"{weights}: its {', '.join(found)} are {tuple(found.values())}, the configuration says "
            f"{tuple(wanted.values())}; correct the model block."
        )
    return content, mean, std


def _model_fields(model: HowModel | FireModel, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a model block, read from the ``net_params`` of an official checkpoint."""
    shared = {
        "backbone": parameters["architecture"],
        "skip_layer": parameters["skip_layer"],
        "dim": parameters["dim_reduction"]["dim"],
    }
    if isinstance(model, FireModel):
        lit = parameters["lit"]
        return {**shared, "templates": lit["N"], "iterations": lit["T"], "dim_lit": lit["dim"]}
    return {**shared, "smoothing": (parameters["smoothing"] or {"kernel_size": 0})["kernel_size"]}
