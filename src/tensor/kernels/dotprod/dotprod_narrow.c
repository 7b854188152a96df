/* SPDX-License-Identifier: Apache-2.0
 * dotprod narrow — INT8 with sdot, which most 64-bit ARM since 2018 and all of Apple's have: sums
 * of four products of bytes in each lane of 32 bits.
 *
 * Both factors are signed: codes of 8 bits are taken as q - 128, and 128 (sum x') goes to where a
 * group's sum starts, as -12 (sum x') does for fp4; the others fit. Lanes are features, x comes by
 * element; 6 rows x 8 features of integers and as many floats are 24 of the 32 registers.
 *
 * Layouts, else as narrow.h has them: panels of W are 8 features wide, and behind x's scales and
 * sums come, in integers, what sums start from: -12 (sum x') of fp4, then 128 (sum x') of 8 bits.
 * For matvec, x to be multiplied with codes of 4 bits has, of
 * 32 columns, the even ones first. */
#include "tensor/kernels/narrow.h"
#include "tensor/kernels/neon/neon_lanes.h"

#define R         IG_NARROW_ROWS
#define N         IG_NARROW_FEATURES
#define PANEL     8
#define SPAN      128    /* groups whose scales are converted at a time */
#define TINY      1e-30F /* as in ref */
#define HALF      128
#define GROUP_MAX 128

/* ---- codes ---- */

/* Known when a kernel is compiled. */
struct coding {
    int bits;
    bool fp4;
};

/* How to take 8 codes out of bytes: each word's two, and how far to shift them. */
struct reader {
    uint8x16_t bytes, fp4;
    int16x8_t shift;
    uint16x8_t mask;
};

static struct reader reader_of(int bits)
{
    static const uint8_t fp4[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
    uint8_t bytes[16];
    int16_t shift[8];
    for (int i = 0; i < 8; i++) {
        bytes[2 * i] = (uint8_t)(i * bits / 8);
        bytes[2 * i + 1] = (uint8_t)(i * bits / 8 + 1);
        shift[i] = (int16_t)(-(i * bits % 8));
    }
    return (struct reader){vld1q_u8(bytes), vld1q_u8(fp4), vld1q_s16(shift),
                           vdupq_n_u16((uint16_t)((1 << bits) - 1))};
}

/* Codes 8 i to 8 i + 7 of the 64 at p, as words; reads nothing behind the 64. Of a code that lies
 * in one byte, the other is anything. */
INLINE uint16x8_t words_at(const struct reader *s, const int bits, const uint8_t *p, const int i)
{
    const int want = bits * i, last = 8 * bits - 8, at = want < last ? want : last;
    uint8x8_t raw = vld1_u8(p + at);
    uint8x16_t where = vaddq_u8(s->bytes, vdupq_n_u8((uint8_t)(want - at)));
    uint16x8_t words = vreinterpretq_u16_u8(vqtbl1q_u8(vcombine_u8(raw, raw), where));
    return vandq_u16(vshlq_u16(words, s->shift), s->mask);
}

/* Columns 32 half to 32 half + 31 of the 64 at p: of 4 bits the even ones, then the odd ones. */
INLINE void codes_32(const struct reader *s, const struct coding q, const uint8_t *p,
                     const int half, int8x16_t out[2])
{
    if (q.bits == 4) {
        uint8x16_t v = vld1q_u8(p + 16 * half);
        uint8x16_t even = vandq_u8(v, vdupq_n_u8(15)), odd = vshrq_n_u8(v, 4);
        out[0] = vreinterpretq_s8_u8(q.fp4 ? vqtbl1q_u8(s->fp4, even) : even);
        out[1] = vreinterpretq_s8_u8(q.fp4 ? vqtbl1q_u8(s->fp4, odd) : odd);
        return;
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        if (q.bits == 8) {
            uint8x16_t v = vld1q_u8(p + 32 * half + 16 * i);
            out[i] = vreinterpretq_s8_u8(veorq_u8(v, vdupq_n_u8(HALF)));
            continue;
        }
        uint16x8_t a = words_at(s, q.bits, p, 4 * half + 2 * i);
        uint16x8_t b = words_at(s, q.bits, p, 4 * half + 2 * i + 1);
        out[i] = vreinterpretq_s8_u8(vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b)));
    }
}

/* Scales and biases of groups [first, first + count), count up to SPAN, as if all codes were affine
 * and, of 8 bits, less HALF when `centred`; zeros up to a vector behind them. */
static void load_both(const struct ig_matrix *w, int64_t first, int64_t count, bool centred,
                      float *scales, float *biases)
{
    load_scales(w, first, count, scales);
    if (w->packing == IG_PACK_AFFINE) {
        float half = centred && w->bits == 8 ? HALF : 0;
        load_floats(w->scale_dtype, w->biases, first, count, biases);
        for (int64_t i = 0; half > 0 && i < count; i++)
            biases[i] += half * scales[i];
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        biases[i] = -6.0F * scales[i];
        scales[i] *= 0.5F;
    }
    vst1q_f32(biases + count, vdupq_n_f32(0));
}

/* ---- x ---- */

/* One group; its scale. Broken numbers give a broken scale. */
INLINE float quantize(const float *x, int group, int8_t *codes, int *sum)
{
    uint32x4_t top = vdupq_n_u32(0);
    for (int i = 0; i < group; i += 4)
        top = vmaxq_u32(top, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
    uint32_t bits = vmaxvq_u32(top); /* NaN is above infinity */
    float max;
    memcpy(&max, &bits, sizeof max);
    float inverse = max >= TINY ? 127.0F / max : 0.0F;
    int32x4_t total = vdupq_n_s32(0);
    for (int i = 0; i < group; i += 8) {
        int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i), inverse));
        int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4), inverse));
        total = vaddq_s32(total, vaddq_s32(a, b));
        vst1_s8(codes + i, vqmovn_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b))));
    }
    *sum = vaddvq_s32(total);
    return max < TINY ? 0.0F : max / 127.0F;
}

static void pack_x(enum ig_narrow kind, int group, const float *x, int64_t cols, int rows,
                   void *out)
{
    int8_t *codes = out;
    float *scales = (float *)(void *)(codes + ig_narrow_x_scales(cols));
    float *sums = scales + cols / group * R;
    int32_t *starts = (int32_t *)(void *)(sums + cols / group * R);
    (void)kind;
    for (int r = 0; r < R; r++)
        for (int64_t g = 0; g < cols / group; g++) {
            int8_t row[GROUP_MAX] = {0}, *to = codes + g * group * R + 4 * r;
            int64_t at = g * R + r;
            int sum = 0;
            scales[at] = 0.0F;
            if (r < rows) scales[at] = quantize(x + r * cols + g * group, group, row, &sum);
            sums[at] = scales[at] * (float)sum;
            starts[at] = -IG_NARROW_FP4_ZERO * sum;
            starts[cols / group * R + at] = HALF * sum;
            for (int i = 0; i < group; i += 4, to += 4 * R)
                memcpy(to, row + i, 4);
        }
}

static void prepare(const struct ig_matrix *w, const float *x, void *operand)
{
    int8_t *codes = operand;
    int64_t groups = w->cols / w->group, padded = (groups + 15) / 16 * 16;
    float *scales = (float *)(void *)(codes + w->cols), *sums = scales + padded;
    for (int64_t g = groups; g < padded; g++)
        scales[g] = sums[g] = 0.0F;
    for (int64_t g = 0; g < groups; g++) {
        int sum;
        scales[g] = quantize(x + g * w->group, w->group, codes + g * w->group, &sum);
        sums[g] = scales[g] * (float)sum;
    }
    for (int64_t c = 0; w->bits == 4 && c < w->cols; c += 32) {
        int8x16x2_t both = vld2q_s8(codes + c);
        vst1q_s8(codes + c, both.val[0]);
        vst1q_s8(codes + c + 16, both.val[1]);
    }
}

/* ---- W ---- */

/* out + 32 i: bytes 4 i to 4 i + 3 of each of four features. */
INLINE void put_quads(const int8x16_t v[4], int8_t *out)
{
    int32x4_t a = vreinterpretq_s32_s8(v[0]), b = vreinterpretq_s32_s8(v[1]);
    int32x4_t c = vreinterpretq_s32_s8(v[2]), d = vreinterpretq_s32_s8(v[3]);
    int32x4_t ac = vzip1q_s32(a, c), bd = vzip1q_s32(b, d);
    vst1q_s8(out, vreinterpretq_s8_s32(vzip1q_s32(ac, bd)));
    vst1q_s8(out + 4 * PANEL, vreinterpretq_s8_s32(vzip2q_s32(ac, bd)));
    ac = vzip2q_s32(a, c), bd = vzip2q_s32(b, d);
    vst1q_s8(out + 8 * PANEL, vreinterpretq_s8_s32(vzip1q_s32(ac, bd)));
    vst1q_s8(out + 12 * PANEL, vreinterpretq_s8_s32(vzip2q_s32(ac, bd)));
}

/* The codes of 4 features, of which `used` are there. */
INLINE void pack_codes(const struct ig_matrix *w, const uint8_t *data, int64_t used, int8_t *panel,
                       const struct coding q)
{
    const struct reader s = reader_of(q.bits);
    const size_t row_bytes = ig_matmul_row_bytes(w);
    for (int64_t c = 0; c < w->cols; c += 64, data += 8 * q.bits)
        UNROLL
    for (int half = 0; half < 2; half++, panel += 32 * PANEL) {
        int8x16_t first[4], second[4];
        UNROLL
        for (int64_t i = 0; i < 4; i++) {
            int8x16_t v[2] = {vdupq_n_s8(0), vdupq_n_s8(0)};
            if (i < used) codes_32(&s, q, data + (size_t)i * row_bytes, half, v);
            first[i] = q.bits == 4 ? vzip1q_s8(v[0], v[1]) : v[0];
            second[i] = q.bits == 4 ? vzip2q_s8(v[0], v[1]) : v[1];
        }
        put_quads(first, panel);
        put_quads(second, panel + 16 * PANEL);
    }
}

/* Scales and biases of one feature, or zeros. */
static void pack_scales(const struct ig_matrix *w, int64_t row, bool used, float *scales,
                        float *biases)
{
    const int64_t groups = w->cols / w->group;
    float s[SPAN + 8] = {0}, b[SPAN + 8] = {0};
    for (int64_t g = 0; g < groups; g += SPAN) {
        int64_t count = groups - g < SPAN ? groups - g : SPAN;
        if (used) load_both(w, row * groups + g, count, false, s, b);
        for (int64_t i = 0; i < count; i++) {
            scales[(g + i) * PANEL] = s[i];
            biases[(g + i) * PANEL] = b[i];
        }
    }
}

static void pack_w(enum ig_narrow kind, const struct ig_matrix *w, int64_t first, int64_t count,
                   void *out)
{
    const int64_t groups = w->cols / w->group;
    float *scales = (float *)(void *)((uint8_t *)out + ig_narrow_w_scales(w->cols));
    (void)kind;
    for (int64_t n = 0; n < N; n++) {
        int64_t to = n / PANEL * groups * PANEL + n % PANEL;
        pack_scales(w, first + n, n < count, scales + to, scales + groups * N + to);
        if (n % 4) continue;
        const uint8_t *data =
            (const uint8_t *)w->data + (size_t)(first + n) * ig_matmul_row_bytes(w);
        int8_t *panel = (int8_t *)out + n / PANEL * PANEL * w->cols + n % PANEL * 4;
        switch (w->packing == IG_PACK_FP4 ? 0 : w->bits) {
        case 0: pack_codes(w, data, count - n, panel, (struct coding){4, true}); break;
        case 2: pack_codes(w, data, count - n, panel, (struct coding){2, false}); break;
        case 3: pack_codes(w, data, count - n, panel, (struct coding){3, false}); break;
        case 4: pack_codes(w, data, count - n, panel, (struct coding){4, false}); break;
        case 5: pack_codes(w, data, count - n, panel, (struct coding){5, false}); break;
        case 6: pack_codes(w, data, count - n, panel, (struct coding){6, false}); break;
        default: pack_codes(w, data, count - n, panel, (struct coding){8, false}); break;
        }
    }
}

/* ---- matvec ---- */

/* 64 codes, scaled; scales: of the groups from the first of them on. */
INLINE float32x4_t block_dot(const struct reader *s, const struct coding q, const uint8_t *p,
                             const int8_t *x, const float *scales, int group, float32x4_t sum)
{
    int32x4_t dot[2];
    UNROLL
    for (int half = 0; half < 2; half++) {
        int8x16_t v[2];
        codes_32(s, q, p, half, v);
        dot[half] = vdotq_s32(vdupq_n_s32(0), v[0], vld1q_s8(x + 32 * half));
        dot[half] = vdotq_s32(dot[half], v[1], vld1q_s8(x + 32 * half + 16));
    }
    if (group >= 64) return vfmaq_n_f32(sum, vcvtq_f32_s32(vaddq_s32(dot[0], dot[1])), scales[0]);
    if (group == 32) {
        sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot[0]), scales[0]);
        return vfmaq_n_f32(sum, vcvtq_f32_s32(dot[1]), scales[1]);
    }
    float32x4_t four = vld1q_f32(scales); /* 4 bits: a half of the lanes is of 16 columns */
    sum = vfmaq_f32(sum, vcvtq_f32_s32(dot[0]), vzip1q_f32(four, four));
    return vfmaq_f32(sum, vcvtq_f32_s32(dot[1]), vzip2q_f32(four, four));
}

INLINE float row_dot(const struct ig_matrix *w, const struct reader *s, const int8_t *x,
                     int64_t row, const struct coding q)
{
    const int64_t groups = w->cols / w->group;
    const float *x_scales = (const float *)(const void *)(x + w->cols);
    const float *x_sums = x_scales + (groups + 15) / 16 * 16;
    const uint8_t *p = (const uint8_t *)w->data + (size_t)row * (size_t)(w->cols / 8 * q.bits);
    const int shift = __builtin_ctz((unsigned)w->group);
    float scales[SPAN + 8], biases[SPAN + 8];
    float32x4_t even = vdupq_n_f32(0), odd = even, biased = even;
    for (int64_t g = 0; g < groups; g += SPAN) {
        int64_t count = groups - g < SPAN ? groups - g : SPAN, cols = count << shift, c = 0;
        load_both(w, row * groups + g, count, true, scales, biases);
        for (int64_t i = 0; i < count; i += 4) { /* zeros behind all ends */
            biased = vfmaq_f32(biased, vld1q_f32(biases + i), vld1q_f32(x_sums + g + i));
            vst1q_f32(scales + i, vmulq_f32(vld1q_f32(scales + i), vld1q_f32(x_scales + g + i)));
        }
        for (; c + 128 <= cols; c += 128, p += q.bits * 16, x += 128) {
            even = block_dot(s, q, p, x, scales + (c >> shift), w->group, even);
            odd = block_dot(s, q, p + q.bits * 8, x + 64, scales + ((c + 64) >> shift), w->group,
                            odd);
        }
        if (c == cols) continue;
        even = block_dot(s, q, p, x, scales + (c >> shift), w->group, even);
        p += q.bits * 8, x += 64;
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(even, odd), biased));
}

INLINE void matvec_bits(const struct ig_matrix *w, const void *operand, int64_t first,
                        int64_t count, float *y, const struct coding q)
{
    const struct reader s = reader_of(q.bits);
    for (int64_t i = 0; i < count; i++)
        y[i] = row_dot(w, &s, operand, first + i, q);
}

static void matvec(const struct ig_matrix *w, const void *operand, int64_t first, int64_t count,
                   float *y)
{
    switch (w->packing == IG_PACK_FP4 ? 0 : w->bits) {
    case 0: matvec_bits(w, operand, first, count, y, (struct coding){4, true}); return;
    case 2: matvec_bits(w, operand, first, count, y, (struct coding){2, false}); return;
    case 3: matvec_bits(w, operand, first, count, y, (struct coding){3, false}); return;
    case 4: matvec_bits(w, operand, first, count, y, (struct coding){4, false}); return;
    case 5: matvec_bits(w, operand, first, count, y, (struct coding){5, false}); return;
    case 6: matvec_bits(w, operand, first, count, y, (struct coding){6, false}); return;
    default: matvec_bits(w, operand, first, count, y, (struct coding){8, false}); return;
    }
}

/* ---- tiles ---- */

/* 4 results, of which `inside` are there. */
INLINE void store_4(float *y, float32x4_t v, int inside)
{
    float all[4];
    if (inside >= 4) {
        vst1q_f32(y, v);
    } else if (inside > 0) {
        vst1q_f32(all, v);
        memcpy(y, all, (size_t)inside * sizeof *all);
    }
}

/* A panel of W, a tile of x. */
struct panel {
    const int8_t *x, *w;
    const float *x_scales, *x_sums, *scales, *biases;
    const int32_t *starts;
    float *y;
    int rows, features; /* to store */
};

static struct panel panel_of(const struct ig_narrow_tile *t, int row, int feature)
{
    const int64_t groups = t->cols / t->group;
    const int8_t *x = (const int8_t *)t->x + (size_t)(row / R) * ig_narrow_x_bytes(t->cols);
    const void *x_scales = x + ig_narrow_x_scales(t->cols);
    const void *w_scales = (const uint8_t *)t->w + ig_narrow_w_scales(t->cols);
    struct panel p = {.x = x,
                      .w = (const int8_t *)t->w + feature * t->cols,
                      .x_scales = x_scales,
                      .scales = (const float *)w_scales + feature * groups,
                      .y = t->y + row * t->step + feature,
                      .rows = t->rows - row < R ? t->rows - row : R,
                      .features = t->features - feature};
    p.x_sums = p.x_scales + groups * R;
    p.starts = (const int32_t *)(const void *)(p.x_sums + groups * R);
    if (t->bits == 8) p.starts += groups * R;
    p.biases = p.scales + groups * N;
    return p;
}

/* Registers have names, since compilers keep arrays in memory when they unroll loops too late. */
// clang-format off
#define SIX(DO)  DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define ZERO(r)  float32x4_t A##r = vdupq_n_f32(0), B##r = A##r;
#define START(r) int32x4_t a##r = vdupq_n_s32(begun ? p.starts[r] : 0), b##r = a##r;
#define MULTIPLY(r)                                                                                \
    a##r = r < 4 ? vdotq_laneq_s32(a##r, w0, x0, r % 4) : vdotq_lane_s32(a##r, w0, x1, r % 2);      \
    b##r = r < 4 ? vdotq_laneq_s32(b##r, w1, x0, r % 4) : vdotq_lane_s32(b##r, w1, x1, r % 2);
#define SCALE(r)                                                                                   \
    A##r = vfmaq_n_f32(A##r, vmulq_f32(vcvtq_f32_s32(a##r), s0), p.x_scales[r]);                   \
    B##r = vfmaq_n_f32(B##r, vmulq_f32(vcvtq_f32_s32(b##r), s1), p.x_scales[r]);
#define BIAS(r)                                                                                    \
    A##r = vfmaq_n_f32(A##r, bias0, p.x_sums[r]);                                                  \
    B##r = vfmaq_n_f32(B##r, bias1, p.x_sums[r]);
#define STORE(r)                                                                                   \
    if (r < p.rows) {                                                                              \
        store_4(p.y + r * t->step, A##r, p.features);                                              \
        store_4(p.y + r * t->step + 4, B##r, p.features - 4);                                      \
    }
// clang-format on

static void multiply(const struct ig_narrow_tile *t, struct panel p)
{
    const bool fp4 = t->bits == IG_NARROW_FP4, begun = fp4 || t->bits == 8;
    const int steps = t->group / 4;
    SIX(ZERO)
    for (int64_t g = 0; g < t->cols / t->group; g++) {
        SIX(START)
        for (int i = 0; i < steps; i++, p.x += 4 * R, p.w += 4 * PANEL) {
            int8x16_t w0 = vld1q_s8(p.w), w1 = vld1q_s8(p.w + 16), x0 = vld1q_s8(p.x);
            int8x8_t x1 = vld1_s8(p.x + 16);
            SIX(MULTIPLY)
        }
        float32x4_t s0 = vld1q_f32(p.scales), s1 = vld1q_f32(p.scales + 4);
        SIX(SCALE)
        if (!fp4) {
            float32x4_t bias0 = vld1q_f32(p.biases), bias1 = vld1q_f32(p.biases + 4);
            SIX(BIAS)
        }
        p.x_scales += R, p.x_sums += R, p.starts += R, p.scales += PANEL, p.biases += PANEL;
    }
    SIX(STORE)
}

/* A panel stays in the first-level cache for all rows, where it fits. */
static void tile(const struct ig_narrow_tile *t)
{
    for (int n = 0; n < t->features; n += PANEL)
        for (int r = 0; r < t->rows; r += R)
            multiply(t, panel_of(t, r, n));
}

void ig_narrow_dotprod(struct ig_narrow_ops *ops)
{
    *ops = (struct ig_narrow_ops){false, true, pack_x, pack_w, tile, prepare, matvec};
}
