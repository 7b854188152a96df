/* SPDX-License-Identifier: Apache-2.0
 * avx2 lanes — what the files of this instruction set share: plain floats and scales as 8 floats,
 * and a transposition in registers. */
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

INLINE __m256 bf16_words(__m128i words)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}

/* e4m3 in the low bytes of 8 words, sign-extended: as f16 they are 2^-8 of their value. */
INLINE __m256 e4m3_words(__m128i words)
{
    words = _mm_and_si128(_mm_slli_epi16(words, 7), _mm_set1_epi16((short)0xBF80));
    return _mm256_cvtph_ps(words);
}

INLINE __m256 e8m0_bytes(__m128i bytes)
{
    __m256i bits = _mm256_slli_epi32(_mm256_cvtepu8_epi32(bytes), 23);
    return _mm256_castsi256_ps(_mm256_max_epu32(bits, _mm256_set1_epi32(1 << 22))); /* 2^-127 */
}

INLINE float sum_of(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* 8 plain floats at p, of which the first `inside` are there; zeros behind them. */
INLINE __m256 plain_load(enum ig_dtype dtype, const uint8_t *p, int64_t inside)
{
    uint8_t last[32] = {0};
    if (inside < 8) {
        memcpy(last, p, (size_t)inside * (dtype == IG_F32 ? 4 : 2));
        p = last;
    }
    if (dtype == IG_F32) return _mm256_loadu_ps((const float *)(const void *)p);
    __m128i words = _mm_loadu_si128((const void *)p);
    return dtype == IG_F16 ? _mm256_cvtph_ps(words) : bf16_words(words);
}

/* 8 scales from `first` on, of which `inside` are there. */
INLINE __m256 scales_8(const struct ig_matrix *w, int64_t first, int64_t inside)
{
    if (w->packing == IG_PACK_AFFINE) {
        const uint8_t *p = w->scales;
        return plain_load(w->scale_dtype, p + (size_t)first * ig_dtype_bytes(w->scale_dtype),
                          inside);
    }
    const uint8_t *p = (const uint8_t *)w->scales + first;
    uint8_t eight[8] = {0};
    if (inside < 8) p = memcpy(eight, p, (size_t)inside);
    __m128i bytes = _mm_loadl_epi64((const void *)p);
    __m256 unit = _mm256_set1_ps(256.0F);
    if (w->group == 16) return _mm256_mul_ps(e4m3_words(_mm_cvtepi8_epi16(bytes)), unit);
    /* Codes of FP8 come out of e4m3_words 2^8 too small. */
    return w->packing == IG_PACK_FP8 ? _mm256_mul_ps(e8m0_bytes(bytes), unit) : e8m0_bytes(bytes);
}

INLINE void transpose_8(const float *in, int64_t in_step, float *out, int64_t out_step)
{
    __m256 a[8], b[8];
    UNROLL
    for (int i = 0; i < 8; i++)
        a[i] = _mm256_loadu_ps(in + i * in_step);
    UNROLL
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 8; i += 4)
        UNROLL
    for (int j = 0; j < 2; j++) {
        a[i + 2 * j] = _mm256_shuffle_ps(b[i + j], b[i + j + 2], 0x44);
        a[i + 2 * j + 1] = _mm256_shuffle_ps(b[i + j], b[i + j + 2], 0xEE);
    }
    UNROLL
    for (int i = 0; i < 4; i++) { /* a[4 h + i] holds, in each half, column 4 half + i */
        _mm256_storeu_ps(out + i * out_step, _mm256_permute2f128_ps(a[i], a[4 + i], 0x20));
        _mm256_storeu_ps(out + (4 + i) * out_step, _mm256_permute2f128_ps(a[i], a[4 + i], 0x31));
    }
}
