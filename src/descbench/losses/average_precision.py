"""Losses of HNDesc: average precision of each keypoint's match among hard negatives, and a triplet margin.

Rows of anchors and positives belong together: row i of both is the same keypoint in the two crops of an image. Rows of
an image stand together, image after image. Definition: docs/protocols/hndesc.md, Loss. Gradients flow through every
descriptor that a row is compared with, those chosen as negatives too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

Negatives = Literal["in_batch", "all", "in_pair", "random"]

HARDEST, BINS = 20, 20
_NO_NEGATIVE = -torch.inf
_EPS = 1e-16
# Under the root of the distance that belongs to a similarity, so that its gradient is finite at 1.
_SQUARED = 2.001
_BLOCK = 256  # rows of which all similarities are looked at together


class ApLoss(NamedTuple):
    """Mean of 1 - AP over the rows, and the mean AP: scalars."""

    loss: torch.Tensor
    ap: torch.Tensor


def bin_lines(bins: int = BINS) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and biases (2, bins) of the falling and the rising line of every bin, that of similarity 1 first.

    The first bin does not fall beyond 1 and the last not below 0, so that similarities outside saturate.
    """
    numbers, slope = torch.arange(bins, dtype=torch.float32), float(bins - 1)
    weights = torch.stack([torch.full_like(numbers, -slope), torch.full_like(numbers, slope)])
    biases = torch.stack([bins - numbers, numbers + 1 - slope])
    weights[0, 0] = weights[1, -1] = 0
    biases[0, 0] = biases[1, -1] = 1
    return weights, biases


def average_precision(similarities: torch.Tensor, labels: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Average precision of every row, made differentiable by triangular bins of the similarity.

    Args:
        similarities: (M, C) float.
        labels: (M, C) or (C,), 1 for what is right, else 0; every row has a 1.
        bins: between 1 and 0, both with a bin of their own.

    Returns:
        (M,) in [0, 1].
    """
    weights, biases = (lines.to(similarities)[..., None] for lines in bin_lines(bins))
    values = similarities[:, None, :]
    members = torch.min(weights[0] * values + biases[0], weights[1] * values + biases[1]).clamp(min=0)
    right = (members * labels.to(similarities).reshape(-1, 1, similarities.shape[1])).sum(2)
    precision = right.cumsum(1) / (_EPS + members.sum(2).cumsum(1))
    return (precision * right / right.sum(1, keepdim=True)).sum(1)


def ap_loss(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    counts: Sequence[int],
    *,
    negatives: Negatives = "in_batch",
    hardest: int = HARDEST,
    bins: int = BINS,
    euclidean: bool = False,
    extra: torch.Tensor | None = None,
) -> ApLoss:
    """Mean of 1 - AP over the rows of all images with at least two of them; the others are left out.

    Args:
        anchors, positives: (M, D) descriptors of unit length.
        counts: rows of each image; their sum is M.
        negatives: ``in_batch``: the hardest of all other images; ``in_pair``: the hardest of the same image;
            ``all``: all rows of the batch; ``random``: as the original draws them, from torch's generator.
        hardest: negatives of a row; where there are fewer, the last is repeated.
        bins: of the similarity.
        euclidean: compare by 1 - sqrt(2.001 - 2 s) in place of the similarity s.
        extra: (M2, D) descriptors of further images, negatives of every row beside those of ``in_batch``.

    Raises:
        ValueError: counts that do not add up, no image with two rows, a row without any negative, or ``extra``
            without ``in_batch``.
    """
    if extra is not None and negatives != "in_batch":
        raise ValueError(f"further images are negatives of `in_batch` only, not of {negatives}")
    anchors, positives, counts = _without_small(anchors, positives, counts)
    columns = positives if extra is None else torch.cat([positives, extra])
    if negatives == "all":
        ap = _ap_of_all(anchors, positives, bins, euclidean)
    else:
        chosen = _CHOOSE[negatives](anchors.detach(), columns.detach(), counts, hardest)
        found = _Products.apply(anchors, columns, *chosen)
        similarities = torch.cat([(anchors * positives).sum(1, keepdim=True), found], 1)
        ap = average_precision(_compared(similarities, euclidean), _first_of(similarities.shape[1]), bins)
    return ApLoss((1 - ap).mean(), ap.detach().mean())


def in_pair_triplet_loss(
    anchors: torch.Tensor, positives: torch.Tensor, counts: Sequence[int], *, margin: float = 1.0
) -> torch.Tensor:
    """Triplet margin with the nearest other positive of the same image as negative; arguments as of :func:`ap_loss`."""
    anchors, positives, counts = _without_small(anchors, positives, counts)
    chosen = _nearest_in_pair(anchors.detach(), positives.detach(), counts)
    return F.triplet_margin_loss(anchors, positives, positives[chosen], margin=margin, p=2, eps=1e-6)


class _Chosen(NamedTuple):
    """Columns (M, k) int64 that are compared with each row, and their products with it, without gradients."""

    columns: torch.Tensor
    products: torch.Tensor


class _Products(torch.autograd.Function):
    """Gives the products of rows (M, D) with chosen columns (C, D) their gradients.

    In a matrix of all pairs these are zero but for k entries of a row; here they are summed over those alone.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, columns: torch.Tensor, chosen: torch.Tensor, products: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(rows, columns, chosen)
        return products.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        rows, columns, chosen = ctx.saved_tensors
        of_rows = F.embedding_bag(chosen, columns, per_sample_weights=gradient.contiguous(), mode="sum")
        flat = chosen.flatten()
        order = flat.argsort()
        starts = F.pad(torch.bincount(flat, minlength=len(columns)).cumsum(0), (1, -1))
        weights = gradient.flatten()[order]
        where = order // chosen.shape[1]
        return of_rows, F.embedding_bag(where, rows, starts, per_sample_weights=weights, mode="sum"), None, None


def _without_small(
    anchors: torch.Tensor, positives: torch.Tensor, counts: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Rows of images that have at least two, and their counts."""
    if sum(counts) != len(anchors) or len(anchors) != len(positives):
        raise ValueError(f"{len(anchors)} anchors, {len(positives)} positives, {sum(counts)} rows are counted")
    kept = [count for count in counts if count > 1]
    if not kept:
        raise ValueError("no image has two keypoints that both crops show")
    if len(kept) == len(counts):
        return anchors, positives, kept
    large = torch.tensor([count > 1 for count in counts])
    rows = large.repeat_interleave(torch.tensor(counts)).to(anchors.device)
    return anchors[rows], positives[rows], kept


def _compared(similarities: torch.Tensor, euclidean: bool) -> torch.Tensor:
    return 1 - (_SQUARED - 2 * similarities).sqrt() if euclidean else similarities


def _first_of(columns: int) -> torch.Tensor:
    """Labels of rows whose first column is right."""
    return F.one_hot(torch.tensor(0), columns)


def _ap_of_all(anchors: torch.Tensor, positives: torch.Tensor, bins: int, euclidean: bool) -> torch.Tensor:
    """AP of every row among all positives of the batch. Bins are not kept for the gradients but counted again."""

    def block(rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        similarities = _compared(rows @ positives.T, euclidean)
        return average_precision(similarities, F.one_hot(numbers, len(positives)), bins)

    numbers = torch.arange(len(anchors), device=anchors.device)
    parts = zip(anchors.split(_BLOCK), numbers.split(_BLOCK), strict=True)
    return torch.cat([checkpoint(block, *part, use_reentrant=False) for part in parts])


# --- which columns are a row's negatives ---


def _hardest_in_batch(anchors: torch.Tensor, columns: torch.Tensor, counts: list[int], hardest: int) -> _Chosen:
    found, start = [], 0
    for count in counts:
        similarities = anchors[start : start + count] @ columns.T
        similarities[:, start : start + count] = _NO_NEGATIVE
        found.append(_hardest(similarities, len(columns) - count, hardest))
        start += count
    return _joined(found)


def _hardest_in_pair(anchors: torch.Tensor, columns: torch.Tensor, counts: list[int], hardest: int) -> _Chosen:
    found, start = [], 0
    for count in counts:
        rows = slice(start, start + count)
        similarities = (anchors[rows] @ columns[rows].T).fill_diagonal_(_NO_NEGATIVE)
        chosen = _hardest(similarities, count - 1, hardest)
        found.append(_Chosen(start + chosen.columns, chosen.products))
        start += count
    return _joined(found)


def _random(anchors: torch.Tensor, columns: torch.Tensor, counts: list[int], hardest: int) -> _Chosen:
    """For each image so many columns of other images, drawn at random; those of all images together for each row.

    So a row has as many negatives times the number of images, and those drawn for other images may be of its own. Its
    own positive is not a column: from there on columns count one more.
    """
    total, start, drawn = len(columns), 0, []
    for count in counts:
        numbers = torch.arange(total - 1)
        others = numbers[(numbers < start) | (numbers >= start + count - 1)]
        _check_some(len(others))
        drawn.append(others[torch.randperm(len(others))[:hardest]])
        start += count
    taken = torch.cat(drawn).to(anchors.device).expand(total, -1)
    taken = taken + (taken >= torch.arange(total, device=anchors.device)[:, None])
    blocks = zip(anchors.split(_BLOCK), taken.split(_BLOCK), strict=True)
    return _Chosen(taken, torch.cat([(rows @ columns.T).gather(1, chosen) for rows, chosen in blocks]))


def _hardest(similarities: torch.Tensor, negatives: int, hardest: int) -> _Chosen:
    """The largest similarities of each row, in descending order, the last repeated where there are fewer."""
    _check_some(negatives)
    values, columns = similarities.topk(min(hardest, negatives), dim=1)
    repeated = torch.arange(hardest, device=values.device).clamp(max=values.shape[1] - 1)
    return _Chosen(columns[:, repeated], values[:, repeated])


def _check_some(negatives: int) -> None:
    if not negatives:
        raise ValueError("negatives are sought in other images, and there is one image only")


def _joined(found: list[_Chosen]) -> _Chosen:
    return _Chosen(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _nearest_in_pair(anchors: torch.Tensor, positives: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """(M,) int64 row of the nearest positive, by squared distance, that is another keypoint of the same image."""
    chosen, start = [], 0
    for count in counts:
        rows = slice(start, start + count)
        squares = (anchors[rows, None] - positives[None, rows]).square().sum(2)
        chosen.append(start + squares.fill_diagonal_(torch.inf).argmin(1))
        start += count
    return torch.cat(chosen)


_CHOOSE: dict[Negatives, Callable[[torch.Tensor, torch.Tensor, list[int], int], _Chosen]] = {
    "in_batch": _hardest_in_batch,
    "in_pair": _hardest_in_pair,
    "random": _random,
}
