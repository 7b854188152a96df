/* SPDX-License-Identifier: Apache-2.0
 * masks_loops.h compiled for AVX-512. */
#include "tensor/kernels/masks_loops.h"

void ig_masks_avx512(struct ig_masks_ops *ops)
{
    fill(ops);
}
