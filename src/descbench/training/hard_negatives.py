"""Hard negatives of a place: of images far away, those that look nearest to a query.

Definition: docs/protocols/netvlad.md, Hard negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Candidates that are looked at for each negative that is wanted.
_LOOKED_AT = 10


@dataclass(frozen=True)
class PlaceTuple:
    """What a query is trained with.

    Attributes:
        positive: database id of the nearest image of its place.
        negatives: database ids, nearest first, at most as many as wanted; none: the query is passed over.
    """

    positive: int
    negatives: np.ndarray


def mine_place(
    query: np.ndarray,
    database: np.ndarray,
    positives: np.ndarray,
    candidates: np.ndarray,
    *,
    margin: float,
    wanted: int,
) -> PlaceTuple:
    """The nearest positive of a query, and the negatives that violate the margin.

    Args:
        query: (D,) float32 descriptor.
        database: (n, D) float32 descriptors, which may be a memory map.
        positives: database ids of training positives, at least one.
        candidates: database ids among which negatives are sought; doubles are one.
        margin: squared margin of the loss.
        wanted: negatives of a query.

    Raises:
        ValueError: fewer different candidates than ten times ``wanted``, which the original demands.
    """
    to_positives = _distances(query, database, positives)
    nearest = int(to_positives.argmin())
    candidates = np.unique(candidates)
    if len(candidates) < _LOOKED_AT * wanted:
        raise ValueError(f"{len(candidates)} different negatives are fewer than {_LOOKED_AT} times {wanted}")
    distances = _distances(query, database, candidates)
    order = np.argsort(distances, kind="stable")[: _LOOKED_AT * wanted]
    violating = order[distances[order] < to_positives[nearest] + margin**0.5]
    return PlaceTuple(int(positives[nearest]), candidates[violating[:wanted]])


def _distances(query: np.ndarray, database: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return np.linalg.norm(database[ids] - query, axis=1)
