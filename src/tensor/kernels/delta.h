/* SPDX-License-Identifier: Apache-2.0
 * delta — one token through the state of one head of gated DeltaNet (Yang, Kautz, Hatamizadeh,
 * "Gated Delta Networks", 2024, equation 10), S being [key][value]:
 *
 *     S *= decay;  d = beta (v - S^T k);  S += k d^T;  out = S^T q
 *
 * Plain C that each instruction set compiles for itself: the inner loops run over values, of which
 * none is summed with another, so that the results are the same to the bit everywhere. */
#pragma once
#include "tensor/kernels/neural.h"

static inline void delta_step(const struct ig_delta *restrict t)
{
    int64_t n = t->values;
    float *restrict d = t->scratch, *restrict out = t->out;
    for (int64_t j = 0; j < n; j++)
        d[j] = out[j] = 0.0F;
    for (int64_t i = 0; i < t->keys; i++) {
        float *restrict s = t->state + i * n;
        float k = t->k[i], decay = t->decay;
        for (int64_t j = 0; j < n; j++) {
            s[j] *= decay;
            d[j] += s[j] * k;
        }
    }
    for (int64_t j = 0; j < n; j++)
        d[j] = t->beta * (t->v[j] - d[j]);
    for (int64_t i = 0; i < t->keys; i++) {
        float *restrict s = t->state + i * n;
        float k = t->k[i], q = t->q[i];
        for (int64_t j = 0; j < n; j++) {
            s[j] += k * d[j];
            out[j] += s[j] * q;
        }
    }
}
