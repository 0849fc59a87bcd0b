"""HNDesc's loss as its definition reads: all negatives of a row sorted (docs/protocols/hndesc.md, Loss)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

HARDEST, BINS = 20, 20


def average_precision(rows: torch.Tensor) -> torch.Tensor:
    """AP (M,) of rows (M, C) of similarities whose first is the right one, bin after bin from similarity 1 to 0."""
    slope = BINS - 1
    counted, right, precisions = 0.0, 0.0, []
    for number in range(BINS):
        centre = 1 - number / slope
        falling = 1 - slope * (rows - centre) if number else torch.ones_like(rows)
        rising = 1 + slope * (rows - centre) if number < slope else torch.ones_like(rows)
        members = torch.minimum(falling, rising).clamp(min=0)
        counted, right = counted + members.sum(1), right + members[:, 0]
        precisions.append(right / (1e-16 + counted) * members[:, 0])
    return sum(precisions) / right


def in_batch_loss(anchors: torch.Tensor, positives: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Mean of 1 - AP (scalar) over rows (M, D) of images with ``counts`` of them, each at least 2."""
    total = len(anchors)
    images = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    similarities = anchors @ positives.T
    off_diagonal = ~torch.eye(total, dtype=torch.bool)
    others = similarities[off_diagonal].reshape(total, total - 1)
    of_other_images = (images[:, None] != images)[off_diagonal].reshape(total, total - 1)
    hardest = []
    for row, allowed in zip(others, of_other_images, strict=True):
        found = row[allowed].sort(descending=True).values[:HARDEST]
        hardest.append(torch.cat([found, found[-1:].expand(HARDEST - len(found))]))
    rows = torch.cat([similarities.diagonal()[:, None], torch.stack(hardest)], 1)
    return (1 - average_precision(rows)).mean()
