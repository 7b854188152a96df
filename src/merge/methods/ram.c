/* SPDX-License-Identifier: Apache-2.0
 * ram, ramplus_tl — deltas from the base that one model has alone are kept whole, those that
 * several have are averaged (arXiv 2601.13572, as mergekit has it):
 *
 *     n = how many |d_i| > epsilon;  out = base + sum over those of d_i / max(n, 1)
 *
 * ramplus_tl: where n is 1, times 1 + r min(shared_i / max(unique_i, epsilon), alpha): how many of
 * model i's elements are shared, and how many its own, in this tensor. */
#include "merge/method.h"

#include <math.h>

struct options {
    double epsilon, r, alpha;
};
struct state {
    double shared[MERGE_MODELS_MAX], unique[MERGE_MODELS_MAX];
    float own[MERGE_MODELS_MAX]; /* factor of what only this model has */
};

// clang-format off
#define EPSILON IG_OPT_REAL(struct options, epsilon, "epsilon", 0, "EPS", "1e-5", 0, 0, "a delta that counts as none")
static const struct ig_opt ram_options[] = {EPSILON, IG_OPT_END};
static const struct ig_opt plus_options[] = {
    EPSILON,
    IG_OPT_REAL(struct options, r, "r", 0, "R", "0.1", 0, 0, "how much own elements gain"),
    IG_OPT_REAL(struct options, alpha, "alpha", 0, "A", "0.2", 0, 0, "the most of the ratio that counts"),
    IG_OPT_END,
};
// clang-format on

static enum merge_rows rows(const struct merge_case *job, const void *state, int round)
{
    (void)job, (void)state, (void)round;
    return MERGE_ROWS_DELTA;
}

/* The threshold as it compares with values of the tensor's type. */
static float epsilon_of(const struct merge_block *b)
{
    const struct options *o = b->job->options;
    float epsilon[16] = {(float)o->epsilon};
    struct merge_block one = *b;
    one.count = one.elems = 16;
    merge__round(&one, epsilon);
    return epsilon[0];
}

/* How many models have each element. */
static void count_models(const struct merge_block *b, float epsilon, float *count)
{
    memset(count, 0, (size_t)b->count * sizeof *count);
    for (int m = 1; m < b->job->models; m++)
        b->masks->count_over(b->rows[m], epsilon, b->count, count);
}

static int sums(const struct merge_case *job, const void *state, int round)
{
    (void)state;
    return round == 0 ? 2 * (job->models - 1) : -1;
}

static void reduce(const struct merge_block *b, const void *state, int round,
                   double (*out)[IG_ROWS_LANES])
{
    (void)state, (void)round;
    float epsilon = epsilon_of(b), *count = b->spare[0];
    count_models(b, epsilon, count);
    for (int m = 1; m < b->job->models; m++) {
        int64_t shared = 0, unique = 0;
        b->masks->shares(b->rows[m], count, epsilon, b->count, &shared, &unique);
        out[2 * (m - 1)][0] += (double)shared;
        out[2 * (m - 1) + 1][0] += (double)unique;
    }
}

static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    (void)round, (void)err;
    struct state *s = state;
    const struct options *o = job->options;
    for (int m = 0; m < job->models - 1; m++) {
        s->shared[m] = totals->sums[2 * m];
        s->unique[m] = totals->sums[2 * m + 1];
        double ratio = s->shared[m] / fmax(s->unique[m], o->epsilon);
        s->own[m] = (float)(1 + o->r * fmax(0, fmin(ratio, o->alpha)));
    }
    return true;
}

/* own: NULL for ram. */
static void add_deltas(const struct merge_block *b, const float *own, float *out)
{
    float epsilon = epsilon_of(b), *count = b->spare[0], *part = b->spare[1];
    count_models(b, epsilon, count);
    memset(out, 0, (size_t)b->count * sizeof *out);
    for (int m = 1; m < b->job->models; m++) {
        b->masks->average(b->rows[m], count, epsilon, b->count, part);
        merge__round(b, part);
        if (own) b->masks->boost(count, own[m - 1], b->count, part);
        b->masks->add(part, b->count, out);
    }
    if (!own) merge__round(b, out);
    b->masks->add(b->rows[0], b->count, out);
    if (!own) merge__round(b, out);
}

static void map_ram(const struct merge_block *b, const void *state, float *out)
{
    (void)state;
    add_deltas(b, NULL, out);
}

static void map_plus(const struct merge_block *b, const void *state, float *out)
{
    add_deltas(b, ((const struct state *)state)->own, out);
}

static void trace_ram(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    (void)state;
    ig_json_add_real(w, "epsilon", ((const struct options *)job->options)->epsilon);
}

static void trace_plus(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    const struct state *s = state;
    double own[MERGE_MODELS_MAX];
    for (int i = 0; i < job->models - 1; i++)
        own[i] = (double)s->own[i];
    trace_ram(job, state, w);
    merge__put_reals(w, "shared", s->shared, job->models - 1);
    merge__put_reals(w, "unique", s->unique, job->models - 1);
    merge__put_reals(w, "own_factor", own, job->models - 1);
}

const struct merge_method merge__ram = {
    .name = "ram",
    .summary = "deltas that one model has alone are kept, shared ones averaged",
    .source = "mergekit 0.1.5, ram; arXiv 2601.13572",
    .options = ram_options,
    .options_bytes = sizeof(struct options),
    .models_min = 1,
    .models_max = MERGE_MODELS_MAX,
    .base = MERGE_BASE_REQUIRED,
    .stepwise = true,
    .rows = rows,
    .map = map_ram,
    .trace = trace_ram,
};

const struct merge_method merge__ramplus_tl = {
    .name = "ramplus_tl",
    .summary = "ram, and what one model has alone gains by how much it shares",
    .source = "mergekit 0.1.5, ramplus_tl; arXiv 2601.13572",
    .options = plus_options,
    .options_bytes = sizeof(struct options),
    .models_min = 1,
    .models_max = MERGE_MODELS_MAX,
    .base = MERGE_BASE_REQUIRED,
    .stepwise = true,
    .state_bytes = sizeof(struct state),
    .rows = rows,
    .sums = sums,
    .reduce = reduce,
    .solve = solve,
    .map = map_plus,
    .trace = trace_plus,
};
