/* SPDX-License-Identifier: Apache-2.0
 * eigen — of a tridiagonal matrix T: its eigenvalues by implicit QR steps with Wilkinson's shift
 * (Golub, Van Loan: Matrix Computations, 8.3), vectors of some of them by inverse iteration, each
 * kept at right angles to all before it. Starting vectors are of a counter. */
#include "tensor/spectral/spectral_internal.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX  60 /* of QR for each eigenvalue; 2 are usual */
#define ROUNDS     3  /* of inverse iteration; one gives the vector, the others clean it */
#define ROUNDS_MAX 12

static int downwards(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* One step on rows low .. high, which no zero divides: a bulge runs from low to high. */
static void step_down(double *d, double *e, int64_t low, int64_t high)
{
    double delta = (d[high - 1] - d[high]) / 2, g = e[high - 1];
    double far = delta + copysign(spectral__length(delta, g), delta);
    double x = d[low] - (d[high] - g * (g / far)), z = e[low];
    for (int64_t k = low; k < high; k++) {
        double r = sqrt(x * x + z * z), c = r > 0 ? x / r : 1, s = r > 0 ? z / r : 0;
        if (k > low) e[k - 1] = r;
        double p = d[k], q = d[k + 1], turn = 2 * c * s * e[k];
        d[k] = c * c * p + turn + s * s * q;
        d[k + 1] = s * s * p - turn + c * c * q;
        e[k] = c * s * (q - p) + (c * c - s * s) * e[k];
        x = e[k];
        if (k + 1 == high) break;
        z = s * e[k + 1];
        e[k + 1] *= c;
    }
}

static double largest(const double *d, const double *e, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs(d[i]));
        if (i + 1 < n) most = fmax(most, fabs(e[i]));
    }
    return most;
}

static bool is_nothing(const double *d, const double *e, int64_t k)
{
    return fabs(e[k]) <= DBL_EPSILON * (fabs(d[k]) + fabs(d[k + 1])) ||
           fabs(e[k]) <= DBL_EPSILON / 8; /* of 1, the largest */
}

bool spectral__values(double *d, double *e, int64_t n)
{
    double scale = largest(d, e, n);
    if (scale == 0) return true;
    for (int64_t i = 0; i < n; i++) {
        d[i] /= scale;
        if (i + 1 < n) e[i] /= scale;
    }
    int64_t left = STEPS_MAX * n;
    for (int64_t high = n - 1; high > 0;) {
        int64_t low = high;
        while (low > 0 && !is_nothing(d, e, low - 1))
            low--;
        if (low == high) {
            high--;
            continue;
        }
        if (left-- == 0) return false;
        step_down(d, e, low, high);
    }
    for (int64_t i = 0; i < n; i++)
        d[i] *= scale;
    qsort(d, (size_t)n, sizeof *d, downwards);
    return true;
}

/* ---- vectors ---- */

/* T - value = P L U: U has two diagonals above its own; row i of L is its factor and whether it was
 * exchanged with the next. */
struct factored {
    double *main, *above, *second, *factor, *swapped;
};

static void factor(const struct factored *f, const double *d, const double *e, int64_t n,
                   double value, double tiny)
{
    for (int64_t i = 0; i < n; i++) {
        f->main[i] = d[i] - value;
        f->above[i] = i + 1 < n ? e[i] : 0;
        f->second[i] = f->factor[i] = f->swapped[i] = 0;
    }
    for (int64_t i = 0; i + 1 < n; i++) {
        double below = e[i];
        if (fabs(below) > fabs(f->main[i])) {
            double main = f->main[i], above = f->above[i];
            f->swapped[i] = 1;
            f->factor[i] = main / below;
            f->main[i] = below;
            f->above[i] = f->main[i + 1];
            f->second[i] = f->above[i + 1];
            f->main[i + 1] = above - f->factor[i] * f->above[i];
            f->above[i + 1] = -f->factor[i] * f->second[i];
            continue;
        }
        if (f->main[i] == 0) f->main[i] = tiny;
        f->factor[i] = below / f->main[i];
        f->main[i + 1] -= f->factor[i] * f->above[i];
    }
    for (int64_t i = 0; i < n; i++)
        if (fabs(f->main[i]) < tiny) f->main[i] = tiny;
}

/* Scaled down on the way, so that it does not overflow: only the direction counts. */
static void solve(const struct factored *f, int64_t n, double *x)
{
    for (int64_t i = 0; i + 1 < n; i++) {
        if (f->swapped[i] != 0) {
            double t = x[i];
            x[i] = x[i + 1];
            x[i + 1] = t;
        }
        x[i + 1] -= f->factor[i] * x[i];
    }
    for (int64_t i = n; i-- > 0;) {
        if (i + 1 < n) x[i] -= f->above[i] * x[i + 1];
        if (i + 2 < n) x[i] -= f->second[i] * x[i + 2];
        x[i] /= f->main[i];
        if (fabs(x[i]) < 1e100) continue;
        for (int64_t j = 0; j < n; j++)
            x[j] *= 1e-100;
    }
}

static void straighten(const struct ig_spectral_ops *ops, const double *z, int64_t step,
                       int64_t count, int64_t n, double *x)
{
    for (int64_t p = 0; p < count; p += 4) {
        int rows = count - p < 4 ? (int)(count - p) : 4;
        double sums[4];
        ops->dots(z + p * step, step, rows, n, x, sums);
        for (int i = 0; i < rows; i++)
            sums[i] = -sums[i];
        ops->combine(z + p * step, step, rows, n, sums, x);
    }
}

/* Makes x a unit vector; what its length was. */
static double unit(double *x, int64_t n)
{
    double most = 0, sum = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    if (!(most > 0)) return 0;
    for (int64_t i = 0; i < n; i++)
        sum += (x[i] / most) * (x[i] / most);
    double length = sqrt(sum);
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] / most / length;
    return most * length;
}

static double residue(const double *d, const double *e, int64_t n, double value, const double *x)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double r = (d[i] - value) * x[i];
        if (i > 0) r += e[i - 1] * x[i - 1];
        if (i + 1 < n) r += e[i] * x[i + 1];
        sum += r * r;
    }
    return sqrt(sum);
}

/* In (-1, 1). */
static double starting(int64_t k, int64_t i)
{
    uint64_t x = ((uint64_t)k << 32) + (uint64_t)i + 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return (double)(int64_t)((x ^ (x >> 31)) | 1) * 0x1p-63;
}

bool spectral__vectors(const struct spectral_form *form, const double *values, int64_t count,
                       double *z, double *work)
{
    int64_t n = form->n, step = form->step;
    const double *d = form->d, *e = form->e;
    const struct factored f = {work, work + n, work + 2 * n, work + 3 * n, work + 4 * n};
    double scale = largest(d, e, n), enough = 1e-13 * scale * sqrt((double)n);
    for (int64_t k = 0; k < count; k++) {
        double *x = z + k * step;
        for (int64_t i = 0; i < n; i++)
            x[i] = starting(k, i);
        factor(&f, d, e, n, values[k], DBL_EPSILON * scale);
        bool good = false;
        for (int round = 0; round < ROUNDS_MAX && !good; round++) {
            solve(&f, n, x);
            unit(x, n);
            straighten(form->ops, z, step, k, n, x);
            unit(x, n);
            straighten(form->ops, z, step, k, n, x);
            good =
                unit(x, n) > 0.5 && round + 1 >= ROUNDS && residue(d, e, n, values[k], x) <= enough;
        }
        if (!good) return false;
    }
    return true;
}
