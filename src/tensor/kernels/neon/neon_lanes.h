/* SPDX-License-Identifier: Apache-2.0
 * neon lanes — reading plain floats, scales and small types into vectors. */
#pragma once
#include "tensor/kernels/matmul.h"

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE float32x4_t low_of(uint16x8_t halves)
{
    return vcvt_f32_f16(vget_low_f16(vreinterpretq_f16_u16(halves)));
}

INLINE float32x4_t high_of(uint16x8_t halves)
{
    return vcvt_high_f32_f16(vreinterpretq_f16_u16(halves));
}

/* Of 8 codes e4m3, f16 that are 2^-8 of their value. */
INLINE uint16x8_t e4m3_halves(uint8x8_t codes)
{
    uint16x8_t words = vreinterpretq_u16_s16(vmovl_s8(vreinterpret_s8_u8(codes)));
    return vandq_u16(vshlq_n_u16(words, 7), vdupq_n_u16(0xBF80));
}

/* 4 plain floats at p. */
INLINE float32x4_t plain_load(enum ig_dtype dtype, const uint8_t *p)
{
    if (dtype == IG_F32) return vreinterpretq_f32_u8(vld1q_u8(p));
    uint16x4_t words = vreinterpret_u16_u8(vld1_u8(p));
    if (dtype == IG_F16) return vcvt_f32_f16(vreinterpret_f16_u16(words));
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(words), 16));
}

/* The first `inside` of them, zeros behind. */
INLINE float32x4_t plain_load_some(enum ig_dtype dtype, const uint8_t *p, int64_t inside)
{
    uint8_t last[16] = {0};
    if (inside >= 4) return plain_load(dtype, p);
    memcpy(last, p, (size_t)inside * (dtype == IG_F32 ? 4 : 2));
    return plain_load(dtype, last);
}

/* Scales or biases [first, first + count) as f32, zeros up to a vector behind them. */
static inline void load_floats(enum ig_dtype dtype, const void *data, int64_t first, int64_t count,
                               float *out)
{
    size_t size = ig_dtype_bytes(dtype);
    const uint8_t *p = (const uint8_t *)data + (size_t)first * size;
    for (int64_t i = 0; i < count; i += 4)
        vst1q_f32(out + i, plain_load_some(dtype, p + (size_t)i * size, count - i));
    vst1q_f32(out + count, vdupq_n_f32(0));
}

static inline void load_scales(const struct ig_matrix *w, int64_t first, int64_t count, float *out)
{
    if (w->packing == IG_PACK_AFFINE) {
        load_floats(w->scale_dtype, w->scales, first, count, out);
        return;
    }
    const uint8_t *p = (const uint8_t *)w->scales + first;
    float factor = w->packing == IG_PACK_FP8 ? 256.0F : 1.0F; /* e4m3_halves */
    for (int64_t i = 0; i < count; i += 8) {
        uint8_t eight[8] = {0};
        memcpy(eight, p + i, (size_t)(count - i < 8 ? count - i : 8));
        uint8x8_t codes = vld1_u8(eight);
        if (w->group == 16) {
            uint16x8_t halves = e4m3_halves(codes);
            vst1q_f32(out + i, vmulq_n_f32(low_of(halves), 256.0F));
            vst1q_f32(out + i + 4, vmulq_n_f32(high_of(halves), 256.0F));
            continue;
        }
        uint16x8_t words = vmovl_u8(codes);
        uint32x4_t low = vshlq_n_u32(vmovl_u16(vget_low_u16(words)), 23);
        uint32x4_t high = vshlq_n_u32(vmovl_high_u16(words), 23), least = vdupq_n_u32(1U << 22);
        vst1q_f32(out + i, vmulq_n_f32(vreinterpretq_f32_u32(vmaxq_u32(low, least)), factor));
        vst1q_f32(out + i + 4, vmulq_n_f32(vreinterpretq_f32_u32(vmaxq_u32(high, least)), factor));
    }
    vst1q_f32(out + count, vdupq_n_f32(0));
}
