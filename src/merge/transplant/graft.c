/* SPDX-License-Identifier: Apache-2.0
 * graft — the rows of an embedding or a head for the donor's vocabulary, as a view.
 *
 * A token that the model has keeps its row; one that it has not gets a row made of the model's own
 * rows, by the part that the tokens of both play for it in the donor (pursuit.c, neighbours.c), or
 * without the donor's numbers (subword, mean, ...). Rows are made in blocks, as they are read, by
 * all threads; the last two blocks are kept: a matrix is read once, in order. */
#include "merge/transplant/graft.h"

#include <math.h>
#include <stdlib.h>

/* A row of the donor's. */
static bool read_donor(const struct graft *g, int64_t id, float *to, struct ig_err *err)
{
    int64_t width = g->from_width;
    if (!merge__input_read_f32(g->donor, g->from, id * width, width, to, err)) return false;
    return isfinite(transplant__dot(to, to, width)) ||
           ig_err_set(err, IG_ERR_DATA, "the donor's row %lld of '" IG_SLICE_FMT "' is not finite",
                      (long long)id, IG_SLICE_ARG(g->from->name));
}

/* ---- the donor's rows of tokens that both have ---- */

static bool load_atoms(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct graft *g = user;
    struct atoms *a = &g->atoms;
    int64_t first = index * ATOMS_BLOCK, left = a->count - first;
    int64_t count = left < ATOMS_BLOCK ? left : ATOMS_BLOCK;
    float *rows = malloc((size_t)(ATOMS_BLOCK * a->width) * sizeof *rows);
    bool ok = rows || ig_err_nomem(err);
    (void)thread;
    for (int64_t i = 0; ok && i < count; i++)
        ok = read_donor(g, g->shared[first + i].donor, rows + i * a->width, err);
    ok = ok && transplant__atoms_put(a, index, rows, err);
    free(rows);
    return ok;
}

static bool open_atoms(struct graft *g, struct ig_pool *pool, struct ig_err *err)
{
    int64_t blocks = (g->atoms.count + ATOMS_BLOCK - 1) / ATOMS_BLOCK;
    return transplant__atoms_new(&g->atoms, err) && ig_pool_each(pool, blocks, load_atoms, g, err);
}

/* ---- a block of new rows ---- */

struct block {
    struct graft *g;
    int64_t first, count, each; /* of new tokens; each: of a job */
    float *to;
};

/* The same part of the model's rows as of the donor's. */
static bool add_rows(const struct graft *g, const struct picks *picks, int t, float *row,
                     double *sum, float *to, struct ig_err *err)
{
    memset(sum, 0, (size_t)g->width * sizeof *sum);
    for (int32_t i = 0; i < picks->used[t]; i++) {
        int64_t at = t * picks->k + i, own = g->shared[picks->atoms[at]].model;
        if (!merge__input_read_f32(g->model, g->own, own * g->width, g->width, row, err))
            return false;
        for (int64_t j = 0; j < g->width; j++)
            sum[j] += picks->weights[at] * (double)row[j];
    }
    for (int64_t j = 0; j < g->width; j++)
        to[j] = (float)sum[j];
    return true;
}

static bool approximate(struct block *b, int64_t first, int count, struct pursuer *p,
                        struct ig_err *err)
{
    struct graft *g = b->g;
    size_t n = (size_t)count, k = (size_t)g->k;
    struct picks picks = {.atoms = calloc(n * k, sizeof *picks.atoms),
                          .weights = calloc(n * k, sizeof *picks.weights),
                          .used = calloc(n, sizeof *picks.used),
                          .k = g->k};
    float *x = calloc(n * (size_t)g->from_width, sizeof *x);
    float *row = calloc((size_t)g->width, sizeof *row);
    double *sum = calloc((size_t)g->width, sizeof *sum);
    bool ok = (picks.atoms && picks.weights && picks.used && x && row && sum) || ig_err_nomem(err);
    for (int t = 0; ok && t < count; t++)
        ok = read_donor(g, g->fresh[first + t].id, x + t * g->from_width, err);
    if (ok && g->t->ask->approximation == APPROX_OMP)
        transplant__pursue(p, x, count, &picks);
    else if (ok)
        transplant__neighbours(p, x, count, g->t->ask, &picks);
    for (int t = 0; ok && t < count; t++)
        ok = add_rows(g, &picks, t, row, sum, b->to + (first - b->first + t) * g->width, err);
    free(picks.atoms);
    free(picks.weights);
    free(picks.used);
    free(x);
    free(row);
    free(sum);
    return ok;
}

static bool run_approximation(struct block *b, int64_t first, int count, struct ig_err *err)
{
    struct pursuer *p = NULL;
    bool ok = transplant__pursuer_new(&b->g->atoms, b->g->k, &p, err) &&
              approximate(b, first, count, p, err);
    transplant__pursuer_free(p);
    return ok;
}

/* new_vocab_noise, new_vocab_scale. */
static void finish_rows(const struct graft *g, int64_t first, int count, float *rows)
{
    const struct recipe_transplant *ask = g->t->ask;
    for (int t = 0; t < count; t++) {
        uint64_t at = (uint64_t)(g->fresh[first + t].id * g->width);
        float *row = rows + t * g->width;
        for (int64_t i = 0; i < g->width; i++) {
            double value = (double)row[i];
            if (ask->noise != 0)
                value += ask->noise * transplant__normal(g->stream, at + (uint64_t)i);
            row[i] = (float)(value * ask->scale);
        }
    }
}

static bool run_job(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct block *b = user;
    int64_t first = b->first + index * b->each, left = b->first + b->count - first;
    int count = (int)(left < b->each ? left : b->each);
    (void)thread;
    bool ok =
        transplant__needs_donor(b->g->t->ask)
            ? run_approximation(b, first, count, err)
            : transplant__simple(b->g, first, count, b->to + (first - b->first) * b->g->width, err);
    if (ok) finish_rows(b->g, first, count, b->to + (first - b->first) * b->g->width);
    return ok;
}

static bool report(const struct graft *g, int64_t done, struct ig_err *err)
{
    const struct ig_merge *m = g->t->m;
    struct ig_progress p = {.phase = "transplant", .unit = "tokens"};
    bool go = true;
    for (int i = 0; i < g->t->graft_count; i++) {
        const struct graft *other = g->t->grafts[i];
        p.items_total += other->fresh_count;
        p.items_done += other == g ? done : other->done;
    }
    if (!m->watch || !m->watch->progress) return true;
    pthread_mutex_lock(m->watch_lock);
    go = m->watch->progress(m->watch->user, &p);
    pthread_mutex_unlock(m->watch_lock);
    return go || ig_err_set(err, IG_ERR_CANCELLED, "stopped");
}

static bool make_block(struct graft *g, int64_t first, float *to, struct ig_err *err)
{
    struct ig_pool *pool = ig_pool_new(g->t->m->threads, err);
    if (!pool) return false;
    int64_t left = g->fresh_count - first, threads = ig_pool_size(pool);
    struct block b = {g, first, left < g->block ? left : g->block, 0, to};
    b.each = ((b.count + threads - 1) / threads + 7) / 8 * 8;
    if (b.each > transplant__targets(g->k)) b.each = transplant__targets(g->k);
    bool ok = report(g, first, err);
    if (ok && transplant__needs_donor(g->t->ask) && !g->atoms.panels) ok = open_atoms(g, pool, err);
    ok = ok && ig_pool_each(pool, (b.count + b.each - 1) / b.each, run_job, &b, err);
    if (ok && first + b.count > g->done) g->done = first + b.count;
    ig_pool_free(pool);
    return ok && report(g, g->done, err);
}

/* ---- the view ---- */

/* Elements [at, at + count) of the row of a new token. */
static bool read_fresh(struct graft *g, int64_t token, int64_t at, int64_t count, float *to,
                       struct ig_err *err)
{
    bool ok = true;
    int64_t block = token / g->block, slot = -1;
    pthread_mutex_lock(&g->t->lock);
    for (int i = 0; i < 2; i++)
        if (g->kept[i].rows && g->kept[i].block == block) slot = i;
    if (slot < 0) {
        slot = g->next;
        if (!g->kept[slot].rows)
            g->kept[slot].rows = calloc((size_t)(g->block * g->width), sizeof(float));
        ok = g->kept[slot].rows || ig_err_nomem(err);
        g->kept[slot].block = -1;
        ok = ok && make_block(g, block * g->block, g->kept[slot].rows, err);
        if (ok) g->kept[slot].block = block;
        if (ok) g->next = 1 - (int)slot;
    }
    if (ok)
        memcpy(to, g->kept[slot].rows + (token - block * g->block) * g->width + at,
               (size_t)count * sizeof *to);
    pthread_mutex_unlock(&g->t->lock);
    return ok;
}

/* How many rows from here on follow each other in the model. */
static int64_t run_of(const struct graft *g, int64_t row, int64_t most)
{
    int64_t n = 1;
    while (n < most && g->source[row + n] == g->source[row] + n)
        n++;
    return n;
}

bool transplant__read(const struct merge_input *in, const struct merge_view *view, int64_t first,
                      int64_t count, void *to, struct ig_err *err)
{
    struct graft *g = (struct graft *)(uintptr_t)view->own;
    float *out = to;
    bool ok = true;
    (void)in;
    while (ok && count > 0) {
        int64_t row = first / g->width, at = first % g->width, n = g->width - at;
        int32_t from = g->source[row];
        if (at == 0 && count >= g->width && from >= 0)
            n = g->width * run_of(g, row, count / g->width);
        if (n > count) n = count;
        if (from >= 0)
            ok = merge__input_read_f32(g->model, g->own, from * g->width + at, n, out, err);
        else if (from == SOURCE_ZERO)
            memset(out, 0, (size_t)n * sizeof *out);
        else
            ok = read_fresh(g, SOURCE_FRESH - from, at, n, out, err);
        out += n;
        first += n;
        count -= n;
    }
    return ok;
}

void transplant__graft_free(struct graft *g)
{
    transplant__atoms_release(&g->atoms);
    free(g->kept[0].rows);
    free(g->kept[1].rows);
}
