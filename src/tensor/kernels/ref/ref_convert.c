/* SPDX-License-Identifier: Apache-2.0
 * ref_convert — the truth: bit by bit, no hardware conversion.
 *
 *   bf16  s eeeeeeee mmmmmmm      the upper half of an f32
 *   f16   s eeeee mmmmmmmmmm      bias 15 */
#include "tensor/kernels/scalar.h"

static void bf16_to_f32(const void *src, float *dst, int64_t count)
{
    const unsigned char *in = src;
    for (int64_t i = 0; i < count; i++, in += 2)
        dst[i] = ig_bf16_value(ig_load_u16(in));
}

static void f16_to_f32(const void *src, float *dst, int64_t count)
{
    const unsigned char *in = src;
    for (int64_t i = 0; i < count; i++, in += 2)
        dst[i] = ig_f16_value(ig_load_u16(in));
}

static void f32_to_bf16(const float *src, void *dst, int64_t count)
{
    unsigned char *out = dst;
    for (int64_t i = 0; i < count; i++, out += 2)
        ig_store_u16(out, ig_bf16_bits(src[i]));
}

static void f32_to_f16(const float *src, void *dst, int64_t count)
{
    unsigned char *out = dst;
    for (int64_t i = 0; i < count; i++, out += 2)
        ig_store_u16(out, ig_f16_bits(src[i]));
}

void ig_convert_ref(struct ig_convert_ops *ops)
{
    *ops = (struct ig_convert_ops){bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
}
