/* AVX2: three instructions for 32 products of bytes. Sums of two products must fit into 16 bits, hence 7 bits a value. */
#include "nearest.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cstring>
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma,bmi")))
#define INLINE TARGET static inline __attribute__((always_inline))

namespace nearest {
namespace {

INLINE __m256i four_bytes(const int8_t *codes)
{
    int32_t bytes;
    std::memcpy(&bytes, codes, 4);
    return _mm256_set1_epi32(bytes);
}

INLINE __m256i add_products(__m256i sums, __m256i tile, __m256i codes, __m256i ones)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(tile, codes), ones));
}

INLINE uint64_t at_most(__m256 v0, __m256 v1, __m256 v2, __m256 v3, __m256 l0, __m256 l1, __m256 l2, __m256 l3)
{
    return (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(v0, l0, _CMP_LE_OQ)) |
           (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(v1, l1, _CMP_LE_OQ)) << 8 |
           (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(v2, l2, _CMP_LE_OQ)) << 16 |
           (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(v3, l3, _CMP_LE_OQ)) << 24;
}

/* The four sums of query i, for vectors first..first + 31 of the tile, become values. */
template <bool columns>
INLINE void judge(const TileTask &t, int64_t i, int64_t first, __m256i s0, __m256i s1, __m256i s2, __m256i s3)
{
    const __m256 scale = _mm256_set1_ps(t.scale[i]), limit = _mm256_set1_ps(t.limit[i]);
    const float *bias = t.bias + first;
    const __m256 v0 = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(s0), scale, _mm256_load_ps(bias));
    const __m256 v1 = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(s1), scale, _mm256_load_ps(bias + 8));
    const __m256 v2 = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(s2), scale, _mm256_load_ps(bias + 16));
    const __m256 v3 = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(s3), scale, _mm256_load_ps(bias + 24));
    const __m256 least = _mm256_min_ps(_mm256_min_ps(v0, v1), _mm256_min_ps(v2, v3));
    uint64_t hits = (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(least, limit, _CMP_LE_OQ)), column_hits = 0;
    if (columns) {
        const __m256 error = _mm256_set1_ps(t.error[i]);
        float *upper = t.column_upper + first;
        const __m256 u0 = _mm256_min_ps(_mm256_load_ps(upper), _mm256_add_ps(v0, error));
        const __m256 u1 = _mm256_min_ps(_mm256_load_ps(upper + 8), _mm256_add_ps(v1, error));
        const __m256 u2 = _mm256_min_ps(_mm256_load_ps(upper + 16), _mm256_add_ps(v2, error));
        const __m256 u3 = _mm256_min_ps(_mm256_load_ps(upper + 24), _mm256_add_ps(v3, error));
        _mm256_store_ps(upper, u0);
        _mm256_store_ps(upper + 8, u1);
        _mm256_store_ps(upper + 16, u2);
        _mm256_store_ps(upper + 24, u3);
        column_hits = at_most(_mm256_sub_ps(v0, error), _mm256_sub_ps(v1, error), _mm256_sub_ps(v2, error),
                              _mm256_sub_ps(v3, error), u0, u1, u2, u3);
        t.column_hits[i] |= column_hits << first;
    }
    if (__builtin_expect((hits | column_hits) != 0, 0)) {
        hits = at_most(v0, v1, v2, v3, limit, limit, limit, limit);
        float *values = t.values + kTile * i + first;
        _mm256_store_ps(values, v0);
        _mm256_store_ps(values + 8, v1);
        _mm256_store_ps(values + 16, v2);
        _mm256_store_ps(values + 24, v3);
    }
    t.hits[i] |= hits << first;
}

template <bool columns> TARGET void filter_two(const TileTask &t, int64_t i, int64_t first)
{
    const int64_t stride = 4 * t.steps;
    const int8_t *codes = t.queries + i * stride;
    const uint8_t *tile = t.tile + 4 * first;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i s00 = _mm256_set1_epi32(t.start[i]), s01 = s00, s02 = s00, s03 = s00;
    __m256i s10 = _mm256_set1_epi32(t.start[i + 1]), s11 = s10, s12 = s10, s13 = s10;
    for (int64_t step = 0; step < t.steps; step++, codes += 4, tile += 4 * kTile) {
        const __m256i a = four_bytes(codes), b = four_bytes(codes + stride);
        __m256i vectors = _mm256_load_si256((const __m256i *)tile);
        s00 = add_products(s00, vectors, a, ones);
        s10 = add_products(s10, vectors, b, ones);
        vectors = _mm256_load_si256((const __m256i *)(tile + 32));
        s01 = add_products(s01, vectors, a, ones);
        s11 = add_products(s11, vectors, b, ones);
        vectors = _mm256_load_si256((const __m256i *)(tile + 64));
        s02 = add_products(s02, vectors, a, ones);
        s12 = add_products(s12, vectors, b, ones);
        vectors = _mm256_load_si256((const __m256i *)(tile + 96));
        s03 = add_products(s03, vectors, a, ones);
        s13 = add_products(s13, vectors, b, ones);
    }
    judge<columns>(t, i, first, s00, s01, s02, s03);
    judge<columns>(t, i + 1, first, s10, s11, s12, s13);
}

void filter(const TileTask &t)
{
    for (int64_t i = 0; i < t.count; i += 2) {
        t.hits[i] = t.hits[i + 1] = t.column_hits[i] = t.column_hits[i + 1] = 0;
        for (int64_t first = 0; first < kTile; first += 32)
            t.column_upper != nullptr ? filter_two<true>(t, i, first) : filter_two<false>(t, i, first);
    }
}

INLINE __m256d four(const float *values) { return _mm256_cvtps_pd(_mm_loadu_ps(values)); }

template <bool distance> INLINE double measure(const float *a, const float *b, int64_t dim)
{
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    int64_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        __m256d x = four(a + d), y = four(b + d), z = four(a + d + 4), w = four(b + d + 4);
        if (distance) x = y = _mm256_sub_pd(x, y), z = w = _mm256_sub_pd(z, w);
        low = _mm256_add_pd(low, _mm256_mul_pd(x, y));
        high = _mm256_add_pd(high, _mm256_mul_pd(z, w));
    }
    double lanes[8];
    _mm256_storeu_pd(lanes, low);
    _mm256_storeu_pd(lanes + 4, high);
    for (; d < dim; d++) {
        const double x = distance ? (double)a[d] - (double)b[d] : a[d];
        lanes[d % 8] += x * (distance ? x : (double)b[d]);
    }
    return add_lanes(lanes);
}

TARGET double squared_distance(const float *a, const float *b, int64_t dim) { return measure<true>(a, b, dim); }

TARGET double inner_product(const float *a, const float *b, int64_t dim) { return measure<false>(a, b, dim); }

} // namespace

extern const Kernel kAvx2 = {filter, squared_distance, inner_product, 63, 64};

} // namespace nearest
#endif
