/* SPDX-License-Identifier: Apache-2.0
 * attention — softmax(q K^T / sqrt(d)) V with causal mask, over the cache, in blocks of keys: for
 * each block the running maximum may rise, and what has been summed up is scaled down to it
 * (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
 *
 * Many rows: queries of all heads that share a key head are the lanes of one tile; the product
 * kernel reads keys, and then values, where they lie in the cache. Few rows: plain dot products. */
#include "infer/infer_internal.h"

#include <math.h>
#include <stdatomic.h>

struct job {
    struct ig_session *s;
    const float *keys, *values; /* of the layer: [kv head][context][head_dim] */
    int64_t first, rows, tiles; /* tiles of one kv head */
    atomic_llong next;
};

/* Query p of a kv head: row p / share, head kv * share + p % share. */
static int64_t query_at(const struct ig_model_shape *m, int64_t kv, int64_t p)
{
    int64_t share = m->heads / m->kv_heads;
    return (p / share * m->heads + kv * share + p % share) * m->head_dim;
}

static void load_queries(const struct job *job, const struct infer_lane *lane, int64_t kv,
                         int64_t p, int64_t used)
{
    const struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    int64_t lanes = s->model->matmul.lanes;
    memset(lane->queries, 0, (size_t)(lanes * m->head_dim) * sizeof *lane->queries);
    memset(lane->mixed, 0, (size_t)(lanes * m->head_dim) * sizeof *lane->mixed);
    for (int64_t l = 0; l < lanes; l++) {
        lane->stats[l] = -INFINITY;
        lane->stats[lanes + l] = 0.0F;
        if (l >= used) continue;
        const float *q = s->q + query_at(m, kv, p + l);
        for (int64_t j = 0; j < m->head_dim; j++)
            lane->queries[j * lanes + l] = q[j];
    }
}

static void store_mixed(const struct job *job, const struct infer_lane *lane, int64_t kv, int64_t p,
                        int64_t used)
{
    const struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    int64_t lanes = s->model->matmul.lanes;
    for (int64_t l = 0; l < used; l++) {
        float *out = s->attended + query_at(m, kv, p + l);
        float factor = 1.0F / lane->stats[lanes + l];
        for (int64_t j = 0; j < m->head_dim; j++)
            out[j] = lane->mixed[j * lanes + l] * factor;
    }
}

/* One block of keys for the queries in the tile. */
static void attend_block(const struct job *job, const struct infer_lane *lane, int64_t kv,
                         int64_t at, int64_t keys, int used)
{
    const struct ig_session *s = job->s;
    const struct ig_matmul_ops *ops = &s->model->matmul;
    int64_t dim = s->model->shape.head_dim, lanes = ops->lanes;
    const float *k = job->keys + (kv * s->context + at) * dim;
    const float *v = job->values + (kv * s->context + at) * dim;
    float *rescale = lane->stats + 2 * lanes;
    struct ig_tile tile = {.x = lane->queries,
                           .w = k,
                           .y = lane->scores,
                           .row_step = dim,
                           .col_step = 1,
                           .depth = dim,
                           .lanes_step = (int)lanes,
                           .lanes = used,
                           .features = (int)keys};
    ops->tile(&tile);
    s->model->neural.softmax_lanes(&(struct ig_softmax){.scores = lane->scores,
                                                        .keys = keys,
                                                        .step = lanes,
                                                        .lanes = used,
                                                        .last = lane->last,
                                                        .scale = 1.0F / sqrtf((float)dim),
                                                        .max = lane->stats,
                                                        .sum = lane->stats + lanes,
                                                        .rescale = rescale});
    for (int64_t j = 0; at > 0 && j < dim; j++)
        for (int l = 0; l < used; l++)
            lane->mixed[j * lanes + l] *= rescale[l];
    tile = (struct ig_tile){.x = lane->scores,
                            .w = v,
                            .y = lane->mixed,
                            .row_step = 1,
                            .col_step = dim,
                            .depth = keys,
                            .lanes_step = (int)lanes,
                            .lanes = used,
                            .features = (int)dim,
                            .add = true};
    ops->tile(&tile);
}

static void attend_tile(const struct job *job, const struct infer_lane *lane, int64_t kv, int64_t p)
{
    const struct ig_model_shape *m = &job->s->model->shape;
    int64_t share = m->heads / m->kv_heads, lanes = job->s->model->matmul.lanes;
    int64_t used = job->rows * share - p < lanes ? job->rows * share - p : lanes;
    int64_t keys = job->first + (p + used - 1) / share + 1; /* of the last row of the tile */
    load_queries(job, lane, kv, p, used);
    for (int64_t at = 0; at < keys; at += INFER_KEYS) {
        int64_t count = keys - at < INFER_KEYS ? keys - at : INFER_KEYS;
        for (int64_t l = 0; l < lanes; l++) {
            int64_t last = l < used ? job->first + (p + l) / share - at : count;
            lane->last[l] = last < -1 ? -1 : last > count ? (int32_t)count : (int32_t)last;
        }
        attend_block(job, lane, kv, at, count, (int)((used + 15) / 16 * 16));
    }
    store_mixed(job, lane, kv, p, used);
}

static void run_tiles(void *user, int thread, int threads)
{
    (void)threads;
    struct job *job = user;
    int64_t lanes = job->s->model->matmul.lanes, kv_heads = job->s->model->shape.kv_heads;
    for (;;) {
        int64_t task = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (task >= kv_heads * job->tiles) return;
        /* Last rows first: they see the most keys. */
        int64_t tile = job->tiles - 1 - task / kv_heads;
        attend_tile(job, &job->s->lanes[thread], task % kv_heads, tile * lanes);
    }
}

/* All heads of one row that share a key head: they read its keys while these are in the cache. */
static void attend_row(const struct job *job, const struct infer_lane *lane, int64_t kv,
                       int64_t row)
{
    const struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    const struct ig_neural_ops *ops = &s->model->neural;
    int64_t share = m->heads / m->kv_heads, dim = m->head_dim, keys = job->first + row + 1;
    float scale = 1.0F / sqrtf((float)dim);
    float *out = s->attended + query_at(m, kv, row * share);
    const float *q = s->q + query_at(m, kv, row * share);
    memset(out, 0, (size_t)(share * dim) * sizeof *out);
    for (int64_t h = 0; h < share; h++) {
        lane->heads[2 * h] = -INFINITY;
        lane->heads[2 * h + 1] = 0.0F;
    }
    for (int64_t at = 0; at < keys; at += INFER_KEYS) {
        int64_t count = keys - at < INFER_KEYS ? keys - at : INFER_KEYS;
        const float *k = job->keys + (kv * s->context + at) * dim;
        const float *v = job->values + (kv * s->context + at) * dim;
        for (int64_t h = 0; h < share; h++) {
            float *max = lane->heads + 2 * h, *sum = max + 1, before = *max;
            ops->dots(q + h * dim, k, dim, count, dim, scale, lane->scores);
            float top = ops->max(lane->scores, count);
            if (!(top <= before)) *max = top;
            float rescale = expf(before - *max);
            *sum = *sum * rescale + ops->exp_sum(lane->scores, count, *max);
            for (int64_t j = 0; rescale != 1.0F && j < dim; j++)
                out[h * dim + j] *= rescale;
            ops->mix(lane->scores, v, dim, count, dim, out + h * dim);
        }
    }
    for (int64_t h = 0; h < share; h++)
        for (int64_t j = 0; j < dim; j++)
            out[h * dim + j] /= lane->heads[2 * h + 1];
}

static void run_rows(void *user, int thread, int threads)
{
    (void)threads;
    struct job *job = user;
    int64_t kv_heads = job->s->model->shape.kv_heads;
    for (;;) {
        int64_t task = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (task >= kv_heads * job->rows) return;
        attend_row(job, &job->s->lanes[thread], task % kv_heads, task / kv_heads);
    }
}

void infer__attend(struct ig_session *s, int64_t layer, int64_t first, int64_t rows, bool exact)
{
    const struct ig_model_shape *m = &s->model->shape;
    int64_t lanes = s->model->matmul.lanes, each = m->kv_heads * s->context * m->head_dim;
    struct job job = {.s = s,
                      .keys = s->keys + layer * each,
                      .values = s->values + layer * each,
                      .first = first,
                      .rows = rows,
                      .tiles = (rows * (m->heads / m->kv_heads) + lanes - 1) / lanes};
    bool tiles = rows > INFER_MATVEC_ROWS || exact;
    ig_pool_all(s->model->pool, tiles ? run_tiles : run_rows, &job);
}
