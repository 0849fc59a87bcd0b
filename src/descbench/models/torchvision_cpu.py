"""The one place that imports torchvision.

PyPI serves torchvision as a CUDA build. Beside a CPU build of torch its compiled operators cannot
load, and the import then fails because it registers shape functions for two operators that nobody
has declared. Declaring their schemas first is enough: no model or transform here calls them.
"""

from __future__ import annotations

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _declare_missing_operators() -> None:
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", _SCHEMA)


try:
    import torchvision.models as models
except RuntimeError:
    _declare_missing_operators()
    import torchvision.models as models

__all__ = ["models"]
