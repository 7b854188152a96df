/* SPDX-License-Identifier: Apache-2.0
 * spectral — the inner loops of an eigenproblem, in f64. Every sum is taken in an order that does
 * not depend on the instruction set, so that neither do its bits. */
#pragma once
#include "tensor/cpu.h"

#define IG_SPECTRAL_ROWS 8
#define IG_SPECTRAL_COLS 16

struct ig_spectral_ops {
    /* c[i * step + j] += sum over p of a[p * ROWS + i] * b[p * COLS + j], a chain of fma in the
     * order of p; a and b are aligned to 64 bytes, c to 8. */
    void (*tile)(const double *a, const double *b, int64_t inner, double *c, int64_t step);
    /* Below, the rows of a are n long and step apart; dot products have 8 lanes, of products that
     * are rounded. Of 4 rows: sums[i] = row i . x, and y += sum of v[i] times row i. */
    void (*sweep)(const double *a, int64_t step, int64_t n, const double *x, const double *v,
                  double *y, double *sums);
    /* The same apart, of 1 to 4 rows. */
    void (*dots)(const double *a, int64_t step, int rows, int64_t n, const double *x, double *sums);
    void (*combine)(const double *a, int64_t step, int rows, int64_t n, const double *v, double *y);
    /* row i += v[i] x. */
    void (*spread)(double *a, int64_t step, int rows, int64_t n, const double *v, const double *x);
};

void ig_spectral_ref(struct ig_spectral_ops *ops);
void ig_spectral_avx2(struct ig_spectral_ops *ops);
void ig_spectral_avx512(struct ig_spectral_ops *ops);
void ig_spectral_neon(struct ig_spectral_ops *ops);
