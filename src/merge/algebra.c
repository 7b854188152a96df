/* SPDX-License-Identifier: Apache-2.0
 * algebra — small dense f64. K is at most a few dozen, so the plainest algorithm is the best one.
 */
#include "merge/algebra.h"

#include "merge/method.h"

#include <math.h>
#include <string.h>

#define SWEEPS_MAX    60 /* Jacobi converges quadratically: 6 to 10 sweeps in practice */
#define WEISZFELD_MAX 1000
#define WEISZFELD_TOL 1e-12 /* relative to the largest distance */

void merge__unpack(const double *pairs, int k, double *full)
{
    for (int i = 0; i < k; i++)
        for (int j = 0; j <= i; j++)
            full[i * k + j] = full[j * k + i] = pairs[IG_ROWS_PAIR(i, j)];
}

double merge__form(const double *a, const double *v, int k)
{
    double sum = 0;
    for (int i = 0; i < k; i++) {
        double row = 0;
        for (int j = 0; j < k; j++)
            row += a[i * k + j] * v[j];
        sum += v[i] * row;
    }
    return sum;
}

/* Rotates rows and columns p and q of A so that A[p][q] becomes 0 (Golub & Van Loan, 8.5). */
static void rotate(double *a, double *vectors, int k, int p, int q)
{
    double apq = a[p * k + q];
    double theta = (a[q * k + q] - a[p * k + p]) / (2 * apq);
    double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    for (int i = 0; i < k; i++) {
        double x = a[i * k + p], y = a[i * k + q];
        a[i * k + p] = c * x - s * y;
        a[i * k + q] = s * x + c * y;
    }
    for (int i = 0; i < k; i++) {
        double x = a[p * k + i], y = a[q * k + i];
        a[p * k + i] = c * x - s * y;
        a[q * k + i] = s * x + c * y;
    }
    for (int i = 0; i < k; i++) {
        double x = vectors[i * k + p], y = vectors[i * k + q];
        vectors[i * k + p] = c * x - s * y;
        vectors[i * k + q] = s * x + c * y;
    }
}

/* Largest first; ties keep their order, so that equal inputs give equal output. */
static void sort_columns(double *values, double *vectors, int k)
{
    for (int i = 1; i < k; i++) {
        for (int j = i; j > 0 && values[j] > values[j - 1]; j--) {
            double swap = values[j];
            values[j] = values[j - 1];
            values[j - 1] = swap;
            for (int r = 0; r < k; r++) {
                swap = vectors[r * k + j];
                vectors[r * k + j] = vectors[r * k + j - 1];
                vectors[r * k + j - 1] = swap;
            }
        }
    }
}

static bool sweep(double *a, double *vectors, int k)
{
    bool rotated = false;
    for (int p = 0; p + 1 < k; p++) {
        for (int q = p + 1; q < k; q++) {
            double off = fabs(a[p * k + q]);
            if (off <= 1e-17 * sqrt(fabs(a[p * k + p]) * fabs(a[q * k + q])) || off < 1e-300)
                continue;
            rotate(a, vectors, k, p, q);
            rotated = true;
        }
    }
    return rotated;
}

void merge__eigen(double *a, int k, double *values, double *vectors)
{
    for (int i = 0; i < k * k; i++)
        vectors[i] = i % (k + 1) == 0;
    for (int round = 0; round < SWEEPS_MAX; round++)
        if (!sweep(a, vectors, k)) break;
    for (int i = 0; i < k; i++)
        values[i] = a[i * k + i];
    sort_columns(values, vectors, k);
}

double merge__median(const double *values, int count, bool midpoint)
{
    double v[IG_ROWS_MAX];
    for (int i = 0; i < count; i++) {
        int j = i;
        for (; j > 0 && v[j - 1] > values[i]; j--)
            v[j] = v[j - 1];
        v[j] = values[i];
    }
    if (midpoint && count % 2 == 0) return 0.5 * (v[count / 2 - 1] + v[count / 2]);
    return v[(count - 1) / 2];
}

/* Distance between the points with weights a and b. */
static double distance(const double *h, const double *a, const double *b, int k)
{
    double d[MERGE_MODELS_MAX];
    for (int i = 0; i < k; i++)
        d[i] = a[i] - b[i];
    double square = merge__form(h, d, k);
    return square > 0 ? sqrt(square) : 0;
}

static void unit(double *weights, int k, int at)
{
    memset(weights, 0, (size_t)k * sizeof *weights);
    weights[at] = 1;
}

/* A point is the median when the pull of the others on it is at most the number of points that lie
 * there (Vardi & Zhang, PNAS 97, 2000, eq. 2.5). near: distances up to this count as 0. */
static bool is_median(const double *h, double (*points)[MERGE_MODELS_MAX], int k, int at,
                      double near)
{
    double pull[MERGE_MODELS_MAX] = {0}, zero[MERGE_MODELS_MAX] = {0};
    int here = 0;
    for (int j = 0; j < k; j++) {
        double d = distance(h, points[j], points[at], k);
        if (d <= near) {
            here++;
            continue;
        }
        pull[j] += 1 / d;
        pull[at] -= 1 / d;
    }
    return distance(h, pull, zero, k) <= here;
}

/* One step of Weiszfeld's iteration from `at` to `next`, in weights of the k points. Where the
 * iterate lies on a point, Vardi and Zhang's: that point holds it back by its share of the others'
 * pull. */
static void step_from(const double *h, double (*points)[MERGE_MODELS_MAX], int k, const double *at,
                      double near, double *next)
{
    double pull[MERGE_MODELS_MAX], zero[MERGE_MODELS_MAX] = {0}, sum = 0;
    int here = 0;
    for (int i = 0; i < k; i++) {
        double d = distance(h, points[i], at, k);
        here += d <= near;
        next[i] = d <= near ? 0 : 1 / d;
        sum += next[i];
    }
    for (int i = 0; i < k; i++) {
        pull[i] = next[i] - sum * at[i];
        next[i] /= sum;
    }
    if (here == 0) return;
    double force = distance(h, pull, zero, k);
    double hold = force > here ? here / force : 1;
    for (int i = 0; i < k; i++)
        next[i] = (1 - hold) * next[i] + hold * at[i];
}

int merge__weiszfeld(const double *h, int k, double *weights)
{
    double points[MERGE_MODELS_MAX][MERGE_MODELS_MAX], next[MERGE_MODELS_MAX], far = 0;
    for (int i = 0; i < k; i++) {
        unit(points[i], k, i);
        weights[i] = 1.0 / k;
    }
    for (int i = 1; i < k; i++)
        far = fmax(far, distance(h, points[i], points[0], k));
    if (far == 0) return 0; /* all points are one: the mean is as good as any */
    double near = WEISZFELD_TOL * far;
    for (int i = 0; k > 2 && i < k; i++) {
        if (!is_median(h, points, k, i, near)) continue;
        unit(weights, k, i);
        return 0;
    }
    for (int round = 1; round <= WEISZFELD_MAX; round++) {
        step_from(h, points, k, weights, near, next);
        double step = distance(h, next, weights, k);
        memcpy(weights, next, (size_t)k * sizeof *weights);
        if (step <= near) return round;
    }
    return WEISZFELD_MAX;
}
