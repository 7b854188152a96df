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

/* 16 vectors, each folded into one lane of the result: pairs, fours, then lanes of 128 bits. */
static inline __m512 fold_16(__m512 v[16], enum fold fold)
{
    for (int i = 0; i < 16; i += 2)
        v[i] =
            fold_two(_mm512_unpacklo_ps(v[i], v[i + 1]), _mm512_unpackhi_ps(v[i], v[i + 1]), fold);
    for (int i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(v[i]), b = _mm512_castps_pd(v[i + 2]);
        v[i] = fold_two(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                        _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)), fold);
    }
    for (int i = 0; i < 16; i += 8)
        v[i] = fold_two(_mm512_shuffle_f32x4(v[i], v[i + 4], 0x44),
                        _mm512_shuffle_f32x4(v[i], v[i + 4], 0xEE), fold);
    return fold_two(_mm512_shuffle_f32x4(v[0], v[8], 0x88), _mm512_shuffle_f32x4(v[0], v[8], 0xDD),
                    fold);
}

static void range(const float *x, int64_t groups, int group, float *lo, float *hi)
{
    __m512 mins[16], maxs[16];
    for (int64_t g = 0; g < groups; g += 16) {
        int n = groups - g < 16 ? (int)(groups - g) : 16;
        for (int k = 0; k < 16; k++) {
            mins[k] = _mm512_set1_ps(INFINITY);
            maxs[k] = _mm512_set1_ps(-INFINITY);
            for (int i = 0; k < n && i < group; i += 16, x += 16) {
                __m512 v = _mm512_loadu_ps(x);
                mins[k] = _mm512_min_ps(v, mins[k]);
                maxs[k] = _mm512_max_ps(v, maxs[k]);
            }
        }
        __mmask16 m = (__mmask16)((1u << n) - 1);
        _mm512_mask_storeu_ps(lo + g, m, fold_16(mins, FOLD_MIN));
        _mm512_mask_storeu_ps(hi + g, m, fold_16(maxs, FOLD_MAX));
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

/* The quotient is needed only to its integer. A product with the inverse is off by less than 5e-5
 * (2^-23 of at most 256, and half of that for the quotient's own rounding): unless it lies within
 * 1e-4 of a half, both round to the same integer. Those, and NaN, are divided. */
static inline __m128i codes_16(__m512 x, __m512 bias, __m512 scale, __m512 inverse, __m512 most)
{
    __m512 t = _mm512_sub_ps(x, bias);
    __m512 q = _mm512_mul_ps(t, inverse);
    __m512 away = _mm512_abs_ps(_mm512_sub_ps(q, _mm512_roundscale_ps(q, ROUND_EVEN)));
    if (_mm512_cmp_ps_mask(away, _mm512_set1_ps(0.4999f), _CMP_NLE_UQ)) q = _mm512_div_ps(t, scale);
    q = _mm512_min_ps(_mm512_max_ps(q, _mm512_setzero_ps()), most);
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(q));
}

static void codes(const float *x, int64_t groups, int group, const float *scale, const float *bias,
                  float levels, uint8_t *out)
{
    const __m512 most = _mm512_set1_ps(levels);
    float inverse[16];
    for (int64_t g = 0; g < groups; g++) {
        if (g % 16 == 0) invert(scale + g, groups - g < 16 ? (int)(groups - g) : 16, inverse);
        __m512 s = _mm512_set1_ps(scale[g]), b = _mm512_set1_ps(bias[g]);
        __m512 inv = _mm512_set1_ps(inverse[g % 16]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16)
            _mm_storeu_si128((void *)out, codes_16(_mm512_loadu_ps(x), b, s, inv, most));
    }
}

static void largest(const float *x, int64_t groups, int group, float *out)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF),
                  infinite = _mm512_set1_epi32(0x7F800000);
    __m512 all[16];
    for (int64_t g = 0; g < groups; g += 16) {
        int n = groups - g < 16 ? (int)(groups - g) : 16;
        for (int k = 0; k < 16; k++) {
            __m512i max = _mm512_setzero_si512();
            for (int i = 0; k < n && i < group; i += 16, x += 16)
                max = _mm512_max_epu32(max, _mm512_and_si512(_mm512_loadu_si512(x), magnitude));
            all[k] = _mm512_castsi512_ps(max);
        }
        __m512 most = fold_16(all, FOLD_MAX_BITS);
        __mmask16 nan = _mm512_cmpgt_epu32_mask(_mm512_castps_si512(most), infinite);
        most = _mm512_mask_mov_ps(most, nan, _mm512_set1_ps(NAN));
        _mm512_mask_storeu_ps(out + g, (__mmask16)((1u << n) - 1), most);
    }
}

/* Dividing by a power of two is multiplying by its inverse, exactly, when both are normal. */
static inline bool inverse_is_exact(float divisor, float *inverse)
{
    uint32_t bits = ig_f32_bits(divisor);
    *inverse = ig_f32_of_bits(0x7F000000u - bits);
    return (bits & 0x7FFFFFu) == 0 && bits >= 0x800000u && bits <= 0x7E800000u;
}

/* Thresholds are multiples of 2^21 as integers: after taking 1 and the slack off, exponent and two
 * bits of mantissa index a table. Its first entry stands for everything below 0.25. */
static inline __m128i fp4_16(__m512 v, __m512i base)
{
    const __m512i low = _mm512_setr_epi32(0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5);
    const __m512i high = _mm512_setr_epi32(6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7);
    __m512i bits = _mm512_castps_si512(v);
    __m512i size = _mm512_and_si512(bits, _mm512_set1_epi32(0x7FFFFFFF));
    __mmask16 finite = _mm512_cmplt_epi32_mask(size, _mm512_set1_epi32(0x7F800000));
    __m512i index = _mm512_srai_epi32(_mm512_sub_epi32(size, base), 21);
    index = _mm512_max_epi32(index, _mm512_setzero_si512());
    index = _mm512_min_epi32(index, _mm512_set1_epi32(31));
    __m512i code = _mm512_maskz_permutex2var_epi32(finite, low, index, high);
    __mmask16 some = _mm512_test_epi32_mask(code, code);
    __m512i sign = _mm512_and_si512(_mm512_srli_epi32(bits, 28), _mm512_set1_epi32(8));
    return _mm512_cvtepi32_epi8(_mm512_mask_or_epi32(code, some, code, sign));
}

static void fp4(const float *x, int64_t groups, int group, const float *divisor, uint32_t slack,
                uint8_t *out)
{
    const __m512i base = _mm512_set1_epi32((int)(slack + 1 + (499u << 21)));
    for (int64_t g = 0; g < groups; g++) {
        float inverse;
        bool exact = inverse_is_exact(divisor[g], &inverse);
        __m512 d = _mm512_set1_ps(divisor[g]), inv = _mm512_set1_ps(inverse);
        for (int i = 0; exact && i < group; i += 16, x += 16, out += 16)
            _mm_storeu_si128((void *)out, fp4_16(_mm512_mul_ps(_mm512_loadu_ps(x), inv), base));
        for (int i = 0; !exact && i < group; i += 16, x += 16, out += 16)
            _mm_storeu_si128((void *)out, fp4_16(_mm512_div_ps(_mm512_loadu_ps(x), d), base));
    }
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
