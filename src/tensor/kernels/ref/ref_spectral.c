/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/spectral_loops.h"

#include <math.h>

static void tile(const double *a, const double *b, int64_t inner, double *c, int64_t step)
{
    for (int i = 0; i < IG_SPECTRAL_ROWS; i++) {
        for (int j = 0; j < IG_SPECTRAL_COLS; j++) {
            double sum = c[i * step + j];
            for (int64_t p = 0; p < inner; p++)
                sum = fma(a[p * IG_SPECTRAL_ROWS + i], b[p * IG_SPECTRAL_COLS + j], sum);
            c[i * step + j] = sum;
        }
    }
}

void ig_spectral_ref(struct ig_spectral_ops *ops)
{
    fill(ops);
    ops->tile = tile;
}
