/* Products in float64, for each generation of processor. Products of float32 are exact there, so that fused
   multiply-add gives the same bits as multiplying and adding. */
#include "flat.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
/* gcc 12 warns about its own header. */
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#endif

namespace flat {
namespace {

constexpr int64_t kLanes = 8;
constexpr int64_t kShare = 1 << 15; /* pairs that a thread takes at once: their sums stay in the second cache */
constexpr int64_t kAhead = 2;       /* images that are asked for ahead */

/* Adds what is left behind whole steps of lanes, and the lanes (4, 8). */
void finish(const float *vector, const float *const *others, int64_t first, int64_t dim, double *lanes, double *sums)
{
    for (int64_t i = 0; i < 4; i++, lanes += kLanes) {
        for (int64_t d = first; d < dim; d++) lanes[d - first] += (double)vector[d] * (double)others[i][d];
        sums[i] += nearest::add_lanes(lanes);
    }
}

void add_plainly(const float *vector, const float *const *others, int64_t dim, double *sums)
{
    double lanes[4 * kLanes] = {0};
    int64_t d = 0;
    for (; d + kLanes <= dim; d += kLanes)
        for (int64_t i = 0; i < 4; i++)
            for (int64_t lane = 0; lane < kLanes; lane++)
                lanes[i * kLanes + lane] += (double)vector[d + lane] * (double)others[i][d + lane];
    finish(vector, others, d, dim, lanes, sums);
}

#if defined(__x86_64__) && defined(__GNUC__)

#define AVX512 __attribute__((target("avx512f,avx512dq")))
#define AVX2 __attribute__((target("avx2,fma")))

AVX512 inline __m512d eight(const float *values) { return _mm512_cvtps_pd(_mm256_loadu_ps(values)); }

AVX512 inline __m256d half_lanes(__m512d lanes)
{
    return _mm256_add_pd(_mm512_castpd512_pd256(lanes), _mm512_extractf64x4_pd(lanes, 1));
}

/* The four sums of eight lanes each, as nearest::add_lanes adds them. */
AVX2 inline __m256d add_halves(__m256d a, __m256d b, __m256d c, __m256d d)
{
    /* (0 + 2, 1 + 3) of two vectors in each. */
    const __m256d ab = _mm256_add_pd(_mm256_permute2f128_pd(a, b, 0x20), _mm256_permute2f128_pd(a, b, 0x31));
    const __m256d cd = _mm256_add_pd(_mm256_permute2f128_pd(c, d, 0x20), _mm256_permute2f128_pd(c, d, 0x31));
    return _mm256_permute4x64_pd(_mm256_hadd_pd(ab, cd), 0xd8);
}

AVX512 void add_avx512(const float *vector, const float *const *others, int64_t dim, double *sums)
{
    __m512d s0 = _mm512_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
    int64_t d = 0;
    for (; d + kLanes <= dim; d += kLanes) {
        const __m512d x = eight(vector + d);
        s0 = _mm512_fmadd_pd(x, eight(others[0] + d), s0);
        s1 = _mm512_fmadd_pd(x, eight(others[1] + d), s1);
        s2 = _mm512_fmadd_pd(x, eight(others[2] + d), s2);
        s3 = _mm512_fmadd_pd(x, eight(others[3] + d), s3);
    }
    if (d == dim) {
        const __m256d all = add_halves(half_lanes(s0), half_lanes(s1), half_lanes(s2), half_lanes(s3));
        _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), all));
        return;
    }
    double lanes[4 * kLanes];
    _mm512_storeu_pd(lanes, s0);
    _mm512_storeu_pd(lanes + 8, s1);
    _mm512_storeu_pd(lanes + 16, s2);
    _mm512_storeu_pd(lanes + 24, s3);
    finish(vector, others, d, dim, lanes, sums);
}

AVX2 inline __m256d four(const float *values) { return _mm256_cvtps_pd(_mm_loadu_ps(values)); }

AVX2 void add_avx2(const float *vector, const float *const *others, int64_t dim, double *sums)
{
    const int64_t whole = dim / kLanes * kLanes;
    double lanes[4 * kLanes];
    for (int64_t half = 0; half < kLanes; half += 4) {
        __m256d s0 = _mm256_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
        for (int64_t d = half; d < whole; d += kLanes) {
            const __m256d x = four(vector + d);
            s0 = _mm256_fmadd_pd(x, four(others[0] + d), s0);
            s1 = _mm256_fmadd_pd(x, four(others[1] + d), s1);
            s2 = _mm256_fmadd_pd(x, four(others[2] + d), s2);
            s3 = _mm256_fmadd_pd(x, four(others[3] + d), s3);
        }
        _mm256_storeu_pd(lanes + half, s0);
        _mm256_storeu_pd(lanes + half + 8, s1);
        _mm256_storeu_pd(lanes + half + 16, s2);
        _mm256_storeu_pd(lanes + half + 24, s3);
    }
    finish(vector, others, whole, dim, lanes, sums);
}

#endif

/* Up to four pairs of one image. `queries` (queries, kPart). */
void add_some(AddProducts add, const float *image, const float *queries, const int32_t *rows, int64_t count,
              int64_t dim, double *sums)
{
    const float *others[4];
    for (int64_t i = 0; i < 4; i++) others[i] = queries + rows[std::min(i, count - 1)] * kPart;
    if (count >= 4) return add(image, others, dim, sums);
    double spare[4] = {0};
    std::copy(sums, sums + count, spare);
    add(image, others, dim, spare);
    std::copy(spare, spare + count, sums);
}

/* Images first..last with their queries: a few dimensions of all pairs, then the next few, so that vectors that several
   pairs share come from memory once. Those of the queries are copied side by side: at distances of powers of two they
   would fall on the same lines of the caches. */
void measure_images(AddProducts add, const PairList &pairs, int64_t first, int64_t last, double *products)
{
    const int64_t base = pairs.offsets[first], end = pairs.offsets[last];
    Lines<float> copies(pairs.num_queries * kPart);
    std::vector<char> used(pairs.num_queries);
    std::fill(products + base, products + end, 0.0);
    for (int64_t p = base; p < end; p++) used[pairs.rows[p]] = 1;
    for (int64_t d = 0; d < pairs.dim; d += kPart) {
        const int64_t wide = std::min(kPart, pairs.dim - d);
        for (int64_t i = 0; i < pairs.num_queries; i++)
            if (used[i]) std::copy_n(pairs.queries + i * pairs.dim + d, wide, copies.get() + i * kPart);
        for (int64_t image = first; image < last; image++) {
            const float *values = pairs.images + image * pairs.dim + d;
            for (int64_t ahead = 0; image + kAhead < last && ahead < wide; ahead += 16)
                __builtin_prefetch(values + kAhead * pairs.dim + ahead);
            for (int64_t p = pairs.offsets[image]; p < pairs.offsets[image + 1]; p += 4)
                add_some(add, values, copies.get(), pairs.rows + p, pairs.offsets[image + 1] - p, wide, products + p);
        }
    }
}

} // namespace

AddProducts find_products(const char *kernel)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (std::strcmp(kernel, "vnni") == 0) return add_avx512;
    if (std::strcmp(kernel, "avx2") == 0) return add_avx2;
#endif
    (void)kernel;
    return add_plainly;
}

void measure_squares(AddProducts add, const float *vectors, int64_t count, int64_t dim, double *squares, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t v = 0; v < count; v++) {
        double sums[4] = {0};
        for (int64_t d = 0; d < dim; d += kPart) {
            const float *vector = vectors + v * dim + d, *const same[4] = {vector, vector, vector, vector};
            add(vector, same, std::min(kPart, dim - d), sums);
        }
        squares[v] = sums[0];
    }
}

void measure_products(AddProducts add, const PairList &pairs, double *products, int threads)
{
    const int64_t total = pairs.offsets[pairs.num_images];
    const int64_t shares = threads * ((total + threads * kShare - 1) / (threads * kShare));
    const auto begin = [&](int64_t share) {
        const int64_t *end = pairs.offsets + pairs.num_images;
        return share < shares ? std::lower_bound(pairs.offsets, end, total * share / shares) - pairs.offsets
                              : pairs.num_images;
    };
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t share = 0; share < shares; share++)
        measure_images(add, pairs, begin(share), begin(share + 1), products);
}

} // namespace flat
