/* SPDX-License-Identifier: Apache-2.0
 * ref cached — the truth in plain C, sums in f64; and storing, which has no other path. */
#include "tensor/kernels/cached.h"
#include "tensor/kernels/scalar.h"

#include <math.h>
#include <string.h>

#define F16_LARGEST 65504.0F

size_t ig_cached_row_bytes(const struct ig_cached *as)
{
    size_t codes = (size_t)as->dim * (size_t)as->bits / 8;
    if (as->bits == IG_CACHED_F16) return codes;
    return codes + (size_t)(as->dim / as->group) * 2 * sizeof(float);
}

void ig_cached_store(const struct ig_cached *as, const struct ig_convert_ops *convert,
                     const struct ig_quantize_ops *quantize, const float *x, void *row)
{
    float values[IG_CACHED_MOST];
    float lo[IG_CACHED_MOST / IG_CACHED_GROUP], hi[IG_CACHED_MOST / IG_CACHED_GROUP];
    float *scale = values, *bias = values + IG_CACHED_MOST / 2;
    uint8_t codes[IG_CACHED_MOST], *at = row;
    if (as->bits == IG_CACHED_F16) {
        for (int64_t i = 0; i < as->dim; i++) /* NaN stays */
            values[i] = x[i] > F16_LARGEST    ? F16_LARGEST
                        : x[i] < -F16_LARGEST ? -F16_LARGEST
                                              : x[i];
        convert->f32_to_f16(values, row, as->dim);
        return;
    }
    int64_t groups = as->dim / as->group;
    float levels = (float)((1 << as->bits) - 1);
    quantize->range(x, groups, as->group, lo, hi);
    quantize->grid(lo, hi, groups, levels, scale, bias);
    quantize->codes(x, groups, as->group, scale, bias, levels, codes);
    quantize->pack(codes, as->dim, as->bits, at);
    at += as->dim * as->bits / 8;
    memcpy(at, scale, (size_t)groups * sizeof *scale);
    memcpy(at + (size_t)groups * sizeof *scale, bias, (size_t)groups * sizeof *bias);
}

static float element(const struct ig_cached *as, const uint8_t *row, int64_t j)
{
    if (as->bits == IG_CACHED_F16) {
        uint16_t half;
        memcpy(&half, row + 2 * j, sizeof half);
        return ig_f16_value(half);
    }
    const uint8_t *floats = row + as->dim * as->bits / 8;
    int64_t g = j / as->group, groups = as->dim / as->group;
    float scale, bias;
    memcpy(&scale, floats + g * 4, sizeof scale);
    memcpy(&bias, floats + (groups + g) * 4, sizeof bias);
    int code = as->bits == 8 ? row[j] : row[j / 2] >> (j % 2 * 4) & 15;
    return fmaf(scale, (float)code, bias);
}

static void dots(const struct ig_cached *as, const float *q, const void *rows, int64_t count,
                 float scale, float *out)
{
    const uint8_t *row = rows;
    for (int64_t i = 0; i < count; i++, row += ig_cached_row_bytes(as)) {
        double sum = 0.0;
        for (int64_t j = 0; j < as->dim; j++)
            sum += (double)q[j] * (double)element(as, row, j);
        out[i] = (float)sum * scale;
    }
}

static void mix(const struct ig_cached *as, const float *p, const void *rows, int64_t count,
                float *out)
{
    const uint8_t *row = rows;
    for (int64_t i = 0; i < count; i++, row += ig_cached_row_bytes(as))
        for (int64_t j = 0; j < as->dim; j++)
            out[j] += p[i] * element(as, row, j);
}

static void load(const struct ig_cached *as, const void *rows, int64_t count, float *out)
{
    const uint8_t *row = rows;
    for (int64_t i = 0; i < count; i++, row += ig_cached_row_bytes(as))
        for (int64_t j = 0; j < as->dim; j++)
            out[i * as->dim + j] = element(as, row, j);
}

void ig_cached_ref(struct ig_cached_ops *ops)
{
    *ops = (struct ig_cached_ops){dots, mix, load};
}
