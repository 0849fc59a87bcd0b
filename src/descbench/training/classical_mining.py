"""Hard negatives from all patches, of the paper's ablation (docs/protocols/hardnet.md, Classical mining)."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from descbench.neighbours.nearest import NearestCentroids


@dataclass(frozen=True)
class Mining:
    """How negatives are sought among all patches.

    Attributes:
        neighbours: of each patch that are looked at.
        whole_point: as in :func:`filter_neighbours`.
        once: a negative that was taken is none any more for its patch, nor the patch for it.
    """

    neighbours: int
    whole_point: bool
    once: bool


CLASSICAL = Mining(12, whole_point=False, once=False)
SIFT_INIT = Mining(7, whole_point=True, once=True)


def filter_neighbours(
    neighbours: np.ndarray, labels: np.ndarray, descriptors: np.ndarray, *, whole_point: bool = False
) -> list[list[int]]:
    """Leave out neighbours that are not negatives: patches of the same point, and duplicates under another number.

    Args:
        neighbours: (N, k) int64 nearest patches of each patch, without itself, nearest first.
        labels: (N,) point of each patch.
        descriptors: (N, D) by which neighbours were found.
        whole_point: a neighbour is a duplicate if its descriptor is that of any patch of the point, not only of the
            patch itself.

    Returns:
        The neighbours left of each patch, nearest first.
    """
    # Equal descriptors have equal numbers.
    same = np.unique(descriptors, axis=0, return_inverse=True)[1].reshape(-1)
    of_point: dict[int, set[int]] = {}
    for label, number in zip(labels.tolist(), same.tolist(), strict=True):
        of_point.setdefault(label, set()).add(number)
    kept = []
    for patch, found in enumerate(neighbours.tolist()):
        label = int(labels[patch])
        duplicates = of_point[label] if whole_point else {int(same[patch])}
        kept.append([other for other in found if labels[other] != label and int(same[other]) not in duplicates])
    return kept


def mine_negatives(
    triplets: np.ndarray, labels: np.ndarray, descriptors: np.ndarray, mining: Mining = CLASSICAL
) -> tuple[np.ndarray, float]:
    """Put a hard negative in each triplet whose anchor has one; one of several is chosen by Python's random numbers.

    Args:
        triplets: (n, 3) int64 patches, with random negatives.
        labels: (N,) point of each patch.
        descriptors: (N, D) float32 of all patches, more than there are neighbours.
        mining: which of them are negatives.

    Returns:
        The triplets (n, 3), and the share of them that got a hard negative.

    Raises:
        ValueError: too few patches, or a descriptor that is not finite.
    """
    if len(descriptors) <= mining.neighbours:
        raise ValueError(f"{len(descriptors)} patches have no {mining.neighbours} neighbours each")
    # The first, of one more, is taken for the patch itself, which a duplicate with a smaller number may be instead.
    neighbours = NearestCentroids(descriptors).search(descriptors, mining.neighbours + 1)[:, 1:]
    kept = filter_neighbours(neighbours, labels, descriptors, whole_point=mining.whole_point)
    mined = triplets.copy()
    hard = 0
    for row in mined:
        if found := kept[row[0]]:
            row[2] = random.choice(found)
            hard += 1
            if mining.once:
                found.remove(row[2])
                back = kept[row[2]]
                if row[0] in back:
                    back.remove(row[0])
    return mined, hard / len(mined)
