"""Files of NetVLAD that others published: pytorch-NetVlad's runs, Patch-NetVLAD's checkpoints, the authors' Matlab.

Definition: docs/protocols/netvlad.md, Published files. Runs are written too, so that pytorch-NetVlad goes on with what
was trained here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descbench.config.networks import NetVladModel
from descbench.config.training import NetVladTraining
from descbench.errors import DataError
from descbench.io.atomic import atomic_path, write_json
from descbench.io.matfiles import read_mat
from descbench.models.netvlad import CHANNELS
from descbench.models.state_dicts import first_state_dict
from descbench.models.torch_files import load_torch_file

_BEST, _LATEST = "model_best.pth.tar", "checkpoint.pth.tar"
_FLAGS = "flags.json"
# Wrapped for several GPUs, encoder and pooling each have their own `module`; so may the whole.
_PARALLEL = re.compile(r"^((?:module|model)\.)*(encoder|pool|WPCA)\.(module\.)?")
# Layers of the Matlab network; convolutions stand at torchvision's places.
_MATLAB_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_MATLAB_POOLING, _MATLAB_WHITENING = 30, 33


@dataclass(frozen=True)
class NetVladFile:
    """Weights as they were published, under this project's keys.

    Attributes:
        file: where they were read.
        state: state dict.
        mean, std: of pixels in 0..1; None where the file does not say.
    """

    file: Path
    state: Mapping[str, torch.Tensor]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class RunState:
    """Content of a checkpoint of pytorch-NetVlad.

    Attributes:
        epoch: 1 for the first.
        state_dict: under the original's keys.
        recalls: of the validation, by N.
        best_score: best recall@5 so far.
        optimizer: state of torch's optimiser.
    """

    epoch: int
    state_dict: Mapping[str, torch.Tensor]
    recalls: Mapping[int, float]
    best_score: float
    optimizer: Mapping[str, Any]


def read_netvlad_file(model: NetVladModel, path: Path) -> NetVladFile:
    """Read a published file, whatever its format.

    Args:
        model: what the configuration says of it.
        path: checkpoint (``.pth.tar``) of pytorch-NetVlad or Patch-NetVLAD, folder of a run (its best checkpoint,
            else its latest), or ``.mat`` of the authors' network.

    Raises:
        DataError: none of these, or of another network than ``model``.
    """
    file = _checkpoint_of_run(path) if path.is_dir() else path
    if _is_matlab(file):
        return _read_matlab(model, file)
    content = load_torch_file(file)
    state = {_PARALLEL.sub(r"\2.", str(key)): tensor for key, tensor in first_state_dict(content, file).items()}
    flags = file.resolve().parent / _FLAGS  # a copy of one's own is linked, its flags are not
    if flags.is_file():
        _compare(model, flags, _fields_of_flags(flags))
    _compare(model, file, _fields_of_state(state))
    return NetVladFile(file, state)


def model_of_run(folder: Path, weights: Mapping[str, Any]) -> NetVladModel:
    """The model block of a run of pytorch-NetVlad, ``vladv2`` included (which its own resume forgets).

    Args:
        folder: the run's folder, or its ``checkpoints``.
        weights: block that says where the weights come from.

    Raises:
        DataError: no flags there, or not those of pytorch-NetVlad.
    """
    return NetVladModel.model_validate(
        {**_fields_of_flags(_checkpoint_of_run(folder).parent / _FLAGS), "architecture": "netvlad", "weights": weights}
    )


def write_run(
    folder: Path,
    model: NetVladModel,
    latest: RunState,
    best: RunState | None = None,
    training: NetVladTraining | None = None,
) -> None:
    """Write the folder of a run as pytorch-NetVlad does: flags, latest and best checkpoint.

    Args:
        folder: of the run.
        model: without whitening, which pytorch-NetVlad does not know.
        latest, best: states; without a best one the latest is the best.
        training: what the run's options are taken from; None = pytorch-NetVlad's defaults.

    Raises:
        ValueError: the model has a whitening.
    """
    if model.whitening is not None:
        raise ValueError("pytorch-NetVlad knows no whitening: write the model that the whitening was learned for")
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    default = NetVladTraining(recipe="netvlad", dataset="pittsburgh")
    write_json(checkpoints / _FLAGS, _flags(model, training or default))
    for name, state in ((_LATEST, latest), (_BEST, best or latest)):
        content = {**vars(state), "state_dict": dict(state.state_dict), "recalls": dict(state.recalls)}
        # Into a stream: given a path, torch turns a full disk into an error of its own.
        with atomic_path(checkpoints / name) as temporary, open(temporary, "wb") as stream:
            torch.save({**content, "optimizer": dict(state.optimizer), "parallel": False}, stream)


def _flags(model: NetVladModel, training: NetVladTraining) -> dict[str, Any]:
    """Options of pytorch-NetVlad that describe a training."""
    return {
        "mode": "train",
        "arch": model.backbone,
        "pooling": model.pooling,
        "num_clusters": model.clusters,
        "vladv2": model.bias,
        "fromscratch": training.first_layer == "conv1",
        "dataset": "pittsburgh",
        "optim": training.optimiser.upper(),
        "lr": training.learning_rate,
        "lrStep": float(training.step),
        "lrGamma": training.gamma,
        "weightDecay": training.weight_decay,
        "momentum": training.momentum,
        "margin": training.margin,
        "batchSize": training.batch,
        "cacheRefreshRate": training.refresh,
        "nEpochs": training.epochs,
        "patience": training.patience or 0,
        "seed": training.seed,
        "threads": training.workers,
        "runsPath": "runs",
        "savePath": "checkpoints",
        "resume": "",
        "ckpt": "latest",
    }


def _checkpoint_of_run(folder: Path) -> Path:
    for place in (folder / "checkpoints", folder):
        for name in (_BEST, _LATEST):
            if (place / name).is_file():
                return place / name
    raise DataError(f"{folder}: no {_BEST} and no {_LATEST} in this folder, nor in `checkpoints` below it.")


def _fields_of_flags(flags: Path) -> dict[str, Any]:
    """Fields of the model block that the options of a run decide."""
    try:
        options = json.loads(flags.read_text(encoding="utf-8"))
        fields = {"backbone": str(options["arch"]).lower(), "pooling": str(options["pooling"]).lower()}
        if fields["pooling"] == "netvlad":
            fields |= {"clusters": int(options["num_clusters"]), "bias": bool(options.get("vladv2", False))}
    except FileNotFoundError:
        raise DataError(f"{flags}: is missing; a run of pytorch-NetVlad has its options there.") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{flags}: not the options of a run of pytorch-NetVlad ({error!r}).") from error
    return fields


def _fields_of_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the model block that show in the weights; other differences are named by their keys later."""
    fields: dict[str, Any] = {"whitening": _rows(state.get("WPCA.0.weight"))}
    clusters = _rows(state.get("pool.centroids"))
    if clusters is not None:
        fields |= {"pooling": "netvlad", "clusters": clusters, "bias": "pool.conv.bias" in state}
    return fields


def _rows(tensor: Any) -> int | None:
    return tensor.shape[0] if isinstance(tensor, torch.Tensor) and tensor.ndim > 1 else None


def _compare(model: NetVladModel, file: Path, found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        if getattr(model, name) != value:
            raise DataError(
                f"{file}: {name} is {value} there, the configuration says {getattr(model, name)}; "
                "correct the model block."
            )


# --- Matlab ------------------------------------------------------------------------------------


def _is_matlab(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(6) == b"MATLAB"


def _read_matlab(model: NetVladModel, file: Path) -> NetVladFile:
    """The authors' network: VGG16, NetVLAD without bias, whitening."""
    _compare(model, file, {"backbone": "vgg16", "pooling": "netvlad", "bias": False})
    net = read_mat(file, "net")
    try:
        layers = [_arrays(layer) for layer in net["layers"].ravel()]
        average = np.asarray(net["meta"]["normalization"]["averageImage"], np.float64)
        convolutions = {i: layers[i] for i in _MATLAB_CONVOLUTIONS}
        assignment, minus_centres = layers[_MATLAB_POOLING]
        whitening = layers[_MATLAB_WHITENING] if len(layers) > _MATLAB_WHITENING else None
        state = _encoder(convolutions, file)
        clusters = assignment.shape[1]
        if whitening is not None:
            state |= _cluster_major(*whitening, clusters=clusters, file=file)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{file}: not the network of NetVLAD's authors ({error}); fetch it again.") from error
    if assignment.ndim != 2 or assignment.shape != minus_centres.shape:
        raise DataError(f"{file}: clusters of shape {assignment.shape} and {minus_centres.shape}, not D x K both.")
    if average.size < 3 or 3 not in (average.size, average.shape[-1]):
        raise DataError(f"{file}: averageImage has shape {average.shape}, not a colour or H x W colours.")
    _compare(model, file, {"clusters": clusters, "whitening": _rows(state.get("WPCA.0.weight"))})
    state |= {"pool.centroids": _tensor(-minus_centres.T), "pool.conv.weight": _tensor(assignment.T[:, :, None, None])}
    mean = average.reshape(-1, 3).mean(0) / 255
    return NetVladFile(file, state, tuple(mean.tolist()), (1 / 255,) * 3)


def _arrays(layer: Any) -> tuple[np.ndarray, ...]:
    """Weights of a layer; none for one that has no weights."""
    return tuple(np.asarray(array, np.float32) for array in np.ravel(layer.get("weights", ())))


def _encoder(convolutions: Mapping[int, tuple[np.ndarray, ...]], file: Path) -> dict[str, torch.Tensor]:
    """Weights height x width x in x out and biases (1 x out) under our keys."""
    state = {}
    for i, (weight, bias) in convolutions.items():
        if weight.ndim != 4:
            raise DataError(f"{file}: layer {i} has weights of shape {weight.shape}, not those of a convolution.")
        state[f"encoder.{i}.weight"] = _tensor(weight.transpose(3, 2, 0, 1))
        state[f"encoder.{i}.bias"] = _tensor(bias.ravel())
    return state


def _cluster_major(weight: np.ndarray, bias: np.ndarray, *, clusters: int, file: Path) -> dict[str, torch.Tensor]:
    """Whitening for descriptors with all values of a cluster together; the authors' have (d, k) at d * K + k."""
    channels = CHANNELS["vgg16"]
    if weight.shape[:-1] != (1, 1, clusters * channels):
        raise DataError(f"{file}: whitening of shape {weight.shape}, not 1 x 1 x {clusters * channels} x dimensions.")
    dim = weight.shape[-1]
    rows = weight.reshape(channels, clusters, dim).transpose(2, 1, 0).reshape(dim, -1)
    return {"WPCA.0.weight": _tensor(rows[:, :, None, None]), "WPCA.0.bias": _tensor(bias.ravel())}


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32, order="C"))
