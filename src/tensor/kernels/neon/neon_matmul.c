/* SPDX-License-Identifier: Apache-2.0
 * neon matmul — 32 codes at a time, two sums of them, each of one group; x is permuted to match.
 *   4 bits, fp4:     16 bytes; the low nibbles are elements 0, 2, .. 30, the high ones 1, 3, .. 31.
 *                    A byte table makes the upper byte of an f16 of each code (the lower is 0 for
 *                    all of -8 .. 7 and for e2m1), fcvtl an f32.
 *   2 and 3 bits:    each 32-bit lane starts with a run of 8 codes, shifted one code at a time to
 *                    the top of the lane and down again with their sign;
 *   5, 6 and 8 bits: the same with runs of 4, twice.
 * Affine codes are taken as q - 2^(bits-1), and biases as b + s 2^(bits-1): the large terms s q and
 * b cancel, and would cancel after rounding otherwise. */
#include "tensor/kernels/neon/neon_lanes.h"

#define LANES    16
#define BLOCK    32
#define SPAN     2048 /* columns whose scales are converted at a time: at most 128 of them */
#define SPAN_MAX 128

enum kind { Q2, Q3, Q4, Q5, Q6, Q8, FP4 };

/* ---- matvec ---- */

INLINE int bits_of(enum kind kind)
{
    static const int bits[] = {2, 3, 4, 5, 6, 8, 4};
    return bits[kind];
}

/* How ig_matmul_permute is to lay x out. */
INLINE int lanes_of(enum kind kind)
{
    return kind == Q4 || kind == FP4 ? 16 : 4;
}

INLINE int run_of(enum kind kind)
{
    return kind == Q4 || kind == FP4 ? 2 : kind == Q2 || kind == Q3 ? 8 : 4;
}

/* What is taken off affine codes. */
INLINE int half_of(enum kind kind)
{
    return 1 << (bits_of(kind) - 1);
}

struct tables {
    uint8x16_t halves; /* 4 bits: the upper byte of an f16 */
    uint8x16_t spread; /* others: the bytes of each lane's run */
    int32x4_t shift;
};

static struct tables tables_of(enum kind kind)
{
    static const uint8_t q4[16] = {0xC8, 0xC7, 0xC6, 0xC5, 0xC4, 0xC2, 0xC0, 0xBC,
                                   0x00, 0x3C, 0x40, 0x42, 0x44, 0x45, 0x46, 0x47};
    static const uint8_t fp4[16] = {0x00, 0x38, 0x3C, 0x3E, 0x40, 0x42, 0x44, 0x46,
                                    0x80, 0xB8, 0xBC, 0xBE, 0xC0, 0xC2, 0xC4, 0xC6};
    int bits = bits_of(kind), run = run_of(kind);
    uint8_t bytes[16];
    int32_t shift[4];
    for (int l = 0; l < 4; l++) {
        int at = l * run * bits;
        shift[l] = -(at % 8);
        for (int i = 0; i < 4; i++)
            bytes[4 * l + i] = (uint8_t)(at / 8 + i);
    }
    return (struct tables){vld1q_u8(kind == FP4 ? fp4 : q4), vld1q_u8(bytes), vld1q_s32(shift)};
}

/* 16 codes of 4 bits times x: the lanes of the first 8 are summed apart. */
INLINE void nibbles_dot(uint8x16_t codes, const float *x, const struct tables *t,
                        float32x4_t sum[2])
{
    const uint8x16_t zero = vdupq_n_u8(0);
    uint8x16_t upper = vqtbl1q_u8(t->halves, codes);
    uint16x8_t a = vreinterpretq_u16_u8(vzip1q_u8(zero, upper));
    uint16x8_t b = vreinterpretq_u16_u8(vzip2q_u8(zero, upper));
    sum[0] = vfmaq_f32(sum[0], low_of(a), vld1q_f32(x));
    sum[1] = vfmaq_f32(sum[1], low_of(b), vld1q_f32(x + 8));
    sum[0] = vfmaq_f32(sum[0], high_of(a), vld1q_f32(x + 4));
    sum[1] = vfmaq_f32(sum[1], high_of(b), vld1q_f32(x + 12));
}

/* Runs of codes, one in each lane, times x. The top bit of each code is flipped, which makes it
 * the signed number q - half. */
INLINE void runs_dot(enum kind kind, const uint8_t *p, const float *x, const struct tables *t,
                     float32x4_t *even, float32x4_t *odd)
{
    const int bits = bits_of(kind);
    uint32x4_t v = vreinterpretq_u32_u8(vld1q_u8(p));
    uint32_t tops = 0;
    UNROLL
    for (int j = 0; j < run_of(kind); j++)
        tops |= 1U << (j * bits + bits - 1);
    if (kind != Q8) v = vreinterpretq_u32_u8(vqtbl1q_u8(vreinterpretq_u8_u32(v), t->spread));
    if (kind == Q5) v = vshlq_u32(v, t->shift);
    v = veorq_u32(v, vdupq_n_u32(tops));
    UNROLL
    for (int j = 0; j < run_of(kind); j += 2) {
        const int down = 32 - bits, up = down - j * bits;
        int32x4_t a = vreinterpretq_s32_u32(v << up) >> down;
        int32x4_t b = vreinterpretq_s32_u32(v << (up - bits)) >> down;
        *even = vfmaq_f32(*even, vcvtq_f32_s32(a), vld1q_f32(x + 4 * j));
        *odd = vfmaq_f32(*odd, vcvtq_f32_s32(b), vld1q_f32(x + 4 * j + 4));
    }
}

/* 32 codes at p, from which reach_of bytes can be read. */
INLINE void block_dot(enum kind kind, const uint8_t *p, const float *x, const struct tables *t,
                      float32x4_t sum[2])
{
    sum[0] = sum[1] = vdupq_n_f32(0);
    if (kind == Q4 || kind == FP4) {
        uint8x16_t v = vld1q_u8(p);
        nibbles_dot(vandq_u8(v, vdupq_n_u8(15)), x, t, sum);
        nibbles_dot(vshrq_n_u8(v, 4), x + 16, t, sum);
        return;
    }
    runs_dot(kind, p, x, t, &sum[0], &sum[1]);
    if (run_of(kind) == 4) runs_dot(kind, p + 2 * bits_of(kind), x + 16, t, &sum[0], &sum[1]);
}

/* Bytes that block_dot reads at p. */
INLINE int64_t reach_of(enum kind kind)
{
    return run_of(kind) == 4 ? 2 * bits_of(kind) + 16 : 16;
}

/* Where a row's codes go on, and how many of its bytes are left. */
struct codes {
    const uint8_t *p;
    int64_t left;
};

/* Codes of columns [0, cols), scaled; cols up to SPAN. */
INLINE float32x4_t span_dot(enum kind kind, struct codes in, const float *x, int64_t cols,
                            const float *scales, int group, const struct tables *t)
{
    const int64_t bytes = BLOCK * bits_of(kind) / 8;
    int shift = __builtin_ctz((unsigned)group);
    float32x4_t first = vdupq_n_f32(0), second = first, sum[2];
    for (int64_t c = 0; c < cols; c += BLOCK, in.p += bytes, in.left -= bytes) {
        const float *s = scales + (c >> shift);
        uint8_t last[BLOCK + 16] = {0}; /* x is zero behind its end, whatever code 0 means */
        const uint8_t *p = in.p;
        if (in.left < reach_of(kind))
            p = memcpy(last, p, (size_t)(in.left < bytes ? in.left : bytes));
        block_dot(kind, p, x + c, t, sum);
        first = vfmaq_n_f32(first, sum[0], s[0]);
        second = vfmaq_n_f32(second, sum[1], s[group == 16]);
    }
    return vaddq_f32(first, second);
}

/* Sum of (b + s half) times the sum of x over the group. */
INLINE float32x4_t bias_dot(const float *biases, const float *scales, const float *sums,
                            int64_t count, float half, float32x4_t sum)
{
    for (int64_t i = 0; i < count; i += 4) { /* zeros behind all ends */
        float32x4_t b = vfmaq_n_f32(vld1q_f32(biases + i), vld1q_f32(scales + i), half);
        sum = vfmaq_f32(sum, b, vld1q_f32(sums + i));
    }
    return sum;
}

INLINE void matvec_codes(enum kind kind, const struct ig_matrix *w, const float *x, int64_t first,
                         int64_t count, float *y)
{
    struct tables t = tables_of(kind);
    int64_t row_bytes = (int64_t)ig_matmul_row_bytes(w), groups = w->cols / w->group;
    const float *sums = x + (w->cols + 127) / 128 * 128;
    float scales[SPAN_MAX + 8], biases[SPAN_MAX + 8];
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *row = (const uint8_t *)w->data + (first + i) * row_bytes;
        float32x4_t sum = vdupq_n_f32(0);
        for (int64_t c = 0; c < w->cols; c += SPAN) {
            int64_t cols = w->cols - c < SPAN ? w->cols - c : SPAN, at = c * bits_of(kind) / 8;
            struct codes in = {row + at, row_bytes - at};
            int64_t group = (first + i) * groups + c / w->group, n = cols / w->group;
            load_scales(w, group, n, scales);
            sum = vaddq_f32(sum, span_dot(kind, in, x + c, cols, scales, w->group, &t));
            if (kind == FP4) continue;
            load_floats(w->scale_dtype, w->biases, group, n, biases);
            sum = bias_dot(biases, scales, sums + c / w->group, n, (float)half_of(kind), sum);
        }
        y[i] = vaddvq_f32(sum);
    }
}

static void matvec_fp8(const struct ig_matrix *w, const float *x, int64_t first, int64_t count,
                       float *y)
{
    float scales[SPAN_MAX + 8];
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (first + i) * w->cols;
        float32x4_t sum = vdupq_n_f32(0);
        for (int64_t c = 0; c < w->cols; c += 32) {
            if (c % SPAN == 0) {
                int64_t cols = w->cols - c < SPAN ? w->cols - c : SPAN;
                load_scales(w, ((first + i) * w->cols + c) / 32, cols / 32, scales);
            }
            float32x4_t even = vdupq_n_f32(0), odd = even;
            UNROLL
            for (int j = 0; j < 32; j += 8) {
                uint16x8_t halves = e4m3_halves(vld1_u8(p + c + j));
                even = vfmaq_f32(even, low_of(halves), vld1q_f32(x + c + j));
                odd = vfmaq_f32(odd, high_of(halves), vld1q_f32(x + c + j + 4));
            }
            sum = vfmaq_n_f32(sum, vaddq_f32(even, odd), scales[c % SPAN / 32]);
        }
        y[i] = vaddvq_f32(sum);
    }
}

INLINE void matvec_plain(enum ig_dtype dtype, const struct ig_matrix *w, const float *x,
                         int64_t first, int64_t count, float *y)
{
    size_t row_bytes = ig_matmul_row_bytes(w), size = dtype == IG_F32 ? 4 : 2;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = (const uint8_t *)w->data + (size_t)(first + i) * row_bytes;
        float32x4_t sum[8];
        for (int j = 0; j < 8; j++)
            sum[j] = vdupq_n_f32(0);
        int64_t c = 0;
        for (; c + 32 <= w->cols; c += 32)
            UNROLL
        for (int j = 0; j < 8; j++)
            sum[j] = vfmaq_f32(sum[j], plain_load(dtype, p + (size_t)(c + 4 * j) * size),
                               vld1q_f32(x + c + 4 * j));
        for (; c < w->cols; c += 4)
            sum[0] = vfmaq_f32(sum[0], plain_load_some(dtype, p + (size_t)c * size, w->cols - c),
                               vld1q_f32(x + c));
        for (int j = 4; j; j /= 2)
            for (int k = 0; k < j; k++)
                sum[k] = vaddq_f32(sum[k], sum[k + j]);
        y[i] = vaddvq_f32(sum[0]);
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
    case Q2: matvec_codes(Q2, w, x, first, count, y); return;
    case Q3: matvec_codes(Q3, w, x, first, count, y); return;
    case Q4: matvec_codes(Q4, w, x, first, count, y); return;
    case Q5: matvec_codes(Q5, w, x, first, count, y); return;
    case Q6: matvec_codes(Q6, w, x, first, count, y); return;
    case Q8: matvec_codes(Q8, w, x, first, count, y); return;
    case FP4: matvec_codes(FP4, w, x, first, count, y); return;
        // clang-format on
    }
}

static void prepare(const struct ig_matrix *w, const float *x, float *operand)
{
    bool packed = w->packing == IG_PACK_AFFINE || w->packing == IG_PACK_FP4;
    ig_matmul_permute(w, x, packed ? lanes_of(kind_of(w)) : 4, packed ? run_of(kind_of(w)) : 1,
                      operand);
}

/* ---- unpack ---- */

/* How to take 8 codes out of 2 * bits bytes: which two bytes, and how far to shift them. */
struct picker {
    uint8x16_t bytes;
    int16x8_t shift;
    uint16x8_t mask;
};

static struct picker picker_of(int bits, int first)
{
    uint8_t bytes[16];
    int16_t shift[8];
    for (int i = 0; i < 8; i++) {
        int at = (first + i) * bits / 8;
        bytes[2 * i] = (uint8_t)at;
        bytes[2 * i + 1] = (uint8_t)((at + 1) % 16);
        shift[i] = (int16_t)(-((first + i) * bits % 8));
    }
    return (struct picker){vld1q_u8(bytes), vld1q_s16(shift),
                           vdupq_n_u16((uint16_t)((1 << bits) - 1))};
}

INLINE uint16x8_t pick(uint8x16_t raw, struct picker p)
{
    uint16x8_t words = vreinterpretq_u16_u8(vqtbl1q_u8(raw, p.bytes));
    return vandq_u16(vshlq_u16(words, p.shift), p.mask);
}

/* 8 codes as floats: affine's s q + b, or fp4's values times s. */
INLINE void put_codes(const struct ig_matrix *w, uint16x8_t q, float s, float b,
                      const struct tables *t, float *out)
{
    if (w->packing == IG_PACK_AFFINE) {
        float32x4_t low = vcvtq_f32_u32(vmovl_u16(vget_low_u16(q)));
        float32x4_t high = vcvtq_f32_u32(vmovl_high_u16(q));
        vst1q_f32(out, vfmaq_n_f32(vdupq_n_f32(b), low, s));
        vst1q_f32(out + 4, vfmaq_n_f32(vdupq_n_f32(b), high, s));
        return;
    }
    /* The table has 0 for code 0, so that lower bytes stay what they are. */
    uint16x8_t halves =
        vshlq_n_u16(vreinterpretq_u16_u8(vqtbl1q_u8(t->halves, vreinterpretq_u8_u16(q))), 8);
    vst1q_f32(out, vmulq_n_f32(low_of(halves), s));
    vst1q_f32(out + 4, vmulq_n_f32(high_of(halves), s));
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
        size_t at = (size_t)(first + c) * (size_t)w->bits / 8;
        uint8_t last[16] = {0};
        const uint8_t *p = codes + at;
        if (at + 16 > row_bytes) p = memcpy(last, codes + at, row_bytes - at);
        uint8x16_t raw = vld1q_u8(p);
        put_codes(w, pick(raw, low), scales[g], biases[g], &t, out + c);
        put_codes(w, pick(raw, high), scales[g], biases[g], &t, out + c + 8);
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
        uint16x8_t halves = e4m3_halves(vld1_u8(p + c));
        vst1q_f32(out + c, vmulq_n_f32(low_of(halves), scales[c % SPAN / 32]));
        vst1q_f32(out + c + 4, vmulq_n_f32(high_of(halves), scales[c % SPAN / 32]));
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
    for (; c + 4 <= count; c += 4)
        vst1q_f32(out + c, plain_load(dtype, p + (size_t)(first + c) * size));
    if (c < count) {
        float last[4];
        vst1q_f32(last, plain_load_some(dtype, p + (size_t)(first + c) * size, count - c));
        memcpy(out + c, last, (size_t)(count - c) * sizeof *out);
    }
}

/* ---- tile ---- */

/* features results for 16 lanes, all in registers: up to 6 rows of 4. Registers have names, since
 * clang 14 keeps arrays in memory when it unrolls loops over them too late. */
// clang-format off
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define NAME(n)  float32x4_t a##n = vdupq_n_f32(0), b##n = a##n, c##n = a##n, d##n = a##n;
#define LOAD(n)                                                                                    \
    if (n < features) {                                                                            \
        a##n = vld1q_f32(y + n * step);                                                            \
        b##n = vld1q_f32(y + n * step + 4);                                                        \
        c##n = vld1q_f32(y + n * step + 8);                                                        \
        d##n = vld1q_f32(y + n * step + 12);                                                       \
    }
#define MULTIPLY(n)                                                                                \
    if (n < features) {                                                                            \
        float ws = w[n * row_step];                                                                \
        a##n = vfmaq_n_f32(a##n, x0, ws);                                                          \
        b##n = vfmaq_n_f32(b##n, x1, ws);                                                          \
        c##n = vfmaq_n_f32(c##n, x2, ws);                                                          \
        d##n = vfmaq_n_f32(d##n, x3, ws);                                                          \
    }
#define STORE(n)                                                                                   \
    if (n < features) {                                                                            \
        vst1q_f32(y + n * step, a##n);                                                             \
        vst1q_f32(y + n * step + 4, b##n);                                                         \
        vst1q_f32(y + n * step + 8, c##n);                                                         \
        vst1q_f32(y + n * step + 12, d##n);                                                        \
    }
// clang-format on

INLINE void tile_of(const struct ig_tile *t, int first, int lane, const int features)
{
    const int64_t step = t->lanes_step, row_step = t->row_step, col_step = t->col_step;
    float *y = t->y + first * step + lane;
    const float *w = t->w + first * row_step, *x = t->x + lane;
    EACH(NAME)
    if (t->add) {
        EACH(LOAD)
    }
    for (int64_t k = 0; k < t->depth; k++, x += step, w += col_step) {
        float32x4_t x0 = vld1q_f32(x), x1 = vld1q_f32(x + 4);
        float32x4_t x2 = vld1q_f32(x + 8), x3 = vld1q_f32(x + 12);
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

INLINE void transpose_4(const float *in, int64_t in_step, float *out, int64_t out_step)
{
    float32x4_t a = vld1q_f32(in), b = vld1q_f32(in + in_step);
    float32x4_t c = vld1q_f32(in + 2 * in_step), d = vld1q_f32(in + 3 * in_step);
    float32x4_t ac = vzip1q_f32(a, c), bd = vzip1q_f32(b, d);
    vst1q_f32(out, vzip1q_f32(ac, bd));
    vst1q_f32(out + out_step, vzip2q_f32(ac, bd));
    ac = vzip2q_f32(a, c), bd = vzip2q_f32(b, d);
    vst1q_f32(out + 2 * out_step, vzip1q_f32(ac, bd));
    vst1q_f32(out + 3 * out_step, vzip2q_f32(ac, bd));
}

static void transpose(const float *in, int64_t in_step, int64_t rows, int64_t cols, float *out,
                      int64_t out_step)
{
    for (int64_t r = 0; r < rows; r += 4)
        for (int64_t c = 0; c < cols; c += 4) {
            if (r + 4 <= rows && c + 4 <= cols) {
                transpose_4(in + r * in_step + c, in_step, out + c * out_step + r, out_step);
                continue;
            }
            for (int64_t i = r; i < rows && i < r + 4; i++)
                for (int64_t j = c; j < cols && j < c + 4; j++)
                    out[j * out_step + i] = in[i * in_step + j];
        }
}

void ig_matmul_neon(struct ig_matmul_ops *ops)
{
    *ops = (struct ig_matmul_ops){prepare, matvec, unpack, transpose, tile, LANES};
}
