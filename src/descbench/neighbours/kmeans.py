"""k-means with exact assignment: what faiss.Clustering does with its defaults, by the kernel of ``nearest.py``.

Definition: docs/protocols/asmk.md, Codebook. Subsample, initial centroids, the rounding of the means and the
split of empty clusters are those of faiss; assignments differ from faiss's only where two centroids are
equally near within the rounding of float32.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import numpy as np

from descbench.neighbours import _nearest
from descbench.neighbours.faiss_build import faiss
from descbench.neighbours.nearest import NearestCentroids
from descbench.neighbours.threads import num_threads

Assignment = Literal["exact", "two_level"]
# Constants of faiss: how far the halves of a split cluster move apart, and the seed of the choice of clusters.
_APART = np.float32(1 / 1024)
_SPLIT_SEED = 1234
# Two levels: coarse cells a point looks into, and iterations of the clustering of the centroids.
_PROBES = 8
_COARSE_ITERATIONS = 5
_log = logging.getLogger(__name__)


def kmeans(
    points: np.ndarray,
    size: int,
    *,
    iterations: int,
    seed: int,
    device: str = "cpu",
    assignment: Assignment = "exact",
    threads: int | None = None,
) -> np.ndarray:
    """Centroids (size, D) float32 of points (N, D) float32.

    Args:
        points: finite; of more than 256 * size of them a random subset is used.
        size: number of centroids, at most N.
        iterations, seed: settings of the k-means.
        device: ``cuda`` or ``auto`` use faiss on a GPU where it has one (then always exact).
        assignment: ``exact``, or ``two_level``: points are compared only with the centroids in their 8 nearest
            of about sqrt(size) cells. Faster for large codebooks, and another codebook.
        threads: None = all processors. On the CPU the result does not depend on it.

    Raises:
        ValueError: fewer points than centroids.
    """
    points = np.ascontiguousarray(points, np.float32)
    if not 0 < size <= len(points):
        raise ValueError(f"{size} clusters of {len(points)} points")
    if device != "cpu" and _has_gpu():
        return _kmeans_on_gpu(points, size, iterations, seed)
    if device == "cuda":
        _log.warning("this faiss has no GPU: k-means runs on the CPU")
    rows = subsample(len(points), size, seed)
    points = points if rows is None else points[rows]
    if len(points) == size:
        return points.copy()
    centroids = points[_permutation(len(points), seed + 1)[:size]]
    assign = {"exact": assign_exactly, "two_level": assign_by_two_levels}[assignment]
    for _ in range(iterations):
        centroids = iterate(points, centroids, assign, threads)
    return centroids


def iterate(
    points: np.ndarray,
    centroids: np.ndarray,
    assign: Callable[[np.ndarray, np.ndarray, int | None], np.ndarray],
    threads: int | None = None,
) -> np.ndarray:
    """One iteration: assignment, means, and a split of a large cluster for each empty one."""
    moved = centroids.copy()
    sizes = _nearest.move_to_means(points, assign(points, centroids, threads), moved, num_threads(threads))
    split_clusters(moved, sizes.astype(np.float32), len(points))
    return moved


def subsample(num_points: int, size: int, seed: int) -> np.ndarray | None:
    """Rows that faiss.Clustering would train on, in its order; None if it would use all of them.

    Training on ``points[subsample(...)]`` gives the same centroids as training on ``points``, bit for
    bit, without ever holding all of them.
    """
    limit = faiss.ClusteringParameters().max_points_per_centroid * size
    if num_points <= limit:
        return None
    return _permutation(num_points, seed)[:limit].astype(np.int64)


def assign_exactly(points: np.ndarray, centroids: np.ndarray, threads: int | None) -> np.ndarray:
    """Nearest centroid of each point: (N,) int64."""
    return NearestCentroids(centroids, threads).search(points, 1, threads)[:, 0]


def assign_by_two_levels(points: np.ndarray, centroids: np.ndarray, threads: int | None) -> np.ndarray:
    """Nearest centroid of each point among those of the point's nearest cells: (N,) int64."""
    cells = max(1, round(len(centroids) ** 0.5))
    settings = {"iterations": _COARSE_ITERATIONS, "seed": _SPLIT_SEED, "threads": threads}
    coarse = NearestCentroids(kmeans(centroids, cells, **settings), threads)
    cell_of = coarse.search(centroids, 1, threads)[:, 0]
    members = [np.flatnonzero(cell_of == cell) for cell in range(cells)]
    searchers = [NearestCentroids(centroids[ids], threads) if len(ids) else None for ids in members]
    found = np.empty(len(points), np.int64)
    block = 1 << 18
    for start in range(0, len(points), block):
        part = points[start : start + block]
        probes = coarse.search(part, min(_PROBES, cells), threads)
        found[start : start + block] = _nearest_in_cells(part, probes, members, searchers, threads)
    missed = np.flatnonzero(found < 0)
    if len(missed):
        found[missed] = assign_exactly(points[missed], centroids, threads)
    return found


def split_clusters(centroids: np.ndarray, sizes: np.ndarray, num_points: int) -> None:
    """Give each empty cluster half of a large one, in place: centroids (K, D), sizes (K,), both float32.

    For each empty cluster faiss goes round all clusters with a random number for each, and takes the first
    whose share of the points exceeds it.
    """
    generator = np.random.RandomState(_SPLIT_SEED)
    draws = np.zeros(0, np.float32)
    spread = float(np.float32(num_points - len(centroids)))
    for empty in np.flatnonzero(sizes == 0):
        chosen = None
        while chosen is None:
            if len(draws) < len(sizes):
                more = generator.randint(0, 1 << 32, 4 * len(sizes), np.uint32)
                draws = np.concatenate((draws, more.astype(np.float32) / np.float32(1 << 32)))
            shares = ((sizes - 1.0) / spread).astype(np.float32)
            below = draws[: len(sizes)] < shares
            chosen = int(np.argmax(below)) if below.any() else None
            draws = draws[len(sizes) if chosen is None else chosen + 1 :]
        _split(centroids, sizes, int(empty), chosen)


def _split(centroids: np.ndarray, sizes: np.ndarray, empty: int, chosen: int) -> None:
    signs = np.where(np.arange(centroids.shape[1]) % 2 == 0, _APART, -_APART)
    centroids[empty] = centroids[chosen] * (1 + signs)
    centroids[chosen] *= 1 - signs
    sizes[empty] = sizes[chosen] / 2
    sizes[chosen] -= sizes[empty]


def _nearest_in_cells(
    points: np.ndarray,
    probes: np.ndarray,
    members: list[np.ndarray],
    searchers: list[NearestCentroids | None],
    threads: int | None,
) -> np.ndarray:
    """Nearest centroid of points (N, D) in their cells (N, P); -1 where all of these are empty."""
    order = np.argsort(probes.ravel(), kind="stable")
    bounds = np.searchsorted(probes.ravel()[order], np.arange(len(members) + 1))
    best, found = np.full(len(points), np.inf), np.full(len(points), -1, np.int64)
    for cell, searcher in enumerate(searchers):
        rows = order[bounds[cell] : bounds[cell + 1]] // probes.shape[1]
        if searcher is None or len(rows) == 0:
            continue
        places, distances = searcher.measure(points[rows], 1, threads)
        ids, distances = members[cell][places[:, 0]], distances[:, 0]
        nearer = (distances < best[rows]) | ((distances == best[rows]) & (ids < found[rows]))
        best[rows[nearer]], found[rows[nearer]] = distances[nearer], ids[nearer]
    return found


def _permutation(length: int, seed: int) -> np.ndarray:
    permutation = np.empty(length, np.int32)
    faiss.rand_perm(faiss.swig_ptr(permutation), length, seed)
    return permutation


def _has_gpu() -> bool:
    return hasattr(faiss, "GpuIndexFlatL2") and faiss.get_num_gpus() > 0


def _kmeans_on_gpu(points: np.ndarray, size: int, iterations: int, seed: int) -> np.ndarray:
    dim = points.shape[1]
    clustering = faiss.Clustering(dim, size)
    clustering.niter, clustering.seed = iterations, seed
    clustering.train(points, faiss.GpuIndexFlatL2(faiss.StandardGpuResources(), dim, faiss.GpuIndexFlatConfig()))
    return faiss.vector_to_array(clustering.centroids).reshape(size, dim)
