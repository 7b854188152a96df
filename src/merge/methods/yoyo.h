/* SPDX-License-Identifier: Apache-2.0
 * yoyo — what yoyo_fusion.c (options, passes over data) and yoyo_algebra.c (everything in between,
 * on K x K numbers) share. */
#pragma once
#include "merge/method.h"

#define K_MAX MERGE_MODELS_MAX

enum center { CENTER_AUTO, CENTER_GEOMETRIC, CENTER_COORDINATE, CENTER_ANCHOR };
enum variant { VARIANT_2025_10, VARIANT_2026_01 };
enum { MEDIAN_LOWER, MEDIAN_MIDPOINT };
enum { Z_START_MEDIAN, Z_START_ZERO };

struct yoyo_options {
    int center, variant, median, z_start;
    bool truncate, matrix_boost;
    int64_t keep_rank;
    double keep_energy, min_agreement, eps;
    const char *drop_directions, *sign_align;
};

/* What the next round adds up. */
enum pass { PASS_GRAM, PASS_MEDIAN, PASS_RESIDUAL, PASS_NORM, PASS_END };

struct yoyo_state {
    enum pass pass;
    bool boosted;               /* the recipe asks for matrix_boost and the tensor is one for it */
    bool center_only;           /* y' = m: nothing differs */
    double gram[K_MAX * K_MAX]; /* of the rows of the first round */
    double h[K_MAX * K_MAX];    /* of the u_k - u_1 */
    double rr[K_MAX * K_MAX];   /* of the R_k */
    double square[K_MAX], norm[K_MAX], r[K_MAX], rho[K_MAX];
    double shift[K_MAX];    /* 1 / rho_k - 1 / rho_1 */
    double beta[K_MAX];     /* m as weights of the u_k (anchor, geometric median) */
    double m_m, m_r[K_MAX]; /* products of a coordinate-wise median with itself and the R_k */
    float scale[K_MAX];     /* 1 / rho_k */
    int iterations;
    double singular[K_MAX], vectors[K_MAX * K_MAX];
    int rank, kept, direction[K_MAX];
    double p, lambda;
    double w[K_MAX * K_MAX], g[K_MAX], z[K_MAX];
    double e[K_MAX];      /* lambda B z as weights of the R_k */
    double alpha, factor; /* factor: alpha mean(r_k) */
    float c[K_MAX + 1];   /* of the rows; of m and the R_k when the centre is a median */
    float c_center[K_MAX + 1], c_residual[K_MAX + 1]; /* m, and r*, the same way: for the boost */
};

extern const char *const yoyo__centers[], *const yoyo__variants[];

enum center yoyo__center(const struct merge_case *job);
static inline bool yoyo__is_median_center(const struct merge_case *job)
{
    return yoyo__center(job) == CENTER_COORDINATE;
}
/* Whether the centre's median of an even count is the mean of the middle two. */
static inline bool yoyo__is_midpoint(const struct yoyo_options *o)
{
    return o->median == MEDIAN_MIDPOINT || o->variant == VARIANT_2026_01;
}
/* Directions named by "0,2" as bits; false when the text is something else. NULL: none. */
bool yoyo__parse_directions(const char *text, uint64_t *out);

/* After the first round: inner products of the rows. Sets pass to what is needed next. */
void yoyo__solve_gram(const struct merge_case *job, struct yoyo_state *s, const double *pairs);
/* After a round over {m, R_1 .. R_K}. */
void yoyo__solve_median(const struct merge_case *job, struct yoyo_state *s, const double *pairs);
/* Steps 8 and 9: alpha and factor, once ||y'||^2 is known. */
void yoyo__scale_output(const struct merge_case *job, struct yoyo_state *s, double square);
/* The sketchbook's members. */
void yoyo__trace(const struct merge_case *job, const void *state, struct ig_json_writer *w);
