/* SPDX-License-Identifier: Apache-2.0
 * narrow — y = x W^T in the arithmetic that processors have for narrow types, several times that
 * of f32. Weights are used as they are; x is rounded:
 *
 *   BF16  x to bf16, and packed weights too: mxfp8 loses nothing, others as much as when mlx
 *         dequantises them. Pairs of products are summed in f32.
 *   INT8  x to x' = round(x / s), s = max |x| / 127 over each of W's groups, for affine and fp4
 *         codes q. A group's products are summed exactly, in integers:
 *         affine  y = sum over g of s_w (sum q x') s + b_w (s sum x')
 *         fp4     y = sum over g of s_w / 2 (sum (q - 12) x') s: its values are halves of q - 12,
 *                 q = 0 .. 24
 *
 * A result depends on its row of x and its row of W alone, and its sums have one order. INT8 tiles
 * are the same to the bit on every instruction set; BF16 differs by the rounding of f32.
 * Columns are a multiple of 64: ig_narrow_can says what can be multiplied. */
#pragma once
#include "tensor/kernels/matmul.h"

#define IG_NARROW_ROWS     6  /* of x in a tile */
#define IG_NARROW_FEATURES 64 /* rows of W in a block */

/* fp4: instead of a number of bits; the code, of 0 to 24, that means 0. */
enum { IG_NARROW_FP4 = 0, IG_NARROW_FP4_ZERO = 12 };

enum ig_narrow { IG_NARROW_NONE, IG_NARROW_BF16, IG_NARROW_INT8 };

/* Rows of x, any number of tiles ig_narrow_x_bytes apart, times a block of W. */
struct ig_narrow_tile {
    enum ig_narrow kind;
    const void *x, *w; /* from pack_x and pack_w */
    float *y;          /* y[row * step + feature] */
    int64_t cols, step;
    int group, rows, features;
    int bits; /* INT8: ig_narrow_bits */
};

struct ig_narrow_ops {
    bool bf16, int8; /* what there is; other slots may be NULL without */
    /* rows rows of x, cols floats each, into ig_narrow_x_bytes. Rows up to 6 become zeros. */
    void (*pack_x)(enum ig_narrow kind, int group, const float *x, int64_t cols, int rows,
                   void *out);
    /* Rows first .. first + count of W into ig_narrow_w_bytes. */
    void (*pack_w)(enum ig_narrow kind, const struct ig_matrix *w, int64_t first, int64_t count,
                   void *out);
    void (*tile)(const struct ig_narrow_tile *tile);
    /* INT8, one row of x: as ig_matmul_ops has them. */
    void (*prepare)(const struct ig_matrix *w, const float *x, void *operand);
    void (*matvec)(const struct ig_matrix *w, const void *operand, int64_t first, int64_t count,
                   float *y);
};

/* The layout of what pack_x, pack_w and prepare write, in as many bytes on every instruction set;
 * everything is aligned to 64 bytes. 256-bit sets and sdot have their own (avx2/avx2_codes.h,
 * dotprod/dotprod_narrow.c); the others:
 *   x, BF16  [column pair][row] of 2 x bf16
 *   x, INT8  [4 columns][row] of 4 x int8; then [group][row] scales s, and s (sum x')
 *   W, BF16  [half of 32][column pair][feature] of 2 x bf16
 *   W, INT8  [half of 32][4 columns][feature] of 4 x uint8; then [half][group][feature] scales, and
 *            biases
 *   operand  cols x int8; then a scale for each group, and s (sum x'), each padded to 16 */
size_t ig_narrow_x_bytes(int64_t cols);
size_t ig_narrow_w_bytes(int64_t cols);
/* Whether W can be multiplied so, where the kernels are there. */
bool ig_narrow_can(const struct ig_matrix *w, enum ig_narrow kind);
/* Bits of the largest code that W can hold, or IG_NARROW_FP4. */
int ig_narrow_bits(const struct ig_matrix *w);
/* Where INT8 scales start, in bytes. */
size_t ig_narrow_x_scales(int64_t cols);
size_t ig_narrow_w_scales(int64_t cols);

/* What decides, beside the instruction set. */
struct ig_narrow_cpu {
    bool avxvnni, avx512vnni, avx512vbmi, avx512bf16;
};
enum ig_narrow_set {
    IG_NARROW_SET_NONE,
    IG_NARROW_AVX2,
    IG_NARROW_AVXVNNI,
    IG_NARROW_VNNI,
    IG_NARROW_VBMI
};

/* x86-64: the kernels that such a processor takes, of the instruction sets up to isa. */
enum ig_narrow_set ig_narrow_choose(enum ig_isa isa, struct ig_narrow_cpu cpu);
/* Fills ops for what this machine has among the instruction sets up to isa. */
void ig_narrow_fill(struct ig_narrow_ops *ops, enum ig_isa isa);
void ig_narrow_ref(struct ig_narrow_ops *ops);
void ig_narrow_avx2(struct ig_narrow_ops *ops);
void ig_narrow_avxvnni(struct ig_narrow_ops *ops); /* AVX2 with AVX-VNNI */
void ig_narrow_vnni(struct ig_narrow_ops *ops);    /* AVX-512 with VNNI */
void ig_narrow_vbmi(struct ig_narrow_ops *ops);    /* AVX-512 with VNNI, VBMI */
void ig_narrow_dotprod(struct ig_narrow_ops *ops); /* NEON with sdot */
