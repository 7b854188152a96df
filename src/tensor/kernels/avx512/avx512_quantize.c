/* SPDX-License-Identifier: Apache-2.0
 * avx512_quantize — 16 numbers at a time; ref_quantize.c says what each slot computes. Minimum and
 * maximum instructions give their second operand when either is NaN: hence the order of operands.
 */
#include "tensor/kernels/quantize.h"
#include "tensor/kernels/scalar.h"

#include <immintrin.h>

#define ROUND_EVEN (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

enum fold { FOLD_MIN, FOLD_MAX, FOLD_MAX_BITS };

static inline __m512 fold_two(__m512 a, __m512 b, enum fold fold)
{
    if (fold == FOLD_MIN) return _mm512_min_ps(a, b);
    if (fold == FOLD_MAX) return _mm512_max_ps(a, b);
    return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}

/* Four vectors to one: [a b c d] in each 128 bits. */
static inline __m512 fold_4(const __m512 v[4], enum fold fold)
{
    __m512 ab = fold_two(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]), fold);
    __m512 cd = fold_two(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]), fold);
    __m512d lo = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    __m512d hi = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    return fold_two(_mm512_castpd_ps(lo), _mm512_castpd_ps(hi), fold);
}

/* Four of those to one: 16 numbers, in order. */
static inline __m512 fold_16(const __m512 v[4], enum fold fold)
{
    __m512 a = fold_two(_mm512_shuffle_f32x4(v[0], v[1], 0x44),
                        _mm512_shuffle_f32x4(v[0], v[1], 0xEE), fold);
    __m512 b = fold_two(_mm512_shuffle_f32x4(v[2], v[3], 0x44),
                        _mm512_shuffle_f32x4(v[2], v[3], 0xEE), fold);
    return fold_two(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD), fold);
}

/* Minima and maxima of up to four groups, each in one vector; of groups that are not there,
 * nothing. */
static inline void range_4(const float *x, int64_t groups, int group, __m512 lo[4], __m512 hi[4])
{
    for (int k = 0; k < 4; k++) {
        lo[k] = _mm512_set1_ps(INFINITY);
        hi[k] = _mm512_set1_ps(-INFINITY);
        for (int i = 0; k < groups && i < group; i += 16, x += 16) {
            __m512 v = _mm512_loadu_ps(x);
            lo[k] = _mm512_min_ps(v, lo[k]);
            hi[k] = _mm512_max_ps(v, hi[k]);
        }
    }
}

static void range(const float *x, int64_t groups, int group, float *lo, float *hi)
{
    __m512 low[4], high[4], four_low[4], four_high[4];
    for (int64_t g = 0; g < groups; g += 16) {
        for (int k = 0; k < 4; k++) {
            range_4(x + (g + 4 * k) * group, groups - g - 4 * k, group, low, high);
            four_low[k] = fold_4(low, FOLD_MIN);
            four_high[k] = fold_4(high, FOLD_MAX);
        }
        __mmask16 m = groups - g >= 16 ? 0xFFFF : (__mmask16)((1u << (groups - g)) - 1);
        _mm512_mask_storeu_ps(lo + g, m, fold_16(four_low, FOLD_MIN));
        _mm512_mask_storeu_ps(hi + g, m, fold_16(four_high, FOLD_MAX));
    }
}

static void grid(const float *lo, const float *hi, int64_t groups, float levels, float *scale,
                 float *bias)
{
    const __m512 sign = _mm512_set1_ps(-0.0f);
    for (int64_t g = 0; g < groups; g += 16) {
        __mmask16 m = groups - g >= 16 ? 0xFFFF : (__mmask16)((1u << (groups - g)) - 1);
        __m512 min = _mm512_maskz_loadu_ps(m, lo + g), max = _mm512_maskz_loadu_ps(m, hi + g);
        __m512 s = _mm512_div_ps(_mm512_sub_ps(max, min), _mm512_set1_ps(levels));
        s = _mm512_max_ps(_mm512_set1_ps(1e-7f), s);
        __mmask16 use_lo = _mm512_cmp_ps_mask(_mm512_abs_ps(min), _mm512_abs_ps(max), _CMP_GT_OQ);
        __m512 edge = _mm512_mask_blend_ps(use_lo, max, min);
        s = _mm512_mask_blend_ps(use_lo, _mm512_xor_ps(s, sign), s);
        __m512 zero = _mm512_roundscale_ps(_mm512_div_ps(edge, s), ROUND_EVEN);
        __mmask16 none = _mm512_cmp_ps_mask(zero, _mm512_setzero_ps(), _CMP_EQ_OQ);
        s = _mm512_mask_blend_ps(none, _mm512_div_ps(edge, zero), s);
        _mm512_mask_storeu_ps(scale + g, m, s);
        _mm512_mask_storeu_ps(bias + g, m, _mm512_maskz_mov_ps((__mmask16)~none, edge));
    }
}

/* 1 / scale of up to 16 groups; NaN where it is no normal number, so that nothing is made of it. */
static void invert(const float *scale, int count, float inverse[16])
{
    __mmask16 m = (__mmask16)((1u << count) - 1);
    __m512 inv = _mm512_div_ps(_mm512_set1_ps(1), _mm512_maskz_loadu_ps(m, scale));
    __mmask16 tiny = _mm512_cmp_ps_mask(_mm512_abs_ps(inv), _mm512_set1_ps(0x1p-126f), _CMP_LT_OQ);
    _mm512_storeu_ps(inverse, _mm512_mask_mov_ps(inv, tiny, _mm512_set1_ps(NAN)));
}

/* What is left of a quotient beside its integer. */
static inline __m512 fraction_of(__m512 q)
{
    return _mm512_sub_ps(q, _mm512_roundscale_ps(q, ROUND_EVEN));
}

/* 32 codes of one group. The quotient is needed only to its integer. A product with the inverse is
 * off by less than 5e-5 (2^-23 of at most 256, and half of that for the quotient's own rounding):
 * unless it lies within 1e-4 of a half, both round to the same integer. Those are divided; so is a
 * group whose inverse is NaN (then all its products are). Saturation to 16 bits takes NaN, which
 * converts to INT_MIN, to 0. */
static inline __m256i codes_32(const float *x, __m512 bias, __m512 scale, __m512 inverse,
                               __m512i most)
{
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    __m512 a = _mm512_sub_ps(_mm512_loadu_ps(x), bias);
    __m512 b = _mm512_sub_ps(_mm512_loadu_ps(x + 16), bias);
    __m512 p = _mm512_mul_ps(a, inverse), q = _mm512_mul_ps(b, inverse);
    __m512 away = _mm512_range_ps(fraction_of(p), fraction_of(q), 0xB); /* larger magnitude */
    if (__builtin_expect(_mm512_cmp_ps_mask(away, _mm512_set1_ps(0.4999f), _CMP_NLE_UQ) != 0, 0)) {
        p = _mm512_div_ps(a, scale);
        q = _mm512_div_ps(b, scale);
    }
    __m512i words = _mm512_packs_epi32(_mm512_cvtps_epi32(p), _mm512_cvtps_epi32(q));
    words = _mm512_min_epi16(_mm512_max_epi16(words, _mm512_setzero_si512()), most);
    return _mm512_cvtepi16_epi8(_mm512_permutexvar_epi64(order, words));
}

static void codes(const float *x, int64_t groups, int group, const float *scale, const float *bias,
                  float levels, uint8_t *out)
{
    const __m512i most = _mm512_set1_epi16((short)levels);
    float inverse[16];
    for (int64_t g = 0; g < groups; g++) {
        if (g % 16 == 0) invert(scale + g, groups - g < 16 ? (int)(groups - g) : 16, inverse);
        __m512 s = _mm512_set1_ps(scale[g]), b = _mm512_set1_ps(bias[g]);
        __m512 inv = _mm512_set1_ps(inverse[g % 16]);
        for (int i = 0; i < group; i += 32, x += 32, out += 32)
            _mm256_storeu_si256((void *)out, codes_32(x, b, s, inv, most));
    }
}

static inline void largest_4(const float *x, int64_t groups, int group, __m512 most[4])
{
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    for (int k = 0; k < 4; k++) {
        __m512i max = _mm512_setzero_si512();
        for (int i = 0; k < groups && i < group; i += 16, x += 16)
            max = _mm512_max_epu32(max, _mm512_and_si512(_mm512_loadu_si512(x), magnitude));
        most[k] = _mm512_castsi512_ps(max);
    }
}

static void largest(const float *x, int64_t groups, int group, float *out)
{
    const __m512i infinite = _mm512_set1_epi32(0x7F800000);
    __m512 one[4], four[4];
    for (int64_t g = 0; g < groups; g += 16) {
        for (int k = 0; k < 4; k++) {
            largest_4(x + (g + 4 * k) * group, groups - g - 4 * k, group, one);
            four[k] = fold_4(one, FOLD_MAX_BITS);
        }
        __m512 most = fold_16(four, FOLD_MAX_BITS);
        __mmask16 nan = _mm512_cmpgt_epu32_mask(_mm512_castps_si512(most), infinite);
        __mmask16 m = groups - g >= 16 ? 0xFFFF : (__mmask16)((1u << (groups - g)) - 1);
        most = _mm512_mask_mov_ps(most, nan, _mm512_set1_ps(NAN));
        _mm512_mask_storeu_ps(out + g, m, most);
    }
}

/* Dividing by a power of two is multiplying by its inverse, exactly, when both are normal. */
static inline bool inverse_is_exact(float divisor, float *inverse)
{
    uint32_t bits = ig_f32_bits(divisor);
    *inverse = ig_f32_of_bits(0x7F000000u - bits);
    return (bits & 0x7FFFFFu) == 0 && bits >= 0x800000u && bits <= 0x7E800000u;
}

/* 32 codes. Thresholds are multiples of 2^21 as integers: after taking 1 and the slack off,
 * exponent and two bits of mantissa index a table, whose first entry stands for all below 0.25.
 * Those bits, and the sign, are in the upper words. */
static inline __m256i fp4_32(__m512 v, __m512 w, __m512i base)
{
    const __m512i upper =
        _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27,
                         25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    const __m512i table = _mm512_set_epi16(7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 5, 5, 4,
                                           4, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0);
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    __m512i a = _mm512_castps_si512(v), b = _mm512_castps_si512(w);
    __m512i top = _mm512_permutex2var_epi16(a, upper, b);
    a = _mm512_sub_epi32(_mm512_and_si512(a, magnitude), base);
    b = _mm512_sub_epi32(_mm512_and_si512(b, magnitude), base);
    __m512i index = _mm512_srai_epi16(_mm512_permutex2var_epi16(a, upper, b), 5);
    index = _mm512_max_epi16(index, _mm512_setzero_si512());
    index = _mm512_min_epi16(index, _mm512_set1_epi16(31));
    __m512i size = _mm512_and_si512(top, _mm512_set1_epi16(0x7FFF));
    __mmask32 finite = _mm512_cmplt_epi16_mask(size, _mm512_set1_epi16(0x7F80));
    __m512i code = _mm512_maskz_permutexvar_epi16(finite, index, table);
    __mmask32 some = _mm512_test_epi16_mask(code, code);
    __m512i sign = _mm512_and_si512(_mm512_srli_epi16(top, 12), _mm512_set1_epi16(8));
    return _mm512_cvtepi16_epi8(_mm512_mask_add_epi16(code, some, code, sign));
}

static inline __m512 divided(const float *x, float divisor)
{
    float inverse;
    if (inverse_is_exact(divisor, &inverse))
        return _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(inverse));
    return _mm512_div_ps(_mm512_loadu_ps(x), _mm512_set1_ps(divisor));
}

static void fp4(const float *x, int64_t groups, int group, const float *divisor, uint32_t slack,
                uint8_t *out)
{
    const __m512i base = _mm512_set1_epi32((int)(slack + 1 + (499u << 21)));
    __m512 before = _mm512_setzero_ps();
    int64_t done = 0; /* vectors: two at a time, of one group or of neighbours */
    for (int64_t g = 0; g < groups; g++) {
        for (int i = 0; i < group; i += 16, done++) {
            __m512 v = divided(x + 16 * done, divisor[g]);
            if (done % 2)
                _mm256_storeu_si256((void *)(out + 16 * (done - 1)), fp4_32(before, v, base));
            before = v;
        }
    }
    if (done % 2)
        _mm_storeu_si128((void *)(out + 16 * (done - 1)),
                         _mm256_castsi256_si128(fp4_32(before, before, base)));
}

static void fp8(const float *x, int64_t groups, int group, const float *divisor, uint8_t *out)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF), one = _mm512_set1_epi32(1);
    for (int64_t g = 0; g < groups; g++) {
        __m512 d = _mm512_set1_ps(divisor[g]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16) {
            __m512i bits = _mm512_castps_si512(_mm512_div_ps(_mm512_loadu_ps(x), d));
            __m512i size = _mm512_and_si512(bits, magnitude);
            __m512i odd = _mm512_and_si512(_mm512_srli_epi32(size, 20), one);
            __m512i normal = _mm512_add_epi32(size, _mm512_set1_epi32(0x7FFFF - 0x3C000000));
            normal = _mm512_srli_epi32(_mm512_add_epi32(normal, odd), 20);
            __m512i tiny = _mm512_castps_si512(
                _mm512_add_ps(_mm512_castsi512_ps(size), _mm512_set1_ps(0x1p14f)));
            __mmask16 is_tiny = _mm512_cmplt_epi32_mask(size, _mm512_set1_epi32(0x3C800000));
            __mmask16 is_huge = _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(0x43E80000));
            __m512i code = _mm512_mask_mov_epi32(normal, is_tiny, tiny);
            code = _mm512_mask_mov_epi32(code, is_huge, _mm512_set1_epi32(0x7E));
            code = _mm512_and_si512(code, _mm512_set1_epi32(0x7F));
            code = _mm512_or_si512(code, _mm512_slli_epi32(_mm512_srli_epi32(bits, 31), 7));
            _mm_storeu_si128((void *)out, _mm512_cvtepi32_epi8(code));
        }
    }
}

/* 64 codes: neighbours join to 2 * bits in 16, 4 * bits in 32, 8 * bits in 64; then the used bytes
 * of each 64, and the used words of each 128, move together. */
static void pack(const uint8_t *in, int64_t count, int bits, uint8_t *out)
{
    if (bits == 8) {
        memcpy(out, in, (size_t)count);
        return;
    }
    const __m512i pair = _mm512_set1_epi16((short)(1 | 1 << (8 + bits)));
    const __m512i quad = _mm512_set1_epi32(1 | 1 << (16 + 2 * bits));
    const __m128i four_bits = _mm_cvtsi32_si128(4 * bits);
    uint8_t bytes[16];
    uint16_t words[32];
    for (int i = 0; i < 16; i++)
        bytes[i] = i < 2 * bits ? (uint8_t)(i / bits * 8 + i % bits) : 0x80;
    for (int i = 0; i < 32; i++)
        words[i] = (uint16_t)(i / bits % 4 * 8 + i % bits);
    const __m512i within = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)bytes));
    const __m512i across = _mm512_loadu_si512(words);
    for (int64_t left = count; left > 0; left -= 64, in += 64, out += 8 * bits) {
        int n = left < 64 ? (int)left : 64;
        __mmask64 load = n == 64 ? ~0ull : (1ull << n) - 1, store = (1ull << (n * bits / 8)) - 1;
        __m512i v = _mm512_maskz_loadu_epi8(load, in);
        v = _mm512_madd_epi16(_mm512_maddubs_epi16(v, pair), quad);
        __m512i upper = _mm512_sll_epi64(_mm512_srli_epi64(v, 32), four_bits);
        v = _mm512_or_si512(_mm512_maskz_mov_epi32(0x5555, v), upper);
        v = _mm512_permutexvar_epi16(across, _mm512_shuffle_epi8(v, within));
        _mm512_mask_storeu_epi8(out, store, v);
    }
}

void ig_quantize_avx512(struct ig_quantize_ops *ops)
{
    *ops = (struct ig_quantize_ops){range, grid, codes, largest, fp4, fp8, pack};
}
