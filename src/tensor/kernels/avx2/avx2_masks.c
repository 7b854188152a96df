/* SPDX-License-Identifier: Apache-2.0
 * masks_loops.h compiled for AVX2. */
#include "tensor/kernels/masks_loops.h"

void ig_masks_avx2(struct ig_masks_ops *ops)
{
    fill(ops);
}
