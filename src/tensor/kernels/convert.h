/* SPDX-License-Identifier: Apache-2.0
 * convert — between stored element types and f32. Exact to f32 (f64 and integers beyond 2^24 round
 * to nearest even); back by rounding once to nearest even, overflow to infinity (f8_e4m3: to NaN),
 * NaN to the type's quiet NaN with its sign. Pointers may be unaligned; src and dst do not overlap.
 */
#pragma once
#include "tensor/cpu.h"

struct ig_convert_ops {
    void (*bf16_to_f32)(const void *src, float *dst, int64_t count);
    void (*f16_to_f32)(const void *src, float *dst, int64_t count);
    void (*f32_to_bf16)(const float *src, void *dst, int64_t count);
    void (*f32_to_f16)(const float *src, void *dst, int64_t count);
};

void ig_convert_ref(struct ig_convert_ops *ops);
void ig_convert_avx2(struct ig_convert_ops *ops);
void ig_convert_avx512(struct ig_convert_ops *ops);
void ig_convert_neon(struct ig_convert_ops *ops);

/* Any float or integer dtype; the four above go to the ops, the others are plain loops. */
void ig_convert_to_f32(const struct ig_convert_ops *ops, enum ig_dtype dtype, const void *src,
                       float *dst, int64_t count);
/* To a float dtype (ig_dtype_is_float). */
void ig_convert_from_f32(const struct ig_convert_ops *ops, enum ig_dtype dtype, const float *src,
                         void *dst, int64_t count);
