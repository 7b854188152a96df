/* SPDX-License-Identifier: Apache-2.0
 * polar — the orthogonal polar factor of a matrix, by matrix products only. */
#pragma once
#include "base/thread.h"

/* Bytes of a buffer for merge__boost: the matrix, rows x cols f32, comes first in it. */
int64_t merge__polar_bytes(int64_t rows, int64_t cols);
/* Sets every singular value of the matrix at the head of the buffer to the largest. */
IG_MUST_CHECK bool merge__boost(float *buffer, int64_t rows, int64_t cols, struct ig_pool *pool,
                                struct ig_err *err);
