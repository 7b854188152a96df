/* SPDX-License-Identifier: Apache-2.0
 * avx2 codes — narrow arithmetic in 256 bits, but for the tiles: plain AVX2 (avx2_narrow.c) and
 * AVX-VNNI (avxvnni_narrow.c) compile it each for themselves.
 *
 * Codes become bytes 64 at a time, in two vectors:
 *   4 bits      even columns, and odd ones
 *   8 bits      columns 0-15 and 32-47, and 16-31 and 48-63
 *   the others  the same; a byte shuffle gives each word the two bytes in which a pair of codes
 *               lies, one multiplication shifts the first to the high byte, another the second to
 *               the low byte: pairs are swapped
 * Either way a 32-bit lane lies within 16 columns, and a half within 32, so that sums of four bytes
 * of both vectors belong to one group. x is put in the same order once.
 *
 * Layouts, else as narrow.h has them: bytes of pairs are swapped, panels are 16 features wide, and
 * behind x's scales and sums come, in integers, what sums start from: -12 (sum x') of fp4, then
 * 128 (sum x') of 8 bits. */
#pragma once
#include "tensor/kernels/avx2/avx2_lanes.h"
#include "tensor/kernels/narrow.h"

#define R       IG_NARROW_ROWS
#define N       IG_NARROW_FEATURES
#define PANEL   16
#define STRETCH 64     /* groups whose scales are converted at a time */
#define TINY    1e-30F /* as in ref */

/* vpmaddubsw adds two products in 16 bits: codes of 8 bits are taken as q - 128, |q - 128| times x
 * with its sign. vpdpbusd takes them as they are. */
#if defined(__AVXVNNI__)
#define HALF 0
#else
#define HALF 128
#endif

/* ---- codes ---- */

/* Known when a kernel is compiled. */
struct coding {
    int bits;
    bool fp4;
};

struct reader {
    __m256i shuffle[2], up, down, high, low;
};

/* Where in a block of 64 codes the 16 bytes start that hold a quarter, not past the block's end. */
INLINE int quarter(const int bits, int i)
{
    int want = 2 * bits * i, last = 8 * bits - 16;
    return want < last ? want : last;
}

static struct reader reader_of(int bits)
{
    uint8_t shuffle[2][32];
    uint16_t up[16], down[16];
    for (int i = 0; i < 16; i++) {
        int bit = 2 * bits * (i % 8), shift = bit % 8;
        up[i] = (uint16_t)(1U << (8 - shift));
        down[i] = (uint16_t)(1U << (16 - shift - bits) % 16); /* 8 bits use neither */
        for (int v = 0; v < 2; v++) {
            int q = i / 8 * 2 + v, at = bit / 8 + 2 * bits * q - quarter(bits, q);
            shuffle[v][2 * i] = (uint8_t)at;
            shuffle[v][2 * i + 1] = (uint8_t)(at < 15 ? at + 1 : at); /* of 15, all are in one */
        }
    }
    int mask = (1 << bits) - 1;
    return (struct reader){
        .shuffle = {_mm256_loadu_si256((const void *)shuffle[0]),
                    _mm256_loadu_si256((const void *)shuffle[1])},
        .up = _mm256_loadu_si256((const void *)up),
        .down = _mm256_loadu_si256((const void *)down),
        .high = _mm256_set1_epi16((short)(mask << 8)),
        .low = _mm256_set1_epi16((short)mask),
    };
}

INLINE __m256i quarters_at(const int bits, const uint8_t *p, int low, int high)
{
    __m128i a = _mm_loadu_si128((const void *)(p + quarter(bits, low)));
    __m128i b = _mm_loadu_si128((const void *)(p + quarter(bits, high)));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
}

/* 64 codes as bytes. */
INLINE void codes_at(const struct reader *s, const struct coding q, const uint8_t *p,
                     __m256i out[2])
{
    if (q.bits == 4) {
        __m256i v = _mm256_loadu_si256((const void *)p), nibble = _mm256_set1_epi8(15);
        out[0] = _mm256_and_si256(v, nibble);
        out[1] = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);
        if (!q.fp4) return;
        const __m256i table = _mm256_broadcastsi128_si256(
            _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
        out[0] = _mm256_shuffle_epi8(table, out[0]);
        out[1] = _mm256_shuffle_epi8(table, out[1]);
        return;
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m256i v = quarters_at(q.bits, p, i, i + 2);
        if (q.bits < 8) {
            v = _mm256_shuffle_epi8(v, s->shuffle[i]);
            __m256i even = _mm256_and_si256(_mm256_mullo_epi16(v, s->up), s->high);
            v = _mm256_or_si256(even, _mm256_and_si256(_mm256_mulhi_epu16(v, s->down), s->low));
        }
        out[i] = v;
    }
}

/* Scales and biases of 8 groups, of which `inside` are there, as if all codes were affine. */
INLINE __m256 scales_at(const struct ig_matrix *w, int64_t first, int64_t inside, __m256 *biases)
{
    __m256 scales = scales_8(w, first, inside);
    if (w->packing == IG_PACK_AFFINE) {
        const uint8_t *p = w->biases;
        *biases =
            plain_load(w->scale_dtype, p + (size_t)first * ig_dtype_bytes(w->scale_dtype), inside);
        return scales;
    }
    *biases = _mm256_mul_ps(scales, _mm256_set1_ps(-6.0F));
    return _mm256_mul_ps(scales, _mm256_set1_ps(0.5F));
}

/* ---- x ---- */

INLINE __m256i swap_pairs(__m256i v)
{
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(_mm_setr_epi8(
                                      1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)));
}

/* The largest magnitude of a group, NaN above all. */
INLINE float magnitude(const float *x, int group)
{
    const __m256i sign = _mm256_set1_epi32(0x7FFFFFFF);
    __m256i top = _mm256_setzero_si256();
    for (int i = 0; i < group; i += 8)
        top = _mm256_max_epu32(top,
                               _mm256_and_si256(_mm256_loadu_si256((const void *)(x + i)), sign));
    __m128i v = _mm_max_epu32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    v = _mm_max_epu32(v, _mm_shuffle_epi32(v, 0x4E));
    v = _mm_max_epu32(v, _mm_shuffle_epi32(v, 0xB1));
    return _mm_cvtss_f32(_mm_castsi128_ps(v));
}

INLINE int total_of(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

/* 16 codes at a time; the group's scale. Broken numbers give a broken scale. */
INLINE float quantize(const float *x, int group, int8_t *codes, int *sum)
{
    float max = magnitude(x, group), inverse = max >= TINY ? 127.0F / max : 0.0F;
    const __m256 by = _mm256_set1_ps(inverse);
    __m256i total = _mm256_setzero_si256();
    for (int i = 0; i < group; i += 16) {
        __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), by));
        __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8), by));
        total = _mm256_add_epi32(total, _mm256_add_epi32(a, b));
        __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
        __m128i high = _mm256_extracti128_si256(words, 1);
        _mm_storeu_si128((void *)(codes + i), _mm_packs_epi16(_mm256_castsi256_si128(words), high));
    }
    *sum = total_of(total);
    return max < TINY ? 0.0F : max / 127.0F;
}

/* 64 columns in the order of codes_at. */
INLINE void order_as_codes(int bits, int8_t *x)
{
    __m256i a = _mm256_loadu_si256((const void *)x);
    __m256i b = _mm256_loadu_si256((const void *)(x + 32));
    __m256i even, odd;
    if (bits == 4) {
        const __m256i low = _mm256_set1_epi16(255);
        even = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
        odd = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
        even = _mm256_permute4x64_epi64(even, 0xD8);
        odd = _mm256_permute4x64_epi64(odd, 0xD8);
    } else {
        even = _mm256_permute2x128_si256(a, b, 0x20);
        odd = _mm256_permute2x128_si256(a, b, 0x31);
        if (bits < 8) even = swap_pairs(even), odd = swap_pairs(odd);
    }
    _mm256_storeu_si256((void *)x, even);
    _mm256_storeu_si256((void *)(x + 32), odd);
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
    for (int64_t c = 0; c < w->cols; c += 64)
        order_as_codes(w->bits, codes + c);
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
            int32_t row[32] = {0};
            int8_t *to = codes + g * group * R + 4 * r;
            int64_t at = g * R + r;
            int sum = 0;
            scales[at] = 0.0F;
            if (r < rows)
                scales[at] = quantize(x + r * cols + g * group, group, (int8_t *)row, &sum);
            sums[at] = scales[at] * (float)sum;
            starts[at] = (int32_t)(-(uint32_t)IG_NARROW_FP4_ZERO * (uint32_t)sum);
            starts[cols / group * R + at] = (int32_t)((uint32_t)HALF * (uint32_t)sum);
            for (int i = 0; i < group / 4; i++) {
                uint32_t four = (uint32_t)row[i];
                four = (four & 0x00FF00FF) << 8 | (four >> 8 & 0x00FF00FF);
                memcpy(to + (ptrdiff_t)(4 * R * i), &four, 4);
            }
        }
}

/* ---- W ---- */

/* 64 codes in the order of their columns, but for swapped pairs. */
INLINE void order_as_columns(const int bits, __m256i v[2])
{
    if (bits == 4) {
        __m256i even = v[0];
        v[0] = _mm256_unpacklo_epi8(v[1], even);
        v[1] = _mm256_unpackhi_epi8(v[1], even);
    }
    __m256i low = _mm256_permute2x128_si256(v[0], v[1], 0x20);
    v[1] = _mm256_permute2x128_si256(v[0], v[1], 0x31);
    v[0] = low;
    if (bits != 8) return;
    UNROLL
    for (int i = 0; i < 2; i++)
        v[i] = _mm256_xor_si256(swap_pairs(v[i]), _mm256_set1_epi8((char)HALF));
}

/* The codes of 8 features. */
INLINE void pack_codes(const struct ig_matrix *w, const uint8_t *data, int64_t used, float *panel,
                       const struct coding q)
{
    const struct reader s = reader_of(q.bits);
    const size_t row_bytes = ig_matmul_row_bytes(w);
    for (int64_t c = 0; c < w->cols; c += 64, data += 8 * q.bits, panel += 16 * PANEL) {
        float low[64] __attribute__((aligned(32))), high[64] __attribute__((aligned(32)));
        for (int64_t i = 0; i < 8; i++) {
            __m256i v[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
            if (i < used) {
                codes_at(&s, q, data + (size_t)i * row_bytes, v);
                order_as_columns(q.bits, v);
            }
            _mm256_store_si256((void *)(low + 8 * i), v[0]);
            _mm256_store_si256((void *)(high + 8 * i), v[1]);
        }
        transpose_8(low, 8, panel, PANEL);
        transpose_8(high, 8, panel + 8 * PANEL, PANEL);
    }
}

/* Scales and biases of 8 features, the groups from `group` of the first on. */
static void pack_scales(const struct ig_matrix *w, int64_t group, int64_t used, float *scales,
                        float *biases)
{
    const int64_t groups = w->cols / w->group;
    float a[64], b[64], across[64];
    for (int64_t g = 0; g < groups; g += 8) {
        const int64_t inside = groups - g < 8 ? groups - g : 8;
        for (int64_t i = 0; i < 8; i++) {
            __m256 bias = _mm256_setzero_ps(), scale = bias;
            if (i < used) scale = scales_at(w, group + i * groups + g, inside, &bias);
            _mm256_storeu_ps(a + 8 * i, scale);
            _mm256_storeu_ps(b + 8 * i, bias);
        }
        transpose_8(a, 8, across, 8);
        for (int64_t i = 0; i < inside; i++)
            memcpy(scales + (g + i) * PANEL, across + 8 * i, 8 * sizeof *across);
        transpose_8(b, 8, across, 8);
        for (int64_t i = 0; i < inside; i++)
            memcpy(biases + (g + i) * PANEL, across + 8 * i, 8 * sizeof *across);
    }
}

static void pack_w(enum ig_narrow kind, const struct ig_matrix *w, int64_t first, int64_t count,
                   void *out)
{
    const int64_t groups = w->cols / w->group;
    float *scales = (float *)(void *)((uint8_t *)out + ig_narrow_w_scales(w->cols));
    (void)kind;
    for (int64_t n = 0; n < N; n += 8) {
        const uint8_t *data =
            (const uint8_t *)w->data + (size_t)(first + n) * ig_matmul_row_bytes(w);
        float *panel = (float *)out + n / PANEL * PANEL * w->cols / 4 + n % PANEL;
        switch (w->packing == IG_PACK_FP4 ? 0 : w->bits) {
        case 0: pack_codes(w, data, count - n, panel, (struct coding){4, true}); break;
        case 2: pack_codes(w, data, count - n, panel, (struct coding){2, false}); break;
        case 3: pack_codes(w, data, count - n, panel, (struct coding){3, false}); break;
        case 4: pack_codes(w, data, count - n, panel, (struct coding){4, false}); break;
        case 5: pack_codes(w, data, count - n, panel, (struct coding){5, false}); break;
        case 6: pack_codes(w, data, count - n, panel, (struct coding){6, false}); break;
        default: pack_codes(w, data, count - n, panel, (struct coding){8, false}); break;
        }
        int64_t to = n / PANEL * groups * PANEL + n % PANEL;
        pack_scales(w, (first + n) * groups, count - n, scales + to, scales + groups * N + to);
    }
}

/* ---- matvec ---- */

/* The sums of each lane's 8 products. */
INLINE __m256i dot_64(const int bits, const __m256i codes[2], const int8_t *x)
{
    __m256i x0 = _mm256_loadu_si256((const void *)x);
    __m256i x1 = _mm256_loadu_si256((const void *)(x + 32));
#if defined(__AVXVNNI__)
    (void)bits;
    __m256i sum = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), codes[0], x0);
    return _mm256_dpbusd_avx_epi32(sum, codes[1], x1);
#else
    const __m256i ones = _mm256_set1_epi16(1);
    if (bits < 8) /* 4 x 63 x 127 fit 16 bits */
        return _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(codes[0], x0),
                                                  _mm256_maddubs_epi16(codes[1], x1)),
                                 ones);
    __m256i a = _mm256_xor_si256(codes[0], _mm256_set1_epi8((char)HALF));
    __m256i b = _mm256_xor_si256(codes[1], _mm256_set1_epi8((char)HALF));
    a = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(x0, a));
    b = _mm256_maddubs_epi16(_mm256_abs_epi8(b), _mm256_sign_epi8(x1, b));
    return _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
#endif
}

/* Scales of W times those of x for the groups of a stretch; and the sum of biases. Apart, so that
 * row_dot keeps its registers. */
__attribute__((noinline)) static __m256 stretch_scales(const struct ig_matrix *w, int64_t first,
                                                       const float *x_scales, const float *x_sums,
                                                       int64_t count, float *out)
{
    const bool usual = w->packing == IG_PACK_AFFINE && w->scale_dtype == IG_BF16;
    const float half = w->bits == 8 ? HALF : 0.0F;
    __m256 biased = _mm256_setzero_ps();
    for (int64_t g = 0; g < count; g += 8) {
        __m256 bias, scale;
        if (usual && count - g >= 8) { /* without a branch for what is not there */
            scale = plain_load(IG_BF16, (const uint8_t *)w->scales + 2 * (first + g), 8);
            bias = plain_load(IG_BF16, (const uint8_t *)w->biases + 2 * (first + g), 8);
        } else {
            scale = scales_at(w, first + g, count - g, &bias);
        }
        bias = _mm256_fmadd_ps(scale, _mm256_set1_ps(half), bias);
        biased = _mm256_fmadd_ps(bias, _mm256_loadu_ps(x_sums + g), biased);
        _mm256_storeu_ps(out + g, _mm256_mul_ps(scale, _mm256_loadu_ps(x_scales + g)));
    }
    return biased;
}

INLINE __m256 block_dot(const struct reader *s, const struct coding q, const uint8_t *p,
                        const int8_t *x, __m256 scale, __m256 sum)
{
    __m256i codes[2];
    fetch_ahead(p, 64);
    codes_at(s, q, p, codes);
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot_64(q.bits, codes, x)), scale, sum);
}

/* The scale of each lane: of the one group of 64, or of those in which 64 columns lie. */
INLINE __m256 lane_scales(const bool by_64, const float *scales, __m256i owner)
{
    if (by_64) return _mm256_set1_ps(*scales);
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(scales)), owner);
}

INLINE float row_dot(const struct ig_matrix *w, const struct reader *s, const int8_t *x,
                     int64_t row, const struct coding q, const bool by_64)
{
    const int64_t groups = w->cols / w->group;
    const float *x_scales = (const float *)(const void *)(x + w->cols);
    const float *x_sums = x_scales + (groups + 15) / 16 * 16;
    const uint8_t *p = (const uint8_t *)w->data + (size_t)row * (size_t)(w->cols / 8 * q.bits);
    const int shift = by_64 ? 6 : __builtin_ctz((unsigned)w->group);
    const __m256i owner =
        _mm256_srl_epi32(_mm256_setr_epi32(0, 8, 16, 24, 32, 40, 48, 56), _mm_cvtsi32_si128(shift));
    float scales[STRETCH + 8];
    __m256 even = _mm256_setzero_ps(), odd = even, biased = even;
    for (int64_t g = 0; g < groups; g += STRETCH) {
        int64_t count = groups - g < STRETCH ? groups - g : STRETCH, cols = count << shift, c = 0;
        biased = _mm256_add_ps(
            biased, stretch_scales(w, row * groups + g, x_scales + g, x_sums + g, count, scales));
        for (; c + 128 <= cols; c += 128, p += q.bits * 16, x += 128) {
            const float *first = scales + (c >> shift), *second = scales + ((c + 64) >> shift);
            even = block_dot(s, q, p, x, lane_scales(by_64, first, owner), even);
            odd = block_dot(s, q, p + q.bits * 8, x + 64, lane_scales(by_64, second, owner), odd);
        }
        if (c == cols) continue;
        even = block_dot(s, q, p, x, lane_scales(by_64, scales + (c >> shift), owner), even);
        p += q.bits * 8, x += 64;
    }
    return sum_of(_mm256_add_ps(_mm256_add_ps(even, odd), biased));
}

INLINE void matvec_bits(const struct ig_matrix *w, const void *operand, int64_t first,
                        int64_t count, float *y, const struct coding q)
{
    const struct reader s = reader_of(q.bits);
    if (w->group == 64)
        for (int64_t i = 0; i < count; i++)
            y[i] = row_dot(w, &s, operand, first + i, q, true);
    else
        for (int64_t i = 0; i < count; i++)
            y[i] = row_dot(w, &s, operand, first + i, q, false);
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

/* 8 results, of which `inside` are there. */
INLINE void store_8(float *y, __m256 v, int inside)
{
    float all[8];
    if (inside >= 8) {
        _mm256_storeu_ps(y, v);
    } else if (inside > 0) {
        _mm256_storeu_ps(all, v);
        memcpy(y, all, (size_t)inside * sizeof *all);
    }
}

/* A panel of W, a tile of x: what a kernel multiplies. */
struct panel {
    const int32_t *x;
    const uint8_t *w;
    const float *x_scales, *x_sums, *scales, *biases;
    const int32_t *starts;
    int64_t groups, step;
    float *y;
    int rows, features, steps; /* to store; steps of 4 columns in a group */
};

static struct panel panel_of(const struct ig_narrow_tile *t, int row, int feature)
{
    const int64_t groups = t->cols / t->group;
    const uint8_t *x = (const uint8_t *)t->x + (size_t)(row / R) * ig_narrow_x_bytes(t->cols);
    const void *x_scales = x + ig_narrow_x_scales(t->cols);
    const void *w_scales = (const uint8_t *)t->w + ig_narrow_w_scales(t->cols);
    struct panel p = {.x = (const void *)x,
                      .w = (const uint8_t *)t->w + feature * t->cols,
                      .x_scales = x_scales,
                      .scales = (const float *)w_scales + feature * groups,
                      .groups = groups,
                      .step = t->step,
                      .y = t->y + row * t->step + feature,
                      .rows = t->rows - row < R ? t->rows - row : R,
                      .features = t->features - feature,
                      .steps = t->group / 4};
    p.x_sums = p.x_scales + groups * R;
    p.starts = (const int32_t *)(const void *)(p.x_sums + groups * R);
    if (t->bits == 8) p.starts += groups * R;
    p.biases = p.scales + groups * N;
    return p;
}
