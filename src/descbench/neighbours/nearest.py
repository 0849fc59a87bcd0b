"""Exact nearest vectors by distance (quantisation) or by inner product, the same on every machine.

Definition: docs/protocols/asmk.md, Quantisation: a distance is the sum of squared differences in float64 (dimension d
in lane d % 8, lanes added at the end), and equal distances are ordered by id. The original's faiss computes in float32,
so that its order of near ties depends on the machine.

Kernels (``retrieval/kernels``) compare integers first, keep what a proven bound on their error cannot
exclude, and measure that. Which one runs is decided when it is first needed: ``vnni`` (AVX-512), ``avx2``,
``portable`` (any processor: products by NumPy's BLAS). The environment variable DESCBENCH_KERNEL forces
one of these, or ``torch``: the same on a GPU, where there is one (``nearest_torch.py``); or ``faiss``: faiss itself,
with its rounding. A GPU is never taken unasked: a cluster gives one only to the jobs that request it.
"""

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np

from descbench.errors import DataError, DescbenchError
from descbench.neighbours import _nearest
from descbench.neighbours.faiss_build import faiss
from descbench.neighbours.threads import num_threads

KERNELS = ("vnni", "avx2", "portable", "torch", "faiss")
COMPILED = KERNELS[:3]


def kernel_name() -> str:
    """The kernel that is used: DESCBENCH_KERNEL, or the first of KERNELS that this processor has.

    Raises:
        DescbenchError: DESCBENCH_KERNEL is unknown, or this processor or build lacks it.
    """
    available = [name for name in KERNELS if name not in COMPILED or _nearest.has_kernel(name)]
    name = os.environ.get("DESCBENCH_KERNEL", "") or available[0]
    if name not in available:
        problem = "not available on this machine" if name in KERNELS else "unknown"
        raise DescbenchError(f"DESCBENCH_KERNEL={name} is {problem}; use one of {', '.join(available)}, or unset it.")
    return name


class _Nearest:
    """Vectors to be found, (K, D) float32, by a measure that is smaller where they are nearer."""

    _by_distance: ClassVar[bool]

    def __init__(self, vectors: np.ndarray, threads: int | None = None) -> None:
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.ndim != 2 or 0 in vectors.shape:
            raise ValueError(f"vectors of shape {vectors.shape}")
        self._shape, self._kernel = vectors.shape, kernel_name()
        if self._kernel == "faiss":
            self._index = (faiss.IndexFlatL2 if self._by_distance else faiss.IndexFlatIP)(vectors.shape[1])
            self._index.add(vectors)
        elif self._kernel == "torch":
            # Importing torch takes seconds, which no other kernel needs.
            from descbench.neighbours.nearest_torch import TorchDatabase

            self._index = TorchDatabase(vectors, self._by_distance)
        else:
            self._index = _nearest.Database(self._kernel, vectors, self._by_distance, num_threads(threads))

    def __len__(self) -> int:
        return self._shape[0]

    def _search(self, queries: np.ndarray, k: int, threads: int | None) -> tuple[np.ndarray, np.ndarray]:
        queries = self._checked(queries)
        if not 1 <= k <= len(self):
            raise ValueError(f"{k} nearest of {len(self)}")
        if self._kernel in COMPILED:
            return self._index.search(queries, k, num_threads(threads))
        if self._kernel == "torch":
            return self._index.search(queries, k)
        with _faiss_threads(threads):
            measures, ids = self._index.search(queries, k)
        return ids, measures.astype(np.float64) * (1 if self._by_distance else -1)

    def _checked(self, queries: np.ndarray) -> np.ndarray:
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self._shape[1]:
            raise ValueError(f"queries of shape {queries.shape}, vectors {self._shape}")
        return queries


class NearestCentroids(_Nearest):
    """Finds the nearest of some centroids by Euclidean distance.

    Args:
        vectors: centroids (K, D) float32, finite, K and D at least 1.
        threads: of the preparation; None = all processors.

    Raises:
        ValueError: another shape, NaN or infinity.
        DescbenchError: DESCBENCH_KERNEL names no kernel of this machine.
    """

    _by_distance = True

    def search(self, vectors: np.ndarray, k: int, threads: int | None = None) -> np.ndarray:
        """Ids (N, k) int64 of the k nearest centroids of vectors (N, D) float32, nearest first.

        Args:
            vectors: finite.
            k: at least 1.
            threads: None = all processors. The result does not depend on it.

        Raises:
            DataError: there are fewer than k centroids.
            ValueError: vectors of another shape, NaN or infinity.
        """
        return self.measure(vectors, k, threads)[0]

    def measure(self, vectors: np.ndarray, k: int, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`search`, with the squared distances (N, k) float64."""
        if k > len(self):
            raise DataError(f"{k} words (multiple_assignment) of a codebook of {len(self)} words are asked for.")
        return self._search(vectors, k, threads)


class NearestProducts(_Nearest):
    """Finds the most similar of some vectors by inner product; arguments and errors as NearestCentroids."""

    _by_distance = False

    def search(self, queries: np.ndarray, k: int, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Ids (N, k) int64 of the k largest inner products, and these, (N, k) float64, largest first."""
        ids, measures = self._search(queries, k, threads)
        return ids, -measures

    def search_mutual(
        self, queries: np.ndarray, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Both directions in one pass.

        Returns:
            Most similar vector of each query (N,) int64 and their product (N,) float64; most similar query of
            each vector (K,) int64, -1 for vectors that are not a query's. None where this takes two searches.
        """
        if self._kernel not in COMPILED:
            return None
        found = self._index.search_mutual(self._checked(queries), num_threads(threads))
        return None if found is None else (found[0], -found[1], found[2])


def measure_pairs(
    vectors: np.ndarray, first: np.ndarray, others: np.ndarray, second: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """Squared distances (n,) float64 of pairs, each as it is defined above.

    Args:
        vectors, others: (M, D) and (M', D) float32, D at least 1.
        first, second: (n,) rows of vectors and of others.
        threads: None = all processors. The result does not depend on it.

    Raises:
        ValueError: arrays that do not fit, or rows that are not there.
        DescbenchError: DESCBENCH_KERNEL names no kernel of this machine.
    """
    vectors, others = np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(others, np.float32)
    first, second = np.ascontiguousarray(first, np.int64), np.ascontiguousarray(second, np.int64)
    if vectors.ndim != 2 or others.ndim != 2 or vectors.shape[1] != others.shape[1] or first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} rows of {vectors.shape} and {others.shape}")
    for rows, array in ((first, vectors), (second, others)):
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(array):
            raise ValueError(f"rows {rows.min()} to {rows.max()} of {len(array)}")
    name = kernel_name()
    return _nearest.measure_pairs(
        name if name in COMPILED else "portable", vectors, first, others, second, num_threads(threads)
    )


class _faiss_threads:
    """Threads of faiss inside of a ``with`` block; None = as before."""

    def __init__(self, threads: int | None) -> None:
        self._threads, self._before = threads, faiss.omp_get_max_threads()

    def __enter__(self) -> None:
        if self._threads is not None:
            faiss.omp_set_num_threads(self._threads)

    def __exit__(self, *_: object) -> None:
        faiss.omp_set_num_threads(self._before)
