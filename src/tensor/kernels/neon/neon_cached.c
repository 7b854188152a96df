/* SPDX-License-Identifier: Apache-2.0
 * neon cached — 8 codes at a time, widened in registers. A group's scale is applied to its sum of
 * products; biases meet sums of queries, or of weights, once for a group. */
#include "tensor/kernels/cached_row.h"

#include <arm_neon.h>
#include <string.h>

/* 8 elements, without scale and bias. */
INLINE float32x4x2_t widen(int bits, const uint8_t *at)
{
    if (bits == IG_CACHED_F16) {
        float16x8_t halves = vreinterpretq_f16_u8(vld1q_u8(at));
        return (float32x4x2_t){{vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)}};
    }
    uint8x8_t codes;
    if (bits == 8) {
        codes = vld1_u8(at);
    } else {
        uint32_t word;
        memcpy(&word, at, sizeof word);
        uint8x8_t pairs = vreinterpret_u8_u32(vdup_n_u32(word));
        codes = vzip1_u8(vand_u8(pairs, vdup_n_u8(15)), vshr_n_u8(pairs, 4));
    }
    uint16x8_t words = vmovl_u8(codes);
    return (float32x4x2_t){
        {vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))), vcvtq_f32_u32(vmovl_high_u16(words))}};
}

static void sums_of(const float *q, int64_t groups, int64_t group, float *sums)
{
    for (int64_t g = 0; g < groups; g++, q += group) {
        float32x4_t sum = vdupq_n_f32(0);
        for (int64_t j = 0; j < group; j += 4)
            sum = vaddq_f32(sum, vld1q_f32(q + j));
        sums[g] = vaddvq_f32(sum);
    }
}

INLINE void dots_as(const struct ig_cached *as, int bits, const float *q, const uint8_t *row,
                    int64_t count, float scale, float *out)
{
    int64_t group = bits == IG_CACHED_F16 ? as->dim : as->group, groups = as->dim / group;
    size_t step = ig_cached_row_bytes(as);
    float sums[IG_CACHED_MOST / IG_CACHED_GROUP];
    if (bits != IG_CACHED_F16) sums_of(q, groups, group, sums);
    for (int64_t i = 0; i < count; i++, row += step) {
        const float *scales = scales_of(as, bits, row);
        float32x4_t total = vdupq_n_f32(0);
        float rest = 0;
        for (int64_t g = 0; g < groups; g++) {
            float32x4_t sum[4];
            for (int s = 0; s < 4; s++)
                sum[s] = vdupq_n_f32(0);
            for (int64_t j = g * group; j < (g + 1) * group; j += 16) {
                float32x4x2_t a = widen(bits, row + j * bits / 8);
                float32x4x2_t b = widen(bits, row + (j + 8) * bits / 8);
                sum[0] = vfmaq_f32(sum[0], vld1q_f32(q + j), a.val[0]);
                sum[1] = vfmaq_f32(sum[1], vld1q_f32(q + j + 4), a.val[1]);
                sum[2] = vfmaq_f32(sum[2], vld1q_f32(q + j + 8), b.val[0]);
                sum[3] = vfmaq_f32(sum[3], vld1q_f32(q + j + 12), b.val[1]);
            }
            sum[0] = vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3]));
            if (bits == IG_CACHED_F16) {
                total = sum[0];
            } else {
                total = vfmaq_n_f32(total, sum[0], scales[g]);
                rest += scales[groups + g] * sums[g];
            }
        }
        out[i] = (vaddvq_f32(total) + rest) * scale;
    }
}

/* 16 elements of out, from j on, stay in registers: of one group, for groups are of 32. */
INLINE void mix_columns(const struct ig_cached *as, int bits, const float *p, const uint8_t *row,
                        int64_t count, int64_t j, float *out)
{
    const bool coded = bits != IG_CACHED_F16;
    int64_t groups = coded ? as->dim / as->group : 1, g = coded ? j / as->group : 0;
    size_t step = ig_cached_row_bytes(as);
    float bias = 0;
    float32x4_t sum[4];
    for (int s = 0; s < 4; s++)
        sum[s] = vld1q_f32(out + j + 4 * s);
    for (int64_t i = 0; i < count; i++, row += step) {
        float weight = p[i];
        if (coded) {
            const float *scales = scales_of(as, bits, row);
            bias += weight * scales[groups + g];
            weight *= scales[g];
        }
        float32x4x2_t a = widen(bits, row + j * bits / 8);
        float32x4x2_t b = widen(bits, row + (j + 8) * bits / 8);
        sum[0] = vfmaq_n_f32(sum[0], a.val[0], weight);
        sum[1] = vfmaq_n_f32(sum[1], a.val[1], weight);
        sum[2] = vfmaq_n_f32(sum[2], b.val[0], weight);
        sum[3] = vfmaq_n_f32(sum[3], b.val[1], weight);
    }
    for (int s = 0; s < 4; s++)
        vst1q_f32(out + j + 4 * s, vaddq_f32(sum[s], vdupq_n_f32(bias)));
}

INLINE void mix_as(const struct ig_cached *as, int bits, const float *p, const uint8_t *rows,
                   int64_t count, float *out)
{
    for (int64_t j = 0; j < as->dim; j += 16)
        mix_columns(as, bits, p, rows, count, j, out);
}

INLINE void load_as(const struct ig_cached *as, int bits, const uint8_t *row, int64_t count,
                    float *out)
{
    int64_t groups = bits == IG_CACHED_F16 ? 1 : as->dim / as->group;
    size_t step = ig_cached_row_bytes(as);
    for (int64_t i = 0; i < count; i++, row += step, out += as->dim) {
        const float *scales = scales_of(as, bits, row);
        for (int64_t j = 0; j < as->dim; j += 8) {
            float32x4x2_t v = widen(bits, row + j * bits / 8);
            for (int s = 0; s < 2; s++) {
                if (bits != IG_CACHED_F16) {
                    int64_t g = j / as->group;
                    v.val[s] = vfmaq_n_f32(vdupq_n_f32(scales[groups + g]), v.val[s], scales[g]);
                }
                vst1q_f32(out + j + 4 * s, v.val[s]);
            }
        }
    }
}

#include "tensor/kernels/loops/cached_kinds.h"

void ig_cached_neon(struct ig_cached_ops *ops)
{
    fill(ops);
}
