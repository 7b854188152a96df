/* SPDX-License-Identifier: Apache-2.0
 * pursuit — orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad 1993): k times the atom
 * whose product with the residual is largest joins, and the target is fitted anew by all that have.
 *
 *     i = argmax |<r, a_i>|     g = argmin |x - sum g_j a_j|     r = x - sum g_j a_j
 *
 * Products with all atoms are nearly all of the work, 2 N D operations for each atom of each
 * target. They are taken coarsely (atoms.c); those atoms that may have the largest are measured in
 * f64, so that how the others were multiplied does not show. The fit is by normal equations, in
 * f64: products of bf16 or f32 are exact there, so that what squaring the condition number costs is
 * covered. Of atoms of equal product the lower index is taken. A target is worked by one thread
 * alone: its bits depend on nothing else. */
#include "merge/transplant/transplant.h"

#include <math.h>
#include <stdlib.h>

#define ROWS        IG_GEMM_ROWS
#define COLS        IG_GEMM_COLS
#define LANES       8
#define FACTORS_MAX ((int64_t)64 << 20) /* bytes of a thread */
#define DEPENDENT   1e-10   /* of its square, what is new of an atom: it is a sum of the others */
#define WIDER       1.00001 /* bounds are rounded up */
#define FITTED      1e-12   /* of its square, what is left of a target: f32 has no more digits */

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
    int64_t fits =
        FACTORS_MAX / (k * (k + 1) / 2 * (int64_t)sizeof(double)) / IG_GEMM_ROWS * IG_GEMM_ROWS;
    if (fits > TARGETS_MAX) return TARGETS_MAX;
    return fits < IG_GEMM_ROWS ? IG_GEMM_ROWS : (int)fits;
}

static size_t lay_out(const struct atoms *a, int64_t k, struct pursuer *p, char *base)
{
    size_t total = 0, d = (size_t)a->width, n = (size_t)transplant__targets(k), kk = (size_t)k;
    size_t step = (d * IG_GEMM_ROWS + 15) / 16 * 16, whole = sizeof(float) * n;
    size_t narrow = (n / IG_NARROW_ROWS + 1) * ig_narrow_x_bytes(a->width);
    size_t fine = n / IG_GEMM_ROWS * step * sizeof(float);
    const struct part rows = take(&total, whole * d);
    const struct part panel = take(&total, d * IG_GEMM_COLS * sizeof(float));
    const struct part packed = take(&total, a->coarse ? narrow : fine);
    const struct part products = take(&total, sizeof(float) * TARGETS_MAX * ATOMS_BLOCK);
    const struct part row = take(&total, d * sizeof(float));
    const struct part other = take(&total, d * sizeof(float));
    const struct part three = take(&total, 3 * whole);
    const struct part quarry = take(&total, n * QUARRY_MAX * sizeof(struct quarry));
    const struct part counts = take(&total, n * sizeof(int32_t));
    const struct part nearest = take(&total, n * (kk + SPARE) * sizeof(int32_t));
    const struct part scores = take(&total, whole * (kk + SPARE));
    const struct part kept = take(&total, kk * sizeof(int32_t));
    const struct part list = take(&total, (kk + SPARE) * sizeof(struct neighbour));
    const struct part factors = take(&total, n * (kk * (kk + 1) / 2) * sizeof(double));
    const struct part z = take(&total, n * kk * sizeof(double));
    const struct part weights = take(&total, (kk + SPARE) * sizeof(double));
    const struct part sum = take(&total, d * sizeof(double));
    if (!p) return total;
    p->step = (int64_t)step;
    p->rows = (float *)(void *)(base + rows.at);
    p->panel = (float *)(void *)(base + panel.at);
    p->packed = (unsigned char *)base + packed.at;
    p->products = (float *)(void *)(base + products.at);
    p->row = (float *)(void *)(base + row.at);
    p->other = (float *)(void *)(base + other.at);
    p->length = (float *)(void *)(base + three.at);
    p->lost = p->length + n;
    p->floor = p->lost + n;
    p->quarry = (struct quarry *)(void *)(base + quarry.at);
    p->counts = (int32_t *)(void *)(base + counts.at);
    p->nearest = (int32_t *)(void *)(base + nearest.at);
    p->scores = (float *)(void *)(base + scores.at);
    p->kept = (int32_t *)(void *)(base + kept.at);
    p->list = (struct neighbour *)(void *)(base + list.at);
    p->factors = (double *)(void *)(base + factors.at);
    p->z = (double *)(void *)(base + z.at);
    p->weights = (double *)(void *)(base + weights.at);
    p->sum = (double *)(void *)(base + sum.at);
    return total;
}

size_t transplant__pursuer_bytes(const struct atoms *atoms, int64_t k)
{
    return lay_out(atoms, k, NULL, NULL);
}

bool transplant__pursuer_new(const struct atoms *atoms, int64_t k, struct pursuer **out,
                             struct ig_err *err)
{
    struct pursuer *p = calloc(1, sizeof *p);
    char *memory = p ? aligned_alloc(64, lay_out(atoms, k, NULL, NULL)) : NULL;
    if (!memory) {
        free(p);
        return ig_err_nomem(err);
    }
    p->atoms = atoms;
    p->k = k;
    p->memory = (float *)(void *)memory;
    lay_out(atoms, k, p, memory);
    memset(p->packed, 0, (size_t)((char *)p->products - (char *)p->packed));
    *out = p;
    return true;
}

void transplant__pursuer_free(struct pursuer *p)
{
    if (!p) return;
    free(p->memory);
    free(p);
}

/* ---- the largest product ---- */

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

/* Forgets what cannot be the largest any more. */
static void thin(struct pursuer *p, int t)
{
    struct quarry *list = p->quarry + t * QUARRY_MAX;
    int32_t kept = 0;
    for (int32_t i = 0; i < p->counts[t]; i++)
        if (list[i].most > p->floor[t]) list[kept++] = list[i];
    p->counts[t] = kept;
}

static int by_most(const void *a, const void *b)
{
    const struct quarry *x = a, *y = b;
    if (x->most != y->most) return x->most > y->most ? -1 : 1;
    return (x->atom > y->atom) - (x->atom < y->atom);
}

/* Measures in f64 what may be the largest, those first that promise most: one remains, and says
 * how large it is; -1: none. */
static int32_t settle(struct pursuer *p, int t)
{
    const struct atoms *a = p->atoms;
    struct quarry *list = p->quarry + t * QUARRY_MAX, best = {-1, 0};
    double largest = 0;
    thin(p, t);
    qsort(list, (size_t)p->counts[t], sizeof *list, by_most);
    for (int32_t i = 0; i < p->counts[t] && list[i].most > p->floor[t]; i++) {
        transplant__atom(a, list[i].atom, p->other);
        double product = fabs(transplant__dot(p->rows + t * a->width, p->other, a->width));
        if (product < largest || product == 0) continue;
        if (product == largest && list[i].atom > best.atom) continue;
        largest = product;
        best = list[i];
        float floor = nextafterf((float)largest, 0);
        if (floor > p->floor[t]) p->floor[t] = floor;
    }
    p->counts[t] = best.atom >= 0;
    list[0] = best;
    return best.atom;
}

static float largest_of(const float *values)
{
    float lanes[LANES] = {0}, most = 0;
    for (int i = 0; i < ATOMS_BLOCK; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float value = fabsf(values[i + l]);
            lanes[l] = value > lanes[l] ? value : lanes[l];
        }
    for (int l = 0; l < LANES; l++)
        most = lanes[l] > most ? lanes[l] : most;
    return most;
}

static void look_at(void *user, int t, int64_t index, const float *products)
{
    const struct hunt *h = user;
    struct pursuer *p = h->p;
    const struct atoms *a = p->atoms;
    const float *most = a->most + 2 * index;
    float spread = p->lost[t] * most[0] + p->length[t] * most[1];
    if (!(largest_of(products) + spread > p->floor[t])) return;
    for (int j = 0; j < ATOMS_BLOCK && index * ATOMS_BLOCK + j < a->count; j++) {
        int32_t atom = (int32_t)(index * ATOMS_BLOCK + j);
        float value = fabsf(products[j]);
        spread = p->lost[t] * a->norms[atom] + p->length[t] * a->errors[atom];
        if (!(value + spread > p->floor[t]) || has_atom(h, t, atom)) continue;
        if (p->counts[t] == QUARRY_MAX) thin(p, t);
        if (p->counts[t] == QUARRY_MAX) settle(p, t);
        p->quarry[t * QUARRY_MAX + p->counts[t]++] = (struct quarry){atom, value + spread};
        if (value - spread > p->floor[t]) p->floor[t] = value - spread;
    }
}

/* ---- the pursuit ---- */

static struct normal normal_of(const struct pursuer *p, int t, int count)
{
    size_t k = (size_t)p->k;
    return (struct normal){count, p->factors + (size_t)t * (k * (k + 1) / 2), p->z + (size_t)t * k};
}

/* The residual of target t, from p->sum. */
static double leave(struct pursuer *p, int t)
{
    int64_t width = p->atoms->width;
    float *row = p->rows + t * width;
    double left = 0;
    for (int64_t i = 0; i < width; i++) {
        left += p->sum[i] * p->sum[i];
        row[i] = (float)p->sum[i];
    }
    double lost = transplant__lost(p->atoms, row);
    p->lost[t] = (float)(lost * WIDER);
    p->length[t] = (float)((sqrt(left) + lost) * WIDER);
    return left;
}

/* The atom joins; the residual is what the new fit leaves. False when there is nothing more to
 * gain. */
static bool join(struct hunt *h, int t, int32_t atom, const float *x)
{
    struct pursuer *p = h->p;
    const struct atoms *a = p->atoms;
    int32_t *list = h->picks->atoms + t * h->picks->k, n = h->picks->used[t];
    double *weights = h->picks->weights + t * h->picks->k;
    struct normal fit = normal_of(p, t, n);
    if (atom < 0) return false;
    transplant__atom(a, atom, p->row);
    for (int32_t i = 0; i < n; i++) {
        transplant__atom(a, list[i], p->other);
        p->weights[i] = transplant__dot(p->row, p->other, a->width);
    }
    if (!transplant__normal_add(&fit, p->weights, transplant__dot(p->row, p->row, a->width),
                                transplant__dot(p->row, x, a->width)))
        return false;
    list[n] = atom;
    h->picks->used[t] = fit.count;
    transplant__normal_solve(&fit, weights);
    for (int64_t i = 0; i < a->width; i++)
        p->sum[i] = (double)x[i];
    for (int32_t i = 0; i <= n; i++) {
        transplant__atom(a, list[i], p->other);
        for (int64_t j = 0; j < a->width; j++)
            p->sum[j] -= weights[i] * (double)p->other[j];
    }
    return leave(p, t) > FITTED * transplant__dot(x, x, a->width);
}

void transplant__pursue(struct pursuer *p, const float *x, int count, struct picks *out)
{
    struct hunt h = {p, out};
    bool done[TARGETS_MAX] = {false};
    int64_t width = p->atoms->width;
    int left = count;
    for (int t = 0; t < count; t++) {
        for (int64_t i = 0; i < width; i++)
            p->sum[i] = (double)x[t * width + i];
        out->used[t] = 0;
        done[t] = !(leave(p, t) > 0);
        left -= done[t];
    }
    for (int64_t round = 0; round < p->k && left > 0; round++) {
        for (int t = 0; t < count; t++) {
            p->floor[t] = done[t] ? INFINITY : 0;
            p->counts[t] = 0;
        }
        transplant__sweep(p, count, look_at, &h);
        for (int t = 0; t < count; t++) {
            if (done[t] || join(&h, t, settle(p, t), x + t * width)) continue;
            done[t] = true;
            left--;
        }
    }
}
