"""The one place that imports torchvision; tests/unit/test_torchvision.py holds what it relies on.

PyPI serves torchvision as a CUDA build. Beside a CPU build of torch its compiled operators cannot load, and the import
fails: it registers shape functions for two operators (``nms``, ``qnms``) that nobody has declared. Declaring their
schemas and importing again is enough, for no model or transform here calls them. Where torchvision loads its own
operators, the import succeeds and nothing is declared.

One of its modules also imports ``torch._dynamo.utils``, part of torch's compiler, for a single function that it calls
when the module's operator runs. That import is half of the time which a job takes to start (1.4 of 3.3 s measured). So
a module with that function stands in sys.modules while torchvision is imported; the function imports the compiler when
it is called, and any other name that is asked for brings the real module at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
COMPILER = "torch._dynamo.utils"


class _LaterCompiler(ModuleType):
    """Stands for the compiler's module while torchvision is imported."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        return import_module(COMPILER).is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(COMPILER, None)
        return getattr(import_module(COMPILER), name)


@contextmanager
def _compiler_waits() -> Iterator[None]:
    if COMPILER in sys.modules:
        yield
        return
    later = sys.modules[COMPILER] = _LaterCompiler(COMPILER)
    try:
        yield
    finally:
        if sys.modules.get(COMPILER) is later:
            del sys.modules[COMPILER]


def _import_models() -> ModuleType:
    with _compiler_waits():
        try:
            return import_module("torchvision.models")
        except RuntimeError as error:
            if f"operator torchvision::{OPERATORS[0]} does not exist" not in str(error):
                raise
        for name in OPERATORS:
            torch.library.define(f"torchvision::{name}", SCHEMA)
        return import_module("torchvision.models")


models = _import_models()

__all__ = ["models"]
