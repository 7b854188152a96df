/* SPDX-License-Identifier: Apache-2.0
 * forward — a batch of tokens through all layers of a pre-norm decoder:
 *
 *     x += after(Wo attend(rope(norm(Wq n)), rope(norm(Wk n)), Wv n))     n = norm(x)
 *     x += after(Wdown (act(Wgate n) * Wup n))                            n = norm(x)
 *
 * where most families have no `after`, some no norms of queries and keys; some have experts (moe.c)
 * in place of the second line, or a recurrence (deltanet.c) in place of the first. Norms are RMS
 * norms; rotary embedding turns the pairs (j, j + r/2) of the first r elements of a head, as
 * transformers and mlx do. */
#include "infer/infer_internal.h"

#include <math.h>

struct rows_job {
    struct ig_session *s;
    int64_t rows;
    int64_t layer;
    const int32_t *tokens;
    const float *weight; /* of a norm */
    float *added;        /* to x before the norm; may be NULL */
    const float *after;  /* the norm of what is added; may be NULL */
    void (*run)(const struct rows_job *job, int64_t row);
    struct infer_batch *kept; /* in the last layer: the rows that are read; NULL: all are */
};

static void run_rows(void *user, int thread, int threads)
{
    const struct rows_job *job = user;
    for (int64_t r = thread; r < job->rows; r += threads)
        job->run(job, r);
}

/* One row is too little work to wake anybody for. */
static void each_row(struct rows_job *job, void (*run)(const struct rows_job *job, int64_t row))
{
    job->run = run;
    if (job->rows == 1)
        run(job, 0);
    else
        ig_pool_all(job->s->model->pool, run_rows, job);
}

static void find_angles(const struct rows_job *job, int64_t row, int which)
{
    const struct ig_model *m = job->s->model;
    const struct ig_rope *rope = which ? &m->shape.rope_sliding : &m->shape.rope;
    int64_t dim = m->shape.rotary, half = dim / 2;
    float *angles = job->s->angles + (which * job->s->rows_max + row) * dim;
    float scale = (float)rope->attention;
    for (int64_t j = 0; j < half; j++) {
        /* Rounded to f32, as torch's. */
        float angle = (float)job->s->positions[row] * m->rope[which][j];
        angles[j] = (float)cos((double)angle) * scale;
        angles[half + j] = (float)sin((double)angle) * scale;
    }
}

static void embed_row(const struct rows_job *job, int64_t row)
{
    const struct ig_model *m = job->s->model;
    int64_t hidden = m->shape.hidden;
    float *x = job->s->x + row * hidden, scale = (float)m->shape.embed_scale;
    m->matmul.unpack(&m->embed, job->tokens[row], 0, hidden, x);
    for (int64_t i = 0; i < hidden && scale != 1.0F; i++)
        x[i] *= scale;
    for (int which = 0; which < 2; which++)
        if (m->rope[which]) find_angles(job, row, which);
}

static void norm_row(const struct rows_job *job, int64_t row)
{
    const struct ig_model *m = job->s->model;
    int64_t hidden = m->shape.hidden;
    float *x = job->s->x + row * hidden, eps = (float)m->shape.norm_eps;
    float *added = job->added ? job->added + row * hidden : NULL;
    if (job->after) m->neural.rms_norm(added, job->after, hidden, eps, added);
    for (int64_t i = 0; added && i < hidden; i++)
        x[i] += added[i];
    m->neural.rms_norm(x, job->weight, hidden, eps, job->s->normed + row * hidden);
}

static void turn(float *head, const float *angles, int64_t half)
{
    for (int64_t j = 0; j < half; j++) {
        float a = head[j], b = head[half + j], c = angles[j], s = angles[half + j];
        head[j] = a * c - b * s;
        head[half + j] = b * c + a * s;
    }
}

static const float *row_angles(const struct rows_job *job, int64_t row)
{
    const struct ig_session *s = job->s;
    bool sliding = s->model->layers[job->layer].sliding && s->model->rope[1];
    return s->angles + (sliding * s->rows_max + row) * s->model->shape.rotary;
}

/* Norms and turns a row's queries. */
static void place_queries(const struct rows_job *job, int64_t row)
{
    struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    const struct infer_layer *layer = &s->model->layers[job->layer];
    int64_t dim = m->head_dim, half = m->rotary / 2;
    const float *angles = row_angles(job, row);
    float eps = (float)m->norm_eps;
    for (int64_t h = 0; h < m->heads; h++) {
        float *q = s->q + (row * m->heads + h) * dim;
        if (m->attention_gate) /* [query | gate] of each head */
            memcpy(q, s->wide + 2 * (row * m->heads + h) * dim, (size_t)dim * sizeof *q);
        if (layer->q_norm) s->model->neural.rms_norm(q, layer->q_norm, dim, eps, q);
        turn(q, angles, half);
    }
}

/* The same for its keys; puts them and its values into the cache. */
static void place_keys(const struct rows_job *job, int64_t row)
{
    struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    const struct infer_layer *layer = &s->model->layers[job->layer];
    int64_t dim = m->head_dim, half = m->rotary / 2;
    const float *angles = row_angles(job, row);
    float eps = (float)m->norm_eps;
    for (int64_t h = 0; h < m->kv_heads; h++) {
        float *k = s->k + (row * m->kv_heads + h) * dim;
        if (layer->k_norm) s->model->neural.rms_norm(k, layer->k_norm, dim, eps, k);
        turn(k, angles, half);
        const struct ig_session *cache = s->caches[row];
        infer__cache_store(cache, infer__cache_row(cache, layer->cache, h, s->slots[row]), k,
                           s->v + (row * m->kv_heads + h) * dim);
    }
}

static void place_row(const struct rows_job *job, int64_t row)
{
    place_queries(job, row);
    place_keys(job, row);
}

void infer__activate(const struct ig_model *model, float *gate, const float *up, int64_t n)
{
    if (model->shape.activation == IG_SILU) {
        model->neural.silu_mul(gate, up, n, gate);
        return;
    }
    /* x (1 + tanh(u)) / 2 = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3). */
    for (int64_t i = 0; i < n; i++) {
        float x = gate[i], u = 0.7978845608F * (x + 0.044715F * x * x * x);
        gate[i] = x / (1.0F + expf(-2.0F * u)) * up[i];
    }
}

static void activate_row(const struct rows_job *job, int64_t row)
{
    int64_t n = job->s->model->shape.intermediate;
    infer__activate(job->s->model, job->s->gate + row * n, job->s->up + row * n, n);
}

/* Each head times the sigmoid of its gate. */
static void gate_row(const struct rows_job *job, int64_t row)
{
    const struct ig_session *s = job->s;
    const struct ig_model_shape *m = &s->model->shape;
    int64_t dim = m->head_dim;
    for (int64_t h = row * m->heads; h < (row + 1) * m->heads; h++)
        for (int64_t j = 0; j < dim; j++)
            s->attended[h * dim + j] /= 1.0F + expf(-s->wide[(2 * h + 1) * dim + j]);
}

/* ---- the last layer: rows that nobody reads end at their keys and values ---- */

/* A run of rows that follow each other in a part is a part of its own. */
static void keep_parts(const struct infer_batch *all, struct infer_batch *kept)
{
    int64_t n = 0;
    kept->part_count = 0;
    for (int64_t p = 0; p < all->part_count; p++) {
        const struct infer_part *part = &all->parts[p];
        int64_t last = -2;
        for (; n < all->wanted_count && all->wanted[n] < part->row + part->rows; n++) {
            int64_t row = all->wanted[n];
            if (row != last + 1) {
                struct infer_part *run = &kept->parts[kept->part_count++];
                *run = *part;
                run->offset += row - part->row;
                run->row = n;
                run->rows = 0;
            }
            kept->parts[kept->part_count - 1].rows++;
            last = row;
        }
    }
    kept->rows = n;
}

/* What is known of the rows that are read moves together; the others are forgotten. */
static void keep_wanted(struct ig_session *s, struct rows_job *job)
{
    const struct infer_batch *all = s->batch;
    const struct ig_model *m = s->model;
    int64_t hidden = m->shape.hidden, dim = m->shape.rotary;
    size_t row_bytes = (size_t)hidden * sizeof(float), angle_bytes = (size_t)dim * sizeof(float);
    for (int64_t n = 0; n < all->wanted_count; n++) {
        int64_t from = all->wanted[n];
        if (n == from) continue;
        memcpy(s->x + n * hidden, s->x + from * hidden, row_bytes);
        memcpy(s->normed + n * hidden, s->normed + from * hidden, row_bytes);
        for (int which = 0; which < 2; which++) {
            float *angles = s->angles + which * s->rows_max * dim;
            if (m->rope[which]) memcpy(angles + n * dim, angles + from * dim, angle_bytes);
        }
        s->positions[n] = s->positions[from];
        s->slots[n] = s->slots[from];
        s->caches[n] = s->caches[from];
    }
    keep_parts(all, job->kept);
    s->batch = job->kept;
    job->rows = job->kept->rows;
}

/* Keys and values of all rows, then queries of those that are read. */
static void place_wanted(struct ig_session *s, struct rows_job *job,
                         const struct infer_product *qkv, bool exact)
{
    infer__linear(s, qkv + 1, 2, s->normed, job->rows, exact);
    each_row(job, place_keys);
    keep_wanted(s, job);
    if (job->rows == 0) return;
    infer__linear(s, qkv, 1, s->normed, job->rows, exact);
    each_row(job, place_queries);
}

/* ---- layers ---- */

static void attention(struct ig_session *s, struct rows_job *job, bool exact)
{
    const struct infer_layer *l = &s->model->layers[job->layer];
    bool gated = s->model->shape.attention_gate;
    const struct infer_product qkv[] = {{&l->q, l->q_bias, gated ? s->wide : s->q},
                                        {&l->k, l->k_bias, s->k},
                                        {&l->v, l->v_bias, s->v}};
    if (job->kept) {
        place_wanted(s, job, qkv, exact);
        if (job->rows == 0) return;
    } else {
        infer__linear(s, qkv, 3, s->normed, job->rows, exact);
        each_row(job, place_row);
    }
    infer__attend(s, job->layer, exact);
    if (gated) each_row(job, gate_row);
    const struct infer_product o = {&l->o, l->o_bias, s->normed};
    infer__linear(s, &o, 1, s->attended, job->rows, exact);
}

static void mlp(struct ig_session *s, struct rows_job *job, bool exact)
{
    const struct infer_layer *l = &s->model->layers[job->layer];
    const struct infer_product gate_up[] = {{&l->gate, l->gate_bias, s->gate},
                                            {&l->up, l->up_bias, s->up}};
    infer__linear(s, gate_up, 2, s->normed, job->rows, exact);
    each_row(job, activate_row);
    const struct infer_product down = {&l->down, l->down_bias, s->normed};
    infer__linear(s, &down, 1, s->gate, job->rows, exact);
}

static void add_states(const struct ig_session *s, int64_t layer, int64_t rows)
{
    const struct infer_states *states = s->states;
    int64_t hidden = s->model->shape.hidden;
    double *sums = states->sums + layer * hidden, share = states->share > 0 ? states->share : 1;
    for (int64_t r = states->share > 0 ? 0 : rows - 1; r < rows; r++)
        for (int64_t j = 0; j < hidden; j++)
            sums[j] += share * (double)s->x[r * hidden + j];
}

static void layer_forward(struct ig_session *s, struct rows_job *job, bool exact)
{
    const struct infer_layer *l = &s->model->layers[job->layer];
    job->weight = l->input_norm;
    each_row(job, norm_row);
    if (s->states) add_states(s, job->layer, job->rows);
    if (!l->delta) {
        attention(s, job, exact);
    } else {
        infer__delta_net(s, l, exact);
        if (job->kept) keep_wanted(s, job);
    }
    if (job->rows == 0) return;
    job->added = s->normed;
    job->after = l->after_attention;
    job->weight = l->post_norm;
    each_row(job, norm_row);
    job->after = l->after_mlp;
    if (l->experts) {
        infer__experts(s, l->experts, exact);
        job->added = s->mixed;
    } else {
        mlp(s, job, exact);
    }
}

/* Where each row of the batch stands. */
static void place_parts(struct ig_session *s, const struct infer_batch *batch)
{
    for (int64_t p = 0; p < batch->part_count; p++) {
        struct infer_part *part = &batch->parts[p];
        if (!part->cache) part->cache = s;
        for (int64_t i = 0; i < part->rows; i++) {
            s->positions[part->row + i] = part->span->position + part->offset + i;
            int64_t slot = part->span->slot + part->offset + i, run;
            s->slots[part->row + i] = infer__slot(&part->cache->cache, slot, &run);
            s->caches[part->row + i] = part->cache;
        }
    }
}

void infer__forward_batch(struct ig_session *s, const struct infer_batch *batch, bool exact)
{
    struct rows_job job = {.s = s, .rows = batch->rows, .tokens = batch->tokens};
    struct infer_part parts[INFER_ROWS_MAX];
    struct infer_batch kept = {.parts = parts};
    int64_t last = s->model->shape.layers - 1;
    s->batch = batch;
    place_parts(s, batch);
    each_row(&job, embed_row);
    for (job.layer = 0; job.layer <= last; job.layer++) {
        job.kept = job.layer == last && batch->wanted ? &kept : NULL;
        layer_forward(s, &job, exact);
    }
    if (job.rows == 0) return;
    job.weight = s->model->final_norm;
    each_row(&job, norm_row);
}

void infer__forward_wanted(struct ig_session *s, const int32_t *tokens, int64_t rows,
                           const struct infer_wanted *wanted, bool exact)
{
    struct infer_span span = {.count = s->length + rows};
    struct infer_part part = {.span = &span, .offset = s->length, .rows = rows};
    struct infer_batch batch = {.tokens = tokens,
                                .parts = &part,
                                .rows = rows,
                                .part_count = 1,
                                .wanted = wanted->rows,
                                .wanted_count = wanted->count};
    infer__forward_batch(s, &batch, exact);
}

void infer__forward(struct ig_session *s, const int32_t *tokens, int64_t rows, bool exact)
{
    struct infer_span span = {.count = s->length + rows};
    struct infer_part part = {.span = &span, .offset = s->length, .rows = rows};
    struct infer_batch batch = {.tokens = tokens, .parts = &part, .rows = rows, .part_count = 1};
    infer__forward_batch(s, &batch, exact);
}
