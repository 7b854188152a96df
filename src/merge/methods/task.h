/* SPDX-License-Identifier: Apache-2.0
 * task — what task.c (the rounds, the output) and task_options.c (the eight methods' tables) share.
 */
#pragma once
#include "merge/methods/cut.h"

enum task_sparsify { TASK_WHOLE, TASK_LARGEST, TASK_MIDDLE, TASK_RANDOM, TASK_RANKED };

struct task_variant {
    enum task_sparsify sparsify;
    bool consensus;
};

struct task_options {
    double lambda;
    bool normalize, rescale, int8_mask;
};

struct task_model_options {
    double weight, density, gamma, epsilon;
};

enum task_stage { TASK_STAGE_HIGH, TASK_STAGE_LOW, TASK_STAGE_SUM, TASK_STAGE_END };

struct task_state {
    enum task_stage stage;
    struct merge_cut cuts[MERGE_MODELS_MAX]
                         [2]; /* the least that is kept; where the largest start */
    double all[MERGE_MODELS_MAX], kept[MERGE_MODELS_MAX]; /* sums of magnitudes */
    double scale[MERGE_MODELS_MAX];                       /* what rescaling multiplies by */
};

enum merge_rows task__rows(const struct merge_case *job, const void *state, int round);
int64_t task__memory_bytes(const struct merge_case *job, int64_t cells);
int64_t task__row(const struct merge_case *job);
int64_t task__tallies(const struct merge_case *job);
int task__sums(const struct merge_case *job, const void *state, int round);
void task__reduce(const struct merge_block *block, const void *state, int round,
                  double (*sums)[IG_ROWS_LANES]);
bool task__solve(const struct merge_case *job, void *state, int round,
                 const struct merge_totals *totals, struct ig_err *err);
void task__map(const struct merge_block *block, const void *state, float *out);

static inline const struct task_variant *task__variant(const struct merge_case *job)
{
    return job->method->variant;
}
/* Of row `row`, which is no base. */
static inline const struct task_model_options *task__own(const struct merge_case *job, int row)
{
    return merge__model_option(job, sizeof(struct task_model_options), row);
}
/* Whether the row's delta is thinned out at all. */
static inline bool task__is_sparse(const struct merge_case *job, int row)
{
    return task__variant(job)->sparsify != TASK_WHOLE && task__own(job, row)->density < 1;
}

/* sparsify.c: all ones in keep where the element of the row's delta is kept, else 0. */
void task__keep(const struct merge_block *block, const struct task_state *s, int row,
                uint32_t *keep);
/* A random mask that costs more to find than to keep: bytes for a tensor's, 0 when they are not
 * kept; keeping the one of a block; taking it back, false when it is not kept. */
int64_t task__remembered_bytes(const struct merge_case *job);
void task__remember(const struct merge_block *block, int row, const uint32_t *keep);
bool task__recall(const struct merge_block *block, int row, uint32_t *keep);
/* Whether the row is kept by cuts, and not wholly or not at all. */
bool task__is_cut(const struct merge_case *job, int row);
/* Elements that are kept when it is by cuts: ranks first .. end - 1 of ascending magnitude. */
void task__kept_ranks(const struct merge_case *job, int row, int64_t *first, int64_t *end);
