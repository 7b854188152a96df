/* SPDX-License-Identifier: Apache-2.0
 * karcher — the Karcher (Riemannian) mean of the models' directions, times their mean norm, as
 * mergekit has it. All of the iteration is on the K x K Gram matrix, in f64.
 *
 *     u_i = x_i / |x_i|; those with |x_i| > tol take part, with equal weights a
 *     m = mean of the u_i, normalised (the first u_i when it is under tol)
 *     T = sum a th_i / sin th_i (u_i - cos th_i m), th_i the angle to u_i; |T| < tol: done
 *     m = cos |T| m + sin |T| T / |T|, normalised
 *     out = m times the mean of all norms, zero ones included */
#include "merge/methods/algebra.h"
#include "merge/methods/span.h"

#include <math.h>

struct options {
    int64_t max_iter;
    double tol;
};
struct state {
    struct merge_span span;
    int iterations;
};

static const struct ig_opt options[] = {
    IG_OPT_INT(struct options, max_iter, "max_iter", 0, "N", "10", 0, 100000, "most iterations"),
    IG_OPT_REAL(struct options, tol, "tol", 0, "TOL", "1e-5", 0, 1, "a step that counts as none"),
    IG_OPT_END,
};

/* Of the units, whose inner products are h; m gets their combination. False: it was that already.
 */
static bool step(const double *h, int n, const bool *part, double tol, double *m)
{
    double t[MERGE_MODELS_MAX] = {0}, count = 0;
    for (int i = 0; i < n; i++)
        count += part[i];
    for (int i = 0; i < n; i++) {
        double dot = 0;
        for (int j = 0; j < n; j++)
            dot += h[i * n + j] * m[j];
        dot = fmax(-1, fmin(1, dot));
        double angle = acos(dot);
        if (!part[i] || angle < tol) continue;
        /* Opposite points: mergekit divides by sin(pi) as f32 has it, which is not 0 either. */
        double factor = angle / fmax(sin(angle), 1e-7) / count;
        t[i] += factor;
        for (int j = 0; j < n; j++)
            t[j] -= factor * dot * m[j];
    }
    double length = sqrt(fmax(0, merge__form(h, t, n)));
    if (length < tol || length == 0) return false;
    for (int i = 0; i < n; i++)
        m[i] = cos(length) * m[i] + sin(length) / length * t[i];
    double norm = sqrt(fmax(0, merge__form(h, m, n)));
    for (int i = 0; norm > tol && i < n; i++)
        m[i] /= norm;
    return true;
}

static void find_mean(const struct options *o, struct state *s, const double *norms)
{
    int n = s->span.n, count = 0, first = -1;
    double h[MERGE_MODELS_MAX * MERGE_MODELS_MAX], m[MERGE_MODELS_MAX] = {0};
    bool part[MERGE_MODELS_MAX];
    for (int i = 0; i < n; i++) {
        part[i] = norms[i] > o->tol;
        count += part[i];
        if (part[i] && first < 0) first = i;
    }
    if (count == 0) return; /* all coefficients stay 0 */
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            h[i * n + j] = part[i] && part[j] ? s->span.gram[i * n + j] / (norms[i] * norms[j]) : 0;
    for (int i = 0; i < n; i++)
        m[i] = part[i] ? 1.0 / count : 0;
    double length = sqrt(fmax(0, merge__form(h, m, n)));
    for (int i = 0; i < n; i++)
        m[i] = length < o->tol ? i == first : m[i] / length;
    while (s->iterations < o->max_iter && step(h, n, part, o->tol, m))
        s->iterations++;
    double scale = 0;
    for (int i = 0; i < n; i++)
        scale += norms[i] / n;
    for (int i = 0; i < n; i++)
        s->span.c[i] = part[i] ? scale * m[i] / norms[i] : 0;
}

static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    (void)round, (void)err;
    struct state *s = state;
    double norms[MERGE_MODELS_MAX];
    merge__span_gram(job, totals->sums, &s->span);
    for (int i = 0; i < s->span.n; i++)
        norms[i] = sqrt(fmax(0, s->span.gram[i * s->span.n + i]));
    if (s->span.n == 1)
        s->span.c[0] = 1;
    else
        find_mean(job->options, s, norms);
    merge__span_finish(job, &s->span);
    return true;
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    (void)job;
    const struct state *s = state;
    ig_json_add_int(w, "iterations", s->iterations);
    merge__span_trace(&s->span, w);
}

/* A base_model is an input like the others: span must not take it for an origin. */
static bool check(struct merge_case *job, struct merge_notes *notes, struct ig_err *err)
{
    (void)notes, (void)err;
    job->base = -1;
    return true;
}

const struct merge_method merge__karcher = {
    .name = "karcher",
    .summary = "the Karcher mean of the models' directions",
    .source = "mergekit 0.1.5, karcher",
    .options = options,
    .options_bytes = sizeof(struct options),
    .models_min = 1,
    .models_max = MERGE_MODELS_MAX,
    .base = MERGE_BASE_INPUT,
    .state_bytes = sizeof(struct state),
    .check = check,
    .rows = merge__span_rows,
    .sums = merge__span_sums,
    .reduce = merge__span_reduce,
    .solve = solve,
    .map = merge__span_map,
    .trace = trace,
};
