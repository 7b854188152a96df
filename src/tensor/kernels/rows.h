/* SPDX-License-Identifier: Apache-2.0
 * rows — arithmetic on K rows of f32, one block at a time: what every merge method is made of.
 *
 * Rows are aligned to 64 bytes; count is a multiple of 16 and at most IG_ROWS_BLOCK (the caller
 * pads with zeros). Every slot gives the same bits on every instruction set: products are fused
 * (fmaf), sums run in 16 lanes of f32 that are poured into 8 lanes of f64 every IG_ROWS_POUR
 * elements. That is short on purpose: near-equal singular values turn an error of the sums into a
 * rotation, and 16 f32 additions keep it under 5e-7. */
#pragma once
#include "tensor/cpu.h"

#define IG_ROWS_BLOCK 1024
#define IG_ROWS_POUR  256
#define IG_ROWS_LANES 8
#define IG_ROWS_MAX   65 /* 64 models and their centre */

/* Where the product of rows i and j (j <= i) is kept in the sums of gram. */
#define IG_ROWS_PAIR(i, j) ((i) * ((i) + 1) / 2 + (j))
#define IG_ROWS_PAIRS(k)   ((k) * ((k) + 1) / 2)

struct ig_rows_ops {
    /* sums[IG_ROWS_PAIR(i, j)] += <row i, row j>, each in 8 lanes. */
    void (*gram)(const float *const *rows, int k, int64_t count, double (*sums)[IG_ROWS_LANES]);
    /* out = fma(c[k-1], rows[k-1], ... fma(c[1], rows[1], c[0] * rows[0])). out may be a row. */
    void (*combine)(const float *const *rows, const float *c, int k, int64_t count, float *out);
    /* out = the bf16 values at src (any alignment), minus base unless it is NULL. count may be any
     * number here; out is filled up with zeros to a multiple of 16. */
    void (*widen)(const void *src, const float *base, int64_t count, float *out);
    /* row -= base. */
    void (*subtract)(float *row, const float *base, int64_t count);
    /* out = the median over rows of scale[k] * rows[k]: the lower one of an even number, or the
     * mean of the middle two. */
    void (*median)(const float *const *rows, const float *scale, int k, bool midpoint,
                   int64_t count, float *out);
    /* out = scale * row - center. */
    void (*residual)(const float *row, float scale, const float *center, int64_t count, float *out);
    /* Negates the elements of row whose sign opposes that of ref; zeros have no sign. */
    void (*align)(float *row, const float *ref, int64_t count);
    /* NaN and infinities become 0. */
    void (*cleanse)(float *row, int64_t count);
    /* How many are NaN or infinite. */
    int64_t (*nonfinite)(const float *row, int64_t count);
};

void ig_rows_ref(struct ig_rows_ops *ops);
void ig_rows_avx2(struct ig_rows_ops *ops);
void ig_rows_avx512(struct ig_rows_ops *ops);
void ig_rows_neon(struct ig_rows_ops *ops);
