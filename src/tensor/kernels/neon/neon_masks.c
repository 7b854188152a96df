/* SPDX-License-Identifier: Apache-2.0
 * masks_loops.h compiled for NEON. */
#include "tensor/kernels/masks_loops.h"

void ig_masks_neon(struct ig_masks_ops *ops)
{
    fill(ops);
}
