/* SPDX-License-Identifier: Apache-2.0
 * ref neural — the truth in plain C: sums in f64, exponentials by libm. */
#include "tensor/kernels/delta.h"

#include <math.h>

static void rms_norm(const float *x, const float *weight, int64_t n, float eps, float *out)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    float factor = (float)(1.0 / sqrt(sum / (double)n + (double)eps));
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] * factor * weight[i];
}

static void silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = gate[i] / (1.0F + expf(-gate[i])) * up[i];
}

static void dots(const float *q, const float *k, int64_t step, int64_t count, int64_t n,
                 float scale, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0.0;
        for (int64_t j = 0; j < n; j++)
            sum += (double)q[j] * (double)k[i * step + j];
        out[i] = (float)sum * scale;
    }
}

static void mix(const float *p, const float *v, int64_t step, int64_t count, int64_t n, float *out)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < n; j++)
            out[j] += p[i] * v[i * step + j];
}

static float exp_sum(float *x, int64_t n, float max)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += (double)x[i];
    }
    return (float)sum;
}

static float max_of(const float *x, int64_t n)
{
    float best = x[0];
    for (int64_t i = 1; i < n; i++)
        if (x[i] > best || isnan(x[i])) best = x[i];
    return best;
}

static void softmax_lanes(const struct ig_softmax *s)
{
    for (int l = 0; l < s->lanes; l++) {
        float max = s->max[l];
        for (int64_t k = 0; k < s->keys && k <= s->last[l]; k++)
            max = fmaxf(max, s->scores[k * s->step + l] * s->scale);
        s->rescale[l] = expf(s->max[l] - max);
        double sum = 0.0;
        for (int64_t k = 0; k < s->keys; k++) {
            float *at = &s->scores[k * s->step + l];
            *at = k <= s->last[l] ? expf(*at * s->scale - max) : 0.0F;
            sum += (double)*at;
        }
        s->sum[l] = s->sum[l] * s->rescale[l] + (float)sum;
        s->max[l] = max;
    }
}

static void delta(const struct ig_delta *job)
{
    delta_step(job);
}

void ig_neural_ref(struct ig_neural_ops *ops)
{
    *ops = (struct ig_neural_ops){rms_norm, silu_mul, dots,          mix,
                                  exp_sum,  max_of,   softmax_lanes, delta};
}
