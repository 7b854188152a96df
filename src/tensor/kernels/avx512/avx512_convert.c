/* SPDX-License-Identifier: Apache-2.0
 * avx512_convert — 16 numbers at a time, tails by mask. Whole vectors go without one: a masked
 * store cannot be forwarded to the load that follows it, which halves the speed of what comes next.
 */
#include "tensor/kernels/scalar.h"

#include <immintrin.h>

#define ALL 0xFFFF

/* step(m) for each 16 numbers, with a constant mask but at the tail. */
#define EACH(step)                                                                                 \
    int64_t i = 0;                                                                                 \
    for (; i + 16 <= count; i += 16)                                                               \
        step(in, out, i, ALL);                                                                     \
    if (i < count) step(in, out, i, (__mmask16)((1u << (count - i)) - 1))

static inline void bf16_to_f32_16(const char *in, float *out, int64_t i, __mmask16 m)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, in + 2 * i));
    _mm512_mask_storeu_ps(out + i, m, _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)));
}

static void bf16_to_f32(const void *src, float *dst, int64_t count)
{
    const char *in = src;
    float *out = dst;
    EACH(bf16_to_f32_16);
}

static inline void f16_to_f32_16(const char *in, float *out, int64_t i, __mmask16 m)
{
    _mm512_mask_storeu_ps(out + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, in + 2 * i)));
}

static void f16_to_f32(const void *src, float *dst, int64_t count)
{
    const char *in = src;
    float *out = dst;
    EACH(f16_to_f32_16);
}

static inline void f32_to_bf16_16(const float *in, char *out, int64_t i, __mmask16 m)
{
    __m512i bits = _mm512_maskz_loadu_epi32(m, in + i);
    __m512i high = _mm512_srli_epi32(bits, 16);
    __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    __mmask16 nan = _mm512_cmpgt_epi32_mask(_mm512_and_si512(bits, _mm512_set1_epi32(0x7FFFFFFF)),
                                            _mm512_set1_epi32(0x7F800000));
    __m512i sign = _mm512_and_si512(high, _mm512_set1_epi32(0x8000));
    __m512i rounded =
        _mm512_mask_or_epi32(_mm512_srli_epi32(sum, 16), nan, sign, _mm512_set1_epi32(0x7FC0));
    _mm256_mask_storeu_epi16(out + 2 * i, m, _mm512_cvtepi32_epi16(rounded));
}

static void f32_to_bf16(const float *src, void *dst, int64_t count)
{
    const float *in = src;
    char *out = dst;
    EACH(f32_to_bf16_16);
}

static inline void f32_to_f16_16(const float *in, char *out, int64_t i, __mmask16 m)
{
    __m512 v = _mm512_maskz_loadu_ps(m, in + i);
    __m256i half = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    __m256i quiet = _mm256_or_si256(_mm256_and_si256(half, _mm256_set1_epi16((short)0x8000)),
                                    _mm256_set1_epi16(0x7E00));
    _mm256_mask_storeu_epi16(out + 2 * i, m, _mm256_mask_blend_epi16(nan, half, quiet));
}

static void f32_to_f16(const float *src, void *dst, int64_t count)
{
    const float *in = src;
    char *out = dst;
    EACH(f32_to_f16_16);
}

void ig_convert_avx512(struct ig_convert_ops *ops)
{
    *ops = (struct ig_convert_ops){bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
}
