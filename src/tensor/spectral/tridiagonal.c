/* SPDX-License-Identifier: Apache-2.0
 * tridiagonal — A = Q T Q^T by Householder reflections H = I - tau v v^T, from the last row up, so
 * that every vector lies along a row. Of a panel of rows, each is brought up to date when its turn
 * comes; what is above them is told of all at once, by a product (as LAPACK's dsytrd does:
 * A -= V W^T + W V^T with w = tau (A v) - tau^2 / 2 (v . A v) v). Half of the work is A v, which
 * reads the triangle once for each row: that is what the time goes to. */
#include "tensor/spectral/spectral_internal.h"

#include <math.h>
#include <string.h>

/* Rows of a panel that are done: reflections, and what the matrix above is to be told. */
struct panel {
    const double *v, *w;
    int64_t count;
};

/* y = A x of the leading n x n part. */
static void multiply(const struct spectral_form *f, int64_t n, const double *x, double *y)
{
    memset(y, 0, (size_t)n * sizeof *y);
    for (int64_t r = 0; r < n; r += 4) {
        int rows = n - r < 4 ? (int)(n - r) : 4;
        const double *first = f->a + r * f->step;
        double sums[4];
        if (rows == 4) {
            f->ops->sweep(first, f->step, r, x, x + r, y, sums);
        } else {
            f->ops->dots(first, f->step, rows, r, x, sums);
            f->ops->combine(first, f->step, rows, r, x + r, y);
        }
        for (int i = 0; i < rows; i++) {
            const double *row = first + i * f->step + r;
            double sum = sums[i] + row[i] * x[r + i];
            for (int j = 0; j < i; j++) {
                sum += row[j] * x[r + j];
                y[r + j] += row[j] * x[r + i];
            }
            y[r + i] += sum;
        }
    }
}

/* y -= sum over the panel's rows p of v_p (w_p . x) + w_p (v_p . x), all n long. */
static void correct(const struct spectral_form *f, const struct panel *panel, int64_t n,
                    const double *x, double *y)
{
    int64_t step = f->step;
    for (int64_t p = 0; p < panel->count; p += 4) {
        int rows = panel->count - p < 4 ? (int)(panel->count - p) : 4;
        double of_v[4], of_w[4];
        f->ops->dots(panel->v + p * step, step, rows, n, x, of_v);
        f->ops->dots(panel->w + p * step, step, rows, n, x, of_w);
        for (int i = 0; i < rows; i++) {
            of_v[i] = -of_v[i];
            of_w[i] = -of_w[i];
        }
        f->ops->combine(panel->v + p * step, step, rows, n, of_w, y);
        f->ops->combine(panel->w + p * step, step, rows, n, of_v, y);
    }
}

/* Row i of the panel, as it stands after those below it. */
static void update_row(const struct spectral_form *f, const struct panel *panel, int64_t i)
{
    int64_t step = f->step;
    for (int64_t p = 0; p < panel->count; p += 4) {
        int rows = panel->count - p < 4 ? (int)(panel->count - p) : 4;
        double of_v[4], of_w[4];
        for (int k = 0; k < rows; k++) {
            of_v[k] = -panel->w[(p + k) * step + i];
            of_w[k] = -panel->v[(p + k) * step + i];
        }
        f->ops->combine(panel->v + p * step, step, rows, i + 1, of_v, f->a + i * step);
        f->ops->combine(panel->w + p * step, step, rows, i + 1, of_w, f->a + i * step);
    }
}

/* x of n elements becomes v with its last one 1; H x = (0, .., 0, *beta). Returns tau. */
static double reflect(double *x, int64_t n, double *beta)
{
    double alpha = x[n - 1], most = 0, sum = 0;
    for (int64_t i = 0; i < n - 1; i++)
        most = fabs(x[i]) > most ? fabs(x[i]) : most;
    *beta = alpha;
    x[n - 1] = 1;
    if (most == 0) return 0;
    for (int64_t i = 0; i < n - 1; i++)
        sum += (x[i] / most) * (x[i] / most);
    *beta = -copysign(spectral__length(alpha, most * sqrt(sum)), alpha);
    for (int64_t i = 0; i < n - 1; i++)
        x[i] /= alpha - *beta;
    return (*beta - alpha) / *beta;
}

/* One panel for a product: `width` columns of vectors, from column `first` on; 0 behind n. */
struct strip {
    int64_t step, count, first, n;
    int width;
};
static void pack(const struct strip *s, const double *from, double sign, double *to)
{
    for (int64_t p = 0; p < s->count; p++)
        for (int i = 0; i < s->width; i++)
            to[p * s->width + i] =
                s->first + i < s->n ? sign * from[p * s->step + s->first + i] : 0;
}

/* The leading n x n part -= V^T W + W^T V. */
static void update_rest(const struct spectral_form *f, const struct panel *panel, int64_t n)
{
    int64_t count = panel->count, depth = 2 * count;
    for (int64_t i = 0; i < n; i += IG_SPECTRAL_ROWS) {
        const struct strip s = {f->step, count, i, n, IG_SPECTRAL_ROWS};
        double *to = f->rows + i * depth;
        pack(&s, panel->v, -1, to);
        pack(&s, panel->w, -1, to + count * IG_SPECTRAL_ROWS);
    }
    for (int64_t j = 0; j < n; j += IG_SPECTRAL_COLS) {
        const struct strip s = {f->step, count, j, n, IG_SPECTRAL_COLS};
        pack(&s, panel->w, 1, f->columns);
        pack(&s, panel->v, 1, f->columns + count * IG_SPECTRAL_COLS);
        for (int64_t i = j; i < n; i += IG_SPECTRAL_ROWS)
            f->ops->tile(f->rows + i * depth, f->columns, depth, f->a + i * f->step + j, f->step);
    }
}

/* Row i becomes a reflection; its w. */
static void reduce_row(const struct spectral_form *f, const struct panel *panel, int64_t i,
                       double *w)
{
    double *row = f->a + i * f->step, half;
    update_row(f, panel, i);
    f->d[i] = row[i];
    f->tau[i] = reflect(row, i, &f->e[i - 1]);
    multiply(f, i, row, w);
    correct(f, panel, i, row, w);
    f->ops->dots(w, f->step, 1, i, row, &half);
    half *= -f->tau[i] * f->tau[i] / 2;
    for (int64_t j = 0; j < i; j++)
        w[j] = f->tau[i] * w[j] + half * row[j];
}

void spectral__reduce(const struct spectral_form *f)
{
    for (int64_t top = f->n; top > 1;) {
        int64_t low = top - SPECTRAL_PANEL > 1 ? top - SPECTRAL_PANEL : 1;
        for (int64_t i = top - 1; i >= low; i--) {
            double *w = f->w + (i - low) * f->step;
            const struct panel done = {f->a + (i + 1) * f->step, w + f->step, top - 1 - i};
            reduce_row(f, &done, i, w);
        }
        const struct panel whole = {f->a + low * f->step, f->w, top - low};
        update_rest(f, &whole, low);
        top = low;
    }
    if (f->n) f->d[0] = f->a[0];
}

void spectral__reflect(const struct spectral_form *f, double *z, int64_t count)
{
    for (int64_t k = 0; k < count; k += 4) {
        int rows = count - k < 4 ? (int)(count - k) : 4;
        for (int64_t i = 1; i < f->n; i++) {
            double sums[4];
            f->ops->dots(z + k * f->step, f->step, rows, i, f->a + i * f->step, sums);
            for (int j = 0; j < rows; j++)
                sums[j] *= -f->tau[i];
            f->ops->spread(z + k * f->step, f->step, rows, i, sums, f->a + i * f->step);
        }
    }
}
