/* SPDX-License-Identifier: Apache-2.0
 * cached_row — where the parts of a row of a cache lie. */
#pragma once
#include "tensor/kernels/cached.h"

#define INLINE static inline __attribute__((always_inline))

INLINE const float *scales_of(const struct ig_cached *as, int bits, const uint8_t *row)
{
    return (const float *)(const void *)(row + as->dim * bits / 8);
}
