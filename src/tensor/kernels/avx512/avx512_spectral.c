/* SPDX-License-Identifier: Apache-2.0
 * spectral with AVX-512: 8 rows of two vectors, 16 sums in registers. */
#include "tensor/kernels/spectral_loops.h"

#include <immintrin.h>

static void tile(const double *a, const double *b, int64_t inner, double *c, int64_t step)
{
    __m512d sum[IG_SPECTRAL_ROWS][2];
    for (int i = 0; i < IG_SPECTRAL_ROWS; i++)
        for (int h = 0; h < 2; h++)
            sum[i][h] = _mm512_loadu_pd(c + i * step + 8 * h);
    for (int64_t p = 0; p < inner; p++) {
        __m512d low = _mm512_load_pd(b + p * IG_SPECTRAL_COLS);
        __m512d high = _mm512_load_pd(b + p * IG_SPECTRAL_COLS + 8);
        for (int i = 0; i < IG_SPECTRAL_ROWS; i++) {
            __m512d x = _mm512_set1_pd(a[p * IG_SPECTRAL_ROWS + i]);
            sum[i][0] = _mm512_fmadd_pd(x, low, sum[i][0]);
            sum[i][1] = _mm512_fmadd_pd(x, high, sum[i][1]);
        }
    }
    for (int i = 0; i < IG_SPECTRAL_ROWS; i++)
        for (int h = 0; h < 2; h++)
            _mm512_storeu_pd(c + i * step + 8 * h, sum[i][h]);
}

void ig_spectral_avx512(struct ig_spectral_ops *ops)
{
    fill(ops);
    ops->tile = tile;
}
