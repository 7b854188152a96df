/* SPDX-License-Identifier: Apache-2.0
 * avx512 matmul — Packed codes are first spread so that each 32-bit lane starts with its own run of
 * codes; x is permuted once to match:
 *   runs of 8 (2, 3, 4 bits, fp4; block of 128): lane l, step j holds element 8 l + j;
 *   runs of 4 (5, 6, 8 bits;      block of  64): lane l, step j holds element 4 l + j.
 * A lane's run never crosses a group, so a block's sum is scaled lane by lane. The scales of 16
 * groups wait in a register: a permute by the lanes' group numbers hands them out.
 *
 * A code q at bit p of a lane becomes a float without a conversion: masked, and with the exponent
 * of 2^(23 - p) put over it, it is 2^(23 - p) + q; one subtraction gives q - half, exactly. (And-or
 * and subtraction run on other ports than the multiplication; shifts, permutes and conversions do
 * not.) half = 2^(bits - 1) is taken off because s q and b nearly cancel, and would after rounding
 * otherwise; the group's bias is b + s half. fp4 goes through a permute of its 16 values, which
 * looks at the low 4 bits of a lane only. */
#include "tensor/kernels/avx512/avx512_lanes.h"

#define LANES 48

enum kind { Q2, Q3, Q4, Q5, Q6, Q8, FP4 };

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
    if (kind == Q4 || kind == FP4 || kind == Q8) return _mm512_loadu_si512(p);
    if (kind == Q5) {
        __m512i words = load_bytes(40, p); /* 40 bytes; 10 for each quarter */
        words = _mm512_permutexvar_epi16(_mm512_set_epi16(0, 0, 0, 19, 18, 17, 16, 15, 0, 0, 0, 14,
                                                          13, 12, 11, 10, 0, 0, 0, 9, 8, 7, 6, 5, 0,
                                                          0, 0, 4, 3, 2, 1, 0),
                                         words);
        __m512i lanes =
            _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(_mm_setr_epi8(
                                           0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1)));
        return _mm512_srlv_epi32(lanes, _mm512_broadcast_i32x4(_mm_setr_epi32(0, 4, 0, 4)));
    }
    __m512i words = load_bytes(48, p); /* 48 bytes; 3 for each lane */
    words = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10, 11, 0), words);
    return _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(_mm_setr_epi8(
                                          0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1)));
}

INLINE __m512 fp4_values(void)
{
    return _mm512_setr_ps(0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F, -0.0F, -0.5F, -1.0F,
                          -1.5F, -2.0F, -3.0F, -4.0F, -6.0F);
}

/* Code j of each lane's run as a float, less half. Codes of the second half of a run come from
 * `high`, the run shifted down by half its bits: so that all are within the 23 of a mantissa. */
INLINE __m512 decode(enum kind kind, __m512i low, __m512i high, int j)
{
    int bits = bits_of(kind), half = run_of(kind) / 2, p = j % half * bits;
    if (kind == FP4)
        return _mm512_permutexvar_ps(_mm512_srli_epi32(low, (unsigned)(4 * j)), fp4_values());
    __m512i mask = _mm512_set1_epi32(((1 << bits) - 1) << p);
    __m512i exponent = _mm512_set1_epi32((127 + 23 - p) << 23);
    float above = (float)(1 << (23 - p)) + (float)half_of(kind);
    /* v and mask, or exponent */
    __m512i v = _mm512_ternarylogic_epi32(j < half ? low : high, mask, exponent, 0xEA);
    return _mm512_sub_ps(_mm512_castsi512_ps(v), _mm512_set1_ps(above));
}

/* The sum of one block: run_of vectors of x against as many codes in each lane. */
INLINE __m512 block_dot(enum kind kind, const uint8_t *p, const float *x)
{
    __m512i v = spread(kind, p);
    __m512i high = _mm512_srli_epi32(v, (unsigned)(run_of(kind) / 2 * bits_of(kind)));
    __m512 sum = _mm512_mul_ps(decode(kind, v, high, 0), _mm512_loadu_ps(x));
    UNROLL
    for (int j = 1; j < run_of(kind); j++)
        sum = _mm512_fmadd_ps(decode(kind, v, high, j), _mm512_loadu_ps(x + 16 * j), sum);
    return sum;
}

/* The group in which each lane's run lies, counted from a multiple of 16 groups; for blocks of 64
 * in two halves of 128 elements. */
struct owner {
    __m512i low, high, step;
};

INLINE struct owner owner_of(enum kind kind, int group)
{
    __m128i shift = _mm_cvtsi32_si128(__builtin_ctz((unsigned)group));
    __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    first = _mm512_slli_epi32(first, run_of(kind) == 8 ? 3 : 2);
    __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(64));
    return (struct owner){_mm512_srl_epi32(first, shift), _mm512_srl_epi32(second, shift),
                          _mm512_set1_epi32(128 / group)};
}

/* 128 elements, scaled. A permute looks at 4 bits of a group's number. */
INLINE __m512 pair_dot(enum kind kind, const uint8_t *p, const float *x, struct owner *owner,
                       __m512 scales, __m512 sum)
{
    __m512 scale = _mm512_permutexvar_ps(owner->low, scales);
    sum = _mm512_fmadd_ps(block_dot(kind, p, x), scale, sum);
    owner->low = _mm512_add_epi32(owner->low, owner->step);
    if (run_of(kind) == 8) return sum;
    scale = _mm512_permutexvar_ps(owner->high, scales);
    sum = _mm512_fmadd_ps(block_dot(kind, p + 8 * bits_of(kind), x + 64), scale, sum);
    owner->high = _mm512_add_epi32(owner->high, owner->step);
    return sum;
}

/* A row of codes times x. */
INLINE float row_dot(enum kind kind, const struct ig_matrix *w, const float *x, int64_t row)
{
    const int64_t cols = w->cols, whole = cols / 128 * 128, groups = cols / w->group;
    const int bytes = 16 * bits_of(kind); /* of 128 elements */
    const uint8_t *p = (const uint8_t *)w->data + row * (cols * bits_of(kind) / 8);
    const float *sums = x + (cols + 127) / 128 * 128;
    struct owner owner = owner_of(kind, w->group);
    __m512 sum = _mm512_setzero_ps(), biased = sum, scales = sum;
    int64_t c = 0;
    for (int64_t g = 0; g < groups; g += 16) {
        __mmask16 m = lanes_of(groups - g);
        scales = load_scales(w, row * groups + g, m);
        if (kind != FP4) {
            __m512 b = plain_load(w->scale_dtype, w->biases, row * groups + g, m);
            b = _mm512_fmadd_ps(scales, _mm512_set1_ps((float)half_of(kind)), b);
            biased = _mm512_fmadd_ps(b, _mm512_loadu_ps(sums + g), biased);
        }
        int64_t end = (g + 16) * w->group < whole ? (g + 16) * w->group : whole;
        for (; c < end; c += 128, p += bytes) {
            fetch_ahead(p, (size_t)bytes);
            sum = pair_dot(kind, p, x + c, &owner, scales, sum);
        }
    }
    if (c < cols) { /* x is zero behind its end, whatever code 0 means */
        uint8_t last[128] = {0};
        memcpy(last, p, (size_t)(cols - c) * (size_t)bits_of(kind) / 8);
        sum = pair_dot(kind, last, x + c, &owner, scales, sum);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum, biased));
}

INLINE void matvec_runs(enum kind kind, const struct ig_matrix *w, const float *x, int64_t first,
                        int64_t count, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = row_dot(kind, w, x, first + i);
}

static void matvec_fp8(const struct ig_matrix *w, const float *x, int64_t first, int64_t count,
                       float *y)
{
    const int64_t groups = w->cols / 32;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (first + i) * w->cols;
        __m512 sum = _mm512_setzero_ps(), scales = sum;
        for (int64_t g = 0; g < groups; g++, p += 32) {
            if (g % 16 == 0)
                scales = load_scales(w, (first + i) * groups + g, lanes_of(groups - g));
            fetch_ahead(p, 32);
            __m256i a = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
            __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(p + 16)));
            __m512 dot = _mm512_mul_ps(e4m3_words(a), _mm512_loadu_ps(x + 32 * g));
            dot = _mm512_fmadd_ps(e4m3_words(b), _mm512_loadu_ps(x + 32 * g + 16), dot);
            __m512 scale = _mm512_permutexvar_ps(_mm512_set1_epi32((int)g), scales);
            sum = _mm512_fmadd_ps(dot, scale, sum);
        }
        y[i] = _mm512_reduce_add_ps(sum);
    }
}

static enum ig_dtype plain_dtype(const struct ig_matrix *w)
{
    return w->packing == IG_PACK_F32 ? IG_F32 : w->packing == IG_PACK_F16 ? IG_F16 : IG_BF16;
}

INLINE void matvec_plain(enum ig_dtype dtype, const struct ig_matrix *w, const float *x,
                         int64_t first, int64_t count, float *y)
{
    const size_t row_bytes = ig_matmul_row_bytes(w), size = dtype == IG_F32 ? 4 : 2;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (size_t)(first + i) * row_bytes;
        __m512 sum[4];
        for (int j = 0; j < 4; j++)
            sum[j] = _mm512_setzero_ps();
        int64_t c = 0;
        for (; c + 64 <= w->cols; c += 64) {
            fetch_ahead(p + (size_t)c * size, 64 * size);
            UNROLL
            for (int j = 0; j < 4; j++)
                sum[j] = _mm512_fmadd_ps(plain_load(dtype, p, c + 16 * j, 0xFFFF),
                                         _mm512_loadu_ps(x + c + 16 * j), sum[j]);
        }
        for (; c < w->cols; c += 16) {
            __mmask16 m = lanes_of(w->cols - c);
            sum[0] = _mm512_fmadd_ps(plain_load(dtype, p, c, m), _mm512_loadu_ps(x + c), sum[0]);
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
    case IG_PACK_F32: matvec_plain(IG_F32, w, x, first, count, y); return;
    case IG_PACK_F16: matvec_plain(IG_F16, w, x, first, count, y); return;
    case IG_PACK_BF16: matvec_plain(IG_BF16, w, x, first, count, y); return;
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

/* Elements 0, 2, 4 .. of two vectors, then 1, 3, 5 ... */
INLINE void part(__m512 a, __m512 b, __m512 *even, __m512 *odd)
{
    const __m512i index =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, index, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(index, _mm512_set1_epi32(1)), b);
}

/* All even elements of 16 * n, then all odd ones: the lowest bit of an index becomes its highest.
 */
INLINE void unshuffle(const __m512 *in, int n, __m512 *out)
{
    UNROLL
    for (int i = 0; i < n / 2; i++)
        part(in[2 * i], in[2 * i + 1], &out[i], &out[n / 2 + i]);
}

/* out[16 j + l] = x[run l + j] */
INLINE void permute_block(const float *x, int run, float *out)
{
    __m512 a[8], b[8];
    UNROLL
    for (int i = 0; i < 8; i++)
        a[i] = i < run ? _mm512_loadu_ps(x + 16 * i) : _mm512_setzero_ps();
    unshuffle(a, run, b);
    unshuffle(b, run, a);
    if (run == 8) unshuffle(a, run, b);
    UNROLL
    for (int j = 0; j < run; j++)
        _mm512_storeu_ps(out + 16 * j, run == 8 ? b[j] : a[j]);
}

static void group_sums(const float *x, int64_t groups, int group, float *out)
{
    for (int64_t g = 0; g < groups; g++) {
        __m512 sum = _mm512_loadu_ps(x + g * group);
        for (int i = 16; i < group; i += 16)
            sum = _mm512_add_ps(sum, _mm512_loadu_ps(x + g * group + i));
        out[g] = _mm512_reduce_add_ps(sum);
    }
    _mm512_storeu_ps(out + groups, _mm512_setzero_ps());
}

static void prepare(const struct ig_matrix *w, const float *x, float *operand)
{
    bool packed = w->packing == IG_PACK_AFFINE || w->packing == IG_PACK_FP4;
    int64_t padded = (w->cols + 127) / 128 * 128, c = 0;
    int run = packed ? run_of(kind_of(w)) : 0;
    for (; run == 8 && c + 128 <= w->cols; c += 128)
        permute_block(x + c, 8, operand + c);
    for (; run == 4 && c + 64 <= w->cols; c += 64)
        permute_block(x + c, 4, operand + c);
    memset(operand + c, 0, (size_t)(padded - c) * sizeof *operand);
    for (int64_t i = c; i < w->cols; i++)
        operand[run ? c + (i - c) % run * 16 + (i - c) / run : i] = x[i];
    if (w->packing == IG_PACK_AFFINE) group_sums(x, w->cols / w->group, w->group, operand + padded);
}

/* ---- unpack ---- */

/* How to take 16 codes out of 2 * bits bytes: which two bytes, and how far to shift them. */
#define AT(b, i)      (0xFFFF0000U | ((i) * (b) / 8 + 1) % 16 << 8 | (i) * (b) / 8)
#define OFF(b, i)     ((i) * (b) % 8)
#define FOUR(f, b, i) f(b, i), f(b, (i) + 1U), f(b, (i) + 2U), f(b, (i) + 3U)
#define ALL(f, b)                                                                                  \
    {                                                                                              \
        FOUR(f, b, 0U), FOUR(f, b, 4U), FOUR(f, b, 8U), FOUR(f, b, 12U)                            \
    }

static const struct picker {
    uint32_t bytes[16], shift[16];
} pickers[] = {
    [2] = {ALL(AT, 2), ALL(OFF, 2)}, [3] = {ALL(AT, 3), ALL(OFF, 3)},
    [4] = {ALL(AT, 4), ALL(OFF, 4)}, [5] = {ALL(AT, 5), ALL(OFF, 5)},
    [6] = {ALL(AT, 6), ALL(OFF, 6)}, [8] = {ALL(AT, 8), ALL(OFF, 8)},
};

static void unpack_codes(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count,
                         float *out)
{
    const __m512i bytes = _mm512_loadu_si512(pickers[w->bits].bytes);
    const __m512i shift = _mm512_loadu_si512(pickers[w->bits].shift);
    const __m512i mask = _mm512_set1_epi32((1 << w->bits) - 1);
    const __m512 values = fp4_values();
    const bool affine = w->packing == IG_PACK_AFFINE;
    const size_t row_bytes = ig_matmul_row_bytes(w), step = (size_t)w->bits * 2;
    const uint8_t *codes = (const uint8_t *)w->data + (size_t)row * row_bytes;
    const int64_t groups = count / w->group, group = (row * w->cols + first) / w->group;
    size_t at = (size_t)first * (size_t)w->bits / 8;
    __m512 scales = _mm512_setzero_ps(), biases = scales;
    for (int64_t g = 0; g < groups; g++) {
        if (g % 16 == 0) {
            scales = load_scales(w, group + g, lanes_of(groups - g));
            if (affine)
                biases = plain_load(w->scale_dtype, w->biases, group + g, lanes_of(groups - g));
        }
        __m512 s = _mm512_permutexvar_ps(_mm512_set1_epi32((int)g), scales);
        __m512 b = _mm512_permutexvar_ps(_mm512_set1_epi32((int)g), biases);
        for (int i = 0; i < w->group; i += 16, at += step, out += 16) {
            uint8_t last[16] = {0};
            const uint8_t *p = codes + at;
            if (at + 16 > row_bytes) p = memcpy(last, p, row_bytes - at);
            __m512i q = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)p));
            q = _mm512_srlv_epi32(_mm512_shuffle_epi8(q, bytes), shift);
            if (affine) {
                q = _mm512_and_si512(q, mask);
                _mm512_storeu_ps(out, _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), s, b));
            } else {
                _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_permutexvar_ps(q, values), s));
            }
        }
    }
}

static void unpack_fp8(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count,
                       float *out)
{
    const uint8_t *p = (const uint8_t *)w->data + row * w->cols + first;
    const int64_t groups = count / 32, group = (row * w->cols + first) / 32;
    __m512 scales = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; g++) {
        if (g % 16 == 0) scales = load_scales(w, group + g, lanes_of(groups - g));
        __m512 s = _mm512_permutexvar_ps(_mm512_set1_epi32((int)g), scales);
        for (int i = 0; i < 32; i += 16) {
            __m128i raw = _mm_loadu_si128((const void *)(p + 32 * g + i));
            __m512 values = e4m3_words(_mm256_cvtepi8_epi16(raw));
            _mm512_storeu_ps(out + 32 * g + i, _mm512_mul_ps(values, s));
        }
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
            __mmask16 m = lanes_of(count - c);
            _mm512_mask_storeu_ps(out + c, m, plain_load(plain_dtype(w), p, first + c, m));
        }
    }
}

/* ---- tile ---- */

/* features results for 16 * vectors lanes, all in registers: up to 8 rows of 3. Registers have
 * names, since clang 14 keeps arrays in memory when it unrolls loops over them too late. */
// clang-format off
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define NAME(n)  __m512 a##n = _mm512_setzero_ps(), b##n = a##n, c##n = a##n;
#define LOAD(n)                                                                                    \
    if (n < features) {                                                                            \
        a##n = _mm512_load_ps(y + n * step);                                                       \
        if (vectors > 1) b##n = _mm512_load_ps(y + n * step + 16);                                 \
        if (vectors > 2) c##n = _mm512_load_ps(y + n * step + 32);                                 \
    }
#define MULTIPLY(n)                                                                                \
    if (n < features) {                                                                            \
        __m512 ws = _mm512_set1_ps(w[n * t->row_step]);                                            \
        a##n = _mm512_fmadd_ps(x0, ws, a##n);                                                      \
        if (vectors > 1) b##n = _mm512_fmadd_ps(x1, ws, b##n);                                     \
        if (vectors > 2) c##n = _mm512_fmadd_ps(x2, ws, c##n);                                     \
    }
#define STORE(n)                                                                                   \
    if (n < features) {                                                                            \
        _mm512_store_ps(y + n * step, a##n);                                                       \
        if (vectors > 1) _mm512_store_ps(y + n * step + 16, b##n);                                 \
        if (vectors > 2) _mm512_store_ps(y + n * step + 32, c##n);                                 \
    }
// clang-format on

INLINE void tile_of(const struct ig_tile *t, int first, const int features, const int vectors)
{
    const int64_t step = t->lanes_step;
    float *y = t->y + first * step;
    const float *w = t->w + first * t->row_step, *x = t->x;
    EACH(NAME)
    if (t->add) {
        EACH(LOAD)
    }
    for (int64_t k = 0; k < t->depth; k++, x += step, w += t->col_step) {
        __m512 x0 = _mm512_load_ps(x), x1 = x0, x2 = x0;
        if (vectors > 1) x1 = _mm512_load_ps(x + 16);
        if (vectors > 2) x2 = _mm512_load_ps(x + 32);
        EACH(MULTIPLY)
    }
    EACH(STORE)
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
