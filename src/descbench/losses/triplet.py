"""Triplet loss over the hard negatives of several queries (docs/protocols/netvlad.md, Triplet loss)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def triplet_loss(descriptors: torch.Tensor, counts: Sequence[int], margin: float) -> torch.Tensor:
    """Mean over all negatives of max(0, |q - p| - |q - n| + sqrt(margin)), with plain Euclidean distances.

    1e-6 is added to each difference of components, as torch does.

    Args:
        descriptors: (2 B + sum of counts, D): B queries, their B positives, then the negatives of the first query,
            of the second, and so on.
        counts: negatives of each query (B,).
        margin: squared margin, as the paper states it.

    Returns:
        Scalar; triplets that cost nothing count in the mean.
    """
    queries, positives, negatives = descriptors.split([len(counts), len(counts), sum(counts)])
    times = torch.tensor(counts, device=descriptors.device)
    anchors, matches = (rows.repeat_interleave(times, 0) for rows in (queries, positives))
    return F.triplet_margin_loss(anchors, matches, negatives, margin=margin**0.5)
