/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/methods/span.h"

#include "merge/methods/algebra.h"

#include <math.h>

static int origin_rows(const struct merge_case *job)
{
    return job->base >= 0 ? 1 : 0;
}

enum merge_rows merge__span_rows(const struct merge_case *job, const void *state, int round)
{
    (void)job, (void)state, (void)round;
    return MERGE_ROWS_DELTA;
}

int merge__span_sums(const struct merge_case *job, const void *state, int round)
{
    (void)state;
    return round == 0 ? IG_ROWS_PAIRS(job->models - origin_rows(job)) : -1;
}

void merge__span_reduce(const struct merge_block *block, const void *state, int round,
                        double (*sums)[IG_ROWS_LANES])
{
    (void)state, (void)round;
    int skip = origin_rows(block->job);
    block->ops->gram(block->rows + skip, block->job->models - skip, block->count, sums);
}

void merge__span_block(const struct merge_block *block, double *pairs)
{
    double lanes[IG_ROWS_PAIRS(MERGE_MODELS_MAX)][IG_ROWS_LANES];
    int count = merge__span_sums(block->job, NULL, 0);
    memset(lanes, 0, (size_t)count * sizeof *lanes);
    merge__span_reduce(block, NULL, 0, lanes);
    for (int i = 0; i < count; i++)
        pairs[i] = merge__lane_sum(lanes[i]);
}

void merge__span_gram(const struct merge_case *job, const double *pairs, struct merge_span *span)
{
    int n = span->n = job->models - origin_rows(job);
    double *g = span->gram;
    merge__unpack(pairs, n, g);
    if (origin_rows(job)) return;
    for (int i = 1; i < n; i++)
        for (int j = 1; j < n; j++)
            g[i * n + j] += g[0] + g[i * n] + g[j];
    for (int i = 1; i < n; i++)
        g[i * n] = g[i] += g[0];
}

void merge__span_finish(const struct merge_case *job, struct merge_span *span)
{
    int skip = origin_rows(job);
    double sum = 0;
    for (int i = 0; i < span->n; i++)
        sum += span->c[i];
    for (int i = 0; i < span->n; i++)
        span->row_c[i + skip] = (float)span->c[i];
    span->row_c[0] = skip ? 1 : (float)sum;
}

void merge__span_map(const struct merge_block *block, const void *state, float *out)
{
    const struct merge_span *span = state;
    block->ops->combine(block->rows, span->row_c, block->job->models, block->count, out);
}

void merge__span_trace(const struct merge_span *span, struct ig_json_writer *w)
{
    int n = span->n;
    double norm[MERGE_MODELS_MAX] = {0};
    for (int i = 0; i < n; i++)
        norm[i] = sqrt(fmax(0, span->gram[i * n + i]));
    merge__put_reals(w, "norm", norm, n);
    ig_json_key(w, "cosine");
    ig_json_open(w, '[');
    for (int i = 0; i < n; i++) {
        ig_json_open(w, '[');
        for (int j = 0; j < n; j++) {
            double product = norm[i] * norm[j];
            ig_json_put_real(w, product > 0 ? span->gram[i * n + j] / product : 0);
        }
        ig_json_close(w, ']');
    }
    ig_json_close(w, ']');
    merge__put_reals(w, "c", span->c, n);
}
