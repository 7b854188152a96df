/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/gemm.h"

#include <math.h>

static void tile(const float *a, const float *b, int64_t inner, float *c, int64_t step)
{
    for (int i = 0; i < IG_GEMM_ROWS; i++) {
        for (int j = 0; j < IG_GEMM_COLS; j++) {
            float sum = c[i * step + j];
            for (int64_t p = 0; p < inner; p++)
                sum = fmaf(a[p * IG_GEMM_ROWS + i], b[p * IG_GEMM_COLS + j], sum);
            c[i * step + j] = sum;
        }
    }
}

void ig_gemm_ref(struct ig_gemm_ops *ops)
{
    ops->tile = tile;
}
