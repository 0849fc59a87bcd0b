/* Which pairs of queries and images are measured. */
#include "flat.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "variants.h"

namespace flat {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/* The filter is far better than its bound: so much of the bound is allowed for where guessing is enough. */
constexpr double kGuess = 0.1;
constexpr float kNever = -std::numeric_limits<float>::infinity();

/* Pairs by query and by image. */
struct Pairs {
    std::vector<std::vector<int32_t>> of_query; /* ascending */
    std::vector<int64_t> offsets;               /* of images */
    std::vector<int32_t> rows;
    std::vector<double> products;

    explicit Pairs(int64_t queries) : of_query(queries) {}

    void sort_by_image(int64_t images)
    {
        offsets.assign(images + 1, 0);
        for (const auto &chosen : of_query)
            for (int32_t j : chosen) offsets[j + 1]++;
        for (int64_t j = 0; j < images; j++) offsets[j + 1] += offsets[j];
        rows.resize(offsets[images]);
        products.resize(offsets[images]);
        std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
        for (size_t i = 0; i < of_query.size(); i++)
            for (int32_t j : of_query[i]) rows[next[j]++] = (int32_t)i;
    }
};

/* A vector as the filter sees it. */
struct Seen {
    double norm;  /* from the centre */
    double shift; /* what its inner products gain by the centre */
    double slack; /* of norm^2 and shift, which are rounded */
    double error;
};

Seen see(const Found &found, int64_t v)
{
    const double norm = found.norms[v], square = found.squares[v];
    return {norm, (square - norm * norm) / 2, 4e-6 * norm * norm + 1e-14 * square, found.errors[v]};
}

/* `cosines` of a query become greatest scores; `guesses`: scores that are likely to be exceeded. */
KERNEL_CLONES
void bound_row(float *cosines, Seen query, const Seen *images, int64_t count, bool by_distance, float *guesses)
{
    constexpr float largest = std::numeric_limits<float>::max();
    for (int64_t j = 0; j < count; j++) {
        const Seen image = images[j];
        const double scale = (by_distance ? 2 : 1) * query.norm * image.norm;
        const double known = by_distance ? -(query.norm * query.norm + image.norm * image.norm)
                                         : query.shift + image.shift;
        const double error = query.error + (1 + query.error) * image.error;
        const double width = scale * error + query.slack + image.slack;
        const double middle = known + scale * cosines[j], high = middle + width;
        /* Infinite, or NaN where a query of unknown cosines meets an image of known ones; the rest may be NaN too. */
        const bool unknown = !(error < kInfinity);
        guesses[j] = unknown ? -largest : (float)(middle - kGuess * width);
        cosines[j] = unknown ? largest : (float)(high + std::fabs(high) * 1e-7 + 1e-40);
    }
}

/* A search on its way; see `improve`. */
class Search {
  public:
    Search(AddProducts add_products, const Side &asked, const Side &searched, int64_t dimensions, float *cosines,
           bool distance, const int64_t *image_ids, const Best &the_best, int number)
        : add(add_products), queries(asked), images(searched), dim(dimensions), upper(cosines), by_distance(distance),
          ids(image_ids), best(the_best), threads(number), pairs(asked.count), limits(asked.count),
          found(asked.count)
    {
        for (int64_t j = 0; j < images.count; j++) seen.push_back(see(images.found, j));
    }

    /* Turn cosines into greatest scores, and guess the last score that will be kept. */
    void bound(double rounding)
    {
#pragma omp parallel num_threads(threads)
        {
            std::vector<float> guesses;
#pragma omp for
            for (int64_t i = 0; i < queries.count; i++) {
                guesses.resize(images.count);
                Seen query = see(queries.found, i);
                query.error += rounding;
                bound_row(upper + i * images.count, query, seen.data(), images.count, by_distance, guesses.data());
                const double *scores = best.scores + i * best.k;
                guesses.insert(guesses.end(), scores, scores + best.kept);
                std::nth_element(guesses.begin(), guesses.begin() + best.k - 1, guesses.end(), std::greater<float>());
                limits[i] = guesses[best.k - 1];
            }
        }
    }

    /* Choose the images that reach the limit of a query and were not measured; returns how many. */
    int64_t choose()
    {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 8)
        for (int64_t i = 0; i < queries.count; i++) {
            const float *row = upper + i * images.count;
            std::vector<int32_t> &chosen = pairs.of_query[i];
            chosen.clear();
            for (int64_t j = 0; j < images.count; j++)
                if (row[j] >= limits[i] && row[j] > kNever) chosen.push_back((int32_t)j);
        }
        pairs.sort_by_image(images.count);
        return pairs.rows.size();
    }

    /* Measure what was chosen; the limits become scores that k images reach. */
    void measure()
    {
        const PairList list = {queries.vectors, images.vectors,       queries.count,    images.count,
                               dim,             pairs.offsets.data(), pairs.rows.data()};
        measure_products(add, list, pairs.products.data(), threads);
        for (int64_t j = 0; j < images.count; j++)
            for (int64_t p = pairs.offsets[j]; p < pairs.offsets[j + 1]; p++) {
                const int64_t i = pairs.rows[p];
                const double product = pairs.products[p];
                const double score =
                    by_distance ? 2 * product - queries.found.squares[i] - images.found.squares[j] : product;
                found[i].emplace_back(-score, ids[j]);
                upper[i * images.count + j] = kNever;
            }
    }

    void set_limits()
    {
        for (int64_t i = 0; i < queries.count; i++) {
            auto &row = found[i];
            const double *scores = best.scores + i * best.k;
            for (int64_t n = 0; n < best.kept; n++) row.emplace_back(-scores[n], best.ids[i * best.k + n]);
            limits[i] = -kInfinity;
            if ((int64_t)row.size() < best.k) continue;
            std::nth_element(row.begin(), row.begin() + best.k - 1, row.end());
            limits[i] = -row[best.k - 1].first;
        }
    }

    void keep_best()
    {
#pragma omp parallel for num_threads(threads)
        for (int64_t i = 0; i < queries.count; i++) {
            std::partial_sort(found[i].begin(), found[i].begin() + best.k, found[i].end());
            for (int64_t n = 0; n < best.k; n++) {
                best.scores[i * best.k + n] = -found[i][n].first;
                best.ids[i * best.k + n] = found[i][n].second;
            }
        }
    }

  private:
    AddProducts add;
    const Side &queries, &images;
    int64_t dim;
    float *upper; /* (queries, images) greatest scores; kNever once measured */
    bool by_distance;
    const int64_t *ids;
    const Best &best;
    int threads;
    Pairs pairs;
    std::vector<double> limits;                                   /* of the scores that matter */
    std::vector<std::vector<std::pair<double, int64_t>>> found;   /* negative scores and ids */
    std::vector<Seen> seen; /* images */
};

} // namespace

int64_t improve(AddProducts add, const Side &queries, const Side &images, int64_t dim, float *cosines, double rounding,
                bool by_distance, const int64_t *ids, const Best &best, int64_t most, int threads)
{
    Search search(add, queries, images, dim, cosines, by_distance, ids, best, threads);
    search.bound(rounding);
    const int64_t likely = search.choose();
    if (likely > most) return likely;
    search.measure();
    search.set_limits();
    /* What the guess left out by mistake, most often nothing. */
    const int64_t missed = search.choose();
    if (missed > 0) search.measure();
    search.keep_best();
    return likely + missed;
}

} // namespace flat
