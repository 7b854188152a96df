/* SPDX-License-Identifier: Apache-2.0
 * quantize — the inner loops of mx.quantize, on f32. One group of consecutive numbers shares a
 * scale; group is a multiple of 16. Every slot gives the same bits on every instruction set:
 * divisions are true divisions, nothing is contracted, and NaN is handled as said. */
#pragma once
#include "tensor/cpu.h"

struct ig_quantize_ops {
    /* lo and hi of each group, from +inf and -inf; NaN never wins. Of zeros either sign. */
    void (*range)(const float *x, int64_t groups, int group, float *lo, float *hi);
    /* From lo and hi the scale and bias of each group: one end and zero lie on the grid of
     * 0 .. levels. Not for one bit. */
    void (*grid)(const float *lo, const float *hi, int64_t groups, float levels, float *scale,
                 float *bias);
    /* codes[i] = (x[i] - bias) / scale, rounded half to even, clamped to 0 .. levels; NaN gives 0.
     * group is a multiple of 32 here. */
    void (*codes)(const float *x, int64_t groups, int group, const float *scale, const float *bias,
                  float levels, uint8_t *codes);
    /* The largest magnitude of each group; NaN when there is one. */
    void (*largest)(const float *x, int64_t groups, int group, float *out);
    /* e2m1 codes of x / divisor, ties to the smaller magnitude, -0 as +0; inf and NaN give 0.
     * slack: see ref_quantize.c. */
    void (*fp4)(const float *x, int64_t groups, int group, const float *divisor, uint32_t slack,
                uint8_t *codes);
    /* e4m3fn codes of x / divisor, ties to even, 464 and more to 448. */
    void (*fp8)(const float *x, int64_t groups, int group, const float *divisor, uint8_t *codes);
    /* codes below 2^bits to a little-endian bit stream; bits 1 to 6 or 8, count a multiple of 16.
     * Writes count * bits / 8 bytes. */
    void (*pack)(const uint8_t *codes, int64_t count, int bits, uint8_t *out);
};

void ig_quantize_ref(struct ig_quantize_ops *ops);
void ig_quantize_avx2(struct ig_quantize_ops *ops);
void ig_quantize_avx512(struct ig_quantize_ops *ops);
void ig_quantize_neon(struct ig_quantize_ops *ops);
