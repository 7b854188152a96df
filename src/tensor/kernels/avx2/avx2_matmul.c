/* SPDX-License-Identifier: Apache-2.0
 * avx2 matmul — nothing of its own yet: ref's slots stay. */
#include "tensor/kernels/matmul.h"

void ig_matmul_avx2(struct ig_matmul_ops *ops)
{
    (void)ops;
}
