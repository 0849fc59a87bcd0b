"""Definition of nearest vectors: everything is measured in float64, ties go to the lowest id."""

import numpy as np


def _add(terms):
    """Sum over the last axis in the order of the kernels: dimension d in lane d % 8, lanes added at the end."""
    padded = np.zeros((*terms.shape[:-1], -(-terms.shape[-1] // 8) * 8))
    padded[..., : terms.shape[-1]] = terms
    lanes = np.zeros((*terms.shape[:-1], 8))
    for start in range(0, padded.shape[-1], 8):
        lanes += padded[..., start : start + 8]
    low, high = lanes[..., :4], lanes[..., 4:]
    halves = low + high
    return (halves[..., 0] + halves[..., 2]) + (halves[..., 1] + halves[..., 3])


def squared_distances(queries, vectors):
    """(N, K) float64."""
    differences = queries.astype(np.float64)[:, None] - vectors.astype(np.float64)
    return _add(differences * differences)


def inner_products(queries, vectors):
    """(N, K) float64."""
    return _add(queries.astype(np.float64)[:, None] * vectors.astype(np.float64))


def long_products(queries, vectors):
    """(N, K) float64: each 256 dimensions as inner_products, and these sums in order."""
    total = np.zeros((len(queries), len(vectors)))
    for start in range(0, queries.shape[1], 256):
        total += inner_products(queries[:, start : start + 256], vectors[:, start : start + 256])
    return total


def scores(queries, vectors, by_distance):
    """(N, K) float64, larger is better: long_products, or negative squared distances made of them."""
    products = long_products(queries, vectors)
    if not by_distance:
        return products
    squares = [np.array([long_products(v[None], v[None])[0, 0] for v in side]) for side in (queries, vectors)]
    return 2 * products - squares[0][:, None] - squares[1]


def smallest(measures, k):
    """Ids and measures of the k smallest of each row."""
    order = np.argsort(measures, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(measures, order, axis=1)


def mutual(a, b):
    """Pairs (P, 2) of rows that are each other's most similar one, and their inner products."""
    products = inner_products(a, b)
    of_a, of_b = products.argmax(1), products.argmax(0)
    rows = np.flatnonzero(of_b[of_a] == np.arange(len(a)))
    return np.stack((rows, of_a[rows]), axis=1), products[rows, of_a[rows]]
