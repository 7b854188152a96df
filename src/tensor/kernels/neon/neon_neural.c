/* SPDX-License-Identifier: Apache-2.0
 * neon neural — exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2) / 2, exp(r) by its Taylor
 * series to r^7 (next term: 5e-9 relative). Below -87 the result is 0 (it would be subnormal),
 * above 88.4 infinity; fmin and fmax let NaN through. */
#include "tensor/kernels/neural.h"

#include <arm_neon.h>
#include <math.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float32x4_t exp_of(float32x4_t x)
{
    float32x4_t low = vdupq_n_f32(-87.0F);
    uint32x4_t zero = vcltq_f32(x, low);
    x = vmaxq_f32(low, vminq_f32(vdupq_n_f32(89.0F), x));
    float32x4_t n = vrndnq_f32(vmulq_n_f32(x, 0x1.715476p0F));
    /* ln 2 in two parts; the first has 9 significant bits, so that n times it is exact. */
    float32x4_t r = vfmsq_n_f32(x, n, 0x1.63p-1F);
    r = vfmsq_n_f32(r, n, -0x1.bd0106p-13F);
    float32x4_t p = vdupq_n_f32(1.0F / 5040);
    p = vfmaq_f32(vdupq_n_f32(1.0F / 720), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0F / 120), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0F / 24), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0F / 6), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5F), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0F), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0F), p, r);
    /* n is -126 to 128; the exponent of 2^128 is that of infinity. */
    int32x4_t power = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    float32x4_t e = vmulq_f32(p, vreinterpretq_f32_s32(power));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(e), zero));
}

/* The vector at x, of which left lanes are there; `rest` in the others. */
INLINE float32x4_t load(const float *x, int64_t left, float rest)
{
    if (left >= 4) return vld1q_f32(x);
    float four[4];
    for (int i = 0; i < 4; i++)
        four[i] = i < left ? x[i] : rest;
    return vld1q_f32(four);
}

INLINE void store(float *out, int64_t left, float32x4_t v)
{
    if (left >= 4) {
        vst1q_f32(out, v);
        return;
    }
    float four[4];
    vst1q_f32(four, v);
    for (int i = 0; i < left; i++)
        out[i] = four[i];
}

static void rms_norm(const float *x, const float *weight, int64_t n, float eps, float *out)
{
    float32x4_t even = vdupq_n_f32(0), odd = even;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + 4);
        even = vfmaq_f32(even, a, a);
        odd = vfmaq_f32(odd, b, b);
    }
    for (; i < n; i += 4) {
        float32x4_t a = load(x + i, n - i, 0);
        even = vfmaq_f32(even, a, a);
    }
    double mean = (double)vaddvq_f32(vaddq_f32(even, odd)) / (double)n;
    float factor = (float)(1.0 / sqrt(mean + (double)eps));
    for (i = 0; i < n; i += 4) {
        float32x4_t v = vmulq_n_f32(load(x + i, n - i, 0), factor);
        store(out + i, n - i, vmulq_f32(v, load(weight + i, n - i, 0)));
    }
}

static void silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i += 4) {
        float32x4_t g = load(gate + i, n - i, 0), u = load(up + i, n - i, 0);
        float32x4_t e = exp_of(vnegq_f32(g));
        float32x4_t silu = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0F), e));
        store(out + i, n - i, vmulq_f32(silu, u));
    }
}

static void dots(const float *q, const float *k, int64_t step, int64_t count, int64_t n,
                 float scale, float *out)
{
    for (int64_t i = 0; i < count; i++, k += step) {
        float32x4_t sum[4];
        for (int s = 0; s < 4; s++)
            sum[s] = vdupq_n_f32(0);
        int64_t j = 0;
        for (; j + 16 <= n; j += 16)
            for (int s = 0; s < 4; s++)
                sum[s] = vfmaq_f32(sum[s], vld1q_f32(q + j + 4 * s), vld1q_f32(k + j + 4 * s));
        for (; j < n; j += 4)
            sum[0] = vfmaq_f32(sum[0], load(q + j, n - j, 0), load(k + j, n - j, 0));
        sum[0] = vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3]));
        out[i] = vaddvq_f32(sum[0]) * scale;
    }
}

static void mix(const float *p, const float *v, int64_t step, int64_t count, int64_t n, float *out)
{
    int64_t j = 0;
    for (; j + 16 <= n; j += 16) {
        float32x4_t sum[4];
        for (int s = 0; s < 4; s++)
            sum[s] = vld1q_f32(out + j + 4 * s);
        for (int64_t i = 0; i < count; i++)
            for (int s = 0; s < 4; s++)
                sum[s] = vfmaq_n_f32(sum[s], vld1q_f32(v + i * step + j + 4 * s), p[i]);
        for (int s = 0; s < 4; s++)
            vst1q_f32(out + j + 4 * s, sum[s]);
    }
    for (; j < n; j += 4) {
        float32x4_t sum = load(out + j, n - j, 0);
        for (int64_t i = 0; i < count; i++)
            sum = vfmaq_n_f32(sum, load(v + i * step + j, n - j, 0), p[i]);
        store(out + j, n - j, sum);
    }
}

static float exp_sum(float *x, int64_t n, float max)
{
    float32x4_t sum = vdupq_n_f32(0), top = vdupq_n_f32(max);
    for (int64_t i = 0; i < n; i += 4) {
        float32x4_t e = exp_of(vsubq_f32(load(x + i, n - i, -INFINITY), top));
        store(x + i, n - i, e);
        sum = vaddq_f32(sum, e); /* lanes behind the end are 0 */
    }
    return vaddvq_f32(sum);
}

static float max_of(const float *x, int64_t n)
{
    float32x4_t best = vdupq_n_f32(x[0]);
    for (int64_t i = 0; i < n; i += 4)
        best = vmaxq_f32(best, load(x + i, n - i, x[0]));
    return vmaxvq_f32(best);
}

/* Lanes where key k is hidden become `what`. */
INLINE float32x4_t hide(float32x4_t v, int64_t k, const int32_t *last, float what)
{
    uint32x4_t hidden = vcgtq_s32(vdupq_n_s32((int32_t)k), vld1q_s32(last));
    return vbslq_f32(hidden, vdupq_n_f32(what), v);
}

static void softmax_lanes(const struct ig_softmax *s)
{
    for (int l = 0; l < s->lanes; l += 4) {
        const int32_t *last = s->last + l;
        float32x4_t before = vld1q_f32(s->max + l), max = before, sum = vdupq_n_f32(0);
        for (int64_t k = 0; k < s->keys; k++) {
            float32x4_t v = vmulq_n_f32(vld1q_f32(s->scores + k * s->step + l), s->scale);
            max = vmaxq_f32(max, hide(v, k, last, -INFINITY));
        }
        for (int64_t k = 0; k < s->keys; k++) {
            float *at = s->scores + k * s->step + l;
            float32x4_t v = exp_of(vfmaq_n_f32(vnegq_f32(max), vld1q_f32(at), s->scale));
            v = hide(v, k, last, 0);
            vst1q_f32(at, v);
            sum = vaddq_f32(sum, v);
        }
        float32x4_t rescale = exp_of(vsubq_f32(before, max));
        vst1q_f32(s->rescale + l, rescale);
        vst1q_f32(s->sum + l, vfmaq_f32(sum, vld1q_f32(s->sum + l), rescale));
        vst1q_f32(s->max + l, max);
    }
}

/* delta.h compiled for any aarch64 is compiled for NEON: ref's stays. */
void ig_neural_neon(struct ig_neural_ops *ops)
{
    ops->rms_norm = rms_norm;
    ops->silu_mul = silu_mul;
    ops->dots = dots;
    ops->mix = mix;
    ops->exp_sum = exp_sum;
    ops->max = max_of;
    ops->softmax_lanes = softmax_lanes;
}
