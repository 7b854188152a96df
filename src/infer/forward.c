/* SPDX-License-Identifier: Apache-2.0
 * forward — a batch of tokens through all layers of a pre-norm decoder:
 *
 *     x += Wo attend(rope(norm(Wq n)), rope(norm(Wk n)), Wv n)        n = rms_norm(x)
 *     x += Wdown (silu(Wgate n) * Wup n)                              n = rms_norm(x)
 *
 * Rotary embedding turns the pairs (j, j + d/2), as transformers and mlx do. */
#include "infer/infer_internal.h"

#include <math.h>

struct rows_job {
    struct ig_session *s;
    int64_t rows;
    int64_t layer;
    const int32_t *tokens;
    const float *weight; /* of a norm */
    const float *added;  /* to x before the norm; may be NULL */
    void (*run)(const struct rows_job *job, int64_t row);
};

static void run_rows(void *user, int thread, int threads)
{
    const struct rows_job *job = user;
    for (int64_t r = thread; r < job->rows; r += threads)
        job->run(job, r);
}

/* One row is too little work to wake anybody for. */
static void each_row(struct rows_job *job)
{
    if (job->rows == 1)
        job->run(job, 0);
    else
        ig_pool_all(job->s->model->pool, run_rows, job);
}

static void embed_row(const struct rows_job *job, int64_t row)
{
    const struct ig_model *m = job->s->model;
    int64_t dim = m->shape.head_dim, half = dim / 2, hidden = m->shape.hidden;
    m->matmul.unpack(&m->embed, job->tokens[row], 0, hidden, job->s->x + row * hidden);
    float *angles = job->s->angles + row * dim, scale = (float)m->shape.rope_attention;
    for (int64_t j = 0; j < half; j++) {
        float angle = (float)job->s->positions[row] * m->rope[j]; /* rounded to f32, as torch's */
        angles[j] = (float)cos((double)angle) * scale;
        angles[half + j] = (float)sin((double)angle) * scale;
    }
}

static void norm_row(const struct rows_job *job, int64_t row)
{
    const struct ig_model *m = job->s->model;
    int64_t hidden = m->shape.hidden;
    float *x = job->s->x + row * hidden;
    if (job->added)
        for (int64_t i = 0; i < hidden; i++)
            x[i] += job->added[row * hidden + i];
    m->neural.rms_norm(x, job->weight, hidden, (float)m->shape.norm_eps,
                       job->s->normed + row * hidden);
}

static void turn(float *head, const float *angles, int64_t half)
{
    for (int64_t j = 0; j < half; j++) {
        float a = head[j], b = head[half + j], c = angles[j], s = angles[half + j];
        head[j] = a * c - b * s;
        head[half + j] = b * c + a * s;
    }
}

/* Norms and turns a row's queries and keys; puts keys and values into the cache. */
static void place_row(const struct rows_job *job, int64_t row)
{
    struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    const struct infer_layer *layer = &s->model->layers[job->layer];
    const float *angles = s->angles + row * m->head_dim;
    int64_t dim = m->head_dim;
    float eps = (float)m->norm_eps;
    for (int64_t h = 0; h < m->heads; h++) {
        float *q = s->q + (row * m->heads + h) * dim;
        if (layer->q_norm) s->model->neural.rms_norm(q, layer->q_norm, dim, eps, q);
        turn(q, angles, dim / 2);
    }
    for (int64_t h = 0; h < m->kv_heads; h++) {
        float *k = s->k + (row * m->kv_heads + h) * dim;
        if (layer->k_norm) s->model->neural.rms_norm(k, layer->k_norm, dim, eps, k);
        turn(k, angles, dim / 2);
        int64_t at = ((job->layer * m->kv_heads + h) * s->context + s->slots[row]) * dim;
        memcpy(s->keys + at, k, (size_t)dim * sizeof *k);
        memcpy(s->values + at, s->v + (row * m->kv_heads + h) * dim, (size_t)dim * sizeof *k);
    }
}

static void activate_row(const struct rows_job *job, int64_t row)
{
    int64_t n = job->s->model->shape.intermediate;
    float *gate = job->s->gate + row * n;
    job->s->model->neural.silu_mul(gate, job->s->up + row * n, n, gate);
}

static void layer_forward(struct ig_session *s, struct rows_job *job, bool exact)
{
    const struct infer_layer *l = &s->model->layers[job->layer];
    job->weight = l->input_norm;
    job->run = norm_row;
    each_row(job);
    const struct infer_product qkv[] = {
        {&l->q, l->q_bias, s->q}, {&l->k, l->k_bias, s->k}, {&l->v, l->v_bias, s->v}};
    infer__linear(s, qkv, 3, s->normed, job->rows, exact);
    job->run = place_row;
    each_row(job);
    infer__attend(s, job->layer, exact);
    const struct infer_product o = {&l->o, l->o_bias, s->normed};
    infer__linear(s, &o, 1, s->attended, job->rows, exact);
    job->added = s->normed;
    job->weight = l->post_norm;
    job->run = norm_row;
    each_row(job);
    const struct infer_product gate_up[] = {{&l->gate, NULL, s->gate}, {&l->up, NULL, s->up}};
    infer__linear(s, gate_up, 2, s->normed, job->rows, exact);
    job->run = activate_row;
    each_row(job);
    const struct infer_product down = {&l->down, NULL, s->normed};
    infer__linear(s, &down, 1, s->gate, job->rows, exact);
}

/* Where each row of the batch stands. */
static void place_parts(struct ig_session *s, const struct infer_batch *batch)
{
    for (int64_t p = 0; p < batch->part_count; p++) {
        const struct infer_part *part = &batch->parts[p];
        for (int64_t i = 0; i < part->rows; i++) {
            s->positions[part->row + i] = part->span->position + part->offset + i;
            s->slots[part->row + i] = part->span->slot + part->offset + i;
        }
    }
}

void infer__forward_batch(struct ig_session *s, const struct infer_batch *batch, bool exact)
{
    struct rows_job job = {.s = s, .rows = batch->rows, .tokens = batch->tokens, .run = embed_row};
    s->batch = batch;
    place_parts(s, batch);
    each_row(&job);
    for (job.layer = 0; job.layer < s->model->shape.layers; job.layer++)
        layer_forward(s, &job, exact);
    job.weight = s->model->final_norm;
    job.run = norm_row;
    each_row(&job);
}

void infer__forward(struct ig_session *s, const int32_t *tokens, int64_t rows, bool exact)
{
    struct infer_span span = {.count = s->length + rows};
    struct infer_part part = {.span = &span, .offset = s->length, .rows = rows};
    infer__forward_batch(s, &(struct infer_batch){tokens, &part, rows, 1}, exact);
}
