/* SPDX-License-Identifier: Apache-2.0
 * spectral with AVX2 and FMA: four rows of two vectors at a time, 8 sums in registers. */
#include "tensor/kernels/spectral_loops.h"

#include <immintrin.h>

#define ROWS 4

static void part(const double *a, const double *b, int64_t inner, double *c, int64_t step)
{
    __m256d sum[ROWS][2];
    for (int i = 0; i < ROWS; i++)
        for (int h = 0; h < 2; h++)
            sum[i][h] = _mm256_loadu_pd(c + i * step + 4 * h);
    for (int64_t p = 0; p < inner; p++) {
        __m256d low = _mm256_load_pd(b + p * IG_SPECTRAL_COLS);
        __m256d high = _mm256_load_pd(b + p * IG_SPECTRAL_COLS + 4);
        for (int i = 0; i < ROWS; i++) {
            __m256d x = _mm256_set1_pd(a[p * IG_SPECTRAL_ROWS + i]);
            sum[i][0] = _mm256_fmadd_pd(x, low, sum[i][0]);
            sum[i][1] = _mm256_fmadd_pd(x, high, sum[i][1]);
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int h = 0; h < 2; h++)
            _mm256_storeu_pd(c + i * step + 4 * h, sum[i][h]);
}

static void tile(const double *a, const double *b, int64_t inner, double *c, int64_t step)
{
    for (int i = 0; i < IG_SPECTRAL_ROWS; i += ROWS)
        for (int j = 0; j < IG_SPECTRAL_COLS; j += 8)
            part(a + i, b + j, inner, c + i * step + j, step);
}

void ig_spectral_avx2(struct ig_spectral_ops *ops)
{
    fill(ops);
    ops->tile = tile;
}
