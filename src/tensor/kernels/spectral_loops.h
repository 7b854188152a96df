/* SPDX-License-Identifier: Apache-2.0
 * spectral_loops — the loops of spectral.h that no instruction makes different: products are
 * rounded before they are added, whatever the vectors' width. Included by one file for each
 * instruction set. */
#pragma once
#include "tensor/kernels/spectral.h"

#include <string.h>

#define LANES 8
typedef double lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(8), may_alias));

static inline __attribute__((always_inline)) void sum_lanes(const lanes *s, int rows, int64_t left,
                                                            const double *a, int64_t step,
                                                            const double *x, double *sums)
{
    for (int i = 0; i < rows; i++) {
        double l[LANES];
        memcpy(l, s + i, sizeof l);
        for (int64_t j = 0; j < left; j++)
            l[j] += a[i * step + j] * x[j];
        sums[i] = ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
    }
}

static void sweep(const double *a, int64_t step, int64_t n, const double *x, const double *v,
                  double *y, double *sums)
{
    lanes s[4];
    memset(s, 0, sizeof s);
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        lanes t = *(const lanes *)(const void *)(x + j), u = *(lanes *)(void *)(y + j);
        for (int i = 0; i < 4; i++) {
            lanes r = *(const lanes *)(const void *)(a + i * step + j);
            s[i] += r * t;
            u += r * v[i];
        }
        *(lanes *)(void *)(y + j) = u;
    }
    for (int64_t k = j; k < n; k++)
        for (int i = 0; i < 4; i++)
            y[k] += v[i] * a[i * step + k];
    sum_lanes(s, 4, n - j, a + j, step, x + j, sums);
}

static inline __attribute__((always_inline)) void dot_rows(const double *a, int64_t step, int rows,
                                                           int64_t n, const double *x, double *sums)
{
    lanes s[4];
    memset(s, 0, sizeof s);
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        lanes t = *(const lanes *)(const void *)(x + j);
        for (int i = 0; i < rows; i++)
            s[i] += *(const lanes *)(const void *)(a + i * step + j) * t;
    }
    sum_lanes(s, rows, n - j, a + j, step, x + j, sums);
}

static inline __attribute__((always_inline)) void
combine_rows(const double *a, int64_t step, int rows, int64_t n, const double *v, double *y)
{
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        lanes u = *(lanes *)(void *)(y + j);
        for (int i = 0; i < rows; i++)
            u += *(const lanes *)(const void *)(a + i * step + j) * v[i];
        *(lanes *)(void *)(y + j) = u;
    }
    for (; j < n; j++)
        for (int i = 0; i < rows; i++)
            y[j] += v[i] * a[i * step + j];
}

/* Four rows at once are a constant, so that their sums stay in registers. */
static void dots(const double *a, int64_t step, int rows, int64_t n, const double *x, double *sums)
{
    if (rows == 4) {
        dot_rows(a, step, 4, n, x, sums);
        return;
    }
    for (int i = 0; i < rows; i++)
        dot_rows(a + i * step, step, 1, n, x, sums + i);
}

static void combine(const double *a, int64_t step, int rows, int64_t n, const double *v, double *y)
{
    if (rows == 4) {
        combine_rows(a, step, 4, n, v, y);
        return;
    }
    for (int i = 0; i < rows; i++)
        combine_rows(a + i * step, step, 1, n, v + i, y);
}

static void spread(double *a, int64_t step, int rows, int64_t n, const double *v, const double *x)
{
    for (int i = 0; i < rows; i++) {
        double *restrict row = a + i * step, f = v[i];
        for (int64_t j = 0; j < n; j++)
            row[j] += f * x[j];
    }
}

static void fill(struct ig_spectral_ops *ops)
{
    ops->sweep = sweep;
    ops->dots = dots;
    ops->combine = combine;
    ops->spread = spread;
}
