/* SPDX-License-Identifier: Apache-2.0
 * avx512_convert — 16 numbers at a time, tails by mask. */
#include "tensor/kernels/scalar.h"

#include <immintrin.h>

static __mmask16 tail_mask(int64_t left)
{
    return left >= 16 ? 0xFFFF : (__mmask16)((1u << left) - 1);
}

static void bf16_to_f32(const void *src, float *dst, int64_t count)
{
    const char *in = src;
    for (int64_t i = 0; i < count; i += 16) {
        __mmask16 m = tail_mask(count - i);
        __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, in + 2 * i));
        _mm512_mask_storeu_ps(dst + i, m, _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)));
    }
}

static void f16_to_f32(const void *src, float *dst, int64_t count)
{
    const char *in = src;
    for (int64_t i = 0; i < count; i += 16) {
        __mmask16 m = tail_mask(count - i);
        _mm512_mask_storeu_ps(dst + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, in + 2 * i)));
    }
}

static void f32_to_bf16(const float *src, void *dst, int64_t count)
{
    char *out = dst;
    for (int64_t i = 0; i < count; i += 16) {
        __mmask16 m = tail_mask(count - i);
        __m512i bits = _mm512_maskz_loadu_epi32(m, src + i);
        __m512i high = _mm512_srli_epi32(bits, 16);
        __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
        __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
        __mmask16 nan = _mm512_cmpgt_epi32_mask(
            _mm512_and_si512(bits, _mm512_set1_epi32(0x7FFFFFFF)), _mm512_set1_epi32(0x7F800000));
        __m512i sign = _mm512_and_si512(high, _mm512_set1_epi32(0x8000));
        __m512i rounded =
            _mm512_mask_or_epi32(_mm512_srli_epi32(sum, 16), nan, sign, _mm512_set1_epi32(0x7FC0));
        _mm256_mask_storeu_epi16(out + 2 * i, m, _mm512_cvtepi32_epi16(rounded));
    }
}

static void f32_to_f16(const float *src, void *dst, int64_t count)
{
    char *out = dst;
    for (int64_t i = 0; i < count; i += 16) {
        __mmask16 m = tail_mask(count - i);
        __m512 v = _mm512_maskz_loadu_ps(m, src + i);
        __m256i half = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
        __m256i quiet = _mm256_or_si256(_mm256_and_si256(half, _mm256_set1_epi16((short)0x8000)),
                                        _mm256_set1_epi16(0x7E00));
        _mm256_mask_storeu_epi16(out + 2 * i, m, _mm256_mask_blend_epi16(nan, half, quiet));
    }
}

void ig_convert_avx512(struct ig_convert_ops *ops)
{
    *ops = (struct ig_convert_ops){bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
}
