/* AVX-512 with VNNI: the filter of the nearest vectors. */
#include "nearest.h"
#include "vnni.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <algorithm>

namespace nearest {
namespace {

INLINE uint64_t at_most(__m512 v0, __m512 v1, __m512 v2, __m512 v3, __m512 l0, __m512 l1, __m512 l2, __m512 l3)
{
    return (uint64_t)_mm512_cmp_ps_mask(v0, l0, _CMP_LE_OQ) | (uint64_t)_mm512_cmp_ps_mask(v1, l1, _CMP_LE_OQ) << 16 |
           (uint64_t)_mm512_cmp_ps_mask(v2, l2, _CMP_LE_OQ) << 32 |
           (uint64_t)_mm512_cmp_ps_mask(v3, l3, _CMP_LE_OQ) << 48;
}

/* The four sums of query i become values; rarely is one of them near enough to be written down. */
template <bool columns> INLINE void judge(const TileTask &t, int64_t i, const int32_t *sums)
{
    const __m512 scale = _mm512_set1_ps(t.scale[i]), limit = _mm512_set1_ps(t.limit[i]);
    const __m512 v0 = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + 0)), scale, _mm512_load_ps(t.bias));
    const __m512 v1 = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + 16)), scale, _mm512_load_ps(t.bias + 16));
    const __m512 v2 = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + 32)), scale, _mm512_load_ps(t.bias + 32));
    const __m512 v3 = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + 48)), scale, _mm512_load_ps(t.bias + 48));
    const __m512 least = _mm512_min_ps(_mm512_min_ps(v0, v1), _mm512_min_ps(v2, v3));
    uint64_t hits = _mm512_cmp_ps_mask(least, limit, _CMP_LE_OQ), column_hits = 0;
    if (columns) {
        const __m512 error = _mm512_set1_ps(t.error[i]);
        const __m512 u0 = _mm512_min_ps(_mm512_load_ps(t.column_upper), _mm512_add_ps(v0, error));
        const __m512 u1 = _mm512_min_ps(_mm512_load_ps(t.column_upper + 16), _mm512_add_ps(v1, error));
        const __m512 u2 = _mm512_min_ps(_mm512_load_ps(t.column_upper + 32), _mm512_add_ps(v2, error));
        const __m512 u3 = _mm512_min_ps(_mm512_load_ps(t.column_upper + 48), _mm512_add_ps(v3, error));
        _mm512_store_ps(t.column_upper, u0);
        _mm512_store_ps(t.column_upper + 16, u1);
        _mm512_store_ps(t.column_upper + 32, u2);
        _mm512_store_ps(t.column_upper + 48, u3);
        column_hits = at_most(_mm512_sub_ps(v0, error), _mm512_sub_ps(v1, error), _mm512_sub_ps(v2, error),
                              _mm512_sub_ps(v3, error), u0, u1, u2, u3);
        t.column_hits[i] = column_hits;
    }
    if (__builtin_expect((hits | column_hits) != 0, 0)) {
        hits = at_most(v0, v1, v2, v3, limit, limit, limit, limit);
        float *values = t.values + kTile * i;
        _mm512_store_ps(values, v0);
        _mm512_store_ps(values + 16, v1);
        _mm512_store_ps(values + 32, v2);
        _mm512_store_ps(values + 48, v3);
    }
    t.hits[i] = hits;
}

INLINE bool reaches(const int32_t *sums, int32_t least)
{
    const __m512i low = _mm512_max_epi32(_mm512_load_si512(sums), _mm512_load_si512(sums + 16));
    const __m512i high = _mm512_max_epi32(_mm512_load_si512(sums + 32), _mm512_load_si512(sums + 48));
    return _mm512_cmpge_epi32_mask(_mm512_max_epi32(low, high), _mm512_set1_epi32(least)) != 0;
}

/* The least sum with which a vector of the tile, whose bias is at least the first one, can be near enough to each
   query: bias - scale * sum <= limit, with a margin for all roundings. Comparing sums is cheaper than their values. */
TARGET void least_sums(const TileTask &t, int32_t *least)
{
    const __m512 lowest = _mm512_set1_ps(t.bias[0]), largest = _mm512_set1_ps(2147483520.0f);
    for (int64_t i = 0; i < t.count; i += 16) {
        const __m512 rest = _mm512_sub_ps(lowest, _mm512_loadu_ps(t.limit + i));
        /* Without a scale that is infinite, or 0 / 0, which min leaves: integers have their lowest value for it. */
        const __m512 sum = _mm512_min_ps(largest, _mm512_div_ps(rest, _mm512_loadu_ps(t.scale + i)));
        const __m512 margin = _mm512_fmadd_ps(_mm512_abs_ps(sum), _mm512_set1_ps(1.0f / (1 << 20)), _mm512_set1_ps(2));
        _mm512_storeu_si512(least + i, _mm512_cvtps_epi32(_mm512_sub_ps(sum, margin)));
    }
}

template <bool columns> TARGET void filter_all(const TileTask &t)
{
    alignas(64) int32_t sums[6 * kTile], least[kBlock];
    if (!columns) least_sums(t, least);
    std::fill(t.hits, t.hits + t.count, 0);
    const int64_t bytes = 4 * kTile * t.steps;
    const uint8_t *ahead = t.tile + bytes, *end = ahead + bytes;
    for (int64_t i = 0; i < t.count; i += 6) {
        /* The next tile comes while this one is worked on. (Behind the last one nothing is read.) */
        for (int64_t line = 0; line < bytes / 16 && ahead < end; line += 64, ahead += 64)
            _mm_prefetch((const char *)ahead, _MM_HINT_T0);
        multiply_six(t.tile, t.queries + i * 4 * t.steps, t.steps, t.start + i, sums);
        for (int64_t q = 0; q < 6; q++)
            if (columns || reaches(sums + kTile * q, least[i + q])) judge<columns>(t, i + q, sums + kTile * q);
    }
}

void filter(const TileTask &t) { t.column_upper != nullptr ? filter_all<true>(t) : filter_all<false>(t); }

INLINE __m512d eight(const float *values, int64_t left)
{
    const __mmask8 mask = left >= 8 ? 0xff : (__mmask8)((1u << left) - 1);
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, values));
}

TARGET double squared_distance(const float *a, const float *b, int64_t dim)
{
    __m512d sums = _mm512_setzero_pd();
    for (int64_t d = 0; d < dim; d += 8) {
        const __m512d difference = _mm512_sub_pd(eight(a + d, dim - d), eight(b + d, dim - d));
        sums = _mm512_add_pd(sums, _mm512_mul_pd(difference, difference));
    }
    double lanes[8];
    _mm512_storeu_pd(lanes, sums);
    return add_lanes(lanes);
}

TARGET double inner_product(const float *a, const float *b, int64_t dim)
{
    __m512d sums = _mm512_setzero_pd();
    for (int64_t d = 0; d < dim; d += 8)
        sums = _mm512_add_pd(sums, _mm512_mul_pd(eight(a + d, dim - d), eight(b + d, dim - d)));
    double lanes[8];
    _mm512_storeu_pd(lanes, sums);
    return add_lanes(lanes);
}

} // namespace

extern const Kernel kVnni = {filter, squared_distance, inner_product, 127, 128};

} // namespace nearest
#endif
