/* Search of inverted lists (docs/protocols/asmk.md, Search). */
#ifndef DESCBENCH_ASMK_SEARCH_H
#define DESCBENCH_ASMK_SEARCH_H

#include "variants.h"

/* Entries whose distances are computed before their votes are counted. */
#define ASMK_BLOCK 512
/* Lists asked for ahead, and how much of each: the processor follows a long list by itself. */
#define ASMK_LISTS_AHEAD 4
#define ASMK_LIST_BYTES 1024

KERNEL_INLINE int64_t asmk_hamming(const uint8_t *a, const uint8_t *b, int64_t code_bytes)
{
    int64_t i = 0, distance = 0;
    for (; i + 8 <= code_bytes; i += 8) {
        uint64_t x, y;
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        distance += __builtin_popcountll(x ^ y);
    }
    if (i < code_bytes) {
        uint32_t x, y;
        memcpy(&x, a + i, 4);
        memcpy(&y, b + i, 4);
        distance += __builtin_popcountll(x ^ y);
    }
    return distance;
}

/* One list against one code. Entries that vote are picked without a branch, because half of them do and no
   processor can guess which; their votes are then added in the order of the list. */
KERNEL_INLINE void asmk_scan_binary(double *scores, const uint8_t *code, int64_t code_bytes, const uint8_t *codes,
                                  const uint32_t *images, int64_t n, uint32_t first_image, const double *divisors,
                                  const float *values, int64_t reach, float idf)
{
    uint32_t voters[ASMK_BLOCK];
    float votes[ASMK_BLOCK];
    for (int64_t start = 0; start < n; start += ASMK_BLOCK) {
        int64_t stop = n - start < ASMK_BLOCK ? n - start : ASMK_BLOCK, count = 0;
        for (int64_t e = 0; e < stop; e++) {
            int64_t distance = asmk_hamming(code, codes + (start + e) * code_bytes, code_bytes);
            voters[count] = images[start + e] - first_image;
            votes[count] = values[distance] * idf;
            count += distance <= reach;
        }
        for (int64_t v = 0; v < count; v++)
            scores[voters[v]] += (float)((double)votes[v] / divisors[voters[v]]);
    }
}

/* All words of one query. `values[h]` is similarity^alpha at Hamming distance h, `reach` the largest distance
   whose similarity passes the threshold (-1: none does). */
KERNEL_CLONES
static void asmk_search_binary(double *scores, const int64_t *words, const uint8_t *query_codes, int64_t num_words,
                               int64_t code_bytes, const int64_t *offsets, const uint32_t *images,
                               const uint8_t *codes, uint32_t first_image, const double *divisors, const float *idf,
                               const float *values, int64_t reach)
{
    for (int64_t i = 0; i < num_words; i++) {
        if (i + 2 * ASMK_LISTS_AHEAD < num_words) __builtin_prefetch(offsets + words[i + 2 * ASMK_LISTS_AHEAD], 0, 3);
        if (i + ASMK_LISTS_AHEAD < num_words) {
            int64_t low = offsets[words[i + ASMK_LISTS_AHEAD]], high = offsets[words[i + ASMK_LISTS_AHEAD] + 1];
            int64_t bytes = (high - low) * code_bytes;
            kernel_prefetch(codes + low * code_bytes, bytes < ASMK_LIST_BYTES ? bytes : ASMK_LIST_BYTES);
            kernel_prefetch(images + low, bytes < ASMK_LIST_BYTES ? (high - low) * 4 : ASMK_LIST_BYTES / 4);
        }
        int64_t low = offsets[words[i]], high = offsets[words[i] + 1];
        const uint8_t *code = query_codes + i * code_bytes;
        if (code_bytes == 16)
            asmk_scan_binary(scores, code, 16, codes + low * 16, images + low, high - low, first_image, divisors,
                             values, reach, idf[words[i]]);
        else
            asmk_scan_binary(scores, code, code_bytes, codes + low * code_bytes, images + low, high - low,
                             first_image, divisors, values, reach, idf[words[i]]);
    }
}

/* One list of vectors against one: dot products in eight interleaved float32 sums, then those in order. */
KERNEL_CLONES
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

#endif
