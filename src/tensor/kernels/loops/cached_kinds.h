/* SPDX-License-Identifier: Apache-2.0
 * cached_kinds — the slots of `cached` over dots_as, mix_as and load_as, which whoever includes
 * this has defined; a build of each for every kind of code. */
#pragma once
#include "tensor/kernels/cached.h"

static void dots(const struct ig_cached *as, const float *q, const void *rows, int64_t count,
                 float scale, float *out)
{
    switch (as->bits) {
    case IG_CACHED_F16: dots_as(as, IG_CACHED_F16, q, rows, count, scale, out); break;
    case 8: dots_as(as, 8, q, rows, count, scale, out); break;
    default: dots_as(as, 4, q, rows, count, scale, out); break;
    }
}

static void mix(const struct ig_cached *as, const float *p, const void *rows, int64_t count,
                float *out)
{
    switch (as->bits) {
    case IG_CACHED_F16: mix_as(as, IG_CACHED_F16, p, rows, count, out); break;
    case 8: mix_as(as, 8, p, rows, count, out); break;
    default: mix_as(as, 4, p, rows, count, out); break;
    }
}

static void load(const struct ig_cached *as, const void *rows, int64_t count, float *out)
{
    switch (as->bits) {
    case IG_CACHED_F16: load_as(as, IG_CACHED_F16, rows, count, out); break;
    case 8: load_as(as, 8, rows, count, out); break;
    default: load_as(as, 4, rows, count, out); break;
    }
}

static void fill(struct ig_cached_ops *ops)
{
    *ops = (struct ig_cached_ops){dots, mix, load};
}
