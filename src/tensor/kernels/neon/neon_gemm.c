/* SPDX-License-Identifier: Apache-2.0
 * gemm with NEON: four rows of four vectors at a time, 16 sums in registers. */
#include "tensor/kernels/gemm.h"

#include <arm_neon.h>

#define ROWS    4
#define VECTORS 4

static void part(const float *a, const float *b, int64_t inner, float *c, int64_t step)
{
    float32x4_t sum[ROWS][VECTORS], y[VECTORS];
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < VECTORS; v++)
            sum[i][v] = vld1q_f32(c + i * step + 4 * v);
    for (int64_t p = 0; p < inner; p++) {
        float32x4_t x = vld1q_f32(a + p * IG_GEMM_ROWS);
        for (int v = 0; v < VECTORS; v++)
            y[v] = vld1q_f32(b + p * IG_GEMM_COLS + 4 * v);
        for (int v = 0; v < VECTORS; v++) {
            sum[0][v] = vfmaq_laneq_f32(sum[0][v], y[v], x, 0);
            sum[1][v] = vfmaq_laneq_f32(sum[1][v], y[v], x, 1);
            sum[2][v] = vfmaq_laneq_f32(sum[2][v], y[v], x, 2);
            sum[3][v] = vfmaq_laneq_f32(sum[3][v], y[v], x, 3);
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < VECTORS; v++)
            vst1q_f32(c + i * step + 4 * v, sum[i][v]);
}

static void tile(const float *a, const float *b, int64_t inner, float *c, int64_t step)
{
    for (int i = 0; i < IG_GEMM_ROWS; i += ROWS)
        for (int j = 0; j < IG_GEMM_COLS; j += 4 * VECTORS)
            part(a + i, b + j, inner, c + i * step + j, step);
}

void ig_gemm_neon(struct ig_gemm_ops *ops)
{
    ops->tile = tile;
}
