/* SPDX-License-Identifier: Apache-2.0
 * avx2 cached — a vector is 8 codes, widened in registers. A group's scale is applied to its
 * sum of products; biases meet sums of queries, or of weights, once for a group. */
#include "tensor/kernels/cached.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float sum_of(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* 8 elements, without scale and bias. */
INLINE __m256 widen(int bits, const uint8_t *at)
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
        __m256 sum = _mm256_setzero_ps();
        for (int64_t j = 0; j < group; j += 8)
            sum = _mm256_add_ps(sum, _mm256_loadu_ps(q + g * group + j));
        sums[g] = sum_of(sum);
    }
    for (int64_t i = 0; i < count; i++, row += step) {
        const float *scales = scales_of(as, bits, row);
        __m256 total = _mm256_setzero_ps();
        float rest = 0;
        for (int64_t g = 0; g < groups; g++) {
            __m256 even = _mm256_setzero_ps(), odd = even;
            int64_t j = g * group, end = j + group;
            for (; j + 16 <= end; j += 16) {
                even =
                    _mm256_fmadd_ps(_mm256_loadu_ps(q + j), widen(bits, row + j * bits / 8), even);
                odd = _mm256_fmadd_ps(_mm256_loadu_ps(q + j + 8),
                                      widen(bits, row + (j + 8) * bits / 8), odd);
            }
            if (j < end)
                even =
                    _mm256_fmadd_ps(_mm256_loadu_ps(q + j), widen(bits, row + j * bits / 8), even);
            even = _mm256_add_ps(even, odd);
            if (bits == IG_CACHED_F16) {
                total = even;
            } else {
                total = _mm256_fmadd_ps(even, _mm256_set1_ps(scales[g]), total);
                rest += scales[groups + g] * sums[g];
            }
        }
        out[i] = (sum_of(total) + rest) * scale;
    }
}

struct columns {
    int64_t first;
    int vectors;
};

/* Up to eight vectors of out, from the first element on, stay in registers. */
INLINE void mix_columns(const struct ig_cached *as, int bits, const float *p, const uint8_t *row,
                        int64_t count, struct columns at, float *out)
{
    const int64_t j = at.first;
    const int vectors = at.vectors;
    int64_t groups = bits == IG_CACHED_F16 ? 1 : as->dim / as->group, g[8];
    size_t step = ig_cached_row_bytes(as);
    float biases[8] = {0};
    __m256 sum[8];
    for (int c = 0; c < vectors; c++) {
        g[c] = bits == IG_CACHED_F16 ? 0 : (j + 8 * c) / as->group;
        sum[c] = _mm256_loadu_ps(out + j + 8 * c);
    }
    for (int64_t i = 0; i < count; i++, row += step) {
        const float *scales = scales_of(as, bits, row);
        for (int c = 0; c < vectors; c++) {
            float weight = p[i];
            if (bits != IG_CACHED_F16) {
                biases[c] += weight * scales[groups + g[c]];
                weight *= scales[g[c]];
            }
            sum[c] = _mm256_fmadd_ps(_mm256_set1_ps(weight),
                                     widen(bits, row + (j + 8 * c) * bits / 8), sum[c]);
        }
    }
    for (int c = 0; c < vectors; c++)
        _mm256_storeu_ps(out + j + 8 * c, _mm256_add_ps(sum[c], _mm256_set1_ps(biases[c])));
}

INLINE void mix_as(const struct ig_cached *as, int bits, const float *p, const uint8_t *rows,
                   int64_t count, float *out)
{
    int64_t j = 0;
    for (; j + 64 <= as->dim; j += 64)
        mix_columns(as, bits, p, rows, count, (struct columns){j, 8}, out);
    for (; j < as->dim; j += 8)
        mix_columns(as, bits, p, rows, count, (struct columns){j, 1}, out);
}

INLINE void load_as(const struct ig_cached *as, int bits, const uint8_t *row, int64_t count,
                    float *out)
{
    int64_t groups = bits == IG_CACHED_F16 ? 1 : as->dim / as->group;
    size_t step = ig_cached_row_bytes(as);
    for (int64_t i = 0; i < count; i++, row += step, out += as->dim) {
        const float *scales = scales_of(as, bits, row);
        for (int64_t j = 0; j < as->dim; j += 8) {
            __m256 v = widen(bits, row + j * bits / 8);
            int64_t g = bits == IG_CACHED_F16 ? 0 : j / as->group;
            if (bits != IG_CACHED_F16)
                v = _mm256_fmadd_ps(v, _mm256_set1_ps(scales[g]),
                                    _mm256_set1_ps(scales[groups + g]));
            _mm256_storeu_ps(out + j, v);
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

void ig_cached_avx2(struct ig_cached_ops *ops)
{
    *ops = (struct ig_cached_ops){dots, mix, load};
}
