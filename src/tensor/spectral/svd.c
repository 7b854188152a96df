/* SPDX-License-Identifier: Apache-2.0
 * svd — see svd.h. Products of two f32 numbers are exact in f64, so that squaring the condition
 * leaves what f32 could have told. */
#include "tensor/spectral/svd.h"

#include "base/size.h"
#include "tensor/spectral/spectral_internal.h"

#include <math.h>
#include <string.h>

#define RESOLVED 0x1p-44 /* of the largest eigenvalue: the square of what f32 resolves */
#define ALIGN    64

struct solver {
    struct ig_spectral_ops ops;
    const float *d;
    int64_t rows, cols, rank;
    int64_t small, large;      /* sides */
    int64_t large_step;        /* between vectors of the larger side; form.step: of the smaller */
    struct spectral_form form; /* of the Gram matrix */
    double *values, *work;
    double *inner, *outer; /* vectors of the smaller and of the larger side */
};

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Hands out `count` doubles, or only counts them when base is NULL. */
static double *carve(char *base, size_t *used, int64_t a, int64_t b)
{
    size_t bytes;
    int64_t count;
    double *at = base ? (double *)(void *)(base + *used) : NULL;
    if (*used == SIZE_MAX) return NULL;
    if (!ig_i64_mul(a, b, &count) || count < 0 ||
        !ig_size_mul((size_t)count, sizeof(double), &bytes) ||
        !ig_size_add(bytes, ALIGN - 1, &bytes) || !ig_size_add(*used, bytes / ALIGN * ALIGN, used))
        *used = SIZE_MAX;
    return at;
}

static size_t place(struct solver *s, int64_t rows, int64_t cols, int64_t rank, char *base)
{
    size_t used = 0;
    s->rows = rows;
    s->cols = cols;
    s->small = rows < cols ? rows : cols;
    s->large = rows < cols ? cols : rows;
    s->rank = rank < s->small ? rank : s->small;
    s->large_step = round_up(s->large, IG_SPECTRAL_COLS);
    struct spectral_form *f = &s->form;
    int64_t count = round_up(s->rank, IG_SPECTRAL_ROWS);
    f->n = s->small;
    f->step = round_up(s->small, IG_SPECTRAL_COLS);
    f->ops = &s->ops;
    f->a = carve(base, &used, f->step, f->step);
    f->d = carve(base, &used, 1, f->step);
    f->e = carve(base, &used, 1, f->step);
    f->tau = carve(base, &used, 1, f->step);
    f->w = carve(base, &used, SPECTRAL_PANEL, f->step);
    f->rows = carve(base, &used, f->step > count ? f->step : count, SPECTRAL_INNER);
    f->columns = carve(base, &used, f->step, SPECTRAL_INNER);
    s->values = carve(base, &used, 1, f->step);
    s->work = carve(base, &used, 5, f->step);
    s->inner = carve(base, &used, count, f->step);
    s->outer = carve(base, &used, count, s->large_step);
    return used;
}

size_t ig_svd_bytes(int64_t rows, int64_t cols, int64_t rank)
{
    struct solver s;
    if (rows < 0 || cols < 0 || rank < 0 || rows > INT64_MAX / 2 || cols > INT64_MAX / 2) return 0;
    size_t used = place(&s, rows, cols, rank, NULL);
    return used == SIZE_MAX ? 0 : used;
}

/* ---- products ---- */

/* Elements first .. first + width of the smaller side, for `depth` of the larger one from p on; 0
 * behind the end. */
static void pack_small(const struct solver *s, int64_t p, int64_t depth, int64_t first, int width,
                       double *to)
{
    bool tall = s->rows >= s->cols; /* the smaller side runs along rows */
    int64_t n = s->small - first < width ? s->small - first : width;
    for (int64_t k = 0; k < depth; k++)
        for (int64_t i = 0; i < width; i++) {
            int64_t at = tall ? (p + k) * s->cols + first + i : (first + i) * s->cols + p + k;
            to[k * width + i] = i < n ? (double)s->d[at] : 0;
        }
}

static void make_gram(struct solver *s)
{
    memset(s->form.a, 0, (size_t)(s->form.step * s->form.step) * sizeof *s->form.a);
    for (int64_t p = 0; p < s->large; p += SPECTRAL_INNER) {
        int64_t depth = s->large - p < SPECTRAL_INNER ? s->large - p : SPECTRAL_INNER;
        for (int64_t i = 0; i < s->small; i += IG_SPECTRAL_ROWS)
            pack_small(s, p, depth, i, IG_SPECTRAL_ROWS, s->form.rows + i * depth);
        for (int64_t j = 0; j < s->small; j += IG_SPECTRAL_COLS)
            pack_small(s, p, depth, j, IG_SPECTRAL_COLS, s->form.columns + j * depth);
        /* 64 rows of panels stay in the second-level cache */
        for (int64_t g = 0; g < s->small; g += 64)
            for (int64_t j = 0; j < s->small && j < g + 64; j += IG_SPECTRAL_COLS)
                for (int64_t i = g > j ? g : j; i < s->small && i < g + 64; i += IG_SPECTRAL_ROWS)
                    s->ops.tile(s->form.rows + i * depth, s->form.columns + j * depth, depth,
                                s->form.a + i * s->form.step + j, s->form.step);
    }
}

/* The larger side of D for columns first .. of it, over `depth` of the smaller side from p on. */
static void pack_large(const struct solver *s, int64_t p, int64_t depth, int64_t first, double *to)
{
    bool tall = s->rows >= s->cols;
    int64_t n = s->large - first < IG_SPECTRAL_COLS ? s->large - first : IG_SPECTRAL_COLS;
    for (int64_t k = 0; k < depth; k++)
        for (int64_t i = 0; i < IG_SPECTRAL_COLS; i++) {
            int64_t at = tall ? (first + i) * s->cols + p + k : (p + k) * s->cols + first + i;
            to[k * IG_SPECTRAL_COLS + i] = i < n ? (double)s->d[at] : 0;
        }
}

/* outer = inner D, or inner D^T. */
static void make_outer(struct solver *s, int64_t count)
{
    int64_t rows = round_up(count, IG_SPECTRAL_ROWS);
    memset(s->outer, 0, (size_t)(rows * s->large_step) * sizeof *s->outer);
    for (int64_t p = 0; p < s->small; p += SPECTRAL_INNER) {
        int64_t depth = s->small - p < SPECTRAL_INNER ? s->small - p : SPECTRAL_INNER;
        for (int64_t i = 0; i < rows; i++) {
            double *to = s->form.rows + i / IG_SPECTRAL_ROWS * IG_SPECTRAL_ROWS * depth +
                         i % IG_SPECTRAL_ROWS;
            for (int64_t k = 0; k < depth; k++)
                to[k * IG_SPECTRAL_ROWS] = i < count ? s->inner[i * s->form.step + p + k] : 0;
        }
        for (int64_t j = 0; j < s->large; j += IG_SPECTRAL_COLS) {
            pack_large(s, p, depth, j, s->form.columns);
            for (int64_t i = 0; i < rows; i += IG_SPECTRAL_ROWS)
                s->ops.tile(s->form.rows + i * depth, s->form.columns, depth,
                            s->outer + i * s->large_step + j, s->large_step);
        }
    }
}

/* ---- the steps ---- */

static bool is_finite(const float *d, int64_t count)
{
    float sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += d[i] * 0; /* NaN for what is not finite */
    return sum == 0;
}

/* outer's rows become unit vectors; each was singular value i. False when one is none. */
static bool scale_outer(struct solver *s, int64_t count, double *sigma)
{
    for (int64_t i = 0; i < count; i++) {
        double *row = s->outer + i * s->large_step, sum = 0;
        for (int64_t j = 0; j < s->large; j++)
            sum += row[j] * row[j];
        if (!(fabs(sum - s->values[i]) <= 1e-9 * s->values[0])) return false;
        sigma[i] = sqrt(sum);
        for (int64_t j = 0; j < s->large; j++)
            row[j] /= sigma[i];
    }
    return true;
}

static void choose_signs(const struct ig_svd *x, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < x->rank; i++) {
        double *right = x->right + i * x->right_step, *left = x->left + i * x->left_step;
        int64_t most = 0;
        for (int64_t j = 1; j < cols; j++)
            if (fabs(right[j]) > fabs(right[most])) most = j;
        if (right[most] > 0) continue;
        for (int64_t j = 0; j < cols; j++)
            right[j] = -right[j];
        for (int64_t j = 0; j < rows; j++)
            left[j] = -left[j];
    }
}

static bool solve(struct solver *s, struct ig_svd *out)
{
    int64_t n = s->small, count = 0;
    make_gram(s);
    spectral__reduce(&s->form);
    memcpy(s->values, s->form.d, (size_t)n * sizeof *s->values);
    memcpy(s->work, s->form.e, (size_t)n * sizeof *s->work);
    if (!spectral__values(s->values, s->work, n)) return false;
    while (count < s->rank && s->values[count] > RESOLVED * s->values[0])
        count++;
    if (!spectral__vectors(&s->form, s->values, count, s->inner, s->work)) return false;
    spectral__reflect(&s->form, s->inner, count);
    make_outer(s, count);
    double *sigma = s->form.d;
    for (int64_t i = 0; i < n; i++)
        sigma[i] = s->values[i] > 0 ? sqrt(s->values[i]) : 0;
    if (!scale_outer(s, count, sigma)) return false;
    bool tall = s->rows >= s->cols;
    *out = (struct ig_svd){.rank = count,
                           .sigma = sigma,
                           .left = tall ? s->outer : s->inner,
                           .left_step = tall ? s->large_step : s->form.step,
                           .right = tall ? s->inner : s->outer,
                           .right_step = tall ? s->form.step : s->large_step};
    choose_signs(out, s->rows, s->cols);
    return true;
}

bool ig_svd_find(const float *d, int64_t rows, int64_t cols, int64_t rank, void *memory,
                 struct ig_svd *out, struct ig_err *err)
{
    struct solver s = {.d = d};
    enum ig_isa isa;
    if (!ig_isa_pick(&isa, err)) return false;
    IG_OPS_FILL(spectral, &s.ops, isa);
    place(&s, rows, cols, rank, memory);
    if (!is_finite(d, rows * cols))
        return ig_err_set(err, IG_ERR_DATA, "it holds numbers that are not finite");
    if (solve(&s, out)) return true;
    return ig_err_set(err, IG_ERR_BUG, "its singular vectors do not converge");
}
