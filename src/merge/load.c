/* SPDX-License-Identifier: Apache-2.0
 * load — the inner loop: stored bytes become rows of f32, blocks of rows go through the method.
 *
 * A block is IG_ROWS_BLOCK elements of all inputs: a few KiB each, so that widening, reducing and
 * rounding happen in the first-level cache. */
#include "merge/merge_internal.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ALIGN     64
#define HUGE_PAGE ((size_t)2 << 20)

/* ---- memory of a thread ---- */

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

struct sizes {
    size_t raw, cell, row, lanes, tallies, state, held, total;
};

static struct sizes sizes_of(const struct ig_merge *m)
{
    size_t k = (size_t)m->rows_max;
    struct sizes s = {.raw = aligned(m->thread_bytes),
                      .cell = aligned((size_t)m->cell_elems * sizeof(double)),
                      .row = aligned((size_t)m->block_elems * sizeof(float)),
                      .lanes = aligned(IG_ROWS_PAIRS(k + 1) * IG_ROWS_LANES * sizeof(double)),
                      .tallies = aligned((size_t)m->tallies * sizeof(uint64_t)),
                      .state = aligned(m->recipe->method->state_bytes),
                      .held = aligned(m->held_bytes)};
    s.total = s.raw + 3 * s.cell + s.row * (2 * k + 4) + s.lanes + s.tallies + s.state + s.held;
    return s;
}

int64_t merge__cell_count(const struct merge_task *task)
{
    return (task->job.tensor->elems + task->cell_elems - 1) / task->cell_elems;
}

uint64_t merge__worker_bytes(const struct ig_merge *m)
{
    return sizes_of(m).total;
}

bool merge__worker_new(const struct ig_merge *m, struct merge_worker *out, struct ig_err *err)
{
    int k = m->rows_max;
    struct sizes s = sizes_of(m);
    char *at = aligned_alloc(HUGE_PAGE, (s.total + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    if (!at) return ig_err_nomem(err);
#ifdef MADV_HUGEPAGE
    madvise(at, s.total, MADV_HUGEPAGE); /* a wish: without it every 4 KiB of input is a TLB miss */
#endif
    out->memory = at;
    out->raw = (unsigned char *)at;
    at += s.raw;
    out->cell = (unsigned char *)at;
    at += s.cell;
    out->scaled = (unsigned char *)at;
    at += s.cell;
    out->recast = (unsigned char *)at;
    at += s.cell;
    for (int i = 0; i < 2 * k + 4; i++, at += s.row) {
        float *row = (float *)(void *)at;
        if (i < k)
            out->rows[i] = row;
        else if (i < 2 * k + 3)
            out->spare[i - k] = row;
        else
            out->out = row;
    }
    out->lanes = (double(*)[IG_ROWS_LANES])(void *)at;
    at += s.lanes;
    out->tallies = (uint64_t *)(void *)at;
    at += s.tallies;
    out->state = at;
    out->held = at + s.state;
    return true;
}

void merge__worker_free(struct merge_worker *worker)
{
    free(worker->memory);
}

/* ---- rows ---- */

static int64_t padded(int64_t count)
{
    return (count + 15) / 16 * 16;
}

/* dtype in a recipe rounds the inputs. */
static void round_to(const struct ig_convert_ops *convert, enum ig_dtype dtype, float *row,
                     int64_t count)
{
    unsigned char narrow[IG_ROWS_BLOCK * sizeof(double)];
    for (int64_t at = 0; at < count; at += IG_ROWS_BLOCK) {
        int64_t n = count - at < IG_ROWS_BLOCK ? count - at : IG_ROWS_BLOCK;
        ig_convert_from_f32(convert, dtype, row + at, narrow, n);
        ig_convert_to_f32(convert, dtype, narrow, row + at, n);
    }
}

void merge__round(const struct merge_block *block, float *row)
{
    if (block->job->numerics != IG_F32)
        round_to(block->convert, block->job->numerics, row, block->count);
}

float merge__round_one(enum ig_dtype numerics, float value)
{
    struct ig_convert_ops convert;
    if (numerics == IG_F32) return value;
    ig_convert_ref(&convert);
    round_to(&convert, numerics, &value, 1);
    return value;
}

/* The next block of a tensor that lies in memory; hardware prefetchers start anew at every page,
 * and K inputs make K streams of half a page each. */
static void fetch_ahead(const unsigned char *raw, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch(raw + bytes + at);
}

static void load_row(const struct merge_engine *e, const struct merge_cell *cell, int input,
                     int64_t at, int64_t count, float *row)
{
    const struct ig_recipe *r = e->m->recipe;
    enum ig_dtype dtype = cell->task->inputs[input]->dtype;
    const unsigned char *raw = cell->raw[input] + (size_t)at * ig_dtype_bytes(dtype);
    fetch_ahead(raw, (size_t)count * ig_dtype_bytes(dtype));
    ig_convert_to_f32(&e->convert, dtype, raw, row, count);
    if (r->has_dtype && r->dtype != IG_F32 && r->dtype != dtype)
        round_to(&e->convert, r->dtype, row, count);
    for (int64_t i = count; i < padded(count); i++)
        row[i] = 0;
    if (cell->task->common.nonfinite == MERGE_NONFINITE_ZERO) e->rows.cleanse(row, padded(count));
}

/* The usual case, in one step: bf16, taken as it is. base: what is to be subtracted, or NULL. */
static bool load_bf16(const struct merge_engine *e, const struct merge_cell *cell, int input,
                      int64_t at, int64_t count, const float *base, float *row)
{
    const struct ig_recipe *r = e->m->recipe;
    bool plain = cell->task->inputs[input]->dtype == IG_BF16 && cell->task->job.sign_ref < 0 &&
                 cell->task->common.nonfinite == MERGE_NONFINITE_REFUSE &&
                 (!r->has_dtype || r->dtype == IG_F32 || r->dtype == IG_BF16);
    if (!plain) return false;
    const unsigned char *raw = cell->raw[input] + 2 * (size_t)at;
    fetch_ahead(raw, 2 * (size_t)count);
    e->rows.widen(raw, base, count, row);
    return true;
}

static void load_block(const struct merge_engine *e, struct merge_worker *w,
                       const struct merge_cell *cell, int64_t at, int64_t count,
                       enum merge_rows kind)
{
    const struct merge_case *job = &cell->task->job;
    bool done[MERGE_MODELS_MAX];
    for (int i = 0; i < job->models; i++) {
        const float *base = kind == MERGE_ROWS_DELTA && i > 0 ? w->rows[0] : NULL;
        done[i] = load_bf16(e, cell, i, at, count, base, w->rows[i]);
        if (!done[i]) load_row(e, cell, i, at, count, w->rows[i]);
    }
    for (int i = 0; job->sign_ref >= 0 && i < job->models; i++)
        if (i != job->sign_ref) e->rows.align(w->rows[i], w->rows[job->sign_ref], padded(count));
    for (int i = 1; kind == MERGE_ROWS_DELTA && i < job->models; i++) {
        if (!done[i]) e->rows.subtract(w->rows[i], w->rows[0], padded(count));
        if (job->numerics != IG_F32) round_to(&e->convert, job->numerics, w->rows[i], count);
    }
}

static struct merge_block block_of(const struct merge_engine *e, struct merge_worker *w,
                                   const struct merge_cell *cell, int64_t at, int64_t count)
{
    return (struct merge_block){.job = &cell->task->job,
                                .ops = &e->rows,
                                .convert = &e->convert,
                                .masks = &e->masks,
                                .rows = (const float *const *)w->rows,
                                .spare = w->spare,
                                .count = padded(count),
                                .elems = count,
                                .first = cell->first + at,
                                .part = cell->part,
                                .cell = cell->index,
                                .memory = cell->memory,
                                .passed = w->passed};
}

static enum merge_rows kind_of(const struct merge_engine *e, const struct merge_cell *cell,
                               const void *state, int round)
{
    const struct merge_method *method = e->m->recipe->method;
    return method->rows ? method->rows(&cell->task->job, state, round) : MERGE_ROWS_PLAIN;
}

void merge__reduce_cell(const struct merge_engine *e, struct merge_worker *w,
                        const struct merge_cell *cell, const void *state, int round, double *sums,
                        int count)
{
    enum merge_rows kind = kind_of(e, cell, state, round);
    memset(w->lanes, 0, (size_t)count * sizeof *w->lanes);
    memset(w->passed, 0, sizeof w->passed);
    int64_t step = cell->task->block_elems;
    for (int64_t at = 0; at < cell->count; at += step) {
        int64_t n = cell->count - at < step ? cell->count - at : step;
        load_block(e, w, cell, at, n, kind);
        struct merge_block block = block_of(e, w, cell, at, n);
        block.tallies = w->tallies;
        e->m->recipe->method->reduce(&block, state, round, w->lanes);
    }
    for (int i = 0; i < count; i++)
        sums[i] = merge__lane_sum(w->lanes[i]);
}

/* How many of the finite values in w->out float16, which ends at 65504, made infinities of. The
 * other types end where f32 does. */
static int64_t count_lost(const struct merge_engine *e, struct merge_worker *w, enum ig_dtype dtype,
                          const unsigned char *narrow, int64_t count)
{
    int64_t lost = 0;
    for (int64_t at = 0; dtype == IG_F16 && at < count; at += IG_ROWS_BLOCK) {
        int64_t n = count - at < IG_ROWS_BLOCK ? count - at : IG_ROWS_BLOCK;
        float *back = w->spare[0];
        ig_convert_to_f32(&e->convert, dtype, narrow + (size_t)at * 2, back, n);
        for (int64_t i = 0; i < n; i++)
            lost += !isfinite(back[i]) && isfinite(w->out[at + i]);
    }
    return lost;
}

bool merge__map_cell(const struct merge_engine *e, struct merge_worker *w,
                     const struct merge_cell *cell, const void *state)
{
    const struct merge_method *method = e->m->recipe->method;
    enum merge_rows kind = kind_of(e, cell, state, MERGE_ROUND_MAP);
    enum ig_dtype dtype = cell->task->job.tensor->dtype;
    int64_t bad = 0, step = cell->task->block_elems;
    memset(w->passed, 0, sizeof w->passed);
    for (int64_t at = 0; at < cell->count; at += step) {
        int64_t n = cell->count - at < step ? cell->count - at : step;
        load_block(e, w, cell, at, n, kind);
        struct merge_block block = block_of(e, w, cell, at, n);
        method->map(&block, state, w->out);
        for (int64_t i = n; i < padded(n); i++)
            w->out[i] = 0;
        bad += e->rows.nonfinite(w->out, padded(n));
        ig_convert_from_f32(&e->convert, dtype, w->out,
                            w->cell + (size_t)at * ig_dtype_bytes(dtype), n);
        bad += count_lost(e, w, dtype, w->cell + (size_t)at * ig_dtype_bytes(dtype), n);
    }
    return bad == 0;
}

bool merge__fail_narrow(enum ig_dtype dtype, struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_DATA,
                      "its values are too large for %s (out_dtype: bfloat16 or float32 holds them)",
                      ig_dtype_torch_name(dtype));
}

const void *merge__recast(const struct merge_engine *e, struct merge_worker *w, const void *data,
                          int64_t count, enum ig_dtype from, enum ig_dtype to, struct ig_err *err)
{
    size_t in = ig_dtype_bytes(from), out = ig_dtype_bytes(to);
    int64_t lost = 0;
    for (int64_t at = 0; at < count; at += IG_ROWS_BLOCK) {
        int64_t n = count - at < IG_ROWS_BLOCK ? count - at : IG_ROWS_BLOCK;
        const unsigned char *source = data;
        ig_convert_to_f32(&e->convert, from, source + (size_t)at * in, w->out, n);
        ig_convert_from_f32(&e->convert, to, w->out, w->recast + (size_t)at * out, n);
        lost += count_lost(e, w, to, w->recast + (size_t)at * out, n);
    }
    return lost ? merge__fail_narrow(to, err), NULL : w->recast;
}

const void *merge__rescale(const struct merge_engine *e, struct merge_worker *w, const void *data,
                           int64_t count, enum ig_dtype dtype, float scale, struct ig_err *err)
{
    size_t size = ig_dtype_bytes(dtype);
    int64_t lost = 0;
    const float *row = w->out;
    for (int64_t at = 0; at < count; at += IG_ROWS_BLOCK) {
        int64_t n = count - at < IG_ROWS_BLOCK ? count - at : IG_ROWS_BLOCK;
        const unsigned char *source = data;
        ig_convert_to_f32(&e->convert, dtype, source + (size_t)at * size, w->out, n);
        for (int64_t i = n; i < padded(n); i++)
            w->out[i] = 0;
        e->rows.combine(&row, &scale, 1, padded(n), w->out);
        ig_convert_from_f32(&e->convert, dtype, w->out, w->scaled + (size_t)at * size, n);
        lost += count_lost(e, w, dtype, w->scaled + (size_t)at * size, n);
    }
    return lost ? merge__fail_narrow(dtype, err), NULL : w->scaled;
}

int64_t merge__count_nonfinite(const struct merge_engine *e, struct merge_worker *w,
                               const struct merge_cell *cell, int input)
{
    int64_t bad = 0;
    for (int64_t at = 0; at < cell->count; at += IG_ROWS_BLOCK) {
        int64_t n = cell->count - at < IG_ROWS_BLOCK ? cell->count - at : IG_ROWS_BLOCK;
        load_row(e, cell, input, at, n, w->rows[0]);
        bad += e->rows.nonfinite(w->rows[0], padded(n));
    }
    return bad;
}
