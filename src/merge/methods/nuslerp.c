/* SPDX-License-Identifier: Apache-2.0
 * nuslerp — slerp of two models, or of their deltas from a base, by weights, as mergekit has it:
 *
 *     t = w_2 / (w_1 + w_2), 0.5 when the sum is under 1e-6
 *     c = <a,b> / (max(|a|, 1e-7) max(|b|, 1e-7));  colinear: (1-t) a + t b
 *     else, th = acos c:  (sin((1-t) th) a + sin(t th) b) / sin th
 *
 * a and b are the whole tensors (nuslerp_flatten), their rows (the last dimension), or with
 * nuslerp_row_wise their columns (all but the first dimension fixed). Columns are summed in a fixed
 * number of parts of consecutive rows, so that memory does not grow with the rows. */
#include "merge/methods/span.h"

#include <math.h>

#define NORM_MIN   1e-7 /* mergekit's */
#define WEIGHT_MIN 1e-6
#define COLINEAR   1e-7 /* of 1 - c^2: what mergekit's f32 tells from 0 */
#define PARTS_MAX  16
#define PARTS_SIZE ((int64_t)8 << 20)

enum vectors { WHOLE, ROWS, COLUMNS };
static const char *const vector_names[] = {"tensor", "rows", "columns"};

struct options {
    bool flatten, row_wise;
};
struct model_options {
    double weight;
};
/* What mergekit has in the tensor's type between its steps. */
struct steps {
    float norm[2], factor[2], sine;
    bool colinear;
};
struct state {
    struct merge_span span;
    double cosine; /* of rows and columns: their mean */
    struct steps steps;
};

static const struct ig_opt options[] = {
    IG_OPT_FLAG_ON(struct options, flatten, "nuslerp_flatten", 0, "one angle for the whole tensor"),
    IG_OPT_FLAG(struct options, row_wise, "nuslerp_row_wise", 0,
                "without nuslerp_flatten: an angle for each column, not for each row"),
    IG_OPT_END,
};
static const struct ig_opt model_options[] = {
    IG_OPT_REAL(struct model_options, weight, "weight", 0, "W", NULL, 0, 0, "the model's share"),
    IG_OPT_END,
};
static const char *const required[] = {"weight", NULL};

static enum vectors vectors_of(const struct merge_case *job)
{
    const struct options *o = job->options;
    if (o->flatten || job->tensor->rank < 2) return WHOLE;
    return o->row_wise ? COLUMNS : ROWS;
}

static double t_of(const struct merge_case *job)
{
    int skip = job->base >= 0;
    const struct model_options *a = merge__model_option(job, sizeof *a, skip);
    const struct model_options *b = merge__model_option(job, sizeof *b, skip + 1);
    double sum = a->weight + b->weight;
    return fabs(sum) < WEIGHT_MIN ? 0.5 : b->weight / sum;
}

/* Coefficients of a and b from <a,a>, <a,b>, <b,b>. Returns the cosine. */
static double weigh(double t, double aa, double ab, double bb, double c[2])
{
    double cosine = ab / (fmax(sqrt(fmax(0, aa)), NORM_MIN) * fmax(sqrt(fmax(0, bb)), NORM_MIN));
    cosine = fmax(-1, fmin(1, cosine));
    c[0] = 1 - t;
    c[1] = t;
    if (1 - cosine * cosine <= COLINEAR) return cosine;
    double angle = acos(cosine);
    c[0] = sin((1 - t) * angle) / sin(angle);
    c[1] = sin(t * angle) / sin(angle);
    return cosine;
}

static bool is_stepwise(const struct merge_case *job)
{
    return job->numerics != IG_F32;
}

/* Columns would need their sums in the tensor's type. */
static bool check(struct merge_case *job, struct merge_notes *notes, struct ig_err *err)
{
    (void)notes;
    if (!is_stepwise(job) || vectors_of(job) != COLUMNS) return true;
    return ig_err_set(err, IG_ERR_UNSUPPORTED,
                      "numerics: mergekit with nuslerp_row_wise cannot be reproduced in %s",
                      ig_dtype_name(job->numerics));
}

/* ---- the grid ---- */

static int64_t row(const struct merge_case *job)
{
    switch (vectors_of(job)) {
    case ROWS: return merge__row_elems(job->tensor);
    case COLUMNS: return job->tensor->elems / job->tensor->shape[0];
    default: return 0;
    }
}

static int64_t parts(const struct merge_case *job, int64_t cells)
{
    if (vectors_of(job) != COLUMNS) return 0;
    int64_t n = PARTS_SIZE / (3 * (int64_t)sizeof(double) * row(job));
    if (n > PARTS_MAX) n = PARTS_MAX;
    if (n > cells) n = cells;
    return n < 1 ? 1 : n;
}

static int64_t padded_columns(const struct merge_case *job)
{
    return (row(job) + 15) / 16 * 16;
}

/* For each part three sums for each column; then two coefficients for each column. */
static int64_t memory_bytes(const struct merge_case *job, int64_t cells)
{
    if (vectors_of(job) != COLUMNS) return 0;
    return (parts(job, cells) * 3 * (int64_t)sizeof(double) + 2 * (int64_t)sizeof(float)) *
           padded_columns(job);
}

static double *column_sums(const struct merge_case *job, void *memory, int64_t part)
{
    int64_t columns = padded_columns(job);
    return (double *)((float *)memory + 2 * columns) + part * 3 * columns;
}

/* ---- reduce, solve, map ---- */

static int sums(const struct merge_case *job, const void *state, int round)
{
    if (is_stepwise(job)) return vectors_of(job) == WHOLE && round < 2 ? 2 - round : -1;
    if (vectors_of(job) == WHOLE) return merge__span_sums(job, state, round);
    if (round > 0) return -1;
    return vectors_of(job) == ROWS ? 1 : 0;
}

/* Of rows and columns without a base the vectors are taken as they are. */
static enum merge_rows rows(const struct merge_case *job, const void *state, int round)
{
    (void)state, (void)round;
    bool plain = (vectors_of(job) != WHOLE || job->numerics != IG_F32) && job->base < 0;
    return plain ? MERGE_ROWS_PLAIN : MERGE_ROWS_DELTA;
}

static double weigh_row(const struct merge_block *block, double c[2])
{
    double lanes[IG_ROWS_PAIRS(2)][IG_ROWS_LANES] = {{0}}, g[IG_ROWS_PAIRS(2)];
    block->ops->gram(block->rows + (block->job->base >= 0), 2, block->count, lanes);
    for (int i = 0; i < IG_ROWS_PAIRS(2); i++)
        g[i] = merge__lane_sum(lanes[i]);
    return weigh(t_of(block->job), g[IG_ROWS_PAIR(0, 0)], g[IG_ROWS_PAIR(1, 0)],
                 g[IG_ROWS_PAIR(1, 1)], c);
}

/* ---- step by step, in the tensor's type ---- */

static float rounded(const struct merge_case *job, double value)
{
    return merge__round_one(job->numerics, (float)value);
}

static void add_squares(const struct merge_block *b, double (*out)[IG_ROWS_LANES])
{
    for (int v = 0; v < 2; v++)
        b->ops->gram(b->rows + (b->job->base >= 0) + v, 1, b->count, &out[v]);
}

static void find_norms(const struct merge_case *job, const double *squares, struct steps *s)
{
    for (int v = 0; v < 2; v++)
        s->norm[v] = rounded(job, fmax((double)rounded(job, sqrt(squares[v])), NORM_MIN));
}

/* Products of the unit vectors' elements. */
static void add_products(const struct merge_block *b, const struct steps *s, double *out)
{
    const float *const *v = b->rows + (b->job->base >= 0);
    float *unit[2] = {b->spare[0], b->spare[1]};
    for (int n = 0; n < 2; n++) {
        for (int64_t i = 0; i < b->count; i++)
            unit[n][i] = v[n][i] / s->norm[n];
        merge__round(b, unit[n]);
    }
    for (int64_t i = 0; i < b->count; i++)
        unit[0][i] *= unit[1][i];
    merge__round(b, unit[0]);
    for (int64_t i = 0; i < b->count; i++)
        out[i % IG_ROWS_LANES] += (double)unit[0][i];
}

static double find_factors(const struct merge_case *job, double products, struct steps *s)
{
    double t = t_of(job), cosine = fmax(-1, fmin(1, (double)rounded(job, products)));
    double sine_square = (double)rounded(job, 1 - (double)rounded(job, cosine * cosine));
    s->colinear = sine_square <= 1e-16; /* mergekit's eps, squared */
    s->factor[0] = (float)(1 - t);
    s->factor[1] = (float)t;
    if (s->colinear) return cosine;
    double angle = (double)rounded(job, acos(cosine));
    s->sine = rounded(job, sin(angle));
    s->factor[0] = rounded(job, sin((double)rounded(job, (1 - t) * angle)));
    s->factor[1] = rounded(job, sin((double)rounded(job, t * angle)));
    return cosine;
}

static void map_steps(const struct merge_block *b, const struct steps *s, float *out)
{
    int skip = b->job->base >= 0;
    float *other = b->spare[0];
    b->masks->scale(b->rows[skip], NULL, s->factor[0], b->count, out);
    merge__round(b, out);
    b->masks->scale(b->rows[skip + 1], NULL, s->factor[1], b->count, other);
    merge__round(b, other);
    b->masks->add(other, b->count, out);
    merge__round(b, out);
    for (int64_t i = 0; !s->colinear && i < b->count; i++)
        out[i] /= s->sine;
    merge__round(b, out);
    if (!skip) return;
    b->masks->add(b->rows[0], b->count, out);
    merge__round(b, out);
}

static void map_row_steps(const struct merge_block *b, float *out)
{
    struct steps s = {0};
    double lanes[2][IG_ROWS_LANES] = {{0}}, squares[2];
    add_squares(b, lanes);
    for (int v = 0; v < 2; v++)
        squares[v] = merge__lane_sum(lanes[v]);
    find_norms(b->job, squares, &s);
    memset(lanes, 0, sizeof lanes);
    add_products(b, &s, lanes[0]);
    find_factors(b->job, merge__lane_sum(lanes[0]), &s);
    map_steps(b, &s, out);
}

static void add_columns(const struct merge_block *block)
{
    const float *const *v = block->rows + (block->job->base >= 0);
    int64_t columns = padded_columns(block->job);
    double *aa = column_sums(block->job, block->memory, block->part);
    double *ab = aa + columns, *bb = ab + columns;
    for (int64_t i = 0; i < block->elems; i++) {
        double a = (double)v[0][i], b = (double)v[1][i];
        aa[i] += a * a;
        ab[i] += a * b;
        bb[i] += b * b;
    }
}

static void reduce(const struct merge_block *block, const void *state, int round,
                   double (*out)[IG_ROWS_LANES])
{
    double c[2];
    if (is_stepwise(block->job)) {
        if (round == 0)
            add_squares(block, out);
        else
            add_products(block, &((const struct state *)state)->steps, out[0]);
        return;
    }
    switch (vectors_of(block->job)) {
    case ROWS: out[0][0] += weigh_row(block, c); break;
    case COLUMNS: add_columns(block); break;
    default: merge__span_reduce(block, state, round, out);
    }
}

static double weigh_columns(const struct merge_case *job, const struct merge_totals *totals)
{
    int64_t columns = padded_columns(job), count = parts(job, totals->cells);
    float *factors = totals->memory;
    double sum = 0, c[2];
    for (int64_t i = 0; i < row(job); i++) {
        double g[3] = {0};
        for (int64_t p = 0; p < count; p++)
            for (int n = 0; n < 3; n++)
                g[n] += column_sums(job, totals->memory, p)[n * columns + i];
        sum += weigh(t_of(job), g[0], g[1], g[2], c);
        factors[i] = (float)c[0];
        factors[columns + i] = (float)c[1];
    }
    return sum / (double)row(job);
}

static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    (void)err;
    struct state *s = state;
    struct merge_span *span = &s->span;
    if (is_stepwise(job)) {
        if (round == 0)
            find_norms(job, totals->sums, &s->steps);
        else
            s->cosine = find_factors(job, totals->sums[0], &s->steps);
    } else if (vectors_of(job) == ROWS) {
        s->cosine = totals->sums[0] / (double)(job->tensor->elems / row(job));
    } else if (vectors_of(job) == COLUMNS) {
        s->cosine = weigh_columns(job, totals);
    } else {
        merge__span_gram(job, totals->sums, span);
        s->cosine = weigh(t_of(job), span->gram[0], span->gram[1], span->gram[3], span->c);
        merge__span_finish(job, span);
    }
    return true;
}

static void map_columns(const struct merge_block *block, float *out)
{
    int skip = block->job->base >= 0;
    const float *a = block->rows[skip], *b = block->rows[skip + 1], *base = block->rows[0];
    const float *ca = block->memory, *cb = ca + padded_columns(block->job);
    for (int64_t i = 0; i < block->elems; i++)
        out[i] = ca[i] * a[i] + cb[i] * b[i];
    for (int64_t i = 0; skip && i < block->elems; i++)
        out[i] += base[i];
}

static void map(const struct merge_block *block, const void *state, float *out)
{
    const struct state *s = state;
    int skip = block->job->base >= 0;
    if (is_stepwise(block->job)) {
        if (vectors_of(block->job) == WHOLE)
            map_steps(block, &s->steps, out);
        else
            map_row_steps(block, out);
    } else if (vectors_of(block->job) == WHOLE) {
        merge__span_map(block, &s->span, out);
    } else if (vectors_of(block->job) == COLUMNS) {
        map_columns(block, out);
    } else {
        double c[2];
        weigh_row(block, c);
        const float factors[3] = {skip ? 1 : (float)c[0], (float)c[skip ? 0 : 1], (float)c[1]};
        block->ops->combine(block->rows, factors, 2 + skip, block->count, out);
    }
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    const struct state *s = state;
    bool whole = vectors_of(job) == WHOLE;
    ig_json_add_text(w, "vectors", vector_names[vectors_of(job)]);
    ig_json_add_real(w, "t", t_of(job));
    if (is_stepwise(job)) {
        if (whole) ig_json_add_real(w, "cosine", s->cosine);
    } else if (whole) {
        merge__span_trace(&s->span, w);
    } else {
        ig_json_add_real(w, "mean_cosine", s->cosine);
    }
}

const struct merge_method merge__nuslerp = {
    .name = "nuslerp",
    .summary = "slerp by weights, of two models or of their deltas from a base",
    .source = "mergekit 0.1.5, nuslerp",
    .options = options,
    .options_bytes = sizeof(struct options),
    .model_options = model_options,
    .model_options_bytes = sizeof(struct model_options),
    .required = required,
    .models_min = 2,
    .models_max = 2,
    .base = MERGE_BASE_OPTIONAL,
    .stepwise = true,
    .state_bytes = sizeof(struct state),
    .check = check,
    .memory_bytes = memory_bytes,
    .row = row,
    .parts = parts,
    .rows = rows,
    .sums = sums,
    .reduce = reduce,
    .solve = solve,
    .map = map,
    .trace = trace,
};
