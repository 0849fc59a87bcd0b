"""Networks of patches as files that run without this package: TorchScript and ONNX."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from descbench.config.networks import Model
from descbench.errors import ConfigError, DataError
from descbench.io.atomic import atomic_path
from descbench.io.outputs import check_output
from descbench.models.checkpoints import load_network
from descbench.models.folding import fold_batch_norm
from descbench.models.patches import PatchNetwork

INPUT, OUTPUT = "patches", "descriptors"
_OPSET = 17
_EXAMPLES = 3  # patches that are traced; every other number works as well
_OTHERS = 5  # patches that the trace is tried on


def export_network(checkpoint: Path, model: Model, output: Path) -> None:
    """Write a network of patches as TorchScript (``.pt``) or ONNX (``.onnx``), for any number of patches.

    The input ``patches`` is (N, 1, 32, 32) float32, grey values divided by 255; the output ``descriptors`` is
    (N, 128) float32. The normalisation of pixels is part of the network, BatchNorm is folded into convolutions.

    Args:
        checkpoint: checkpoint of ours.
        model: its block of the configuration.
        output: the file, whose ending says the format.

    Raises:
        ConfigError: another ending, the checkpoint itself or a file of something else, a network of whole images, one
            that gives no finite numbers or cannot be traced, or ONNX without the package onnx.
        DataError: no checkpoint of ours, or of another model.
    """
    if not model.DESCRIBES_PATCHES:
        raise ConfigError(
            f"architecture {model.architecture} describes no cut-out patches; only networks that do are exported."
        )
    if output.suffix not in _WRITERS:
        raise ConfigError(f"{output}: the ending says the format; name a file in {' or '.join(_WRITERS)}.")
    check_output(output, [checkpoint], read=_read_torchscript if output.suffix == ".pt" else None)
    network = load_network(checkpoint, model)
    fold_batch_norm(network)
    whole = _FromPixels(network).eval().requires_grad_(False)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        # The check of the shape is traced as true. torch prefers newer exporters, which need one more package
        # (onnxscript), or give files that fewer programs read.
        for kind in (torch.jit.TracerWarning, DeprecationWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        example = torch.rand(_EXAMPLES, 1, network.side, network.side)
        _check_traced(whole, example, model.architecture)
        # In memory first: what torch says where it cannot write names neither the file nor the reason.
        _WRITERS[output.suffix](whole, example, exported := io.BytesIO())
    with atomic_path(output) as temporary:
        temporary.write_bytes(exported.getbuffer())


def _check_traced(network: nn.Module, example: torch.Tensor, name: str) -> None:
    """Refuse a network whose trace, which both formats are made of, is not what it does with other patches.

    Python code that asks for values or for the number of patches is decided once, when it is traced.
    """
    others = torch.rand(_OTHERS, *example.shape[1:])
    expected, found = network(others), torch.jit.trace(network, example)(others)
    if not torch.isfinite(expected).all():
        raise ConfigError(f"model of architecture {name}: descriptors hold NaN or infinity; check its weights.")
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
        raise ConfigError(
            f"model of architecture {name}: its trace gives other descriptors than it does itself; Python code in it "
            "that depends on values or on the number of patches cannot be exported."
        )


class _FromPixels(nn.Module):
    """A network behind the normalisation of its pixels."""

    def __init__(self, network: PatchNetwork) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = float(network.mean[0]), float(network.std[0])

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self.network((patches - self.mean) / self.std)


def _torchscript(network: nn.Module, example: torch.Tensor, output: io.BytesIO) -> None:
    torch.jit.save(torch.jit.trace(network, example), output)


def _onnx(network: nn.Module, example: torch.Tensor, output: io.BytesIO) -> None:
    try:
        import onnx  # noqa: F401 - the exporter of torch needs it
    except ImportError as error:
        raise ConfigError(
            "ONNX needs the package onnx, which is not installed; run "
            "`pip install -r requirements/backends.txt` in this environment."
        ) from error
    torch.onnx.export(
        network,
        (example,),
        output,
        dynamo=False,
        opset_version=_OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: "count"}, OUTPUT: {0: "count"}},
    )


def _read_torchscript(path: Path) -> None:
    """Refuse what is not TorchScript, such as a checkpoint."""
    if not zipfile.is_zipfile(path) or not any("/code/" in name for name in zipfile.ZipFile(path).namelist()):
        raise DataError(f"{path}: no TorchScript.")


_WRITERS: Mapping[str, Callable[[nn.Module, torch.Tensor, io.BytesIO], None]] = {".pt": _torchscript, ".onnx": _onnx}
