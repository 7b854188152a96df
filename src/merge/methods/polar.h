/* SPDX-License-Identifier: Apache-2.0
 * polar — the orthogonal polar factor of a matrix, by matrix products only.
 *
 * Takes memory for a few copies of the matrix: the one place in a merge where memory depends on a
 * tensor's size. */
#pragma once
#include "base/thread.h"

/* Bytes of a buffer for merge__boost: the matrix, rows x cols f32, comes first in it. */
int64_t merge__polar_bytes(int64_t rows, int64_t cols);
/* Sets every singular value of the matrix at the head of the buffer to the largest one. Directions
 * whose singular value is under 1e-6 of it are lost in f32 anyway: they are raised less or not at
 * all, so that a matrix of lower rank keeps its null space. */
IG_MUST_CHECK bool merge__boost(float *buffer, int64_t rows, int64_t cols, struct ig_pool *pool,
                                struct ig_err *err);
