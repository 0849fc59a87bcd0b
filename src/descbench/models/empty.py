"""Networks without values, on torch's meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_IN_PLACE = (torch.Tensor.normal_, torch.Tensor.uniform_)
_ANEW = (torch.randn, torch.rand)


class _NothingDrawn(TorchFunctionMode):
    """Initial values are left out: on the meta device there is nowhere to put them, and torch would import its
    compiler only to find the shape of what it draws, which takes seconds."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _IN_PLACE:
            return args[0]
        return (torch.empty if func in _ANEW else func)(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[None]:
    """Modules that are made in it have shapes and types, and no values."""
    with torch.device("meta"), _NothingDrawn():
        yield
