/* SPDX-License-Identifier: Apache-2.0
 * arcee_fusion — the other model's values where they matter, the base's elsewhere, as mergekit has
 * it but for its sampling (above 10^6 elements it estimates the quantiles from 10^6 random ones):
 *
 *     p, q = softmax of the model's and the base's row (the last dimension), + 1e-8
 *     importance = |x - base| sum p ln(p / q) over the row
 *     kept where it is at least median + 1.5 (Q3 - Q1), quartiles being the elements of rank
 *     floor(share (n - 1)), exactly: cut.h
 *
 * exp and ln are in f64 (masks_loops.h). */
#include "merge/methods/cut.h"

#define EPS   1e-8 /* mergekit's */
#define FENCE 1.5
#define CUTS  3

struct state {
    struct merge_cut cuts[CUTS];
    double quartiles[CUTS];
    float threshold;
};

static enum merge_rows rows(const struct merge_case *job, const void *state, int round)
{
    (void)job, (void)state, (void)round;
    return MERGE_ROWS_PLAIN;
}

static int64_t row(const struct merge_case *job)
{
    return merge__row_elems(job->tensor);
}

/* The divergence of each row, so that it is computed once. */
static int64_t memory_bytes(const struct merge_case *job, int64_t cells)
{
    (void)cells;
    return job->tensor->elems / row(job) * (int64_t)sizeof(double);
}

static int64_t tallies(const struct merge_case *job)
{
    (void)job;
    return (int64_t)CUTS * MERGE_CUT_TALLIES;
}

static int sums(const struct merge_case *job, const void *state, int round)
{
    (void)job, (void)state;
    return round < 2 ? 0 : -1;
}

/* spare is one piece of memory: two of its rows hold a row of f64. */
static double divergence(const struct merge_block *b)
{
    double factors[2], sums[IG_MASKS_LANES] = {0};
    double *of[2] = {(double *)(void *)b->spare[0], (double *)(void *)b->spare[2]};
    for (int i = 0; i < 2; i++) {
        const float *row = b->rows[1 - i];
        double totals[IG_MASKS_LANES] = {0};
        uint32_t *keys = (uint32_t *)(void *)b->spare[4];
        b->masks->value_keys(row, b->elems, keys);
        float top = merge__value_of_key(b->masks->largest(keys, b->elems));
        b->masks->exponentials(row, top, b->elems, of[i], totals);
        factors[i] = 1 / merge__lane_sum(totals);
    }
    b->masks->divergence(of[0], of[1], factors, EPS, b->elems, sums);
    return merge__lane_sum(sums);
}

static double *divergence_of(const struct merge_block *b)
{
    return (double *)b->memory + b->first / row(b->job);
}

static void importances(const struct merge_block *b, float *out)
{
    float factor = (float)*divergence_of(b);
    b->masks->apart(b->rows[0], b->rows[1], factor, b->elems, out);
}

static void reduce(const struct merge_block *b, const void *state, int round,
                   double (*out)[IG_ROWS_LANES])
{
    (void)out;
    const struct state *s = state;
    float *importance = b->spare[0];
    uint32_t *keys = (uint32_t *)(void *)b->spare[1];
    if (round == 0) *divergence_of(b) = divergence(b);
    importances(b, importance);
    b->masks->value_keys(importance, b->elems, keys);
    if (round == 0) merge__cut_tally_high(keys, b->elems, b->tallies);
    for (int c = 0; round == 1 && c < CUTS; c++)
        merge__cut_tally_low(b->masks, &s->cuts[c], keys, b->elems,
                             b->tallies + (int64_t)c * MERGE_CUT_TALLIES);
}

/* The value of the element of that rank: the least that is above the cut. */
static double value_at(struct merge_cut *cut, const uint64_t *tallies)
{
    if (cut->below <= 0) cut->below = 0;
    uint32_t low = 0;
    int64_t rest = cut->rest;
    while (low + 1 < MERGE_CUT_TALLIES && rest >= (int64_t)tallies[low])
        rest -= (int64_t)tallies[low++];
    return (double)merge__value_of_key(cut->bucket << 16 | low);
}

static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    (void)err;
    struct state *s = state;
    int64_t n = job->tensor->elems;
    for (int c = 0; c < CUTS; c++) {
        if (round == 0) {
            s->cuts[c].below = (c + 1) * (n - 1) / 4;
            merge__cut_find_high(&s->cuts[c], n, totals->tallies);
        } else {
            s->quartiles[c] =
                value_at(&s->cuts[c], totals->tallies + (int64_t)c * MERGE_CUT_TALLIES);
        }
    }
    s->threshold = (float)(s->quartiles[1] + FENCE * (s->quartiles[2] - s->quartiles[0]));
    return true;
}

static void map(const struct merge_block *b, const void *state, float *out)
{
    const struct state *s = state;
    float *importance = b->spare[0];
    importances(b, importance);
    b->masks->choose(importance, s->threshold, b->rows[0], b->rows[1], b->elems, out);
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    (void)job;
    const struct state *s = state;
    merge__put_reals(w, "quartiles", s->quartiles, CUTS);
    ig_json_add_real(w, "threshold", (double)s->threshold);
}

const struct merge_method merge__arcee_fusion = {
    .name = "arcee_fusion",
    .summary = "the other model's values where they matter most, the base's elsewhere",
    .source = "mergekit 0.1.5, arcee_fusion",
    .models_min = 2,
    .models_max = 2,
    .base = MERGE_BASE_REQUIRED,
    .state_bytes = sizeof(struct state),
    .memory_bytes = memory_bytes,
    .row = row,
    .tallies = tallies,
    .rows = rows,
    .sums = sums,
    .reduce = reduce,
    .solve = solve,
    .map = map,
    .trace = trace,
};
