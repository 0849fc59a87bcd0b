"""Mutual nearest neighbours of two sets of descriptors, exact, without their matrix of similarities."""

from __future__ import annotations

import numpy as np

from descbench.neighbours.nearest import NearestProducts


def mutual_nearest_neighbours(
    a: np.ndarray, b: np.ndarray, *, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows that are each other's most similar one, by inner product.

    For descriptors of length 1 these are the pairs at mutually smallest Euclidean distance. Products are
    compared in float64, ties go to the lowest row.

    Args:
        a: (N, D) float32, finite.
        b: (M, D) float32, finite.
        threads: None = all processors. The result does not depend on it.

    Returns:
        pairs (P, 2) int64: rows of a (ascending) and of b; similarities (P,) float64, their inner products.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity.
        DescbenchError: DESCBENCH_KERNEL names no kernel of this machine.
    """
    a, b = np.ascontiguousarray(a, np.float32), np.ascontiguousarray(b, np.float32)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or a.shape[1] == 0:
        raise ValueError(f"descriptors of shapes {a.shape} and {b.shape}")
    if len(a) == 0 or len(b) == 0:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    nearest_b, products, nearest_a = _both_ways(a, b, threads)
    rows = np.flatnonzero(nearest_a[nearest_b] == np.arange(len(a)))
    return np.stack((rows, nearest_b[rows]), axis=1), products[rows]


def _both_ways(a: np.ndarray, b: np.ndarray, threads: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Most similar row of b for each of a and their product, and most similar row of a for those of b."""
    database = NearestProducts(b, threads)
    found = database.search_mutual(a, threads)
    if found is not None:
        return found
    nearest_b, products = database.search(a, 1, threads)
    nearest_a, _ = NearestProducts(a, threads).search(b, 1, threads)
    return nearest_b[:, 0], products[:, 0], nearest_a[:, 0]
