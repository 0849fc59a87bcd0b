/* Means of clusters, in the rounding of faiss.Clustering. */
#include "nearest.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace nearest {

void cluster_means(const float *points, int64_t count, int64_t dim, const int64_t *clusters, int64_t num_clusters,
                   float *centroids, int64_t *sizes, int threads)
{
#pragma omp parallel num_threads(threads)
    {
#ifdef _OPENMP
        const int64_t thread = omp_get_thread_num(), total = omp_get_num_threads();
#else
        const int64_t thread = 0, total = 1;
#endif
        /* Each thread owns a range of clusters, so that a sum is made in the order of the points. */
        const int64_t low = num_clusters * thread / total, high = num_clusters * (thread + 1) / total;
        for (int64_t c = low; c < high; c++) sizes[c] = 0;
        for (int64_t p = 0; p < count; p++) {
            const int64_t c = clusters[p];
            if (c < low || c >= high) continue;
            float *centroid = centroids + c * dim;
            if (sizes[c]++ == 0)
                for (int64_t d = 0; d < dim; d++) centroid[d] = 0;
            for (int64_t d = 0; d < dim; d++) centroid[d] += points[p * dim + d];
        }
        for (int64_t c = low; c < high; c++) {
            const float inverse = 1 / (float)sizes[c];
            for (int64_t d = 0; sizes[c] > 0 && d < dim; d++) centroids[c * dim + d] *= inverse;
        }
    }
}

} // namespace nearest
