"""Row of a loss: HNDesc's average precision, forward and backward, against its plain definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from benchmarks.case import Case, Sizes
from benchmarks.plain import hndesc as plain
from descbench.losses.average_precision import ap_loss

CROPS, DIM, NOISE = 16, 128, 3.0
_TOLERANCE = 1e-5
Loss = Callable[[torch.Tensor, torch.Tensor, Sequence[int]], torch.Tensor]


def loss_cases(sizes: Sizes) -> Iterator[Case]:
    """The row, on as many crops as a batch of the published training has."""
    counts = [sizes.crop_keypoints] * CROPS
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(sum(counts), DIM, generator=generator)
    others = rows + NOISE * torch.randn(sum(counts), DIM, generator=generator)
    pair = (F.normalize(rows), F.normalize(others))
    yield Case(
        "ap_loss",
        lambda: _value_and_gradients(plain.in_batch_loss, pair, counts),
        lambda: _value_and_gradients(lambda *inputs: ap_loss(*inputs).loss, pair, counts),
        _close,
        f"{CROPS} crops of {sizes.crop_keypoints} keypoints, value and gradients",
    )


def _value_and_gradients(
    loss: Loss, pair: tuple[torch.Tensor, torch.Tensor], counts: Sequence[int]
) -> list[torch.Tensor]:
    rows = [tensor.clone().requires_grad_() for tensor in pair]
    value = loss(*rows, counts)
    value.backward()
    return [value.detach(), *(tensor.grad for tensor in rows)]


def _close(theirs: list[torch.Tensor], ours: list[torch.Tensor]) -> bool:
    return all(torch.allclose(*both, rtol=0, atol=_TOLERANCE) for both in zip(theirs, ours, strict=True))
