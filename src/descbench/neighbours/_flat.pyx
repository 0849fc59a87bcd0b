# cython: language_level=3, boundscheck=False, wraparound=False
# distutils: language = c++
"""Exact search of long vectors: the Python side of ``kernels/flat.h``. Shapes are checked by ``flat.py``."""

import numpy as np

from libc.stdint cimport int32_t, int64_t
from libcpp cimport bool as cbool


cdef extern from "flat.h" namespace "flat" nogil:
    cdef struct Found:
        double *squares
        double *norms
        float *errors

    cdef cppclass CCodes "flat::Codes":
        CCodes(const float *centre, int64_t capacity, int64_t dim, cbool queries) except +
        void load(const float *vectors, int64_t count, const Found &found, int threads) except +
        int64_t chunks

    ctypedef void (*AddProducts)(const float *, const float *const *, int64_t, double *)

    cdef cppclass Side:
        const float *vectors
        Found found
        int64_t count

    cdef cppclass Best:
        double *scores
        int64_t *ids
        int64_t k
        int64_t kept

    void filter_cosines(const CCodes &queries, const float *images, int64_t count, const Found &found, float *cosines,
                        int threads) except +
    double cosine_rounding(int64_t chunks)
    AddProducts find_products(const char *kernel)
    void measure_squares(AddProducts add, const float *vectors, int64_t count, int64_t dim, double *squares,
                         int threads)

    cdef struct PairList:
        const float *queries
        const float *images
        int64_t num_queries
        int64_t num_images
        int64_t dim
        const int64_t *offsets
        const int32_t *rows

    void measure_products(AddProducts add, const PairList &pairs, double *products, int threads) except +
    int64_t improve(AddProducts add, const Side &queries, const Side &images, int64_t dim, float *cosines,
                    double rounding, cbool by_distance, const int64_t *ids, const Best &best, int64_t most,
                    int threads) except +


cdef Found _found(arrays):
    cdef Found found
    cdef double[::1] squares = arrays[0], norms = arrays[1]
    cdef float[::1] errors = arrays[2]
    found.squares, found.norms, found.errors = &squares[0], &norms[0], &errors[0]
    return found


cdef class Codes:
    """Queries (n, D) float32 as integers, n and D at least 1; only where there is the kernel vnni.

    Args:
        vectors: the queries.
        centre: (D,) float32; the nearer it is to all vectors, the better the filter.
        threads: of this preparation.

    Attributes:
        found: squared norms (n,) float64 as of :func:`squares`, distances from the centre (n,) float64, errors of the
            filter (n,) float32; where the first are not finite, the rest means nothing.
        rounding: the filter's error besides those of both vectors.
    """

    cdef CCodes *codes
    cdef const float[::1] centre
    cdef readonly object found
    cdef readonly double rounding

    def __cinit__(self, const float[:, ::1] vectors, const float[::1] centre, int threads):
        cdef int64_t count = vectors.shape[0]
        self.centre = centre
        self.found = _empty(count)
        self.codes = new CCodes(&self.centre[0], count, vectors.shape[1], True)
        cdef Found found = _found(self.found)
        with nogil:
            self.codes.load(&vectors[0, 0], count, found, threads)
        self.rounding = cosine_rounding(self.codes.chunks)

    def __dealloc__(self):
        del self.codes

    def cosines(self, const float[:, ::1] images, int threads):
        """Approximate cosines (n, m) float32 of these queries and images (m, D), m at least 1; what is found of the
        images, as of the queries."""
        cdef int64_t count = images.shape[0]
        result, of_images = np.empty((len(self.found[0]), count), np.float32), _empty(count)
        cdef float[:, ::1] cosines = result
        cdef Found found = _found(of_images)
        with nogil:
            filter_cosines(self.codes[0], &images[0, 0], count, found, &cosines[0, 0], threads)
        return result, of_images


def _empty(count):
    return np.empty(count), np.empty(count), np.empty(count, np.float32)


def squares(kernel, const float[:, ::1] vectors, int threads):
    """Squared norms (n,) float64 of vectors (n, D), both at least 1; not finite where a value is not."""
    cdef AddProducts add = find_products(kernel.encode())
    found = np.empty(vectors.shape[0])
    cdef double[::1] out = found
    with nogil:
        measure_squares(add, &vectors[0, 0], vectors.shape[0], vectors.shape[1], &out[0], threads)
    return found


def products(kernel, const float[:, ::1] queries, const float[:, ::1] images, int threads):
    """Inner products (queries, images) float64; both at least one."""
    cdef AddProducts add = find_products(kernel.encode())
    cdef PairList pairs
    found = np.empty((images.shape[0], queries.shape[0]))
    cdef double[:, ::1] out = found
    cdef int64_t[::1] offsets = np.arange(images.shape[0] + 1) * queries.shape[0]
    cdef int32_t[::1] rows = np.tile(np.arange(queries.shape[0], dtype=np.int32), images.shape[0])
    pairs.queries, pairs.images, pairs.offsets, pairs.rows = &queries[0, 0], &images[0, 0], &offsets[0], &rows[0]
    pairs.num_queries, pairs.num_images, pairs.dim = queries.shape[0], images.shape[0], queries.shape[1]
    with nogil:
        measure_products(add, pairs, &out[0, 0], threads)
    return found.T


cdef Side _side(const float[:, ::1] vectors, found):
    cdef Side side
    side.vectors, side.found, side.count = &vectors[0, 0], _found(found), vectors.shape[0]
    return side


def improve_best(kernel, queries, images, float[:, ::1] cosines, double rounding, by_distance, const int64_t[::1] ids,
                 double[:, ::1] scores, int64_t[:, ::1] best_ids, int64_t kept, int64_t most, int threads):
    """Put the better of some images among the best of each query, in place, best first.

    Args:
        kernel: name.
        queries, images: each vectors (n, D), and what is found of them, see :class:`Codes`.
        cosines: of the filter (queries, images); overwritten.
        rounding: error of the filter besides.
        by_distance: scores are negative squared distances, not inner products.
        ids: (images,) ascending, above those met before.
        scores, best_ids: (queries, k), k at least 1.
        kept: of each row so far, in any order; kept + images >= k.
        most: pairs that may be measured.

    Returns:
        How many pairs had to be measured; if there are more than ``most``, only the cosines have changed.
    """
    cdef AddProducts add = find_products(kernel.encode())
    cdef Side asked = _side(queries[0], queries[1]), searched = _side(images[0], images[1])
    cdef Best best
    cdef int64_t measured, dim = queries[0].shape[1]
    cdef cbool distance = by_distance
    best.scores, best.ids, best.k, best.kept = &scores[0, 0], &best_ids[0, 0], scores.shape[1], kept
    with nogil:
        measured = improve(add, asked, searched, dim, &cosines[0, 0], rounding, distance, &ids[0], best, most, threads)
    return measured
