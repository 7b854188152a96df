/* SPDX-License-Identifier: Apache-2.0
 * yoyo_scale — each finetune's share of its delta from the base, from a small convex quadratic
 * programme (YOYO-Scale):
 *
 *     min 1/2 l^T (G + eps I) l - b^T l,  l >= 0, sum l <= 1;  out = base + sum l_i d_i
 *     G = <d_i, d_j>,  b_j = the mean over i /= j of <d_i, d_j>,  eps = 1e-12
 *
 * The products between different models are what they agree on; a model's product with itself has
 * its own noise in it, so that b leaves it out. Model Stock is the case of equal norms and angles.
 */
#include "merge/methods/algebra.h"
#include "merge/methods/span.h"

#define EPS 1e-12 /* the author's */

static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    (void)round, (void)err;
    struct merge_span *s = state;
    double h[MERGE_MODELS_MAX * MERGE_MODELS_MAX], b[MERGE_MODELS_MAX];
    merge__span_gram(job, totals->sums, s);
    int n = s->n;
    for (int i = 0; i < n; i++) {
        b[i] = 0;
        for (int j = 0; j < n; j++) {
            h[i * n + j] = s->gram[i * n + j] + (i == j ? EPS : 0);
            if (i != j) b[i] += s->gram[i * n + j] / (n - 1);
        }
    }
    if (n == 1)
        s->c[0] = 1; /* nothing to agree with: the author takes the model */
    else
        merge__simplex(h, b, n, s->c);
    merge__span_finish(job, s);
    return true;
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    (void)job;
    merge__span_trace(state, w);
}

const struct merge_method merge__yoyo_scale = {
    .name = "yoyo_scale",
    .summary = "each finetune's share by a convex programme of their agreement (YOYO-Scale)",
    .source = "github.com/andehury/YOYO-Scale, commit 5104460",
    .models_min = 2,
    .models_max = MERGE_MODELS_MAX,
    .base = MERGE_BASE_REQUIRED,
    .state_bytes = sizeof(struct merge_span),
    .rows = merge__span_rows,
    .sums = merge__span_sums,
    .reduce = merge__span_reduce,
    .solve = solve,
    .map = merge__span_map,
    .trace = trace,
};
