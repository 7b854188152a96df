/* SPDX-License-Identifier: Apache-2.0
 * metric — acc, acc_norm and their standard errors.
 *
 *     stderr = sqrt(sum (x - mean)^2 / (n - 1)) / sqrt(n)
 * in the harness's order of operations, so that all digits agree (CPython up to 3.11 adds plainly;
 * from 3.12 on its sum is compensated, and the last digit may differ). */
#include "eval/eval_internal.h"
#include "text/utf8.h"

#include <math.h>

int eval__best(const double *values, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (values[i] > values[best]) best = i;
    return best;
}

/* An empty choice divides by 0: the harness's numpy then has -inf, or NaN when the value is 0 too,
 * and its argmax takes a NaN for the largest. */
int eval__best_norm(const double *values, const struct ig_slice *choices, int count)
{
    double norm[EVAL_CHOICES_MAX];
    for (int i = 0; i < count; i++) {
        norm[i] = values[i] / (double)ig_utf8_count(choices[i]);
        if (isnan(norm[i])) return i;
    }
    return eval__best(norm, count);
}

void eval__mean(const bool *values, int64_t n, double *mean, double *stderr_out)
{
    double sum = 0, squares = 0;
    volatile double two =
        2; /* libm's pow, as Python's **: it is not always d * d to the last bit */
    for (int64_t i = 0; i < n; i++)
        sum += values[i] ? 1.0 : 0.0;
    double mu = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
        squares += pow((values[i] ? 1.0 : 0.0) - mu, two);
    }
    *mean = mu;
    *stderr_out = n > 1 ? sqrt(squares / (double)(n - 1)) / sqrt((double)n) : (double)NAN;
}
