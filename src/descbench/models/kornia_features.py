"""The one place that imports kornia, whose import takes seconds: when it is needed, and after torchvision."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def kornia_features() -> ModuleType:
    """``kornia.feature``."""
    # kornia imports torchvision, which a CPU build of torch needs help with.
    import_module("descbench.models.torchvision_cpu")
    return import_module("kornia.feature")
