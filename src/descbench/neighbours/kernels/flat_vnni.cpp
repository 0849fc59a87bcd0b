/* The filter of flat search by AVX-512 with VNNI. */
#include "flat.h"
#include "vnni.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <algorithm>
#include <cmath>
#include <limits>

namespace flat {
namespace {

/* Roundings of what is computed here about the error, and of the vector's norm. */
constexpr double kAbove = 1 + 1e-5, kSlack = 1e-6;
constexpr int64_t kAhead = 2; /* vectors that are asked for ahead */

INLINE __m512 some(const float *values, int64_t left)
{
    return _mm512_maskz_loadu_ps(left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1), values);
}

struct Sums {
    double square = 0;  /* of the vector, as measured */
    double centred = 0; /* of what is left without the centre */
    double missing = 0; /* of what the integers miss of that */
};

/* Values of one chunk without the centre as integers, zero behind them; returns their scale. */
TARGET float encode_chunk(const float *values, const float *centre, int64_t count, int8_t *codes, int32_t &sum,
                          Sums &of_vector)
{
    __m512 most = _mm512_setzero_ps(), missing = most, centred = most;
    for (int64_t d = 0; d < count; d += 16) {
        const __m512 value = _mm512_sub_ps(some(values + d, count - d), some(centre + d, count - d));
        most = _mm512_max_ps(most, _mm512_abs_ps(value));
    }
    const float largest = _mm512_reduce_max_ps(most);
    const float step = largest > 1e-20f ? largest / 127 : 0;
    const __m512 levels = _mm512_set1_ps(step > 0 ? 1 / step : 0), scale = _mm512_set1_ps(step);
    __m512i sums = _mm512_setzero_si512();
    __m512d lanes = _mm512_setzero_pd();
    for (int64_t d = 0; d < count; d += 16) {
        const __m512 whole = some(values + d, count - d);
        const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(whole));
        const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(whole, 1));
        lanes = _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, lanes));
        const __m512 value = _mm512_sub_ps(whole, some(centre + d, count - d));
        const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(value, levels));
        const __m512 rest = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(code), scale, value);
        centred = _mm512_fmadd_ps(value, value, centred);
        missing = _mm512_fmadd_ps(rest, rest, missing);
        sums = _mm512_add_epi32(sums, code);
        _mm_store_si128((__m128i *)(codes + d), _mm512_cvtsepi32_epi8(code));
    }
    double eight_lanes[8];
    _mm512_storeu_pd(eight_lanes, lanes);
    of_vector.square += nearest::add_lanes(eight_lanes);
    of_vector.centred += _mm512_reduce_add_ps(centred);
    of_vector.missing += _mm512_reduce_add_ps(missing);
    sum = _mm512_reduce_add_epi32(sums);
    return step;
}

/* sums (6, 64) of products of integers, scaled, are added to cosines (6, 64). */
TARGET void add_scaled(const int32_t *sums, const float *query_scales, const float *tile_scales, float *cosines)
{
    const __m512 t0 = _mm512_load_ps(tile_scales), t1 = _mm512_load_ps(tile_scales + 16);
    const __m512 t2 = _mm512_load_ps(tile_scales + 32), t3 = _mm512_load_ps(tile_scales + 48);
    for (int64_t i = 0; i < 6; i++, sums += kTile, cosines += kTile) {
        const __m512 by = _mm512_set1_ps(query_scales[i]);
        const auto add = [=](int64_t lane, __m512 scale) __attribute__((always_inline, target("avx512f"))) {
            const __m512 products = _mm512_cvtepi32_ps(_mm512_load_si512(sums + lane));
            const __m512 before = _mm512_load_ps(cosines + lane);
            _mm512_store_ps(cosines + lane, _mm512_fmadd_ps(products, _mm512_mul_ps(by, scale), before));
        };
        add(0, t0);
        add(16, t1);
        add(32, t2);
        add(48, t3);
    }
}

} // namespace

static_assert(kChunk == kPart, "a chunk is measured while it is encoded");

Codes::Codes(const float *the_centre, int64_t capacity, int64_t dimensions, bool of_queries)
    : centre(the_centre), dim(dimensions), chunks((dimensions + kChunk - 1) / kChunk), queries(of_queries),
      together(of_queries ? kGroup : kTile), row_bytes((dimensions + 3) / 4 * 4)
{
    const size_t vectors = (capacity + together - 1) / together * together;
    packed.resize(vectors * row_bytes);
    scale.resize(vectors * chunks);
    if (queries) start.resize(vectors * chunks);
    /* The last group or tile may stay incomplete. */
    const size_t rest = vectors - together;
    std::fill(packed.get() + rest * row_bytes, packed.get() + vectors * row_bytes, 0);
    std::fill(scale.get() + rest * chunks, scale.get() + vectors * chunks, 0.0f);
    if (queries) std::fill(start.get() + rest * chunks, start.get() + vectors * chunks, 0);
}

void Codes::load(const float *vectors, int64_t number, const Found &found, int threads)
{
    count = number;
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
    for (int64_t first = 0; first < count; first += kTile)
        encode(vectors, first, std::min(kTile, count - first), found);
}

/* One chunk of all vectors after another: what they write lies together. */
void Codes::encode(const float *vectors, int64_t begin, int64_t number, const Found &found)
{
    std::vector<Sums> sums(number);
    alignas(64) int8_t codes[kChunk];
    const int64_t group = begin / together;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t first = chunk * kChunk, wide = std::min(kChunk, dim - first);
        for (int64_t n = 0; n < number; n++) {
            const float *values = vectors + (begin + n) * dim + first;
            const int64_t row = begin % together + n, place = (group * chunks + chunk) * together + row;
            int32_t sum;
            for (int64_t ahead = 0; ahead < wide; ahead += 16)
                _mm_prefetch((const char *)(values + (n + kAhead < number ? kAhead * dim : 0) + ahead), _MM_HINT_T0);
            scale[place] = encode_chunk(values, centre + first, wide, codes, sum, sums[n]);
            if (queries) start[place] = -128 * sum;
            spread(codes, group, chunk, row);
        }
    }
    for (int64_t n = 0; n < number; n++) {
        const double norm = std::sqrt(sums[n].centred);
        const bool filtered = norm >= kSmallest && norm <= kLargest;
        found.squares[begin + n] = sums[n].square;
        found.norms[begin + n] = norm;
        found.errors[begin + n] = filtered           ? (float)(std::sqrt(sums[n].missing) / norm * kAbove + kSlack)
                                  : norm < kSmallest ? 1.0f
                                                     : std::numeric_limits<float>::infinity();
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
            float &relative = scale[(group * chunks + chunk) * together + begin % together + n];
            relative = filtered ? (float)(relative / norm) : 0;
        }
    }
}

void Codes::spread(const int8_t *codes, int64_t group, int64_t chunk, int64_t row)
{
    const int64_t bytes = std::min(kChunk, row_bytes - chunk * kChunk);
    uint8_t *out = packed.get() + group * together * row_bytes + together * chunk * kChunk;
    if (queries) {
        std::memcpy(out + row * bytes, codes, bytes);
        return;
    }
    for (int64_t d = 0; d < bytes; d += 4) {
        uint32_t four;
        std::memcpy(&four, codes + d, 4);
        four ^= 0x80808080u; /* adds 128 to each */
        std::memcpy(out + (d / 4 * kTile + row) * 4, &four, 4);
    }
}

namespace {

/* Cosines (kGroup, 64) of a group of queries and a tile. */
void multiply_group(const Codes &queries, int64_t group, int64_t count, const Codes &images, int64_t tile,
                    int64_t chunk, float *cosines)
{
    alignas(64) int32_t sums[6 * kTile];
    const int64_t steps = std::min(kChunk, queries.row_bytes - chunk * kChunk) / 4;
    const int64_t place = (group * queries.chunks + chunk) * kGroup;
    const int8_t *codes =
        (const int8_t *)queries.packed.get() + kGroup * (group * queries.row_bytes + chunk * kChunk);
    const uint8_t *bytes = images.packed.get() + kTile * (tile * images.row_bytes + chunk * kChunk);
    const float *scales = images.scale.get() + (tile * images.chunks + chunk) * kTile;
    for (int64_t i = 0; i < count; i += 6) {
        /* The next chunk comes meanwhile. */
        const char *ahead = (const char *)codes + (kGroup + i) * 4 * steps;
        const char *tile_ahead = (const char *)bytes + (kTile + i * kTile / kGroup) * 4 * steps;
        if (chunk + 1 == queries.chunks) ahead = (const char *)codes, tile_ahead = (const char *)bytes;
        for (int64_t line = 0; tile == 0 && line < 24 * steps; line += 64) _mm_prefetch(ahead + line, _MM_HINT_T1);
        for (int64_t line = 0; line < 8 * steps; line += 64) _mm_prefetch(tile_ahead + line, _MM_HINT_T1);
        multiply_six(bytes, codes + i * 4 * steps, steps, queries.start.get() + place + i, sums);
        add_scaled(sums, queries.scale.get() + place + i, scales, cosines + i * kTile);
    }
}

} // namespace

void filter_cosines(const Codes &queries, const float *images, int64_t count, const Found &found, float *cosines,
                    int threads)
{
    constexpr int64_t tiles = 4, wide = tiles * kTile;
#pragma omp parallel num_threads(threads)
    {
        Codes codes(queries.centre, wide, queries.dim, false);
        Lines<float> block(tiles * kGroup * kTile);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < count; first += wide) {
            const int64_t columns = std::min(wide, count - first);
            const Found here = {found.squares + first, found.norms + first, found.errors + first};
            codes.load(images + first * queries.dim, columns, here, 1);
            for (int64_t start = 0; start < queries.count; start += kGroup) {
                const int64_t rows = std::min(kGroup, queries.count - start);
                std::fill(block.get(), block.get() + tiles * kGroup * kTile, 0.0f);
                for (int64_t chunk = 0; chunk < queries.chunks; chunk++)
                    for (int64_t tile = 0; tile * kTile < columns; tile++)
                        multiply_group(queries, start / kGroup, rows, codes, tile, chunk,
                                       block.get() + tile * kGroup * kTile);
                for (int64_t i = 0; i < rows; i++)
                    for (int64_t j = 0; j < columns; j++)
                        cosines[(start + i) * count + first + j] = block[(j / kTile * kGroup + i) * kTile + j % kTile];
            }
        }
    }
}

} // namespace flat
#else
namespace flat {
Codes::Codes(const float *, int64_t, int64_t, bool) {}
void Codes::load(const float *, int64_t, const Found &, int) {}
void filter_cosines(const Codes &, const float *, int64_t, const Found &, float *, int) {}
} // namespace flat
#endif
