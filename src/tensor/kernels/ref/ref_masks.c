/* SPDX-License-Identifier: Apache-2.0
 * masks for any machine: the truth that the other instruction sets are checked against. */
#include "tensor/kernels/masks_loops.h"

void ig_masks_ref(struct ig_masks_ops *ops)
{
    fill(ops);
}
