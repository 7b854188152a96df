/* SPDX-License-Identifier: Apache-2.0
 * atoms — the rows that a pursuit chooses from, and their products with many targets at once.
 *
 * To find the largest product the exact ones are not needed. Coarse: atoms and targets are rounded
 * to 8-bit codes, a scale for each group of them, and multiplied by the processor's instructions
 * for bytes (kernels/narrow.h), several times as fast as f32. What that loses is bounded,
 *
 *     |<r, a> - <r', a'>|  <=  |r - r'| |a| + (|r| + |r - r'|) |a - a'|
 *
 * so that those which may be the largest are known, and few (pursuit.c). The same with f32, whose
 * bound is that of a chain of `width` roundings. */
#include "merge/transplant/transplant.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define COLS   IG_GEMM_COLS
#define CODES  255  /* of an atom's 8 bits */
#define SUMMED 1e-4 /* of its norm, more than f32 sums of groups lose */

/* ---- memory ---- */

static int64_t block_count(const struct atoms *a)
{
    return (a->count + ATOMS_BLOCK - 1) / ATOMS_BLOCK;
}

static size_t block_bytes(const struct atoms *a)
{
    if (a->coarse) return (ig_narrow_w_bytes(a->width) + 63) / 64 * 64;
    return (size_t)(ATOMS_BLOCK * a->width) * ig_dtype_bytes(a->dtype);
}

static size_t row_bytes(const struct atoms *a)
{
    return ((size_t)(a->count * a->width) * ig_dtype_bytes(a->dtype) + 63) / 64 * 64;
}

bool transplant__atoms_way(struct atoms *a, bool may_be_coarse, struct ig_err *err)
{
    enum ig_isa isa;
    if (!ig_isa_pick(&isa, err)) return false;
    IG_OPS_FILL(gemm, &a->gemm, isa);
    IG_OPS_FILL(convert, &a->convert, isa);
    ig_narrow_fill(&a->narrow, isa);
    a->group = a->width % 128 == 0 ? 128 : 64;
    a->coarse = may_be_coarse && a->narrow.int8 && a->width % 64 == 0;
    return true;
}

bool transplant__atoms_new(struct atoms *a, struct ig_err *err)
{
    size_t blocks = (size_t)block_count(a);
    a->rows = aligned_alloc(64, row_bytes(a));
    a->panels = aligned_alloc(64, blocks * block_bytes(a));
    a->norms = calloc(2 * blocks * ATOMS_BLOCK, sizeof *a->norms);
    a->most = calloc(2 * blocks, sizeof *a->most);
    if (!a->rows || !a->panels || !a->norms || !a->most) return ig_err_nomem(err);
    a->errors = a->norms + blocks * ATOMS_BLOCK;
    return true;
}

void transplant__atoms_release(struct atoms *a)
{
    free(a->rows);
    free(a->panels);
    free(a->norms);
    free(a->most);
}

size_t transplant__atoms_bytes(const struct atoms *a)
{
    return row_bytes(a) + (size_t)block_count(a) * (block_bytes(a) + ATOMS_BLOCK * 8);
}

/* ---- rows into blocks ---- */

struct coded {
    uint8_t *codes;
    float *scales, *biases;
};

/* One group; returns the square of what is lost. */
static double code_group(const float *row, int count, uint8_t *codes, float *scale, float *bias)
{
    float low = row[0], high = row[0];
    double lost = 0;
    for (int i = 1; i < count; i++) {
        low = row[i] < low ? row[i] : low;
        high = row[i] > high ? row[i] : high;
    }
    *bias = low;
    *scale = (high - low) / CODES;
    for (int i = 0; i < count; i++) {
        float code = *scale > 0 ? rintf((row[i] - low) / *scale) : 0;
        codes[i] = (uint8_t)(code > CODES ? CODES : code);
        double left = (double)row[i] - ((double)*scale * codes[i] + (double)low);
        lost += left * left;
    }
    return lost;
}

static bool put_coarse(struct atoms *a, int64_t index, const float *rows, int count,
                       struct ig_err *err)
{
    size_t d = (size_t)a->width, groups = d / (size_t)a->group;
    struct coded c = {.codes = calloc(ATOMS_BLOCK, d),
                      .scales = calloc(ATOMS_BLOCK * groups, sizeof(float)),
                      .biases = calloc(ATOMS_BLOCK * groups, sizeof(float))};
    bool ok = (c.codes && c.scales && c.biases) || ig_err_nomem(err);
    for (int i = 0; ok && i < count; i++) {
        double lost = 0;
        for (size_t g = 0; g < groups; g++) {
            size_t at = (size_t)i * d + g * (size_t)a->group, n = (size_t)i * groups + g;
            lost += code_group(rows + at, a->group, c.codes + at, c.scales + n, c.biases + n);
        }
        float *error = a->errors + index * ATOMS_BLOCK + i;
        *error = (float)(sqrt(lost) + SUMMED * (double)a->norms[index * ATOMS_BLOCK + i]);
    }
    const struct ig_matrix w = {.packing = IG_PACK_AFFINE,
                                .bits = 8,
                                .group = a->group,
                                .scale_dtype = IG_F32,
                                .rows = ATOMS_BLOCK,
                                .cols = a->width,
                                .data = c.codes,
                                .scales = c.scales,
                                .biases = c.biases};
    if (ok)
        a->narrow.pack_w(IG_NARROW_INT8, &w, 0, ATOMS_BLOCK,
                         a->panels + (size_t)index * block_bytes(a));
    free(c.codes);
    free(c.scales);
    free(c.biases);
    return ok;
}

static void put_fine(struct atoms *a, int64_t index, int count)
{
    size_t size = ig_dtype_bytes(a->dtype), d = (size_t)a->width;
    unsigned char *block = a->panels + (size_t)index * block_bytes(a);
    memset(block, 0, block_bytes(a));
    for (int i = 0; i < count; i++) {
        const unsigned char *row = a->rows + (size_t)(index * ATOMS_BLOCK + i) * d * size;
        unsigned char *to = block + (size_t)(i / COLS * COLS) * d * size;
        for (size_t p = 0; p < d; p++)
            memcpy(to + (p * COLS + (size_t)(i % COLS)) * size, row + p * size, size);
        a->errors[index * ATOMS_BLOCK + i] =
            a->norms[index * ATOMS_BLOCK + i] * (float)a->width * FLT_EPSILON;
    }
}

bool transplant__atoms_put(struct atoms *a, int64_t index, const float *rows, struct ig_err *err)
{
    int64_t first = index * ATOMS_BLOCK, left = a->count - first;
    int count = (int)(left < ATOMS_BLOCK ? left : ATOMS_BLOCK);
    size_t size = ig_dtype_bytes(a->dtype);
    ig_convert_from_f32(&a->convert, a->dtype, rows, a->rows + (size_t)(first * a->width) * size,
                        count * a->width);
    for (int i = 0; i < count; i++) {
        const float *row = rows + i * a->width;
        a->norms[first + i] = (float)sqrt(transplant__dot(row, row, a->width));
    }
    if (!a->coarse)
        put_fine(a, index, count);
    else if (!put_coarse(a, index, rows, count, err))
        return false;
    for (int i = 0; i < count; i++) {
        float *most = a->most + 2 * index;
        most[0] = fmaxf(most[0], a->norms[first + i]);
        most[1] = fmaxf(most[1], a->errors[first + i]);
    }
    return true;
}

void transplant__atom(const struct atoms *atoms, int64_t index, float *out)
{
    size_t row = (size_t)atoms->width * ig_dtype_bytes(atoms->dtype);
    ig_convert_to_f32(&atoms->convert, atoms->dtype, atoms->rows + (size_t)index * row, out,
                      atoms->width);
}

/* ---- products ---- */

/* What rounding to codes loses of a target. */
double transplant__lost(const struct atoms *a, const float *x)
{
    double sum = 0;
    for (int64_t g = 0; a->coarse && g < a->width; g += a->group) {
        float most = 0;
        for (int i = 0; i < a->group; i++)
            most = fmaxf(most, fabsf(x[g + i]));
        float scale = most / 127, inverse = most > 0 ? 127 / most : 0;
        for (int i = 0; i < a->group; i++) {
            double left = (double)(x[g + i] - scale * rintf(x[g + i] * inverse));
            sum += left * left;
        }
    }
    return sqrt(sum) * 1.001; /* this and that are rounded too */
}

static void pack_targets(struct pursuer *p, int count)
{
    const struct atoms *a = p->atoms;
    size_t bytes = ig_narrow_x_bytes(a->width);
    unsigned char *to = p->packed;
    for (int t = 0; a->coarse && t < count; t += IG_NARROW_ROWS, to += bytes) {
        int rows = count - t < IG_NARROW_ROWS ? count - t : IG_NARROW_ROWS;
        a->narrow.pack_x(IG_NARROW_INT8, a->group, p->rows + t * a->width, a->width, rows, to);
    }
    float *panels = (float *)(void *)p->packed;
    for (int t = 0; !a->coarse && t < count; t++) {
        float *column = panels + t / IG_GEMM_ROWS * p->step + t % IG_GEMM_ROWS;
        for (int64_t i = 0; i < a->width; i++)
            column[i * IG_GEMM_ROWS] = p->rows[t * a->width + i];
    }
}

static void multiply_coarse(struct pursuer *p, int64_t index, int count)
{
    const struct atoms *a = p->atoms;
    const struct ig_narrow_tile tile = {.kind = IG_NARROW_INT8,
                                        .x = p->packed,
                                        .w = a->panels + (size_t)index * block_bytes(a),
                                        .y = p->products,
                                        .cols = a->width,
                                        .step = ATOMS_BLOCK,
                                        .group = a->group,
                                        .rows = count,
                                        .features = ATOMS_BLOCK,
                                        .bits = 8};
    a->narrow.tile(&tile);
}

static void multiply_fine(struct pursuer *p, int64_t index, int count)
{
    const struct atoms *a = p->atoms;
    const float *panels = (const float *)(const void *)p->packed;
    size_t half = (size_t)(COLS * a->width) * ig_dtype_bytes(a->dtype);
    memset(p->products, 0, (size_t)(TARGETS_MAX * ATOMS_BLOCK) * sizeof *p->products);
    for (int h = 0; h < ATOMS_BLOCK / COLS; h++) {
        const unsigned char *from = a->panels + (size_t)index * block_bytes(a) + (size_t)h * half;
        ig_convert_to_f32(&a->convert, a->dtype, from, p->panel, a->width * COLS);
        for (int t = 0; t < count; t += IG_GEMM_ROWS)
            a->gemm.tile(panels + t / IG_GEMM_ROWS * p->step, p->panel, a->width,
                         p->products + t * ATOMS_BLOCK + h * COLS, ATOMS_BLOCK);
    }
}

void transplant__sweep(struct pursuer *p, int count, transplant_each each, void *user)
{
    const struct atoms *a = p->atoms;
    pack_targets(p, count);
    for (int64_t index = 0; index < block_count(a); index++) {
        if (a->coarse)
            multiply_coarse(p, index, count);
        else
            multiply_fine(p, index, count);
        for (int t = 0; t < count; t++)
            each(user, t, index, p->products + t * ATOMS_BLOCK);
    }
}
