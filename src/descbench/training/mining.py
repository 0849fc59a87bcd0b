"""Tuples of an epoch: drawn queries with their positives, and hard negatives (docs/protocols/how.md, Mining)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Describe = Callable[[Sequence[int]], np.ndarray]


@dataclass(frozen=True)
class Pairs:
    """The training list of SfM-120k.

    Attributes:
        clusters: (images,) 3-D model of every image.
        queries, positives: (pairs,) indices of the two images of each pair.
    """

    clusters: np.ndarray
    queries: np.ndarray
    positives: np.ndarray


@dataclass(frozen=True)
class Tuples:
    """Mined tuples of one epoch.

    Attributes:
        queries, positives: (q,) image indices.
        negatives: (q, n) image indices, hardest first.
        mean_negative_distance: mean of ||q - n + 1e-6|| over all taken negatives.
    """

    queries: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    mean_negative_distance: float


def draw_pools(
    num_pairs: int, num_images: int, query_size: int, pool_size: int, generator: torch.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw pair indices, then image indices of the negative pool, in this order.

    Both are beginnings of ``torch.randperm``, from torch's default CPU generator unless one is given;
    sizes beyond what exists are clipped.
    """
    pairs = torch.randperm(num_pairs, generator=generator)[:query_size]
    images = torch.randperm(num_images, generator=generator)[:pool_size]
    return pairs.numpy(), images.numpy()


def mine_tuples(
    pairs: Pairs,
    describe: Describe,
    *,
    negatives: int,
    query_size: int,
    pool_size: int,
    generator: torch.Generator | None = None,
) -> Tuples:
    """Mine the tuples of one epoch.

    Args:
        pairs: the training list.
        describe: image indices -> (len, D) float32 descriptors.
        negatives: negatives of each tuple.
        query_size, pool_size: how many queries and pool images are drawn.
        generator: source of the draws; None is torch's default generator, seeded by the caller.
    """
    drawn, pool = draw_pools(len(pairs.queries), len(pairs.clusters), query_size, pool_size, generator)
    queries, positives = pairs.queries[drawn], pairs.positives[drawn]
    query_vectors, pool_vectors = describe(queries.tolist()), describe(pool.tolist())
    order = np.argsort(-(query_vectors @ pool_vectors.T), axis=1, kind="stable")
    taken = np.stack(
        [
            _hard_negatives(pairs.clusters, int(query), pool[ranking], negatives)
            for query, ranking in zip(queries, order, strict=True)
        ]
    )
    place = np.zeros(len(pairs.clusters), np.int64)
    place[pool] = np.arange(len(pool))
    differences = query_vectors[:, None] - pool_vectors[place[taken]] + 1e-6
    return Tuples(queries, positives, taken, float(np.sqrt((differences**2).sum(-1)).mean()))


def _hard_negatives(clusters: np.ndarray, query: int, ranking: np.ndarray, wanted: int) -> np.ndarray:
    """Walk down a ranking: skip the query's cluster and the clusters of negatives already taken."""
    seen = {int(clusters[query])}
    taken: list[int] = []
    for image in ranking:
        if int(clusters[image]) not in seen:
            seen.add(int(clusters[image]))
            taken.append(int(image))
            if len(taken) == wanted:
                return np.array(taken)
    raise ValueError(f"query {query}: only {len(taken)} of {wanted} negatives of other clusters in the pool")
