"""Hard negatives from all patches, of the paper's ablation (docs/protocols/hardnet.md, Classical mining)."""

from __future__ import annotations

import numpy as np


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
