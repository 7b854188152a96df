/* SPDX-License-Identifier: Apache-2.0
 * ref matmul — the truth in plain C: every weight is decoded by its definition, products are summed
 * in f64. Packed rows are little-endian bit streams (docs/formats/mlx.md). */
#include "tensor/kernels/matmul.h"

#include "base/check.h"
#include "tensor/kernels/scalar.h"

#define LANES 16

static const float fp4_values[16] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                                     -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};

size_t ig_matmul_row_bytes(const struct ig_matrix *w)
{
    size_t cols = (size_t)w->cols;
    switch (w->packing) {
    case IG_PACK_F32: return cols * 4;
    case IG_PACK_F16:
    case IG_PACK_BF16: return cols * 2;
    default: return cols * (size_t)w->bits / 8;
    }
}

int64_t ig_matmul_operand_floats(int64_t cols)
{
    /* The row padded to whole blocks of 128, and the sums of its groups (at least 32 wide) padded
     * to a vector. */
    return (cols + 127) / 128 * 128 + (cols / 32 + 31) / 16 * 16;
}

void ig_matmul_permute(const struct ig_matrix *w, const float *x, int lanes, int run,
                       float *operand)
{
    int64_t padded = (w->cols + 127) / 128 * 128, block = (int64_t)lanes * run;
    int64_t whole = w->cols / block * block;
    memset(operand, 0, (size_t)ig_matmul_operand_floats(w->cols) * sizeof *operand);
    for (int64_t c = 0; c < whole; c += block)
        for (int64_t l = 0; l < lanes; l++)
            for (int64_t j = 0; j < run; j++)
                operand[c + j * lanes + l] = x[c + l * run + j];
    for (int64_t c = whole; c < w->cols; c++)
        operand[whole + (c - whole) % run * lanes + (c - whole) / run] = x[c];
    if (w->packing != IG_PACK_AFFINE) return;
    for (int64_t g = 0; g < w->cols / w->group; g++) {
        float sum[4] = {0}; /* group is a multiple of 32 */
        for (int i = 0; i < w->group; i++)
            sum[i % 4] += x[g * w->group + i];
        operand[padded + g] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
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

/* Not NaN for 0x7F: see IG_PACK_FP8. */
static float e4m3(unsigned code)
{
    unsigned exponent = code >> 3 & 15, mantissa = code & 7;
    float value =
        exponent ? ldexpf((float)(mantissa | 8), (int)exponent - 10) : ldexpf((float)mantissa, -9);
    return code & 0x80 ? -value : value;
}

static float e8m0(unsigned code)
{
    return code == 255 ? INFINITY : ldexpf(1.0F, (int)code - 127);
}

static unsigned code_at(const unsigned char *row, int64_t i, int bits)
{
    int64_t bit = i * bits;
    unsigned value = row[bit / 8];
    if (bit % 8 + bits > 8) value |= (unsigned)row[bit / 8 + 1] << 8;
    return value >> (bit % 8) & ((1U << bits) - 1);
}

static float weight(const struct ig_matrix *w, int64_t row, int64_t col)
{
    int64_t at = row * w->cols + col;
    if (w->packing == IG_PACK_F32) return float_at(w->data, IG_F32, at);
    if (w->packing == IG_PACK_F16) return float_at(w->data, IG_F16, at);
    if (w->packing == IG_PACK_BF16) return float_at(w->data, IG_BF16, at);
    const unsigned char *codes =
        (const unsigned char *)w->data + (size_t)row * ig_matmul_row_bytes(w);
    unsigned code = code_at(codes, col, w->bits);
    int64_t group = at / w->group; /* cols is a multiple of group */
    if (w->packing == IG_PACK_AFFINE)
        return fmaf(float_at(w->scales, w->scale_dtype, group), (float)code,
                    float_at(w->biases, w->scale_dtype, group));
    unsigned scale = ((const unsigned char *)w->scales)[group];
    if (w->packing == IG_PACK_FP8) return e8m0(scale) * e4m3(code);
    return (w->group == 16 ? e4m3(scale) : e8m0(scale)) * fp4_values[code];
}

static void prepare(const struct ig_matrix *w, const float *x, float *operand)
{
    memcpy(operand, x, (size_t)w->cols * sizeof *x);
}

static void matvec(const struct ig_matrix *w, const float *operand, int64_t first, int64_t count,
                   float *y)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0.0;
        for (int64_t c = 0; c < w->cols; c++)
            sum += (double)weight(w, first + i, c) * (double)operand[c];
        y[i] = (float)sum;
    }
}

static void unpack(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count, float *out)
{
    for (int64_t c = 0; c < count; c++)
        out[c] = weight(w, row, first + c);
}

static void transpose(const float *in, int64_t in_step, int64_t rows, int64_t cols, float *out,
                      int64_t out_step)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            out[c * out_step + r] = in[r * in_step + c];
}

static void tile(const struct ig_tile *t)
{
    IG_ASSERT(t->lanes <= LANES);
    for (int n = 0; n < t->features; n++) {
        float *y = t->y + (int64_t)n * t->lanes_step;
        float sum[LANES] = {0};
        if (t->add) memcpy(sum, y, (size_t)t->lanes * sizeof *y);
        for (int64_t k = 0; k < t->depth; k++) {
            float w = t->w[n * t->row_step + k * t->col_step];
            for (int l = 0; l < t->lanes; l++)
                sum[l] = fmaf(t->x[k * t->lanes_step + l], w, sum[l]);
        }
        memcpy(y, sum, (size_t)t->lanes * sizeof *y);
    }
}

void ig_matmul_ref(struct ig_matmul_ops *ops)
{
    *ops = (struct ig_matmul_ops){prepare, matvec, unpack, transpose, tile, LANES};
}
