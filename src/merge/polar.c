/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/polar.h"

int64_t merge__polar_bytes(int64_t rows, int64_t cols)
{
    return rows * cols * 4;
}

bool merge__boost(float *buffer, int64_t rows, int64_t cols, struct ig_pool *pool,
                  struct ig_err *err)
{
    (void)buffer, (void)rows, (void)cols, (void)pool;
    return ig_err_set(err, IG_ERR_UNSUPPORTED, "matrix_boost is not here yet");
}
