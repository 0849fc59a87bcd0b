"""What rounding can do to a training step, so that a tolerance need not be guessed.

A processor, a number of threads or a library of convolutions changes the order of sums, and so the last digits of
every activation. Smooth operations carry that on as a relative error of about 1e-6. Two things make it larger:

* the gradient of a ReLU is all or nothing, so an activation that is zero but for rounding passes its gradient on
  with one processor and not with another; of the millions of activations of a step a few are such;
* Adam divides a gradient by its own size, so one that is rounding alone becomes a whole step of either sign.

Both are measured, not bounded by a constant. A test takes its steps twice: once with every doubtful ReLU open, once
with every doubtful ReLU closed and with weights that begin off by some units in their last places. The two lie apart
as far as rounding can carry a result. A fault of ours stands in both alike, and is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

# A sum of a few thousand float32 products is off by some 2**-22 of its size, and a network has tens of them in a row.
# Doubtful is an activation this near to zero, as a part of its layer's root mean square.
UNITS = 2.0**-20


class _Relu(torch.autograd.Function):
    """max(x, 0), with a gradient where x is above a limit near 0."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, limit: float) -> torch.Tensor:
        ctx.save_for_backward(x > limit * x.detach().pow(2).mean().sqrt())
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * ctx.saved_tensors[0], None


@contextmanager
def doubtful_relus(*, opened: bool, step: int = 0) -> Iterator[None]:
    """Every ReLU of torch passes the gradients of its doubtful activations, or none of them.

    Each step widens what is doubtful tenfold: weights that differ by Adam's steps in rounding move activations more
    than rounding does.
    """
    limit = UNITS * 10**step * (-1 if opened else 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "relu", lambda x, inplace=False: _Relu.apply(x, limit))
        yield


@torch.no_grad()
def disturb(network: nn.Module, seed: int = 0, units: float = UNITS) -> None:
    """Multiply every weight by 1 + noise as large as the rounding of a layer's sums."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.mul_(1 + units * noise)
