/* SPDX-License-Identifier: Apache-2.0
 * masks_loops.h compiled for AVX-512, but for what the compiler does not find. */
#include "tensor/kernels/masks_loops.h"

#include <immintrin.h>

static void pour_16(__m512 acc, double *sums)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(acc));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(acc, 1));
    _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_loadu_pd(sums), _mm512_add_pd(low, high)));
}

/* The sums stay in registers. */
static void sizes_16(const float *row, const uint32_t *keep, int64_t count, double *all,
                     double *kept)
{
    for (int64_t at = 0; at < count; at += POUR) {
        int64_t end = count - at < POUR ? count : at + POUR;
        __m512 a = _mm512_setzero_ps(), k = _mm512_setzero_ps();
        for (int64_t i = at; i < end; i += LANES) {
            __m512 size = _mm512_abs_ps(_mm512_loadu_ps(row + i));
            a = _mm512_add_ps(a, size);
            k = _mm512_add_ps(k, _mm512_and_ps(size, _mm512_loadu_ps((const void *)(keep + i))));
        }
        pour_16(a, all);
        pour_16(k, kept);
    }
}

/* One pass: what is between stays in registers. */
static void variance_16(const float *const *rows, int n, int64_t count, float *scratch, float *out)
{
    const __m512 models = _mm512_set1_ps((float)n);
    (void)scratch;
    for (int64_t i = 0; i < count; i += LANES) {
        __mmask16 m = count - i < LANES ? (__mmask16)((1u << (count - i)) - 1) : 0xFFFF;
        __m512 mean = _mm512_setzero_ps(), sum = _mm512_setzero_ps();
        for (int r = 0; r < n; r++)
            mean = _mm512_add_ps(mean, _mm512_maskz_loadu_ps(m, rows[r] + i));
        mean = _mm512_div_ps(mean, models);
        for (int r = 0; r < n; r++) {
            __m512 apart = _mm512_sub_ps(_mm512_maskz_loadu_ps(m, rows[r] + i), mean);
            sum = _mm512_add_ps(sum, _mm512_mul_ps(apart, apart));
        }
        _mm512_mask_storeu_ps(out + i, m, _mm512_div_ps(sum, models));
    }
}

/* The table by gather. */
static int64_t judge_16(const uint32_t *number, const uint16_t *bucket, const uint32_t *limits,
                        int64_t count, uint32_t *keep, uint32_t *list)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int64_t found = 0;
    for (int64_t i = 0; i < count; i += LANES) {
        __mmask16 m = count - i < LANES ? (__mmask16)((1u << (count - i)) - 1) : 0xFFFF;
        __m512i n = _mm512_maskz_loadu_epi32(m, number + i), zero = _mm512_setzero_si512();
        __m512i at = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, bucket + i));
        __m512i limit = _mm512_mask_i32gather_epi32(zero, m, at, limits, 4);
        __m512i high = _mm512_srli_epi32(n, 16);
        __m512i least = _mm512_and_si512(limit, _mm512_set1_epi32(0xFFFF));
        __mmask16 sure = _mm512_mask_cmplt_epu32_mask(m, high, least);
        __mmask16 open = _mm512_mask_cmple_epu32_mask(m, high, _mm512_srli_epi32(limit, 16));
        open &= (__mmask16)~sure;
        __m512i mask = _mm512_maskz_set1_epi32(open, 1);
        _mm512_mask_storeu_epi32(keep + i, m, _mm512_mask_set1_epi32(mask, sure, -1));
        if (!open) continue;
        int more = __builtin_popcount(open);
        if (found + more <= IG_MASKS_LISTED)
            _mm512_mask_compressstoreu_epi32(list + found, open,
                                             _mm512_add_epi32(lane, _mm512_set1_epi32((int)i)));
        found += more;
    }
    return found;
}

static void pack_16(const uint32_t *keep, int64_t count, uint8_t *bits)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        uint16_t m = _mm512_movepi32_mask(_mm512_loadu_si512(keep + i));
        memcpy(bits + i / 8, &m, sizeof m);
    }
    pack(keep + i, count - i, bits + i / 8);
}

static void unpack_16(const uint8_t *bits, int64_t count, uint32_t *keep)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        uint16_t m;
        memcpy(&m, bits + i / 8, sizeof m);
        _mm512_storeu_si512(keep + i, _mm512_movm_epi32(m));
    }
    unpack(bits + i / 8, count - i, keep + i);
}

void ig_masks_avx512(struct ig_masks_ops *ops)
{
    fill(ops);
    ops->sizes = sizes_16;
    ops->variance = variance_16;
    ops->judge = judge_16;
    ops->pack = pack_16;
    ops->unpack = unpack_16;
}
