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

#include "merge/methods/random.h"

#define RADIX       256
#define DIGITS      4
#define BUCKETS     2048
#define BUCKETS_MIN 512
#define BUCKET_BITS 18 /* 512 buckets: 32 for each power of two, 16 powers */
#define FEW         64

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
    const int64_t *before = (const int64_t *)b->memory + b->cell * step + 2 * (row - 1);
    int64_t *passed = b->passed + 2 * (row - 1);
    int64_t ties[] = {before[0] + passed[0], before[1] + passed[1]};
    uint32_t *keys = (uint32_t *)(void *)b->spare[b->job->models - 1];
    b->masks->magnitudes(b->rows[row], b->count, keys);
    merge__cut_above(b->masks, &cuts[0], keys, b->count, &ties[0], keep);
    passed[0] = ties[0] - before[0];
    if (cuts[1].past_all && !cuts[1].split) return;
    uint32_t above[IG_ROWS_BLOCK];
    merge__cut_above(b->masks, &cuts[1], keys, b->count, &ties[1], above);
    passed[1] = ties[1] - before[1];
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

/* What a row is thinned out by. */
struct ranks {
    uint64_t stream, first;
    uint64_t base, step; /* of the bounds, in 2^-56 */
    int64_t n;
    const uint32_t *keys;
    uint32_t floor; /* keys up to it are in bucket 0 */
    int shift;      /* keys of a bucket: 2^shift */
    int buckets;
};

/* A number under this keeps the element of that rank, from 0. It rises with the rank. */
static uint64_t bound_of(const struct ranks *r, int64_t rank)
{
    return (r->base + (uint64_t)rank * r->step) >> 24;
}

static void set_bounds(struct ranks *r, const struct task_model_options *own)
{
    double lowest = r->n > 1 ? own->density - own->epsilon : own->density;
    r->base = (uint64_t)(lowest * 0x1p56);
    r->step = r->n > 1 ? (uint64_t)(2 * own->epsilon * 0x1p56 / (double)(r->n - 1)) : 0;
}

static uint64_t number_of(const struct ranks *r, int64_t element)
{
    return merge__random_at(r->stream, r->first + (uint64_t)element);
}

static uint32_t bucket_of(const struct ranks *r, uint32_t key)
{
    return key > r->floor ? (key - r->floor) >> r->shift : 0;
}

static void keep_sorted(const struct ranks *r, uint32_t *order, uint32_t *other, uint32_t *keep)
{
    const uint32_t *sorted = sort(r->keys, r->n, order, other);
    for (int64_t rank = 0; rank < r->n; rank++)
        keep[sorted[rank]] = number_of(r, sorted[rank]) < bound_of(r, rank) ? UINT32_MAX : 0;
}

/* Sorts a few elements by key, equal ones by index, as they come. False: they are many, and in no
 * order. */
static bool sort_few(const uint32_t *keys, uint32_t *members, uint32_t count)
{
    uint32_t sorted = 1;
    while (sorted < count && keys[members[sorted - 1]] <= keys[members[sorted]])
        sorted++;
    if (sorted < count && count > FEW) return false;
    for (uint32_t i = sorted; i < count; i++) {
        uint32_t member = members[i], at = i;
        for (; at > 0 && keys[members[at - 1]] > keys[member]; at--)
            members[at] = members[at - 1];
        members[at] = member;
    }
    return true;
}

/* Of the elements in the buckets where some are open the ranks are found exactly. False as
 * sort_few. */
static bool keep_flagged(const struct ranks *r, const uint32_t *start, uint32_t *order,
                         uint32_t *keep)
{
    uint32_t fill[BUCKETS] = {0};
    bool flagged[BUCKETS] = {false};
    for (int64_t i = 0; i < r->n; i++)
        if (keep[i] == 1) flagged[bucket_of(r, r->keys[i])] = true;
    for (int64_t i = 0; i < r->n; i++) {
        uint32_t bucket = bucket_of(r, r->keys[i]);
        if (flagged[bucket]) order[start[bucket] + fill[bucket]++] = (uint32_t)i;
    }
    for (int k = 0; k < r->buckets; k++) {
        if (!flagged[k]) continue;
        if (!sort_few(r->keys, order + start[k], fill[k])) return false;
        for (uint32_t rank = start[k]; rank < start[k] + fill[k]; rank++) {
            uint32_t at = order[rank];
            if (keep[at] == 1) keep[at] = number_of(r, at) < bound_of(r, rank) ? UINT32_MAX : 0;
        }
    }
    return true;
}

/* Long rows have finer buckets: what is open in a bucket is found by looking through the row. */
static void set_buckets(struct ranks *r, uint32_t most)
{
    r->buckets = BUCKETS_MIN;
    r->shift = BUCKET_BITS;
    while (r->buckets < BUCKETS && r->buckets < r->n / 2) {
        r->buckets *= 2;
        r->shift--;
    }
    uint32_t span = (uint32_t)(r->buckets - 1) << r->shift;
    r->floor = most > span ? most - span : 0;
}

/* Four tables, so that equal neighbours do not wait for each other. */
static void count_buckets(const struct ranks *r, const uint16_t *bucket, uint32_t *counts)
{
    uint32_t table[3][BUCKETS];
    size_t bytes = (size_t)r->buckets * sizeof *counts;
    int64_t i = 0;
    memset(counts, 0, bytes);
    for (int t = 0; t < 3; t++)
        memset(table[t], 0, bytes);
    for (; i + 4 <= r->n; i += 4) {
        counts[bucket[i]]++;
        table[0][bucket[i + 1]]++;
        table[1][bucket[i + 2]]++;
        table[2][bucket[i + 3]]++;
    }
    for (; i < r->n; i++)
        counts[bucket[i]]++;
    for (int k = 0; k < r->buckets; k++)
        counts[k] += table[0][k] + table[1][k] + table[2][k];
}

/* Most numbers decide without the rank: they are under the bounds of the element's whole bucket, or
 * over. Where one is between them, the element's rank is found. */
static void keep_by_rank(const struct merge_block *b, int row, uint32_t *keep)
{
    int models = b->job->models;
    uint32_t *keys = (uint32_t *)(void *)b->spare[models - 1];
    uint32_t *numbers = (uint32_t *)(void *)b->spare[models + 1];
    uint32_t *order = (uint32_t *)(void *)b->spare[models + 2];
    uint16_t *bucket = (uint16_t *)(void *)order;
    const struct task_model_options *own = task__own(b->job, row);
    struct ranks r = {.stream = merge__random_stream(b->job->seed, row),
                      .first = (uint64_t)b->first,
                      .n = b->elems,
                      .keys = keys};
    uint32_t counts[BUCKETS], start[BUCKETS + 1], limits[BUCKETS];
    uint32_t list[IG_MASKS_LISTED];
    memset(keep + r.n, 0, (size_t)(b->count - r.n) * sizeof *keep);
    if (own->density <= 0) {
        memset(keep, 0, (size_t)r.n * sizeof *keep);
        return;
    }
    set_bounds(&r, own);
    b->masks->magnitudes(b->rows[row], r.n, keys);
    b->masks->numbers(r.stream, r.first, r.n, numbers);
    set_buckets(&r, b->masks->largest(keys, r.n));
    b->masks->buckets(keys, r.n, r.floor, r.shift, bucket);
    count_buckets(&r, bucket, counts);
    b->masks->bounds(counts, r.buckets, r.base, r.step, start, limits);
    int64_t open = b->masks->judge(numbers, bucket, limits, r.n, keep, list);
    if (open > IG_MASKS_LISTED) {
        if (!keep_flagged(&r, start, order, keep)) keep_sorted(&r, numbers, order, keep);
        return;
    }
    for (int64_t i = 0; i < open; i++) {
        int64_t rank = b->masks->rank(keys, r.n, list[i]);
        keep[list[i]] = numbers[list[i]] < bound_of(&r, rank) ? UINT32_MAX : 0;
    }
}

/* ---- masks that are kept from a reduction to the map ---- */

#define REMEMBERED_MAX ((int64_t)128 << 20)

static int64_t bits_of_row(const struct merge_case *job)
{
    return (merge__row_elems(job->tensor) + 15) / 16 * 2;
}

int64_t task__remembered_bytes(const struct merge_case *job)
{
    int64_t row = merge__row_elems(job->tensor);
    bool rescaled = ((const struct task_options *)job->options)->rescale; /* else drawn once */
    if (task__variant(job)->sparsify != TASK_RANKED || !rescaled || row == 0) return 0;
    int64_t bytes = job->tensor->elems / row * bits_of_row(job) * (job->models - 1);
    return bytes <= REMEMBERED_MAX ? bytes : 0;
}

static uint8_t *remembered(const struct merge_block *b, int row)
{
    int64_t index = b->first / merge__row_elems(b->job->tensor);
    return (uint8_t *)b->memory + (index * (b->job->models - 1) + row - 1) * bits_of_row(b->job);
}

void task__remember(const struct merge_block *b, int row, const uint32_t *keep)
{
    if (task__remembered_bytes(b->job) > 0) b->masks->pack(keep, b->count, remembered(b, row));
}

bool task__recall(const struct merge_block *b, int row, uint32_t *keep)
{
    if (task__remembered_bytes(b->job) == 0) return false;
    b->masks->unpack(remembered(b, row), b->count, keep);
    return true;
}

void task__keep(const struct merge_block *b, const struct task_state *s, int row, uint32_t *keep)
{
    switch (task__variant(b->job)->sparsify) {
    case TASK_RANDOM: keep_at_random(b, row, keep); break;
    case TASK_RANKED: keep_by_rank(b, row, keep); break;
    default: keep_between(b, s, row, keep);
    }
}
