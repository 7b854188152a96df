/* SPDX-License-Identifier: Apache-2.0
 * pursuit — orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad 1993): k times the atom
 * whose product with the residual is largest joins, and the target is fitted anew by all that have.
 *
 *     i = argmax |<r, a_i>|     g = argmin |x - sum g_j a_j|     r = x - sum g_j a_j
 *
 * Products with all atoms are nearly all of the work, 2 N D operations for each atom of each
 * target: tiles of 8 targets and 32 atoms (kernels/gemm.h), a panel of atoms for all targets of the
 * thread. The fit is by normal equations, in f64: products of bf16 or f32 are exact there, so that
 * what squaring the condition number costs is covered. Atoms of equal product: the lower index.
 * A target is worked by one thread alone, in one order: its bits depend on nothing else. */
#include "merge/transplant/transplant.h"

#include <math.h>
#include <stdlib.h>

#define ROWS        IG_GEMM_ROWS
#define COLS        IG_GEMM_COLS
#define LANES       8
#define FACTORS_MAX ((int64_t)64 << 20) /* bytes of a thread */
#define DEPENDENT   1e-10 /* of its square, what is new of an atom: it is a sum of the others */
#define FITTED      1e-12 /* of its square, what is left of a target: f32 has no more digits */

/* ---- arithmetic ---- */

double transplant__dot(const float *a, const float *b, int64_t count)
{
    double lanes[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += (double)a[i + l] * (double)b[i + l];
    for (; i < count; i++)
        lanes[i % LANES] += (double)a[i] * (double)b[i];
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

bool transplant__normal_add(struct normal *n, const double *products, double square, double b)
{
    int m = n->count;
    double *row = n->l + (size_t)m * (size_t)(m + 1) / 2;
    for (int i = 0; i < m; i++) {
        const double *above = n->l + (size_t)i * (size_t)(i + 1) / 2;
        double value = products[i];
        for (int j = 0; j < i; j++)
            value -= above[j] * row[j];
        row[i] = value / above[i];
    }
    double left = square, z = b;
    for (int i = 0; i < m; i++) {
        left -= row[i] * row[i];
        z -= row[i] * n->z[i];
    }
    if (!(left > DEPENDENT * square)) return false;
    row[m] = sqrt(left);
    n->z[m] = z / row[m];
    n->count++;
    return true;
}

void transplant__normal_solve(const struct normal *n, double *out)
{
    for (int i = n->count - 1; i >= 0; i--) {
        double value = n->z[i];
        for (int j = i + 1; j < n->count; j++)
            value -= n->l[(size_t)j * (size_t)(j + 1) / 2 + (size_t)i] * out[j];
        out[i] = value / n->l[(size_t)i * (size_t)(i + 1) / 2 + (size_t)i];
    }
}

/* ---- a thread's memory ---- */

struct part {
    size_t at, bytes;
};

static struct part take(size_t *total, size_t bytes)
{
    struct part p = {*total, bytes};
    *total += (bytes + 63) / 64 * 64;
    return p;
}

int transplant__targets(int64_t k)
{
    int64_t fits = FACTORS_MAX / (k * (k + 1) / 2 * (int64_t)sizeof(double)) / ROWS * ROWS;
    if (fits > TARGETS_MAX) return TARGETS_MAX;
    return fits < ROWS ? ROWS : (int)fits;
}

static size_t lay_out(int64_t width, int64_t k, struct pursuer *p, char *base)
{
    size_t total = 0, d = (size_t)width, n = (size_t)transplant__targets(k), kk = (size_t)k;
    int64_t step = (width * ROWS + 15) / 16 * 16;
    const struct part panels = take(&total, n / ROWS * (size_t)step * sizeof(float));
    const struct part panel = take(&total, d * COLS * sizeof(float));
    const struct part best = take(&total, n * sizeof(float));
    const struct part row = take(&total, d * sizeof(float));
    const struct part other = take(&total, d * sizeof(float));
    const struct part chosen = take(&total, n * sizeof(int32_t));
    const struct part nearest = take(&total, n * (kk + SPARE) * sizeof(int32_t));
    const struct part scores = take(&total, n * (kk + SPARE) * sizeof(float));
    const struct part counts = take(&total, n * sizeof(int32_t));
    const struct part factors = take(&total, n * (kk * (kk + 1) / 2) * sizeof(double));
    const struct part z = take(&total, n * kk * sizeof(double));
    const struct part weights = take(&total, (kk + SPARE) * 2 * sizeof(double));
    const struct part kept = take(&total, kk * sizeof(int32_t));
    const struct part list = take(&total, (kk + SPARE) * sizeof(struct neighbour));
    const struct part sum = take(&total, d * sizeof(double));
    if (!p) return total;
    p->step = step;
    p->panels = (float *)(void *)(base + panels.at);
    p->panel = (float *)(void *)(base + panel.at);
    p->best = (float *)(void *)(base + best.at);
    p->row = (float *)(void *)(base + row.at);
    p->other = (float *)(void *)(base + other.at);
    p->chosen = (int32_t *)(void *)(base + chosen.at);
    p->nearest = (int32_t *)(void *)(base + nearest.at);
    p->kept = (int32_t *)(void *)(base + kept.at);
    p->list = (struct neighbour *)(void *)(base + list.at);
    p->scores = (float *)(void *)(base + scores.at);
    p->counts = (int32_t *)(void *)(base + counts.at);
    p->factors = (double *)(void *)(base + factors.at);
    p->z = (double *)(void *)(base + z.at);
    p->weights = (double *)(void *)(base + weights.at);
    p->sum = (double *)(void *)(base + sum.at);
    return total;
}

size_t transplant__pursuer_bytes(int64_t width, int64_t k)
{
    return lay_out(width, k, NULL, NULL);
}

bool transplant__pursuer_new(const struct atoms *atoms, int64_t k, struct pursuer **out,
                             struct ig_err *err)
{
    struct pursuer *p = calloc(1, sizeof *p);
    char *memory = p ? aligned_alloc(64, lay_out(atoms->width, k, NULL, NULL)) : NULL;
    if (!memory) {
        free(p);
        return ig_err_nomem(err);
    }
    p->atoms = atoms;
    p->k = k;
    p->memory = (float *)(void *)memory;
    lay_out(atoms->width, k, p, memory);
    *out = p;
    return true;
}

void transplant__pursuer_free(struct pursuer *p)
{
    if (!p) return;
    free(p->memory);
    free(p);
}

/* ---- products with all atoms ---- */

void transplant__atom(const struct atoms *atoms, int64_t index, float *out)
{
    size_t row = (size_t)atoms->width * ig_dtype_bytes(atoms->dtype);
    ig_convert_to_f32(&atoms->convert, atoms->dtype, atoms->rows + (size_t)index * row, out,
                      atoms->width);
}

/* Of the target's panel, its column. */
static void put_target(const struct pursuer *p, int t, const float *values)
{
    float *to = p->panels + t / ROWS * p->step + t % ROWS;
    for (int64_t i = 0; i < p->atoms->width; i++)
        to[i * ROWS] = values[i];
}

void transplant__sweep(struct pursuer *p, int count, transplant_each each, void *user)
{
    const struct atoms *a = p->atoms;
    size_t bytes = (size_t)a->width * COLS * ig_dtype_bytes(a->dtype);
    float tile[ROWS * COLS] __attribute__((aligned(64)));
    for (int64_t first = 0; first < a->count; first += COLS) {
        ig_convert_to_f32(&a->convert, a->dtype, a->panels + (size_t)(first / COLS) * bytes,
                          p->panel, a->width * COLS);
        for (int t = 0; t < count; t += ROWS) {
            memset(tile, 0, sizeof tile);
            a->gemm.tile(p->panels + t / ROWS * p->step, p->panel, a->width, tile, COLS);
            for (int i = 0; i < ROWS && t + i < count; i++)
                each(user, t + i, first, tile + (size_t)i * COLS);
        }
    }
}

void transplant__load(struct pursuer *p, const float *x, int count)
{
    memset(p->panels, 0,
           (size_t)(transplant__targets(p->k) / ROWS) * (size_t)p->step * sizeof(float));
    for (int t = 0; t < count; t++)
        put_target(p, t, x + t * p->atoms->width);
}

/* ---- the pursuit ---- */

struct hunt {
    struct pursuer *p;
    struct picks *picks;
};

static bool has_atom(const struct hunt *h, int t, int32_t atom)
{
    const int32_t *list = h->picks->atoms + t * h->picks->k;
    for (int32_t i = 0; i < h->picks->used[t]; i++)
        if (list[i] == atom) return true;
    return false;
}

static void choose(void *user, int t, int64_t first, const float *products)
{
    const struct hunt *h = user;
    float best = h->p->best[t];
    for (int j = 0; j < COLS; j++) {
        float value = fabsf(products[j]);
        if (!(value > best) || first + j >= h->p->atoms->count) continue;
        if (has_atom(h, t, (int32_t)(first + j))) continue;
        best = value;
        h->p->chosen[t] = (int32_t)(first + j);
    }
    h->p->best[t] = best;
}

static struct normal normal_of(const struct pursuer *p, int t, int count)
{
    size_t k = (size_t)p->k;
    return (struct normal){count, p->factors + (size_t)t * (k * (k + 1) / 2), p->z + (size_t)t * k};
}

/* The chosen atom joins; the residual is what the new fit leaves. False when there is nothing more
 * to gain. */
static bool join(struct hunt *h, int t, const float *x)
{
    struct pursuer *p = h->p;
    const struct atoms *a = p->atoms;
    int32_t *list = h->picks->atoms + t * h->picks->k, n = h->picks->used[t];
    double *weights = h->picks->weights + t * h->picks->k, left = 0, whole = 0;
    struct normal fit = normal_of(p, t, n);
    if (p->chosen[t] < 0) return false;
    transplant__atom(a, p->chosen[t], p->row);
    for (int32_t i = 0; i < n; i++) {
        transplant__atom(a, list[i], p->other);
        p->weights[i] = transplant__dot(p->row, p->other, a->width);
    }
    if (!transplant__normal_add(&fit, p->weights, transplant__dot(p->row, p->row, a->width),
                                transplant__dot(p->row, x, a->width)))
        return false;
    list[n] = p->chosen[t];
    h->picks->used[t] = fit.count;
    transplant__normal_solve(&fit, weights);
    for (int64_t i = 0; i < a->width; i++)
        p->sum[i] = (double)x[i];
    for (int32_t i = 0; i <= n; i++) {
        transplant__atom(a, list[i], p->other);
        for (int64_t j = 0; j < a->width; j++)
            p->sum[j] -= weights[i] * (double)p->other[j];
    }
    for (int64_t i = 0; i < a->width; i++) {
        left += p->sum[i] * p->sum[i];
        whole += (double)x[i] * (double)x[i];
        p->row[i] = (float)p->sum[i];
    }
    put_target(p, t, p->row);
    return left > FITTED * whole;
}

void transplant__pursue(struct pursuer *p, const float *x, int count, struct picks *out)
{
    struct hunt h = {p, out};
    bool done[TARGETS_MAX] = {false};
    int left = count;
    transplant__load(p, x, count);
    memset(out->used, 0, (size_t)count * sizeof *out->used);
    for (int64_t round = 0; round < p->k && left > 0; round++) {
        for (int t = 0; t < count; t++) {
            p->best[t] = done[t] ? INFINITY : 0;
            p->chosen[t] = -1;
        }
        transplant__sweep(p, count, choose, &h);
        for (int t = 0; t < count; t++) {
            if (done[t] || join(&h, t, x + t * p->atoms->width)) continue;
            done[t] = true;
            left--;
        }
    }
}
