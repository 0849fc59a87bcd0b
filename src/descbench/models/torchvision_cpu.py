"""The one place that imports torchvision.

PyPI serves torchvision as a CUDA build. Beside a CPU build of torch its compiled operators cannot
load, and the import then fails because it registers shape functions for two operators that nobody
has declared. Declaring their schemas first is enough: no model or transform here calls them.

One of its operators also imports torch's compiler, to ask whether a device is compiled for. That is half of
the time which a job takes to start (1.4 of 3.3 s measured), so the import waits until somebody asks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

_COMPILER = "torch._dynamo.utils"

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _declare_missing_operators() -> None:
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", _SCHEMA)


class _LaterCompiler(ModuleType):
    """Stands for the compiler's module while torchvision is imported."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        return import_module(_COMPILER).is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:
        """Whatever else is wanted comes from the module itself, at once."""
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(_COMPILER, None)
        return getattr(import_module(_COMPILER), name)


@contextmanager
def _compiler_waits() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    later = sys.modules[_COMPILER] = _LaterCompiler(_COMPILER)
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER) is later:
            del sys.modules[_COMPILER]


with _compiler_waits():
    try:
        import torchvision.models as models
    except RuntimeError:
        _declare_missing_operators()
        import torchvision.models as models

__all__ = ["models"]
