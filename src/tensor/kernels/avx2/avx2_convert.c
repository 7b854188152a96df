/* SPDX-License-Identifier: Apache-2.0
 * avx2_convert — 8 numbers at a time; F16C for halves. Tails go through the scalar forms. */
#include "tensor/kernels/scalar.h"

#include <immintrin.h>

static void bf16_to_f32(const void *src, float *dst, int64_t count)
{
    const char *in = src;
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(in + 2 * i));
        __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
        _mm256_storeu_ps(dst + i, _mm256_castsi256_ps(wide));
    }
    for (; i < count; i++)
        dst[i] = ig_bf16_value(ig_load_u16(in + 2 * i));
}

static void f16_to_f32(const void *src, float *dst, int64_t count)
{
    const char *in = src;
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(in + 2 * i));
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(half));
    }
    for (; i < count; i++)
        dst[i] = ig_f16_value(ig_load_u16(in + 2 * i));
}

static __m256i round_bf16(__m256i bits)
{
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
    __m256i rounded = _mm256_srli_epi32(sum, 16);
    __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFFFFFF));
    __m256i is_nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7F800000));
    __m256i sign = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x8000));
    return _mm256_blendv_epi8(rounded, _mm256_or_si256(sign, _mm256_set1_epi32(0x7FC0)), is_nan);
}

static void f32_to_bf16(const float *src, void *dst, int64_t count)
{
    char *out = dst;
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        __m256i a = round_bf16(_mm256_castps_si256(_mm256_loadu_ps(src + i)));
        __m256i b = round_bf16(_mm256_castps_si256(_mm256_loadu_ps(src + i + 8)));
        __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xD8);
        _mm256_storeu_si256((__m256i *)(void *)(out + 2 * i), packed);
    }
    for (; i < count; i++)
        ig_store_u16(out + 2 * i, ig_bf16_bits(src[i]));
}

static void f32_to_f16(const float *src, void *dst, int64_t count)
{
    char *out = dst;
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m256 v = _mm256_loadu_ps(src + i);
        __m128i half = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        __m128i is_nan =
            _mm_packs_epi32(_mm256_castsi256_si128(nan), _mm256_extracti128_si256(nan, 1));
        __m128i sign = _mm_and_si128(half, _mm_set1_epi16((short)0x8000));
        half = _mm_blendv_epi8(half, _mm_or_si128(sign, _mm_set1_epi16(0x7E00)), is_nan);
        _mm_storeu_si128((__m128i *)(void *)(out + 2 * i), half);
    }
    for (; i < count; i++)
        ig_store_u16(out + 2 * i, ig_f16_bits(src[i]));
}

void ig_convert_avx2(struct ig_convert_ops *ops)
{
    *ops = (struct ig_convert_ops){bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
}
