/* SPDX-License-Identifier: Apache-2.0
 * task — the task-vector methods: deltas from the base, thinned out, weighted, added up.
 *
 *     d_i = x_i - base, thinned out, times sum |d_i| / sum |what is left| (rescale), times w_i
 *     consensus: s = the sign of sum d_i, + for 0; only d_i of that sign take part
 *     m = sum d_i; normalize: over the sum of the weights that take part;  out = base + lambda m
 *
 * Thinned out: ties the largest magnitudes of the whole tensor; breadcrumbs the largest but for the
 * gamma n very largest; dare at random; della at random by rank of the magnitude in its row.
 * mergekit 0.1.5, generalized_task_arithmetic. Ranks come from cut.h, with no sorting.
 *
 * Rounds: HIGH and LOW tally the magnitudes' upper and lower halves, SUM counts equal magnitudes at
 * a cut cell by cell and adds up magnitudes for rescaling; those that a tensor does not need are
 * left out. */
#include "merge/methods/task.h"

#include <math.h>

#define SUM_MIN    1e-7 /* mergekit's: below it nothing is rescaled */
#define WEIGHT_MIN 1e-8

enum merge_rows task__rows(const struct merge_case *job, const void *state, int round)
{
    (void)job, (void)state, (void)round;
    return MERGE_ROWS_DELTA;
}

static bool has_cuts(const struct merge_case *job)
{
    for (int m = 1; m < job->models; m++)
        if (task__is_cut(job, m)) return true;
    return false;
}

static bool rescales(const struct merge_case *job)
{
    if (!((const struct task_options *)job->options)->rescale) return false;
    for (int m = 1; m < job->models; m++)
        if (task__is_sparse(job, m)) return true;
    return false;
}

/* Equal magnitudes before each cell, for two cuts of each model; or masks. */
int64_t task__memory_bytes(const struct merge_case *job, int64_t cells)
{
    if (!has_cuts(job)) return task__remembered_bytes(job);
    return cells * 2 * (job->models - 1) * (int64_t)sizeof(int64_t);
}

int64_t task__row(const struct merge_case *job)
{
    return task__variant(job)->sparsify == TASK_RANKED ? merge__row_elems(job->tensor) : 0;
}

int64_t task__tallies(const struct merge_case *job)
{
    return has_cuts(job) ? (int64_t)2 * (job->models - 1) * MERGE_CUT_TALLIES : 0;
}

static enum task_stage first_stage(const struct merge_case *job)
{
    if (has_cuts(job)) return TASK_STAGE_HIGH;
    return rescales(job) ? TASK_STAGE_SUM : TASK_STAGE_END;
}

int task__sums(const struct merge_case *job, const void *state, int round)
{
    const struct task_state *s = state;
    enum task_stage stage = round == 0 ? first_stage(job) : s->stage;
    if (stage == TASK_STAGE_END) return -1;
    return stage == TASK_STAGE_SUM ? 2 * (job->models - 1) : 0;
}

/* ---- reduce ---- */

/* What surely is kept; what a cut through equal magnitudes keeps is added by solve. */
static void keep_surely(const struct merge_block *b, const struct task_state *s, int m,
                        const uint32_t *keys, uint32_t *keep)
{
    const struct merge_cut *low = &s->cuts[m - 1][0], *high = &s->cuts[m - 1][1];
    uint32_t most = high->past_all && !high->split ? UINT32_MAX : high->least;
    bool none = low->past_all && !low->split;
    b->masks->between(keys, b->count, low->least, none ? 0 : most, keep);
}

static void reduce_sums(const struct merge_block *b, const struct task_state *s,
                        double (*sums)[IG_ROWS_LANES])
{
    uint32_t *keys = (uint32_t *)(void *)b->spare[0];
    uint32_t *keep = (uint32_t *)(void *)b->spare[b->job->models];
    bool scaled = rescales(b->job); /* else only equal magnitudes are counted */
    for (int m = 1; m < b->job->models; m++) {
        int at = 2 * (m - 1);
        if (!task__is_sparse(b->job, m)) continue;
        if (task__is_cut(b->job, m)) {
            int64_t *ties = (int64_t *)b->memory + b->cell * 2 * (b->job->models - 1) + at;
            b->masks->magnitudes(b->rows[m], b->count, keys);
            if (scaled) keep_surely(b, s, m, keys, keep);
            for (int c = 0; c < 2; c++)
                if (s->cuts[m - 1][c].split)
                    ties[c] += b->masks->equal(keys, b->elems, s->cuts[m - 1][c].tie);
        } else {
            task__keep(b, s, m, keep);
            task__remember(b, m, keep);
        }
        if (scaled) b->masks->sizes(b->rows[m], keep, b->count, sums[at], sums[at + 1]);
    }
}

void task__reduce(const struct merge_block *b, const void *state, int round,
                  double (*sums)[IG_ROWS_LANES])
{
    const struct task_state *s = state;
    uint32_t *keys = (uint32_t *)(void *)b->spare[0];
    if ((round == 0 ? first_stage(b->job) : s->stage) == TASK_STAGE_SUM) {
        reduce_sums(b, s, sums);
        return;
    }
    for (int m = 1; m < b->job->models; m++) {
        uint64_t *tallies = b->tallies + (int64_t)2 * (m - 1) * MERGE_CUT_TALLIES;
        if (!task__is_cut(b->job, m)) continue;
        b->masks->magnitudes(b->rows[m], b->elems, keys);
        if (round == 0) merge__cut_tally_high(keys, b->elems, tallies);
        for (int c = 0; round > 0 && c < 2; c++)
            merge__cut_tally_low(b->masks, &s->cuts[m - 1][c], keys, b->elems,
                                 tallies + (int64_t)c * MERGE_CUT_TALLIES);
    }
}

/* ---- solve ---- */

static void find_high(const struct merge_case *job, struct task_state *s, const uint64_t *tallies)
{
    for (int m = 1; m < job->models; m++) {
        struct merge_cut *cuts = s->cuts[m - 1];
        if (!task__is_cut(job, m)) continue;
        task__kept_ranks(job, m, &cuts[0].below, &cuts[1].below);
        for (int c = 0; c < 2; c++)
            merge__cut_find_high(&cuts[c], job->tensor->elems,
                                 tallies + (int64_t)2 * (m - 1) * MERGE_CUT_TALLIES);
    }
    s->stage = TASK_STAGE_LOW;
}

static void find_low(const struct merge_case *job, struct task_state *s, const uint64_t *tallies)
{
    bool split = false;
    for (int m = 1; m < job->models; m++) {
        for (int c = 0; task__is_cut(job, m) && c < 2; c++) {
            struct merge_cut *cut = &s->cuts[m - 1][c];
            merge__cut_find_low(cut, tallies + (int64_t)(2 * (m - 1) + c) * MERGE_CUT_TALLIES);
            split = split || cut->split;
        }
    }
    s->stage = split || rescales(job) ? TASK_STAGE_SUM : TASK_STAGE_END;
}

static double round_to_type(enum ig_dtype dtype, double value)
{
    return dtype == IG_F32 ? value : (double)merge__round_one(dtype, (float)value);
}

static void find_scales(const struct merge_case *job, struct task_state *s, const double *sums)
{
    const struct task_options *o = job->options;
    for (int m = 1; m < job->models; m++) {
        double all = sums[2 * (m - 1)], kept = sums[2 * (m - 1) + 1];
        for (int c = 0; task__is_cut(job, m) && c < 2; c++) {
            const struct merge_cut *cut = &s->cuts[m - 1][c];
            double ties = (double)cut->ties_above * (double)merge__magnitude_of_key(cut->tie);
            if (cut->split) kept += c ? -ties : ties;
        }
        s->all[m - 1] = all;
        s->kept[m - 1] = kept;
        all = round_to_type(job->numerics, all);
        kept = round_to_type(job->numerics, kept);
        bool scaled = o->rescale && task__is_sparse(job, m) && all >= SUM_MIN && kept >= SUM_MIN;
        if (scaled) s->scale[m - 1] = round_to_type(job->numerics, all / kept);
    }
    s->stage = TASK_STAGE_END;
}

bool task__solve(const struct merge_case *job, void *state, int round,
                 const struct merge_totals *totals, struct ig_err *err)
{
    (void)err;
    struct task_state *s = state;
    int step = 2 * (job->models - 1);
    if (round == 0) {
        s->stage = first_stage(job);
        for (int m = 0; m < job->models - 1; m++)
            s->scale[m] = 1;
    }
    switch (s->stage) {
    case TASK_STAGE_HIGH: find_high(job, s, totals->tallies); break;
    case TASK_STAGE_LOW: find_low(job, s, totals->tallies); break;
    default:
        for (int i = 0; has_cuts(job) && i < step; i++)
            merge__cut_sum_ties((int64_t *)totals->memory + i, totals->cells, step);
        find_scales(job, s, totals->sums);
    }
    return true;
}

/* ---- map ---- */

static float weight_of(const struct merge_case *job, int m)
{
    return merge__round_one(job->numerics, (float)task__own(job, m)->weight);
}

/* The row's part of the sum: thinned out, rescaled, weighted. */
static void weigh(const struct merge_block *b, const struct task_state *s, int m, float *out)
{
    const struct merge_case *job = b->job;
    uint32_t *keep = (uint32_t *)(void *)b->spare[b->job->models];
    double scale = s->stage == TASK_STAGE_END && s->scale[m - 1] > 0 ? s->scale[m - 1] : 1;
    double weight = task__own(job, m)->weight;
    bool sparse = task__is_sparse(job, m);
    if (sparse && !task__recall(b, m, keep)) task__keep(b, s, m, keep);
    if (job->numerics == IG_F32) {
        b->masks->scale(b->rows[m], sparse ? keep : NULL, (float)(scale * weight), b->count, out);
        return;
    }
    b->masks->scale(b->rows[m], sparse ? keep : NULL, (float)scale, b->count, out);
    merge__round(b, out);
    b->masks->scale(out, NULL, weight_of(job, m), b->count, out);
    merge__round(b, out);
}

static void add_rows(const struct merge_block *b, float *sum)
{
    memset(sum, 0, (size_t)b->count * sizeof *sum);
    for (int m = 1; m < b->job->models; m++)
        b->masks->add(b->spare[m - 1], b->count, sum);
    merge__round(b, sum);
}

/* Sum and divisor of the deltas whose sign is that of their sum. */
static void agree(const struct merge_block *b, const float *sum, float *mixed, float *divisor)
{
    memset(mixed, 0, (size_t)b->count * sizeof *mixed);
    memset(divisor, 0, (size_t)b->count * sizeof *divisor);
    for (int m = 1; m < b->job->models; m++)
        b->masks->agree(sum, b->spare[m - 1], weight_of(b->job, m), b->count, mixed, divisor);
    merge__round(b, mixed);
    merge__round(b, divisor);
}

static void divide_by_weights(const struct merge_block *b, float *mixed)
{
    double sum = 0;
    for (int m = 1; m < b->job->models; m++)
        sum += (double)weight_of(b->job, m);
    float divisor = merge__round_one(b->job->numerics, (float)sum);
    if (fabs((double)divisor) < WEIGHT_MIN) return;
    for (int64_t i = 0; i < b->count; i++)
        mixed[i] /= divisor;
    merge__round(b, mixed);
}

void task__map(const struct merge_block *b, const void *state, float *out)
{
    const struct task_state *s = state;
    const struct task_options *o = b->job->options;
    int k = b->job->models;
    float *sum = b->spare[k - 1], *divisor = b->spare[k];
    float lambda = (float)o->lambda;
    for (int m = 1; m < k; m++)
        weigh(b, s, m, b->spare[m - 1]);
    if (task__variant(b->job)->consensus) {
        add_rows(b, sum);
        agree(b, sum, out, divisor);
        if (o->normalize) {
            b->masks->divide(divisor, b->count, out);
            merge__round(b, out);
        }
    } else {
        add_rows(b, out);
        if (o->normalize) divide_by_weights(b, out);
    }
    if (lambda != 1) {
        b->masks->scale(out, NULL, lambda, b->count, out);
        merge__round(b, out);
    }
    b->masks->add(b->rows[0], b->count, out);
    merge__round(b, out);
}
