/* SPDX-License-Identifier: Apache-2.0
 * avx512 lanes — what the files of this instruction set share: scales as 16 floats, and a
 * transposition in registers. */
#pragma once
#include "tensor/kernels/matmul.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* What a matvec will need is fetched this far ahead: hardware stops at pages, and sees 8 KB too
 * late. */
#define AHEAD 8192
INLINE void fetch_ahead(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const void *)(p + AHEAD + i), _MM_HINT_T0);
}

/* e4m3 in the low bytes of 16 words, sign-extended: as f16 they are 2^-8 of their value. */
INLINE __m512 e4m3_words(__m256i words)
{
    words = _mm256_and_si256(_mm256_slli_epi16(words, 7), _mm256_set1_epi16((short)0xBF80));
    return _mm512_cvtph_ps(words);
}

INLINE __m512 e8m0_bytes(__m128i bytes)
{
    __m512i bits = _mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes), 23);
    return _mm512_castsi512_ps(_mm512_max_epu32(bits, _mm512_set1_epi32(1 << 22))); /* 2^-127 */
}

/* The first of 16 lanes, as many as there are. */
INLINE __mmask16 lanes_of(int64_t count)
{
    return count >= 16 ? 0xFFFF : (__mmask16)((1U << count) - 1);
}

/* 16, 24, 32, 40 or 48 bytes, whatever behind them. Not by a mask: masked loads wait for memory
 * that others have prefetched. */
INLINE __m512i load_bytes(const int bytes, const uint8_t *p)
{
    if (bytes < 32) {
        __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const void *)p));
        if (bytes > 16) v = _mm256_inserti128_si256(v, _mm_loadl_epi64((const void *)(p + 16)), 1);
        return _mm512_castsi256_si512(v);
    }
    __m512i v = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)p));
    if (bytes == 40) v = _mm512_inserti32x4(v, _mm_loadl_epi64((const void *)(p + 32)), 2);
    if (bytes == 48) v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + 32)), 2);
    return v;
}

/* fp4's values as narrow.h counts them, in each 128-bit lane. */
INLINE __m512i fp4_table(void)
{
    return _mm512_broadcast_i32x4(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
}

/* 16 plain floats at element i, those that the mask leaves out as zeros, untouched in memory. */
INLINE __m512 plain_load(enum ig_dtype dtype, const uint8_t *p, int64_t i, __mmask16 m)
{
    if (dtype == IG_F32)
        return m == 0xFFFF ? _mm512_loadu_ps(p + 4 * i) : _mm512_maskz_loadu_ps(m, p + 4 * i);
    __m256i half = m == 0xFFFF ? _mm256_loadu_si256((const void *)(p + 2 * i))
                               : _mm256_maskz_loadu_epi16(m, p + 2 * i);
    if (dtype == IG_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* Scales of the 16 groups from `first` on, of which m are there. For FP8 2^8 times them: its codes
 * come out of e4m3_words that much too small. */
INLINE __m512 load_scales(const struct ig_matrix *w, int64_t first, __mmask16 m)
{
    if (w->packing == IG_PACK_AFFINE) return plain_load(w->scale_dtype, w->scales, first, m);
    const uint8_t *p = (const uint8_t *)w->scales + first;
    __m128i bytes = m == 0xFFFF ? _mm_loadu_si128((const void *)p) : _mm_maskz_loadu_epi8(m, p);
    __m512 unit = _mm512_set1_ps(256.0F);
    if (w->group == 16) return _mm512_mul_ps(e4m3_words(_mm256_cvtepi8_epi16(bytes)), unit);
    __m512 powers = _mm512_maskz_mov_ps(m, e8m0_bytes(bytes));
    return w->packing == IG_PACK_FP8 ? _mm512_mul_ps(powers, unit) : powers;
}

INLINE void transpose_16(const float *in, int64_t in_step, float *out, int64_t out_step)
{
    __m512 a[16], b[16];
    UNROLL
    for (int i = 0; i < 16; i++)
        a[i] = _mm512_loadu_ps(in + i * in_step);
    UNROLL
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 16; i += 4)
        UNROLL
    for (int j = 0; j < 2; j++) {
        __m512d low = _mm512_castps_pd(b[i + j]), high = _mm512_castps_pd(b[i + j + 2]);
        a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
        a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
    UNROLL
    for (int i = 0; i < 4; i++) { /* a[4 q + i] holds, in each quarter, column 4 quarter + i */
        __m512 low = _mm512_shuffle_f32x4(a[i], a[4 + i], 0x44);
        __m512 high = _mm512_shuffle_f32x4(a[i], a[4 + i], 0xEE);
        __m512 low2 = _mm512_shuffle_f32x4(a[8 + i], a[12 + i], 0x44);
        __m512 high2 = _mm512_shuffle_f32x4(a[8 + i], a[12 + i], 0xEE);
        _mm512_storeu_ps(out + i * out_step, _mm512_shuffle_f32x4(low, low2, 0x88));
        _mm512_storeu_ps(out + (4 + i) * out_step, _mm512_shuffle_f32x4(low, low2, 0xDD));
        _mm512_storeu_ps(out + (8 + i) * out_step, _mm512_shuffle_f32x4(high, high2, 0x88));
        _mm512_storeu_ps(out + (12 + i) * out_step, _mm512_shuffle_f32x4(high, high2, 0xDD));
    }
}
