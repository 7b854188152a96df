/* SPDX-License-Identifier: Apache-2.0
 * avx2_quantize — 8 numbers at a time; ref_quantize.c says what each slot computes. Minimum and
 * maximum instructions give their second operand when either is NaN: hence the order of operands.
 */
#include "tensor/kernels/quantize.h"
#include "tensor/kernels/scalar.h"

#include <immintrin.h>

#define ROUND_EVEN (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

static float lowest(__m256 v)
{
    __m128 m = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_min_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}

static float highest(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static void range(const float *x, int64_t groups, int group, float *lo, float *hi)
{
    for (int64_t g = 0; g < groups; g++) {
        __m256 min = _mm256_set1_ps(INFINITY), max = _mm256_set1_ps(-INFINITY);
        for (int i = 0; i < group; i += 8, x += 8) {
            __m256 v = _mm256_loadu_ps(x);
            min = _mm256_min_ps(v, min);
            max = _mm256_max_ps(v, max);
        }
        lo[g] = lowest(min);
        hi[g] = highest(max);
    }
}

static __m256i first_lanes(int64_t count)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count > 8 ? 8 : (int)count), lane);
}

static void grid(const float *lo, const float *hi, int64_t groups, float levels, float *scale,
                 float *bias)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    for (int64_t g = 0; g < groups; g += 8) {
        __m256i m = first_lanes(groups - g);
        __m256 min = _mm256_maskload_ps(lo + g, m), max = _mm256_maskload_ps(hi + g, m);
        __m256 s = _mm256_div_ps(_mm256_sub_ps(max, min), _mm256_set1_ps(levels));
        s = _mm256_max_ps(_mm256_set1_ps(1e-7f), s);
        __m256 use_lo =
            _mm256_cmp_ps(_mm256_andnot_ps(sign, min), _mm256_andnot_ps(sign, max), _CMP_GT_OQ);
        __m256 edge = _mm256_blendv_ps(max, min, use_lo);
        s = _mm256_xor_ps(s, _mm256_andnot_ps(use_lo, sign));
        __m256 zero = _mm256_round_ps(_mm256_div_ps(edge, s), ROUND_EVEN);
        __m256 none = _mm256_cmp_ps(zero, _mm256_setzero_ps(), _CMP_EQ_OQ);
        s = _mm256_blendv_ps(_mm256_div_ps(edge, zero), s, none);
        _mm256_maskstore_ps(scale + g, m, s);
        _mm256_maskstore_ps(bias + g, m, _mm256_andnot_ps(none, edge));
    }
}

/* 16 integers of 0 .. 255 as bytes. */
static void store_bytes(__m256i a, __m256i b, uint8_t *out)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
    __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((void *)out, bytes);
}

static inline __m256i code_of(__m256 x, __m256 s, __m256 b, __m256 most)
{
    __m256 q = _mm256_div_ps(_mm256_sub_ps(x, b), s);
    q = _mm256_min_ps(_mm256_max_ps(q, _mm256_setzero_ps()), most);
    return _mm256_cvtps_epi32(q);
}

static void codes(const float *x, int64_t groups, int group, const float *scale, const float *bias,
                  float levels, uint8_t *out)
{
    const __m256 most = _mm256_set1_ps(levels);
    for (int64_t g = 0; g < groups; g++) {
        __m256 s = _mm256_set1_ps(scale[g]), b = _mm256_set1_ps(bias[g]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16)
            store_bytes(code_of(_mm256_loadu_ps(x), s, b, most),
                        code_of(_mm256_loadu_ps(x + 8), s, b, most), out);
    }
}

static void largest(const float *x, int64_t groups, int group, float *out)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
    for (int64_t g = 0; g < groups; g++) {
        __m256i max = _mm256_setzero_si256();
        for (int i = 0; i < group; i += 8, x += 8) {
            __m256i v = _mm256_loadu_si256((const void *)x);
            max = _mm256_max_epu32(max, _mm256_and_si256(v, magnitude));
        }
        __m128i m = _mm_max_epu32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
        m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4E));
        m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xB1));
        uint32_t bits = (uint32_t)_mm_cvtsi128_si32(m);
        out[g] = bits > 0x7F800000u ? NAN : ig_f32_of_bits(bits);
    }
}

/* From 0.75 up, adding half a step of one mantissa bit and cutting gives the code plus 252; below 1
 * the steps are twice as wide, which the two comparisons mend. `base` is slack + 1: strictly
 * greater. */
static inline __m256i fp4_code(__m256 x, __m256 d, __m256i base)
{
    __m256i bits = _mm256_castps_si256(_mm256_div_ps(x, d));
    __m256i size = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFFFFFF));
    __m256i infinite = _mm256_cmpgt_epi32(size, _mm256_set1_epi32(0x7F7FFFFF));
    __m256i cut = _mm256_sub_epi32(size, base);
    __m256i half = _mm256_cmpgt_epi32(cut, _mm256_set1_epi32(0x3E7FFFFF)); /* above 0.25 */
    __m256i more = _mm256_cmpgt_epi32(cut, _mm256_set1_epi32(0x3F3FFFFF)); /* above 0.75 */
    __m256i code = _mm256_srli_epi32(_mm256_add_epi32(cut, _mm256_set1_epi32(0x200000)), 22);
    code = _mm256_sub_epi32(code, _mm256_set1_epi32(252));
    code = _mm256_max_epi32(_mm256_set1_epi32(2), _mm256_min_epi32(code, _mm256_set1_epi32(7)));
    code = _mm256_blendv_epi8(_mm256_set1_epi32(1), code, more);
    code = _mm256_andnot_si256(infinite, _mm256_and_si256(code, half));
    __m256i none = _mm256_cmpeq_epi32(code, _mm256_setzero_si256());
    __m256i sign = _mm256_and_si256(_mm256_srli_epi32(bits, 28), _mm256_set1_epi32(8));
    return _mm256_or_si256(code, _mm256_andnot_si256(none, sign));
}

static void fp4(const float *x, int64_t groups, int group, const float *divisor, uint32_t slack,
                uint8_t *out)
{
    const __m256i base = _mm256_set1_epi32((int)slack + 1);
    for (int64_t g = 0; g < groups; g++) {
        __m256 d = _mm256_set1_ps(divisor[g]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16)
            store_bytes(fp4_code(_mm256_loadu_ps(x), d, base),
                        fp4_code(_mm256_loadu_ps(x + 8), d, base), out);
    }
}

static inline __m256i fp8_code(__m256 x, __m256 d)
{
    __m256i bits = _mm256_castps_si256(_mm256_div_ps(x, d));
    __m256i size = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFFFFFF));
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(size, 20), _mm256_set1_epi32(1));
    __m256i code = _mm256_add_epi32(size, _mm256_set1_epi32(0x7FFFF - 0x3C000000));
    code = _mm256_srli_epi32(_mm256_add_epi32(code, odd), 20);
    __m256i tiny =
        _mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(size), _mm256_set1_ps(0x1p14f)));
    __m256i is_tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x3C800000), size);
    __m256i is_huge = _mm256_cmpgt_epi32(size, _mm256_set1_epi32(0x43E7FFFF));
    code = _mm256_blendv_epi8(code, tiny, is_tiny);
    code = _mm256_blendv_epi8(code, _mm256_set1_epi32(0x7E), is_huge);
    code = _mm256_and_si256(code, _mm256_set1_epi32(0x7F));
    return _mm256_or_si256(code, _mm256_slli_epi32(_mm256_srli_epi32(bits, 31), 7));
}

static void fp8(const float *x, int64_t groups, int group, const float *divisor, uint8_t *out)
{
    for (int64_t g = 0; g < groups; g++) {
        __m256 d = _mm256_set1_ps(divisor[g]);
        for (int i = 0; i < group; i += 16, x += 16, out += 16)
            store_bytes(fp8_code(_mm256_loadu_ps(x), d), fp8_code(_mm256_loadu_ps(x + 8), d), out);
    }
}

/* 16 codes: neighbours join to 2 * bits in 16, 4 * bits in 32, 8 * bits in 64; then the used bytes
 * of both 64 move together. 16 bytes are stored, 2 * bits of them count. */
static void pack(const uint8_t *in, int64_t count, int bits, uint8_t *out)
{
    if (bits == 8) {
        memcpy(out, in, (size_t)count);
        return;
    }
    const __m128i pair = _mm_set1_epi16((short)(1 | 1 << (8 + bits)));
    const __m128i quad = _mm_set1_epi32(1 | 1 << (16 + 2 * bits));
    const __m128i four_bits = _mm_cvtsi32_si128(4 * bits);
    uint8_t bytes[16];
    for (int i = 0; i < 16; i++)
        bytes[i] = i < 2 * bits ? (uint8_t)(i / bits * 8 + i % bits) : 0x80;
    const __m128i within = _mm_loadu_si128((const void *)bytes);
    const uint8_t *end = out + count / 8 * bits;
    for (; count > 0; count -= 16, in += 16, out += 2 * bits) {
        __m128i v = _mm_loadu_si128((const void *)in);
        v = _mm_madd_epi16(_mm_maddubs_epi16(v, pair), quad);
        __m128i upper = _mm_sll_epi64(_mm_srli_epi64(v, 32), four_bits);
        v = _mm_or_si128(_mm_blend_epi32(_mm_setzero_si128(), v, 5), upper);
        v = _mm_shuffle_epi8(v, within);
        if (end - out >= 16) {
            _mm_storeu_si128((void *)out, v);
        } else {
            _mm_storeu_si128((void *)bytes, v);
            memcpy(out, bytes, (size_t)(2 * bits));
        }
    }
}

void ig_quantize_avx2(struct ig_quantize_ops *ops)
{
    *ops = (struct ig_quantize_ops){range, grid, codes, largest, fp4, fp8, pack};
}
