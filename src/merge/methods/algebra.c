/* SPDX-License-Identifier: Apache-2.0
 * algebra — small dense f64. K is at most a few dozen, so the plainest algorithm is the best one.
 */
#include "merge/methods/algebra.h"

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

/* ---- the quadratic programme over a simplex ---- */

#define SIMPLEX_ZERO  1e-13 /* of the largest gradient: an inactive variable that may stay so */
#define SIMPLEX_STEPS 200

/* Solves H x = b over the chosen variables by Cholesky; the others get 0. A variable that depends
 * on earlier ones to the last digits is taken out. */
static void solve_chosen(const double *h, const double *b, int k, bool *chosen, double *x)
{
    static const double dependent = 1e-14;
    double l[MERGE_MODELS_MAX * MERGE_MODELS_MAX], y[MERGE_MODELS_MAX];
    int list[MERGE_MODELS_MAX], n = 0;
    memset(x, 0, (size_t)k * sizeof *x);
    for (int v = 0; v < k; v++) {
        if (!chosen[v]) continue;
        double *row = l + n * k, pivot = h[v * k + v], sum = b[v];
        for (int j = 0; j < n; j++) {
            double product = h[v * k + list[j]];
            for (int i = 0; i < j; i++)
                product -= row[i] * l[j * k + i];
            row[j] = product / l[j * k + j];
            pivot -= row[j] * row[j];
            sum -= row[j] * y[j];
        }
        chosen[v] = pivot > dependent * h[v * k + v];
        if (!chosen[v]) continue;
        row[n] = sqrt(pivot);
        y[n] = sum / row[n];
        list[n++] = v;
    }
    for (int i = n - 1; i >= 0; i--) {
        double sum = y[i];
        for (int j = i + 1; j < n; j++)
            sum -= l[j * k + i] * x[list[j]];
        x[list[i]] = sum / l[i * k + i];
    }
}

/* The variable outside whose gradient promises most, or -1. */
static int most_wanted(const double *h, const double *b, int k, const bool *chosen,
                       const bool *refused, const double *x)
{
    double most = 0, scale = 0;
    int at = -1;
    for (int i = 0; i < k; i++) {
        double gradient = b[i];
        for (int j = 0; j < k; j++)
            gradient -= h[i * k + j] * x[j];
        scale = fmax(scale, fabs(b[i]));
        if (chosen[i] || refused[i] || gradient <= most) continue;
        most = gradient;
        at = i;
    }
    return most > SIMPLEX_ZERO * scale ? at : -1;
}

/* x >= 0 alone: Lawson and Hanson's active sets, on H and b. */
static void nonnegative(const double *h, const double *b, int k, bool *chosen, double *x)
{
    double next[MERGE_MODELS_MAX];
    bool refused[MERGE_MODELS_MAX] = {false};
    memset(chosen, 0, (size_t)k * sizeof *chosen);
    memset(x, 0, (size_t)k * sizeof *x);
    for (int turn = 0; turn < 3 * k; turn++) {
        int wanted = most_wanted(h, b, k, chosen, refused, x);
        if (wanted < 0) return;
        chosen[wanted] = true;
        for (int step = 0; step <= k; step++) {
            double part = 1;
            solve_chosen(h, b, k, chosen, next);
            refused[wanted] = !chosen[wanted];
            for (int i = 0; i < k; i++)
                if (chosen[i] && next[i] <= 0) part = fmin(part, x[i] / (x[i] - next[i]));
            for (int i = 0; i < k; i++) {
                x[i] += part * (next[i] - x[i]);
                if (part < 1 && chosen[i] && next[i] <= 0 && x[i] <= 1e-15) {
                    chosen[i] = false;
                    x[i] = 0;
                }
            }
            if (part >= 1) break;
        }
    }
}

static double sum_of(const double *x, int k)
{
    double sum = 0;
    for (int i = 0; i < k; i++)
        sum += x[i];
    return sum;
}

void merge__simplex(const double *h, const double *b, int k, double *x)
{
    double shifted[MERGE_MODELS_MAX], ones[MERGE_MODELS_MAX], u[MERGE_MODELS_MAX];
    bool chosen[MERGE_MODELS_MAX];
    double low = 0, high = 0, price = 0;
    nonnegative(h, b, k, chosen, x);
    for (int i = 0; i < k; i++) {
        high = fmax(high, b[i]); /* at this price nothing is bought */
        ones[i] = 1;
    }
    /* The sum's multiplier: it falls as the price rises, piece by piece in a straight line. */
    for (int step = 0; step < SIMPLEX_STEPS && fabs(sum_of(x, k) - 1) > 1e-14; step++) {
        double sum = sum_of(x, k);
        if (price == 0 && sum <= 1) return;
        if (sum > 1)
            low = price;
        else
            high = price;
        solve_chosen(h, ones, k, chosen, u);
        double slope = sum_of(u, k), newton = slope > 0 ? price + (sum - 1) / slope : low;
        price = newton > low && newton < high ? newton : 0.5 * (low + high);
        for (int i = 0; i < k; i++)
            shifted[i] = b[i] - price;
        nonnegative(h, shifted, k, chosen, x);
    }
    double sum = sum_of(x, k);
    for (int i = 0; sum > 1 && i < k; i++)
        x[i] /= sum;
}
