/* SPDX-License-Identifier: Apache-2.0
 * polar — X = U S V^T to U V^T by odd polynomials: X <- X (a I + b G + c G^2), G = X^T X, moves
 * every singular value by p(s) = a s + b s^3 + c s^5. Newton-Schulz has one p for all steps; here
 * each step takes the p that is nearest to 1 on the interval in which the singular values lie by
 * then (the best composition is the composition of the best: Amsel, Persson, Musco and Gower, The
 * Polar Express, 2025), so that 11 steps do from 1e-6 what 40 would.
 *
 * The subtle thing is the cushion: the best p for [1e-6, 1] comes down to 1e-5 inside the interval,
 * and singular values that fall there lose their digits. p is made for at least [CUSHION, 1]. */
#include "merge/methods/polar.h"

#include "base/check.h"
#include "merge/methods/algebra.h"
#include "tensor/kernels/gemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS  64 /* of the result, one task */
#define BLOCK_INNER 256
#define CUSHION     0.024
#define SMALLEST    1e-6 /* of the largest: what f32 still tells from noise */
#define TRUSTED     1e-3 /* the smallest singular value that the f32 Gram matrix shows */
#define CONVERGED   1e-6
#define STEPS_MAX   24
#define LANCZOS_MAX 48

/* ---- products ---- */

struct matrix {
    const float *at;
    int64_t row, col; /* steps between rows and columns: a transpose is a swap */
};

struct product {
    struct ig_gemm_ops ops;
    struct matrix a, b;
    float *c;
    int64_t rows, cols, inner;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* width columns of m from column `first`, rows row0 .. row0+count, as [count][width], zero-filled.
 */
static void pack(struct matrix m, int64_t row0, int64_t count, int64_t first, int64_t have,
                 int width, float *out)
{
    for (int64_t p = 0; p < count; p++) {
        const float *row = m.at + (row0 + p) * m.row;
        for (int j = 0; j < width; j++)
            out[p * width + j] = j < have ? row[(first + j) * m.col] : 0;
    }
}

static void add_tile(const struct product *p, const float *a, const float *b, int64_t inner,
                     int64_t row, int64_t col)
{
    float edge[IG_GEMM_ROWS * IG_GEMM_COLS] = {0};
    int64_t rows = least(p->rows - row, IG_GEMM_ROWS), cols = least(p->cols - col, IG_GEMM_COLS);
    float *c = p->c + row * p->cols + col;
    if (rows == IG_GEMM_ROWS && cols == IG_GEMM_COLS) {
        p->ops.tile(a, b, inner, c, p->cols);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        memcpy(edge + i * IG_GEMM_COLS, c + i * p->cols, (size_t)cols * sizeof *c);
    p->ops.tile(a, b, inner, edge, IG_GEMM_COLS);
    for (int64_t i = 0; i < rows; i++)
        memcpy(c + i * p->cols, edge + i * IG_GEMM_COLS, (size_t)cols * sizeof *c);
}

/* BLOCK_ROWS rows of the result. Every element sums in the order of the inner index. */
static bool multiply_rows(void *user, int thread, int64_t index, struct ig_err *err)
{
    (void)thread, (void)err;
    const struct product *p = user;
    _Alignas(64) float a[BLOCK_ROWS * BLOCK_INNER], b[BLOCK_INNER * IG_GEMM_COLS];
    struct matrix at = {p->a.at, p->a.col, p->a.row};
    int64_t row0 = index * BLOCK_ROWS, rows = least(p->rows - row0, BLOCK_ROWS);
    memset(p->c + row0 * p->cols, 0, (size_t)(rows * p->cols) * sizeof *p->c);
    for (int64_t k = 0; k < p->inner; k += BLOCK_INNER) {
        int64_t inner = least(p->inner - k, BLOCK_INNER);
        for (int64_t i = 0; i < rows; i += IG_GEMM_ROWS)
            pack(at, k, inner, row0 + i, rows - i, IG_GEMM_ROWS, a + i * BLOCK_INNER);
        for (int64_t col = 0; col < p->cols; col += IG_GEMM_COLS) {
            pack(p->b, k, inner, col, p->cols - col, IG_GEMM_COLS, b);
            for (int64_t i = 0; i < rows; i += IG_GEMM_ROWS)
                add_tile(p, a + i * BLOCK_INNER, b, inner, row0 + i, col);
        }
    }
    return true;
}

static bool multiply(struct product *p, struct ig_pool *pool, struct ig_err *err)
{
    return ig_pool_each(pool, (p->rows + BLOCK_ROWS - 1) / BLOCK_ROWS, multiply_rows, p, err);
}

/* ---- the largest and smallest singular value ---- */

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* w = G v - what v's predecessors hold; returns <v, G v>. */
static double advance(const float *g, int64_t n, double *basis, int step)
{
    const double *v = basis + (int64_t)step * n;
    double *w = basis + (int64_t)(step + 1) * n;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += (double)g[i * n + j] * v[j];
        w[i] = sum;
    }
    double along = dot(v, w, n);
    for (int turn = 0; turn < 2; turn++) { /* twice is enough (Parlett) */
        for (int k = step; k >= 0; k--) {
            const double *u = basis + (int64_t)k * n;
            double share = dot(u, w, n);
            for (int64_t i = 0; i < n; i++)
                w[i] -= share * u[i];
        }
    }
    return along;
}

/* Ends of the spectrum of the symmetric G, by Lanczos: a power iteration that keeps all its
 * vectors. basis: LANCZOS_MAX + 1 vectors. The largest is exact to f32, the smallest an estimate
 * from above. */
static void ends_of(const float *g, int64_t n, double *basis, double *largest, double *smallest)
{
    double t[LANCZOS_MAX * LANCZOS_MAX] = {0}, small[LANCZOS_MAX * LANCZOS_MAX];
    double values[LANCZOS_MAX], vectors[LANCZOS_MAX * LANCZOS_MAX], next[LANCZOS_MAX];
    int steps = (int)least(n, LANCZOS_MAX), done = 0;
    uint64_t seed = 1;
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        basis[i] = 0.5 + (double)(seed >> 40) / (1 << 24);
    }
    double norm = sqrt(dot(basis, basis, n));
    for (; done < steps && norm > 1e-12; done++) {
        double *v = basis + (int64_t)done * n;
        for (int64_t i = 0; i < n; i++)
            v[i] /= norm;
        t[done * LANCZOS_MAX + done] = advance(g, n, basis, done);
        norm = sqrt(dot(v + n, v + n, n));
        next[done] = norm;
    }
    for (int i = 0; i < done; i++) {
        for (int j = 0; j < done; j++)
            small[i * done + j] = i == j       ? t[i * LANCZOS_MAX + i]
                                  : i - j == 1 ? next[j]
                                  : j - i == 1 ? next[i]
                                               : 0;
    }
    merge__eigen(small, done, values, vectors);
    *largest = done ? values[0] : 0;
    *smallest = done ? fmax(0, values[done - 1]) : 0;
}

/* ---- polynomials ---- */

struct quintic {
    double a, b, c;
};

static double value_at(const struct quintic *p, double x)
{
    double y = x * x;
    return x * (p->a + y * (p->b + y * p->c));
}

/* a, b, c, e with p(x_i) = 1 - (-1)^i e at four places, by Gaussian elimination. */
static double interpolate(const double x[4], struct quintic *p)
{
    double m[4][5];
    for (int i = 0; i < 4; i++) {
        double y = x[i] * x[i];
        const double row[5] = {x[i], x[i] * y, x[i] * y * y, i % 2 ? -1 : 1, 1};
        memcpy(m[i], row, sizeof row);
    }
    for (int k = 0; k < 4; k++) {
        int pivot = k;
        for (int i = k + 1; i < 4; i++)
            if (fabs(m[i][k]) > fabs(m[pivot][k])) pivot = i;
        for (int j = 0; j < 5; j++) {
            double swap = m[k][j];
            m[k][j] = m[pivot][j];
            m[pivot][j] = swap;
        }
        for (int i = 0; i < 4; i++) {
            double share = i == k ? 0 : m[i][k] / m[k][k];
            for (int j = k; j < 5; j++)
                m[i][j] -= share * m[k][j];
        }
    }
    *p = (struct quintic){m[0][4] / m[0][0], m[1][4] / m[1][1], m[2][4] / m[2][2]};
    return m[3][4] / m[3][3];
}

/* The odd quintic nearest to 1 on [low, high], by Remez' exchange: its error has four extremes, at
 * both ends and where p' = 0. */
static struct quintic best_quintic(double low, double high)
{
    struct quintic p = {15.0 / 8 / high, -10.0 / 8 / pow(high, 3), 3.0 / 8 / pow(high, 5)};
    double x[4] = {low, (3 * low + high) / 4, (low + 3 * high) / 4, high}, last = 2;
    if (low > 0.999 * high) return p; /* its limit; interpolation has no digits left there */
    for (int turn = 0; turn < 50; turn++) {
        double e = interpolate(x, &p);
        double root = sqrt(fmax(0, 9 * p.b * p.b - 20 * p.a * p.c));
        x[1] = sqrt((-3 * p.b - root) / (10 * p.c));
        x[2] = sqrt((-3 * p.b + root) / (10 * p.c));
        if (fabs(last - e) < 1e-14) break;
        last = e;
    }
    return p;
}

/* ---- the iteration ---- */

struct polar {
    struct ig_pool *pool;
    struct ig_gemm_ops ops;
    int64_t rows, cols; /* rows >= cols */
    float *x, *other;   /* rows x cols each */
    float *g, *h;       /* cols x cols each */
    double *basis;
};

static bool gram(const struct polar *p, struct ig_err *err)
{
    struct product g = {p->ops, {p->x, 1, p->cols}, {p->x, p->cols, 1}, p->g, p->cols, p->cols,
                        p->rows};
    return multiply(&g, p->pool, err);
}

/* Expects G; replaces X. */
static bool step(struct polar *p, const struct quintic *q, struct ig_err *err)
{
    int64_t n = p->cols;
    struct product square = {p->ops, {p->g, n, 1}, {p->g, n, 1}, p->h, n, n, n};
    if (!multiply(&square, p->pool, err)) return false;
    for (int64_t i = 0; i < n * n; i++)
        p->h[i] =
            (float)((i % (n + 1) ? 0 : q->a) + q->b * (double)p->g[i] + q->c * (double)p->h[i]);
    struct product moved = {p->ops, {p->x, n, 1}, {p->h, n, 1}, p->other, p->rows, n, n};
    if (!multiply(&moved, p->pool, err)) return false;
    float *swap = p->x;
    p->x = p->other;
    p->other = swap;
    return gram(p, err);
}

/* Root mean square of G - I: 0 when all singular values are 1. */
static double distance(const struct polar *p)
{
    double sum = 0;
    for (int64_t i = 0; i < p->cols * p->cols; i++) {
        double d = (double)p->g[i] - (i % (p->cols + 1) == 0);
        sum += d * d;
    }
    return sqrt(sum / (double)p->cols);
}

/* Singular values are in [low, high], or so it is assumed; afterwards they are 1. */
static bool converge(struct polar *p, double low, double high, struct ig_err *err)
{
    for (int turn = 0; turn < STEPS_MAX; turn++) {
        struct quintic q = best_quintic(fmax(low, CUSHION * high), high);
        double reach = value_at(&q, fmax(low, CUSHION * high));
        if (!step(p, &q, err)) return false;
        bool last = low > 0.999 * high;
        low = fmin(value_at(&q, low), reach);
        high = 2 - reach;
        if (last || low > 1 - CONVERGED) break;
    }
    return true;
}

static bool factor(struct polar *p, double *largest, struct ig_err *err)
{
    int64_t count = p->rows * p->cols;
    double sum = 0, top, bottom;
    *largest = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)p->x[i] * (double)p->x[i];
    if (!(sum > 0)) return true;
    double norm = sqrt(sum);
    for (int64_t i = 0; i < count; i++)
        p->x[i] = (float)((double)p->x[i] / norm);
    if (!gram(p, err)) return false;
    ends_of(p->g, p->cols, p->basis, &top, &bottom);
    top = sqrt(top);
    bottom = sqrt(bottom) / top;
    *largest = norm * top;
    for (int64_t i = 0; i < count; i++)
        p->x[i] = (float)((double)p->x[i] / top);
    if (!gram(p, err)) return false;
    bool trusted = bottom > TRUSTED;
    if (!converge(p, trusted ? 0.5 * bottom : SMALLEST, 1.001, err)) return false;
    if (!trusted || distance(p) < 1e-3) return true;
    return converge(p, SMALLEST, 1.1, err); /* a small one hid between the Ritz values */
}

static int64_t narrow(int64_t rows, int64_t cols)
{
    return rows < cols ? rows : cols;
}

int64_t merge__polar_bytes(int64_t rows, int64_t cols)
{
    int64_t n = narrow(rows, cols);
    return (2 * rows * cols + 2 * n * n) * (int64_t)sizeof(float) +
           (LANCZOS_MAX + 1) * n * (int64_t)sizeof(double) + 64;
}

static void transpose(const float *from, int64_t rows, int64_t cols, float *to)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            to[j * rows + i] = from[i * cols + j];
}

bool merge__boost(float *buffer, int64_t rows, int64_t cols, struct ig_pool *pool,
                  struct ig_err *err)
{
    int64_t n = narrow(rows, cols), count = rows * cols;
    bool wide = rows < cols;
    enum ig_isa isa;
    double largest;
    if (!ig_isa_pick(&isa, err)) return false;
    struct polar p = {
        .pool = pool, .rows = wide ? cols : rows, .cols = n, .x = buffer, .other = buffer + count};
    IG_OPS_FILL(gemm, &p.ops, isa);
    p.g = buffer + 2 * count;
    p.h = p.g + n * n;
    p.basis = (double *)(((uintptr_t)(p.h + n * n) + 7) & ~(uintptr_t)7);
    if (wide) {
        transpose(buffer, rows, cols, p.other);
        p.x = p.other;
        p.other = buffer;
    }
    if (!factor(&p, &largest, err)) return false;
    for (int64_t i = 0; i < count; i++)
        p.x[i] = (float)(largest * (double)p.x[i]);
    if (wide) {
        if (p.x ==
            buffer) { /* an odd number of steps: the result is where it must go, transposed */
            memcpy(p.other, p.x, (size_t)count * sizeof *p.x);
            p.x = p.other;
        }
        transpose(p.x, p.rows, p.cols, buffer);
    } else if (p.x != buffer) {
        memcpy(buffer, p.x, (size_t)count * sizeof *p.x);
    }
    return true;
}
