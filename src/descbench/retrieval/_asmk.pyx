# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The loops of ASMK over descriptors and inverted lists; see ``asmk.py`` for what they mean.

Nothing here checks its input: ``asmk.py`` does, and is the only caller. Every image (aggregation)
and every query (search) is worked on by one thread, in a fixed order of additions, so that results
do not depend on the number of threads. The inner loops are C, so that the compiler can make a
variant of them for each generation of processor and pick one when the module is loaded.
"""

import numpy as np

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

cdef extern from *:
    r"""
    #include <math.h>
    #include <stdint.h>
    #include <string.h>

    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
    #define ASMK_CLONES __attribute__((target_clones("avx2", "popcnt", "default")))
    #else
    #define ASMK_CLONES
    #endif

    /* Keys (word << 32 | descriptor) of one image, which come in the order of descriptors, are
       sorted by word: a radix sort on 11 bits at a time, stable, as many passes as words need.
       The result is in `keys`; equal neighbours (a word twice in one descriptor) are dropped. */
    static int64_t asmk_sort_pairs(uint64_t *keys, uint64_t *scratch, int64_t n, int64_t num_words)
    {
        int64_t starts[2048], i, kept = 0;
        uint64_t *from = keys, *to = scratch, *swap;
        for (int shift = 32; ((uint64_t)(num_words - 1) >> (shift - 32)) > 0; shift += 11) {
            memset(starts, 0, sizeof starts);
            for (i = 0; i < n; i++) starts[(from[i] >> shift) & 2047]++;
            for (int64_t sum = 0, b = 0; b < 2048; b++) { int64_t c = starts[b]; starts[b] = sum; sum += c; }
            for (i = 0; i < n; i++) to[starts[(from[i] >> shift) & 2047]++] = from[i];
            swap = from; from = to; to = swap;
        }
        for (i = 0; i < n; i++)
            if (i == 0 || from[i] != from[i - 1]) keys[kept++] = from[i];
        return kept;
    }

    static int64_t asmk_count_words(const uint64_t *keys, int64_t n)
    {
        int64_t count = n > 0;
        for (int64_t i = 1; i < n; i++) count += (keys[i] >> 32) != (keys[i - 1] >> 32);
        return count;
    }

    /* sums[d] += vector[d] - centroid[d], in float32. */
    ASMK_CLONES
    static void asmk_add_residual(float *restrict sums, const float *restrict vector,
                                  const float *restrict centroid, int64_t dim)
    {
        for (int64_t d = 0; d < dim; d++) sums[d] += vector[d] - centroid[d];
    }

    /* One bit per dimension, 1 where the sum is above 0; first dimension in the most significant bit. */
    ASMK_CLONES
    static void asmk_pack_signs(const float *sums, uint8_t *code, int64_t dim, int64_t code_bytes)
    {
        int64_t d = 0, b = 0;
        for (; d + 8 <= dim; d += 8, b++) {
            unsigned byte = 0;
            for (int i = 0; i < 8; i++) byte |= (unsigned)(sums[d + i] > 0.0f) << (7 - i);
            code[b] = (uint8_t)byte;
        }
        for (; b < code_bytes; b++) {
            unsigned byte = 0;
            for (int i = 0; i < 8 && d < dim; i++, d++) byte |= (unsigned)(sums[d] > 0.0f) << (7 - i);
            code[b] = (uint8_t)byte;
        }
    }

    /* sum / (||sum|| + 1e-6): the square sum in float64, one dimension after the other, the rest in float32. */
    static void asmk_normalise(const float *sums, float *out, int64_t dim)
    {
        double square = 0.0;
        for (int64_t d = 0; d < dim; d++) square += (double)sums[d] * (double)sums[d];
        float length = (float)sqrt(square) + 1e-6f;
        for (int64_t d = 0; d < dim; d++) out[d] = sums[d] / length;
    }

    /* One inverted list against one binary code. `values[h]` is similarity^alpha at Hamming distance h,
       `reach` the largest distance whose similarity passes the threshold (-1: none does). */
    ASMK_CLONES
    static void asmk_scan_binary(double *scores, const uint8_t *code, int64_t code_bytes, const uint8_t *codes,
                                 const uint32_t *images, int64_t n, uint32_t first_image, const double *divisors,
                                 const float *values, int64_t reach, float idf)
    {
        for (int64_t e = 0; e < n; e++) {
            const uint8_t *other = codes + e * code_bytes;
            int64_t b = 0, distance = 0;
            for (; b + 8 <= code_bytes; b += 8) {
                uint64_t x, y;
                memcpy(&x, code + b, 8);
                memcpy(&y, other + b, 8);
                distance += __builtin_popcountll(x ^ y);
            }
            if (b < code_bytes) {
                uint32_t x, y;
                memcpy(&x, code + b, 4);
                memcpy(&y, other + b, 4);
                distance += __builtin_popcountll(x ^ y);
            }
            if (distance <= reach) {
                uint32_t image = images[e] - first_image;
                scores[image] += (float)((double)(values[distance] * idf) / divisors[image]);
            }
        }
    }

    /* The same for vectors: dot products in eight interleaved float32 sums, then those in order. */
    ASMK_CLONES
    static void asmk_scan_float(double *scores, const float *vector, int64_t dim, const float *vectors,
                                const uint32_t *images, int64_t n, uint32_t first_image, const double *divisors,
                                float threshold, float alpha, float idf)
    {
        for (int64_t e = 0; e < n; e++) {
            const float *other = vectors + e * dim;
            float lanes[8] = {0}, similarity = 0.0f;
            int64_t d = 0;
            for (; d + 8 <= dim; d += 8)
                for (int i = 0; i < 8; i++) lanes[i] += vector[d + i] * other[d + i];
            for (int i = 0; d < dim; i++, d++) lanes[i] += vector[d] * other[d];
            for (int i = 0; i < 8; i++) similarity += lanes[i];
            if (similarity >= threshold) {
                uint32_t image = images[e] - first_image;
                scores[image] += (float)((double)(powf(similarity, alpha) * idf) / divisors[image]);
            }
        }
    }
    """
    int64_t asmk_sort_pairs(uint64_t *keys, uint64_t *scratch, int64_t n, int64_t num_words) noexcept nogil
    int64_t asmk_count_words(const uint64_t *keys, int64_t n) noexcept nogil
    void asmk_add_residual(float *sums, const float *vector, const float *centroid, int64_t dim) noexcept nogil
    void asmk_pack_signs(const float *sums, uint8_t *code, int64_t dim, int64_t code_bytes) noexcept nogil
    void asmk_normalise(const float *sums, float *out, int64_t dim) noexcept nogil
    void asmk_scan_binary(double *scores, const uint8_t *code, int64_t code_bytes, const uint8_t *codes,
                          const uint32_t *images, int64_t n, uint32_t first_image, const double *divisors,
                          const float *values, int64_t reach, float idf) noexcept nogil
    void asmk_scan_float(double *scores, const float *vector, int64_t dim, const float *vectors,
                         const uint32_t *images, int64_t n, uint32_t first_image, const double *divisors,
                         float threshold, float alpha, float idf) noexcept nogil


cdef int64_t _sort_image(const int64_t *words, int64_t n, int64_t assignments, int64_t num_words, uint64_t *keys,
                         int64_t *kept) noexcept nogil:
    """Fill ``keys`` with the sorted (word, descriptor) pairs of one image; returns distinct words, -1 out of memory."""
    cdef int64_t pairs = n * assignments
    cdef int64_t i
    cdef uint64_t *scratch = <uint64_t *> malloc(<size_t> (pairs + 1) * sizeof(uint64_t))
    if scratch == NULL:
        return -1
    for i in range(pairs):
        keys[i] = (<uint64_t> words[i] << 32) | <uint64_t> (i // assignments)
    kept[0] = asmk_sort_pairs(keys, scratch, pairs, num_words)
    free(scratch)
    return asmk_count_words(keys, kept[0])


cdef int _sum_image(const uint64_t *keys, int64_t n, const float *vectors, const float *centroids, int64_t dim,
                    uint8_t *rows, int64_t row_bytes, bint binary, int64_t *words) noexcept nogil:
    """Write words and codes (or vectors) of one image from its sorted pairs; 0, or -1 out of memory."""
    cdef int64_t i, word, row = 0
    cdef int64_t d
    cdef float *sums = <float *> malloc(<size_t> (dim + 1) * sizeof(float))
    if sums == NULL:
        return -1
    i = 0
    while i < n:
        word = <int64_t> (keys[i] >> 32)
        for d in range(dim):
            sums[d] = 0
        while i < n and <int64_t> (keys[i] >> 32) == word:
            asmk_add_residual(sums, vectors + <int64_t> (keys[i] & 0xFFFFFFFFu) * dim, centroids + word * dim, dim)
            i += 1
        if binary:
            asmk_pack_signs(sums, rows + row * row_bytes, dim, row_bytes)
        else:
            asmk_normalise(sums, <float *> (rows + row * row_bytes), dim)
        words[row] = word
        row += 1
    free(sums)
    return 0


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
    cdef int64_t i, failed = 0
    keys_array = np.empty(words.shape[0] * assignments + 1, np.uint64)
    kept_array = np.zeros(images + 1, np.int64)
    counts_array = np.zeros(images + 1, np.int64)
    cdef uint64_t[::1] keys = keys_array
    cdef int64_t[::1] kept = kept_array
    cdef int64_t[::1] counts = counts_array
    # One row more than needed, so that the address of row 0 exists in empty arrays too.
    cdef const int64_t *word_data = &words[0, 0] if words.shape[0] > 0 else NULL
    cdef const float *vector_data = &vectors[0, 0] if vectors.shape[0] > 0 else NULL
    cdef const float *centroid_data = &centroids[0, 0] if num_words > 0 else NULL
    with nogil:
        for i in prange(images, schedule="dynamic", chunksize=4, num_threads=threads):
            counts[i + 1] = _sort_image(word_data + offsets[i] * assignments, offsets[i + 1] - offsets[i], assignments,
                                        num_words, &keys[offsets[i] * assignments], &kept[i])
            if counts[i + 1] < 0:
                failed += 1
    if failed:
        raise MemoryError("no memory left to sort the words of an image")
    entry_array = np.cumsum(counts_array)
    cdef int64_t[::1] entries = entry_array
    total = int(entry_array[images])
    rows_array = np.empty((total + 1, row_bytes), np.uint8)
    ids_array = np.empty(total + 1, np.int64)
    cdef uint8_t[:, ::1] rows = rows_array
    cdef int64_t[::1] ids = ids_array
    with nogil:
        for i in prange(images, schedule="dynamic", chunksize=4, num_threads=threads):
            failed += _sum_image(&keys[offsets[i] * assignments], kept[i], vector_data + offsets[i] * dim,
                                 centroid_data, dim, &rows[entries[i], 0], row_bytes, binary, &ids[entries[i]])
    if failed:
        raise MemoryError("no memory left to sum the residuals of an image")
    return rows_array[:total], ids_array[:total], entry_array


def invert(const int64_t[::1] words, const uint32_t[::1] images, const uint8_t[:, ::1] rows, int64_t num_words):
    """Order entries by word, keeping their order within a word (a counting sort).

    Returns:
        word offsets (num_words + 1,) int64, image ids (M,) uint32, rows (M, row_bytes) uint8.
    """
    cdef int64_t entries = words.shape[0]
    cdef int64_t row_bytes = rows.shape[1]
    cdef int64_t e, b, place
    offsets_array = np.zeros(num_words + 1, np.int64)
    cdef int64_t[::1] offsets = offsets_array
    with nogil:
        for e in range(entries):
            offsets[words[e] + 1] += 1
    np.cumsum(offsets_array, out=offsets_array)
    cdef int64_t[::1] following = offsets_array.copy()
    sorted_images_array = np.empty(entries, np.uint32)
    sorted_rows_array = np.empty((entries, row_bytes), np.uint8)
    cdef uint32_t[::1] sorted_images = sorted_images_array
    cdef uint8_t[:, ::1] sorted_rows = sorted_rows_array
    with nogil:
        for e in range(entries):
            place = following[words[e]]
            following[words[e]] = place + 1
            sorted_images[place] = images[e]
            for b in range(row_bytes):
                sorted_rows[place, b] = rows[e, b]
    return offsets_array, sorted_images_array, sorted_rows_array


def search_binary(double[:, ::1] scores, const int64_t[::1] query_offsets, const int64_t[::1] query_words,
                  const uint8_t[:, ::1] query_codes, const int64_t[::1] word_offsets, const uint32_t[::1] images,
                  const uint8_t[:, ::1] codes, uint32_t first_image, const double[::1] divisors, const float[::1] idf,
                  const float[::1] values, int64_t reach, int threads):
    """Add the votes of binary lists to ``scores`` (Q, images), word after word in query order."""
    cdef int64_t queries = scores.shape[0]
    cdef int64_t code_bytes = codes.shape[1]
    cdef int64_t q, i, word
    if images.shape[0] == 0 or query_words.shape[0] == 0:
        return
    with nogil:
        for q in prange(queries, schedule="dynamic", chunksize=1, num_threads=threads):
            for i in range(query_offsets[q], query_offsets[q + 1]):
                word = query_words[i]
                if word_offsets[word + 1] > word_offsets[word]:
                    asmk_scan_binary(&scores[q, 0], &query_codes[i, 0], code_bytes, &codes[word_offsets[word], 0],
                                     &images[word_offsets[word]], word_offsets[word + 1] - word_offsets[word],
                                     first_image, &divisors[0], &values[0], reach, idf[word])


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
