/* Exact search of long vectors (global descriptors) behind an approximate filter.

   A filter knows the cosine of the angle between two vectors, both seen from a common centre, within a proven bound.
   What their distance and inner product can be at most follows from it and from the norms, because moving the origin
   changes no distance. What could be among the k best is measured in float64, where a product of two float32 is
   exact: of every kPart dimensions, dimension d is added in lane d % 8 and then the lanes as in nearest.h, and these
   sums are added in order. All machines, filters and numbers of threads give the same bits. */
#pragma once

#include "nearest.h"

namespace flat {

using nearest::kTile;
using nearest::Lines;

constexpr int64_t kChunk = 256; /* dimensions that share a scale; a chunk of a tile fits the first cache */
constexpr int64_t kGroup = 192; /* queries that meet two tiles while these are in the second cache */
/* At other distances from the centre float32 could under- or overflow; the error of such vectors is 1 or infinite. */
constexpr double kSmallest = 1e-10, kLargest = 1e15;
constexpr int64_t kPart = 256; /* dimensions that are measured at a time */

/* What is known of each of some vectors: |v|^2 as measured (infinite or NaN where a value is); its distance from the
   centre, about; the error of the filter, relative to that. */
struct Found {
    double *squares, *norms;
    float *errors;
};

/* Vectors as integers of eight bits, for AVX-512 with VNNI. Those of chunk b of vector v, times scale (b, v) and its
   distance from the centre, miss what lies between by at most the error. Queries are in groups, others in tiles. */
class Codes {
  public:
    Codes(const float *centre, int64_t capacity, int64_t dim, bool queries);

    /* Take vectors (count, dim). */
    void load(const float *vectors, int64_t count, const Found &found, int threads);

    const float *centre;
    int64_t count = 0, dim, chunks;
    bool queries;
    int64_t together;      /* vectors of a group or tile */
    int64_t row_bytes;     /* dim, rounded up to whole steps of 4 */
    Lines<uint8_t> packed; /* queries: (groups, chunks, together, 4 steps); else (tiles, chunks, steps, together, 4) */
    Lines<float> scale;    /* (groups or tiles, chunks, together) */
    Lines<int32_t> start;  /* the same, of queries: takes away what the offset of the others adds to their products */

  private:
    void encode(const float *vectors, int64_t begin, int64_t number, const Found &found);
    void spread(const int8_t *codes, int64_t group, int64_t chunk, int64_t row);
};

/* cosines (queries, count), within error + (1 + error of the query) * error + cosine_rounding; and what is found of
   the images. */
void filter_cosines(const Codes &queries, const float *images, int64_t count, const Found &found, float *cosines,
                    int threads);

inline double cosine_rounding(int64_t chunks) { return (double)(chunks + 8) / (1 << 22); }

/* sums (4) += products of one vector with four others, over at most kPart dimensions. */
using AddProducts = void (*)(const float *vector, const float *const *others, int64_t dim, double *sums);

/* Of a kernel that this processor has: vnni, avx2, or any other name for plain C++. */
AddProducts find_products(const char *kernel);

/* squares[v] = |v|^2, as measured; infinite or NaN where a value is. */
void measure_squares(AddProducts add, const float *vectors, int64_t count, int64_t dim, double *squares, int threads);

/* Pairs of an image i and its queries rows[p], for offsets[i] <= p < offsets[i + 1]. */
struct PairList {
    const float *queries, *images;
    int64_t num_queries, num_images, dim;
    const int64_t *offsets;
    const int32_t *rows;
};

/* products[p] of all pairs. */
void measure_products(AddProducts add, const PairList &pairs, double *products, int threads);

struct Side {
    const float *vectors;
    Found found;
    int64_t count;
};

/* The best of each query so far, in any order. Scores are inner products or, by distance,
   (2 products - |query|^2) - |image|^2; equal scores by ascending id. */
struct Best {
    double *scores; /* (queries, k); the first `kept` of each row are there */
    int64_t *ids;
    int64_t k, kept;
};

/* Put the better of some images among the best, which are in order then; kept + images >= k. `cosines` as the filter
   gave them, within both errors and `rounding`; overwritten. `ids` of the images ascend, above those seen before.
   Returns how many pairs had to be measured; if these are more than `most`, nothing is done. */
int64_t improve(AddProducts add, const Side &queries, const Side &images, int64_t dim, float *cosines, double rounding,
                bool by_distance, const int64_t *ids, const Best &best, int64_t most, int threads);

} // namespace flat
