"""Contrastive loss over tuples of a query, a positive and negatives (docs/protocols/how.md, Contrastive loss)."""

from __future__ import annotations

import torch

_EPS = 1e-6


def contrastive_loss(descriptors: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Sum over all pairs of a query and another image of its tuple.

    Args:
        descriptors: (D, N), one column an image, the columns of a tuple standing together.
        labels: (N,) -1 for a query, 1 for a positive, 0 for a negative; every tuple starts with its
            query and all tuples have the same length.
        margin: distance beyond which a negative costs nothing.

    Returns:
        Scalar: 0.5 D^2 for positives, 0.5 max(0, margin - D)^2 for negatives, summed;
        D = sqrt(sum (q - x + 1e-6)^2), whose eps keeps the gradient of equal columns finite.
    """
    dim, total = descriptors.shape
    tuples = int((labels == -1).sum())
    columns = descriptors.T.reshape(tuples, total // tuples, dim)
    kinds = labels.reshape(tuples, -1)[:, 1:]
    distances = ((columns[:, :1] - columns[:, 1:] + _EPS) ** 2).sum(-1).sqrt()
    positive = (kinds == 1) * 0.5 * distances**2
    negative = (kinds == 0) * 0.5 * (margin - distances).clamp(min=0) ** 2
    return (positive + negative).sum()
