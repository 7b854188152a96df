/* SPDX-License-Identifier: Apache-2.0
 * sce — select, calculate, erase (arXiv 2408.07990, as mergekit has it). d_i = x_i - base:
 *
 *     select     where the variance over the models is among the floor(select_topk n) largest, n
 *                counting those that are not 0; elsewhere d_i = 0. select_topk >= 1: everywhere
 *     calculate  w_i = mean d_i^2 over the sum of those (1/N when it is under 1e-6)
 *     erase      d_i whose sign is not that of sum d_i (+ for 0)
 *     out = base + sum w_i d_i / max(sum w_i, 1e-6), over what is left at each element
 *
 * The variance's rank comes from cut.h; equal variances at it are taken by index. */
#include "merge/methods/cut.h"

#include <math.h>

#define WEIGHT_MIN 1e-6 /* mergekit's */

struct options {
    double select_topk;
    bool int8_mask;
};
enum stage { STAGE_HIGH, STAGE_LOW, STAGE_TIES, STAGE_ENERGY, STAGE_END };
struct state {
    enum stage stage;
    struct merge_cut cut;
    double nonzero, weight[MERGE_MODELS_MAX];
};

static const struct ig_opt options[] = {
    IG_OPT_REAL(struct options, select_topk, "select_topk", 0, "SHARE", "1", 0, 0,
                "share of the elements, by variance over the models, that is kept"),
    IG_OPT_FLAG(struct options, int8_mask, "int8_mask", 0,
                "mergekit's way to save memory; of no effect"),
    IG_OPT_END,
};

static double topk_of(const struct merge_case *job)
{
    return ((const struct options *)job->options)->select_topk;
}

static bool selects(const struct merge_case *job)
{
    return topk_of(job) < 1 && job->models > 1;
}

static enum merge_rows rows(const struct merge_case *job, const void *state, int round)
{
    (void)job, (void)state, (void)round;
    return MERGE_ROWS_DELTA;
}

static int64_t memory_bytes(const struct merge_case *job, int64_t cells)
{
    return selects(job) ? cells * (int64_t)sizeof(int64_t) : 0;
}

static int64_t tallies(const struct merge_case *job)
{
    return selects(job) ? MERGE_CUT_TALLIES : 0;
}

static enum stage stage_of(const struct merge_case *job, const struct state *s, int round)
{
    if (round > 0) return s->stage;
    if (job->models == 1) return STAGE_END;
    return selects(job) && topk_of(job) > 0 ? STAGE_HIGH : STAGE_ENERGY;
}

static int sums(const struct merge_case *job, const void *state, int round)
{
    switch (stage_of(job, state, round)) {
    case STAGE_HIGH: return 1;
    case STAGE_ENERGY: return job->models - 1;
    case STAGE_END: return -1;
    default: return 0;
    }
}

/* Population variance over the models, in spare[0]. */
static const float *variance(const struct merge_block *b)
{
    float *out = b->spare[0];
    b->masks->variance(b->rows + 1, b->job->models - 1, b->count, b->spare[1], out);
    merge__round(b, out);
    return out;
}

/* The models' deltas where they are selected, else 0; as rows 0 .. N-1 of spare. */
static void select_rows(const struct merge_block *b, const struct state *s)
{
    int n = b->job->models - 1;
    uint32_t *keep = (uint32_t *)(void *)b->spare[n], *keys = (uint32_t *)(void *)b->spare[n + 1];
    if (!selects(b->job)) {
        for (int m = 0; m < n; m++)
            memcpy(b->spare[m], b->rows[m + 1], (size_t)b->count * sizeof(float));
        return;
    }
    if (topk_of(b->job) <= 0) {
        for (int m = 0; m < n; m++)
            memset(b->spare[m], 0, (size_t)b->count * sizeof(float));
        return;
    }
    int64_t before = ((const int64_t *)b->memory)[b->cell], ties = before + b->passed[0];
    b->masks->magnitudes(variance(b), b->count, keys);
    merge__cut_above(b->masks, &s->cut, keys, b->count, &ties, keep);
    b->passed[0] = ties - before;
    for (int m = 0; m < n; m++)
        b->masks->scale(b->rows[m + 1], keep, 1, b->count, b->spare[m]);
}

static void add_energies(const struct merge_block *b, double (*out)[IG_ROWS_LANES])
{
    const float *one;
    for (int m = 0; m < b->job->models - 1; m++) {
        float *d = b->spare[m];
        if (b->job->numerics == IG_F32) {
            one = d;
            b->ops->gram(&one, 1, b->count, &out[m]);
            continue;
        }
        for (int64_t i = 0; i < b->count; i++)
            d[i] *= d[i];
        merge__round(b, d);
        for (int64_t i = 0; i < b->count; i++)
            out[m][i % IG_ROWS_LANES] += (double)d[i];
    }
}

static void reduce(const struct merge_block *b, const void *state, int round,
                   double (*out)[IG_ROWS_LANES])
{
    const struct state *s = state;
    enum stage stage = stage_of(b->job, s, round);
    if (stage == STAGE_ENERGY) {
        select_rows(b, s);
        add_energies(b, out);
        return;
    }
    const float *v = variance(b);
    uint32_t *keys = (uint32_t *)(void *)b->spare[1];
    b->masks->magnitudes(v, b->elems, keys);
    if (stage == STAGE_LOW) {
        merge__cut_tally_low(b->masks, &s->cut, keys, b->elems, b->tallies);
    } else if (stage == STAGE_TIES) {
        ((int64_t *)b->memory)[b->cell] += b->masks->equal(keys, b->elems, s->cut.tie);
    } else {
        merge__cut_tally_high(keys, b->elems, b->tallies);
        out[0][0] += (double)(b->elems - b->masks->equal(keys, b->elems, 0));
    }
}

static void find_weights(const struct merge_case *job, struct state *s, const double *energies)
{
    int n = job->models - 1;
    double sum = 0;
    for (int m = 0; m < n; m++) {
        double mean = energies[m] / (double)job->tensor->elems;
        s->weight[m] = (double)merge__round_one(job->numerics, (float)mean);
        sum += s->weight[m];
    }
    sum = (double)merge__round_one(job->numerics, (float)sum);
    for (int m = 0; m < n; m++) {
        s->weight[m] = fabs(sum) < WEIGHT_MIN ? 1.0 / n : s->weight[m] / sum;
        s->weight[m] = (double)merge__round_one(job->numerics, (float)s->weight[m]);
    }
    s->stage = STAGE_END;
}

static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    (void)err;
    struct state *s = state;
    int64_t n = job->tensor->elems, *ties = totals->memory;
    switch (stage_of(job, s, round)) {
    case STAGE_HIGH:
        s->nonzero = totals->sums[0];
        s->cut.below = n - (int64_t)(s->nonzero * topk_of(job));
        merge__cut_find_high(&s->cut, n, totals->tallies);
        s->stage = STAGE_LOW;
        break;
    case STAGE_LOW:
        merge__cut_find_low(&s->cut, totals->tallies);
        s->stage = s->cut.split ? STAGE_TIES : STAGE_ENERGY;
        break;
    case STAGE_TIES:
        merge__cut_sum_ties(ties, totals->cells, 1);
        s->stage = STAGE_ENERGY;
        break;
    default: find_weights(job, s, totals->sums);
    }
    return true;
}

static void map(const struct merge_block *b, const void *state, float *out)
{
    const struct state *s = state;
    int n = b->job->models - 1;
    bool stepwise = b->job->numerics != IG_F32;
    float *sum = b->spare[n], *divisor = b->spare[n + 1], *aside = b->spare[n + 2];
    select_rows(b, s);
    memset(sum, 0, (size_t)b->count * sizeof *sum);
    for (int m = 0; m < n; m++)
        b->masks->add(b->spare[m], b->count, sum);
    merge__round(b, sum);
    memset(out, 0, (size_t)b->count * sizeof *out);
    memset(divisor, 0, (size_t)b->count * sizeof *divisor);
    memset(aside, 0, (size_t)b->count * sizeof *aside);
    for (int m = 0; m < n; m++) {
        float w = (float)s->weight[m], *d = b->spare[m];
        /* who agrees is said before the product is rounded, perhaps to 0 */
        if (stepwise) b->masks->agree(sum, d, w, b->count, aside, divisor);
        b->masks->scale(d, NULL, w, b->count, d);
        merge__round(b, d);
        b->masks->agree(sum, d, w, b->count, out, stepwise ? aside : divisor);
    }
    merge__round(b, out);
    merge__round(b, divisor);
    float least = merge__round_one(b->job->numerics, (float)WEIGHT_MIN);
    b->masks->divide_least(divisor, least, b->count, out);
    merge__round(b, out);
    b->masks->add(b->rows[0], b->count, out);
    merge__round(b, out);
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    const struct state *s = state;
    merge__put_reals(w, "weight", s->weight, job->models - 1);
    if (!selects(job) || topk_of(job) <= 0) return;
    ig_json_add_int(w, "kept", job->tensor->elems - s->cut.below);
    ig_json_add_real(w, "variance_threshold",
                     (double)merge__magnitude_of_key(s->cut.split ? s->cut.tie : s->cut.least));
}

const struct merge_method merge__sce = {
    .name = "sce",
    .summary = "deltas where the models vary most, by energy, of the sign that prevails",
    .source = "mergekit 0.1.5, sce; arXiv 2408.07990",
    .options = options,
    .options_bytes = sizeof(struct options),
    .models_min = 1,
    .models_max = MERGE_MODELS_MAX - 1,
    .base = MERGE_BASE_REQUIRED,
    .stepwise = true,
    .state_bytes = sizeof(struct state),
    .memory_bytes = memory_bytes,
    .tallies = tallies,
    .rows = rows,
    .sums = sums,
    .reduce = reduce,
    .solve = solve,
    .map = map,
    .trace = trace,
};
