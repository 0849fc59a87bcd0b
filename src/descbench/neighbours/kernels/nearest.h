/* Exact nearest vectors behind an approximate filter: what the files of this folder share.

   A filter compares vectors of 8-bit (7-bit without VNNI) integers. With q = q' + r and c = c' + s, where
   q' and c' are what the integers stand for, Cauchy and Schwarz give

       |q.c - q'.c'| <= |r||c| + |q'||s|,

   so that |c|^2 - 2 q.c, which orders vectors by their distance from q, is known within twice that (and a
   little for the rounding of float32). Whatever could still be among the k nearest is measured in float64:
   the result is that of comparing everything in float64, on every processor and with any number of threads. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace nearest {

constexpr int64_t kTile = 64;   /* database vectors that are filtered together */
constexpr int64_t kBlock = 96;  /* queries that meet a tile while it is in the first cache */
constexpr float kFar = 1e37f;   /* above every value that passes the filter, below infinity */

/* One tile against one block of queries.
   tile:    for each 4 dimensions, those of each of the 64 vectors, plus an offset: unsigned.
   queries: (count, 4 * steps) signed; count is a multiple of 6.
   bias:    of each vector, ascending.
   The value of vector j for query i is bias[j] - scale[i] * (start[i] + dot product of the integers).
   hits[i]: bit j is set if that value is at most limit[i]; then values[64 * i + j] is written for all j.
   If column_upper is given, the roles are also exchanged: column_upper[j] becomes the least of itself and
   value + error[i], and bit j of column_hits[i] is set if value - error[i] is at most that. */
struct TileTask {
    const uint8_t *tile;
    int64_t steps;
    const int8_t *queries;
    int64_t count;
    const float *bias;
    const float *scale;
    const int32_t *start;
    const float *limit;
    const float *error;
    float *column_upper;
    uint64_t *hits;
    uint64_t *column_hits;
    float *values;
};

/* What an instruction set has to offer. `filter` is absent where dot products come from elsewhere (portable).
   The float64 functions add up dimension d in lane d % 8, one after the other, and then
   ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)); no fused multiply-add: all instruction sets give the same bits. */
struct Kernel {
    void (*filter)(const TileTask &);
    double (*squared_distance)(const float *, const float *, int64_t);
    double (*inner_product)(const float *, const float *, int64_t);
    int32_t levels; /* database vectors become integers -levels..levels */
    int32_t offset; /* and are stored with this added */
};

extern const Kernel kVnni, kAvx2, kPortable;

/* The kernel of that name, or null if this processor or this build lacks it. */
const Kernel *find_kernel(const char *name);

inline double add_lanes(const double *lanes)
{
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/* Memory on a cache line of its own. */
template <class T> class Lines {
  public:
    explicit Lines(size_t count = 0) { resize(count); }
    Lines(const Lines &) = delete;
    Lines &operator=(const Lines &) = delete;
    ~Lines() { std::free(data_); }
    void resize(size_t count)
    {
        std::free(data_);
        data_ = static_cast<T *>(std::aligned_alloc(64, (count * sizeof(T) / 64 + 1) * 64));
        if (data_ == nullptr) throw std::bad_alloc();
    }
    T *get() { return data_; }
    const T *get() const { return data_; }
    T &operator[](size_t i) { return data_[i]; }
    const T &operator[](size_t i) const { return data_[i]; }

  private:
    T *data_ = nullptr;
};

/* Vectors to be found, (size, dim) float32; the array must outlive this. By distance, or by inner product. */
class Database {
  public:
    Database(const Kernel &kernel, const float *vectors, int64_t size, int64_t dim, bool by_distance, int threads);

    const Kernel &kernel;
    const float *vectors;
    int64_t size, dim, steps, tiles;
    bool by_distance;
    bool usable;                      /* false: norms that float32 cannot square; everything is measured */
    double scale = 0, norm = 0, residual = 0; /* of an integer; largest |c| and |s| */
    /* Id of each packed vector. By distance: in order of the norms, so that the near ones, which are mostly short, come
       early, and one limit serves a whole tile. By inner product, and for the portable kernel: 0, 1, 2... */
    std::vector<int32_t> order;
    Lines<uint8_t> packed;            /* (tiles, steps, 64, 4) */
    Lines<float> bias;                /* (tiles, 64) */
    std::vector<float> tile_norm, tile_residual;
    int64_t bad = 0;                  /* values that are not finite */

    /* Whether the filter sees the vectors turned: one scale serves all dimensions, which wastes most of the range of
       the integers where a few dimensions hold the large values. Measuring always uses the vectors themselves. */
    bool turned = false;
    double turn_error = 0; /* |turned vector as computed - as it would be exactly| over its norm */

    double measure(const float *query, int64_t id) const; /* smaller is nearer */
    /* What the filter sees of this vector: itself, or `room` (dim floats) filled with its turned values. */
    const float *seen(const float *vector, float *room) const;

  private:
    void decide_turning();
    std::vector<float> signs_; /* of the first pass, then of the second */
    int64_t span_ = 1;         /* largest power of two that is at most dim */
    void arrange(const std::vector<double> &norms); /* set order, bias and tile_norm */
    void pack(int64_t tile);
};

struct Candidate {
    float low; /* the value is not below this */
    int32_t id;
};

/* A block of at most kBlock queries on its way through the database. */
class Block {
  public:
    Block(const Database &database, int64_t k);

    /* Start with these queries, (count, dim) float32; returns how many values are not finite. */
    int64_t begin(const float *queries, int64_t count);
    void limits(int64_t tile);                  /* set the error and limit of each query for this tile */
    void filter(int64_t tile, float *column_upper); /* fills hits, column_hits, values */
    void take(int64_t tile, int64_t query, uint64_t hits, const float *values);
    /* A row of -2 q.c by BLAS for vectors first..first + count - 1 (first is a multiple of 64). */
    void take_products(int64_t query, const float *products, int64_t first, int64_t count);
    void finish(int64_t query, int64_t *ids, double *measures);

    const Database &database;
    const float *queries = nullptr;
    int64_t count = 0, k;
    Lines<float> error, values;
    Lines<uint64_t> hits, column_hits;
    std::vector<char> measured; /* queries that the filter cannot serve */

  private:
    void begin_query(int64_t query);
    void tighten(int64_t query);
    void measure_candidates(int64_t query);
    void keep(int64_t query, float low, float high, int64_t id);

    Lines<int8_t> codes_;
    Lines<float> scale_, limit_, kth_, by_norm_, by_residual_, slack_;
    Lines<int32_t> start_;
    std::vector<float> best_;           /* (kBlock, k) least upper bounds, ascending */
    std::vector<Candidate> candidates_; /* (kBlock, capacity_) */
    std::vector<int64_t> kept_;
    std::vector<double> square_;        /* |q|^2 */
    Lines<float> room_;                 /* a turned query */
    int64_t capacity_;
    std::vector<std::pair<double, int64_t>> found_;
};

/* ids (count, k) and measures (count, k; smaller is nearer) of queries (count, dim). Not for the portable kernel.
   Returns how many values are not finite (then the result means nothing). */
int64_t search(const Database &database, const float *queries, int64_t count, int64_t k, int64_t *ids,
               double *measures, int threads);

/* For each query the nearest vector of the database, and for each vector of the database that is the nearest of
   some query its nearest query (-1 elsewhere), ties to the lowest id. False: not possible in bounded memory, or with
   these norms; search both ways instead. */
bool search_mutual(const Database &database, const float *queries, int64_t count, int64_t *nearest_vector,
                   double *measures, int64_t *nearest_query, int threads);

/* Means of points by cluster, as faiss.Clustering rounds them: float32 sums in the order of the points, times the
   float32 inverse of the count. Clusters without points keep their centroids. */
void cluster_means(const float *points, int64_t count, int64_t dim, const int64_t *clusters, int64_t num_clusters,
                   float *centroids, int64_t *sizes, int threads);

} // namespace nearest
