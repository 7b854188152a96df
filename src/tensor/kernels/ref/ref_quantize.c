/* SPDX-License-Identifier: Apache-2.0
 * ref_quantize — mx.quantize's inner loops in plain C: the truth that the other paths are tested
 * against. What mlx computes: docs/formats/mlx.md.
 *
 * fp4 as mlx computes it takes the nearest of 16 values to v = T(x / d), T the source's type, the
 * first of equals. That is a count of thresholds, halfway between the values: code = #{t : |v| >
 * t}. (v - value) is rounded to T too, which changes no decision: around a threshold it is exact.)
 * The rounding of the quotient to T matters when d is no power of two (nvfp4): all thresholds have
 * even mantissas in T, so T(q) > t is q > t + half an ulp of t, and half an ulp is the same number
 * of f32 steps for every t: `slack`, 0x8000 for bf16, 0x1000 for f16, 0 for f32 or a power of two.
 */
#include "tensor/kernels/quantize.h"
#include "tensor/kernels/scalar.h"

#define FP4_CODES_POSITIVE 8

static void range(const float *x, int64_t groups, int group, float *lo, float *hi)
{
    for (int64_t g = 0; g < groups; g++, x += group) {
        float min = INFINITY, max = -INFINITY;
        for (int i = 0; i < group; i++) {
            min = x[i] < min ? x[i] : min;
            max = x[i] > max ? x[i] : max;
        }
        lo[g] = min;
        hi[g] = max;
    }
}

static void grid(const float *lo, const float *hi, int64_t groups, float levels, float *scale,
                 float *bias)
{
    for (int64_t g = 0; g < groups; g++) {
        float s = (hi[g] - lo[g]) / levels;
        s = s < 1e-7f ? 1e-7f : s;
        bool use_lo = fabsf(lo[g]) > fabsf(hi[g]);
        float edge = use_lo ? lo[g] : hi[g];
        s = use_lo ? s : -s;
        float zero = rintf(edge / s); /* the code of 0, if it is on the grid */
        scale[g] = zero == 0 ? s : edge / zero;
        bias[g] = zero == 0 ? 0 : edge;
    }
}

static void codes(const float *x, int64_t groups, int group, const float *scale, const float *bias,
                  float levels, uint8_t *out)
{
    for (int64_t g = 0; g < groups; g++, x += group, out += group) {
        for (int i = 0; i < group; i++) {
            float q = (x[i] - bias[g]) / scale[g];
            q = q > 0 ? q : 0; /* NaN too */
            q = q < levels ? q : levels;
            out[i] = (uint8_t)rintf(q);
        }
    }
}

static void largest(const float *x, int64_t groups, int group, float *out)
{
    for (int64_t g = 0; g < groups; g++, x += group) {
        uint32_t max = 0; /* of magnitudes as integers, NaN is above infinity */
        for (int i = 0; i < group; i++) {
            uint32_t bits = ig_f32_bits(x[i]) & 0x7FFFFFFFu;
            max = bits > max ? bits : max;
        }
        out[g] = max > 0x7F800000u ? NAN : ig_f32_of_bits(max);
    }
}

static void fp4(const float *x, int64_t groups, int group, const float *divisor, uint32_t slack,
                uint8_t *out)
{
    static const float thresholds[FP4_CODES_POSITIVE - 1] = {0.25f, 0.75f, 1.25f, 1.75f,
                                                             2.5f,  3.5f,  5.0f};
    for (int64_t g = 0; g < groups; g++, x += group, out += group) {
        for (int i = 0; i < group; i++) {
            uint32_t bits = ig_f32_bits(x[i] / divisor[g]);
            uint32_t magnitude = bits & 0x7FFFFFFFu;
            uint8_t code = 0;
            for (int t = 0; t < FP4_CODES_POSITIVE - 1; t++)
                code += magnitude > ig_f32_bits(thresholds[t]) + slack;
            if (magnitude >= 0x7F800000u) code = 0;
            out[i] = code ? (uint8_t)(code | bits >> 31 << 3) : 0;
        }
    }
}

static void fp8(const float *x, int64_t groups, int group, const float *divisor, uint8_t *out)
{
    for (int64_t g = 0; g < groups; g++, x += group, out += group)
        for (int i = 0; i < group; i++)
            out[i] = ig_f8_e4m3_saturated(x[i] / divisor[g]);
}

static void pack(const uint8_t *in, int64_t count, int bits, uint8_t *out)
{
    for (int64_t i = 0; i < count; i += 8, in += 8, out += bits) {
        uint64_t word = 0;
        for (int j = 0; j < 8; j++)
            word |= (uint64_t)in[j] << (j * bits);
        for (int j = 0; j < bits; j++)
            out[j] = (uint8_t)(word >> (8 * j));
    }
}

void ig_quantize_ref(struct ig_quantize_ops *ops)
{
    *ops = (struct ig_quantize_ops){range, grid, codes, largest, fp4, fp8, pack};
}
