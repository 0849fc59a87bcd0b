"""Losses of HNDesc: against the plain definition, random negatives, and what is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from benchmarks.plain.hndesc import in_batch_loss

from descbench.losses.average_precision import (
    HARDEST,
    _random,
    ap_loss,
    average_precision,
    in_pair_triplet_loss,
)


def draw(counts: list[int], noise: float = 2, seed: int = 0) -> list[torch.Tensor]:
    """Descriptors of two crops before they are of unit length; near enough to be hard to tell apart."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(counts), 16, generator=generator)
    other = rows + noise * torch.randn(sum(counts), 16, generator=generator)
    return [tensor.requires_grad_() for tensor in (rows, other)]


@pytest.mark.parametrize("counts", [[40, 30, 50], [6, 3, 5], [2, 60]])
def test_the_plain_definition(counts):
    found = []
    for loss in (in_batch_loss, lambda a, p, c: ap_loss(a, p, c).loss):
        rows = draw(counts)
        value = loss(*map(F.normalize, rows), counts)
        value.backward()
        found.append([value.detach(), *(tensor.grad for tensor in rows)])
    assert 0 < found[0][0] < 0.99
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-6)


def test_blocks_of_all_negatives_are_one():
    """More rows than a block, against the kernel on the whole matrix."""
    counts = [200, 150]
    rows = [draw(counts) for _ in range(2)]
    ours = ap_loss(*map(F.normalize, rows[0]), counts, negatives="all")
    anchors, positives = map(F.normalize, rows[1])
    whole = (1 - average_precision(anchors @ positives.T, torch.eye(sum(counts)))).mean()
    torch.testing.assert_close(ours.loss, whole, rtol=0, atol=1e-6)
    ours.loss.backward()
    whole.backward()
    for one, other in zip(*rows, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-6)


def test_random_negatives_are_those_of_every_image():
    """Each image draws columns of others; a row has those of all images, its own positive never."""
    counts = [30, 25, 28]
    anchors, positives = (tensor.detach() for tensor in draw(counts))
    torch.manual_seed(0)
    chosen, products = _random(anchors, positives, counts, HARDEST)
    torch.testing.assert_close(products, (anchors @ positives.T).gather(1, chosen))
    assert chosen.shape == (83, HARDEST * len(counts))
    assert not (chosen == torch.arange(83)[:, None]).any()
    assert ((chosen >= 0) & (chosen < 83)).all()
    first = chosen[0].split(HARDEST)
    assert (first[0] >= 30).all()  # drawn for the first image: of others
    assert (torch.cat(first[1:]) < 30).any()  # drawn for others: of the first too
    assert all(len(part.unique()) == HARDEST for part in first)
    torch.manual_seed(0)
    value = ap_loss(*map(F.normalize, (anchors, positives)), counts, negatives="random").loss
    torch.manual_seed(1)
    assert value != ap_loss(*map(F.normalize, (anchors, positives)), counts, negatives="random").loss


def test_the_criteria_differ():
    counts = [30, 1, 25]
    rows = [F.normalize(tensor.detach()) for tensor in draw(counts)]
    extra = F.normalize(draw([40], seed=1)[0].detach())
    torch.manual_seed(0)
    found = [ap_loss(*rows, counts, negatives=name).loss for name in ("in_batch", "all", "in_pair", "random")]
    found += [ap_loss(*rows, counts, **{key: value}).loss for key, value in (("hardest", 3), ("bins", 7))]
    found += [ap_loss(*rows, counts, extra=extra).loss, ap_loss(*rows, counts, euclidean=True).loss]
    found += [in_pair_triplet_loss(*rows, counts), in_pair_triplet_loss(*rows, counts, margin=0.1)]
    assert len({round(float(value), 6) for value in found}) == len(found)


def test_equal_descriptors_have_finite_gradients():
    rows = [torch.ones(12, 8, requires_grad=True) for _ in range(2)]
    for euclidean in (False, True):
        ap_loss(*map(F.normalize, rows), [6, 6], euclidean=euclidean).loss.backward()
        assert all(torch.isfinite(tensor.grad).all() for tensor in rows)


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ([6, 5], {}, "12 anchors, 12 positives, 11 rows are counted"),
        ([1] * 12, {}, "no image has two keypoints"),
        ([12], {}, "there is one image only"),
        ([11, 1], {"negatives": "random"}, "there is one image only"),
        ([6, 6], {"negatives": "in_pair", "extra": torch.ones(3, 16)}, "`in_batch` only, not of in_pair"),
    ],
)
def test_refusals(counts, options, message):
    rows = [F.normalize(tensor) for tensor in draw([12])]
    with pytest.raises(ValueError, match=message):
        ap_loss(*rows, counts, **options)
