/* SPDX-License-Identifier: Apache-2.0
 * neon_quantize — 4 numbers at a time; ref_quantize.c says what each slot computes. Minima and
 * maxima are comparisons and selections: fmin and fmax spread NaN. */
#include "tensor/kernels/quantize.h"
#include "tensor/kernels/scalar.h"

#include <arm_neon.h>

static inline float32x4_t lower(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

static inline float32x4_t higher(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static void range(const float *x, int64_t groups, int group, float *lo, float *hi)
{
    for (int64_t g = 0; g < groups; g++) {
        float32x4_t min = vdupq_n_f32(INFINITY), max = vdupq_n_f32(-INFINITY);
        float32x4_t min2 = min, max2 = max;
        for (int i = 0; i < group; i += 8, x += 8) {
            float32x4_t a = vld1q_f32(x), b = vld1q_f32(x + 4);
            min = lower(a, min);
            max = higher(a, max);
            min2 = lower(b, min2);
            max2 = higher(b, max2);
        }
        lo[g] = vminvq_f32(lower(min, min2)); /* no NaN is left */
        hi[g] = vmaxvq_f32(higher(max, max2));
    }
}

static void grid_4(const float *lo, const float *hi, float levels, float *scale, float *bias)
{
    const float32x4_t least = vdupq_n_f32(1e-7F);
    float32x4_t min = vld1q_f32(lo), max = vld1q_f32(hi);
    float32x4_t s = vdivq_f32(vsubq_f32(max, min), vdupq_n_f32(levels));
    s = vbslq_f32(vcltq_f32(s, least), least, s);
    uint32x4_t use_lo = vcagtq_f32(min, max);
    float32x4_t edge = vbslq_f32(use_lo, min, max);
    s = vbslq_f32(use_lo, s, vnegq_f32(s));
    float32x4_t zero = vrndnq_f32(vdivq_f32(edge, s));
    uint32x4_t none = vceqzq_f32(zero);
    vst1q_f32(scale, vbslq_f32(none, s, vdivq_f32(edge, zero)));
    vst1q_f32(bias, vbslq_f32(none, vdupq_n_f32(0), edge));
}

static void grid(const float *lo, const float *hi, int64_t groups, float levels, float *scale,
                 float *bias)
{
    int64_t g = 0;
    for (; g + 4 <= groups; g += 4)
        grid_4(lo + g, hi + g, levels, scale + g, bias + g);
    if (g == groups) return;
    size_t bytes = (size_t)(groups - g) * sizeof *lo;
    float last[4][4] = {{0}};
    memcpy(last[0], lo + g, bytes);
    memcpy(last[1], hi + g, bytes);
    grid_4(last[0], last[1], levels, last[2], last[3]);
    memcpy(scale + g, last[2], bytes);
    memcpy(bias + g, last[3], bytes);
}

/* 16 integers of 0 .. 255 as bytes. */
static inline void store_bytes(const uint32x4_t v[4], uint8_t *out)
{
    uint16x8_t low = vcombine_u16(vmovn_u32(v[0]), vmovn_u32(v[1]));
    uint16x8_t high = vcombine_u16(vmovn_u32(v[2]), vmovn_u32(v[3]));
    vst1q_u8(out, vcombine_u8(vmovn_u16(low), vmovn_u16(high)));
}

static inline uint32x4_t code_of(float32x4_t x, float32x4_t s, float32x4_t b, float32x4_t most)
{
    float32x4_t q = vdivq_f32(vsubq_f32(x, b), s);
    return vcvtnq_u32_f32(lower(higher(q, vdupq_n_f32(0)), most));
}

static void codes(const float *x, int64_t groups, int group, const float *scale, const float *bias,
                  float levels, uint8_t *out)
{
    const float32x4_t most = vdupq_n_f32(levels);
    for (int64_t g = 0; g < groups; g++) {
        float32x4_t s = vdupq_n_f32(scale[g]), b = vdupq_n_f32(bias[g]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16) {
            uint32x4_t v[4];
            for (int q = 0; q < 4; q++)
                v[q] = code_of(vld1q_f32(x + 4 * q), s, b, most);
            store_bytes(v, out);
        }
    }
}

static void largest(const float *x, int64_t groups, int group, float *out)
{
    const uint32x4_t magnitude = vdupq_n_u32(0x7FFFFFFF);
    for (int64_t g = 0; g < groups; g++) {
        uint32x4_t max = vdupq_n_u32(0), max2 = max;
        for (int i = 0; i < group; i += 8, x += 8) {
            uint32x4_t a = vreinterpretq_u32_f32(vld1q_f32(x));
            uint32x4_t b = vreinterpretq_u32_f32(vld1q_f32(x + 4));
            max = vmaxq_u32(max, vandq_u32(a, magnitude));
            max2 = vmaxq_u32(max2, vandq_u32(b, magnitude));
        }
        uint32_t bits = vmaxvq_u32(vmaxq_u32(max, max2));
        out[g] = bits > 0x7F800000U ? NAN : ig_f32_of_bits(bits);
    }
}

/* From 0.75 up, adding half a step of one mantissa bit and cutting gives the code plus 252; below 1
 * the steps are twice as wide, which the two comparisons mend. `base` is slack + 1: strictly
 * greater. */
static inline uint32x4_t fp4_code(float32x4_t x, float32x4_t d, int32x4_t base)
{
    int32x4_t bits = vreinterpretq_s32_f32(vdivq_f32(x, d));
    int32x4_t size = vandq_s32(bits, vdupq_n_s32(0x7FFFFFFF));
    uint32x4_t finite = vcltq_s32(size, vdupq_n_s32(0x7F800000));
    int32x4_t cut = vsubq_s32(size, base);
    uint32x4_t half = vcgtq_s32(cut, vdupq_n_s32(0x3E7FFFFF)); /* above 0.25 */
    uint32x4_t more = vcgtq_s32(cut, vdupq_n_s32(0x3F3FFFFF)); /* above 0.75 */
    int32x4_t code = vshrq_n_s32(vaddq_s32(cut, vdupq_n_s32(0x200000)), 22);
    code = vsubq_s32(code, vdupq_n_s32(252));
    code = vmaxq_s32(vdupq_n_s32(2), vminq_s32(code, vdupq_n_s32(7)));
    code = vbslq_s32(more, code, vdupq_n_s32(1));
    uint32x4_t positive = vandq_u32(vreinterpretq_u32_s32(code), vandq_u32(half, finite));
    uint32x4_t sign = vandq_u32(vshrq_n_u32(vreinterpretq_u32_s32(bits), 28), vdupq_n_u32(8));
    return vorrq_u32(positive, vandq_u32(vtstq_u32(positive, positive), sign));
}

static void fp4(const float *x, int64_t groups, int group, const float *divisor, uint32_t slack,
                uint8_t *out)
{
    const int32x4_t base = vdupq_n_s32((int32_t)slack + 1);
    for (int64_t g = 0; g < groups; g++) {
        float32x4_t d = vdupq_n_f32(divisor[g]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16) {
            uint32x4_t v[4];
            for (int q = 0; q < 4; q++)
                v[q] = fp4_code(vld1q_f32(x + 4 * q), d, base);
            store_bytes(v, out);
        }
    }
}

static inline uint32x4_t fp8_code(float32x4_t x, float32x4_t d)
{
    uint32x4_t bits = vreinterpretq_u32_f32(vdivq_f32(x, d));
    uint32x4_t size = vandq_u32(bits, vdupq_n_u32(0x7FFFFFFF));
    uint32x4_t odd = vandq_u32(vshrq_n_u32(size, 20), vdupq_n_u32(1));
    uint32x4_t code = vaddq_u32(size, vdupq_n_u32(0x7FFFFU - 0x3C000000U));
    code = vshrq_n_u32(vaddq_u32(code, odd), 20);
    uint32x4_t tiny =
        vreinterpretq_u32_f32(vaddq_f32(vreinterpretq_f32_u32(size), vdupq_n_f32(0x1p14F)));
    code = vbslq_u32(vcltq_u32(size, vdupq_n_u32(0x3C800000)), tiny, code);
    code = vbslq_u32(vcgeq_u32(size, vdupq_n_u32(0x43E80000)), vdupq_n_u32(0x7E), code);
    code = vandq_u32(code, vdupq_n_u32(0x7F));
    return vorrq_u32(code, vandq_u32(vshrq_n_u32(bits, 24), vdupq_n_u32(0x80)));
}

static void fp8(const float *x, int64_t groups, int group, const float *divisor, uint8_t *out)
{
    for (int64_t g = 0; g < groups; g++) {
        float32x4_t d = vdupq_n_f32(divisor[g]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16) {
            uint32x4_t v[4];
            for (int q = 0; q < 4; q++)
                v[q] = fp8_code(vld1q_f32(x + 4 * q), d);
            store_bytes(v, out);
        }
    }
}

/* 16 codes: neighbours join to 2 * bits in 16, 4 * bits in 32, 8 * bits in 64; then the used bytes
 * of both 64 move together. 16 bytes are stored, 2 * bits of them count. */
static void pack(const uint8_t *in, int64_t count, int bits, uint8_t *out)
{
    if (bits == 8) {
        memcpy(out, in, (size_t)count);
        return;
    }
    const int16x8_t one = vdupq_n_s16((int16_t)(bits - 8));
    const int32x4_t two = vdupq_n_s32(2 * bits - 16);
    const int64x2_t four = vdupq_n_s64(4 * bits - 32);
    uint8_t bytes[16];
    for (int i = 0; i < 16; i++)
        bytes[i] = i < 2 * bits ? (uint8_t)(i / bits * 8 + i % bits) : 0x80;
    const uint8x16_t within = vld1q_u8(bytes);
    const uint8_t *end = out + count / 8 * bits;
    for (; count > 0; count -= 16, in += 16, out += 2 * bits) {
        uint16x8_t a = vreinterpretq_u16_u8(vld1q_u8(in));
        a = vorrq_u16(vandq_u16(a, vdupq_n_u16(0xFF)),
                      vshlq_u16(vandq_u16(a, vdupq_n_u16(0xFF00)), one));
        uint32x4_t b = vreinterpretq_u32_u16(a);
        b = vorrq_u32(vandq_u32(b, vdupq_n_u32(0xFFFF)),
                      vshlq_u32(vandq_u32(b, vdupq_n_u32(0xFFFF0000U)), two));
        uint64x2_t c = vreinterpretq_u64_u32(b);
        c = vorrq_u64(vandq_u64(c, vdupq_n_u64(UINT32_MAX)),
                      vshlq_u64(vandq_u64(c, vdupq_n_u64((uint64_t)UINT32_MAX << 32)), four));
        uint8x16_t v = vqtbl1q_u8(vreinterpretq_u8_u64(c), within);
        if (end - out >= 16) {
            vst1q_u8(out, v);
        } else {
            vst1q_u8(bytes, v);
            memcpy(out, bytes, (size_t)(2 * bits));
        }
    }
}

void ig_quantize_neon(struct ig_quantize_ops *ops)
{
    *ops = (struct ig_quantize_ops){range, grid, codes, largest, fp4, fp8, pack};
}
