/* SPDX-License-Identifier: Apache-2.0
 * attention — softmax(scale q K^T) V with causal mask, over the cache, in blocks of keys: for
 * each block the running maximum may rise, and what has been summed up is scaled down to it
 * (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
 *
 * Many rows: queries of all heads that share a key head are the lanes of one tile; the product
 * kernel reads keys, and then values, where they lie in the cache. Few rows: plain dot products. */
#include "infer/infer_internal.h"

#include <math.h>
#include <stdatomic.h>

#define HIDDEN (-1e30F) /* a score that no other is below, and that multiplies without overflow */

struct job {
    struct ig_session *s;
    int64_t layer;  /* of those that attend */
    int64_t tiles;  /* of one kv head */
    int64_t window; /* keys that a query sees, itself included */
    float scale;
    atomic_llong next;
};

/* Query p of a kv head: row p / share, head kv * share + p % share. */
static int64_t query_at(const struct ig_model_shape *m, int64_t kv, int64_t p)
{
    int64_t share = m->heads / m->kv_heads;
    return (p / share * m->heads + kv * share + p % share) * m->head_dim;
}

/* Queries of one key head in one tile: p.. of the part's, which are numbered row by row. */
struct tile {
    const struct infer_part *part;
    int64_t kv, p, used;
};

/* The part's first row of queries, or of results. */
static float *row_queries(float *rows, const struct ig_model_shape *m, const struct tile *tile)
{
    return rows + tile->part->row * m->heads * m->head_dim;
}

static void load_queries(const struct job *job, const struct infer_lane *lane,
                         const struct tile *tile)
{
    const struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    int64_t lanes = s->model->matmul.lanes;
    memset(lane->queries, 0, (size_t)(lanes * m->head_dim) * sizeof *lane->queries);
    memset(lane->mixed, 0, (size_t)(lanes * m->head_dim) * sizeof *lane->mixed);
    for (int64_t l = 0; l < lanes; l++) {
        lane->stats[l] = -INFINITY;
        lane->stats[lanes + l] = 0.0F;
        if (l >= tile->used) continue;
        const float *q = row_queries(s->q, m, tile) + query_at(m, tile->kv, tile->p + l);
        for (int64_t j = 0; j < m->head_dim; j++)
            lane->queries[j * lanes + l] = q[j];
    }
}

static void store_mixed(const struct job *job, const struct infer_lane *lane,
                        const struct tile *tile)
{
    const struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    int64_t lanes = s->model->matmul.lanes;
    for (int64_t l = 0; l < tile->used; l++) {
        float *out = row_queries(s->attended, m, tile) + query_at(m, tile->kv, tile->p + l);
        float factor = 1.0F / lane->stats[lanes + l];
        for (int64_t j = 0; j < m->head_dim; j++)
            out[j] = lane->mixed[j * lanes + l] * factor;
    }
}

/* The cache's slot of the key at a position of a span's path, and how many follow it there. */
static int64_t slot_at(const struct infer_part *part, int64_t position, int64_t *count)
{
    const struct infer_span *span = part->span;
    if (part->cache->cache.window > 0) return infer__slot(&part->cache->cache, position, count);
    while (position < span->position)
        span = span->parent;
    *count = span->position + span->count - position;
    return span->slot + position - span->position;
}

/* `count` rows of a cache as floats: where they lie, or unpacked. */
static const float *floats_at(const struct infer_cache *c, const struct ig_cached_ops *ops,
                              const struct infer_lane *lane, const unsigned char *rows,
                              int64_t count)
{
    if (c->as.bits == 32) return (const float *)(const void *)rows;
    ops->load(&c->as, rows, count, lane->unpacked);
    return lane->unpacked;
}

/* keys keys of a path, from position `at` on, times the queries (scores = true), or their weights
 * times the values: piece by piece as they lie in the cache, in order of position. */
static void multiply(const struct job *job, const struct infer_lane *lane, const struct tile *tile,
                     int64_t at, int64_t keys, bool scores)
{
    const struct ig_session *from = tile->part->cache;
    const struct infer_cache *cache = &from->cache;
    const struct ig_matmul_ops *ops = &job->s->model->matmul;
    int64_t dim = job->s->model->shape.head_dim, lanes = ops->lanes, count;
    for (int64_t done = 0; done < keys; done += count) {
        int64_t slot = slot_at(tile->part, at + done, &count);
        if (count > keys - done) count = keys - done;
        const unsigned char *rows = (scores ? cache->keys : cache->values) +
                                    infer__cache_row(from, job->layer, tile->kv, slot);
        const float *w = floats_at(cache, &job->s->model->cached, lane, rows, count);
        float *weights = lane->scores + done * lanes;
        ops->tile(&(struct ig_tile){.x = scores ? lane->queries : weights,
                                    .w = w,
                                    .y = scores ? weights : lane->mixed,
                                    .row_step = scores ? dim : 1,
                                    .col_step = scores ? 1 : dim,
                                    .depth = scores ? dim : count,
                                    .lanes_step = (int)lanes,
                                    .lanes = (int)((tile->used + 15) / 16 * 16),
                                    .features = (int)(scores ? count : dim),
                                    .add = !scores});
    }
}

static int64_t query_position(const struct job *job, const struct tile *tile, int64_t lane)
{
    const struct ig_model_shape *m = &job->s->model->shape;
    int64_t share = m->heads / m->kv_heads;
    return tile->part->span->position + tile->part->offset + (tile->p + lane) / share;
}

/* What a lane's query sees. */
static struct infer_seen seen_by(const struct job *job, const struct tile *tile, int64_t lane)
{
    return infer__seen(tile->part->cache, query_position(job, tile, lane), job->window);
}

/* Scores, and later weights, of keys that a query does not see, though they are before it. A lane
 * that sees nothing of the block is as before it, so that results do not depend on where a tile
 * starts: it has seen nothing yet. */
static void mask(const struct job *job, const struct infer_lane *lane, const struct tile *tile,
                 int64_t at, int64_t keys, float value)
{
    int64_t lanes = job->s->model->matmul.lanes, keep = tile->part->cache->cache.keep;
    for (int64_t l = 0; l < tile->used; l++) {
        struct infer_seen seen = seen_by(job, tile, l);
        int64_t hidden = 0;
        for (int64_t k = 0; k < keys && at + k < seen.from; k++) {
            if (at + k >= seen.sink && at + k < keep) continue;
            lane->scores[k * lanes + l] = value;
            hidden++;
        }
        if (hidden < keys || value != 0.0F) continue;
        lane->stats[l] = -INFINITY;
        lane->stats[lanes + l] = 0.0F;
        lane->stats[2 * lanes + l] = 0.0F;
    }
}

/* One block of keys for the queries in the tile. */
static void attend_block(const struct job *job, const struct infer_lane *lane,
                         const struct tile *tile, int64_t at, int64_t keys)
{
    const struct ig_session *s = job->s;
    int64_t dim = s->model->shape.head_dim, lanes = s->model->matmul.lanes;
    int used = (int)((tile->used + 15) / 16 * 16);
    float *rescale = lane->stats + 2 * lanes;
    multiply(job, lane, tile, at, keys, true);
    bool passed = at < seen_by(job, tile, tile->used - 1).from; /* by somebody's window */
    if (passed) mask(job, lane, tile, at, keys, HIDDEN);
    s->model->neural.softmax_lanes(&(struct ig_softmax){.scores = lane->scores,
                                                        .keys = keys,
                                                        .step = lanes,
                                                        .lanes = used,
                                                        .last = lane->last,
                                                        .scale = job->scale,
                                                        .max = lane->stats,
                                                        .sum = lane->stats + lanes,
                                                        .rescale = rescale});
    if (passed) mask(job, lane, tile, at, keys, 0.0F);
    for (int64_t j = 0; at > 0 && j < dim; j++)
        for (int l = 0; l < used; l++)
            lane->mixed[j * lanes + l] *= rescale[l];
    multiply(job, lane, tile, at, keys, false);
}

/* A block of keys, of which each row sees those up to itself. */
static void attend_keys(const struct job *job, const struct infer_lane *lane,
                        const struct tile *tile, int64_t at, int64_t count)
{
    int64_t lanes = job->s->model->matmul.lanes;
    for (int64_t l = 0; l < lanes; l++) {
        int64_t last = l < tile->used ? query_position(job, tile, l) - at : count;
        lane->last[l] = last < -1 ? -1 : last > count ? (int32_t)count : (int32_t)last;
    }
    attend_block(job, lane, tile, at, count);
}

static void attend_tile(const struct job *job, const struct infer_lane *lane,
                        const struct tile *tile)
{
    const struct ig_model_shape *m = &job->s->model->shape;
    int64_t share = m->heads / m->kv_heads;
    int64_t first = tile->part->span->position + tile->part->offset;
    int64_t keys = first + (tile->p + tile->used - 1) / share + 1; /* of the tile's last row */
    struct infer_seen seen = seen_by(job, tile, 0); /* its first row sees the earliest */
    int64_t at = seen.from / INFER_KEYS * INFER_KEYS, keep = tile->part->cache->cache.keep;
    load_queries(job, lane, tile);
    if (at > 0 && seen.sink < keep) attend_keys(job, lane, tile, 0, keep);
    for (; at < keys; at += INFER_KEYS)
        attend_keys(job, lane, tile, at, keys - at < INFER_KEYS ? keys - at : INFER_KEYS);
    store_mixed(job, lane, tile);
}

/* The part that a tile belongs to. */
static const struct infer_part *part_of(const struct infer_batch *batch, int64_t tile)
{
    int64_t low = 0, high = batch->part_count;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (batch->parts[middle].tile <= tile)
            low = middle;
        else
            high = middle;
    }
    return &batch->parts[low];
}

static void run_tiles(void *user, int thread, int threads)
{
    (void)threads;
    struct job *job = user;
    const struct ig_model_shape *m = &job->s->model->shape;
    int64_t lanes = job->s->model->matmul.lanes, share = m->heads / m->kv_heads;
    for (;;) {
        int64_t task = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (task >= m->kv_heads * job->tiles) return;
        /* Last rows first: of a long sequence they see the most keys. */
        int64_t at = job->tiles - 1 - task / m->kv_heads;
        struct tile tile = {.part = part_of(job->s->batch, at), .kv = task % m->kv_heads};
        tile.p = (at - tile.part->tile) * lanes;
        tile.used = tile.part->rows * share - tile.p;
        if (tile.used > lanes) tile.used = lanes;
        attend_tile(job, &job->s->lanes[thread], &tile);
    }
}

/* One row's heads that share a key head. */
struct row {
    int64_t row, kv, dim, share;
    const float *q;
    float *out;
};

/* `count` keys that lie behind one another: all heads read them while they are in the processor's
 * cache. */
static void attend_run(const struct job *job, const struct infer_lane *lane, const struct row *r,
                       int64_t slot, int64_t count)
{
    const struct ig_session *from = job->s->caches[r->row];
    const struct ig_neural_ops *ops = &job->s->model->neural;
    const struct ig_cached_ops *packed = &job->s->model->cached;
    const struct infer_cache *c = &from->cache;
    size_t place = infer__cache_row(from, job->layer, r->kv, slot);
    const void *k = c->keys + place, *v = c->values + place;
    for (int64_t h = 0; h < r->share; h++) {
        const float *q = r->q + h * r->dim;
        float *out = r->out + h * r->dim, *max = lane->heads + 2 * h, *sum = max + 1, before = *max;
        if (c->as.bits == 32)
            ops->dots(q, k, r->dim, count, r->dim, job->scale, lane->scores);
        else
            packed->dots(&c->as, q, k, count, job->scale, lane->scores);
        float top = ops->max(lane->scores, count);
        if (!(top <= before)) *max = top;
        float rescale = expf(before - *max);
        *sum = *sum * rescale + ops->exp_sum(lane->scores, count, *max);
        for (int64_t j = 0; rescale != 1.0F && j < r->dim; j++)
            out[j] *= rescale;
        if (c->as.bits == 32)
            ops->mix(lane->scores, v, r->dim, count, r->dim, out);
        else
            packed->mix(&c->as, lane->scores, v, count, out);
    }
}

/* Keys at positions [at, end), in runs that end where a block does. */
static void attend_positions(const struct job *job, const struct infer_lane *lane,
                             const struct row *r, int64_t at, int64_t end)
{
    const struct infer_cache *c = &job->s->caches[r->row]->cache;
    for (int64_t count, run; at < end; at += count) {
        count = (at / INFER_KEYS + 1) * INFER_KEYS - at;
        if (count > end - at) count = end - at;
        int64_t slot = infer__slot(c, at, &run);
        if (count > run) count = run;
        attend_run(job, lane, r, slot, count);
    }
}

static void attend_row(const struct job *job, const struct infer_lane *lane, int64_t kv,
                       int64_t row)
{
    const struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    int64_t share = m->heads / m->kv_heads, dim = m->head_dim, position = s->positions[row];
    float *out = s->attended + query_at(m, kv, row * share);
    const struct row r = {row, kv, dim, share, s->q + query_at(m, kv, row * share), out};
    struct infer_seen seen = infer__seen(s->caches[row], position, job->window);
    memset(out, 0, (size_t)(share * dim) * sizeof *out);
    for (int64_t h = 0; h < share; h++) {
        lane->heads[2 * h] = -INFINITY;
        lane->heads[2 * h + 1] = 0.0F;
    }
    attend_positions(job, lane, &r, seen.sink, s->caches[row]->cache.keep);
    attend_positions(job, lane, &r, seen.from, position + 1);
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
        if (task >= kv_heads * job->s->batch->rows) return;
        attend_row(job, &job->s->lanes[thread], task % kv_heads, task / kv_heads);
    }
}

/* Few rows are always of sequences that lie in their caches from the start, without branches: their
 * slots are their positions. */
void infer__attend(struct ig_session *s, int64_t layer, bool exact)
{
    const struct ig_model_shape *m = &s->model->shape;
    const struct infer_batch *batch = s->batch;
    int64_t lanes = s->model->matmul.lanes;
    const struct infer_layer *l = &s->model->layers[layer];
    struct job job = {
        .s = s, .layer = l->cache, .window = l->window, .scale = (float)m->attention_scale};
    for (int64_t p = 0; p < batch->part_count; p++) {
        batch->parts[p].tile = job.tiles;
        job.tiles += (batch->parts[p].rows * (m->heads / m->kv_heads) + lanes - 1) / lanes;
    }
    bool tiles = batch->rows > INFER_MATVEC_ROWS || exact;
    ig_pool_all(s->model->pool, tiles ? run_tiles : run_rows, &job);
}
