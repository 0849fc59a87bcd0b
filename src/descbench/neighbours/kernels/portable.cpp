/* No instruction set in particular: float64 in plain C++; the products of the filter come from BLAS. */
#include <cstring>

#include "nearest.h"

namespace nearest {
namespace {

double squared_distance(const float *a, const float *b, int64_t dim)
{
    double lanes[8] = {0};
    for (int64_t d = 0; d < dim; d++) {
        const double difference = (double)a[d] - (double)b[d];
        lanes[d % 8] += difference * difference;
    }
    return add_lanes(lanes);
}

double inner_product(const float *a, const float *b, int64_t dim)
{
    double lanes[8] = {0};
    for (int64_t d = 0; d < dim; d++) lanes[d % 8] += (double)a[d] * (double)b[d];
    return add_lanes(lanes);
}

} // namespace

extern const Kernel kPortable = {nullptr, squared_distance, inner_product, 127, 128};

const Kernel *find_kernel(const char *name)
{
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (std::strcmp(name, "vnni") == 0)
        return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
                   ? &kVnni
                   : nullptr;
    if (std::strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kAvx2 : nullptr;
#endif
    return std::strcmp(name, "portable") == 0 ? &kPortable : nullptr;
}

} // namespace nearest
