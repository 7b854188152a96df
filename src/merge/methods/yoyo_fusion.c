/* SPDX-License-Identifier: Apache-2.0
 * yoyo_fusion — robust merging in the residual subspace (YOYO-AI's YOYO-Fusion).
 *
 *     u_k = x_k / (r_k + eps), r_k the root mean square;  m a centre of the u_k;  R_k = u_k - m
 *     R^T = B S V^T;  Z = R B;  z = bisquare-weighted mean of the Z_k;  y' = m + lambda B z
 *     out = alpha mean(r_k) y', alpha so that the norm is the mean norm of the x_k
 *
 * Steps and variants: docs/merge.md. Source: github.com/andehury/YOYO-Fusion, commits 0338e001
 * (2025-10) and f8f5c4e (2026-01).
 *
 * Everything but the output is a function of inner products: with an anchor or a geometric median
 * of the K x K Gram matrix of {x_1, x_2 - x_1, ...}; a coordinate-wise median costs one more round,
 * the Gram matrix of {m, R_1 .. R_K}. That part is yoyo_algebra.c. */
#include "merge/methods/polar.h"
#include "merge/methods/yoyo.h"

#include <ctype.h>
#include <stdlib.h>

const char *const yoyo__centers[] = {"auto", "geometric_median", "coordinate_median", "anchor",
                                     NULL};
const char *const yoyo__variants[] = {"2025-10", "2026-01", NULL};
static const char *const medians[] = {"lower", "midpoint", NULL};
static const char *const z_starts[] = {"median", "zero", NULL};
static const char *const lists[] = {"drop_directions", NULL};

// clang-format off
static const struct ig_opt options[] = {
    IG_OPT_CHOICE(struct yoyo_options, center, "center", 0, yoyo__centers, "auto", "auto: anchor when there is a base_model, else geometric_median"),
    IG_OPT_CHOICE(struct yoyo_options, variant, "variant", 0, yoyo__variants, "2025-10", "which release of the author's program"),
    IG_OPT_FLAG_ON(struct yoyo_options, truncate, "truncate", 0, "keep K-1 directions and restore their energy; false: all K, lambda 1"),
    IG_OPT_CHOICE(struct yoyo_options, median, "median", 0, medians, "lower", "of an even number of values"),
    IG_OPT_INT(struct yoyo_options, keep_rank, "keep_rank", 0, "N", NULL, 1, K_MAX, "keep at most N directions"),
    IG_OPT_REAL(struct yoyo_options, keep_energy, "keep_energy", 0, "SHARE", NULL, 1e-9, 1, "keep the first directions that hold this share of the energy"),
    IG_OPT_TEXT(struct yoyo_options, drop_directions, "drop_directions", 0, "LIST", NULL, "leave these directions out; 0 is the strongest"),
    IG_OPT_REAL(struct yoyo_options, min_agreement, "min_agreement", 0, "SHARE", NULL, 0, 1, "leave out directions whose summed weight is under this share of K"),
    IG_OPT_CHOICE(struct yoyo_options, z_start, "z_start", 0, z_starts, "median", "2026-01: where the bisquare starts"),
    IG_OPT_TEXT(struct yoyo_options, sign_align, "sign_align", 0, "MODEL", NULL, "2026-01: flip elements whose sign opposes this model's"),
    IG_OPT_FLAG(struct yoyo_options, matrix_boost, "matrix_boost", 0, "2026-01: set all singular values of the residual matrix to the largest"),
    IG_OPT_REAL(struct yoyo_options, eps, "eps", 0, "EPS", "1e-8", 1e-30, 1, "keeps divisions defined"),
    IG_OPT_END,
};
// clang-format on

/* ---- the recipe's choices ---- */

/* Directions named by "0,2" as bits; false when the text is something else. */
bool yoyo__parse_directions(const char *text, uint64_t *out)
{
    uint64_t bits = 0;
    for (const char *p = text; p && *p;) {
        char *end;
        if (!isdigit((unsigned char)*p)) return false;
        long value = strtol(p, &end, 10);
        if (value >= K_MAX || (*end && *end != ',')) return false;
        bits |= (uint64_t)1 << value;
        p = *end ? end + 1 : end;
    }
    *out = bits;
    return true;
}

static bool contains_word(struct ig_slice name, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= name.len; i++)
        if (strncasecmp(name.ptr + i, word, n) == 0) return true;
    return false;
}

static bool is_boosted(const struct merge_case *job)
{
    const struct yoyo_options *o = job->options;
    const struct ig_tensor *t = job->tensor;
    return o->matrix_boost && t->rank == 2 && t->elems > 0 && !contains_word(t->name, "embed") &&
           !contains_word(t->name, "lm_head");
}

static bool check_newer(const struct yoyo_options *o, struct ig_err *err)
{
    const char *name = o->matrix_boost              ? "matrix_boost"
                       : o->sign_align              ? "sign_align"
                       : o->z_start == Z_START_ZERO ? "z_start: zero"
                                                    : NULL;
    if (!name || o->variant == VARIANT_2026_01) return true;
    return ig_err_set(err, IG_ERR_USAGE, "%s belongs to variant \"2026-01\"", name);
}

static bool check_sign(struct merge_case *job, struct ig_err *err)
{
    const struct yoyo_options *o = job->options;
    for (int i = 0; o->sign_align && i < job->models; i++)
        if (ig_slice_is(job->model_names[i], o->sign_align)) job->sign_ref = i;
    if (!o->sign_align || job->sign_ref >= 0) return true;
    return ig_err_set(err, IG_ERR_USAGE, "sign_align: '%s' is not one of the recipe's models",
                      o->sign_align);
}

static bool check(struct merge_case *job, struct merge_notes *notes, struct ig_err *err)
{
    const struct yoyo_options *o = job->options;
    uint64_t drop;
    if (yoyo__center(job) == CENTER_ANCHOR && job->base < 0)
        return ig_err_set(err, IG_ERR_USAGE, "center: anchor needs a base_model");
    if (!yoyo__parse_directions(o->drop_directions, &drop))
        return ig_err_set(err, IG_ERR_USAGE,
                          "drop_directions: '%s' is not a list of numbers from 0 to %d",
                          o->drop_directions, K_MAX - 1);
    if (!check_newer(o, err) || !check_sign(job, err)) return false;
    if (job->models == 2 && yoyo__center(job) == CENTER_ANCHOR && o->median == MEDIAN_LOWER)
        merge__warn_once(
            notes, 1,
            "two models and an anchor: the lower of two deviations is always 0, so the "
            "anchor comes back merely rescaled; median: midpoint moves it");
    return true;
}

static int64_t memory_bytes(const struct merge_case *job, int64_t cells)
{
    (void)cells;
    if (!is_boosted(job)) return 0;
    return merge__polar_bytes(job->tensor->shape[0], job->tensor->shape[1]);
}

/* ---- reduce ---- */

static enum merge_rows rows(const struct merge_case *job, const void *state, int round)
{
    const struct yoyo_state *s = state;
    if (yoyo__is_median_center(job)) return MERGE_ROWS_PLAIN;
    return round > 0 && s->pass == PASS_MEDIAN ? MERGE_ROWS_PLAIN : MERGE_ROWS_DELTA;
}

static int sums(const struct merge_case *job, const void *state, int round)
{
    const struct yoyo_state *s = state;
    if (round == 0) return IG_ROWS_PAIRS(job->models);
    switch (s->pass) {
    case PASS_MEDIAN: return IG_ROWS_PAIRS(job->models + 1);
    case PASS_RESIDUAL: return 0;
    case PASS_NORM: return 1;
    default: return -1;
    }
}

/* m into spare[0], R_k into spare[k]. */
static void center_rows(const struct merge_block *b, const struct yoyo_state *s)
{
    const struct yoyo_options *o = b->job->options;
    int k = b->job->models;
    b->ops->median(b->rows, s->scale, k, yoyo__is_midpoint(o), b->count, b->spare[0]);
    for (int i = 0; i < k; i++)
        b->ops->residual(b->rows[i], s->scale[i], b->spare[0], b->count, b->spare[i + 1]);
}

/* A combination of the rows, or of m and the R_k. */
static void combine(const struct merge_block *b, const struct yoyo_state *s, const float *c,
                    float *out)
{
    const float *parts[K_MAX + 1];
    int k = b->job->models;
    if (!yoyo__is_median_center(b->job)) {
        b->ops->combine(b->rows, c, k, b->count, out);
        return;
    }
    center_rows(b, s);
    for (int i = 0; i <= k; i++)
        parts[i] = b->spare[i];
    b->ops->combine(parts, c, k + 1, b->count, out);
}

/* The block's part of the tensor that a boost holds in memory, or NULL. */
static float *whole_of(const struct merge_block *b)
{
    return b->memory ? (float *)b->memory + b->first : NULL;
}

static void reduce(const struct merge_block *b, const void *state, int round,
                   double (*out)[IG_ROWS_LANES])
{
    const struct yoyo_state *s = state;
    int k = b->job->models;
    float *scratch = b->spare[k], *whole = whole_of(b);
    if (round == 0) {
        b->ops->gram(b->rows, k, b->count, out);
    } else if (s->pass == PASS_MEDIAN) {
        const float *parts[K_MAX + 1];
        center_rows(b, s);
        for (int i = 0; i <= k; i++)
            parts[i] = b->spare[i];
        b->ops->gram(parts, k + 1, b->count, out);
    } else if (s->pass == PASS_RESIDUAL) {
        combine(b, s, s->c_residual, scratch);
        memcpy(whole, scratch, (size_t)b->elems * sizeof *scratch);
    } else {
        combine(b, s, s->c_center, scratch);
        for (int64_t i = 0; i < b->elems; i++)
            whole[i] = scratch[i] += whole[i];
        b->ops->gram((const float *const[]){scratch}, 1, b->count, out);
    }
}

/* ---- solve and map ---- */

static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    struct yoyo_state *s = state;
    const double *pairs = totals->sums;
    if (round == 0) {
        s->boosted = is_boosted(job);
        yoyo__solve_gram(job, s, pairs);
    } else if (s->pass == PASS_MEDIAN) {
        yoyo__solve_median(job, s, pairs);
    } else if (s->pass == PASS_RESIDUAL) {
        s->pass = PASS_NORM;
        return merge__boost(totals->memory, job->tensor->shape[0], job->tensor->shape[1],
                            totals->pool, err);
    } else {
        yoyo__scale_output(job, s, pairs[0]);
        s->pass = PASS_END;
    }
    return true;
}

static void map(const struct merge_block *b, const void *state, float *out)
{
    const struct yoyo_state *s = state;
    if (!s->boosted || s->center_only) {
        combine(b, s, s->c, out);
        return;
    }
    const float *whole = whole_of(b);
    for (int64_t i = 0; i < b->elems; i++)
        out[i] = (float)s->factor * whole[i];
}

const struct merge_method merge__yoyo_fusion = {
    .name = "yoyo_fusion",
    .summary = "robust merging in the residual subspace (YOYO-Fusion)",
    .source = "github.com/andehury/YOYO-Fusion, commits 0338e001 and f8f5c4e",
    .options = options,
    .options_bytes = sizeof(struct yoyo_options),
    .lists = lists,
    .models_min = 2,
    .models_max = MERGE_MODELS_MAX,
    .base = MERGE_BASE_INPUT,
    .state_bytes = sizeof(struct yoyo_state),
    .check = check,
    .pooled = true,
    .memory_bytes = memory_bytes,
    .rows = rows,
    .sums = sums,
    .reduce = reduce,
    .solve = solve,
    .map = map,
    .trace = yoyo__trace,
};
