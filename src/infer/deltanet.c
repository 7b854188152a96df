/* SPDX-License-Identifier: Apache-2.0
 * deltanet — gated DeltaNet, the recurrent layers of Qwen3-Next:
 *
 *     qkvz = Wqkvz n, ba = Wba n       for each key head: q, k, then v and z of the r value heads
 *                                      that share it; b and a of the same
 *     q, k, v = silu(conv(q, k, v))    causal, a filter for each channel
 *     q = q / |q| / sqrt(dk), k = k / |k|        |x|^2 = sum x^2 + 1e-6
 *     beta = sigmoid(b), decay = exp(-exp(log_a) softplus(a + dt_bias))
 *     o = one step of the state (tensor/kernels/delta.h)
 *     y = Wout (rms_norm(o) * silu(z))
 *
 * A task is a key head: it takes the rows of the batch one after another, so that the numbers do
 * not depend on how a sequence is cut. A layer's state in memory:
 *
 *     [conv_kernel - 1][channels] last inputs of the convolution, [value head][key][value] S */
#include "infer/infer_internal.h"

#include <math.h>
#include <stdatomic.h>

struct job {
    struct ig_session *s;
    const struct infer_delta *layer;
    float *inputs, *state; /* of the layer */
    bool fresh;            /* the sequence starts with this batch */
    atomic_llong next;
};

static int64_t channels(const struct ig_model_shape *m)
{
    return 2 * m->linear_key_heads * m->linear_key_dim +
           m->linear_value_heads * m->linear_value_dim;
}

int64_t infer__delta_floats(const struct ig_model_shape *m)
{
    if (m->linear_key_heads == 0) return 0;
    return (m->conv_kernel - 1) * channels(m) +
           m->linear_value_heads * m->linear_key_dim * m->linear_value_dim;
}

/* ---- the convolution ---- */

/* A run of channels that stand together in a row of qkvz, and in the filter's order. */
struct run {
    int64_t at, channel, count;
};

/* out = silu(conv), of one row; earlier rows come from the batch, or from the state. */
static void convolve(const struct job *job, const struct run *run, int64_t row, float *out)
{
    const struct ig_model_shape *m = &job->s->model->shape;
    int64_t taps = m->conv_kernel, width = job->layer->qkvz.rows, all = channels(m);
    const float *w = job->layer->conv + run->channel * taps;
    memset(out, 0, (size_t)run->count * sizeof *out);
    for (int64_t i = 0; i < taps; i++) {
        int64_t from = row - (taps - 1) + i;
        const float *x = from >= 0 ? job->s->wide + from * width + run->at
                                   : job->inputs + (from + taps - 1) * all + run->channel;
        for (int64_t c = 0; c < run->count; c++)
            out[c] += w[c * taps + i] * x[c];
    }
    for (int64_t c = 0; c < run->count; c++)
        out[c] = out[c] / (1.0F + expf(-out[c]));
}

/* The last inputs, for the next batch. Shorter batches move the older ones up. */
static void keep_inputs(const struct job *job, const struct run *run)
{
    const struct ig_model_shape *m = &job->s->model->shape;
    int64_t kept = m->conv_kernel - 1, rows = job->s->batch->rows, all = channels(m);
    for (int64_t i = 0; i < kept; i++) {
        int64_t from = rows - kept + i;
        const float *x = from >= 0 ? job->s->wide + from * job->layer->qkvz.rows + run->at
                                   : job->inputs + (from + kept) * all + run->channel;
        memmove(job->inputs + i * all + run->channel, x, (size_t)run->count * sizeof *x);
    }
}

/* ---- one key head ---- */

static void normalise(float *x, int64_t n, float scale)
{
    float sum = 1e-6F;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    float factor = scale / sqrtf(sum);
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
}

static float softplus(float x)
{
    return x > 20.0F ? x : log1pf(expf(x)); /* as torch */
}

/* rms_norm(o) * w * silu(z), in place. */
static void gate(const struct job *job, float *o, const float *z)
{
    const struct ig_model *m = job->s->model;
    int64_t n = m->shape.linear_value_dim;
    m->neural.rms_norm(o, job->layer->norm, n, (float)m->shape.norm_eps, o);
    for (int64_t i = 0; i < n; i++)
        o[i] *= z[i] / (1.0F + expf(-z[i]));
}

/* The value heads of key head h in one row; q, k and v come from the convolution. */
static void step_heads(const struct job *job, int64_t h, int64_t row, float *q)
{
    const struct ig_model_shape *m = &job->s->model->shape;
    int64_t dk = m->linear_key_dim, dv = m->linear_value_dim;
    int64_t share = m->linear_value_heads / m->linear_key_heads;
    const float *ba = job->s->wide_ba + row * 2 * m->linear_value_heads + h * 2 * share;
    const float *z = job->s->wide + row * job->layer->qkvz.rows + h * 2 * (dk + share * dv) +
                     2 * dk + share * dv;
    float *k = q + dk, *v = k + dk, *scratch = v + share * dv;
    normalise(q, dk, 1.0F / sqrtf((float)dk));
    normalise(k, dk, 1.0F);
    for (int64_t j = 0; j < share; j++) {
        int64_t head = h * share + j;
        float step = softplus(ba[share + j] + job->layer->dt_bias[head]);
        float *out = job->s->attended + row * m->linear_value_heads * dv + head * dv;
        job->s->model->neural.delta(
            &(struct ig_delta){.state = job->state + head * dk * dv,
                               .keys = dk,
                               .values = dv,
                               .q = q,
                               .k = k,
                               .v = v + j * dv,
                               .decay = expf(-expf(job->layer->log_a[head]) * step),
                               .beta = 1.0F / (1.0F + expf(-ba[j])),
                               .scratch = scratch,
                               .out = out});
        gate(job, out, z + j * dv);
    }
}

static void run_head(const struct job *job, int64_t h, float *scratch)
{
    const struct ig_model_shape *m = &job->s->model->shape;
    int64_t dk = m->linear_key_dim, dv = m->linear_value_dim, keys = m->linear_key_heads * dk;
    int64_t share = m->linear_value_heads / m->linear_key_heads, at = h * 2 * (dk + share * dv);
    const struct run runs[] = {{at, h * dk, dk},
                               {at + dk, keys + h * dk, dk},
                               {at + 2 * dk, 2 * keys + h * share * dv, share * dv}};
    if (job->fresh) {
        for (int i = 0; i < 3; i++)
            for (int64_t t = 0; t < m->conv_kernel - 1; t++)
                memset(job->inputs + t * channels(m) + runs[i].channel, 0,
                       (size_t)runs[i].count * sizeof(float));
        memset(job->state + h * share * dk * dv, 0, (size_t)(share * dk * dv) * sizeof(float));
    }
    for (int64_t r = 0; r < job->s->batch->rows; r++) {
        float *out = scratch;
        for (int i = 0; i < 3; out += runs[i++].count)
            convolve(job, &runs[i], r, out);
        step_heads(job, h, r, scratch);
    }
    for (int i = 0; i < 3; i++)
        keep_inputs(job, &runs[i]);
}

static void run_heads(void *user, int thread, int threads)
{
    (void)threads;
    struct job *job = user;
    for (;;) {
        int64_t h = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (h >= job->s->model->shape.linear_key_heads) return;
        run_head(job, h, job->s->lanes[thread].delta);
    }
}

void infer__delta_net(struct ig_session *s, const struct infer_layer *layer, bool exact)
{
    const struct ig_model_shape *m = &s->model->shape;
    const struct infer_delta *d = layer->delta;
    int64_t rows = s->batch->rows;
    float *inputs = s->state + layer->cache * infer__delta_floats(m);
    struct job job = {.s = s,
                      .layer = d,
                      .inputs = inputs,
                      .state = inputs + (m->conv_kernel - 1) * channels(m),
                      .fresh = s->positions[0] == 0};
    const struct infer_product in[] = {{&d->qkvz, NULL, s->wide}, {&d->ba, NULL, s->wide_ba}};
    infer__linear(s, in, 2, s->normed, rows, exact);
    ig_pool_all(s->model->pool, run_heads, &job);
    const struct infer_product out = {&d->out, NULL, s->normed};
    infer__linear(s, &out, 1, s->attended, rows, exact);
}
