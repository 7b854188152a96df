/* SPDX-License-Identifier: Apache-2.0
 * rows with AVX-512: a virtual lane is a real one. Up to six rows keep all their pairs in registers
 * (21 of 32); more rows go in tiles of four by four. */
#include "tensor/kernels/rows.h"

#include <immintrin.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define LANES         16
#define TILE          4

static ALWAYS_INLINE void pour(__m512 acc, double *sums)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(acc));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(acc, 1));
    _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_loadu_pd(sums), _mm512_add_pd(low, high)));
}

static ALWAYS_INLINE void gram_small(const float *const *rows, int k, int64_t count,
                                     double (*sums)[IG_ROWS_LANES])
{
    for (int64_t at = 0; at < count; at += IG_ROWS_POUR) {
        int64_t end = count - at < IG_ROWS_POUR ? count : at + IG_ROWS_POUR;
        __m512 acc[IG_ROWS_PAIRS(6)], v[6];
        for (int p = 0; p < IG_ROWS_PAIRS(k); p++)
            acc[p] = _mm512_setzero_ps();
        for (int64_t e = at; e < end; e += LANES) {
            for (int i = 0; i < k; i++) {
                v[i] = _mm512_load_ps(rows[i] + e);
                for (int j = 0; j <= i; j++)
                    acc[IG_ROWS_PAIR(i, j)] = _mm512_fmadd_ps(v[i], v[j], acc[IG_ROWS_PAIR(i, j)]);
            }
        }
        for (int p = 0; p < IG_ROWS_PAIRS(k); p++)
            pour(acc[p], sums[p]);
    }
}

/* Rows i0 .. i0+3 by rows j0 .. j0+3 over one pour; what lies above the diagonal is not kept. */
static void gram_tile(const float *const *rows, int k, int i0, int j0, int64_t at, int64_t end,
                      double (*sums)[IG_ROWS_LANES])
{
    __m512 acc[TILE][TILE], b[TILE];
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++)
            acc[i][j] = _mm512_setzero_ps();
    const float *ri[TILE], *rj[TILE];
    for (int t = 0; t < TILE; t++) {
        ri[t] = rows[i0 + t < k ? i0 + t : k - 1];
        rj[t] = rows[j0 + t < k ? j0 + t : k - 1];
    }
    for (int64_t e = at; e < end; e += LANES) {
        for (int j = 0; j < TILE; j++)
            b[j] = _mm512_load_ps(rj[j] + e);
        for (int i = 0; i < TILE; i++) {
            __m512 a = _mm512_load_ps(ri[i] + e);
            for (int j = 0; j < TILE; j++)
                acc[i][j] = _mm512_fmadd_ps(a, b[j], acc[i][j]);
        }
    }
    for (int i = 0; i < TILE && i0 + i < k; i++)
        for (int j = 0; j < TILE && j0 + j <= i0 + i; j++)
            pour(acc[i][j], sums[IG_ROWS_PAIR(i0 + i, j0 + j)]);
}

static void gram_large(const float *const *rows, int k, int64_t count,
                       double (*sums)[IG_ROWS_LANES])
{
    for (int64_t at = 0; at < count; at += IG_ROWS_POUR) {
        int64_t end = count - at < IG_ROWS_POUR ? count : at + IG_ROWS_POUR;
        for (int i = 0; i < k; i += TILE)
            for (int j = 0; j <= i; j += TILE)
                gram_tile(rows, k, i, j, at, end, sums);
    }
}

static void gram(const float *const *rows, int k, int64_t count, double (*sums)[IG_ROWS_LANES])
{
    switch (k) {
    case 1: gram_small(rows, 1, count, sums); break;
    case 2: gram_small(rows, 2, count, sums); break;
    case 3: gram_small(rows, 3, count, sums); break;
    case 4: gram_small(rows, 4, count, sums); break;
    case 5: gram_small(rows, 5, count, sums); break;
    case 6: gram_small(rows, 6, count, sums); break;
    default: gram_large(rows, k, count, sums); break;
    }
}

static void combine(const float *const *rows, const float *c, int k, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i += LANES) {
        __m512 sum = _mm512_mul_ps(_mm512_set1_ps(c[0]), _mm512_load_ps(rows[0] + i));
        for (int r = 1; r < k; r++)
            sum = _mm512_fmadd_ps(_mm512_set1_ps(c[r]), _mm512_load_ps(rows[r] + i), sum);
        _mm512_store_ps(out + i, sum);
    }
}

static ALWAYS_INLINE __m512 widen_16(const char *in, __mmask16 m)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, in));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static void widen(const void *src, const float *base, int64_t count, float *out)
{
    const char *in = src;
    int64_t i = 0;
    for (; base && i + LANES <= count; i += LANES)
        _mm512_store_ps(out + i,
                        _mm512_sub_ps(widen_16(in + 2 * i, 0xFFFF), _mm512_load_ps(base + i)));
    for (; i + LANES <= count; i += LANES)
        _mm512_store_ps(out + i, widen_16(in + 2 * i, 0xFFFF));
    if (i == count) return;
    __mmask16 m = (__mmask16)((1u << (count - i)) - 1);
    __m512 v = widen_16(in + 2 * i, m);
    if (base) v = _mm512_maskz_sub_ps(m, v, _mm512_load_ps(base + i));
    _mm512_store_ps(out + i, v);
}

static void subtract(float *row, const float *base, int64_t count)
{
    for (int64_t i = 0; i < count; i += LANES)
        _mm512_store_ps(row + i, _mm512_sub_ps(_mm512_load_ps(row + i), _mm512_load_ps(base + i)));
}

static void median(const float *const *rows, const float *scale, int k, bool midpoint,
                   int64_t count, float *out)
{
    __m512 v[IG_ROWS_MAX];
    bool mean = midpoint && k % 2 == 0;
    for (int64_t i = 0; i < count; i += LANES) {
        for (int r = 0; r < k; r++)
            v[r] = _mm512_mul_ps(_mm512_set1_ps(scale[r]), _mm512_load_ps(rows[r] + i));
        for (int round = 0; round < k; round++) {
            for (int r = round & 1; r + 1 < k; r += 2) {
                __m512 low = _mm512_min_ps(v[r], v[r + 1]);
                v[r + 1] = _mm512_max_ps(v[r], v[r + 1]);
                v[r] = low;
            }
        }
        __m512 middle = v[(k - 1) / 2];
        if (mean)
            middle = _mm512_mul_ps(_mm512_set1_ps(0.5f), _mm512_add_ps(v[k / 2 - 1], v[k / 2]));
        _mm512_store_ps(out + i, middle);
    }
}

static void residual(const float *row, float scale, const float *center, int64_t count, float *out)
{
    __m512 s = _mm512_set1_ps(scale);
    for (int64_t i = 0; i < count; i += LANES) {
        __m512 u = _mm512_mul_ps(s, _mm512_load_ps(row + i));
        _mm512_store_ps(out + i, _mm512_sub_ps(u, _mm512_load_ps(center + i)));
    }
}

static int64_t nonfinite(const float *row, int64_t count)
{
    const __m512i exponent = _mm512_set1_epi32(0x7f800000);
    int64_t found = 0;
    for (int64_t i = 0; i < count; i += LANES) {
        __m512i bits = _mm512_and_si512(_mm512_load_si512(row + i), exponent);
        found += __builtin_popcount(_mm512_cmpeq_epi32_mask(bits, exponent));
    }
    return found;
}

void ig_rows_avx512(struct ig_rows_ops *ops)
{
    ops->gram = gram;
    ops->combine = combine;
    ops->widen = widen;
    ops->subtract = subtract;
    ops->median = median;
    ops->residual = residual;
    ops->nonfinite = nonfinite;
}
