/* The search around the filters: what is kept, what is measured, and who does it. */
#include "nearest.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

namespace nearest {
namespace {

/* Norms between which the filter cannot over- or underflow in float32. */
constexpr double kSmallest = 1e-10, kLargest = 1e15;
/* Smallest unit of a product of two integers that is told from 0. */
constexpr double kUnit = 1e-30;
/* Dozens of roundings of float32, and a little for bounds that are themselves computed. */
constexpr double kSlack = 1.0 / (1 << 20), kAbove = 1 + 1e-6;

double norm_of(const float *vector, int64_t dim, int64_t *bad)
{
    double sum = 0;
    for (int64_t d = 0; d < dim; d++) {
        const double value = vector[d];
        *bad += !std::isfinite(vector[d]);
        sum += value * value;
    }
    return std::sqrt(sum);
}

float largest(const float *values, int64_t count)
{
    float found = 0;
    for (int64_t d = 0; d < count; d++) found = std::fabs(values[d]) > found ? std::fabs(values[d]) : found;
    return found;
}

bool any_at_most(const float *bias, const float *products, float limit)
{
    unsigned any = 0;
    for (int64_t j = 0; j < kTile; j++) any |= bias[j] + products[j] <= limit;
    return any != 0;
}

int32_t nearest_integer(double value) { return (int32_t)std::lrint(value); }

/* Vectors are turned if that reduces the mean of their largest values below this share. */
constexpr double kWorthTurning = 0.7;
constexpr int64_t kSample = 64;

/* Signs, then the fast Walsh-Hadamard transform of `span` (a power of two) values, made orthonormal. */
void turn_span(float *values, const float *signs, int64_t span)
{
    for (int64_t d = 0; d < span; d++) values[d] *= signs[d];
    for (int64_t half = 1; half < span; half *= 2)
        for (int64_t start = 0; start < span; start += 2 * half) {
            float *low = values + start, *high = low + half;
            for (int64_t d = 0; d < half; d++) {
                const float sum = low[d] + high[d], difference = low[d] - high[d];
                low[d] = sum;
                high[d] = difference;
            }
        }
    const float factor = (float)(1 / std::sqrt((double)span));
    for (int64_t d = 0; d < span; d++) values[d] *= factor;
}

} // namespace

Database::Database(const Kernel &chosen, const float *array, int64_t count, int64_t dimensions, bool distance,
                   int threads)
    : kernel(chosen), vectors(array), size(count), dim(dimensions), steps((dimensions + 3) / 4),
      tiles((count + kTile - 1) / kTile), by_distance(distance), order(count), bias(tiles * kTile), tile_norm(tiles),
      tile_residual(tiles)
{
    std::vector<double> norms(size);
    float value_found = 0;
    int64_t bad_found = 0;
#pragma omp parallel for num_threads(threads) reduction(max : value_found) reduction(+ : bad_found)
    for (int64_t id = 0; id < size; id++) {
        norms[id] = norm_of(vectors + id * dim, dim, &bad_found);
        value_found = std::max(value_found, largest(vectors + id * dim, dim));
    }
    bad = bad_found;
    norm = *std::max_element(norms.begin(), norms.end());
    usable = bad == 0 && norm >= kSmallest && norm <= kLargest && dim <= 60000;
    arrange(norms);
    if (!usable || kernel.filter == nullptr) return;
    decide_turning();
    if (turned) {
        value_found = 0;
#pragma omp parallel num_threads(threads) reduction(max : value_found)
        {
            Lines<float> room(dim);
#pragma omp for
            for (int64_t id = 0; id < size; id++)
                value_found = std::max(value_found, largest(seen(vectors + id * dim, room.get()), dim));
        }
    }
    scale = value_found / kernel.levels;
    packed.resize(tiles * steps * kTile * 4);
    double residual_found = 0;
#pragma omp parallel for num_threads(threads) reduction(max : residual_found)
    for (int64_t tile = 0; tile < tiles; tile++) {
        pack(tile);
        residual_found = std::max(residual_found, (double)tile_residual[tile]);
    }
    residual = residual_found;
}

const float *Database::seen(const float *vector, float *room) const
{
    if (!turned) return vector;
    std::copy(vector, vector + dim, room);
    turn_span(room, signs_.data(), span_);
    if (span_ < dim) turn_span(room + dim - span_, signs_.data() + span_, span_);
    return room;
}

/* A pass is exact but for one rounding of each value in each of its log2(span) sums, one of the factor and one of
   the product with it. Each moves the vector by at most 2^-24 of its norm, which the pass keeps. */
void Database::decide_turning()
{
    int stages = 0;
    for (; 2 * span_ <= dim; span_ *= 2) stages++;
    uint64_t state = 1;
    signs_.resize(2 * span_);
    for (float &sign : signs_) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        sign = state >> 63 ? -1.0f : 1.0f;
    }
    turned = true;
    Lines<float> room(dim);
    const int64_t sample = std::min(size, kSample);
    double before = 0, after = 0;
    for (int64_t n = 0; n < sample; n++) {
        const float *vector = vectors + n * size / sample * dim;
        before += largest(vector, dim);
        after += largest(seen(vector, room.get()), dim);
    }
    turned = after < kWorthTurning * before;
    if (turned) turn_error = 1.01 * (span_ < dim ? 2 : 1) * (stages + 2) / (1 << 24);
}

void Database::arrange(const std::vector<double> &norms)
{
    std::iota(order.begin(), order.end(), 0);
    if (usable && by_distance && kernel.filter != nullptr)
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return norms[a] < norms[b]; });
    std::fill(bias.get(), bias.get() + tiles * kTile, std::numeric_limits<float>::infinity());
    for (int64_t place = 0; place < size; place++) {
        const double length = norms[order[place]];
        float &in_tile = tile_norm[place / kTile];
        in_tile = std::max(in_tile, (float)(length * kAbove));
        bias[place] = by_distance ? (float)(length * length) : 0.0f;
    }
}

void Database::pack(int64_t tile)
{
    uint8_t *out = packed.get() + tile * steps * kTile * 4;
    std::memset(out, kernel.offset, steps * kTile * 4);
    const double inverse = 1 / scale;
    double in_tile = 0;
    Lines<float> room(turned ? dim : 0);
    for (int64_t j = 0; j < std::min(kTile, size - tile * kTile); j++) {
        const float *vector = seen(vectors + order[tile * kTile + j] * dim, room.get());
        double sum = 0;
        for (int64_t d = 0; d < dim; d++) {
            const int32_t code = nearest_integer(vector[d] * inverse);
            const double rest = vector[d] - scale * code;
            sum += rest * rest;
            out[(d / 4 * kTile + j) * 4 + d % 4] = (uint8_t)(code + kernel.offset);
        }
        in_tile = std::max(in_tile, sum);
    }
    tile_residual[tile] = (float)(std::sqrt(in_tile) * kAbove);
}

double Database::measure(const float *query, int64_t id) const
{
    const float *vector = vectors + id * dim;
    return by_distance ? kernel.squared_distance(query, vector, dim) : -kernel.inner_product(query, vector, dim);
}

Block::Block(const Database &base, int64_t neighbours)
    : database(base), k(neighbours), error(kBlock), values(kBlock * kTile), hits(kBlock), column_hits(kBlock),
      measured(kBlock), codes_(kBlock * base.steps * 4), scale_(kBlock), limit_(kBlock), kth_(kBlock),
      by_norm_(kBlock), by_residual_(kBlock), slack_(kBlock), start_(kBlock), best_(kBlock * neighbours),
      square_(kBlock), room_(base.dim), capacity_(1024 + 8 * neighbours)
{
    candidates_.resize(kBlock * capacity_);
    kept_.resize(kBlock);
}

int64_t Block::begin(const float *vectors, int64_t number)
{
    queries = vectors;
    count = number;
    int64_t bad = 0;
    for (int64_t i = 0; i < kBlock; i++) {
        kth_[i] = kFar;
        kept_[i] = 0;
        measured[i] = 0;
        scale_[i] = by_norm_[i] = by_residual_[i] = slack_[i] = 0;
        start_[i] = 0;
        if (i < count) {
            norm_of(vectors + i * database.dim, database.dim, &bad);
            begin_query(i);
        } else {
            kth_[i] = -kFar; /* padding: nothing is near it */
            std::memset(codes_.get() + i * database.steps * 4, 0, database.steps * 4);
        }
    }
    std::fill(best_.begin(), best_.end(), kFar);
    return bad;
}

void Block::begin_query(int64_t i)
{
    const float *query = queries + i * database.dim;
    int8_t *codes = codes_.get() + i * database.steps * 4;
    const int64_t dim = database.dim;
    int64_t bad = 0;
    const double length = norm_of(query, dim, &bad);
    const double sum_of_norms = length + database.norm;
    const double wider = 1 + database.turn_error; /* turned vectors may be this much longer */
    double around = length, rest = 0, scale = 0;
    std::memset(codes, 0, database.steps * 4);
    square_[i] = length * length;
    if (!database.usable || !(length <= kLargest)) {
        measured[i] = 1;
        kth_[i] = -kFar;
        return;
    }
    if (database.kernel.filter != nullptr) {
        query = database.seen(query, room_.get());
        scale = largest(query, dim) / 127.0;
    }
    if (database.kernel.filter == nullptr) {
        /* Products by BLAS, in any order of summation: |error| <= d u / (1 - d u) |q||c|. */
        rest = length * 1.01 * (dim + 4) / (1 << 24);
    } else if (scale * database.scale < kUnit) {
        rest = length;
        around = 0;
    } else {
        int32_t sum = 0;
        const double inverse = 1 / scale;
        for (int64_t d = 0; d < dim; d++) {
            const int32_t code = nearest_integer(query[d] * inverse);
            const double difference = query[d] - scale * code;
            rest += difference * difference;
            sum += code;
            codes[d] = (int8_t)code;
        }
        rest = std::sqrt(rest);
        around = length * wider + rest;
        start_[i] = -database.kernel.offset * sum;
        scale_[i] = (float)(2 * scale * database.scale);
    }
    by_norm_[i] = (float)(2 * rest * wider * kAbove);
    by_residual_[i] = (float)(2 * around * kAbove);
    /* Turning keeps q.c. With errors of at most e|q| and e|c|, the product of the turned vectors as computed differs
       from it by at most (2e + e^2)|q||c|, and twice that counts. 1e-30 covers values that underflow. */
    const double turning = 4.1 * database.turn_error * (length + 1e-30) * (database.norm + 1e-30);
    slack_[i] = (float)(turning + kSlack * (database.norm * database.norm + 2 * around * (database.norm + database.residual)) +
                        (double)dim / (1LL << 50) * sum_of_norms * sum_of_norms);
}

void Block::limits(int64_t tile)
{
    const float norm = database.tile_norm[tile], residual = database.tile_residual[tile];
    float *errors = error.get(), *limit = limit_.get();
    const float *kth = kth_.get(), *by_norm = by_norm_.get(), *by_residual = by_residual_.get(), *slack = slack_.get();
    for (int64_t i = 0; i < kBlock; i++) {
        errors[i] = by_norm[i] * norm + by_residual[i] * residual + slack[i];
        limit[i] = kth[i] + errors[i];
    }
}

void Block::filter(int64_t tile, float *column_upper)
{
    for (int64_t i = count; column_upper != nullptr && i < kBlock; i++) error[i] = kFar;
    TileTask task;
    task.tile = database.packed.get() + tile * database.steps * kTile * 4;
    task.steps = database.steps;
    task.queries = codes_.get();
    task.count = (count + 5) / 6 * 6;
    task.bias = database.bias.get() + tile * kTile;
    task.scale = scale_.get();
    task.start = start_.get();
    task.limit = limit_.get();
    task.error = error.get();
    task.column_upper = column_upper;
    task.hits = hits.get();
    task.column_hits = column_hits.get();
    task.values = values.get();
    database.kernel.filter(task);
}

void Block::take(int64_t tile, int64_t i, uint64_t found, const float *row)
{
    for (; found != 0; found &= found - 1) {
        const int64_t j = __builtin_ctzll(found);
        const float low = row[j] - error[i];
        if (low <= kth_[i]) keep(i, low, row[j] + error[i], database.order[tile * kTile + j]);
    }
}

void Block::keep(int64_t i, float low, float high, int64_t id)
{
    if (high < kth_[i]) {
        float *best = best_.data() + i * k;
        int64_t place = k - 1;
        for (; place > 0 && best[place - 1] > high; place--) best[place] = best[place - 1];
        best[place] = high;
        kth_[i] = best[k - 1];
    }
    candidates_[i * capacity_ + kept_[i]++] = {low, (int32_t)id};
    if (kept_[i] == capacity_) {
        tighten(i);
        if (kept_[i] > capacity_ / 2) {
            measured[i] = 1;
            kth_[i] = -kFar;
        }
    }
}

void Block::tighten(int64_t i)
{
    Candidate *row = candidates_.data() + i * capacity_;
    const float limit = kth_[i];
    kept_[i] = std::remove_if(row, row + kept_[i], [limit](const Candidate &c) { return c.low > limit; }) - row;
}

void Block::take_products(int64_t i, const float *products, int64_t first, int64_t number)
{
    for (int64_t start = 0; start < number; start += kTile) {
        const int64_t tile = (first + start) / kTile, width = std::min(kTile, number - start);
        const float *bias = database.bias.get() + tile * kTile, *here = products + start;
        const float wide = by_norm_[i] * database.tile_norm[tile] + slack_[i];
        if (width == kTile && !any_at_most(bias, here, kth_[i] + wide)) continue;
        for (int64_t j = 0; j < width; j++) {
            const float sum = bias[j] + here[j];
            if (sum - wide <= kth_[i]) keep(i, sum - wide, sum + wide, tile * kTile + j);
        }
    }
}

void Block::finish(int64_t i, int64_t *ids, double *measures)
{
    const float *query = queries + i * database.dim;
    found_.clear();
    if (measured[i]) {
        for (int64_t id = 0; id < database.size; id++) found_.emplace_back(database.measure(query, id), id);
        std::partial_sort(found_.begin(), found_.begin() + k, found_.end());
    } else {
        measure_candidates(i);
    }
    for (int64_t n = 0; n < k; n++) {
        measures[n] = found_[n].first;
        ids[n] = found_[n].second;
    }
}

/* The k nearest among the candidates, the most promising first: most others need not be measured. */
void Block::measure_candidates(int64_t i)
{
    tighten(i);
    const float *query = queries + i * database.dim;
    Candidate *row = candidates_.data() + i * capacity_;
    const int64_t number = kept_[i];
    for (int64_t c = 0; c < number; c++) __builtin_prefetch(database.vectors + row[c].id * database.dim);
    std::sort(row, row + number, [](const Candidate &a, const Candidate &b) { return a.low < b.low; });
    double limit = std::numeric_limits<double>::infinity();
    for (int64_t c = 0; c < number && row[c].low <= limit; c++) {
        const std::pair<double, int64_t> next(database.measure(query, row[c].id), row[c].id);
        if ((int64_t)found_.size() == k) {
            if (!(next < found_.back())) continue;
            found_.pop_back();
        }
        found_.insert(std::upper_bound(found_.begin(), found_.end(), next), next);
        if ((int64_t)found_.size() == k) {
            const double kth = found_.back().first;
            limit = database.by_distance ? kth - square_[i] : 2 * kth;
        }
    }
}

int64_t search(const Database &database, const float *queries, int64_t count, int64_t k, int64_t *ids,
               double *measures, int threads)
{
    int64_t bad = 0;
#pragma omp parallel num_threads(threads) reduction(+ : bad)
    {
        Block block(database, k);
#pragma omp for schedule(dynamic)
        for (int64_t start = 0; start < count; start += kBlock) {
            const int64_t bad_here = block.begin(queries + start * database.dim, std::min(kBlock, count - start));
            bad += bad_here;
            if (bad_here > 0) continue;
            for (int64_t tile = 0; database.usable && tile < database.tiles; tile++) {
                block.limits(tile);
                block.filter(tile, nullptr);
                for (int64_t i = 0; i < block.count; i++)
                    if (block.hits[i] != 0) block.take(tile, i, block.hits[i], block.values.get() + kTile * i);
            }
            for (int64_t i = 0; i < block.count; i++)
                block.finish(i, ids + (start + i) * k, measures + (start + i) * k);
        }
    }
    return bad;
}

} // namespace nearest
