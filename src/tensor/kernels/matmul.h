/* SPDX-License-Identifier: Apache-2.0
 * matmul — y = x W^T with W as it lies in the file: plain floats, or MLX's packed codes.
 *
 * Two ways through the same weights:
 *   matvec  one row of x. Codes are unpacked in registers and multiplied at once; a group's scale
 * is applied to the group's sum: sum_g s_g (sum q x) + sum_g b_g (sum x). tile    many rows of x.
 * `unpack` writes a block of W as f32, `tile` multiplies it: the lanes of a vector are rows of x,
 * so that a row's result does not depend on its neighbours or on how many there are. One
 * accumulator for each result, in order of depth. Arithmetic is f32. Results differ between
 * instruction sets by rounding only: |error| is at most about 2e-6 of sum |w x|
 * (tests/unit/test_matmul.c). Pointers to weights may be unaligned; nothing past a row's last byte
 * is read in the last row. */
#pragma once
#include "tensor/cpu.h"

enum ig_packing {
    IG_PACK_F32,
    IG_PACK_F16,
    IG_PACK_BF16,
    IG_PACK_AFFINE, /* w = s q + b; bits 2, 3, 4, 5, 6, 8; scales F32, F16 or BF16 */
    IG_PACK_FP4,    /* w = s e2m1(q); group 32: scales e8m0; group 16: scales e4m3 */
    IG_PACK_FP8,    /* w = s e4m3(q); scales e8m0. Codes 0x7F and 0xFF, which no encoder writes, are
                       +-480, as in mlx up to 0.32.3: a lookup table's NaN would spread */
};

struct ig_matrix {
    enum ig_packing packing;
    int bits, group;           /* packed: element i of a row is bits [i * bits, (i + 1) * bits) */
    enum ig_dtype scale_dtype; /* affine */
    bool exact;                /* not to be multiplied in narrow types (narrow.h): a router */
    int64_t rows, cols;        /* packed: cols is a multiple of group */
    const void *data;          /* rows x cols * bits / 8 bytes */
    const void *scales;        /* rows x cols / group */
    const void *biases;        /* affine: the same */
};

/* y[n * lanes_step + l] (+)= sum over k of x[k * lanes_step + l] * w[n * row_step + k * col_step]
 */
struct ig_tile {
    const float *x; /* aligned to 64 bytes; so is y */
    const float *w;
    float *y;
    int64_t row_step, col_step, depth;
    int lanes_step; /* ops.lanes */
    int lanes;      /* lanes that are computed: a multiple of 16, at most lanes_step */
    int features;   /* n runs to this */
    bool add;       /* to what y holds */
};

struct ig_matmul_ops {
    /* x (cols floats) as matvec wants it for this packing: ig_matmul_operand_floats of them. */
    void (*prepare)(const struct ig_matrix *w, const float *x, float *operand);
    /* y[i] = row first + i of w times x, for i < count. */
    void (*matvec)(const struct ig_matrix *w, const float *operand, int64_t first, int64_t count,
                   float *y);
    /* out[c] = element (row, first + c), c < count; first is a multiple of 128. */
    void (*unpack)(const struct ig_matrix *w, int64_t row, int64_t first, int64_t count,
                   float *out);
    /* out[c * out_step + r] = in[r * in_step + c] for r < rows, c < cols. */
    void (*transpose)(const float *in, int64_t in_step, int64_t rows, int64_t cols, float *out,
                      int64_t out_step);
    /* One block of results; see struct ig_tile. */
    void (*tile)(const struct ig_tile *tile);
    int lanes; /* rows of x in one tile, at most; a multiple of 16 */
};

/* Bytes of one row of codes or floats. */
size_t ig_matmul_row_bytes(const struct ig_matrix *w);
/* Floats that prepare writes for a row of cols, whatever the packing. */
int64_t ig_matmul_operand_floats(int64_t cols);
/* For prepare: lanes of `run` consecutive elements each, padded with zeros to a multiple of 128;
 * then, for affine weights, the sum of each group. */
void ig_matmul_permute(const struct ig_matrix *w, const float *x, int lanes, int run,
                       float *operand);

void ig_matmul_ref(struct ig_matmul_ops *ops);
void ig_matmul_avx2(struct ig_matmul_ops *ops);
void ig_matmul_avx512(struct ig_matmul_ops *ops);
void ig_matmul_neon(struct ig_matmul_ops *ops);
