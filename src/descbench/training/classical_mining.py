"""Hard negatives from all patches, of the paper's ablation (docs/protocols/hardnet.md, Classical mining)."""

from __future__ import annotations

import random

import numpy as np

from descbench.neighbours.nearest import NearestCentroids

_NEIGHBOURS = 12


def filter_neighbours(
    neighbours: np.ndarray, labels: np.ndarray, descriptors: np.ndarray, *, whole_point: bool = False
) -> list[list[int]]:
    """Leave out neighbours that are no negatives: patches of the same point, and duplicates under another number.

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


def mine_negatives(triplets: np.ndarray, labels: np.ndarray, descriptors: np.ndarray) -> tuple[np.ndarray, float]:
    """Put a hard negative in each triplet whose anchor has one; one of several is chosen by Python's random numbers.

    Args:
        triplets: (n, 3) int64 patches, with random negatives.
        labels: (N,) point of each patch.
        descriptors: (N, D) float32 of all patches, more than 12.

    Returns:
        The triplets (n, 3), and the share of them that got a hard negative.

    Raises:
        ValueError: too few patches, or a descriptor that is not finite.
    """
    if len(descriptors) <= _NEIGHBOURS:
        raise ValueError(f"{len(descriptors)} patches have no {_NEIGHBOURS} neighbours each")
    # The first of 13 is taken for the patch itself, which a duplicate with a smaller number may be instead.
    neighbours = NearestCentroids(descriptors).search(descriptors, _NEIGHBOURS + 1)[:, 1:]
    kept = filter_neighbours(neighbours, labels, descriptors)
    mined = triplets.copy()
    hard = 0
    for row in mined:
        if found := kept[row[0]]:
            row[2] = random.choice(found)
            hard += 1
    return mined, hard / len(mined)
