/* SPDX-License-Identifier: Apache-2.0
 * gemm with AVX2 and FMA: four rows of two vectors at a time, 8 sums in registers. */
#include "tensor/kernels/gemm.h"

#include <immintrin.h>

#define ROWS 4

static void part(const float *a, const float *b, int64_t inner, float *c, int64_t step)
{
    __m256 sum[ROWS][2];
    for (int i = 0; i < ROWS; i++)
        for (int h = 0; h < 2; h++)
            sum[i][h] = _mm256_loadu_ps(c + i * step + 8 * h);
    for (int64_t p = 0; p < inner; p++) {
        __m256 low = _mm256_load_ps(b + p * IG_GEMM_COLS);
        __m256 high = _mm256_load_ps(b + p * IG_GEMM_COLS + 8);
        for (int i = 0; i < ROWS; i++) {
            __m256 x = _mm256_set1_ps(a[p * IG_GEMM_ROWS + i]);
            sum[i][0] = _mm256_fmadd_ps(x, low, sum[i][0]);
            sum[i][1] = _mm256_fmadd_ps(x, high, sum[i][1]);
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int h = 0; h < 2; h++)
            _mm256_storeu_ps(c + i * step + 8 * h, sum[i][h]);
}

static void tile(const float *a, const float *b, int64_t inner, float *c, int64_t step)
{
    for (int i = 0; i < IG_GEMM_ROWS; i += ROWS)
        for (int j = 0; j < IG_GEMM_COLS; j += 16)
            part(a + i, b + j, inner, c + i * step + j, step);
}

void ig_gemm_avx2(struct ig_gemm_ops *ops)
{
    ops->tile = tile;
}
