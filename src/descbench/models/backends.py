"""Backends: what runs a network on the CPU - torch, torch with another convolution, ONNX Runtime or OpenVINO.

The last two get only :meth:`~descbench.models.levels.LevelNetwork.level`, the part that runs once for
each level of the pyramid: resizing, selection and sums stay in torch, the same code for all. The
network is exported once, with dynamic height and width, when a job starts (under a second for a
ResNet-50). The export stays in memory: nothing is left on disk that could grow stale.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Callable
from importlib import metadata
from types import ModuleType

import torch
from torch import nn

from descbench.config.models import Backend
from descbench.errors import ConfigError
from descbench.models.levels import LevelNetwork, Tensors
from descbench.models.winograd import use_winograd

_OPSET = 17
_EXAMPLE_SIDE = 128  # of the image that is traced; every other size works as well

Runner = Callable[[torch.Tensor], Tensors]


def use_backend(network: LevelNetwork, backend: Backend) -> str:
    """Have a network run by a backend, on as many threads as torch would use.

    Args:
        network: on the CPU, ready for inference; changed in place.
        backend: one of ``Backend``.

    Returns:
        Backend and version, for the record: ``onnxruntime 1.31.1``.

    Raises:
        ConfigError: the backend's packages are not installed.
    """
    if backend == "torch":
        network.runner = None
    elif backend == "winograd":
        use_winograd(network)
    else:
        make = {"onnxruntime": _onnxruntime, "openvino": _openvino}[backend]
        package = _import(backend, backend)
        _import("onnx", backend)
        network.runner = make(package, export_level(network), torch.get_num_threads())
    return backend_name(backend)


def backend_name(backend: Backend) -> str:
    """A backend that is installed, with its version."""
    if backend == "torch":
        return f"torch {torch.__version__}"
    if backend == "winograd":
        return f"winograd by torch {torch.__version__}"
    return f"{backend} {metadata.version(backend)}"


def export_level(network: LevelNetwork) -> bytes:
    """A network's ``level`` as an ONNX model: input ``image`` (1, channels, H, W), outputs by ``level_outputs``."""
    axes = {"image": {2: "height", 3: "width"}}
    for name, dynamic in network.level_outputs.items():
        axes[name] = {axis: f"{side}_of_map" for axis, side in zip(dynamic, ("height", "width"), strict=False)}
    exported = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # torch prefers its newer exporter, which needs one more package (onnxscript) for the same model.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            _Level(network).eval(),
            (torch.zeros(1, network.channels, _EXAMPLE_SIDE, _EXAMPLE_SIDE),),
            exported,
            dynamo=False,
            opset_version=_OPSET,
            input_names=["image"],
            output_names=list(network.level_outputs),
            dynamic_axes=axes,
        )
    return exported.getvalue()


class _Level(nn.Module):
    """A network's ``level`` as a module of its own, which is what the exporter takes."""

    def __init__(self, network: LevelNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> Tensors:
        return self.network.level(image)


def _import(package: str, backend: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"backend: {backend} was asked for, but the package {package} is not installed ({error}); run "
            "`pip install -r requirements/backends.txt` in this environment, or set `backend: torch`."
        ) from error


def _onnxruntime(package: ModuleType, exported: bytes, threads: int) -> Runner:
    options = package.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = package.InferenceSession(exported, options, providers=["CPUExecutionProvider"])

    def run(image: torch.Tensor) -> Tensors:
        return tuple(map(torch.from_numpy, session.run(None, {"image": image.contiguous().numpy()})))

    return run


def _openvino(package: ModuleType, exported: bytes, threads: int) -> Runner:
    core = package.Core()
    # Without the hint, processors that know bfloat16 would use it.
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    request = core.compile_model(core.read_model(exported), "CPU", settings).create_infer_request()

    def run(image: torch.Tensor) -> Tensors:
        found = request.infer([image.contiguous().numpy()], share_inputs=True, share_outputs=False)
        return tuple(torch.from_numpy(values) for values in found.values())

    return run
