/* SPDX-License-Identifier: Apache-2.0
 * avx2 matmul — Packed codes are first spread so that each 32-bit lane starts with its own run of
 * codes, then shifted one code at a time; x is permuted once to match:
 *   runs of 8 (2, 3, 4 bits, fp4; block of 64): lane l, step j holds element 8 l + j;
 *   runs of 4 (5, 6, 8 bits;      block of 32): lane l, step j holds element 4 l + j.
 * A lane's run never crosses a group, so a block's sum is scaled lane by lane. Codes of 2 and 3
 * bits become floats by a permute of an 8 entry table; wider ones are shifted to the top of the
 * lane and down again with their sign; e2m1 goes through a byte table in the top byte.
 *
 * Affine codes are taken as q - 2^(bits-1), and biases as b + s 2^(bits-1): the large terms s q and
 * b cancel, and would cancel after rounding otherwise. */
#include "tensor/kernels/avx2/avx2_lanes.h"

#define LANES    16
#define SPAN     2048 /* columns whose scales are converted at a time: at most 128 of them */
#define SPAN_MAX 128

enum kind { Q2, Q3, Q4, Q5, Q6, Q8, FP4 };

/* Scales or biases [first, first + count) as f32, zeros up to a vector behind them. */
static void load_floats(enum ig_dtype dtype, const void *data, int64_t first, int64_t count,
                        float *out)
{
    size_t size = ig_dtype_bytes(dtype);
    const uint8_t *p = (const uint8_t *)data + (size_t)first * size;
    for (int64_t i = 0; i < count; i += 8)
        _mm256_storeu_ps(out + i, plain_load(dtype, p + (size_t)i * size, count - i));
    _mm256_storeu_ps(out + count, _mm256_setzero_ps());
}

static void load_scales(const struct ig_matrix *w, int64_t first, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i += 8)
        _mm256_storeu_ps(out + i, scales_8(w, first + i, count - i));
    _mm256_storeu_ps(out + count, _mm256_setzero_ps());
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

/* Two 16-byte loads that end where the block ends. */
INLINE __m256i load_halves(const uint8_t *p, int second)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)p)),
                                   _mm_loadu_si128((const void *)(p + second)), 1);
}

/* One block of codes, a run in each lane; from 4 bits up with the top bit of each code flipped,
 * which makes it the signed number q - half. */
INLINE __m256i spread(enum kind kind, const uint8_t *p)
{
    if (kind == Q2) return _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
    if (kind == Q4 || kind == FP4 || kind == Q8) {
        __m256i v = _mm256_loadu_si256((const void *)p);
        if (kind == Q4) return _mm256_xor_si256(v, _mm256_set1_epi32((int)0x88888888));
        if (kind == Q8) return _mm256_xor_si256(v, _mm256_set1_epi32((int)0x80808080));
        return v;
    }
    if (kind == Q5) { /* 20 bytes: 10 for each half */
        __m256i v = _mm256_shuffle_epi8(load_halves(p, 4),
                                        _mm256_setr_epi8(0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7,
                                                         8, 9, -1, 6, 7, 8, -1, 8, 9, 10, -1, 11,
                                                         12, 13, -1, 13, 14, 15, -1));
        v = _mm256_srlv_epi32(v, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
        return _mm256_xor_si256(v, _mm256_set1_epi32(0x84210)); /* bits 4, 9, 14, 19 */
    }
    /* 24 bytes: 12 for each half, 3 for each lane */
    __m256i v = _mm256_shuffle_epi8(
        load_halves(p, 8), _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, 4,
                                            5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1));
    return kind == Q6 ? _mm256_xor_si256(v, _mm256_set1_epi32(0x820820)) : v;
}

struct tables {
    __m256 floats; /* 2 and 3 bits: q - half */
    __m256i bytes; /* fp4: twice the value */
};

INLINE struct tables tables_of(enum kind kind)
{
    struct tables t;
    t.floats = kind == Q2 ? _mm256_setr_ps(-2, -1, 0, 1, -2, -1, 0, 1)
                          : _mm256_setr_ps(-4, -3, -2, -1, 0, 1, 2, 3);
    t.bytes = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
    return t;
}

/* Code j of each lane's run, as a float; of fp4 2^25 times it. */
INLINE __m256 decode(enum kind kind, __m256i v, int j, const struct tables *t)
{
    int bits = bits_of(kind), at = j * bits;
    if (kind == Q2 || kind == Q3)
        return _mm256_permutevar8x32_ps(t->floats, at ? _mm256_srli_epi32(v, at) : v);
    if (kind == FP4) {
        v = at < 24 ? _mm256_slli_epi32(v, 24 - at) : _mm256_srli_epi32(v, at - 24);
        v = _mm256_and_si256(v, _mm256_set1_epi32(0x0F000000));
        return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(t->bytes, v));
    }
    v = _mm256_slli_epi32(v, 32 - bits - at);
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(v, 32 - bits));
}

/* The sum of one block: run_of vectors of x against as many codes in each lane. */
INLINE __m256 block_dot(enum kind kind, const uint8_t *p, const float *x, const struct tables *t)
{
    __m256i v = spread(kind, p);
    __m256 even = _mm256_mul_ps(decode(kind, v, 0, t), _mm256_loadu_ps(x));
    __m256 odd = _mm256_mul_ps(decode(kind, v, 1, t), _mm256_loadu_ps(x + 8));
    UNROLL
    for (int j = 2; j < run_of(kind); j += 2) {
        even = _mm256_fmadd_ps(decode(kind, v, j, t), _mm256_loadu_ps(x + 8 * j), even);
        odd = _mm256_fmadd_ps(decode(kind, v, j + 1, t), _mm256_loadu_ps(x + 8 * j + 8), odd);
    }
    return _mm256_add_ps(even, odd);
}

/* Codes of columns [0, cols) from p on, scaled; cols up to SPAN. */
INLINE __m256 span_dot(enum kind kind, const uint8_t *p, const float *x, int64_t cols,
                       const float *scales, int group, const struct tables *t)
{
    int block = run_of(kind) * 8, bytes = block * bits_of(kind) / 8;
    int shift = __builtin_ctz((unsigned)group), run_shift = run_of(kind) == 8 ? 3 : 2;
    __m256i owner = _mm256_srl_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                     _mm_cvtsi32_si128(shift - run_shift));
    __m256 sum = _mm256_setzero_ps();
    int64_t c = 0;
    for (; c + block <= cols; c += block, p += bytes) {
        fetch_ahead(p, (size_t)bytes);
        __m256 four = _mm256_castps128_ps256(_mm_loadu_ps(scales + (c >> shift)));
        __m256 scale = _mm256_permutevar8x32_ps(four, owner);
        sum = _mm256_fmadd_ps(block_dot(kind, p, x + c, t), scale, sum);
    }
    if (c < cols) {
        uint8_t last[32] = {0}; /* x is zero behind its end, whatever code 0 means */
        memcpy(last, p, (size_t)(cols - c) * (size_t)bits_of(kind) / 8);
        __m256 four = _mm256_castps128_ps256(_mm_loadu_ps(scales + (c >> shift)));
        __m256 scale = _mm256_permutevar8x32_ps(four, owner);
        sum = _mm256_fmadd_ps(block_dot(kind, last, x + c, t), scale, sum);
    }
    return kind == FP4 ? _mm256_mul_ps(sum, _mm256_set1_ps(0x1p-25F)) : sum;
}

/* Sum of (b + s half) times the sum of x over the group. */
INLINE __m256 bias_dot(const float *biases, const float *scales, const float *sums, int64_t count,
                       float half, __m256 sum)
{
    for (int64_t i = 0; i < count; i += 8) { /* zeros behind all ends */
        __m256 b = _mm256_fmadd_ps(_mm256_loadu_ps(scales + i), _mm256_set1_ps(half),
                                   _mm256_loadu_ps(biases + i));
        sum = _mm256_fmadd_ps(b, _mm256_loadu_ps(sums + i), sum);
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
    float scales[SPAN_MAX + 8], biases[SPAN_MAX + 8];
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (size_t)(first + i) * row_bytes;
        __m256 sum = _mm256_setzero_ps();
        for (int64_t c = 0; c < w->cols; c += SPAN) {
            int64_t cols = w->cols - c < SPAN ? w->cols - c : SPAN;
            int64_t group = (first + i) * groups + c / w->group, n = cols / w->group;
            load_scales(w, group, n, scales);
            sum = _mm256_add_ps(
                sum, span_dot(kind, p + c * bits_of(kind) / 8, x + c, cols, scales, w->group, &t));
            if (kind == FP4) continue;
            load_floats(w->scale_dtype, w->biases, group, n, biases);
            sum = bias_dot(biases, scales, sums + c / w->group, n, (float)half_of(kind), sum);
        }
        y[i] = sum_of(sum);
    }
}

static void matvec_fp8(const struct ig_matrix *w, const float *x, int64_t first, int64_t count,
                       float *y)
{
    float scales[SPAN_MAX + 8];
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (first + i) * w->cols;
        __m256 sum = _mm256_setzero_ps();
        for (int64_t c = 0; c < w->cols; c += 32) {
            if (c % SPAN == 0) {
                int64_t cols = w->cols - c < SPAN ? w->cols - c : SPAN;
                load_scales(w, ((first + i) * w->cols + c) / 32, cols / 32, scales);
            }
            __m256 dot = _mm256_setzero_ps();
            fetch_ahead(p + c, 32);
            UNROLL
            for (int j = 0; j < 32; j += 8) {
                __m128i words = _mm_cvtepi8_epi16(_mm_loadl_epi64((const void *)(p + c + j)));
                dot = _mm256_fmadd_ps(e4m3_words(words), _mm256_loadu_ps(x + c + j), dot);
            }
            sum = _mm256_fmadd_ps(dot, _mm256_set1_ps(scales[c % SPAN / 32]), sum);
        }
        y[i] = sum_of(sum);
    }
}

INLINE void matvec_plain(enum ig_dtype dtype, const struct ig_matrix *w, const float *x,
                         int64_t first, int64_t count, float *y)
{
    size_t row_bytes = ig_matmul_row_bytes(w), size = dtype == IG_F32 ? 4 : 2;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (size_t)(first + i) * row_bytes;
        __m256 sum[4];
        for (int j = 0; j < 4; j++)
            sum[j] = _mm256_setzero_ps();
        int64_t c = 0;
        for (; c + 32 <= w->cols; c += 32) {
            fetch_ahead(p + (size_t)c * size, 32 * size);
            UNROLL
            for (int j = 0; j < 4; j++)
                sum[j] = _mm256_fmadd_ps(plain_load(dtype, p + (size_t)(c + 8 * j) * size, 8),
                                         _mm256_loadu_ps(x + c + 8 * j), sum[j]);
        }
        for (; c < w->cols; c += 8)
            sum[0] = _mm256_fmadd_ps(plain_load(dtype, p + (size_t)c * size, w->cols - c),
                                     _mm256_loadu_ps(x + c), sum[0]);
        y[i] = sum_of(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
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

static void prepare(const struct ig_matrix *w, const float *x, float *operand)
{
    bool packed = w->packing == IG_PACK_AFFINE || w->packing == IG_PACK_FP4;
    ig_matmul_permute(w, x, 8, packed ? run_of(kind_of(w)) : 1, operand);
}

/* ---- unpack ---- */

/* How to take 8 codes out of 2 * bits bytes: which two bytes, and how far to shift them. */
struct picker {
    __m256i bytes, shift, mask;
};

static struct picker picker_of(int bits, unsigned first)
{
    uint32_t bytes[8], shift[8];
    for (unsigned i = 0; i < 8; i++) {
        unsigned at = (first + i) * (unsigned)bits / 8;
        bytes[i] = 0xFFFF0000U | (at + 1) % 16 << 8 | at;
        shift[i] = (first + i) * (unsigned)bits % 8;
    }
    return (struct picker){_mm256_loadu_si256((const void *)bytes),
                           _mm256_loadu_si256((const void *)shift),
                           _mm256_set1_epi32((1 << bits) - 1)};
}

INLINE __m256i pick(__m256i raw, struct picker p)
{
    return _mm256_and_si256(_mm256_srlv_epi32(_mm256_shuffle_epi8(raw, p.bytes), p.shift), p.mask);
}

/* 8 codes as floats: affine's s q + b, or fp4's values times s. */
INLINE void put_codes(const struct ig_matrix *w, __m256i q, __m256 s, __m256 b,
                      const struct tables *t, float *out)
{
    if (w->packing == IG_PACK_AFFINE) {
        _mm256_storeu_ps(out, _mm256_fmadd_ps(_mm256_cvtepi32_ps(q), s, b));
        return;
    }
    __m256i twice = _mm256_shuffle_epi8(t->bytes, _mm256_slli_epi32(q, 24));
    s = _mm256_mul_ps(s, _mm256_set1_ps(0x1p-25F));
    _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_cvtepi32_ps(twice), s));
}

static void unpack_codes(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count,
                         float *out)
{
    struct picker low = picker_of(w->bits, 0), high = picker_of(w->bits, 8);
    struct tables t = tables_of(FP4);
    size_t row_bytes = ig_matmul_row_bytes(w);
    const uint8_t *codes = (const uint8_t *)w->data + (size_t)row * row_bytes;
    float scales[SPAN_MAX + 8], biases[SPAN_MAX + 8] = {0};
    for (int64_t c = 0; c < count; c += 16) {
        if (c % SPAN == 0) {
            int64_t cols = count - c < SPAN ? count - c : SPAN;
            int64_t group = (row * w->cols + first + c) / w->group, n = cols / w->group;
            load_scales(w, group, n, scales);
            if (w->packing == IG_PACK_AFFINE)
                load_floats(w->scale_dtype, w->biases, group, n, biases);
        }
        int64_t g = c % SPAN / w->group;
        __m256 s = _mm256_set1_ps(scales[g]), b = _mm256_set1_ps(biases[g]);
        size_t at = (size_t)(first + c) * (size_t)w->bits / 8;
        uint8_t last[16] = {0};
        const uint8_t *p = codes + at;
        if (at + 16 > row_bytes) p = memcpy(last, codes + at, row_bytes - at);
        __m256i raw = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)p));
        put_codes(w, pick(raw, low), s, b, &t, out + c);
        put_codes(w, pick(raw, high), s, b, &t, out + c + 8);
    }
}

static void unpack_fp8(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count,
                       float *out)
{
    const uint8_t *p = (const uint8_t *)w->data + row * w->cols + first;
    float scales[SPAN_MAX + 8];
    for (int64_t c = 0; c < count; c += 8) {
        if (c % SPAN == 0) {
            int64_t cols = count - c < SPAN ? count - c : SPAN;
            load_scales(w, (row * w->cols + first + c) / 32, cols / 32, scales);
        }
        __m128i words = _mm_cvtepi8_epi16(_mm_loadl_epi64((const void *)(p + c)));
        __m256 s = _mm256_set1_ps(scales[c % SPAN / 32]);
        _mm256_storeu_ps(out + c, _mm256_mul_ps(e4m3_words(words), s));
    }
}

static void unpack(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count, float *out)
{
    if (w->packing == IG_PACK_FP8) {
        unpack_fp8(w, row, first, count, out);
        return;
    }
    if (w->packing == IG_PACK_AFFINE || w->packing == IG_PACK_FP4) {
        unpack_codes(w, row, first, count, out);
        return;
    }
    enum ig_dtype dtype = w->packing == IG_PACK_F32   ? IG_F32
                          : w->packing == IG_PACK_F16 ? IG_F16
                                                      : IG_BF16;
    size_t size = dtype == IG_F32 ? 4 : 2;
    const uint8_t *p = (const uint8_t *)w->data + (size_t)row * ig_matmul_row_bytes(w);
    int64_t c = 0;
    for (; c + 8 <= count; c += 8)
        _mm256_storeu_ps(out + c, plain_load(dtype, p + (size_t)(first + c) * size, 8));
    if (c < count) {
        float last[8];
        _mm256_storeu_ps(last, plain_load(dtype, p + (size_t)(first + c) * size, count - c));
        memcpy(out + c, last, (size_t)(count - c) * sizeof *out);
    }
}

/* ---- tile ---- */

/* features results for 16 lanes, all in registers: up to 6 rows of 2. Registers have names, since
 * clang 14 keeps arrays in memory when it unrolls loops over them too late. */
// clang-format off
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define NAME(n)  __m256 a##n = _mm256_setzero_ps(), b##n = a##n;
#define LOAD(n)                                                                                    \
    if (n < features) {                                                                            \
        a##n = _mm256_load_ps(y + n * step);                                                       \
        b##n = _mm256_load_ps(y + n * step + 8);                                                   \
    }
#define MULTIPLY(n)                                                                                \
    if (n < features) {                                                                            \
        __m256 ws = _mm256_broadcast_ss(w + n * t->row_step);                                      \
        a##n = _mm256_fmadd_ps(x0, ws, a##n);                                                      \
        b##n = _mm256_fmadd_ps(x1, ws, b##n);                                                      \
    }
#define STORE(n)                                                                                   \
    if (n < features) {                                                                            \
        _mm256_store_ps(y + n * step, a##n);                                                       \
        _mm256_store_ps(y + n * step + 8, b##n);                                                   \
    }
// clang-format on

INLINE void tile_of(const struct ig_tile *t, int first, int lane, const int features)
{
    const int64_t step = t->lanes_step;
    float *y = t->y + first * step + lane;
    const float *w = t->w + first * t->row_step, *x = t->x + lane;
    EACH(NAME)
    if (t->add) {
        EACH(LOAD)
    }
    for (int64_t k = 0; k < t->depth; k++, x += step, w += t->col_step) {
        __m256 x0 = _mm256_load_ps(x), x1 = _mm256_load_ps(x + 8);
        EACH(MULTIPLY)
    }
    EACH(STORE)
}

static void tile(const struct ig_tile *t)
{
    for (int lane = 0; lane < t->lanes; lane += 16) {
        int n = 0;
        for (; n + 6 <= t->features; n += 6)
            tile_of(t, n, lane, 6);
        for (; n + 4 <= t->features; n += 4)
            tile_of(t, n, lane, 4);
        for (; n < t->features; n++)
            tile_of(t, n, lane, 1);
    }
}

static void transpose(const float *in, int64_t in_step, int64_t rows, int64_t cols, float *out,
                      int64_t out_step)
{
    for (int64_t r = 0; r < rows; r += 8)
        for (int64_t c = 0; c < cols; c += 8) {
            if (r + 8 <= rows && c + 8 <= cols) {
                transpose_8(in + r * in_step + c, in_step, out + c * out_step + r, out_step);
                continue;
            }
            for (int64_t i = r; i < rows && i < r + 8; i++)
                for (int64_t j = c; j < cols && j < c + 8; j++)
                    out[j * out_step + i] = in[i * in_step + j];
        }
}

void ig_matmul_avx2(struct ig_matmul_ops *ops)
{
    *ops = (struct ig_matmul_ops){prepare, matvec, unpack, transpose, tile, LANES};
}
