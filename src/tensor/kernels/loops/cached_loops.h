/* SPDX-License-Identifier: Apache-2.0
 * cached_loops — `cached` for vectors of any length. Whoever includes this has defined vec and
 *     LANES     floats in one
 *     MIXED     vectors of results that stay in registers: 64 floats
 *     zero, spread, loaded, store, plus, times_plus, sum_of
 *     widen     LANES elements of a kind of code, without scale and bias
 * A group's scale is applied to its sum of products; biases meet sums of queries, or of weights,
 * once for a group. */
#pragma once
#include "tensor/kernels/cached_row.h"

INLINE void dots_as(const struct ig_cached *as, int bits, const float *q, const uint8_t *row,
                    int64_t count, float scale, float *out)
{
    int64_t group = bits == IG_CACHED_F16 ? as->dim : as->group, groups = as->dim / group;
    size_t step = ig_cached_row_bytes(as);
    float sums[IG_CACHED_MOST / IG_CACHED_GROUP];
    for (int64_t g = 0; g < groups && bits != IG_CACHED_F16; g++) {
        vec sum = zero();
        for (int64_t j = 0; j < group; j += LANES)
            sum = plus(sum, loaded(q + g * group + j));
        sums[g] = sum_of(sum);
    }
    for (int64_t i = 0; i < count; i++, row += step) {
        const float *scales = scales_of(as, bits, row);
        vec total = zero();
        float rest = 0;
        for (int64_t g = 0; g < groups; g++) {
            vec even = zero(), odd = even;
            int64_t j = g * group, end = j + group;
            for (; j + 2 * LANES <= end; j += 2 * LANES) {
                even = times_plus(loaded(q + j), widen(bits, row + j * bits / 8), even);
                odd = times_plus(loaded(q + j + LANES), widen(bits, row + (j + LANES) * bits / 8),
                                 odd);
            }
            if (j < end) even = times_plus(loaded(q + j), widen(bits, row + j * bits / 8), even);
            even = plus(even, odd);
            if (bits == IG_CACHED_F16) {
                total = even;
            } else {
                total = times_plus(even, spread(scales[g]), total);
                rest += scales[groups + g] * sums[g];
            }
        }
        out[i] = (sum_of(total) + rest) * scale;
    }
}

struct columns {
    int64_t first;
    int vectors;
};

/* Up to MIXED vectors of out, from the first element on, stay in registers. */
INLINE void mix_columns(const struct ig_cached *as, int bits, const float *p, const uint8_t *row,
                        int64_t count, struct columns at, float *out)
{
    const int64_t j = at.first;
    const int vectors = at.vectors;
    int64_t groups = bits == IG_CACHED_F16 ? 1 : as->dim / as->group, g[MIXED];
    size_t step = ig_cached_row_bytes(as);
    float biases[MIXED] = {0};
    vec sum[MIXED];
    for (int c = 0; c < vectors; c++) {
        g[c] = bits == IG_CACHED_F16 ? 0 : (j + LANES * c) / as->group;
        sum[c] = loaded(out + j + LANES * c);
    }
    for (int64_t i = 0; i < count; i++, row += step) {
        const float *scales = scales_of(as, bits, row);
        for (int c = 0; c < vectors; c++) {
            float weight = p[i];
            if (bits != IG_CACHED_F16) {
                biases[c] += weight * scales[groups + g[c]];
                weight *= scales[g[c]];
            }
            sum[c] =
                times_plus(spread(weight), widen(bits, row + (j + LANES * c) * bits / 8), sum[c]);
        }
    }
    for (int c = 0; c < vectors; c++)
        store(out + j + LANES * c, plus(sum[c], spread(biases[c])));
}

INLINE void mix_as(const struct ig_cached *as, int bits, const float *p, const uint8_t *rows,
                   int64_t count, float *out)
{
    int64_t j = 0;
    for (; j + MIXED * LANES <= as->dim; j += MIXED * LANES)
        mix_columns(as, bits, p, rows, count, (struct columns){j, MIXED}, out);
    for (; j < as->dim; j += LANES)
        mix_columns(as, bits, p, rows, count, (struct columns){j, 1}, out);
}

INLINE void load_as(const struct ig_cached *as, int bits, const uint8_t *row, int64_t count,
                    float *out)
{
    int64_t groups = bits == IG_CACHED_F16 ? 1 : as->dim / as->group;
    size_t step = ig_cached_row_bytes(as);
    for (int64_t i = 0; i < count; i++, row += step, out += as->dim) {
        const float *scales = scales_of(as, bits, row);
        for (int64_t j = 0; j < as->dim; j += LANES) {
            vec v = widen(bits, row + j * bits / 8);
            int64_t g = bits == IG_CACHED_F16 ? 0 : j / as->group;
            if (bits != IG_CACHED_F16)
                v = times_plus(v, spread(scales[g]), spread(scales[groups + g]));
            store(out + j, v);
        }
    }
}

#include "tensor/kernels/loops/cached_kinds.h"
