/* SPDX-License-Identifier: Apache-2.0
 * rows with AVX2 and FMA: the 16 virtual lanes are two halves of 8, summed one after the other so
 * that up to four rows keep all their pairs in registers; more rows go in tiles of three by three.
 */
#include "tensor/kernels/rows.h"

#include <immintrin.h>
#include <string.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define LANES         16
#define HALF          8
#define SMALL         4
#define TILE          3

/* Both halves of a pair's lanes into its f64 lanes. */
static ALWAYS_INLINE void pour(__m256 first, __m256 second, double *sums)
{
    __m256d low = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(first)),
                                _mm256_cvtps_pd(_mm256_castps256_ps128(second)));
    __m256d high = _mm256_add_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(first, 1)),
                                 _mm256_cvtps_pd(_mm256_extractf128_ps(second, 1)));
    _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), low));
    _mm256_storeu_pd(sums + 4, _mm256_add_pd(_mm256_loadu_pd(sums + 4), high));
}

static ALWAYS_INLINE void half_small(const float *const *rows, int k, int64_t at, int64_t end,
                                     float (*out)[HALF])
{
    __m256 acc[IG_ROWS_PAIRS(SMALL)], v[SMALL];
    for (int p = 0; p < IG_ROWS_PAIRS(k); p++)
        acc[p] = _mm256_setzero_ps();
    for (int64_t e = at; e < end; e += LANES) {
        for (int i = 0; i < k; i++) {
            v[i] = _mm256_load_ps(rows[i] + e);
            for (int j = 0; j <= i; j++)
                acc[IG_ROWS_PAIR(i, j)] = _mm256_fmadd_ps(v[i], v[j], acc[IG_ROWS_PAIR(i, j)]);
        }
    }
    for (int p = 0; p < IG_ROWS_PAIRS(k); p++)
        _mm256_storeu_ps(out[p], acc[p]);
}

static ALWAYS_INLINE void gram_small(const float *const *rows, int k, int64_t count,
                                     double (*sums)[IG_ROWS_LANES])
{
    float half[2][IG_ROWS_PAIRS(SMALL)][HALF];
    for (int64_t at = 0; at < count; at += IG_ROWS_POUR) {
        int64_t end = count - at < IG_ROWS_POUR ? count : at + IG_ROWS_POUR;
        half_small(rows, k, at, end, half[0]);
        half_small(rows, k, at + HALF, end, half[1]);
        for (int p = 0; p < IG_ROWS_PAIRS(k); p++)
            pour(_mm256_loadu_ps(half[0][p]), _mm256_loadu_ps(half[1][p]), sums[p]);
    }
}

static ALWAYS_INLINE void half_tile(const float *const *ri, const float *const *rj, int64_t at,
                                    int64_t end, float (*out)[TILE][HALF])
{
    __m256 acc[TILE][TILE], b[TILE];
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++)
            acc[i][j] = _mm256_setzero_ps();
    for (int64_t e = at; e < end; e += LANES) {
        for (int j = 0; j < TILE; j++)
            b[j] = _mm256_load_ps(rj[j] + e);
        for (int i = 0; i < TILE; i++) {
            __m256 a = _mm256_load_ps(ri[i] + e);
            for (int j = 0; j < TILE; j++)
                acc[i][j] = _mm256_fmadd_ps(a, b[j], acc[i][j]);
        }
    }
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++)
            _mm256_storeu_ps(out[i][j], acc[i][j]);
}

static void gram_tile(const float *const *rows, int k, const int corner[2], int64_t at, int64_t end,
                      double (*sums)[IG_ROWS_LANES])
{
    const float *ri[TILE], *rj[TILE];
    float half[2][TILE][TILE][HALF];
    for (int t = 0; t < TILE; t++) {
        ri[t] = rows[corner[0] + t < k ? corner[0] + t : k - 1];
        rj[t] = rows[corner[1] + t < k ? corner[1] + t : k - 1];
    }
    half_tile(ri, rj, at, end, half[0]);
    half_tile(ri, rj, at + HALF, end, half[1]);
    for (int i = 0; i < TILE && corner[0] + i < k; i++)
        for (int j = 0; j < TILE && corner[1] + j <= corner[0] + i; j++)
            pour(_mm256_loadu_ps(half[0][i][j]), _mm256_loadu_ps(half[1][i][j]),
                 sums[IG_ROWS_PAIR(corner[0] + i, corner[1] + j)]);
}

static void gram_large(const float *const *rows, int k, int64_t count,
                       double (*sums)[IG_ROWS_LANES])
{
    for (int64_t at = 0; at < count; at += IG_ROWS_POUR) {
        int64_t end = count - at < IG_ROWS_POUR ? count : at + IG_ROWS_POUR;
        for (int i = 0; i < k; i += TILE)
            for (int j = 0; j <= i; j += TILE)
                gram_tile(rows, k, (int[2]){i, j}, at, end, sums);
    }
}

static void gram(const float *const *rows, int k, int64_t count, double (*sums)[IG_ROWS_LANES])
{
    switch (k) {
    case 1: gram_small(rows, 1, count, sums); break;
    case 2: gram_small(rows, 2, count, sums); break;
    case 3: gram_small(rows, 3, count, sums); break;
    case 4: gram_small(rows, 4, count, sums); break;
    default: gram_large(rows, k, count, sums); break;
    }
}

static void combine(const float *const *rows, const float *c, int k, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i += HALF) {
        __m256 sum = _mm256_mul_ps(_mm256_set1_ps(c[0]), _mm256_load_ps(rows[0] + i));
        for (int r = 1; r < k; r++)
            sum = _mm256_fmadd_ps(_mm256_set1_ps(c[r]), _mm256_load_ps(rows[r] + i), sum);
        _mm256_store_ps(out + i, sum);
    }
}

static ALWAYS_INLINE __m256 widen_8(const void *in)
{
    __m128i narrow = _mm_loadu_si128((const __m128i *)in);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(narrow), 16));
}

static void widen(const void *src, const float *base, int64_t count, float *out)
{
    const char *in = src;
    int64_t i = 0;
    for (; base && i + HALF <= count; i += HALF)
        _mm256_store_ps(out + i, _mm256_sub_ps(widen_8(in + 2 * i), _mm256_load_ps(base + i)));
    for (; i + HALF <= count; i += HALF)
        _mm256_store_ps(out + i, widen_8(in + 2 * i));
    for (; i < count; i++) {
        uint32_t bits =
            (uint32_t)(unsigned char)in[2 * i] << 16 | (uint32_t)(unsigned char)in[2 * i + 1] << 24;
        memcpy(&out[i], &bits, sizeof bits);
        if (base) out[i] -= base[i];
    }
    for (; i % LANES; i++)
        out[i] = 0;
}

static void subtract(float *row, const float *base, int64_t count)
{
    for (int64_t i = 0; i < count; i += HALF)
        _mm256_store_ps(row + i, _mm256_sub_ps(_mm256_load_ps(row + i), _mm256_load_ps(base + i)));
}

static void median(const float *const *rows, const float *scale, int k, bool midpoint,
                   int64_t count, float *out)
{
    __m256 v[IG_ROWS_MAX];
    bool mean = midpoint && k % 2 == 0;
    for (int64_t i = 0; i < count; i += HALF) {
        for (int r = 0; r < k; r++)
            v[r] = _mm256_mul_ps(_mm256_set1_ps(scale[r]), _mm256_load_ps(rows[r] + i));
        for (int round = 0; round < k; round++) {
            for (int r = round & 1; r + 1 < k; r += 2) {
                __m256 low = _mm256_min_ps(v[r], v[r + 1]);
                v[r + 1] = _mm256_max_ps(v[r], v[r + 1]);
                v[r] = low;
            }
        }
        __m256 middle = v[(k - 1) / 2];
        if (mean)
            middle = _mm256_mul_ps(_mm256_set1_ps(0.5f), _mm256_add_ps(v[k / 2 - 1], v[k / 2]));
        _mm256_store_ps(out + i, middle);
    }
}

static void residual(const float *row, float scale, const float *center, int64_t count, float *out)
{
    __m256 s = _mm256_set1_ps(scale);
    for (int64_t i = 0; i < count; i += HALF) {
        __m256 u = _mm256_mul_ps(s, _mm256_load_ps(row + i));
        _mm256_store_ps(out + i, _mm256_sub_ps(u, _mm256_load_ps(center + i)));
    }
}

static int64_t nonfinite(const float *row, int64_t count)
{
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    int64_t found = 0;
    for (int64_t i = 0; i < count; i += HALF) {
        __m256i bits = _mm256_and_si256(_mm256_castps_si256(_mm256_load_ps(row + i)), exponent);
        __m256 odd = _mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, exponent));
        found += __builtin_popcount((unsigned)_mm256_movemask_ps(odd));
    }
    return found;
}

void ig_rows_avx2(struct ig_rows_ops *ops)
{
    ops->gram = gram;
    ops->combine = combine;
    ops->widen = widen;
    ops->subtract = subtract;
    ops->median = median;
    ops->residual = residual;
    ops->nonfinite = nonfinite;
}
