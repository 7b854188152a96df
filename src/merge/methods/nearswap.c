/* SPDX-License-Identifier: Apache-2.0
 * nearswap — towards the other model where it is near the base: out = base + w (x - base),
 * w = t / max(|x - base|, 1e-6), at most 1. So no element moves by more than t. */
#include "merge/method.h"

#include <math.h>

#define APART_MIN 1e-6f /* mergekit's */

struct options {
    double t;
};

static const struct ig_opt options[] = {
    IG_OPT_REAL(struct options, t, "t", 0, "T", NULL, 0, 0, "the most that an element moves"),
    IG_OPT_END,
};
static const char *const required[] = {"t", NULL};

static enum merge_rows rows(const struct merge_case *job, const void *state, int round)
{
    (void)state, (void)round;
    /* mergekit weighs the two models, and rounds between. */
    return job->numerics == IG_F32 ? MERGE_ROWS_DELTA : MERGE_ROWS_PLAIN;
}

static void map_stepwise(const struct merge_block *b, float t, float *out)
{
    const float *base = b->rows[0], *other = b->rows[1];
    float *w = b->spare[0], *kept = b->spare[1];
    for (int64_t i = 0; i < b->count; i++)
        w[i] = fabsf(base[i] - other[i]);
    merge__round(b, w);
    for (int64_t i = 0; i < b->count; i++)
        w[i] = w[i] > APART_MIN ? w[i] : APART_MIN;
    merge__round(b, w);
    for (int64_t i = 0; i < b->count; i++)
        w[i] = 1 / w[i]; /* torch divides a number by a tensor so */
    merge__round(b, w);
    for (int64_t i = 0; i < b->count; i++)
        w[i] *= t;
    merge__round(b, w);
    for (int64_t i = 0; i < b->count; i++)
        w[i] = w[i] < 0 ? 0 : w[i] > 1 ? 1 : w[i];
    for (int64_t i = 0; i < b->count; i++)
        kept[i] = 1 - w[i];
    merge__round(b, kept);
    for (int64_t i = 0; i < b->count; i++)
        kept[i] *= base[i];
    merge__round(b, kept);
    for (int64_t i = 0; i < b->count; i++)
        w[i] *= other[i];
    merge__round(b, w);
    for (int64_t i = 0; i < b->count; i++)
        out[i] = w[i] + kept[i];
    merge__round(b, out);
}

static void map(const struct merge_block *b, const void *state, float *out)
{
    (void)state;
    const struct options *o = b->job->options;
    float t = (float)o->t;
    if (b->job->numerics != IG_F32) {
        map_stepwise(b, t, out);
        return;
    }
    b->masks->approach(b->rows[0], b->rows[1], t, APART_MIN, b->count, out);
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    (void)state;
    ig_json_add_real(w, "t", ((const struct options *)job->options)->t);
}

const struct merge_method merge__nearswap = {
    .name = "nearswap",
    .summary = "towards the other model where it is near the base",
    .source = "mergekit 0.1.5, nearswap",
    .options = options,
    .options_bytes = sizeof(struct options),
    .required = required,
    .models_min = 2,
    .models_max = 2,
    .base = MERGE_BASE_REQUIRED,
    .stepwise = true,
    .rows = rows,
    .map = map,
    .trace = trace,
};
