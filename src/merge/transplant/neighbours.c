/* SPDX-License-Identifier: Apache-2.0
 * neighbours — a target as a sum of the k atoms that are nearest to it, weighted by
 *
 *     distance_proportional   1 / distance, or the cosine
 *     barycentric             min |x - sum w_i a_i| with sum w_i = 1
 *     least_squares           min |x - sum w_i a_i|
 *
 * The k nearest by f32 products and a few more are measured again in f64. Atoms that are sums of
 * those before them have no part in a fit. */
#include "merge/transplant/transplant.h"

#include <math.h>
#include <stdlib.h>

#define DISTANCE 1e-6 /* mergekit's smallest */

struct search {
    struct pursuer *p;
    int64_t most; /* of nearest atoms */
    bool cosine;
};

/* ---- a heap whose top is the farthest ---- */

static bool farther(const float *score, const int32_t *atom, int64_t a, int64_t b)
{
    return score[a] > score[b] || (score[a] == score[b] && atom[a] > atom[b]);
}

static void swap(float *score, int32_t *atom, int64_t a, int64_t b)
{
    float s = score[a];
    int32_t i = atom[a];
    score[a] = score[b];
    atom[a] = atom[b];
    score[b] = s;
    atom[b] = i;
}

static void sink(float *score, int32_t *atom, int64_t count)
{
    for (int64_t i = 0, child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && farther(score, atom, child + 1, child)) child++;
        if (!farther(score, atom, child, i)) break;
        swap(score, atom, child, i);
    }
}

static void offer(const struct search *s, int t, int32_t index, float value)
{
    float *score = s->p->scores + t * (s->p->k + SPARE);
    int32_t *atom = s->p->nearest + t * (s->p->k + SPARE);
    int64_t n = s->p->counts[t];
    if (n == s->most) {
        if (!(value < score[0])) return;
        score[0] = value;
        atom[0] = index;
        sink(score, atom, n);
        return;
    }
    score[n] = value;
    atom[n] = index;
    for (int64_t i = n; i > 0 && farther(score, atom, i, (i - 1) / 2); i = (i - 1) / 2)
        swap(score, atom, i, (i - 1) / 2);
    s->p->counts[t]++;
}

/* Smaller is nearer: |a|^2 - 2 <x, a>, or minus the cosine. */
static void consider(void *user, int t, int64_t index, const float *products)
{
    const struct search *s = user;
    const struct atoms *a = s->p->atoms;
    for (int j = 0; j < ATOMS_BLOCK && index * ATOMS_BLOCK + j < a->count; j++) {
        int32_t atom = (int32_t)(index * ATOMS_BLOCK + j);
        float norm = a->norms[atom], value = norm * norm - 2 * products[j];
        if (s->cosine) {
            float both = s->p->length[t] * norm;
            value = -products[j] / (both > (float)DISTANCE ? both : (float)DISTANCE);
        }
        offer(s, t, atom, value);
    }
}

/* ---- the chosen, measured ---- */

static int by_distance(const void *a, const void *b)
{
    const struct neighbour *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return (x->atom > y->atom) - (x->atom < y->atom);
}

static double measure(const struct search *s, const float *x, int32_t atom)
{
    struct pursuer *p = s->p;
    int64_t width = p->atoms->width;
    transplant__atom(p->atoms, atom, p->row);
    if (!s->cosine) {
        for (int64_t i = 0; i < width; i++)
            p->row[i] -= x[i];
        return sqrt(transplant__dot(p->row, p->row, width));
    }
    double both = sqrt(transplant__dot(x, x, width) * transplant__dot(p->row, p->row, width));
    return -transplant__dot(x, p->row, width) / fmax(both, DISTANCE);
}

static void weigh_by_distance(bool cosine, const struct neighbour *list, int count, double *out)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        out[i] = cosine ? -list[i].distance : 1 / fmax(list[i].distance, DISTANCE);
        sum += out[i];
    }
    for (int i = 0; i < count; i++)
        out[i] /= fmax(sum, DISTANCE);
}

/* The vector of atom i in the fit: itself, or what leads to it from the origin, which is an atom
 * too. */
static void arrow(const struct pursuer *p, const struct neighbour *list, int i, const float *origin,
                  float *out)
{
    transplant__atom(p->atoms, list[i].atom, out);
    for (int64_t j = 0; origin && j < p->atoms->width; j++)
        out[j] -= origin[j];
}

/* barycentric: from the nearest atom on, whose weight is what the others leave of 1. */
static void weigh_by_fit(struct pursuer *p, const float *x, bool barycentric,
                         const struct neighbour *list, int count, double *out)
{
    int64_t width = p->atoms->width;
    float *origin = p->rows, *target = origin + width; /* the sweep is over */
    int first = barycentric ? 1 : 0;
    struct normal fit = {0, p->factors, p->z};
    if (barycentric) transplant__atom(p->atoms, list[0].atom, origin);
    for (int64_t i = 0; i < width; i++)
        target[i] = barycentric ? x[i] - origin[i] : x[i];
    int32_t *kept = p->kept;
    for (int i = first; i < count; i++) {
        arrow(p, list, i, barycentric ? origin : NULL, p->row);
        for (int j = 0; j < fit.count; j++) {
            arrow(p, list, kept[j], barycentric ? origin : NULL, p->other);
            p->weights[j] = transplant__dot(p->row, p->other, width);
        }
        if (transplant__normal_add(&fit, p->weights, transplant__dot(p->row, p->row, width),
                                   transplant__dot(p->row, target, width)))
            kept[fit.count - 1] = i;
    }
    memset(out, 0, (size_t)count * sizeof *out);
    transplant__normal_solve(&fit, p->weights);
    double rest = 1;
    for (int j = 0; j < fit.count; j++) {
        out[kept[j]] = p->weights[j];
        rest -= p->weights[j];
    }
    if (barycentric) out[0] = rest;
}

static void take_nearest(const struct search *s, const float *x, int t,
                         const struct recipe_transplant *ask, struct picks *out)
{
    struct pursuer *p = s->p;
    const int32_t *atoms = p->nearest + t * (p->k + SPARE);
    int found = p->counts[t], count = found < p->k ? found : (int)p->k;
    double *weights = out->weights + t * out->k;
    for (int i = 0; i < found; i++)
        p->list[i] = (struct neighbour){measure(s, x, atoms[i]), atoms[i]};
    qsort(p->list, (size_t)found, sizeof *p->list, by_distance);
    if (ask->weights == WEIGHTS_DISTANCE)
        weigh_by_distance(s->cosine, p->list, count, weights);
    else
        weigh_by_fit(p, x, ask->weights == WEIGHTS_BARYCENTRIC, p->list, count, weights);
    for (int i = 0; i < count; i++)
        out->atoms[t * out->k + i] = p->list[i].atom;
    out->used[t] = count;
}

void transplant__neighbours(struct pursuer *p, const float *x, int count,
                            const struct recipe_transplant *ask, struct picks *out)
{
    int64_t width = p->atoms->width, most = p->k + SPARE;
    const struct search s = {p, most < p->atoms->count ? most : p->atoms->count, ask->cosine};
    for (int t = 0; t < count; t++) {
        const float *target = x + t * width;
        p->length[t] = (float)sqrt(transplant__dot(target, target, width));
        p->counts[t] = 0;
    }
    memcpy(p->rows, x, (size_t)(count * width) * sizeof *x);
    transplant__sweep(p, count, consider, (void *)(uintptr_t)&s);
    for (int t = 0; t < count; t++)
        take_nearest(&s, x + t * width, t, ask, out);
}
