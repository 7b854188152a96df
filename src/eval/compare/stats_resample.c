/* SPDX-License-Identifier: Apache-2.0
 * stats_resample — the stratified paired bootstrap and sign-flip tests.
 *
 * Draws come from a counter: the n-th number of a stream is SplitMix64's output function (Steele,
 * Lea, Flood 2014) of key + n * golden ratio, so a round's numbers depend on seed, round and place
 * only, and not on which thread makes them. Bootstrap: Efron and Tibshirani 1993, percentile
 * intervals; sign flips: Fisher 1935, p = (1 + k) / (1 + rounds) when drawn (Phipson and Smyth
 * 2010). */
#include "eval/compare/stats.h"

#include <math.h>
#include <stdlib.h>

#define EXACT_MAX    20  /* up to 2^20 signs are all tried */
#define BLOCK_ROUNDS 250 /* of one task of the pool */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ x >> 31;
}
static uint64_t draw(uint64_t key, uint64_t n)
{
    return mix(key + (n + 1) * 0x9E3779B97F4A7C15u);
}
static uint64_t stream(uint64_t seed, uint64_t kind, uint64_t stratum, uint64_t round)
{
    return draw(draw(draw(mix(seed), kind), stratum), round);
}

/* ---- one round ---- */

/* The difference of one task in clusters drawn with replacement. 32 bits an index: the chance of
 * each is off by less than count / 2^32. */
static double drawn_difference(const struct eval_stratum *s, uint64_t key)
{
    int64_t sum = 0, items = 0;
    for (int64_t i = 0; i < s->count; i++) {
        uint64_t word = draw(key, (uint64_t)i);
        uint64_t place = (word >> 32) * (uint64_t)s->count >> 32;
        sum += s->sums[place];
        items += s->sizes[place];
    }
    return items ? (double)sum / (double)items : 0;
}

static double flipped_sum(const double *x, int64_t count, uint64_t key)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i += 64) {
        uint64_t word = draw(key, (uint64_t)i);
        int64_t end = i + 64 < count ? i + 64 : count;
        for (int64_t j = i; j < end; j++, word >>= 1)
            sum += x[j] * (double)(1 - 2 * (int)(word & 1));
    }
    return sum;
}

/* ---- all rounds ---- */

struct rounds {
    const struct eval_stratum *strata; /* drawn from; NULL: x is flipped */
    int count;
    const double *x;
    int64_t x_count;
    uint64_t seed;
    int64_t total;
    double *out; /* one a round */
};

static void one_round(const struct rounds *r, int64_t round)
{
    double sum = 0;
    if (!r->strata) {
        r->out[round] = flipped_sum(r->x, r->x_count, stream(r->seed, 1, 0, (uint64_t)round));
        return;
    }
    for (int t = 0; t < r->count; t++)
        sum += drawn_difference(&r->strata[t], stream(r->seed, 0, (uint64_t)t, (uint64_t)round));
    r->out[round] = sum / r->count;
}

static bool run_block(void *user, int thread, int64_t block, struct ig_err *err)
{
    const struct rounds *r = user;
    (void)thread;
    (void)err;
    int64_t end = (block + 1) * BLOCK_ROUNDS;
    for (int64_t i = block * BLOCK_ROUNDS; i < end && i < r->total; i++)
        one_round(r, i);
    return true;
}

static bool run_rounds(struct rounds *r, struct ig_pool *pool, struct ig_err *err)
{
    return ig_pool_each(pool, (r->total + BLOCK_ROUNDS - 1) / BLOCK_ROUNDS, run_block, r, err);
}

/* Sums of the same numbers in another order differ in their last digits: as far counts as at least
 * as far. */
static double share_as_far(const double *values, int64_t count, double observed)
{
    int64_t as_far = 0;
    double limit = fabs(observed) * (1 - 1e-12);
    for (int64_t i = 0; i < count; i++)
        as_far += fabs(values[i]) >= limit;
    return (double)(1 + as_far) / (double)(1 + count);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two neighbours of rank share * (count - 1), as numpy and R have it. */
static double quantile(const double *sorted, int64_t count, double share)
{
    double rank = share * (double)(count - 1);
    int64_t below = (int64_t)rank;
    if (below + 1 >= count) return sorted[count - 1];
    return sorted[below] + (rank - (double)below) * (sorted[below + 1] - sorted[below]);
}

static void summarise(double *drawn, int64_t count, struct eval_resampled *out)
{
    double mean = 0, square = 0, below = 0, n = (double)count;
    for (int64_t i = 0; i < count; i++) {
        mean += drawn[i] / n;
        below += drawn[i] < 0 ? 1 : drawn[i] == 0 ? 0.5 : 0;
    }
    for (int64_t i = 0; i < count; i++)
        square += (drawn[i] - mean) * (drawn[i] - mean);
    qsort(drawn, (size_t)count, sizeof *drawn, by_value);
    out->interval.low = quantile(drawn, count, 0.025);
    out->interval.high = quantile(drawn, count, 0.975);
    out->error = count > 1 ? sqrt(square / (n - 1)) : 0;
    out->p = fmin(1, 2 * (1 + fmin(below, n - below)) / (1 + n));
}

bool eval__bootstrap(const struct eval_stratum *strata, int count, int64_t rounds, uint64_t seed,
                     struct ig_pool *pool, struct eval_resampled *out, struct ig_err *err)
{
    struct rounds r = {.strata = strata, .count = count, .seed = seed, .total = rounds};
    r.out = calloc((size_t)rounds, sizeof *r.out);
    bool ok = r.out || ig_err_nomem(err);
    ok = ok && run_rounds(&r, pool, err);
    if (ok) summarise(r.out, rounds, out);
    free(r.out);
    return ok;
}

/* All 2^count signs, in the order of the binary numbers. */
static double exact_flip(const double *x, int64_t count, double observed)
{
    int64_t as_far = 0, total = (int64_t)1 << count;
    double limit = fabs(observed) * (1 - 1e-12);
    for (int64_t signs = 0; signs < total; signs++) {
        double sum = 0;
        for (int64_t i = 0; i < count; i++)
            sum += signs >> i & 1 ? -x[i] : x[i];
        as_far += fabs(sum) >= limit;
    }
    return (double)as_far / (double)total;
}

bool eval__sign_flip(const double *x, int64_t count, int64_t rounds, uint64_t seed,
                     struct ig_pool *pool, double *p, struct ig_err *err)
{
    double observed = 0;
    for (int64_t i = 0; i < count; i++)
        observed += x[i];
    if (count <= EXACT_MAX) {
        *p = exact_flip(x, count, observed);
        return true;
    }
    struct rounds r = {.x = x, .x_count = count, .seed = seed, .total = rounds};
    r.out = calloc((size_t)rounds, sizeof *r.out);
    bool ok = r.out || ig_err_nomem(err);
    ok = ok && run_rounds(&r, pool, err);
    if (ok) *p = share_as_far(r.out, rounds, observed);
    free(r.out);
    return ok;
}
