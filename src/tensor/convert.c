/* SPDX-License-Identifier: Apache-2.0
 * convert — the rare types, in plain loops; see kernels/convert.h for the four that matter. */
#include "tensor/kernels/convert.h"

#include "base/check.h"
#include "tensor/kernels/scalar.h"

/* Loops over src as TYPE and stores EXPRESSION of its value v. */
#define LOAD_EACH(TYPE, expression)                                                                \
    for (int64_t i = 0; i < count; i++) {                                                          \
        TYPE v;                                                                                    \
        memcpy(&v, (const char *)src + (size_t)i * sizeof v, sizeof v);                            \
        dst[i] = (float)(expression);                                                              \
    }                                                                                              \
    return

void ig_convert_to_f32(const struct ig_convert_ops *ops, enum ig_dtype dtype, const void *src,
                       float *dst, int64_t count)
{
    switch (dtype) {
    case IG_BF16: ops->bf16_to_f32(src, dst, count); return;
    case IG_F16: ops->f16_to_f32(src, dst, count); return;
    case IG_F32: memcpy(dst, src, (size_t)count * sizeof *dst); return;
    case IG_F64: LOAD_EACH(double, v);
    case IG_F8_E5M2: LOAD_EACH(uint8_t, ig_f8_e5m2_value(v));
    case IG_F8_E4M3: LOAD_EACH(uint8_t, ig_f8_e4m3_value(v));
    case IG_BOOL: LOAD_EACH(uint8_t, v != 0);
    case IG_U8: LOAD_EACH(uint8_t, v);
    case IG_I8: LOAD_EACH(int8_t, v);
    case IG_U16: LOAD_EACH(uint16_t, v);
    case IG_I16: LOAD_EACH(int16_t, v);
    case IG_U32: LOAD_EACH(uint32_t, v);
    case IG_I32: LOAD_EACH(int32_t, v);
    case IG_U64: LOAD_EACH(uint64_t, v);
    case IG_I64: LOAD_EACH(int64_t, v);
    case IG_F4:
    case IG_F6_E2M3:
    case IG_F6_E3M2:
    case IG_F8_E8M0:
    case IG_F8_E4M3FNUZ:
    case IG_F8_E5M2FNUZ:
    case IG_C64:
    case IG_DTYPE_COUNT: break;
    }
    IG_ASSERT(!"a type without a value in f32");
}

/* Rounds to nearest even at a type with `mantissa` stored bits and smallest normal exponent
 * `exponent_min`; the caller has dealt with NaN and overflow. */
static float round_to(float value, int mantissa, int exponent_min)
{
    int exponent;
    frexpf(value, &exponent);
    exponent = exponent - 1 < exponent_min ? exponent_min : exponent - 1;
    return ldexpf(rintf(ldexpf(value, mantissa - exponent)), exponent - mantissa);
}

static uint8_t f8_e4m3_bits(float value)
{
    uint8_t sign = ig_f32_bits(value) >> 31 ? 0x80 : 0;
    float magnitude = fabsf(value);
    if (!(magnitude < 464.0f)) return sign | 0x7F; /* beyond 448 by half a step, infinity, NaN */
    float rounded = round_to(magnitude, 3, -6);
    if (rounded < 0x1p-6f) return (uint8_t)(sign | (int)(rounded * 0x1p9f));
    int exponent;
    float fraction = frexpf(rounded, &exponent); /* in [0.5, 1) */
    return (uint8_t)(sign | (exponent + 6) << 3 | ((int)(fraction * 16.0f) & 7));
}

static uint8_t f8_e5m2_bits(float value)
{
    uint8_t sign = ig_f32_bits(value) >> 31 ? 0x80 : 0;
    float magnitude = fabsf(value);
    if (isnan(value)) return sign | 0x7E;
    if (magnitude >= 61440.0f) return sign | 0x7C;
    return (uint8_t)(sign | ig_f16_bits(round_to(magnitude, 2, -14)) >> 8);
}

void ig_convert_from_f32(const struct ig_convert_ops *ops, enum ig_dtype dtype, const float *src,
                         void *dst, int64_t count)
{
    uint8_t *bytes = dst;
    switch (dtype) {
    case IG_BF16: ops->f32_to_bf16(src, dst, count); return;
    case IG_F16: ops->f32_to_f16(src, dst, count); return;
    case IG_F32: memcpy(dst, src, (size_t)count * sizeof *src); return;
    case IG_F64:
        for (int64_t i = 0; i < count; i++) {
            double v = (double)src[i];
            memcpy(bytes + (size_t)i * sizeof v, &v, sizeof v);
        }
        return;
    case IG_F8_E4M3:
        for (int64_t i = 0; i < count; i++)
            bytes[i] = f8_e4m3_bits(src[i]);
        return;
    case IG_F8_E5M2:
        for (int64_t i = 0; i < count; i++)
            bytes[i] = f8_e5m2_bits(src[i]);
        return;
    default: break;
    }
    IG_ASSERT(!"a type that is not a float");
}
