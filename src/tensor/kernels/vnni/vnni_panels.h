/* SPDX-License-Identifier: Apache-2.0
 * vnni panels — narrow arithmetic in AVX-512 with VNNI, and BF16 where it is
 * asked for, but for how codes become bytes: vbmi_narrow.c and vnni_narrow.c
 * say it and compile the rest each for themselves. Before this header they
 * define
 *
 *   struct spreader                       what codes_at keeps in registers
 *   spreader_of(w)                        for a matrix
 *   codes_at(const spreader *, bits, p)   64 codes as bytes, in the order of
 * their columns
 *
 * Lanes are features: a vector of W holds 2 or 4 columns of 16 of them, x comes
 * by broadcast. BF16  6 rows x 64 features in 24 registers, over all columns.
 *   INT8  6 rows x 32 features: 12 registers of integers for one group, 12 of
 * floats. Behind x's scales and sums come -12 (sum x'), in integers: what fp4's
 * sums start from. */
#pragma once
#include "tensor/kernels/narrow.h"

#include "tensor/kernels/avx512/avx512_lanes.h"

#define R         IG_NARROW_ROWS
#define N         IG_NARROW_FEATURES
#define PANEL     32
#define TINY      1e-30F /* as in ref */
#define WITH_BF16 __attribute__((target("avx512bf16")))

/* ---- scales ---- */

/* Scales and biases of 16 groups, of which m are there, as if all codes were
 * affine. */
INLINE __m512 scales_at(const struct ig_matrix *w, int64_t first, __mmask16 m, __m512 *biases)
{
    if (w->packing == IG_PACK_AFFINE) {
        *biases = plain_load(w->scale_dtype, w->biases, first, m);
        return plain_load(w->scale_dtype, w->scales, first, m);
    }
    __m512 scales = load_scales(w, first, m);
    *biases = _mm512_mul_ps(scales, _mm512_set1_ps(-6.0F));
    return _mm512_mul_ps(scales, _mm512_set1_ps(0.5F));
}

/* ---- x ---- */

/* The largest magnitude of a group, NaN above all. */
INLINE float magnitude(const float *x, int group)
{
    const __m512i sign = _mm512_set1_epi32(0x7FFFFFFF);
    __m512i top = _mm512_setzero_si512();
    for (int i = 0; i < group; i += 16)
        top = _mm512_max_epu32(top, _mm512_and_si512(_mm512_loadu_si512(x + i), sign));
    uint32_t bits = _mm512_reduce_max_epu32(top);
    float max;
    memcpy(&max, &bits, sizeof max);
    return max;
}

/* 16 codes at a time; the group's scale. Broken numbers give a broken scale. */
INLINE float quantize(const float *x, int group, int8_t *codes, int *sum)
{
    float max = magnitude(x, group), inverse = max >= TINY ? 127.0F / max : 0.0F;
    __m512i total = _mm512_setzero_si512();
    for (int i = 0; i < group; i += 16) {
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(inverse));
        __m512i code = _mm512_cvtps_epi32(v);
        total = _mm512_add_epi32(total, code);
        _mm_storeu_si128((void *)(codes + i), _mm512_cvtsepi32_epi8(code));
    }
    *sum = _mm512_reduce_add_epi32(total);
    return max < TINY ? 0.0F : max / 127.0F;
}

static void prepare(const struct ig_matrix *w, const float *x, void *operand)
{
    int8_t *codes = operand;
    int64_t groups = w->cols / w->group, padded = (groups + 15) / 16 * 16;
    float *scales = (float *)(void *)(codes + w->cols), *sums = scales + padded;
    _mm512_storeu_ps(scales + padded - 16, _mm512_setzero_ps());
    _mm512_storeu_ps(sums + padded - 16, _mm512_setzero_ps());
    for (int64_t g = 0; g < groups; g++) {
        int sum;
        scales[g] = quantize(x + g * w->group, w->group, codes + g * w->group, &sum);
        sums[g] = scales[g] * (float)sum;
    }
}

static void pack_x_int8(int group, const float *x, int64_t cols, int rows, void *out)
{
    int8_t *codes = out;
    float *scales = (float *)(void *)(codes + ig_narrow_x_scales(cols));
    float *sums = scales + cols / group * R;
    int32_t *starts = (int32_t *)(void *)(sums + cols / group * R);
    for (int r = 0; r < R; r++)
        for (int64_t g = 0; g < cols / group; g++) {
            int32_t row[32] = {0};
            int8_t *to = codes + g * group * R + 4 * r;
            int64_t at = g * R + r;
            int sum = 0;
            scales[at] = 0.0F;
            if (r < rows)
                scales[at] = quantize(x + r * cols + g * group, group, (int8_t *)row, &sum);
            sums[at] = scales[at] * (float)sum;
            starts[at] = (int32_t)(-(uint32_t)IG_NARROW_FP4_ZERO * (uint32_t)sum);
            for (int i = 0; i < group / 4; i++)
                memcpy(to + (ptrdiff_t)(4 * R * i), &row[i], 4);
        }
}

/* To the nearest, ties to even, as vdpbf16ps would have it; NaN stays NaN. */
INLINE __m256i bf16_of(__m512 v)
{
    __m512i bits = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    up = _mm512_mask_mov_epi32(up, nan, _mm512_set1_epi32(0x7FC00000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16));
}

static void pack_x_bf16(const float *x, int64_t cols, int rows, void *out)
{
    uint32_t *pairs = out;
    for (int r = 0; r < R; r++)
        for (int64_t c = 0; c < cols; c += 16) {
            uint32_t row[8] = {0};
            if (r < rows)
                _mm256_storeu_si256((void *)row, bf16_of(_mm512_loadu_ps(x + r * cols + c)));
            for (int i = 0; i < 8; i++)
                pairs[(c / 2 + i) * R + r] = row[i];
        }
}

static void pack_x(enum ig_narrow kind, int group, const float *x, int64_t cols, int rows,
                   void *out)
{
    if (kind == IG_NARROW_BF16)
        pack_x_bf16(x, cols, rows, out);
    else
        pack_x_int8(group, x, cols, rows, out);
}

/* ---- W ---- */

/* 16 vectors of 32-bit units, one a feature, to 16 of features: at out + 32
 * units for each. */
INLINE void store_units(const __m512i *in, void *out)
{
    float *to = out;
    float rows[16 * 16] __attribute__((aligned(64)));
    UNROLL
    for (int i = 0; i < 16; i++)
        _mm512_store_ps(rows + 16 * i, _mm512_castsi512_ps(in[i]));
    transpose_16(rows, 16, to, PANEL);
}

/* The codes of 16 features from n on. */
INLINE void pack_codes(const struct ig_matrix *w, const struct spreader *s, const uint8_t *data,
                       int64_t used, uint8_t *panel, const int bits)
{
    const size_t row_bytes = ig_matmul_row_bytes(w);
    for (int64_t c = 0; c < w->cols; c += 64, data += 8 * bits) {
        __m512i v[16];
        for (int64_t i = 0; i < 16; i++)
            v[i] =
                i < used ? codes_at(s, bits, data + (size_t)i * row_bytes) : _mm512_setzero_si512();
        store_units(v, panel + c * PANEL);
    }
}

/* Scales and biases of 16 features, the groups from `group` of the first on; of
 * powers of two, mxfp4's, the exponents instead. */
static void pack_scales(const struct ig_matrix *w, int64_t group, int64_t used, float *scales,
                        float *biases)
{
    const int64_t groups = w->cols / w->group;
    const bool powers = w->packing == IG_PACK_FP4 && w->group == 32;
    float a[256], b[256];
    for (int64_t g = 0; g < groups; g += 16) {
        for (int64_t i = 0; i < 16; i++) {
            __mmask16 m = i < used ? lanes_of(groups - g) : 0;
            __m512 bias, scale = scales_at(w, group + i * groups + g, m, &bias);
            _mm512_storeu_ps(a + 16 * i, powers ? _mm512_getexp_ps(scale) : scale);
            _mm512_storeu_ps(b + 16 * i, bias);
        }
        float at[256], bt[256];
        transpose_16(a, 16, at, 16);
        transpose_16(b, 16, bt, 16);
        for (int64_t i = 0; i < 16 && g + i < groups; i++) {
            _mm512_storeu_ps(scales + (g + i) * PANEL, _mm512_loadu_ps(at + 16 * i));
            _mm512_storeu_ps(biases + (g + i) * PANEL, _mm512_loadu_ps(bt + 16 * i));
        }
    }
}

static void pack_w_int8(const struct ig_matrix *w, int64_t first, int64_t count, uint8_t *out)
{
    const struct spreader s = spreader_of(w);
    const int64_t groups = w->cols / w->group;
    float *scales = (float *)(void *)(out + ig_narrow_w_scales(w->cols));
    for (int64_t n = 0; n < N; n += 16) {
        const uint8_t *data =
            (const uint8_t *)w->data + (size_t)(first + n) * ig_matmul_row_bytes(w);
        uint8_t *panel = out + n / PANEL * PANEL * w->cols + n % PANEL * 4;
        switch (w->bits) {
        case 2: pack_codes(w, &s, data, count - n, panel, 2); break;
        case 3: pack_codes(w, &s, data, count - n, panel, 3); break;
        case 4: pack_codes(w, &s, data, count - n, panel, 4); break;
        case 5: pack_codes(w, &s, data, count - n, panel, 5); break;
        case 6: pack_codes(w, &s, data, count - n, panel, 6); break;
        default: pack_codes(w, &s, data, count - n, panel, 8); break;
        }
        int64_t to = n / PANEL * groups * PANEL + n % PANEL;
        pack_scales(w, (first + n) * groups, count - n, scales + to, scales + groups * N + to);
    }
}

static void pack_w_plain(const struct ig_matrix *w, int64_t first, int64_t count, uint8_t *out)
{
    const uint8_t *data = (const uint8_t *)w->data + (size_t)(first * w->cols) * 2;
    for (int64_t n = 0; n < N; n += 16) {
        uint8_t *panel = out + n / PANEL * PANEL * w->cols * 2 + n % PANEL * 4;
        for (int64_t c = 0; c < w->cols; c += 32) {
            __m512i v[16];
            for (int64_t i = 0; i < 16; i++)
                v[i] = n + i < count
                           ? _mm512_loadu_si512(data + (size_t)((n + i) * w->cols + c) * 2)
                           : _mm512_setzero_si512();
            store_units(v, panel + c * PANEL * 2);
        }
    }
}

/* A row's codes, and the scales of a stretch of 16 groups. */
struct coded {
    const uint8_t *p;
    const float *scales, *biases;
    int shift; /* to a group's number */
};

/* 64 codes from column c of the stretch on, as bf16. */
WITH_BF16 INLINE void dequantize(const struct spreader *s, const int bits, struct coded row,
                                 int64_t c, __m512i *low, __m512i *high)
{
    uint8_t codes[64] __attribute__((aligned(64)));
    __m512 v[4];
    _mm512_store_si512(codes, codes_at(s, bits, row.p));
    UNROLL
    for (int k = 0; k < 4; k++) {
        int64_t g = (c + 16 * k) >> row.shift;
        __m512i q = _mm512_cvtepu8_epi32(_mm_load_si128((const void *)(codes + 16 * k)));
        v[k] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), _mm512_set1_ps(row.scales[g]),
                               _mm512_set1_ps(row.biases[g]));
    }
    *low = (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]);
    *high = (__m512i)_mm512_cvtne2ps_pbh(v[3], v[2]);
}

/* 16 features; those after `used` are zeros. */
WITH_BF16 INLINE void pack_16(const struct ig_matrix *w, int64_t first, int64_t used,
                              uint8_t *panel, const int bits)
{
    const struct spreader s = spreader_of(w);
    const int64_t groups = w->cols / w->group, stretch = 16 * w->group;
    const size_t row_bytes = ig_matmul_row_bytes(w);
    const uint8_t *data = (const uint8_t *)w->data + (size_t)first * row_bytes;
    const int shift = __builtin_ctz((unsigned)w->group);
    float scales[256], biases[256];
    for (int64_t at = 0; at < w->cols; at += stretch) {
        int64_t width = w->cols - at < stretch ? w->cols - at : stretch, g = at / w->group;
        for (int64_t i = 0; i < 16 && i < used; i++) {
            __m512 bias,
                scale = scales_at(w, (first + i) * groups + g, lanes_of(groups - g), &bias);
            _mm512_storeu_ps(scales + 16 * i, scale);
            _mm512_storeu_ps(biases + 16 * i, bias);
        }
        for (int64_t c = 0; c < width; c += 64) {
            __m512i low[16], high[16];
            for (int64_t i = 0; i < 16; i++) {
                struct coded row = {data + (size_t)i * row_bytes + (size_t)((at + c) / 8 * bits),
                                    scales + 16 * i, biases + 16 * i, shift};
                low[i] = high[i] = _mm512_setzero_si512();
                if (i < used) dequantize(&s, bits, row, c, &low[i], &high[i]);
            }
            store_units(low, panel + (at + c) * PANEL * 2);
            store_units(high, panel + (at + c + 32) * PANEL * 2);
        }
    }
}

WITH_BF16 static void pack_w_packed(const struct ig_matrix *w, int64_t first, int64_t count,
                                    uint8_t *out)
{
    for (int64_t n = 0; n < N; n += 16) {
        uint8_t *panel = out + n / PANEL * PANEL * w->cols * 2 + n % PANEL * 4;
        switch (w->bits) {
        case 2: pack_16(w, first + n, count - n, panel, 2); break;
        case 3: pack_16(w, first + n, count - n, panel, 3); break;
        case 4: pack_16(w, first + n, count - n, panel, 4); break;
        case 5: pack_16(w, first + n, count - n, panel, 5); break;
        case 6: pack_16(w, first + n, count - n, panel, 6); break;
        default: pack_16(w, first + n, count - n, panel, 8); break;
        }
    }
}

/* mxfp8: through f32, STRETCH columns of 16 features at a time. */
#define STRETCH 128
WITH_BF16 static void pack_w_fp8(const struct ig_matrix *w, int64_t first, int64_t count,
                                 uint8_t *out)
{
    struct ig_matmul_ops ops;
    float rows[16 * STRETCH];
    ig_matmul_avx512(&ops);
    for (int64_t n = 0; n < N; n += 16) {
        uint8_t *panel = out + n / PANEL * PANEL * w->cols * 2 + n % PANEL * 4;
        for (int64_t c = 0; c < w->cols; c += STRETCH) {
            int64_t width = w->cols - c < STRETCH ? w->cols - c : STRETCH;
            for (int64_t i = 0; i < 16; i++)
                if (n + i < count)
                    ops.unpack(w, first + n + i, c, width, rows + i * STRETCH);
                else
                    memset(rows + i * STRETCH, 0, STRETCH * sizeof *rows);
            for (int64_t k = 0; k < width; k += 32) {
                __m512i v[16];
                for (int64_t i = 0; i < 16; i++) {
                    const float *from = rows + i * STRETCH + k;
                    v[i] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16),
                                                        _mm512_loadu_ps(from));
                }
                store_units(v, panel + (c + k) * PANEL * 2);
            }
        }
    }
}

static void pack_w(enum ig_narrow kind, const struct ig_matrix *w, int64_t first, int64_t count,
                   void *out)
{
    if (kind == IG_NARROW_INT8)
        pack_w_int8(w, first, count, out);
    else if (w->packing == IG_PACK_BF16)
        pack_w_plain(w, first, count, out);
    else if (w->packing == IG_PACK_FP8)
        pack_w_fp8(w, first, count, out);
    else
        pack_w_packed(w, first, count, out);
}

/* ---- tiles ---- */

/* Registers have names, since clang 14 keeps arrays in memory when it unrolls
 * too late. */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)

// clang-format off
#define ZERO(r)     __m512 A##r = _mm512_setzero_ps(), B##r = A##r;
#define START(r)    __m512i a##r = biased ? _mm512_setzero_si512() : _mm512_set1_epi32(starts[r]), b##r = a##r;
#define MULTIPLY(r) {                                                                              \
        __m512i v = _mm512_set1_epi32(x[r]);                                                       \
        a##r = _mm512_dpbusd_epi32(a##r, w0, v);                                                   \
        b##r = _mm512_dpbusd_epi32(b##r, w1, v);                                                   \
    }
#define SCALE(r) {                                                                                 \
        __m512 v = _mm512_set1_ps(x_scales[r]);                                                    \
        A##r = _mm512_fmadd_ps(scaled(a##r, s0, by.of), v, A##r);                                     \
        B##r = _mm512_fmadd_ps(scaled(b##r, s1, by.of), v, B##r);                                     \
    }
#define BIAS(r) {                                                                                  \
        __m512 u = _mm512_set1_ps(x_sums[r]);                                                      \
        A##r = _mm512_fmadd_ps(u, bias0, A##r);                                                    \
        B##r = _mm512_fmadd_ps(u, bias1, B##r);                                                    \
    }
#define STORE(r)                                                                                   \
    if (r < rows) {                                                                                \
        _mm512_mask_storeu_ps(y + r * t->step, m0, A##r);                                          \
        _mm512_mask_storeu_ps(y + r * t->step + 16, m1, B##r);                                     \
    }
// clang-format on

enum scales { SCALES_BIASED, SCALES_PLAIN, SCALES_POWERS };

/* Known when a kernel is compiled: a group has runs x steps x 4 columns. Steps
 * are unrolled, since gcc 12 moves all registers once a turn. */
struct grouping {
    enum scales of;
    int steps, runs;
};

/* A group's integers times its scale; powers of two leave the multipliers
 * alone. */
INLINE __m512 scaled(__m512i dot, __m512 scale, const enum scales of)
{
    __m512 v = _mm512_cvtepi32_ps(dot);
    return of == SCALES_POWERS ? _mm512_scalef_ps(v, scale) : _mm512_mul_ps(v, scale);
}

INLINE __mmask16 features_from(const struct ig_narrow_tile *t, int n)
{
    return t->features > n ? lanes_of(t->features - n) : 0;
}

/* One tile of x, of which `rows` are stored, times the 32 features from `first`
 * on. */
INLINE void int8_panel(const struct ig_narrow_tile *t, const int8_t *codes, int first, int rows,
                       float *y, const struct grouping by)
{
    const bool biased = by.of == SCALES_BIASED;
    const int64_t groups = t->cols / t->group;
    const uint8_t *w = (const uint8_t *)t->w + first * t->cols;
    const float *x_scales = (const float *)(const void *)(codes + ig_narrow_x_scales(t->cols));
    const float *x_sums = x_scales + groups * R;
    const int32_t *starts = (const int32_t *)(const void *)(x_sums + groups * R);
    const void *all = (const uint8_t *)t->w + ig_narrow_w_scales(t->cols);
    const float *scales = (const float *)all + first * groups, *biases = scales + groups * N;
    const int32_t *x = (const int32_t *)(const void *)codes;
    EACH(ZERO)
    for (int64_t g = 0; g < groups; g++) {
        EACH(START)
        for (int i = 0; i < by.runs; i++) {
            UNROLL
            for (int j = 0; j < by.steps; j++, x += R, w += 4 * PANEL) {
                __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
                EACH(MULTIPLY)
            }
        }
        __m512 s0 = _mm512_loadu_ps(scales), s1 = _mm512_loadu_ps(scales + 16);
        EACH(SCALE)
        if (biased) {
            __m512 bias0 = _mm512_loadu_ps(biases), bias1 = _mm512_loadu_ps(biases + 16);
            EACH(BIAS)
        }
        x_scales += R, x_sums += R, starts += R, scales += PANEL, biases += PANEL;
    }
    __mmask16 m0 = features_from(t, first), m1 = features_from(t, first + 16);
    EACH(STORE)
}

#define PANEL_OF(name, of, steps, runs)                                                            \
    __attribute__((noinline)) static void name(const struct ig_narrow_tile *t, const int8_t *x,    \
                                               int n, int rows, float *y)                          \
    {                                                                                              \
        int8_panel(t, x, n, rows, y, (struct grouping){of, steps, runs});                          \
    }
PANEL_OF(mxfp4_panel, SCALES_POWERS, 8, 1)
PANEL_OF(nvfp4_panel, SCALES_PLAIN, 4, 1)
PANEL_OF(affine_32_panel, SCALES_BIASED, 8, 1)
PANEL_OF(affine_64_panel, SCALES_BIASED, 16, 1)
PANEL_OF(affine_panel, SCALES_BIASED, 4, t->group / 16)

static void int8_tile(const struct ig_narrow_tile *t, const int8_t *x, int first, int rows,
                      float *y)
{
    const bool fp4 = t->bits == IG_NARROW_FP4;
    if (fp4 && t->group == 16)
        nvfp4_panel(t, x, first, rows, y);
    else if (fp4)
        mxfp4_panel(t, x, first, rows, y);
    else if (t->group == 32)
        affine_32_panel(t, x, first, rows, y);
    else if (t->group == 64)
        affine_64_panel(t, x, first, rows, y);
    else
        affine_panel(t, x, first, rows, y);
}

// clang-format off
#define ZERO4(r) __m512 a##r = _mm512_setzero_ps(), b##r = a##r, c##r = a##r, d##r = a##r;
#define PAIRS(r) {                                                                                 \
        __m512bh v = (__m512bh)_mm512_set1_epi32(x[r]);                                            \
        a##r = _mm512_dpbf16_ps(a##r, w0, v);                                                      \
        b##r = _mm512_dpbf16_ps(b##r, w1, v);                                                      \
        c##r = _mm512_dpbf16_ps(c##r, w2, v);                                                      \
        d##r = _mm512_dpbf16_ps(d##r, w3, v);                                                      \
    }
#define STORE4(r)                                                                                  \
    if (r < rows) {                                                                             \
        float *to = y + r * t->step;                                                            \
        _mm512_mask_storeu_ps(to, m0, a##r);                                                       \
        _mm512_mask_storeu_ps(to + 16, m1, b##r);                                                  \
        _mm512_mask_storeu_ps(to + 32, m2, c##r);                                                  \
        _mm512_mask_storeu_ps(to + 48, m3, d##r);                                                  \
    }
// clang-format on

WITH_BF16 static void bf16_block(const struct ig_narrow_tile *t, const int32_t *x, int rows,
                                 float *y)
{
    const uint8_t *low = t->w, *high = low + t->cols * 2 * PANEL;
    EACH(ZERO4)
    for (int64_t c = 0; c < t->cols; c += 8) {
        UNROLL
        for (int j = 0; j < 4; j++, x += R, low += 4 * PANEL, high += 4 * PANEL) {
            __m512bh w0 = (__m512bh)_mm512_loadu_si512(low);
            __m512bh w1 = (__m512bh)_mm512_loadu_si512(low + 64);
            __m512bh w2 = (__m512bh)_mm512_loadu_si512(high);
            __m512bh w3 = (__m512bh)_mm512_loadu_si512(high + 64);
            EACH(PAIRS)
        }
    }
    __mmask16 m0 = features_from(t, 0), m1 = features_from(t, 16);
    __mmask16 m2 = features_from(t, 32), m3 = features_from(t, 48);
    EACH(STORE4)
}

/* Half a block stays in the first-level cache for all rows, where it fits. */
static void tile(const struct ig_narrow_tile *t)
{
    const size_t bytes = ig_narrow_x_bytes(t->cols);
    const int width = t->kind == IG_NARROW_BF16 ? N : PANEL;
    for (int n = 0; n < t->features; n += width) {
        const uint8_t *x = t->x;
        for (int r = 0; r < t->rows; r += R, x += bytes) {
            int rows = t->rows - r < R ? t->rows - r : R;
            float *y = t->y + r * t->step + n;
            if (t->kind == IG_NARROW_BF16)
                bf16_block(t, (const void *)x, rows, y);
            else
                int8_tile(t, (const void *)x, n, rows, y);
        }
    }
}

/* ---- matvec ---- */

/* A lane holds 4 columns; the group in which they lie hands out its scale from
 * a register of 16. */
INLINE float row_dot(const struct ig_matrix *w, const struct spreader *s, const int8_t *x,
                     int64_t row, const int bits)
{
    const int64_t groups = w->cols / w->group;
    const float *x_scales = (const float *)(const void *)(x + w->cols);
    const float *x_sums = x_scales + (groups + 15) / 16 * 16;
    const uint8_t *p = (const uint8_t *)w->data + row * (w->cols * w->bits / 8);
    const __m128i shift = _mm_cvtsi32_si128(__builtin_ctz((unsigned)w->group));
    __m512i column = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60);
    __m512 sum = _mm512_setzero_ps(), biased = sum;
    int64_t c = 0;
    for (int64_t g = 0; g < groups; g += 16) {
        __m512 bias, scale = scales_at(w, row * groups + g, lanes_of(groups - g), &bias);
        scale = _mm512_mul_ps(scale, _mm512_loadu_ps(x_scales + g));
        biased = _mm512_fmadd_ps(bias, _mm512_loadu_ps(x_sums + g), biased);
        int64_t end = (g + 16) * w->group < w->cols ? (g + 16) * w->group : w->cols;
        for (; c < end; c += 64, p += bits * 8) {
            fetch_ahead(p, 64);
            __m512i codes = codes_at(s, bits, p);
            __m512i dot =
                _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, _mm512_loadu_si512(x + c));
            __m512 each = _mm512_permutexvar_ps(_mm512_srl_epi32(column, shift), scale);
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), each, sum);
            column = _mm512_add_epi32(column, _mm512_set1_epi32(64));
        }
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum, biased));
}

INLINE void matvec_bits(const struct ig_matrix *w, const void *operand, int64_t first,
                        int64_t count, float *y, const int bits)
{
    const struct spreader s = spreader_of(w);
    for (int64_t i = 0; i < count; i++)
        y[i] = row_dot(w, &s, operand, first + i, bits);
}

static void matvec(const struct ig_matrix *w, const void *operand, int64_t first, int64_t count,
                   float *y)
{
    switch (w->bits) {
    case 2: matvec_bits(w, operand, first, count, y, 2); return;
    case 3: matvec_bits(w, operand, first, count, y, 3); return;
    case 4: matvec_bits(w, operand, first, count, y, 4); return;
    case 5: matvec_bits(w, operand, first, count, y, 5); return;
    case 6: matvec_bits(w, operand, first, count, y, 6); return;
    default: matvec_bits(w, operand, first, count, y, 8); return;
    }
}
