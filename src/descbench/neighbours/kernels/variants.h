/* What kernels share: variants for each generation of processor, vectors, prefetching.
   Nothing here may be compiled with -ffast-math or contraction: rounding is part of the result. */
#ifndef DESCBENCH_VARIANTS_H
#define DESCBENCH_VARIANTS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* A variant of a function for each generation; the loader picks one. Clang and other systems get the plain one. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define KERNEL_CLONES __attribute__((target_clones("avx512f", "avx2", "popcnt", "default")))
#else
#define KERNEL_CLONES
#endif

/* Helpers must be part of their caller's variant. */
#define KERNEL_INLINE static inline __attribute__((always_inline))

/* Ask for `bytes` from `address` on: lines of 64 bytes. */
KERNEL_INLINE void kernel_prefetch(const void *address, int64_t bytes)
{
    for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch((const char *)address + b, 0, 3);
}

#endif
