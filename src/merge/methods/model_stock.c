/* SPDX-License-Identifier: Apache-2.0
 * model_stock — how far from the base towards the mean of the finetunes, from the angles between
 * them (Jang et al. 2024, as mergekit has it):
 *
 *     d_i = x_i - base;  c = mean over pairs of <d_i,d_j> / max(|d_i| |d_j|, 1e-6), clamped
 *     t = N c / (1 + (N - 1) c), 0 where the divisor is;  out = base + t mean(d_i)
 *
 * of the whole tensor, or with filter_wise of each row. */
#include "merge/methods/span.h"

#include <math.h>

#define PRODUCT_MIN 1e-6 /* mergekit's */
#define DIVISOR_MIN 1e-6

struct options {
    bool filter_wise;
};
struct state {
    struct merge_span span;
    double cosine, t; /* filter_wise: their means over the rows */
};

static const struct ig_opt options[] = {
    IG_OPT_FLAG(struct options, filter_wise, "filter_wise", 0, "an angle for each row"),
    IG_OPT_END,
};

static bool is_filter_wise(const struct merge_case *job)
{
    const struct options *o = job->options;
    return o->filter_wise && job->tensor->rank > 1;
}

static int64_t row(const struct merge_case *job)
{
    return is_filter_wise(job) ? merge__row_elems(job->tensor) : 0;
}

/* The mean cosine, of packed inner products of n deltas. */
static double mean_cosine(const double *pairs, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++) {
            double product = sqrt(pairs[IG_ROWS_PAIR(i, i)]) * sqrt(pairs[IG_ROWS_PAIR(j, j)]);
            double cosine = pairs[IG_ROWS_PAIR(i, j)] / fmax(product, PRODUCT_MIN);
            sum += fmax(-1, fmin(1, cosine));
        }
    }
    return sum / (0.5 * n * (n - 1));
}

static double ratio(double cosine, int n)
{
    double divisor = 1 + (n - 1) * cosine;
    return fabs(divisor) < DIVISOR_MIN ? 0 : n * cosine / divisor;
}

static int sums(const struct merge_case *job, const void *state, int round)
{
    if (is_filter_wise(job)) return round == 0 ? 2 : -1;
    return merge__span_sums(job, state, round);
}

static double ratio_of_row(const struct merge_block *block, double *cosine)
{
    double pairs[IG_ROWS_PAIRS(MERGE_MODELS_MAX)];
    int n = block->job->models - 1;
    merge__span_block(block, pairs);
    *cosine = mean_cosine(pairs, n);
    return ratio(*cosine, n);
}

static void reduce(const struct merge_block *block, const void *state, int round,
                   double (*out)[IG_ROWS_LANES])
{
    if (!is_filter_wise(block->job)) {
        merge__span_reduce(block, state, round, out);
        return;
    }
    double cosine, t = ratio_of_row(block, &cosine);
    out[0][0] += cosine;
    out[1][0] += t;
}

static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    (void)round, (void)err;
    struct state *s = state;
    int n = job->models - 1;
    if (is_filter_wise(job)) {
        double count = (double)(job->tensor->elems / row(job));
        s->cosine = totals->sums[0] / count;
        s->t = totals->sums[1] / count;
        return true;
    }
    merge__span_gram(job, totals->sums, &s->span);
    s->cosine = mean_cosine(totals->sums, n);
    s->t = ratio(s->cosine, n);
    for (int i = 0; i < n; i++)
        s->span.c[i] = s->t / n;
    merge__span_finish(job, &s->span);
    return true;
}

static void map(const struct merge_block *block, const void *state, float *out)
{
    const struct state *s = state;
    if (!is_filter_wise(block->job)) {
        merge__span_map(block, &s->span, out);
        return;
    }
    float c[MERGE_MODELS_MAX] = {1};
    int n = block->job->models - 1;
    double cosine, t = ratio_of_row(block, &cosine);
    for (int i = 1; i <= n; i++)
        c[i] = (float)(t / n);
    block->ops->combine(block->rows, c, n + 1, block->count, out);
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    const struct state *s = state;
    ig_json_add_text(w, "vectors", is_filter_wise(job) ? "rows" : "tensor");
    ig_json_add_real(w, "mean_cosine", s->cosine);
    ig_json_add_real(w, "t", s->t);
    if (!is_filter_wise(job)) merge__span_trace(&s->span, w);
}

const struct merge_method merge__model_stock = {
    .name = "model_stock",
    .summary = "from the base towards the finetunes' mean, as far as their angles say",
    .source = "mergekit 0.1.5, model_stock; arXiv 2403.19522",
    .options = options,
    .options_bytes = sizeof(struct options),
    .models_min = 3,
    .models_max = MERGE_MODELS_MAX,
    .base = MERGE_BASE_REQUIRED,
    .state_bytes = sizeof(struct state),
    .row = row,
    .rows = merge__span_rows,
    .sums = sums,
    .reduce = reduce,
    .solve = solve,
    .map = map,
    .trace = trace,
};
