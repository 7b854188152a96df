/* SPDX-License-Identifier: Apache-2.0
 * metal — the rules of mlx's Metal kernels (0.32.4's headers, read and not run: there is no such
 * hardware here, so nothing but our reading of them is tested). Where they differ from the CPU's:
 *   affine   the running maximum starts at 0; halves round away from zero
 *   fp       f32 throughout; x times 1 / scale; fp4 ties go to the even code, -0 stays, NaN is 6;
 *            a zero group's exponent byte is 0, an infinite one's 255
 * No fast path: the switch is for comparing with models that were made on a Mac. */
#include "tensor/codecs/codec_internal.h"

static float greater(float a, float b) /* as Metal's max: NaN loses */
{
    return fmaxf(a, b);
}

static void affine_grid(const float *x, int group, float levels, float *scale, float *bias)
{
    float lo = INFINITY, hi = 0;
    for (int i = 0; i < group; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    float s = greater((hi - lo) / levels, 1e-7f);
    bool use_lo = fabsf(lo) > fabsf(hi);
    float edge = use_lo ? lo : hi;
    s = use_lo ? s : -s;
    float zero = roundf(edge / s);
    *scale = zero == 0 ? s : edge / zero;
    *bias = zero == 0 ? 0 : edge;
}

static void encode_affine(const struct ig_coder *c, struct codec_block *b)
{
    int group = c->codec.group_size;
    float levels = (float)((1 << c->codec.bits) - 1);
    for (int64_t g = 0; g < b->groups; g++) {
        const float *x = b->x + g * group;
        affine_grid(x, group, levels, &b->scale[g], &b->bias[g]);
        for (int i = 0; i < group; i++) {
            float q = roundf((x[i] - b->bias[g]) / b->scale[g]);
            q = q > 0 ? q : 0;
            b->codes[g * group + i] = (uint8_t)(q < levels ? q : levels);
        }
    }
}

/* Nearest e2m1, ties to the even code. */
static uint8_t fp4_code(float v)
{
    static const float thresholds[7] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
    float a = fabsf(v);
    uint8_t code = 0;
    if (isnan(v)) return 7;
    for (int t = 0; t < 7; t++) /* a tie between t and t + 1 goes up when t + 1 is even */
        code += a > thresholds[t] || (t % 2 == 1 && a == thresholds[t]);
    return (uint8_t)(code | (signbit(v) ? 8 : 0));
}

static uint8_t e8m0_above(float s)
{
    if (!isfinite(s)) return 255;
    float n = roundf(log2f(s)); /* of 0: -inf */
    n = n < -127 ? -127 : n > 127 ? 127 : n;
    int byte = (int)n + 127;
    if (byte < 254 && ldexpf(1, byte - 127) < s) byte++;
    return (uint8_t)byte;
}

static void encode_fp(const struct ig_coder *c, struct codec_block *b)
{
    int group = c->codec.group_size;
    for (int64_t g = 0; g < b->groups; g++) {
        const float *x = b->x + g * group;
        float amax = 0, value;
        for (int i = 0; i < group; i++)
            amax = greater(amax, fabsf(x[i]));
        float s = amax / (c->codec.bits == 4 ? 6.0f : 448.0f);
        if (c->codec.mode == IG_NVFP4) {
            b->exponent[g] = ig_f8_e4m3_saturated(s);
            value = ig_f8_e4m3_value(b->exponent[g]);
        } else {
            b->exponent[g] = e8m0_above(s);
            value = ldexpf(1, b->exponent[g] - 127);
        }
        float factor = value == 0 ? 0 : 1 / value;
        for (int i = 0; i < group; i++) {
            float v = x[i] * factor;
            b->codes[g * group + i] = c->codec.bits == 4 ? fp4_code(v) : ig_f8_e4m3_saturated(v);
        }
    }
}

void codec__encode_metal(const struct ig_coder *coder, struct codec_block *block)
{
    if (coder->codec.mode == IG_AFFINE)
        encode_affine(coder, block);
    else
        encode_fp(coder, block);
}
