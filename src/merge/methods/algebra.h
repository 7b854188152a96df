/* SPDX-License-Identifier: Apache-2.0
 * algebra — what merge methods compute on K numbers or K x K matrices, in f64. Matrices are
 * row-major with leading dimension k. Pure functions. */
#pragma once
#include <stdbool.h>

/* Packed sums of IG_ROWS_PAIR order to a full symmetric matrix. */
void merge__unpack(const double *pairs, int k, double *full);
/* v^T A v. */
double merge__form(const double *a, const double *v, int k);
/* Eigenvalues of a symmetric matrix, largest first, and eigenvectors as columns, by Jacobi
 * rotations. A is destroyed. */
void merge__eigen(double *a, int k, double *values, double *vectors);
/* The lower of the two middle values of an even count, or their mean. */
double merge__median(const double *values, int count, bool midpoint);
/* Weights (they sum to 1) of the geometric median of K points whose inner products, relative to any
 * origin, are h. Returns the iterations taken; 0 when the median is one of the points. */
int merge__weiszfeld(const double *h, int k, double *weights);
/* The x that minimises 1/2 x^T H x - b^T x with x >= 0 and sum x <= 1; H positive semidefinite. */
void merge__simplex(const double *h, const double *b, int k, double *x);
