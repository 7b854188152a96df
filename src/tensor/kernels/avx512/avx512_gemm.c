/* SPDX-License-Identifier: Apache-2.0
 * gemm with AVX-512: 8 rows of two vectors, 16 sums in registers. */
#include "tensor/kernels/gemm.h"

#include <immintrin.h>

static void tile(const float *a, const float *b, int64_t inner, float *c, int64_t step)
{
    __m512 sum[IG_GEMM_ROWS][2];
    for (int i = 0; i < IG_GEMM_ROWS; i++)
        for (int h = 0; h < 2; h++)
            sum[i][h] = _mm512_loadu_ps(c + i * step + 16 * h);
    for (int64_t p = 0; p < inner; p++) {
        __m512 low = _mm512_load_ps(b + p * IG_GEMM_COLS);
        __m512 high = _mm512_load_ps(b + p * IG_GEMM_COLS + 16);
        for (int i = 0; i < IG_GEMM_ROWS; i++) {
            __m512 x = _mm512_set1_ps(a[p * IG_GEMM_ROWS + i]);
            sum[i][0] = _mm512_fmadd_ps(x, low, sum[i][0]);
            sum[i][1] = _mm512_fmadd_ps(x, high, sum[i][1]);
        }
    }
    for (int i = 0; i < IG_GEMM_ROWS; i++)
        for (int h = 0; h < 2; h++)
            _mm512_storeu_ps(c + i * step + 16 * h, sum[i][h]);
}

void ig_gemm_avx512(struct ig_gemm_ops *ops)
{
    ops->tile = tile;
}
