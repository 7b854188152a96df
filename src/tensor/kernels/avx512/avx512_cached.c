/* SPDX-License-Identifier: Apache-2.0
 * avx512 cached — a vector is 16 codes, widened in registers. A group's scale is applied to its
 * sum of products; biases meet sums of queries, or of weights, once for a group. */
#include "tensor/kernels/cached.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* 16 elements, without scale and bias. */
INLINE __m512 widen(int bits, const uint8_t *at)
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

INLINE const float *scales_of(const struct ig_cached *as, int bits, const uint8_t *row)
{
    return (const float *)(const void *)(row + as->dim * bits / 8);
}

INLINE void dots_as(const struct ig_cached *as, int bits, const float *q, const uint8_t *row,
                    int64_t count, float scale, float *out)
{
    int64_t group = bits == IG_CACHED_F16 ? as->dim : as->group, groups = as->dim / group;
    size_t step = ig_cached_row_bytes(as);
    float sums[IG_CACHED_MOST / IG_CACHED_GROUP];
    for (int64_t g = 0; g < groups && bits != IG_CACHED_F16; g++) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t j = 0; j < group; j += 16)
            sum = _mm512_add_ps(sum, _mm512_loadu_ps(q + g * group + j));
        sums[g] = _mm512_reduce_add_ps(sum);
    }
    for (int64_t i = 0; i < count; i++, row += step) {
        const float *scales = scales_of(as, bits, row);
        __m512 total = _mm512_setzero_ps();
        float rest = 0;
        for (int64_t g = 0; g < groups; g++) {
            __m512 even = _mm512_setzero_ps(), odd = even;
            int64_t j = g * group, end = j + group;
            for (; j + 32 <= end; j += 32) {
                even =
                    _mm512_fmadd_ps(_mm512_loadu_ps(q + j), widen(bits, row + j * bits / 8), even);
                odd = _mm512_fmadd_ps(_mm512_loadu_ps(q + j + 16),
                                      widen(bits, row + (j + 16) * bits / 8), odd);
            }
            if (j < end)
                even =
                    _mm512_fmadd_ps(_mm512_loadu_ps(q + j), widen(bits, row + j * bits / 8), even);
            even = _mm512_add_ps(even, odd);
            if (bits == IG_CACHED_F16) {
                total = even;
            } else {
                total = _mm512_fmadd_ps(even, _mm512_set1_ps(scales[g]), total);
                rest += scales[groups + g] * sums[g];
            }
        }
        out[i] = (_mm512_reduce_add_ps(total) + rest) * scale;
    }
}

struct columns {
    int64_t first;
    int vectors;
};

/* Up to four vectors of out, from the first element on, stay in registers. */
INLINE void mix_columns(const struct ig_cached *as, int bits, const float *p, const uint8_t *row,
                        int64_t count, struct columns at, float *out)
{
    const int64_t j = at.first;
    const int vectors = at.vectors;
    int64_t groups = bits == IG_CACHED_F16 ? 1 : as->dim / as->group, g[4];
    size_t step = ig_cached_row_bytes(as);
    float biases[4] = {0};
    __m512 sum[4];
    for (int c = 0; c < vectors; c++) {
        g[c] = bits == IG_CACHED_F16 ? 0 : (j + 16 * c) / as->group;
        sum[c] = _mm512_loadu_ps(out + j + 16 * c);
    }
    for (int64_t i = 0; i < count; i++, row += step) {
        const float *scales = scales_of(as, bits, row);
        for (int c = 0; c < vectors; c++) {
            float weight = p[i];
            if (bits != IG_CACHED_F16) {
                biases[c] += weight * scales[groups + g[c]];
                weight *= scales[g[c]];
            }
            sum[c] = _mm512_fmadd_ps(_mm512_set1_ps(weight),
                                     widen(bits, row + (j + 16 * c) * bits / 8), sum[c]);
        }
    }
    for (int c = 0; c < vectors; c++)
        _mm512_storeu_ps(out + j + 16 * c, _mm512_add_ps(sum[c], _mm512_set1_ps(biases[c])));
}

INLINE void mix_as(const struct ig_cached *as, int bits, const float *p, const uint8_t *rows,
                   int64_t count, float *out)
{
    int64_t j = 0;
    for (; j + 64 <= as->dim; j += 64)
        mix_columns(as, bits, p, rows, count, (struct columns){j, 4}, out);
    for (; j < as->dim; j += 16)
        mix_columns(as, bits, p, rows, count, (struct columns){j, 1}, out);
}

INLINE void load_as(const struct ig_cached *as, int bits, const uint8_t *row, int64_t count,
                    float *out)
{
    int64_t groups = bits == IG_CACHED_F16 ? 1 : as->dim / as->group;
    size_t step = ig_cached_row_bytes(as);
    for (int64_t i = 0; i < count; i++, row += step, out += as->dim) {
        const float *scales = scales_of(as, bits, row);
        for (int64_t j = 0; j < as->dim; j += 16) {
            __m512 v = widen(bits, row + j * bits / 8);
            int64_t g = bits == IG_CACHED_F16 ? 0 : j / as->group;
            if (bits != IG_CACHED_F16)
                v = _mm512_fmadd_ps(v, _mm512_set1_ps(scales[g]),
                                    _mm512_set1_ps(scales[groups + g]));
            _mm512_storeu_ps(out + j, v);
        }
    }
}

static void dots(const struct ig_cached *as, const float *q, const void *rows, int64_t count,
                 float scale, float *out)
{
    switch (as->bits) {
    case IG_CACHED_F16: dots_as(as, IG_CACHED_F16, q, rows, count, scale, out); break;
    case 8: dots_as(as, 8, q, rows, count, scale, out); break;
    default: dots_as(as, 4, q, rows, count, scale, out); break;
    }
}

static void mix(const struct ig_cached *as, const float *p, const void *rows, int64_t count,
                float *out)
{
    switch (as->bits) {
    case IG_CACHED_F16: mix_as(as, IG_CACHED_F16, p, rows, count, out); break;
    case 8: mix_as(as, 8, p, rows, count, out); break;
    default: mix_as(as, 4, p, rows, count, out); break;
    }
}

static void load(const struct ig_cached *as, const void *rows, int64_t count, float *out)
{
    switch (as->bits) {
    case IG_CACHED_F16: load_as(as, IG_CACHED_F16, rows, count, out); break;
    case 8: load_as(as, 8, rows, count, out); break;
    default: load_as(as, 4, rows, count, out); break;
    }
}

void ig_cached_avx512(struct ig_cached_ops *ops)
{
    *ops = (struct ig_cached_ops){dots, mix, load};
}
