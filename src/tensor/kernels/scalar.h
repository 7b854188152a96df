/* SPDX-License-Identifier: Apache-2.0
 * scalar — one number at a time between f32 and the small types, exactly as every kernel must do
 * it: rounding to nearest even, NaN to the quiet NaN (sign kept, payload dropped), overflow to
 * infinity. */
#pragma once
#include "tensor/kernels/convert.h"

#include <math.h>

static inline uint16_t ig_load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void ig_store_u16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline uint32_t ig_f32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline float ig_f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float ig_bf16_value(uint16_t bits)
{
    return ig_f32_of_bits((uint32_t)bits << 16);
}
static inline uint16_t ig_bf16_bits(float value)
{
    uint32_t bits = ig_f32_bits(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((bits >> 16 & 0x8000u) | 0x7FC0u);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

static inline float ig_f16_value(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t exponent = bits >> 10 & 0x1F, mantissa = bits & 0x3FF;
    if (exponent == 0x1F) {
        uint32_t quiet = mantissa ? 0x400000u : 0; /* hardware quiets signalling NaNs too */
        return ig_f32_of_bits(sign | 0x7F800000u | mantissa << 13 | quiet);
    }
    if (exponent == 0) {
        float value = (float)mantissa * 0x1p-24f;
        return sign ? -value : value;
    }
    return ig_f32_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}
static inline uint16_t ig_f16_bits(float value)
{
    uint32_t bits = ig_f32_bits(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (magnitude >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* 65520 and above round up */
    if (magnitude <
        0x38800000u) { /* below 2^-14: adding 0.5 leaves the subnormal in the low bits */
        float shifted = ig_f32_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (ig_f32_bits(shifted) - 0x3F000000u));
    }
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xFFFu + (magnitude >> 13 & 1)) >> 13);
}

/* f8_e5m2 is the upper half of an f16. f8_e4m3fn: bias 7, no infinity, s1111111 is NaN. */
static inline float ig_f8_e5m2_value(uint8_t bits)
{
    return ig_f16_value((uint16_t)(bits << 8));
}
/* As an f32 its bits are 2^120 too small, subnormals included. */
static inline float ig_f8_e4m3_value(uint8_t bits)
{
    uint32_t magnitude = bits & 0x7Fu;
    float value = magnitude == 0x7F ? ig_f32_of_bits(0x7FC00000u)
                                    : ig_f32_of_bits(magnitude << 20) * 0x1p120f;
    return bits & 0x80 ? -value : value;
}
/* RNE; what would be 464 or more, infinity and NaN become 448, sign kept: what mlx does. Below 2^-6
 * the values are multiples of 2^-9: adding 2^14 leaves them in the low bits, rounded. */
static inline uint8_t ig_f8_e4m3_saturated(float value)
{
    uint32_t bits = ig_f32_bits(value), magnitude = bits & 0x7FFFFFFFu;
    uint8_t sign = (uint8_t)(bits >> 24 & 0x80u);
    if (magnitude >= 0x43E80000u) return sign | 0x7E; /* 464 */
    if (magnitude < 0x3C800000u)
        return (uint8_t)(sign | (ig_f32_bits(ig_f32_of_bits(magnitude) + 0x1p14f) & 0xFFu));
    return (uint8_t)(sign | (magnitude - 0x3C000000u + 0x7FFFFu + (magnitude >> 20 & 1)) >> 20);
}
