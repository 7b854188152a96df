/* SPDX-License-Identifier: Apache-2.0
 * neon_convert — 8 numbers at a time; halves by fcvtl and fcvtn. Tails go through the scalar forms.
 */
#include "tensor/kernels/scalar.h"

#include <arm_neon.h>

static uint16x8_t words_at(const uint8_t *p)
{
    return vreinterpretq_u16_u8(vld1q_u8(p));
}

static void bf16_to_f32(const void *src, float *dst, int64_t count)
{
    const uint8_t *in = src;
    const uint16x8_t zero = vdupq_n_u16(0);
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint16x8_t words = words_at(in + 2 * i);
        vst1q_f32(dst + i, vreinterpretq_f32_u16(vzip1q_u16(zero, words)));
        vst1q_f32(dst + i + 4, vreinterpretq_f32_u16(vzip2q_u16(zero, words)));
    }
    for (; i < count; i++)
        dst[i] = ig_bf16_value(ig_load_u16(in + 2 * i));
}

static void f16_to_f32(const void *src, float *dst, int64_t count)
{
    const uint8_t *in = src;
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        float16x8_t halves = vreinterpretq_f16_u16(words_at(in + 2 * i));
        vst1q_f32(dst + i, vcvt_f32_f16(vget_low_f16(halves)));
        vst1q_f32(dst + i + 4, vcvt_high_f32_f16(halves));
    }
    for (; i < count; i++)
        dst[i] = ig_f16_value(ig_load_u16(in + 2 * i));
}

/* The result is the upper half of each lane. */
static uint16x8_t round_bf16(float32x4_t value)
{
    uint32x4_t bits = vreinterpretq_u32_f32(value);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t sum = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7FFF)), odd);
    uint32x4_t nan = vbslq_u32(vdupq_n_u32(0x80000000U), bits, vdupq_n_u32(0x7FC00000));
    return vreinterpretq_u16_u32(vbslq_u32(vceqq_f32(value, value), sum, nan));
}

static void f32_to_bf16(const float *src, void *dst, int64_t count)
{
    uint8_t *out = dst;
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint16x8_t a = round_bf16(vld1q_f32(src + i)), b = round_bf16(vld1q_f32(src + i + 4));
        vst1q_u8(out + 2 * i, vreinterpretq_u8_u16(vuzp2q_u16(a, b)));
    }
    for (; i < count; i++)
        ig_store_u16(out + 2 * i, ig_bf16_bits(src[i]));
}

static void f32_to_f16(const float *src, void *dst, int64_t count)
{
    uint8_t *out = dst;
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        float32x4_t a = vld1q_f32(src + i), b = vld1q_f32(src + i + 4);
        uint16x8_t half = vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a), b));
        uint16x8_t number = vcombine_u16(vmovn_u32(vceqq_f32(a, a)), vmovn_u32(vceqq_f32(b, b)));
        uint16x8_t nan = vbslq_u16(vdupq_n_u16(0x8000), half, vdupq_n_u16(0x7E00));
        vst1q_u8(out + 2 * i, vreinterpretq_u8_u16(vbslq_u16(number, half, nan)));
    }
    for (; i < count; i++)
        ig_store_u16(out + 2 * i, ig_f16_bits(src[i]));
}

void ig_convert_neon(struct ig_convert_ops *ops)
{
    *ops = (struct ig_convert_ops){bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
}
