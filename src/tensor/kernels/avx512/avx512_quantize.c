/* SPDX-License-Identifier: Apache-2.0
 * avx512_quantize — 16 numbers at a time; ref_quantize.c says what each slot computes. Minimum and
 * maximum instructions give their second operand when either is NaN: hence the order of operands.
 */
#include "tensor/kernels/quantize.h"
#include "tensor/kernels/scalar.h"

#include <immintrin.h>

#define ROUND_EVEN (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

static void range(const float *x, int64_t groups, int group, float *lo, float *hi)
{
    for (int64_t g = 0; g < groups; g++) {
        __m512 min = _mm512_set1_ps(INFINITY), max = _mm512_set1_ps(-INFINITY);
        for (int i = 0; i < group; i += 16, x += 16) {
            __m512 v = _mm512_loadu_ps(x);
            min = _mm512_min_ps(v, min);
            max = _mm512_max_ps(v, max);
        }
        lo[g] = _mm512_reduce_min_ps(min);
        hi[g] = _mm512_reduce_max_ps(max);
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

static void codes(const float *x, int64_t groups, int group, const float *scale, const float *bias,
                  float levels, uint8_t *out)
{
    const __m512 most = _mm512_set1_ps(levels), least = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; g++) {
        __m512 s = _mm512_set1_ps(scale[g]), b = _mm512_set1_ps(bias[g]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16) {
            __m512 q = _mm512_div_ps(_mm512_sub_ps(_mm512_loadu_ps(x), b), s);
            q = _mm512_min_ps(_mm512_max_ps(q, least), most);
            __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(q));
            _mm_storeu_si128((void *)out, bytes);
        }
    }
}

static void largest(const float *x, int64_t groups, int group, float *out)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    for (int64_t g = 0; g < groups; g++) {
        __m512i max = _mm512_setzero_si512();
        for (int i = 0; i < group; i += 16, x += 16)
            max = _mm512_max_epu32(max, _mm512_and_si512(_mm512_loadu_si512(x), magnitude));
        uint32_t bits = _mm512_reduce_max_epu32(max);
        out[g] = bits > 0x7F800000u ? NAN : ig_f32_of_bits(bits);
    }
}

/* Thresholds are multiples of 2^21 as integers: after taking 1 and the slack off, exponent and two
 * bits of mantissa index a table. Its first entry stands for everything below 0.25. */
static void fp4(const float *x, int64_t groups, int group, const float *divisor, uint32_t slack,
                uint8_t *out)
{
    const __m512i low = _mm512_setr_epi32(0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5);
    const __m512i high = _mm512_setr_epi32(6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7);
    const __m512i base = _mm512_set1_epi32((int)(slack + 1 + (499u << 21)));
    const __m512i infinite = _mm512_set1_epi32(0x7F800000),
                  magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    const __m512i eight = _mm512_set1_epi32(8), last = _mm512_set1_epi32(31);
    for (int64_t g = 0; g < groups; g++) {
        __m512 d = _mm512_set1_ps(divisor[g]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16) {
            __m512i bits = _mm512_castps_si512(_mm512_div_ps(_mm512_loadu_ps(x), d));
            __m512i size = _mm512_and_si512(bits, magnitude);
            __mmask16 finite = _mm512_cmplt_epi32_mask(size, infinite);
            __m512i index = _mm512_srai_epi32(_mm512_sub_epi32(size, base), 21);
            index = _mm512_min_epi32(_mm512_max_epi32(index, _mm512_setzero_si512()), last);
            __m512i code = _mm512_maskz_permutex2var_epi32(finite, low, index, high);
            __mmask16 some = _mm512_test_epi32_mask(code, code);
            __m512i sign = _mm512_and_si512(_mm512_srli_epi32(bits, 28), eight);
            code = _mm512_mask_or_epi32(code, some, code, sign);
            _mm_storeu_si128((void *)out, _mm512_cvtepi32_epi8(code));
        }
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
