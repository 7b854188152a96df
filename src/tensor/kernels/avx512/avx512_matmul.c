/* SPDX-License-Identifier: Apache-2.0
 * avx512 matmul — Packed codes are first spread so that each 32-bit lane starts with its own run of
 * codes, then shifted one code at a time; x is permuted once to match:
 *   runs of 8 (2, 3, 4 bits, fp4; block of 128): lane l, step j holds element 8 l + j;
 *   runs of 4 (5, 6, 8 bits;      block of  64): lane l, step j holds element 4 l + j.
 * A lane's run never crosses a group, so a block's sum is scaled lane by lane. Up to 5 bits a code
 * becomes a float by a permute of a 16 or 32 entry table, which looks at the low bits of the lane
 * only: no mask, no conversion.
 *
 * Affine codes are taken as q - 2^(bits-1), and biases as b + s 2^(bits-1): the large terms s q and
 * b cancel, and would cancel after rounding otherwise. */
#include "tensor/kernels/matmul.h"

#include <immintrin.h>

#define LANES    48
#define SPAN     2048 /* columns whose scales are converted at a time: at most 128 of them */
#define SPAN_MAX 128
#define INLINE   static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum kind { Q2, Q3, Q4, Q5, Q6, Q8, FP4 };

/* e4m3 in the low bytes of 16 words, sign-extended: as f16 they are 2^-8 of their value. */
INLINE __m512 e4m3_words(__m256i words)
{
    words = _mm256_and_si256(_mm256_slli_epi16(words, 7), _mm256_set1_epi16((short)0xBF80));
    return _mm512_cvtph_ps(words);
}

INLINE __m512 e8m0_bytes(__m128i bytes)
{
    __m512i bits = _mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes), 23);
    return _mm512_castsi512_ps(_mm512_max_epu32(bits, _mm512_set1_epi32(1 << 22))); /* 2^-127 */
}

/* Scales or biases [first, first + count) as f32, zeros up to a vector behind them. */
INLINE void load_floats(enum ig_dtype dtype, const void *data, int64_t first, int64_t count,
                        float *out)
{
    const uint8_t *p = (const uint8_t *)data + (size_t)first * ig_dtype_bytes(dtype);
    for (int64_t i = 0; i < count; i += 16) {
        __mmask16 m = count - i >= 16 ? 0xFFFF : (__mmask16)((1U << (count - i)) - 1);
        __m512 v;
        if (dtype == IG_F32) {
            v = _mm512_maskz_loadu_ps(m, p + 4 * i);
        } else {
            __m256i half = _mm256_maskz_loadu_epi16(m, p + 2 * i);
            v = dtype == IG_F16
                    ? _mm512_cvtph_ps(half)
                    : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
        }
        _mm512_storeu_ps(out + i, v);
    }
    _mm512_storeu_ps(out + count, _mm512_setzero_ps());
}

INLINE void load_scales(const struct ig_matrix *w, int64_t first, int64_t count, float *out)
{
    if (w->packing == IG_PACK_AFFINE) {
        load_floats(w->scale_dtype, w->scales, first, count, out);
        return;
    }
    const uint8_t *p = (const uint8_t *)w->scales + first;
    __m512 e4m3_unit = _mm512_set1_ps(256.0F), fp8_unit = e4m3_unit;
    for (int64_t i = 0; i < count; i += 16) {
        __mmask16 m = count - i >= 16 ? 0xFFFF : (__mmask16)((1U << (count - i)) - 1);
        __m128i bytes = _mm_maskz_loadu_epi8(m, p + i);
        __m512 v = w->group == 16
                       ? _mm512_mul_ps(e4m3_words(_mm256_cvtepi8_epi16(bytes)), e4m3_unit)
                       : e8m0_bytes(bytes);
        /* Codes of FP8 come out of e4m3_words 2^8 too small. */
        if (w->packing == IG_PACK_FP8) v = _mm512_mul_ps(v, fp8_unit);
        _mm512_storeu_ps(out + i, v);
    }
    _mm512_storeu_ps(out + count, _mm512_setzero_ps());
}

/* ---- matvec ---- */

INLINE int run_of(enum kind kind)
{
    return kind == Q5 || kind == Q6 || kind == Q8 ? 4 : 8;
}

INLINE int bits_of(enum kind kind)
{
    static const int bits[] = {2, 3, 4, 5, 6, 8, 4};
    return bits[kind];
}

/* What is taken off affine codes. */
INLINE int half_of(enum kind kind)
{
    return 1 << (bits_of(kind) - 1);
}

/* One block of codes, a run in each lane. */
INLINE __m512i spread(enum kind kind, const uint8_t *p)
{
    if (kind == Q2) return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
    if (kind == Q4 || kind == FP4) return _mm512_loadu_si512(p);
    if (kind == Q8) /* as signed bytes of q - 128 */
        return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)0x80808080));
    if (kind == Q5) {
        __m512i words = _mm512_maskz_loadu_epi32(0x03FF, p); /* 40 bytes; 10 for each quarter */
        words = _mm512_permutexvar_epi16(_mm512_set_epi16(0, 0, 0, 19, 18, 17, 16, 15, 0, 0, 0, 14,
                                                          13, 12, 11, 10, 0, 0, 0, 9, 8, 7, 6, 5, 0,
                                                          0, 0, 4, 3, 2, 1, 0),
                                         words);
        __m512i lanes =
            _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(_mm_setr_epi8(
                                           0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1)));
        return _mm512_srlv_epi32(lanes, _mm512_broadcast_i32x4(_mm_setr_epi32(0, 4, 0, 4)));
    }
    __m512i words = _mm512_maskz_loadu_epi32(0x0FFF, p); /* 48 bytes; 3 for each lane */
    words = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10, 11, 0), words);
    __m512i lanes =
        _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6,
                                                                        7, 8, -1, 9, 10, 11, -1)));
    if (kind == Q6) lanes = _mm512_xor_si512(lanes, _mm512_set1_epi32(0x820820)); /* q - 32 */
    return lanes;
}

struct tables {
    __m512 low, high;
};

INLINE struct tables tables_of(enum kind kind)
{
    if (kind == FP4) {
        __m512 t = _mm512_setr_ps(0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F, -0.0F, -0.5F,
                                  -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F);
        return (struct tables){t, t};
    }
    __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int mask = kind == Q2 ? 3 : kind == Q3 ? 7 : 15;
    __m512 low = _mm512_cvtepi32_ps(_mm512_and_si512(index, _mm512_set1_epi32(mask)));
    low = _mm512_sub_ps(low, _mm512_set1_ps((float)half_of(kind)));
    return (struct tables){low, _mm512_add_ps(low, _mm512_set1_ps(16.0F))};
}

/* Code j of each lane's run, as a float. */
INLINE __m512 decode(enum kind kind, __m512i v, int j, struct tables t)
{
    int bits = bits_of(kind);
    if (kind == Q6 || kind == Q8) { /* to the top and back down, with its sign */
        v = _mm512_slli_epi32(v, (unsigned)(32 - bits - j * bits));
        return _mm512_cvtepi32_ps(_mm512_srai_epi32(v, (unsigned)(32 - bits)));
    }
    if (j > 0) v = _mm512_srli_epi32(v, (unsigned)(j * bits));
    return kind == Q5 ? _mm512_permutex2var_ps(t.low, v, t.high) : _mm512_permutexvar_ps(v, t.low);
}

/* The sum of one block: run_of vectors of x against as many codes in each lane. */
INLINE __m512 block_dot(enum kind kind, const uint8_t *p, const float *x, struct tables t)
{
    __m512i v = spread(kind, p);
    __m512 even = _mm512_mul_ps(decode(kind, v, 0, t), _mm512_loadu_ps(x));
    __m512 odd = _mm512_mul_ps(decode(kind, v, 1, t), _mm512_loadu_ps(x + 16));
    UNROLL
    for (int j = 2; j < run_of(kind); j += 2) {
        even = _mm512_fmadd_ps(decode(kind, v, j, t), _mm512_loadu_ps(x + 16 * j), even);
        odd = _mm512_fmadd_ps(decode(kind, v, j + 1, t), _mm512_loadu_ps(x + 16 * j + 16), odd);
    }
    return _mm512_add_ps(even, odd);
}

/* Codes of columns [0, cols) from p on, scaled; cols up to SPAN. */
INLINE __m512 span_dot(enum kind kind, const uint8_t *p, const float *x, int64_t cols,
                       const float *scales, int group, struct tables t)
{
    int block = run_of(kind) * 16, bytes = block * bits_of(kind) / 8;
    int shift = __builtin_ctz((unsigned)group), run_shift = run_of(kind) == 8 ? 3 : 2;
    __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i owner = _mm512_srl_epi32(lane, _mm_cvtsi32_si128(shift - run_shift));
    __m512 sum = _mm512_setzero_ps();
    int64_t c = 0;
    for (; c + block <= cols; c += block, p += bytes) {
        __m512 scale = _mm512_permutexvar_ps(
            owner, _mm512_castps256_ps512(_mm256_loadu_ps(scales + (c >> shift))));
        sum = _mm512_fmadd_ps(block_dot(kind, p, x + c, t), scale, sum);
    }
    if (c < cols) {
        uint8_t last[64] = {0}; /* x is zero behind its end, whatever code 0 means */
        memcpy(last, p, (size_t)(cols - c) * (size_t)bits_of(kind) / 8);
        __m512 scale = _mm512_permutexvar_ps(
            owner, _mm512_castps256_ps512(_mm256_loadu_ps(scales + (c >> shift))));
        sum = _mm512_fmadd_ps(block_dot(kind, last, x + c, t), scale, sum);
    }
    return sum;
}

/* Sum of (b + s half) times the sum of x over the group. */
INLINE __m512 bias_dot(const float *biases, const float *scales, const float *sums, int64_t count,
                       float half, __m512 sum)
{
    for (int64_t i = 0; i < count; i += 16) { /* zeros behind all ends */
        __m512 b = _mm512_fmadd_ps(_mm512_loadu_ps(scales + i), _mm512_set1_ps(half),
                                   _mm512_loadu_ps(biases + i));
        sum = _mm512_fmadd_ps(b, _mm512_loadu_ps(sums + i), sum);
    }
    return sum;
}

INLINE void matvec_runs(enum kind kind, const struct ig_matrix *w, const float *x, int64_t first,
                        int64_t count, float *y)
{
    struct tables t = tables_of(kind);
    size_t row_bytes = ig_matmul_row_bytes(w);
    int64_t groups = w->cols / w->group;
    const float *sums = x + (w->cols + 127) / 128 * 128;
    float scales[SPAN_MAX + 16], biases[SPAN_MAX + 16];
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (size_t)(first + i) * row_bytes;
        __m512 sum = _mm512_setzero_ps();
        for (int64_t c = 0; c < w->cols; c += SPAN) {
            int64_t cols = w->cols - c < SPAN ? w->cols - c : SPAN;
            int64_t group = (first + i) * groups + c / w->group, n = cols / w->group;
            load_scales(w, group, n, scales);
            sum = _mm512_add_ps(
                sum, span_dot(kind, p + c * bits_of(kind) / 8, x + c, cols, scales, w->group, t));
            if (kind == FP4) continue;
            load_floats(w->scale_dtype, w->biases, group, n, biases);
            sum = bias_dot(biases, scales, sums + c / w->group, n, (float)half_of(kind), sum);
        }
        y[i] = _mm512_reduce_add_ps(sum);
    }
}

static void matvec_fp8(const struct ig_matrix *w, const float *x, int64_t first, int64_t count,
                       float *y)
{
    float scales[SPAN_MAX + 16];
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (first + i) * w->cols;
        __m512 sum = _mm512_setzero_ps();
        for (int64_t c = 0; c < w->cols; c += 32) {
            if (c % SPAN == 0) {
                int64_t cols = w->cols - c < SPAN ? w->cols - c : SPAN;
                load_scales(w, ((first + i) * w->cols + c) / 32, cols / 32, scales);
            }
            __m256i a = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(p + c)));
            __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(p + c + 16)));
            __m512 dot = _mm512_mul_ps(e4m3_words(a), _mm512_loadu_ps(x + c));
            dot = _mm512_fmadd_ps(e4m3_words(b), _mm512_loadu_ps(x + c + 16), dot);
            sum = _mm512_fmadd_ps(dot, _mm512_set1_ps(scales[c % SPAN / 32]), sum);
        }
        y[i] = _mm512_reduce_add_ps(sum);
    }
}

/* 16 plain floats at element c of a row, those behind its end as zeros. */
INLINE __m512 plain_load(enum ig_packing packing, const uint8_t *row, int64_t c, __mmask16 m)
{
    if (packing == IG_PACK_F32) return _mm512_maskz_loadu_ps(m, row + 4 * c);
    __m256i half = _mm256_maskz_loadu_epi16(m, row + 2 * c);
    if (packing == IG_PACK_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

INLINE void matvec_plain(enum ig_packing packing, const struct ig_matrix *w, const float *x,
                         int64_t first, int64_t count, float *y)
{
    size_t row_bytes = ig_matmul_row_bytes(w);
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (size_t)(first + i) * row_bytes;
        __m512 sum[4];
        for (int j = 0; j < 4; j++)
            sum[j] = _mm512_setzero_ps();
        int64_t c = 0;
        for (; c + 64 <= w->cols; c += 64)
            UNROLL
        for (int j = 0; j < 4; j++)
            sum[j] = _mm512_fmadd_ps(plain_load(packing, p, c + 16 * j, 0xFFFF),
                                     _mm512_loadu_ps(x + c + 16 * j), sum[j]);
        for (; c < w->cols; c += 16) {
            __mmask16 m = w->cols - c >= 16 ? 0xFFFF : (__mmask16)((1U << (w->cols - c)) - 1);
            sum[0] = _mm512_fmadd_ps(plain_load(packing, p, c, m), _mm512_loadu_ps(x + c), sum[0]);
        }
        y[i] = _mm512_reduce_add_ps(
            _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
    }
}

static enum kind kind_of(const struct ig_matrix *w)
{
    static const enum kind kinds[] = {[2] = Q2, [3] = Q3, [4] = Q4, [5] = Q5, [6] = Q6, [8] = Q8};
    return w->packing == IG_PACK_FP4 ? FP4 : kinds[w->bits];
}

static void matvec(const struct ig_matrix *w, const float *x, int64_t first, int64_t count,
                   float *y)
{
    switch (w->packing) {
    case IG_PACK_F32: matvec_plain(IG_PACK_F32, w, x, first, count, y); return;
    case IG_PACK_F16: matvec_plain(IG_PACK_F16, w, x, first, count, y); return;
    case IG_PACK_BF16: matvec_plain(IG_PACK_BF16, w, x, first, count, y); return;
    case IG_PACK_FP8: matvec_fp8(w, x, first, count, y); return;
    default: break;
    }
    switch (kind_of(w)) {
    // clang-format off
    case Q2: matvec_runs(Q2, w, x, first, count, y); return;
    case Q3: matvec_runs(Q3, w, x, first, count, y); return;
    case Q4: matvec_runs(Q4, w, x, first, count, y); return;
    case Q5: matvec_runs(Q5, w, x, first, count, y); return;
    case Q6: matvec_runs(Q6, w, x, first, count, y); return;
    case Q8: matvec_runs(Q8, w, x, first, count, y); return;
    case FP4: matvec_runs(FP4, w, x, first, count, y); return;
        // clang-format on
    }
}

static void prepare(const struct ig_matrix *w, const float *x, float *operand)
{
    bool packed = w->packing == IG_PACK_AFFINE || w->packing == IG_PACK_FP4;
    ig_matmul_permute(w, x, 16, packed ? run_of(kind_of(w)) : 1, operand);
}

/* ---- unpack ---- */

/* How to take 16 codes out of 2 * bits bytes: which two bytes, and how far to shift them. */
struct picker {
    __m512i bytes, shift, mask;
};

static struct picker picker_of(int bits)
{
    uint32_t bytes[16], shift[16];
    for (unsigned i = 0; i < 16; i++) {
        unsigned at = i * (unsigned)bits / 8;
        bytes[i] = 0xFFFF0000U | (at + 1) % 16 << 8 | at;
        shift[i] = i * (unsigned)bits % 8;
    }
    return (struct picker){_mm512_loadu_si512(bytes), _mm512_loadu_si512(shift),
                           _mm512_set1_epi32((1 << bits) - 1)};
}

static void unpack_codes(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count,
                         float *out)
{
    struct picker pick = picker_of(w->bits);
    struct tables t = tables_of(FP4);
    size_t row_bytes = ig_matmul_row_bytes(w);
    const uint8_t *codes = (const uint8_t *)w->data + (size_t)row * row_bytes;
    float scales[SPAN_MAX + 16], biases[SPAN_MAX + 16];
    __m512 s = _mm512_setzero_ps(), b = s;
    for (int64_t c = 0; c < count; c += 16) {
        if (c % SPAN == 0) {
            int64_t cols = count - c < SPAN ? count - c : SPAN;
            int64_t group = (row * w->cols + first + c) / w->group, n = cols / w->group;
            load_scales(w, group, n, scales);
            if (w->packing == IG_PACK_AFFINE)
                load_floats(w->scale_dtype, w->biases, group, n, biases);
        }
        int64_t g = c % SPAN / w->group;
        s = _mm512_set1_ps(scales[g]);
        size_t at = (size_t)(first + c) * (size_t)w->bits / 8;
        __m128i raw;
        if (at + 16 <= row_bytes) {
            raw = _mm_loadu_si128((const void *)(codes + at));
        } else {
            uint8_t last[16] = {0};
            memcpy(last, codes + at, row_bytes - at);
            raw = _mm_loadu_si128((const void *)last);
        }
        __m512i q = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(raw), pick.bytes);
        q = _mm512_and_si512(_mm512_srlv_epi32(q, pick.shift), pick.mask);
        if (w->packing == IG_PACK_AFFINE) {
            b = _mm512_set1_ps(biases[g]);
            _mm512_storeu_ps(out + c, _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), s, b));
        } else {
            _mm512_storeu_ps(out + c, _mm512_mul_ps(_mm512_permutexvar_ps(q, t.low), s));
        }
    }
}

static void unpack_fp8(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count,
                       float *out)
{
    const uint8_t *p = (const uint8_t *)w->data + row * w->cols + first;
    float scales[SPAN_MAX + 16];
    for (int64_t c = 0; c < count; c += 16) {
        if (c % SPAN == 0) {
            int64_t cols = count - c < SPAN ? count - c : SPAN;
            load_scales(w, (row * w->cols + first + c) / 32, cols / 32, scales);
        }
        __m256i words = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(p + c)));
        _mm512_storeu_ps(out + c,
                         _mm512_mul_ps(e4m3_words(words), _mm512_set1_ps(scales[c % SPAN / 32])));
    }
}

static void unpack(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count, float *out)
{
    if (w->packing == IG_PACK_FP8) {
        unpack_fp8(w, row, first, count, out);
    } else if (w->packing == IG_PACK_AFFINE || w->packing == IG_PACK_FP4) {
        unpack_codes(w, row, first, count, out);
    } else {
        const uint8_t *p = (const uint8_t *)w->data + (size_t)row * ig_matmul_row_bytes(w);
        for (int64_t c = 0; c < count; c += 16) {
            __mmask16 m = count - c >= 16 ? 0xFFFF : (__mmask16)((1U << (count - c)) - 1);
            _mm512_mask_storeu_ps(out + c, m, plain_load(w->packing, p, first + c, m));
        }
    }
}

/* ---- tile ---- */

/* features results for 16 * vectors lanes, all in registers. */
INLINE void tile_of(const struct ig_tile *t, int first, const int features, const int vectors)
{
    __m512 sum[8][3];
    float *y = t->y + (int64_t)first * t->lanes_step;
    const float *w = t->w + first * t->row_step, *x = t->x;
    UNROLL
    for (int n = 0; n < features; n++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sum[n][v] = t->add ? _mm512_load_ps(y + n * t->lanes_step + 16 * v) : _mm512_setzero_ps();
    for (int64_t k = 0; k < t->depth; k++, x += t->lanes_step, w += t->col_step) {
        __m512 xs[3];
        UNROLL
        for (int v = 0; v < vectors; v++)
            xs[v] = _mm512_load_ps(x + 16 * v);
        UNROLL
        for (int n = 0; n < features; n++) {
            __m512 ws = _mm512_set1_ps(w[n * t->row_step]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sum[n][v] = _mm512_fmadd_ps(xs[v], ws, sum[n][v]);
        }
    }
    UNROLL
    for (int n = 0; n < features; n++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        _mm512_store_ps(y + n * t->lanes_step + 16 * v, sum[n][v]);
}

INLINE void tile_vectors(const struct ig_tile *t, const int vectors)
{
    int n = 0;
    for (; n + 8 <= t->features; n += 8)
        tile_of(t, n, 8, vectors);
    for (; n < t->features; n++)
        tile_of(t, n, 1, vectors);
}

static void tile(const struct ig_tile *t)
{
    if (t->lanes == 48)
        tile_vectors(t, 3);
    else if (t->lanes == 32)
        tile_vectors(t, 2);
    else
        tile_vectors(t, 1);
}

INLINE void transpose_16(const float *in, int64_t in_step, float *out, int64_t out_step)
{
    __m512 a[16], b[16];
    UNROLL
    for (int i = 0; i < 16; i++)
        a[i] = _mm512_loadu_ps(in + i * in_step);
    UNROLL
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 16; i += 4)
        UNROLL
    for (int j = 0; j < 2; j++) {
        __m512d low = _mm512_castps_pd(b[i + j]), high = _mm512_castps_pd(b[i + j + 2]);
        a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
        a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
    UNROLL
    for (int i = 0; i < 4; i++) { /* a[4 q + i] holds, in each quarter, column 4 quarter + i */
        __m512 low = _mm512_shuffle_f32x4(a[i], a[4 + i], 0x44);
        __m512 high = _mm512_shuffle_f32x4(a[i], a[4 + i], 0xEE);
        __m512 low2 = _mm512_shuffle_f32x4(a[8 + i], a[12 + i], 0x44);
        __m512 high2 = _mm512_shuffle_f32x4(a[8 + i], a[12 + i], 0xEE);
        _mm512_storeu_ps(out + i * out_step, _mm512_shuffle_f32x4(low, low2, 0x88));
        _mm512_storeu_ps(out + (4 + i) * out_step, _mm512_shuffle_f32x4(low, low2, 0xDD));
        _mm512_storeu_ps(out + (8 + i) * out_step, _mm512_shuffle_f32x4(high, high2, 0x88));
        _mm512_storeu_ps(out + (12 + i) * out_step, _mm512_shuffle_f32x4(high, high2, 0xDD));
    }
}

static void transpose(const float *in, int64_t in_step, int64_t rows, int64_t cols, float *out,
                      int64_t out_step)
{
    for (int64_t r = 0; r < rows; r += 16)
        for (int64_t c = 0; c < cols; c += 16) {
            if (r + 16 <= rows && c + 16 <= cols) {
                transpose_16(in + r * in_step + c, in_step, out + c * out_step + r, out_step);
                continue;
            }
            for (int64_t i = r; i < rows && i < r + 16; i++)
                for (int64_t j = c; j < cols && j < c + 16; j++)
                    out[j * out_step + i] = in[i * in_step + j];
        }
}

void ig_matmul_avx512(struct ig_matmul_ops *ops)
{
    *ops = (struct ig_matmul_ops){prepare, matvec, unpack, transpose, tile, LANES};
}
