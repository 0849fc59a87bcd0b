/* Nearest neighbours both ways in one pass over the products. */
#include "nearest.h"

#include <algorithm>

namespace nearest {
namespace {

/* A query that may be the nearest one of a vector. */
struct Pair {
    float low;
    int32_t vector;
    int64_t query;
};

struct Pairs {
    std::vector<Pair> all;
    Lines<float> upper; /* of each vector: the value of its nearest query is not above this */
    size_t capacity;
    bool full = false;

    explicit Pairs(const Database &database)
        : upper(database.tiles * kTile), capacity((1 << 20) + 64 * (size_t)database.size)
    {
        std::fill(upper.get(), upper.get() + database.tiles * kTile, kFar);
    }

    void take(const Block &block, int64_t start, int64_t tile)
    {
        for (int64_t i = 0; i < block.count; i++)
            for (uint64_t hits = block.column_hits[i]; hits != 0; hits &= hits - 1) {
                const int64_t j = __builtin_ctzll(hits);
                all.push_back({block.values[kTile * i + j] - block.error[i], (int32_t)(tile * kTile + j), start + i});
            }
        if (all.size() > capacity) {
            tighten(upper.get());
            full |= all.size() > capacity / 2;
        }
    }

    void tighten(const float *limits)
    {
        const auto far = [limits](const Pair &pair) { return pair.low > limits[pair.vector]; };
        all.erase(std::remove_if(all.begin(), all.end(), far), all.end());
    }
};

} // namespace

bool search_mutual(const Database &database, const float *queries, int64_t count, int64_t *nearest_vector,
                   double *measures, int64_t *nearest_query, int threads)
{
    bool failed = !database.usable;
    if (failed) return false;
    Lines<float> upper(database.tiles * kTile);
    std::fill(upper.get(), upper.get() + database.tiles * kTile, kFar);
    std::vector<Pair> pairs;
#pragma omp parallel num_threads(threads) reduction(|| : failed)
    {
        Block block(database, 1);
        Pairs mine(database);
#pragma omp for schedule(dynamic)
        for (int64_t start = 0; start < count; start += kBlock) {
            if (failed || mine.full) continue;
            const int64_t bad = block.begin(queries + start * database.dim, std::min(kBlock, count - start));
            failed = bad > 0 || std::any_of(block.measured.begin(), block.measured.end(), [](char m) { return m; });
            if (failed) continue;
            for (int64_t tile = 0; tile < database.tiles && !mine.full; tile++) {
                block.limits(tile);
                block.filter(tile, mine.upper.get() + tile * kTile);
                for (int64_t i = 0; i < block.count; i++)
                    if (block.hits[i] != 0) block.take(tile, i, block.hits[i], block.values.get() + kTile * i);
                mine.take(block, start, tile);
            }
            for (int64_t i = 0; i < block.count; i++)
                block.finish(i, nearest_vector + start + i, measures + start + i);
        }
        failed = failed || mine.full;
        mine.tighten(mine.upper.get());
#pragma omp critical
        {
            pairs.insert(pairs.end(), mine.all.begin(), mine.all.end());
            for (int64_t j = 0; j < database.size; j++) upper[j] = std::min(upper[j], mine.upper[j]);
        }
    }
    if (failed) return false;
    std::vector<double> best(database.size);
    std::fill(nearest_query, nearest_query + database.size, -1);
    std::vector<char> wanted(database.size);
    for (int64_t i = 0; i < count; i++) wanted[nearest_vector[i]] = 1;
    for (const Pair &pair : pairs) {
        const int64_t j = pair.vector;
        if (!wanted[j] || pair.low > upper[j]) continue;
        const double measure = database.measure(queries + pair.query * database.dim, j);
        if (nearest_query[j] < 0 || measure < best[j] || (measure == best[j] && pair.query < nearest_query[j])) {
            best[j] = measure;
            nearest_query[j] = pair.query;
        }
    }
    return true;
}

} // namespace nearest
