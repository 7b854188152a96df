/* SPDX-License-Identifier: Apache-2.0
 * sparsify — which elements of a delta the task-vector methods keep (task.c says how they go on).
 *
 *     ties         the floor(density n) largest, at least one; none at density 0
 *     breadcrumbs  n_keep = floor(density n), n_top = floor(gamma n): the n_keep largest but for
 *                  the n_top very largest (as many of those as there are others to take)
 *     dare         each with probability density
 *     della        each with probability density - epsilon + 2 epsilon (rank - 1) / (n - 1), its
 *                  rank by magnitude in its row of n (the last dimension) */
#include "merge/methods/task.h"

#include "merge/random.h"

#define RADIX  256
#define DIGITS 4

bool task__is_cut(const struct merge_case *job, int row)
{
    enum task_sparsify kind = task__variant(job)->sparsify;
    return (kind == TASK_LARGEST || kind == TASK_MIDDLE) && task__is_sparse(job, row);
}

void task__kept_ranks(const struct merge_case *job, int row, int64_t *first, int64_t *end)
{
    const struct task_model_options *own = task__own(job, row);
    int64_t n = job->tensor->elems, keep = (int64_t)(own->density * (double)n);
    *end = n;
    if (task__variant(job)->sparsify == TASK_LARGEST) {
        if (keep < 1 && own->density > 0) keep = 1;
        *first = n - keep;
        return;
    }
    int64_t top = (int64_t)(own->gamma * (double)n);
    *first = n - keep - top > 0 ? n - keep - top : 0;
    *end = *first + keep;
}

static void keep_between(const struct merge_block *b, const struct task_state *s, int row,
                         uint32_t *keep)
{
    const struct merge_cut *cuts = s->cuts[row - 1];
    int step = 2 * (b->job->models - 1);
    int64_t *ties = (int64_t *)b->memory + b->cell * step + 2 * (row - 1);
    uint32_t *keys = (uint32_t *)(void *)b->spare[b->job->models - 1];
    b->masks->magnitudes(b->rows[row], b->count, keys);
    merge__cut_above(b->masks, &cuts[0], keys, b->count, &ties[0], keep);
    if (cuts[1].past_all && !cuts[1].split) return;
    uint32_t above[IG_ROWS_BLOCK];
    merge__cut_above(b->masks, &cuts[1], keys, b->count, &ties[1], above);
    for (int64_t i = 0; i < b->count; i++)
        keep[i] &= ~above[i];
}

static void keep_at_random(const struct merge_block *b, int row, uint32_t *keep)
{
    double density = task__own(b->job, row)->density;
    uint64_t stream = merge__random_stream(b->job->seed, row);
    uint64_t least = density > 0 ? (uint64_t)(density * 0x1p32) : 0;
    b->masks->draw(stream, (uint64_t)b->first, b->count, least, keep);
}

/* The elements of a row in ascending order of key, equal ones by index: a radix sort. */
static const uint32_t *sort(const uint32_t *keys, int64_t n, uint32_t *order, uint32_t *other)
{
    uint32_t counts[DIGITS][RADIX] = {{0}};
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < DIGITS; d++)
            counts[d][keys[i] >> 8 * d & 0xFF]++;
    for (int64_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (int d = 0; d < DIGITS; d++) {
        uint32_t at = 0, *swap = order;
        for (int r = 0; r < RADIX; r++) {
            uint32_t here = counts[d][r];
            counts[d][r] = at;
            at += here;
        }
        for (int64_t i = 0; i < n; i++)
            other[counts[d][keys[order[i]] >> 8 * d & 0xFF]++] = order[i];
        order = other;
        other = swap;
    }
    return order;
}

static void keep_by_rank(const struct merge_block *b, int row, uint32_t *keep)
{
    const struct task_model_options *own = task__own(b->job, row);
    uint64_t stream = merge__random_stream(b->job->seed, row);
    int64_t n = b->elems;
    uint32_t *keys = (uint32_t *)(void *)b->spare[b->job->models - 1];
    uint32_t *order = (uint32_t *)(void *)b->spare[b->job->models + 1];
    uint32_t *other = (uint32_t *)(void *)b->spare[b->job->models + 2];
    memset(keep, 0, (size_t)b->count * sizeof *keep);
    if (own->density <= 0) return;
    b->masks->magnitudes(b->rows[row], n, keys);
    const uint32_t *sorted = sort(keys, n, order, other);
    for (int64_t rank = 0; rank < n; rank++) {
        double place = n > 1 ? (double)rank / (double)(n - 1) : 0.5;
        double p = own->density + own->epsilon * (2 * place - 1);
        uint32_t at = sorted[rank];
        uint32_t drawn = merge__random_at(stream, (uint64_t)b->first + at);
        keep[at] = drawn < (uint64_t)(p * 0x1p32) ? UINT32_MAX : 0;
    }
}

void task__keep(const struct merge_block *b, const struct task_state *s, int row, uint32_t *keep)
{
    switch (task__variant(b->job)->sparsify) {
    case TASK_RANDOM: keep_at_random(b, row, keep); break;
    case TASK_RANKED: keep_by_rank(b, row, keep); break;
    default: keep_between(b, s, row, keep);
    }
}
