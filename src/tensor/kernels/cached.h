/* SPDX-License-Identifier: Apache-2.0
 * cached — keys and values of attention as a cache keeps them: f16, or codes of 8 or 4 bits, which
 * are mx.quantize's. They are multiplied as they lie. A row, one token's of one head:
 *
 *     16     dim x f16
 *     8, 4   dim codes, the first in the low bits | a scale for each group, f32 | a bias, f32
 *
 * and an element is scale * code + bias. dim is a multiple of 16; where there are codes, of group,
 * which is one of 32. Results differ between instruction sets by rounding only, |error| is at most
 * about 2e-6 of the sum of magnitudes (tests/unit/test_cached.c). Rows need an alignment of 4
 * bytes. */
#pragma once
#include "tensor/cpu.h"
#include "tensor/kernels/convert.h"
#include "tensor/kernels/quantize.h"

#define IG_CACHED_DIM   16   /* dim is a multiple of it */
#define IG_CACHED_GROUP 32   /* group is a multiple of it */
#define IG_CACHED_MOST  1024 /* dim is at most this */
#define IG_CACHED_F16   16   /* bits that are no codes */

struct ig_cached {
    int bits;
    int group; /* elements that share a scale */
    int64_t dim;
};

struct ig_cached_ops {
    /* out[i] = scale * sum over j of q[j] * row i [j], i < count. */
    void (*dots)(const struct ig_cached *as, const float *q, const void *rows, int64_t count,
                 float scale, float *out);
    /* out[j] += sum over i of p[i] * row i [j]. */
    void (*mix)(const struct ig_cached *as, const float *p, const void *rows, int64_t count,
                float *out);
    /* out[i * dim + j] = row i [j]. */
    void (*load)(const struct ig_cached *as, const void *rows, int64_t count, float *out);
};

size_t ig_cached_row_bytes(const struct ig_cached *as);
/* Writes one row; what f16 cannot hold becomes its largest number. The same on every instruction
 * set. */
void ig_cached_store(const struct ig_cached *as, const struct ig_convert_ops *convert,
                     const struct ig_quantize_ops *quantize, const float *x, void *row);

void ig_cached_ref(struct ig_cached_ops *ops);
void ig_cached_avx2(struct ig_cached_ops *ops);
void ig_cached_avx512(struct ig_cached_ops *ops);
void ig_cached_neon(struct ig_cached_ops *ops);
