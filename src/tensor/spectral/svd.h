/* SPDX-License-Identifier: Apache-2.0
 * svd — the largest singular values of a matrix and their vectors, in f64, from its Gram matrix.
 *
 * D is rows x cols, f32. Of its smaller side, k, it makes G = D D^T or D^T D, brings it to
 * tridiagonal form by Householder reflections, finds all eigenvalues by implicit QR steps and
 * the vectors of the largest `rank` by inverse iteration; the other side's vectors are D times
 * those. k^2 (2 |D| / k + 4/3 k) operations and 8 k^2 bytes, whatever the rank.
 * Accuracy: singular values to 1e-15 of the largest one times sqrt(k) where they are large;
 * those under 2^-22 of the largest, which f32 does not resolve, count as nothing.
 * Threads: none of its own; calls are independent. Same bits on every instruction set. */
#pragma once
#include "tensor/cpu.h"

struct ig_svd {
    int64_t rank;  /* vectors that there are: at most as many as asked for */
    double *sigma; /* all of D's singular values, the largest first: min(rows, cols) */
    double *left;  /* vector i at left + i * left_step: unit, of `rows` elements */
    double *right; /* the same, of `cols`; its largest element is positive */
    int64_t left_step, right_step;
};

/* Bytes that ig_svd_find works in; 0 when they cannot be counted. */
size_t ig_svd_bytes(int64_t rows, int64_t cols, int64_t rank);
/* What it gives lies in memory, which is aligned to 64 bytes. DATA when D is not finite. */
IG_MUST_CHECK bool ig_svd_find(const float *d, int64_t rows, int64_t cols, int64_t rank,
                               void *memory, struct ig_svd *out, struct ig_err *err);
