/* SPDX-License-Identifier: Apache-2.0
 * ref narrow — the truth in plain C, and the layouts that all share. */
#include "tensor/kernels/narrow.h"

#include "base/check.h"
#include "tensor/kernels/scalar.h"

#include <math.h>

#define R     IG_NARROW_ROWS
#define N     IG_NARROW_FEATURES
#define PANEL 32
/* The smallest group that MLX has, nvfp4's. */
#define GROUP_MIN 16
/* Below, 127 / max would overflow: such a group counts as zeros. */
#define TINY 1e-30F

static const unsigned char fp4_codes[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                            12, 11, 10, 9,  8,  6,  4,  0};

size_t ig_narrow_x_scales(int64_t cols)
{
    return (size_t)cols * R;
}

size_t ig_narrow_w_scales(int64_t cols)
{
    return (size_t)cols * N;
}

size_t ig_narrow_x_bytes(int64_t cols)
{
    size_t bytes = (size_t)cols * R + 2 * sizeof(float) * R * (size_t)(cols / GROUP_MIN);
    size_t pairs = (size_t)cols * R * 2;
    return ((pairs > bytes ? pairs : bytes) + 63) / 64 * 64;
}

size_t ig_narrow_w_bytes(int64_t cols)
{
    size_t bytes = (size_t)cols * N + 2 * sizeof(float) * N * (size_t)(cols / GROUP_MIN);
    size_t pairs = (size_t)cols * N * 2;
    return pairs > bytes ? pairs : bytes;
}

bool ig_narrow_can(const struct ig_matrix *w, enum ig_narrow kind)
{
    if (w->cols % 64) return false;
    switch (w->packing) {
    case IG_PACK_BF16:
    case IG_PACK_FP8: return kind == IG_NARROW_BF16;
    case IG_PACK_FP4:
    case IG_PACK_AFFINE: return kind != IG_NARROW_NONE && w->cols % w->group == 0;
    default: return false;
    }
}

int ig_narrow_bits(const struct ig_matrix *w)
{
    return w->packing == IG_PACK_FP4 ? IG_NARROW_FP4 : w->bits;
}

/* One group of one row: codes, and its scale. Broken numbers give a broken scale. */
static float quantize(const float *x, int group, int8_t *codes, int *sum)
{
    uint32_t top = 0;
    for (int i = 0; i < group; i++) {
        uint32_t bits = ig_f32_bits(x[i]) & 0x7FFFFFFF;
        if (bits > top) top = bits;
    }
    float max = ig_f32_of_bits(top), inverse = max >= TINY ? 127.0F / max : 0.0F;
    *sum = 0;
    for (int i = 0; i < group; i++) {
        float code = x[i] * inverse;
        codes[i] = fabsf(code) <= 128.0F ? (int8_t)lrintf(code) : 0;
        *sum += codes[i];
    }
    return max < TINY ? 0.0F : max / 127.0F;
}

static void pack_x(enum ig_narrow kind, int group, const float *x, int64_t cols, int rows,
                   void *out)
{
    memset(out, 0, ig_narrow_x_bytes(cols));
    if (kind == IG_NARROW_BF16) {
        unsigned char *words = out;
        for (int r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++)
                ig_store_u16(words + 2 * (c / 2 * 2 * R + 2 * r + c % 2),
                             ig_bf16_bits(x[r * cols + c]));
        return;
    }
    int8_t *codes = out;
    float *scales = (float *)(void *)(codes + ig_narrow_x_scales(cols));
    float *sums = scales + cols / group * R;
    for (int r = 0; r < rows; r++)
        for (int64_t g = 0; g < cols / group; g++) {
            int8_t row[128];
            int sum;
            IG_ASSERT(group <= 128);
            float scale = quantize(x + r * cols + g * group, group, row, &sum);
            scales[g * R + r] = scale;
            sums[g * R + r] = scale * (float)sum;
            for (int i = 0; i < group; i++) {
                int64_t c = g * group + i;
                codes[c / 4 * 4 * R + 4 * r + c % 4] = row[i];
            }
        }
}

static float float_at(const void *data, enum ig_dtype dtype, int64_t i)
{
    const unsigned char *p = (const unsigned char *)data + (size_t)i * ig_dtype_bytes(dtype);
    if (dtype == IG_F16) return ig_f16_value(ig_load_u16(p));
    if (dtype == IG_BF16) return ig_bf16_value(ig_load_u16(p));
    float value;
    memcpy(&value, p, sizeof value);
    return value;
}

static float scale_at(const struct ig_matrix *w, int64_t group, float *bias)
{
    if (w->packing == IG_PACK_AFFINE) {
        *bias = float_at(w->biases, w->scale_dtype, group);
        return float_at(w->scales, w->scale_dtype, group);
    }
    unsigned char code = ((const unsigned char *)w->scales)[group];
    float scale = ldexpf(1.0F, (int)code - 127);
    if (w->packing == IG_PACK_FP4 && w->group == 16) {
        unsigned exponent = code >> 3 & 15, mantissa = code & 7;
        scale = exponent ? ldexpf((float)(mantissa | 8), (int)exponent - 10)
                         : ldexpf((float)mantissa, -9);
        if (code & 0x80) scale = -scale;
    }
    *bias = -6.0F * scale;
    return 0.5F * scale;
}

static unsigned code_at(const struct ig_matrix *w, int64_t row, int64_t col)
{
    const unsigned char *p = (const unsigned char *)w->data + (size_t)row * ig_matmul_row_bytes(w);
    int64_t bit = col * w->bits;
    unsigned value = p[bit / 8];
    if (bit % 8 + w->bits > 8) value |= (unsigned)p[bit / 8 + 1] << 8;
    value = value >> (bit % 8) & ((1U << w->bits) - 1);
    return w->packing == IG_PACK_FP4 ? fp4_codes[value] : value;
}

/* Column c of feature n, among units of `unit` columns. */
static int64_t w_place(int64_t n, int64_t c, int64_t cols, int unit)
{
    return n / PANEL * PANEL * cols + c / unit * unit * PANEL + n % PANEL * unit + c % unit;
}

static void pack_w(enum ig_narrow kind, const struct ig_matrix *w, int64_t first, int64_t count,
                   void *out)
{
    int64_t cols = w->cols;
    memset(out, 0, ig_narrow_w_bytes(cols));
    if (kind == IG_NARROW_BF16) {
        struct ig_matmul_ops ops;
        ig_matmul_ref(&ops);
        for (int64_t n = 0; n < count; n++)
            for (int64_t c = 0; c < cols; c++) {
                float value;
                ops.unpack(w, first + n, c, 1, &value);
                ig_store_u16((unsigned char *)out + 2 * w_place(n, c, cols, 2),
                             ig_bf16_bits(value));
            }
        return;
    }
    unsigned char *codes = out;
    int64_t groups = cols / w->group;
    float *scales = (float *)(void *)(codes + ig_narrow_w_scales(cols));
    float *biases = scales + groups * N;
    for (int64_t n = 0; n < count; n++) {
        for (int64_t c = 0; c < cols; c++)
            codes[w_place(n, c, cols, 4)] = (unsigned char)code_at(w, first + n, c);
        for (int64_t g = 0; g < groups; g++) {
            int64_t at = (n / PANEL * groups + g) * PANEL + n % PANEL;
            scales[at] = scale_at(w, (first + n) * groups + g, &biases[at]);
        }
    }
}

/* The tile in which a row is; the row counts from its start then. */
static const void *tile_of(const struct ig_narrow_tile *t, int *row)
{
    const unsigned char *x = t->x;
    x += (size_t)(*row / R) * ig_narrow_x_bytes(t->cols);
    *row %= R;
    return x;
}

static float bf16_dot(const struct ig_narrow_tile *t, int row, int n)
{
    const unsigned char *x = tile_of(t, &row), *w = t->w;
    float sum = 0.0F;
    for (int64_t c = 0; c < t->cols; c++)
        sum = fmaf(ig_bf16_value(ig_load_u16(x + 2 * (c / 2 * 2 * R + 2 * row + c % 2))),
                   ig_bf16_value(ig_load_u16(w + 2 * w_place(n, c, t->cols, 2))), sum);
    return sum;
}

static float int8_dot(const struct ig_narrow_tile *t, int row, int n)
{
    const int8_t *x = tile_of(t, &row);
    const unsigned char *w = t->w;
    const int zero = t->bits == IG_NARROW_FP4 ? IG_NARROW_FP4_ZERO : 0;
    int64_t groups = t->cols / t->group;
    const float *x_scales = (const float *)(const void *)(x + ig_narrow_x_scales(t->cols));
    const float *x_sums = x_scales + groups * R;
    const float *scales = (const float *)(const void *)(w + ig_narrow_w_scales(t->cols));
    const float *biases = scales + groups * N;
    float sum = 0.0F;
    for (int64_t g = 0; g < groups; g++) {
        int dot = 0;
        for (int64_t c = g * t->group; c < (g + 1) * t->group; c++)
            dot += x[c / 4 * 4 * R + 4 * row + c % 4] * (w[w_place(n, c, t->cols, 4)] - zero);
        int64_t at = (n / PANEL * groups + g) * PANEL + n % PANEL;
        sum = fmaf((float)dot * scales[at], x_scales[g * R + row], sum);
        if (!zero) sum = fmaf(x_sums[g * R + row], biases[at], sum);
    }
    return sum;
}

static void tile(const struct ig_narrow_tile *t)
{
    for (int r = 0; r < t->rows; r++)
        for (int n = 0; n < t->features; n++)
            t->y[r * t->step + n] =
                t->kind == IG_NARROW_BF16 ? bf16_dot(t, r, n) : int8_dot(t, r, n);
}

static void prepare(const struct ig_matrix *w, const float *x, void *operand)
{
    int8_t *codes = operand;
    int64_t groups = w->cols / w->group, padded = (groups + 15) / 16 * 16;
    float *scales = (float *)(void *)(codes + w->cols), *sums = scales + padded;
    memset(scales, 0, 2 * sizeof *scales * (size_t)padded);
    for (int64_t g = 0; g < groups; g++) {
        int sum;
        scales[g] = quantize(x + g * w->group, w->group, codes + g * w->group, &sum);
        sums[g] = scales[g] * (float)sum;
    }
}

static void matvec(const struct ig_matrix *w, const void *operand, int64_t first, int64_t count,
                   float *y)
{
    const int8_t *codes = operand;
    int64_t groups = w->cols / w->group;
    const float *scales = (const float *)(const void *)(codes + w->cols);
    const float *sums = scales + (groups + 15) / 16 * 16;
    for (int64_t i = 0; i < count; i++) {
        double sum = 0.0;
        for (int64_t g = 0; g < groups; g++) {
            int dot = 0;
            float bias, scale = scale_at(w, (first + i) * groups + g, &bias);
            for (int64_t c = g * w->group; c < (g + 1) * w->group; c++)
                dot += (int)code_at(w, first + i, c) * codes[c];
            sum += (double)scale * (double)scales[g] * dot + (double)bias * (double)sums[g];
        }
        y[i] = (float)sum;
    }
}

void ig_narrow_ref(struct ig_narrow_ops *ops)
{
    *ops = (struct ig_narrow_ops){true, true, pack_x, pack_w, tile, prepare, matvec};
}
