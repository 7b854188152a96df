/* SPDX-License-Identifier: Apache-2.0
 * avx2 neural — nothing of its own yet: ref's slots stay. */
#include "tensor/kernels/neural.h"

void ig_neural_avx2(struct ig_neural_ops *ops)
{
    (void)ops;
}
