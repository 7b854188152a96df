/* SPDX-License-Identifier: Apache-2.0
 * avx2 cached — a vector is 8 codes, widened in registers. */
#include "tensor/kernels/cached_row.h"

#include <immintrin.h>
#include <string.h>

typedef __m256 vec;
#define LANES 8
#define MIXED 8

INLINE vec zero(void)
{
    return _mm256_setzero_ps();
}

INLINE vec spread(float x)
{
    return _mm256_set1_ps(x);
}

INLINE vec loaded(const float *at)
{
    return _mm256_loadu_ps(at);
}

INLINE void store(float *at, vec v)
{
    _mm256_storeu_ps(at, v);
}

INLINE vec plus(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

INLINE vec times_plus(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

INLINE float sum_of(vec v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* 8 elements, without scale and bias. */
INLINE vec widen(int bits, const uint8_t *at)
{
    int word;
    if (bits == IG_CACHED_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)at));
    if (bits == 8)
        return _mm256_cvtepi32_ps(
            _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)at)));
    memcpy(&word, at, sizeof word);
    __m128i pairs = _mm_cvtsi32_si128(word), low = _mm_set1_epi8(15);
    __m128i even = _mm_and_si128(pairs, low), odd = _mm_and_si128(_mm_srli_epi16(pairs, 4), low);
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd)));
}

#include "tensor/kernels/loops/cached_loops.h"

void ig_cached_avx2(struct ig_cached_ops *ops)
{
    fill(ops);
}
