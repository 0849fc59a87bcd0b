"""FIRe's matching of super-features, and the contrastive loss on matched ones.

Definition: docs/protocols/fire.md, Matching; docs/protocols/fire.md, Super-feature loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from descbench.losses.contrastive import contrastive_loss

Ratio = Literal["second_index", "genuine"]


@dataclass(frozen=True)
class Matching:
    """How the rows of a positive found rows of a query; everything is (N,), by row of the positive.

    Attributes:
        nearest: int64, the nearest row of the query.
        distances: to that row, between L2-normalised rows.
        second: int64, the second-nearest row of the query (0 where there is none).
        quotients: what the ratio test compares with its threshold; NaN does not pass.
        reciprocal: bool, whether the nearest row of the positive is this row again.
        kept: bool, whether the row is a match: reciprocal, unambiguous, and of one template on both sides.
    """

    nearest: torch.Tensor
    distances: torch.Tensor
    second: torch.Tensor
    quotients: torch.Tensor
    reciprocal: torch.Tensor
    kept: torch.Tensor

    @property
    def ids(self) -> torch.Tensor:
        """(M,) int64 templates that match, ascending."""
        return self.kept.nonzero().flatten()


@torch.no_grad()
def match_superfeatures(
    query: torch.Tensor, positive: torch.Tensor, *, ratio: Ratio = "second_index", threshold: float = 0.9
) -> Matching:
    """Match the super-features of two images; no gradient flows through it.

    Args:
        query, positive: (N, D) super-features, row i of template i; they need not be normalised.
        ratio: what the distance to the nearest row is divided by. ``second_index``: the *row index* of the
            second-nearest row, which is what the original does and its released weights were trained with,
            although a ratio test is evidently meant; nearly every row passes. ``genuine``: the distance
            to the second-nearest row.
        threshold: largest quotient that passes.
    """
    distances = torch.cdist(F.normalize(query, dim=1), F.normalize(positive, dim=1))
    best, nearest = distances.min(0)
    others = distances.clone()
    others[nearest, torch.arange(len(nearest), device=nearest.device)] = torch.inf
    second_best, second = others.min(0)
    # 0 / 0 is NaN, which passes no comparison.
    quotients = best / (second if ratio == "second_index" else second_best)
    rows = torch.arange(len(positive), device=nearest.device)
    reciprocal = distances.argmin(1)[nearest] == rows
    kept = reciprocal & (quotients <= threshold) & (nearest == rows)
    return Matching(nearest, best, second, quotients, reciprocal, kept)


def superfeature_loss(
    query: torch.Tensor,
    positive: torch.Tensor,
    negatives: Sequence[torch.Tensor],
    *,
    margin: float = 1.1,
    ratio: Ratio = "second_index",
    threshold: float = 0.9,
) -> tuple[torch.Tensor, Matching]:
    """Contrastive loss of one tuple, summed over the templates that match in query and positive.

    Negatives are compared at the same templates, without matching. Published training multiplies it by 0.02.

    Args:
        query, positive: (N, D) super-features, not normalised.
        negatives: (N, D) of each negative.
        margin: distance beyond which a negative costs nothing.
        ratio, threshold: see :func:`match_superfeatures`.

    Returns:
        The scalar loss, not weighted, and the matching. Without a match the loss is a zero whose gradient is
        zero for the query and absent for the other images.
    """
    matching = match_superfeatures(query, positive, ratio=ratio, threshold=threshold)
    ids = matching.ids
    if not len(ids):
        return 0 * query.sum(), matching
    # A contrastive loss of as many tuples as there are matches, whose columns stand together.
    images = torch.stack([F.normalize(image, dim=1)[ids] for image in (query, positive, *negatives)], 1)
    labels = torch.tensor([-1, 1] + [0] * len(negatives), device=query.device).repeat(len(ids))
    return contrastive_loss(images.flatten(0, 1).T, labels, margin), matching
