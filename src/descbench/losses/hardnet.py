"""Losses of HardNet and of its ablations, on descriptors of anchors and positives (docs/protocols/hardnet.md, Losses).

Rows of anchors and positives belong together: row i of both shows the same point, all others show other points.
Gradients flow through all descriptors, those chosen as negatives too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

Kind = Literal["triplet_margin", "softmax", "contrastive"]
Sampling = Literal["min", "average", "random"]

_UNDER_ROOT, _UNDER_ROOT_OF_PAIRS, _ADDED = 1e-6, 1e-8, 1e-8
# Distances below it are of the same point under another number; what is added to such, and to those of pairs.
_DUPLICATE, _FAR = 0.008, 10.0


def distance_matrix(anchors: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """(n, m) Euclidean distances of rows (n, d) and (m, d); 1e-6 is added under the root."""
    squares = anchors.square().sum(1)[:, None] + positives.square().sum(1)
    return (squares - 2 * (anchors @ positives.T) + _UNDER_ROOT).sqrt()


def pair_distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(n,) Euclidean distances of rows that belong together; 1e-8 is added under the root."""
    squares = one.square().sum(1) + other.square().sum(1) - 2 * (one * other).sum(1)
    return (squares + _UNDER_ROOT_OF_PAIRS).sqrt()


def hardnet_loss(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    *,
    sampling: Sampling = "min",
    kind: Kind = "triplet_margin",
    margin: float = 1.0,
    anchor_swap: bool = True,
    permutation: torch.Tensor | None = None,
) -> torch.Tensor:
    """Negatives within the batch: the hardest, all, or one at random of each pair.

    Args:
        anchors, positives: (n, d) descriptors.
        sampling: which negatives.
        kind: of loss.
        margin: of the kinds that have one.
        anchor_swap: a negative is the nearer of those of the anchor and of the positive.
        permutation: (n,) int64 for sampling ``random``: the negative of pair i is positive ``permutation[i]``.

    Returns:
        Scalar.
    """
    distances = distance_matrix(anchors, positives) + _ADDED
    positive = distances.diagonal()
    masked = distances + _FAR * torch.eye(len(distances), device=distances.device, dtype=distances.dtype)
    masked = masked + _FAR * (masked.detach() < _DUPLICATE).to(masked.dtype)
    if sampling == "average":
        # Every entry is a term, with the positive distance of its column.
        positive = positive.expand_as(masked).reshape(-1)
    pick = _SAMPLINGS[sampling]
    negative = pick(masked, permutation)
    if anchor_swap:
        negative = torch.min(negative, pick(masked.T, permutation))
    return _KINDS[kind](positive, negative, margin).mean()


def l2net_loss(anchors: torch.Tensor, positives: torch.Tensor, *, anchor_swap: bool = True) -> torch.Tensor:
    """Softmax over a whole row of distances, the positive among them; with ``anchor_swap`` that of columns is added."""
    distances = distance_matrix(anchors, positives)
    near = (2 - distances).exp()
    return sum(_share(distances.diagonal(), near.sum(axis)) for axis in ((1, 0) if anchor_swap else (1,)))


def random_negatives_loss(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor,
    *,
    kind: Kind = "triplet_margin",
    margin: float = 1.0,
    anchor_swap: bool = True,
) -> torch.Tensor:
    """A negative of its own for each pair, drawn from the whole set: (n, d) ``negatives``."""
    negative = pair_distances(anchors, negatives)
    if anchor_swap:
        negative = torch.min(negative, pair_distances(positives, negatives))
    return _KINDS[kind](pair_distances(anchors, positives), negative, margin).mean()


def spread_out_penalty(anchors: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    """Global orthogonal regularisation: products of unrelated descriptors as of random directions."""
    products = (anchors * negatives).sum(1)
    return products.mean().square() + (products.square().mean() - 1 / anchors.shape[1]).clamp(min=0)


def correlation_penalty(anchors: torch.Tensor) -> torch.Tensor:
    """Norm of what dimensions of the batch's descriptors have in common, over the number of descriptors (CPR)."""
    centred = anchors - anchors.mean(0)
    products = centred.T @ centred
    off_diagonal = products - products.diagonal().diag()
    return off_diagonal.square().sum().sqrt() / len(anchors)


def _triplet_margin(positive: torch.Tensor, negative: torch.Tensor, margin: float) -> torch.Tensor:
    return (margin + positive - negative).clamp(min=0)


def _softmax(positive: torch.Tensor, negative: torch.Tensor, _margin: float) -> torch.Tensor:
    near = (2 - positive).exp()
    return -torch.log(near / (near + (2 - negative).exp() + _ADDED))


def _contrastive(positive: torch.Tensor, negative: torch.Tensor, margin: float) -> torch.Tensor:
    return (margin - negative).clamp(min=0) + positive


def _share(positive: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    return -torch.log((2 - positive).exp() / (total + _ADDED)).mean()


_KINDS: dict[Kind, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {
    "triplet_margin": _triplet_margin,
    "softmax": _softmax,
    "contrastive": _contrastive,
}
# Negative of each pair, from a matrix of distances with anchors as rows.
_SAMPLINGS: dict[Sampling, Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]] = {
    "min": lambda masked, _: masked.min(1).values,
    "average": lambda masked, _: masked.reshape(-1),
    "random": lambda masked, chosen: masked.gather(1, chosen[:, None])[:, 0],
}
