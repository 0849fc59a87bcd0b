# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The loops of ASMK over descriptors and inverted lists; see ``asmk.py`` for what they mean.

Nothing here checks its input: ``asmk.py`` does, and is the only caller. Every image (aggregation)
and every query (search) is worked on by one thread, in a fixed order of additions, so that results
do not depend on the number of threads. The inner loops are C (``kernels/``), so that the compiler can
make a variant of them for each generation of processor and the loader pick one.
"""

import numpy as np

from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "kernels/asmk_aggregate.h":
    int64_t asmk_sort_image(const int64_t *words, int64_t n, int64_t assignments, int64_t num_words, uint64_t *keys,
                            uint64_t *scratch, int64_t *distinct) noexcept nogil
    void asmk_sum_image(const uint64_t *keys, int64_t n, const float *vectors, const float *centroids, int64_t dim,
                        uint8_t *rows, int64_t row_bytes, int binary, int64_t *words, float *sums) noexcept nogil

cdef extern from "kernels/asmk_invert.h":
    void asmk_place_entries(const int64_t *words, const uint32_t *images, const uint8_t *rows, int64_t entries,
                            int64_t row_bytes, int64_t *following, uint32_t *sorted_images,
                            uint8_t *sorted_rows) noexcept nogil
    int64_t asmk_image_norms(const int64_t *offsets, int64_t num_words, const uint32_t *images, uint32_t first_image,
                             int64_t num_images, const float *weights, double *norms) noexcept nogil

cdef extern from "kernels/asmk_search.h":
    void asmk_search_binary(double *scores, const int64_t *words, const uint8_t *query_codes, int64_t num_words,
                            int64_t code_bytes, const int64_t *offsets, const uint32_t *images, const uint8_t *codes,
                            uint32_t first_image, const double *divisors, const float *idf, const float *values,
                            int64_t reach) noexcept nogil
    void asmk_scan_float(double *scores, const float *vector, int64_t dim, const float *vectors,
                         const uint32_t *images, int64_t n, uint32_t first_image, const double *divisors,
                         float threshold, float alpha, float idf) noexcept nogil


def aggregate(const float[:, ::1] vectors, const float[:, ::1] centroids, const int64_t[:, ::1] words,
              const int64_t[::1] offsets, bint binary, int64_t row_bytes, int threads):
    """Aggregate residuals per image and word.

    Args:
        vectors: (N, D) descriptors, image after image.
        centroids: (K, D).
        words: (N, A) ids in 0..K-1.
        offsets: (I + 1) first descriptor of each image.
        binary: pack signs into ``row_bytes`` = 4 * ceil(D / 32) bytes; else normalise, ``row_bytes`` = 4 * D.

    Returns:
        rows (M, row_bytes) uint8, word ids (M,) int64, entry offsets (I + 1,) int64.
    """
    cdef int64_t images = offsets.shape[0] - 1
    cdef int64_t assignments = words.shape[1]
    cdef int64_t num_words = centroids.shape[0]
    cdef int64_t dim = vectors.shape[1]
    cdef int64_t i
    cdef int thread
    largest = int(np.diff(offsets).max(initial=0)) * assignments
    # Arrays are one longer than needed, so that the address of their first element always exists.
    cdef uint64_t[::1] keys = np.empty(words.shape[0] * assignments + 1, np.uint64)
    cdef uint64_t[:, ::1] scratch = np.empty((threads, largest + 1), np.uint64)
    cdef float[:, ::1] sums = np.empty((threads, dim + 64), np.float32)
    cdef int64_t[::1] kept = np.zeros(images + 1, np.int64)
    counts_array = np.zeros(images + 1, np.int64)
    cdef int64_t[::1] counts = counts_array
    cdef const int64_t *word_data = &words[0, 0] if words.shape[0] > 0 else NULL
    cdef const float *vector_data = &vectors[0, 0] if vectors.shape[0] > 0 else NULL
    cdef const float *centroid_data = &centroids[0, 0] if num_words > 0 else NULL
    with nogil:
        for i in prange(images, schedule="dynamic", chunksize=4, num_threads=threads):
            thread = threadid()
            kept[i] = asmk_sort_image(word_data + offsets[i] * assignments, offsets[i + 1] - offsets[i], assignments,
                                      num_words, &keys[offsets[i] * assignments], &scratch[thread, 0], &counts[i + 1])
    entry_array = np.cumsum(counts_array)
    cdef int64_t[::1] entries = entry_array
    total = int(entry_array[images])
    rows_array = np.empty((total + 1, row_bytes), np.uint8)
    ids_array = np.empty(total + 1, np.int64)
    cdef uint8_t[:, ::1] rows = rows_array
    cdef int64_t[::1] ids = ids_array
    with nogil:
        for i in prange(images, schedule="dynamic", chunksize=4, num_threads=threads):
            thread = threadid()
            asmk_sum_image(&keys[offsets[i] * assignments], kept[i], vector_data + offsets[i] * dim, centroid_data, dim,
                           &rows[entries[i], 0], row_bytes, binary, &ids[entries[i]], &sums[thread, 0])
    return rows_array[:total], ids_array[:total], entry_array


def invert(const int64_t[::1] words, const uint32_t[::1] images, const uint8_t[:, ::1] rows, int64_t num_words):
    """Order entries by word, keeping their order within a word (a counting sort).

    Returns:
        word offsets (num_words + 1,) int64, image ids (M,) uint32, rows (M, row_bytes) uint8.
    """
    cdef int64_t entries = words.shape[0]
    cdef int64_t e
    offsets_array = np.zeros(num_words + 1, np.int64)
    cdef int64_t[::1] offsets = offsets_array
    with nogil:
        for e in range(entries):
            offsets[words[e] + 1] += 1
    np.cumsum(offsets_array, out=offsets_array)
    cdef int64_t[::1] following = offsets_array.copy()
    sorted_images_array = np.empty(entries, np.uint32)
    sorted_rows_array = np.empty((entries, rows.shape[1]), np.uint8)
    cdef uint32_t[::1] sorted_images = sorted_images_array
    cdef uint8_t[:, ::1] sorted_rows = sorted_rows_array
    if entries > 0:
        with nogil:
            asmk_place_entries(&words[0], &images[0], &rows[0, 0], entries, rows.shape[1], &following[0],
                               &sorted_images[0], &sorted_rows[0, 0])
    return offsets_array, sorted_images_array, sorted_rows_array


def image_norms(const int64_t[::1] word_offsets, const uint32_t[::1] images, uint32_t first_image, int64_t num_images,
                const float[::1] weights):
    """Sum of the weights of each image's words, in the order of the lists; ``weights`` None = 1.

    Returns:
        (num_images,) float64, and the first entry that names an image outside, -1 if none does.
    """
    norms_array = np.zeros(num_images + 1)
    cdef double[::1] norms = norms_array
    cdef const float *weight_data = NULL
    if weights is not None:
        weight_data = &weights[0]
    cdef int64_t stranger = -1
    if images.shape[0] > 0:
        with nogil:
            stranger = asmk_image_norms(&word_offsets[0], word_offsets.shape[0] - 1, &images[0], first_image,
                                        num_images, weight_data, &norms[0])
    return norms_array[:num_images], stranger


def search_binary(double[:, ::1] scores, const int64_t[::1] query_offsets, const int64_t[::1] query_words,
                  const uint8_t[:, ::1] query_codes, const int64_t[::1] word_offsets, const uint32_t[::1] images,
                  const uint8_t[:, ::1] codes, uint32_t first_image, const double[::1] divisors, const float[::1] idf,
                  const float[::1] values, int64_t reach, int threads):
    """Add the votes of binary lists to ``scores`` (Q, images), word after word in query order."""
    cdef int64_t queries = scores.shape[0]
    cdef int64_t q
    if images.shape[0] == 0 or query_words.shape[0] == 0:
        return
    with nogil:
        for q in prange(queries, schedule="dynamic", chunksize=1, num_threads=threads):
            if query_offsets[q + 1] > query_offsets[q]:
                asmk_search_binary(&scores[q, 0], &query_words[query_offsets[q]], &query_codes[query_offsets[q], 0],
                                   query_offsets[q + 1] - query_offsets[q], codes.shape[1], &word_offsets[0],
                                   &images[0], &codes[0, 0], first_image, &divisors[0], &idf[0], &values[0], reach)


def search_float(double[:, ::1] scores, const int64_t[::1] query_offsets, const int64_t[::1] query_words,
                 const float[:, ::1] query_vectors, const int64_t[::1] word_offsets, const uint32_t[::1] images,
                 const float[:, ::1] vectors, uint32_t first_image, const double[::1] divisors, const float[::1] idf,
                 float threshold, float alpha, int threads):
    """Add the votes of lists of vectors to ``scores`` (Q, images), word after word in query order."""
    cdef int64_t queries = scores.shape[0]
    cdef int64_t dim = vectors.shape[1]
    cdef int64_t q, i, word
    if images.shape[0] == 0 or query_words.shape[0] == 0:
        return
    with nogil:
        for q in prange(queries, schedule="dynamic", chunksize=1, num_threads=threads):
            for i in range(query_offsets[q], query_offsets[q + 1]):
                word = query_words[i]
                if word_offsets[word + 1] > word_offsets[word]:
                    asmk_scan_float(&scores[q, 0], &query_vectors[i, 0], dim, &vectors[word_offsets[word], 0],
                                    &images[word_offsets[word]], word_offsets[word + 1] - word_offsets[word],
                                    first_image, &divisors[0], threshold, alpha, idf[word])
