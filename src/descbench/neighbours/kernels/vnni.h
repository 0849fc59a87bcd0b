/* AVX-512 with VNNI: 64 products of bytes an instruction. 24 named sums (6 queries x 4 vectors of 16 lanes) stay in
   registers; an array of them would be spilt to the stack by compilers, at half the speed. */
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#include <cstdint>
#include <cstring>
/* gcc 12 warns about its own header. */
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,bmi,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))

namespace {

INLINE __m512i four_bytes(const int8_t *codes)
{
    int32_t bytes;
    std::memcpy(&bytes, codes, 4);
    return _mm512_set1_epi32(bytes);
}

#define ADD(q)                                                                                                       \
    b = four_bytes(codes + q * stride);                                                                              \
    s##q##0 = _mm512_dpbusd_epi32(s##q##0, t0, b);                                                                   \
    s##q##1 = _mm512_dpbusd_epi32(s##q##1, t1, b);                                                                   \
    s##q##2 = _mm512_dpbusd_epi32(s##q##2, t2, b);                                                                   \
    s##q##3 = _mm512_dpbusd_epi32(s##q##3, t3, b)
#define START(q)                                                                                                     \
    __m512i s##q##0 = _mm512_set1_epi32(start[q]), s##q##1 = s##q##0, s##q##2 = s##q##0, s##q##3 = s##q##0

#define KEEP(q)                                                                                                      \
    _mm512_store_si512(sums + 64 * q, s##q##0);                                                                      \
    _mm512_store_si512(sums + 64 * q + 16, s##q##1);                                                                 \
    _mm512_store_si512(sums + 64 * q + 32, s##q##2);                                                                 \
    _mm512_store_si512(sums + 64 * q + 48, s##q##3)

/* sums (6, 64): start plus dot products of six queries (6, 4 * steps) with a tile of 64 vectors: for each 4 dimensions,
   those of each vector. Nothing else happens here, so that nothing is spilt. */
TARGET __attribute__((noinline)) static void multiply_six(const uint8_t *tile, const int8_t *codes, int64_t steps,
                                                          const int32_t *start, int32_t *sums)
{
    const int64_t stride = 4 * steps;
    START(0);
    START(1);
    START(2);
    START(3);
    START(4);
    START(5);
    for (int64_t step = 0; step < steps; step++, codes += 4, tile += 256) {
        const __m512i t0 = _mm512_load_si512(tile), t1 = _mm512_load_si512(tile + 64);
        const __m512i t2 = _mm512_load_si512(tile + 128), t3 = _mm512_load_si512(tile + 192);
        __m512i b;
        ADD(0);
        ADD(1);
        ADD(2);
        ADD(3);
        ADD(4);
        ADD(5);
    }
    KEEP(0);
    KEEP(1);
    KEEP(2);
    KEEP(3);
    KEEP(4);
    KEEP(5);
}

#undef ADD
#undef START
#undef KEEP

} // namespace
#endif
