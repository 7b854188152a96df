/* SPDX-License-Identifier: Apache-2.0
 * spectral_internal — the steps of svd.h. Symmetric matrices are their lower triangle, row by row:
 * a[r * step + c], c <= r. */
#pragma once
#include "tensor/kernels/spectral.h"
#include "tensor/spectral/svd.h"

#include <math.h>

#define SPECTRAL_INNER                                                                             \
    256                   /* of a product: a panel of rows and one of columns stay in the caches   \
                           */
#define SPECTRAL_PANEL 32 /* rows that are reflected before the rest of the matrix is told */

/* Of (a, b). Not hypot, whose last bit depends on the C library and the processor. */
static inline double spectral__length(double a, double b)
{
    double x = fabs(a), y = fabs(b), most = x > y ? x : y, least = x > y ? y : x;
    double ratio = most > 0 ? least / most : 0;
    return most * sqrt(1 + ratio * ratio);
}

/* A symmetric matrix and what becomes of it. */
struct spectral_form {
    const struct ig_spectral_ops *ops;
    int64_t n, step;
    double *a;              /* n rows */
    double *d, *e;          /* T's diagonal, and what is beside it: e[i] between i and i + 1 */
    double *tau;            /* of reflection i, whose vector, i elements, is then in row i of a */
    double *w;              /* SPECTRAL_PANEL rows */
    double *rows, *columns; /* panels for products: of all rows, and one of columns, each
                               SPECTRAL_INNER deep */
};

/* ---- tridiagonal.c ---- */

/* A = Q T Q^T. */
void spectral__reduce(const struct spectral_form *f);
/* Rows of z, a step apart, become Q times themselves. */
void spectral__reflect(const struct spectral_form *f, double *z, int64_t count);

/* ---- eigen.c: of the tridiagonal matrix ---- */

/* All eigenvalues, the largest first, into d; e is used up. False when they do not converge. */
bool spectral__values(double *d, double *e, int64_t n);
/* Unit vectors of the first `count` of values into rows of z, a step apart. work: 5 n. */
bool spectral__vectors(const struct spectral_form *f, const double *values, int64_t count,
                       double *z, double *work);
