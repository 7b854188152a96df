/* SPDX-License-Identifier: Apache-2.0
 * yoyo_algebra — yoyo_fusion between its passes over the data: pure functions of inner products.
 *
 * The subtle thing is cancellation: the points u_k are kept relative to u_1 (struct yoyo_state's
 * h), so that what finetunes of one base differ by keeps its digits. */
#include "merge/methods/algebra.h"
#include "merge/methods/yoyo.h"

#include <math.h>

#define BISQUARE      4.685  /* Tukey's constant: 95 % efficiency on normal data */
#define MAD           1.4826 /* makes the median absolute deviation a standard deviation */
#define RMS_MIN       1e-6   /* these five: the author's program */
#define SCALE_MIN     1e-12
#define RESIDUAL_MIN  1e-7
#define ENERGY_MIN    1e-16
#define LAMBDA_MAX    10.0
#define SINGULAR_ZERO 1e-6 /* of the largest: below this the Gram matrix has no digits left */

enum center yoyo__center(const struct merge_case *job)
{
    const struct yoyo_options *o = job->options;
    if (o->center != CENTER_AUTO) return (enum center)o->center;
    return job->base >= 0 ? CENTER_ANCHOR : CENTER_GEOMETRIC;
}

/* The author's iteration with K = 2 stops at its first point on the segment, which depends on where
 * it started: at the coordinate-wise lower median (the midpoint leads to the mean). */
static bool is_lower_pair(const struct merge_case *job)
{
    return job->models == 2 && yoyo__center(job) == CENTER_GEOMETRIC &&
           !yoyo__is_midpoint(job->options);
}

/* Norms, r_k, and 1 / (r_k + eps), of inner products of the plain rows or of {x_1, x_k - x_1}. */
static void norms(const struct merge_case *job, struct yoyo_state *s)
{
    const struct yoyo_options *o = job->options;
    int k = job->models;
    bool delta = !yoyo__is_median_center(job);
    const double *g = s->gram;
    for (int i = 0; i < k; i++) {
        double extra = delta && i > 0 ? 2 * g[i] + g[i * k + i] : 0; /* square_i - square_1 */
        s->square[i] = delta ? fmax(0, g[0] + extra) : g[i * k + i];
        s->norm[i] = sqrt(s->square[i]);
        double r = sqrt(s->square[i] / (double)job->tensor->elems + o->eps);
        s->r[i] = fmax(r, RMS_MIN);
        s->rho[i] = s->r[i] + o->eps;
        s->scale[i] = (float)(1 / s->rho[i]);
        double dr = s->r[i] - s->r[0];
        if (r > RMS_MIN && s->r[0] > RMS_MIN)
            dr = extra / (double)job->tensor->elems / (s->r[i] + s->r[0]);
        s->shift[i] = -dr / (s->rho[i] * s->rho[0]);
    }
}

/* Inner products of v_k = u_k - u_1 = shift_k x_1 + (x_k - x_1) / rho_k. */
static void relative_points(const struct merge_case *job, struct yoyo_state *s)
{
    int k = job->models;
    const double *g = s->gram;
    for (int i = 0; i < k; i++) {
        for (int j = 0; j < k; j++) {
            double a = i > 0 ? 1 / s->rho[i] : 0, b = j > 0 ? 1 / s->rho[j] : 0;
            s->h[i * k + j] = s->shift[i] * s->shift[j] * g[0] + s->shift[i] * b * g[j] +
                              s->shift[j] * a * g[i] + a * b * g[i * k + j];
        }
    }
}

/* Inner products of R_k = v_k - sum beta_l v_l. */
static void residuals_of_span(int k, struct yoyo_state *s)
{
    double basis[K_MAX];
    for (int i = 0; i < k; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = 0;
            for (int l = 0; l < k; l++)
                basis[l] = (l == j) - s->beta[l];
            for (int l = 0; l < k; l++) {
                double row = 0;
                for (int n = 0; n < k; n++)
                    row += s->h[l * k + n] * basis[n];
                sum += ((l == i) - s->beta[l]) * row;
            }
            s->rr[i * k + j] = s->rr[j * k + i] = sum;
        }
    }
}

/* How many of the first directions the variant and the recipe keep, before directions are dropped.
 */
static int first_kept(const struct merge_case *job, const struct yoyo_state *s, double total)
{
    const struct yoyo_options *o = job->options;
    int k = job->models, kept = o->truncate ? k - 1 : k;
    if (o->variant == VARIANT_2026_01 && o->truncate) {
        double fourth = 0;
        for (int j = 0; j < s->rank; j++)
            fourth += pow(s->singular[j], 4);
        /* rint: ties to even, as Python's round. */
        kept = (int)fmax(1, fmin(k, rint(total * total / (fourth + ENERGY_MIN))));
    }
    if (o->keep_rank && o->keep_rank < kept) kept = (int)o->keep_rank;
    if (kept > s->rank) kept = s->rank;
    if (o->keep_energy > 0) {
        double sum = 0;
        int n = 0;
        while (n < kept && sum < o->keep_energy * total) {
            sum += s->singular[n] * s->singular[n];
            n++;
        }
        kept = n;
    }
    return kept;
}

/* Singular values and right vectors of R, from R R^T. */
static double decompose(const struct merge_case *job, struct yoyo_state *s)
{
    int k = job->models;
    double work[K_MAX * K_MAX], total = 0;
    memcpy(work, s->rr, (size_t)(k * k) * sizeof *work);
    merge__eigen(work, k, s->singular, s->vectors);
    s->rank = 0;
    for (int j = 0; j < k; j++) {
        s->singular[j] = s->singular[j] > 0 ? sqrt(s->singular[j]) : 0;
        if (s->singular[j] > SINGULAR_ZERO * s->singular[0] && j < job->tensor->elems)
            s->rank = j + 1;
    }
    for (int j = 0; j < s->rank; j++)
        total += s->singular[j] * s->singular[j];
    return total;
}

static double bisquare(double value, double scale, double eps)
{
    double ratio = value / (BISQUARE * scale + eps), rest = 1 - ratio * ratio;
    return rest > 0 ? rest * rest : 0;
}

/* Step 7: W, g and z over the kept directions. */
static void weigh(const struct merge_case *job, struct yoyo_state *s)
{
    const struct yoyo_options *o = job->options;
    int k = job->models;
    bool mid = o->median == MEDIAN_MIDPOINT;
    bool start = o->variant == VARIANT_2026_01 && o->z_start == Z_START_MEDIAN;
    double column[K_MAX], length[K_MAX] = {0};
    for (int n = 0; n < s->kept; n++) {
        int j = s->direction[n];
        for (int i = 0; i < k; i++)
            column[i] = s->vectors[i * k + j] * s->singular[j];
        double z0 = start ? merge__median(column, k, true) : 0;
        for (int i = 0; i < k; i++) {
            column[i] = fabs(column[i] - z0);
            length[i] += column[i] * column[i];
        }
        double scale = fmax(MAD * merge__median(column, k, mid), SCALE_MIN);
        for (int i = 0; i < k; i++)
            s->w[i * k + n] = bisquare(column[i], scale, o->eps);
    }
    for (int i = 0; i < k; i++)
        length[i] = sqrt(length[i]);
    double scale = fmax(MAD * merge__median(length, k, mid), SCALE_MIN);
    for (int i = 0; i < k; i++) {
        s->g[i] = bisquare(length[i], scale, o->eps);
        for (int n = 0; n < s->kept; n++)
            s->w[i * k + n] *= s->g[i];
    }
}

/* Drops direction n of the kept ones, with its column of W. */
static void drop(struct yoyo_state *s, int k, int n)
{
    for (int m = n; m + 1 < s->kept; m++) {
        s->direction[m] = s->direction[m + 1];
        for (int i = 0; i < k; i++)
            s->w[i * k + m] = s->w[i * k + m + 1];
    }
    s->kept--;
}

static void drop_disagreeing(const struct merge_case *job, struct yoyo_state *s)
{
    const struct yoyo_options *o = job->options;
    int k = job->models;
    for (int n = s->kept - 1; n >= 0; n--) {
        double sum = 0;
        for (int i = 0; i < k; i++)
            sum += s->w[i * k + n];
        if (sum < o->min_agreement * k) drop(s, k, n);
    }
}

/* Steps 5 to 7: from R R^T to r* = sum e_k R_k. */
static void solve_residual(const struct merge_case *job, struct yoyo_state *s)
{
    const struct yoyo_options *o = job->options;
    int k = job->models;
    double longest = 0, total, kept_energy = 0;
    for (int i = 0; i < k; i++)
        longest = fmax(longest, s->rr[i * k + i]);
    total = decompose(job, s);
    s->center_only = sqrt(longest) < RESIDUAL_MIN || total < ENERGY_MIN;
    s->lambda = s->p = 1;
    if (s->center_only) return;
    uint64_t dropped = 0;
    yoyo__parse_directions(o->drop_directions, &dropped);
    int first = first_kept(job, s, total);
    for (int j = 0; j < first; j++)
        if (!(dropped >> j & 1)) s->direction[s->kept++] = j;
    weigh(job, s);
    if (o->min_agreement > 0) drop_disagreeing(job, s);
    for (int n = 0; n < s->kept; n++)
        kept_energy += s->singular[s->direction[n]] * s->singular[s->direction[n]];
    s->p = kept_energy / (total + ENERGY_MIN);
    double restore = 1 / (s->p + ENERGY_MIN);
    if (o->variant == VARIANT_2026_01) restore = sqrt(total / (kept_energy + ENERGY_MIN));
    s->lambda = o->truncate ? fmin(restore, LAMBDA_MAX) : 1;
    for (int n = 0; n < s->kept; n++) {
        int j = s->direction[n];
        double up = 0, down = 0;
        for (int i = 0; i < k; i++) {
            up += s->w[i * k + n] * s->vectors[i * k + j] * s->singular[j];
            down += s->w[i * k + n];
        }
        s->z[n] = up / (down + o->eps);
        for (int i = 0; i < k; i++)
            s->e[i] += s->lambda * s->vectors[i * k + j] * s->z[n] / s->singular[j];
    }
}

/* Step 8 and 9, once ||y'||^2 is known. */
void yoyo__scale_output(const struct merge_case *job, struct yoyo_state *s, double square)
{
    const struct yoyo_options *o = job->options;
    double r = 0, norm = 0;
    for (int i = 0; i < job->models; i++) {
        r += s->r[i] / job->models;
        norm += s->norm[i] / job->models;
    }
    s->alpha = norm / (r * sqrt(fmax(0, square)) + o->eps);
    s->factor = s->alpha * r;
}

/* Weights of the v_k, plus u_1 when `origin`, as coefficients of {x_1, x_k - x_1}. */
static void to_rows(const struct yoyo_state *s, int k, const double *weights, bool origin,
                    double *out)
{
    out[0] = origin ? 1 / s->rho[0] : 0;
    for (int i = 0; i < k; i++)
        out[0] += weights[i] * s->shift[i];
    for (int i = 1; i < k; i++)
        out[i] = weights[i] / s->rho[i];
}

static void finish_span(const struct merge_case *job, struct yoyo_state *s)
{
    int k = job->models;
    double weights[K_MAX], center[K_MAX], residual[K_MAX], y[K_MAX] = {0}, sum = 0;
    to_rows(s, k, s->beta, true, center);
    for (int i = 0; i < k; i++)
        sum += s->e[i];
    for (int i = 0; i < k; i++)
        weights[i] = s->e[i] - sum * s->beta[i];
    to_rows(s, k, weights, false, residual);
    for (int i = 0; i < k; i++)
        y[i] = center[i] + residual[i];
    yoyo__scale_output(job, s, merge__form(s->gram, y, k));
    for (int i = 0; i < k; i++) {
        s->c[i] = (float)(s->factor * y[i]);
        s->c_center[i] = (float)center[i];
        s->c_residual[i] = (float)residual[i];
    }
}

static void finish_median(const struct merge_case *job, struct yoyo_state *s)
{
    int k = job->models;
    double square = s->m_m + merge__form(s->rr, s->e, k);
    for (int i = 0; i < k; i++)
        square += 2 * s->e[i] * s->m_r[i];
    yoyo__scale_output(job, s, square);
    s->c[0] = (float)s->factor;
    s->c_center[0] = 1;
    for (int i = 0; i < k; i++) {
        s->c[i + 1] = (float)(s->factor * s->e[i]);
        s->c_residual[i + 1] = (float)s->e[i];
    }
}

static enum pass after_center(const struct yoyo_state *s)
{
    return s->boosted && !s->center_only ? PASS_RESIDUAL : PASS_END;
}

static void solve_span(const struct merge_case *job, struct yoyo_state *s)
{
    residuals_of_span(job->models, s);
    solve_residual(job, s);
    finish_span(job, s);
    s->pass = after_center(s);
}

void yoyo__solve_gram(const struct merge_case *job, struct yoyo_state *s, const double *pairs)
{
    int k = job->models;
    merge__unpack(pairs, k, s->gram);
    norms(job, s);
    s->pass = PASS_MEDIAN;
    if (yoyo__is_median_center(job)) return;
    relative_points(job, s);
    if (is_lower_pair(job)) return;
    if (yoyo__center(job) == CENTER_ANCHOR)
        s->beta[job->base] = 1;
    else
        s->iterations = merge__weiszfeld(s->h, k, s->beta);
    solve_span(job, s);
}

/* The Gram matrix of {m, R_1 .. R_K}. */
void yoyo__solve_median(const struct merge_case *job, struct yoyo_state *s, const double *pairs)
{
    const struct yoyo_options *o = job->options;
    int k = job->models;
    if (!yoyo__is_median_center(job)) {
        double d[2], sum = 0;
        for (int i = 0; i < 2; i++) {
            d[i] = 1 / (sqrt(pairs[IG_ROWS_PAIR(i + 1, i + 1)]) + o->eps);
            sum += d[i];
        }
        s->beta[0] = d[0] / sum;
        s->beta[1] = d[1] / sum;
        s->iterations = 1;
        solve_span(job, s);
        return;
    }
    s->m_m = pairs[0];
    for (int i = 0; i < k; i++) {
        s->m_r[i] = pairs[IG_ROWS_PAIR(i + 1, 0)];
        for (int j = 0; j <= i; j++)
            s->rr[i * k + j] = s->rr[j * k + i] = pairs[IG_ROWS_PAIR(i + 1, j + 1)];
    }
    solve_residual(job, s);
    finish_median(job, s);
    s->pass = after_center(s);
}
