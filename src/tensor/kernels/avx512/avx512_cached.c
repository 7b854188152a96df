/* SPDX-License-Identifier: Apache-2.0
 * avx512 cached — a vector is 16 codes, widened in registers. */
#include "tensor/kernels/cached_row.h"

#include <immintrin.h>

typedef __m512 vec;
#define LANES 16
#define MIXED 4

INLINE vec zero(void)
{
    return _mm512_setzero_ps();
}

INLINE vec spread(float x)
{
    return _mm512_set1_ps(x);
}

INLINE vec loaded(const float *at)
{
    return _mm512_loadu_ps(at);
}

INLINE void store(float *at, vec v)
{
    _mm512_storeu_ps(at, v);
}

INLINE vec plus(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

INLINE vec times_plus(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

INLINE float sum_of(vec v)
{
    return _mm512_reduce_add_ps(v);
}

/* 16 elements, without scale and bias. */
INLINE vec widen(int bits, const uint8_t *at)
{
    if (bits == IG_CACHED_F16)
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)at));
    if (bits == 8)
        return _mm512_cvtepi32_ps(
            _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)at)));
    __m128i pairs = _mm_loadl_epi64((const __m128i *)(const void *)at);
    __m128i low = _mm_set1_epi8(15), even = _mm_and_si128(pairs, low);
    __m128i odd = _mm_and_si128(_mm_srli_epi16(pairs, 4), low);
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd)));
}

#include "tensor/kernels/loops/cached_loops.h"

void ig_cached_avx512(struct ig_cached_ops *ops)
{
    fill(ops);
}
