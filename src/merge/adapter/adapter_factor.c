/* SPDX-License-Identifier: Apache-2.0
 * adapter_factor — D = W - base becomes B A, of the rank that is asked for: A = sqrt(S) V^T,
 * B = U sqrt(S). The factors of a matrix go to a scratch folder, for a name of which all matrices
 * are as they were has no place in the adapter, and that is known at the end. */
#include "merge/adapter/adapter_internal.h"

#include "base/size.h"
#include "base/thread.h"
#include "tensor/spectral/svd.h"

#include <math.h>
#include <stdlib.h>

#define PART   65536 /* elements that are read at once */
#define ROWS   64    /* of B that are written at once */
#define ALIGN  ((size_t)64)
#define MEMORY ((int64_t)2 << 30)

struct job {
    double cost;
    int64_t entry;
};

struct factorer {
    struct ig_adapter *a;
    struct job *jobs; /* what takes longest first */
    unsigned char **memory;
    size_t difference_bytes, svd_bytes, part_bytes; /* of each thread's memory */
};

/* ---- reading ---- */

static bool is_finite(double x)
{
    return x - x == 0;
}

/* The difference into d, unless NULL; whether there is one, and the base's energy. */
static bool compare(struct ig_adapter *a, struct adapter_entry *e, float *part, float *d,
                    struct ig_err *err)
{
    const struct ig_tensor *t = e->tuned;
    double energy = 0;
    for (int64_t at = 0; at < t->elems; at += PART) {
        int64_t n = t->elems - at < PART ? t->elems - at : PART;
        float *x = d ? d + at : part + PART;
        if (!merge__input_read_f32(a->in[ADAPTER_TUNED], t, at, n, x, err) ||
            !merge__input_read_f32(a->in[ADAPTER_BASE], e->base, at, n, part, err))
            return false;
        for (int64_t i = 0; i < n; i++) {
            e->first += (double)part[i] * (double)part[i];
            x[i] -= part[i];
            energy += (double)x[i] * (double)x[i];
        }
    }
    e->energy = energy;
    e->changed = energy != 0; /* NaN too */
    return is_finite(energy) ||
           ig_err_set(err, IG_ERR_DATA,
                      "tensor '" IG_SLICE_FMT "': it holds numbers that are not finite",
                      IG_SLICE_ARG(t->name));
}

/* ---- what a difference is like ---- */

static void describe(struct adapter_entry *e, const struct ig_svd *x, int64_t small)
{
    struct ig_adapter_row *row = &e->row;
    double sum = 0, entropy = 0, energy = 0, so_far = 0;
    for (int64_t i = 0; i < small; i++) {
        sum += x->sigma[i];
        energy += x->sigma[i] * x->sigma[i];
    }
    for (int64_t i = 0; i < small && sum > 0; i++) {
        double p = x->sigma[i] / sum;
        if (p > 0) entropy -= p * log(p);
        so_far += x->sigma[i] * x->sigma[i];
        if (so_far < 0.90 * energy) row->rank_90 = i + 1;
        if (so_far < 0.99 * energy) row->rank_99 = i + 1;
        if (i < e->rank && i < x->rank) e->kept_energy = so_far;
    }
    if (sum > 0) { /* so many less one fall short */
        row->rank_90++;
        row->rank_99++;
        row->effective = exp(entropy);
    }
    int64_t last = e->rank < x->rank ? e->rank : x->rank;
    row->sigma_first = small ? x->sigma[0] : 0;
    row->sigma_last = last ? x->sigma[last - 1] : 0;
    row->kept = energy > 0 ? e->kept_energy / energy : 1;
}

/* ---- writing ---- */

/* The k-th vector's shares of its singular value, in A and in B. */
static void shares(const struct ig_adapter *a, double sigma, double *of_a, double *of_b)
{
    double product = sigma / a->scale;
    *of_a = a->job.together ? product : sqrt(product);
    *of_b = a->job.together ? 1 : sqrt(product);
}

struct slot {
    struct ig_adapter *a;
    const struct adapter_entry *e;
    size_t at;
    float *numbers; /* PART of them, and the same stored */
    void *stored;
};

static bool put(struct slot *s, int64_t count, struct ig_err *err)
{
    size_t bytes = (size_t)count * ig_dtype_bytes(s->e->dtype);
    ig_convert_from_f32(&s->a->in[0]->convert, s->e->dtype, s->numbers, s->stored, count);
    if (!adapter__scratch_put(s->a, s->e, s->at, s->stored, bytes, err)) return false;
    s->at += bytes;
    return true;
}

/* Of factors of D: A is [rank, cols], B [rows, rank]; of D^T the same with sides exchanged. */
static bool put_factors(struct slot *s, const struct ig_svd *x, struct ig_err *err)
{
    const struct adapter_entry *e = s->e;
    int64_t cols = e->tuned->shape[e->turned ? 0 : 1], rows = e->tuned->shape[e->turned ? 1 : 0];
    const double *right = e->turned ? x->left : x->right, *left = e->turned ? x->right : x->left;
    int64_t right_step = e->turned ? x->left_step : x->right_step;
    int64_t left_step = e->turned ? x->right_step : x->left_step;
    double of_a = 0, of_b = 0;
    for (int64_t k = 0; k < e->rank; k++)
        for (int64_t c = 0; c < cols; c += PART) {
            int64_t n = cols - c < PART ? cols - c : PART;
            if (k < x->rank) shares(s->a, x->sigma[k], &of_a, &of_b);
            for (int64_t i = 0; i < n; i++)
                s->numbers[i] = k < x->rank ? (float)(of_a * right[k * right_step + c + i]) : 0.0F;
            if (!put(s, n, err)) return false;
        }
    int64_t block = PART / e->rank < ROWS ? PART / e->rank : ROWS;
    for (int64_t r = 0; r < rows; r += block) {
        int64_t n = rows - r < block ? rows - r : block;
        for (int64_t k = 0; k < e->rank; k++) {
            if (k < x->rank) shares(s->a, x->sigma[k], &of_a, &of_b);
            for (int64_t i = 0; i < n; i++)
                s->numbers[i * e->rank + k] =
                    k < x->rank ? (float)(of_b * left[k * left_step + r + i]) : 0.0F;
        }
        if (!put(s, n * e->rank, err)) return false;
    }
    memset(s->numbers, 0, PART * sizeof *s->numbers); /* what a smaller rank leaves of the room */
    size_t size = ig_dtype_bytes(e->dtype);
    while (s->at < e->bytes) {
        int64_t n = (int64_t)((e->bytes - s->at) / size);
        if (!put(s, n < PART ? n : PART, err)) return false;
    }
    return true;
}

static bool factor(struct factorer *f, struct adapter_entry *e, unsigned char *memory,
                   struct ig_err *err)
{
    struct ig_adapter *a = f->a;
    float *d = (float *)(void *)memory;
    void *work = memory + f->difference_bytes;
    float *part = (float *)(void *)(memory + f->difference_bytes + f->svd_bytes);
    int64_t rows = e->tuned->shape[0], cols = e->tuned->shape[1], small = rows < cols ? rows : cols;
    struct ig_svd x;
    if (!compare(a, e, part, d, err)) return false;
    if (!ig_svd_find(d, rows, cols, e->rank, work, &x, err))
        return ig_err_within(err, "tensor '" IG_SLICE_FMT "'", IG_SLICE_ARG(e->tuned->name));
    if (a->job.epsilon > 0) { /* PEFT has no rank 0 */
        int64_t above = 0;
        while (above < x.rank && x.sigma[above] > a->job.epsilon)
            above++;
        if (!e->even) e->rank = above ? above : 1;
        if (x.rank > above) x.rank = above;
    }
    describe(e, &x, small);
    struct slot s = {a, e, 0, part, part + PART};
    return !a->scratch || put_factors(&s, &x, err);
}

static bool run_entry(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct factorer *f = user;
    struct adapter_entry *e = &f->a->entries[f->jobs[index].entry];
    unsigned char *memory = f->memory[thread];
    bool same = e->base && e->base->rank == e->tuned->rank, ok = true;
    if (e->known) return adapter__advance(f->a, 1, (int64_t)e->tuned->bytes, err);
    for (int i = 0; same && i < e->tuned->rank; i++)
        same = e->base->shape[i] == e->tuned->shape[i];
    if (e->part == ADAPTER_FACTORS)
        ok = factor(f, e, memory, err);
    else if (same && ig_dtype_is_float(e->tuned->dtype) && ig_dtype_is_float(e->base->dtype))
        ok = compare(f->a, e, (float *)(void *)(memory + f->difference_bytes + f->svd_bytes), NULL,
                     err);
    else
        e->changed = true;
    if (!ok) return false;
    if (f->a->scratch && !adapter__scratch_mark(f->a, e, err)) return false;
    return adapter__advance(f->a, 1, (int64_t)e->tuned->bytes, err);
}

/* ---- the pool ---- */

static double cost(const struct adapter_entry *e)
{
    double elems = (double)e->tuned->elems;
    if (e->part != ADAPTER_FACTORS) return elems;
    double rows = (double)e->tuned->shape[0], cols = (double)e->tuned->shape[1];
    return elems * (rows < cols ? rows : cols);
}

/* Sizes of one thread's memory: of the entry that needs the most. */
static bool measure(struct factorer *f, struct ig_err *err)
{
    f->part_bytes = 2 * PART * sizeof(float);
    for (int64_t i = 0; i < f->a->count; i++) {
        const struct adapter_entry *e = &f->a->entries[i];
        if (e->part != ADAPTER_FACTORS) continue;
        if (e->rank > PART) return ig_err_set(err, IG_ERR_USAGE, "a rank over %d", PART);
        size_t d = (size_t)e->tuned->elems, svd, all;
        svd = ig_svd_bytes(e->tuned->shape[0], e->tuned->shape[1], e->rank);
        if (svd == 0 || !ig_size_mul(d, sizeof(float), &d) || !ig_size_add(d, ALIGN - 1, &d) ||
            !ig_size_add(d, svd, &all) || all > SIZE_MAX / 4)
            return ig_err_nomem(err);
        d = d / ALIGN * ALIGN;
        if (d > f->difference_bytes) f->difference_bytes = d;
        if (svd > f->svd_bytes) f->svd_bytes = svd;
    }
    return true;
}

static struct ig_pool *make_pool(struct factorer *f, struct ig_err *err)
{
    const struct ig_adapter_job *job = &f->a->job;
    size_t bytes = f->difference_bytes + f->svd_bytes + f->part_bytes;
    int64_t budget = job->memory_bytes > 0 ? job->memory_bytes : MEMORY;
    int threads = job->threads > 0 ? job->threads : ig_core_count();
    int64_t fits = budget / (int64_t)bytes;
    if (threads > fits) threads = fits > 1 ? (int)fits : 1;
    struct ig_pool *pool = ig_pool_new(threads, err);
    f->memory = calloc((size_t)threads, sizeof *f->memory);
    bool ok = pool && (f->memory || ig_err_nomem(err));
    for (int i = 0; ok && i < threads; i++) {
        f->memory[i] = aligned_alloc(ALIGN, (bytes + ALIGN - 1) / ALIGN * ALIGN);
        ok = f->memory[i] || ig_err_nomem(err);
    }
    if (ok) return pool;
    for (int i = 0; pool && f->memory && i < threads; i++)
        free(f->memory[i]);
    free(f->memory);
    f->memory = NULL;
    ig_pool_free(pool);
    return NULL;
}

static int costlier(const void *a, const void *b)
{
    const struct job *x = a, *y = b;
    if (x->cost != y->cost) return x->cost > y->cost ? -1 : 1;
    return (x->entry > y->entry) - (x->entry < y->entry);
}

bool adapter__factor(struct ig_adapter *a, struct ig_err *err)
{
    struct factorer f = {.a = a};
    f.jobs = ig_arena_array(&a->arena, (size_t)a->count, sizeof *f.jobs);
    if (!f.jobs) return ig_err_nomem(err);
    if (!measure(&f, err)) return false;
    struct ig_pool *pool = make_pool(&f, err);
    if (!pool) return false;
    for (int64_t i = 0; i < a->count; i++)
        f.jobs[i] = (struct job){cost(&a->entries[i]), i};
    if (a->count) qsort(f.jobs, (size_t)a->count, sizeof *f.jobs, costlier);
    bool ok = ig_pool_each(pool, a->count, run_entry, &f, err);
    for (int i = 0; i < ig_pool_size(pool); i++)
        free(f.memory[i]);
    free(f.memory);
    ig_pool_free(pool);
    return ok && (!a->scratch || adapter__scratch_turn(a, err));
}
