/* SPDX-License-Identifier: Apache-2.0
 * slerp — along the arc between two tensors, as mergekit has it: the angle is that of the
 * normalised tensors, the sum is of the tensors as they are.
 *
 *     d = <a,b> / (|a| |b|);  |d| > 0.9995: (1-t) a + t b
 *     else, th = acos d:      (sin((1-t) th) a + sin(t th) b) / sin th
 *
 * a is the base (t = 0). Norms up to 1e-8 count as 1. */
#include "merge/method.h"

#include "merge/methods/algebra.h"

#include <math.h>

#define PARALLEL  0.9995 /* mergekit's dot_threshold */
#define NORM_ZERO 1e-8   /* mergekit's eps */

struct options {
    double t;
};
struct state {
    double cosine, c[2]; /* of a and of b */
};

static const struct ig_opt options[] = {
    IG_OPT_REAL(struct options, t, "t", 0, "T", NULL, 0, 0, "0: the base, 1: the other model"),
    IG_OPT_END,
};
static const char *const required[] = {"t", NULL};

static enum merge_rows rows(const struct merge_case *job, const void *state, int round)
{
    (void)state, (void)round;
    return job->numerics == IG_F32 ? MERGE_ROWS_DELTA : MERGE_ROWS_PLAIN;
}

static int sums(const struct merge_case *job, const void *state, int round)
{
    (void)job, (void)state;
    return round == 0 ? IG_ROWS_PAIRS(2) : -1;
}

static void reduce(const struct merge_block *block, const void *state, int round,
                   double (*out)[IG_ROWS_LANES])
{
    (void)state, (void)round;
    block->ops->gram(block->rows, 2, block->count, out);
}

static double norm(double square)
{
    double n = square > 0 ? sqrt(square) : 0;
    return n > NORM_ZERO ? n : 1;
}

/* Rows are a and b, or a and b - a. */
static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    (void)round, (void)err;
    const double *pairs = totals->sums;
    struct state *s = state;
    double t = ((const struct options *)job->options)->t;
    double aa = pairs[IG_ROWS_PAIR(0, 0)], ab = pairs[IG_ROWS_PAIR(1, 0)];
    double bb = pairs[IG_ROWS_PAIR(1, 1)];
    if (rows(job, state, round) == MERGE_ROWS_DELTA) {
        bb += aa + 2 * ab;
        ab += aa;
    }
    double d = ab / (norm(aa) * norm(bb));
    s->cosine = d < -1 ? -1 : d > 1 ? 1 : d;
    s->c[0] = 1 - t;
    s->c[1] = t;
    if (fabs(s->cosine) > PARALLEL) return true;
    double angle = acos(s->cosine);
    s->c[0] = sin((1 - t) * angle) / sin(angle);
    s->c[1] = sin(t * angle) / sin(angle);
    return true;
}

static void map(const struct merge_block *block, const void *state, float *out)
{
    const struct state *s = state;
    bool plain = block->job->numerics != IG_F32; /* mergekit takes no differences */
    float c[2] = {(float)(s->c[0] + (plain ? 0 : s->c[1])), (float)s->c[1]};
    block->ops->combine(block->rows, c, 2, block->count, out);
    merge__round(block, out);
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    (void)job;
    const struct state *s = state;
    ig_json_add_real(w, "cosine", s->cosine);
    ig_json_key(w, "c");
    ig_json_open(w, '[');
    ig_json_put_real(w, s->c[0]);
    ig_json_put_real(w, s->c[1]);
    ig_json_close(w, ']');
}

const struct merge_method merge__slerp = {
    .name = "slerp",
    .summary = "along the arc from the base to another model",
    .source = "mergekit 0.1.5, slerp",
    .options = options,
    .options_bytes = sizeof(struct options),
    .required = required,
    .models_min = 2,
    .models_max = 2,
    .base = MERGE_BASE_REQUIRED,
    .stepwise = true,
    .rows = rows,
    .state_bytes = sizeof(struct state),
    .sums = sums,
    .reduce = reduce,
    .solve = solve,
    .map = map,
    .trace = trace,
};
