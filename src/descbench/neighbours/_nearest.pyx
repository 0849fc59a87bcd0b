# cython: language_level=3, boundscheck=False, wraparound=False
# distutils: language = c++
"""Nearest vectors and cluster means: the Python side of ``kernels/``; see ``nearest.py`` for what it means.

Shapes are checked by the callers (``nearest.py``, ``kmeans.py``, ``neighbours/mutual_nearest.py``).
"""

import numpy as np

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector


ctypedef double (*Measure)(const float *, const float *, int64_t) noexcept nogil


cdef extern from "variants.h" nogil:
    void kernel_prefetch(const void *address, int64_t bytes)


cdef extern from "nearest.h" namespace "nearest" nogil:
    const int64_t kBlock

    cdef struct Kernel:
        void *filter
        Measure squared_distance

    const Kernel *find_kernel(const char *name)

    cdef cppclass CDatabase "nearest::Database":
        CDatabase(const Kernel &kernel, const float *vectors, int64_t size, int64_t dim, cbool by_distance,
                  int threads) except +
        int64_t bad
        cbool usable

    cdef cppclass Block:
        Block(const CDatabase &database, int64_t k) except +
        int64_t begin(const float *queries, int64_t count)
        void take_products(int64_t query, const float *products, int64_t first, int64_t count)
        void finish(int64_t query, int64_t *ids, double *measures) except +

    int64_t search(const CDatabase &database, const float *queries, int64_t count, int64_t k, int64_t *ids,
                   double *measures, int threads) except +
    cbool search_mutual(const CDatabase &database, const float *queries, int64_t count, int64_t *nearest_vector,
                        double *measures, int64_t *nearest_query, int threads) except +
    void cluster_means(const float *points, int64_t count, int64_t dim, const int64_t *clusters,
                       int64_t num_clusters, float *centroids, int64_t *sizes, int threads)


def has_kernel(name):
    """Whether this build and this processor have the kernel of that name."""
    return find_kernel(name.encode()) != NULL


cdef class Database:
    """Vectors (K, D) to be found, K and D at least 1, by distance or by inner product.

    Raises:
        ValueError: NaN or infinity.
    """

    cdef CDatabase *database
    cdef const float[:, ::1] vectors
    cdef object array
    cdef cbool by_products

    def __cinit__(self, kernel, array, by_distance, int threads):
        cdef const Kernel *chosen
        name = kernel.encode()
        chosen = find_kernel(name)
        self.array = array
        self.vectors = array
        self.by_products = chosen.filter == NULL
        self.database = new CDatabase(chosen[0], &self.vectors[0, 0], self.vectors.shape[0], self.vectors.shape[1],
                                      by_distance, threads)
        if self.database.bad:
            raise ValueError("vectors hold NaN or infinity")

    def __dealloc__(self):
        del self.database

    def search(self, const float[:, ::1] queries, int64_t k, int threads):
        """Ids (N, k) int64 and measures (N, k) float64 of the k nearest of queries (N, D), 1 <= k <= K."""
        cdef int64_t count = queries.shape[0]
        cdef int64_t bad
        ids_array, measures_array = np.empty((count, k), np.int64), np.empty((count, k), np.float64)
        if count == 0:
            return ids_array, measures_array
        cdef int64_t[:, ::1] ids = ids_array
        cdef double[:, ::1] measures = measures_array
        if self.by_products:
            bad = self._search_products(queries, k, ids, measures, threads)
        else:
            with nogil:
                bad = search(self.database[0], &queries[0, 0], count, k, &ids[0, 0], &measures[0, 0], threads)
        if bad:
            raise ValueError("queries hold NaN or infinity")
        return ids_array, measures_array

    cdef int64_t _search_products(self, const float[:, ::1] queries, int64_t k, int64_t[:, ::1] ids,
                                  double[:, ::1] measures, int threads):
        """The filter over products that BLAS makes, 96 queries of each part and ``width`` vectors at a time."""
        cdef int64_t start, first, stop, count, part, i, bad = 0, parts = 8, width = 1024
        cdef vector[Block *] blocks
        cdef float[:, ::1] products
        buffer = np.empty((parts * kBlock, width), np.float32)
        transposed, total = self.array.T, self.vectors.shape[0]
        try:
            for part in range(parts):
                blocks.push_back(new Block(self.database[0], k))
            for start in range(0, queries.shape[0], parts * kBlock):
                stop = min(start + parts * kBlock, queries.shape[0])
                scaled = np.asarray(queries[start:stop]) * np.float32(-2)
                for part in range(parts):
                    count = max(0, min(kBlock, stop - start - part * kBlock))
                    if count > 0:
                        bad += blocks[part].begin(&queries[start + part * kBlock, 0], count)
                if bad:
                    return bad
                for first in range(0, total if self.database.usable else 0, width):
                    count = min(width, total - first)
                    block = buffer[:stop - start, :count] if count == width else np.empty((stop - start, count), np.float32)
                    np.matmul(scaled, transposed[:, first:first + count], out=block)
                    products = block
                    with nogil:
                        for i in prange(stop - start, num_threads=threads):
                            blocks[i // kBlock].take_products(i % kBlock, &products[i, 0], first, count)
                for i in range(stop - start):
                    blocks[i // kBlock].finish(i % kBlock, &ids[start + i, 0], &measures[start + i, 0])
        finally:
            for part in range(<int64_t> blocks.size()):
                del blocks[part]
        return 0

    def search_mutual(self, const float[:, ::1] queries, int threads):
        """Nearest vector (N,) and its measure (N,) for each query, nearest query (K,) for each such vector.

        None where one pass cannot do it: search both ways instead.
        """
        if self.by_products or queries.shape[0] == 0:
            return None
        cdef cbool done
        vector_array, query_array = np.empty(queries.shape[0], np.int64), np.empty(self.vectors.shape[0], np.int64)
        measures_array = np.empty(queries.shape[0], np.float64)
        cdef int64_t[::1] nearest_vector = vector_array, nearest_query = query_array
        cdef double[::1] measures = measures_array
        with nogil:
            done = search_mutual(self.database[0], &queries[0, 0], queries.shape[0], &nearest_vector[0],
                                 &measures[0], &nearest_query[0], threads)
        return (vector_array, measures_array, query_array) if done else None


def measure_pairs(kernel, const float[:, ::1] vectors, const int64_t[::1] first, const float[:, ::1] others,
                  const int64_t[::1] second, int threads):
    """Squared distances (n,) float64 of rows ``first`` of vectors (M, D) and ``second`` of others (M', D), D at least 1.

    Rows must be there.
    """
    cdef int64_t i, ahead, count = first.shape[0], dim = vectors.shape[1], far = 8
    cdef const Kernel *chosen
    name = kernel.encode()
    chosen = find_kernel(name)
    cdef Measure measure = chosen.squared_distance
    squares_array = np.empty(count, np.float64)
    cdef double[::1] squares = squares_array
    for i in prange(count, nogil=True, num_threads=threads):
        ahead = min(i + far, count - 1)
        kernel_prefetch(&vectors[first[ahead], 0], dim * sizeof(float))
        kernel_prefetch(&others[second[ahead], 0], dim * sizeof(float))
        squares[i] = measure(&vectors[first[i], 0], &others[second[i], 0], dim)
    return squares_array


def move_to_means(const float[:, ::1] points, const int64_t[::1] clusters, float[:, ::1] centroids, int threads):
    """Move centroids (K, D) to the means of their points (N, D); returns the number of points (K,) int64 of each."""
    sizes_array = np.zeros(centroids.shape[0], np.int64)
    cdef int64_t[::1] sizes = sizes_array
    if points.shape[0] > 0 and centroids.shape[0] > 0:
        with nogil:
            cluster_means(&points[0, 0], points.shape[0], points.shape[1], &clusters[0], centroids.shape[0],
                          &centroids[0, 0], &sizes[0], threads)
    return sizes_array
