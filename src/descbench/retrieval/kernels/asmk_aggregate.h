/* Aggregation: residual sums of an image by word, their signs or their directions (docs/protocols/asmk.md,
   Aggregation). */
#ifndef DESCBENCH_ASMK_AGGREGATE_H
#define DESCBENCH_ASMK_AGGREGATE_H

#include "variants.h"

#define ASMK_RADIX_BITS 11
#define ASMK_RADIX (1 << ASMK_RADIX_BITS)
/* Pairs asked for ahead of the sums: enough to cover the latency of memory, few enough for the first cache. */
#define ASMK_AHEAD 7

typedef float asmk_lanes __attribute__((vector_size(64), aligned(4), may_alias));

/* Pairs (word << 32 | descriptor) of one image in ascending order of words, within a word of descriptors;
   a word twice among those of a descriptor counts once. `words` is (n, assignments), `keys` and `scratch`
   have room for all pairs, and the pairs end up in `keys`. Returns their number; *distinct: of words. */
static int64_t asmk_sort_image(const int64_t *words, int64_t n, int64_t assignments, int64_t num_words,
                               uint64_t *keys, uint64_t *scratch, int64_t *distinct)
{
    int64_t pairs = n * assignments, starts[ASMK_RADIX], p = 0, kept = 0;
    int passes = 0;
    while (num_words > 1 && ((uint64_t)(num_words - 1) >> (ASMK_RADIX_BITS * passes)) > 0) passes++;
    /* An odd number of passes ends in the other array, so it begins there. */
    uint64_t *from = passes % 2 ? scratch : keys, *to = passes % 2 ? keys : scratch, *swap;
    for (int64_t i = 0; i < n; i++)
        for (int64_t a = 0; a < assignments; a++, p++) from[p] = (uint64_t)words[p] << 32 | (uint64_t)i;
    for (int pass = 0; pass < passes; pass++) {
        int shift = 32 + ASMK_RADIX_BITS * pass;
        memset(starts, 0, sizeof starts);
        for (p = 0; p < pairs; p++) starts[(from[p] >> shift) & (ASMK_RADIX - 1)]++;
        for (int64_t sum = 0, b = 0; b < ASMK_RADIX; b++) { int64_t c = starts[b]; starts[b] = sum; sum += c; }
        for (p = 0; p < pairs; p++) to[starts[(from[p] >> shift) & (ASMK_RADIX - 1)]++] = from[p];
        swap = from; from = to; to = swap;
    }
    *distinct = 0;
    for (p = 0; p < pairs; p++) {
        uint64_t key = keys[p];
        if (p > 0 && key == keys[kept - 1]) continue;
        *distinct += kept == 0 || (key >> 32) != (keys[kept - 1] >> 32);
        keys[kept++] = key;
    }
    return kept;
}

/* sums = the sum of (descriptor - centroid) over the pairs of one word, float32, in the order of the pairs. */
KERNEL_INLINE void asmk_sum_word(float *sums, const uint64_t *pairs, int64_t n, const float *vectors,
                               const float *centroid, int64_t dim)
{
    int64_t d = 0;
    for (; d + 64 <= dim; d += 64) {
        asmk_lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        const asmk_lanes *c = (const asmk_lanes *)(centroid + d);
        asmk_lanes c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
        for (int64_t p = 0; p < n; p++) {
            const asmk_lanes *v = (const asmk_lanes *)(vectors + (int64_t)(uint32_t)pairs[p] * dim + d);
            s0 += v[0] - c0;
            s1 += v[1] - c1;
            s2 += v[2] - c2;
            s3 += v[3] - c3;
        }
        asmk_lanes *s = (asmk_lanes *)(sums + d);
        s[0] = s0; s[1] = s1; s[2] = s2; s[3] = s3;
    }
    if (d == dim) return;
    for (int64_t i = d; i < dim; i++) sums[i] = 0.0f;
    for (int64_t p = 0; p < n; p++) {
        const float *vector = vectors + (int64_t)(uint32_t)pairs[p] * dim;
        for (int64_t i = d; i < dim; i++) sums[i] += vector[i] - centroid[i];
    }
}

/* Sixteen signs, 1 where above 0, the first in the lowest bit. */
KERNEL_INLINE unsigned asmk_signs16(const float *sums)
{
#if defined(__SSE2__)
    __m128 zero = _mm_setzero_ps();
    __m128i a = _mm_castps_si128(_mm_cmpgt_ps(_mm_loadu_ps(sums), zero));
    __m128i b = _mm_castps_si128(_mm_cmpgt_ps(_mm_loadu_ps(sums + 4), zero));
    __m128i c = _mm_castps_si128(_mm_cmpgt_ps(_mm_loadu_ps(sums + 8), zero));
    __m128i d = _mm_castps_si128(_mm_cmpgt_ps(_mm_loadu_ps(sums + 12), zero));
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d)));
#else
    unsigned bits = 0;
    for (int i = 0; i < 16; i++) bits |= (unsigned)(sums[i] > 0.0f) << i;
    return bits;
#endif
}

/* One bit a dimension, 1 where the sum is above 0, the first in the most significant bit of its byte.
   `sums` has room for whole codes; what lies behind `dim` becomes 0. */
KERNEL_INLINE void asmk_pack_signs(float *sums, uint8_t *code, int64_t dim, int64_t code_bytes)
{
    for (int64_t d = dim; d < 8 * code_bytes; d++) sums[d] = 0.0f;
    for (int64_t b = 0; b < code_bytes; b += 4) {
        uint32_t bits = asmk_signs16(sums + 8 * b) | asmk_signs16(sums + 8 * b + 16) << 16;
        bits = (bits & 0x55555555u) << 1 | (bits >> 1 & 0x55555555u);
        bits = (bits & 0x33333333u) << 2 | (bits >> 2 & 0x33333333u);
        bits = (bits & 0x0F0F0F0Fu) << 4 | (bits >> 4 & 0x0F0F0F0Fu);
        for (int i = 0; i < 4; i++) code[b + i] = (uint8_t)(bits >> 8 * i);
    }
}

/* sum / (||sum|| + 1e-6): the square sum in float64, one dimension after the other, the rest in float32. */
KERNEL_INLINE void asmk_normalise(const float *sums, float *out, int64_t dim)
{
    double square = 0.0;
    for (int64_t d = 0; d < dim; d++) square += (double)sums[d] * (double)sums[d];
    float length = (float)sqrt(square) + 1e-6f;
    for (int64_t d = 0; d < dim; d++) out[d] = sums[d] / length;
}

/* Words and rows of one image from its sorted pairs. `sums`: room for dim floats, rounded up to whole codes. */
KERNEL_CLONES
static void asmk_sum_image(const uint64_t *keys, int64_t n, const float *vectors, const float *centroids, int64_t dim,
                           uint8_t *rows, int64_t row_bytes, int binary, int64_t *words, float *sums)
{
    int64_t bytes = dim * (int64_t)sizeof(float), asked = 0;
    for (int64_t p = 0, end; p < n; p = end) {
        int64_t word = (int64_t)(keys[p] >> 32);
        for (; asked < n && asked < p + ASMK_AHEAD; asked++) {
            kernel_prefetch(centroids + (int64_t)(keys[asked] >> 32) * dim, bytes);
            kernel_prefetch(vectors + (int64_t)(uint32_t)keys[asked] * dim, bytes);
        }
        for (end = p + 1; end < n && (int64_t)(keys[end] >> 32) == word; end++) {}
        asmk_sum_word(sums, keys + p, end - p, vectors, centroids + word * dim, dim);
        if (binary) asmk_pack_signs(sums, rows, dim, row_bytes);
        else asmk_normalise(sums, (float *)rows, dim);
        rows += row_bytes;
        *words++ = word;
    }
}

#endif
