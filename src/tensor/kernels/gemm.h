/* SPDX-License-Identifier: Apache-2.0
 * gemm — the inner tile of a matrix product whose bits do not depend on the instruction set: every
 * element is a chain of fmaf in the order of the inner index. What the engine uses is matmul.h,
 * which is free to sum in any order. */
#pragma once
#include "tensor/cpu.h"

#define IG_GEMM_ROWS 8
#define IG_GEMM_COLS 32

struct ig_gemm_ops {
    /* c[i * step + j] += sum over p of a[p * ROWS + i] * b[p * COLS + j]; a and b are aligned to 64
     * bytes, c to 4. */
    void (*tile)(const float *a, const float *b, int64_t inner, float *c, int64_t step);
};

void ig_gemm_ref(struct ig_gemm_ops *ops);
void ig_gemm_avx2(struct ig_gemm_ops *ops);
void ig_gemm_avx512(struct ig_gemm_ops *ops);
void ig_gemm_neon(struct ig_gemm_ops *ops);
