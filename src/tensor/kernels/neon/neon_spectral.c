/* SPDX-License-Identifier: Apache-2.0
 * spectral with NEON: four rows of four vectors at a time, 16 sums in registers. The other loops
 * are ref's, which is compiled for NEON too. */
#include "tensor/kernels/spectral.h"

#include <arm_neon.h>

#define ROWS    4
#define VECTORS 4

static void part(const double *a, const double *b, int64_t inner, double *c, int64_t step)
{
    float64x2_t sum[ROWS][VECTORS];
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < VECTORS; v++)
            sum[i][v] = vld1q_f64(c + i * step + 2 * v);
    for (int64_t p = 0; p < inner; p++) {
        float64x2_t x0 = vld1q_f64(a + p * IG_SPECTRAL_ROWS);
        float64x2_t x1 = vld1q_f64(a + p * IG_SPECTRAL_ROWS + 2);
        for (int v = 0; v < VECTORS; v++) {
            float64x2_t y = vld1q_f64(b + p * IG_SPECTRAL_COLS + 2 * v);
            sum[0][v] = vfmaq_laneq_f64(sum[0][v], y, x0, 0);
            sum[1][v] = vfmaq_laneq_f64(sum[1][v], y, x0, 1);
            sum[2][v] = vfmaq_laneq_f64(sum[2][v], y, x1, 0);
            sum[3][v] = vfmaq_laneq_f64(sum[3][v], y, x1, 1);
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < VECTORS; v++)
            vst1q_f64(c + i * step + 2 * v, sum[i][v]);
}

static void tile(const double *a, const double *b, int64_t inner, double *c, int64_t step)
{
    for (int i = 0; i < IG_SPECTRAL_ROWS; i += ROWS)
        for (int j = 0; j < IG_SPECTRAL_COLS; j += 2 * VECTORS)
            part(a + i, b + j, inner, c + i * step + j, step);
}

void ig_spectral_neon(struct ig_spectral_ops *ops)
{
    ops->tile = tile;
}
