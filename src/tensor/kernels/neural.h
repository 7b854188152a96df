/* SPDX-License-Identifier: Apache-2.0
 * neural — the element-wise and reducing steps of a transformer, in f32.
 *
 * Results differ between instruction sets by rounding only: exponentials are within 3e-7 of
 * relative error, sums within 2e-6 of the sum of magnitudes (tests/unit/test_neural.c).
 * Pointers need no alignment, but for softmax_lanes, whose rows are aligned to 64 bytes. */
#pragma once
#include "tensor/cpu.h"

/* Softmax of attention, one block of keys at a time, one query in each lane. Scores go in, weights
 * exp(scale * score - max) come out; 0 where the key's index in the block is above last[lane].
 * max and sum go from block to block, starting at -inf and 0; what earlier blocks have summed up
 * has to be multiplied by rescale. Every lane sees at least key 0 of the first block. */
struct ig_softmax {
    float *scores; /* [key * step + lane] */
    int64_t keys, step;
    int lanes; /* a multiple of 16 */
    const int32_t *last;
    float scale;
    float *max, *sum, *rescale;
};

/* One token through the state of one head of a recurrent layer; see delta.h. */
struct ig_delta {
    float *state; /* keys x values */
    int64_t keys, values;
    const float *q, *k, *v;
    float decay, beta;
    float *scratch, *out; /* values */
};

struct ig_neural_ops {
    /* out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]; out may be x. */
    void (*rms_norm)(const float *x, const float *weight, int64_t n, float eps, float *out);
    /* out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]; out may be gate. */
    void (*silu_mul)(const float *gate, const float *up, int64_t n, float *out);
    /* out[i] = scale * sum over j of q[j] * k[i * step + j], i < count, j < n. */
    void (*dots)(const float *q, const float *k, int64_t step, int64_t count, int64_t n,
                 float scale, float *out);
    /* out[j] += sum over i of p[i] * v[i * step + j]. */
    void (*mix)(const float *p, const float *v, int64_t step, int64_t count, int64_t n, float *out);
    /* x[i] = exp(x[i] - max); returns the sum. */
    float (*exp_sum)(float *x, int64_t n, float max);
    /* The largest; NaN when there is one. n > 0. */
    float (*max)(const float *x, int64_t n);
    void (*softmax_lanes)(const struct ig_softmax *job);
    void (*delta)(const struct ig_delta *job);
};

void ig_neural_ref(struct ig_neural_ops *ops);
void ig_neural_avx2(struct ig_neural_ops *ops);
void ig_neural_avx512(struct ig_neural_ops *ops);
void ig_neural_neon(struct ig_neural_ops *ops);
