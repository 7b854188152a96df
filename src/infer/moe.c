/* SPDX-License-Identifier: Apache-2.0
 * moe — a mixture of experts in place of the MLP:
 *
 *     p = softmax(Wr n) in f32 over all experts; the k largest are chosen
 *     y = sum over the chosen e of p_e Wdown_e (act(Wgate_e n) * Wup_e n)
 *       + sigmoid(Wsg n) shared(n)
 *
 * where the p_e are first divided by their sum, if the model says so. The rows of a batch are
 * grouped by expert, so that an expert's weights are read once for all of them; a row adds up its
 * experts in the order of their numbers, whatever else is in the batch. */
#include "infer/infer_internal.h"

#include <math.h>
#include <stdatomic.h>

#define DEPTH INFER_DEPTH /* rows of a transposed matrix that are unpacked together */

struct job {
    struct ig_session *s;
    const struct infer_experts *experts;
    int64_t rows; /* of the batch, or of the expert */
    int64_t inner;
    const int32_t *entries; /* of one expert: row * experts_used + its place among the chosen */
    void (*run)(const struct job *job, int64_t row);
};

static void run_rows(void *user, int thread, int threads)
{
    const struct job *job = user;
    for (int64_t r = thread; r < job->rows; r += threads)
        job->run(job, r);
}

static void each_row(struct job *job, void (*run)(const struct job *job, int64_t row))
{
    job->run = run;
    if (job->rows == 1)
        run(job, 0);
    else
        ig_pool_all(job->s->model->pool, run_rows, job);
}

/* ---- the router ---- */

/* Of equal probabilities the first expert. NaN are taken first: they reach the logits. */
static void route_row(const struct job *job, int64_t row)
{
    const struct ig_model *m = job->s->model;
    int64_t experts = m->shape.experts, used = m->shape.experts_used;
    float *p = job->s->routed + row * experts, *share = job->s->shares + row * used;
    int32_t *chosen = job->s->chosen + row * used;
    float sum = m->neural.exp_sum(p, experts, m->neural.max(p, experts)), kept = 0;
    for (int64_t j = 0; j < used; j++) {
        int64_t best = 0;
        for (int64_t i = 1; i < experts; i++)
            if (!(p[i] <= p[best])) best = i;
        chosen[j] = (int32_t)best;
        share[j] = p[best] / sum;
        kept += share[j];
        p[best] = -1;
    }
    for (int64_t j = 0; j < used && m->shape.experts_normed; j++)
        share[j] /= kept;
}

/* Entries ordered by expert, then row; where each expert's start. */
static void group(const struct job *job)
{
    const struct ig_session *s = job->s;
    int64_t experts = s->model->shape.experts, count = job->rows * s->model->shape.experts_used;
    int32_t *first = s->expert_first;
    memset(first, 0, (size_t)(experts + 2) * sizeof *first);
    for (int64_t i = 0; i < count; i++)
        first[s->chosen[i] + 2]++;
    for (int64_t e = 0; e < experts; e++)
        first[e + 2] += first[e + 1];
    for (int64_t i = 0; i < count; i++)
        s->entries[first[s->chosen[i] + 1]++] = (int32_t)i;
}

/* ---- transposed matrices: [in, out] ---- */

struct transposed {
    struct ig_session *s;
    const struct ig_matrix *w; /* rows: out; cols: in */
    int64_t step, rows;        /* elements from one input to the next; rows of x */
    const float *x;
    float *y;
    atomic_llong next;
};

static void run_transposed(void *user, int thread, int threads)
{
    (void)threads;
    struct transposed *job = user;
    const struct ig_model *m = job->s->model;
    const struct ig_matrix *w = job->w;
    float *block = job->s->lanes[thread].weights;
    enum ig_dtype dtype = w->packing == IG_PACK_F32   ? IG_F32
                          : w->packing == IG_PACK_F16 ? IG_F16
                                                      : IG_BF16;
    for (;;) {
        int64_t at = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if ((at *= INFER_FEATURES) >= w->rows) return;
        int64_t count = w->rows - at < INFER_FEATURES ? w->rows - at : INFER_FEATURES;
        for (int64_t r = 0; r < job->rows; r++)
            memset(job->y + r * w->rows + at, 0, (size_t)count * sizeof *job->y);
        for (int64_t k = 0; k < w->cols; k += DEPTH) {
            int64_t depth = w->cols - k < DEPTH ? w->cols - k : DEPTH;
            for (int64_t i = 0; i < depth; i++)
                ig_convert_to_f32(&m->convert, dtype,
                                  (const char *)w->data +
                                      (size_t)((k + i) * job->step + at) * ig_dtype_bytes(dtype),
                                  block + i * INFER_FEATURES, count);
            for (int64_t r = 0; r < job->rows; r++)
                m->neural.mix(job->x + r * w->cols + k, block, INFER_FEATURES, depth, count,
                              job->y + r * w->rows + at);
        }
    }
}

/* ---- experts ---- */

static void product(const struct job *job, const struct infer_product *list, int count,
                    const float *x, bool exact)
{
    if (!job->experts->transposed) {
        infer__linear(job->s, list, count, x, job->rows, exact);
        return;
    }
    for (int i = 0; i < count; i++) {
        const struct ig_matrix *w = list[i].w;
        int64_t step = w->rows == job->inner && count == 2 ? 2 * job->inner : w->rows;
        struct transposed task = {job->s, w, step, job->rows, x, list[i].y, 0};
        ig_pool_all(job->s->model->pool, run_transposed, &task);
    }
}

static void gather_row(const struct job *job, int64_t row)
{
    const struct ig_session *s = job->s;
    int64_t hidden = s->model->shape.hidden;
    int64_t from = job->entries[row] / s->model->shape.experts_used;
    memcpy(s->gathered + row * hidden, s->normed + from * hidden,
           (size_t)hidden * sizeof *s->gathered);
}

static void activate_row(const struct job *job, int64_t row)
{
    const struct ig_session *s = job->s;
    infer__activate(s->model, s->gate + row * job->inner, s->up + row * job->inner, job->inner);
}

static void scatter_row(const struct job *job, int64_t row)
{
    const struct ig_session *s = job->s;
    int64_t hidden = s->model->shape.hidden;
    float share = s->shares[job->entries[row]];
    const float *from = s->expert_out + row * hidden;
    float *to = s->mixed + job->entries[row] / s->model->shape.experts_used * hidden;
    for (int64_t i = 0; i < hidden; i++)
        to[i] += share * from[i];
}

static void run_expert(struct job *job, const struct infer_expert *expert, const float *x,
                       bool exact)
{
    struct ig_session *s = job->s;
    const struct infer_product in[] = {{&expert->gate, NULL, s->gate}, {&expert->up, NULL, s->up}};
    product(job, in, 2, x, exact);
    each_row(job, activate_row);
    const struct infer_product out = {&expert->down, NULL, s->expert_out};
    product(job, &out, 1, s->gate, exact);
}

/* ---- the expert that all share ---- */

static void share_row(const struct job *job, int64_t row)
{
    const struct ig_session *s = job->s;
    int64_t hidden = s->model->shape.hidden;
    float gate = 1.0F / (1.0F + expf(-s->routed[row]));
    for (int64_t i = 0; i < hidden; i++)
        s->mixed[row * hidden + i] += gate * s->expert_out[row * hidden + i];
}

static void run_shared(struct job *job, bool exact)
{
    struct ig_session *s = job->s;
    const struct infer_experts plain = {0};
    struct job shared = {
        .s = s, .experts = &plain, .rows = job->rows, .inner = s->model->shape.shared_intermediate};
    const struct infer_product gate = {&job->experts->shared_gate, NULL, s->routed};
    infer__linear(s, &gate, 1, s->normed, job->rows, exact);
    run_expert(&shared, &job->experts->shared, s->normed, exact);
    each_row(&shared, share_row);
}

/* ---- one row ---- */

/* All chosen experts of one row at a time: two products instead of two for each, since threads that
 * wait for each other cost more than the multiplication of a small matrix. */
static bool run_together(struct job *job)
{
    struct ig_session *s = job->s;
    struct infer_product list[INFER_PRODUCTS_MAX] = {0};
    const float *x[INFER_PRODUCTS_MAX] = {0};
    int64_t used = s->model->shape.experts_used, hidden = s->model->shape.hidden;
    if (used > INFER_PRODUCTS_MAX / 2 || used > s->rows_max || job->experts->transposed)
        return false;
    for (int64_t j = 0; j < used; j++) {
        const struct infer_expert *e = &job->experts->expert[s->chosen[s->entries[j]]];
        list[j] = (struct infer_product){.w = &e->gate, .y = s->gate + j * job->inner};
        list[used + j] = (struct infer_product){.w = &e->up, .y = s->up + j * job->inner};
    }
    infer__linear(s, list, (int)(2 * used), s->normed, 1, false);
    for (int64_t j = 0; j < used; j++) {
        float *gate = s->gate + j * job->inner;
        infer__activate(s->model, gate, s->up + j * job->inner, job->inner);
        list[j] = (struct infer_product){.w = &job->experts->expert[s->chosen[s->entries[j]]].down,
                                         .y = s->expert_out + j * hidden};
        x[j] = gate;
    }
    infer__matvecs(s, list, x, (int)used);
    for (int64_t j = 0; j < used; j++)
        for (int64_t i = 0; i < hidden; i++)
            s->mixed[i] += s->shares[s->entries[j]] * s->expert_out[j * hidden + i];
    return true;
}

void infer__experts(struct ig_session *s, const struct infer_experts *experts, bool exact)
{
    const struct ig_model_shape *m = &s->model->shape;
    struct job job = {
        .s = s, .experts = experts, .rows = s->batch->rows, .inner = m->moe_intermediate};
    const struct infer_product router = {&experts->router, NULL, s->routed};
    infer__linear(s, &router, 1, s->normed, job.rows, exact);
    each_row(&job, route_row);
    group(&job);
    for (int64_t e = 0; e < m->experts && s->model->outgrows && !experts->transposed; e++)
        if (s->expert_first[e + 1] > s->expert_first[e]) infer__fetch(&experts->expert[e]);
    memset(s->mixed, 0, (size_t)(job.rows * m->hidden) * sizeof *s->mixed);
    bool together = job.rows == 1 && !exact && run_together(&job);
    for (int64_t e = 0; e < m->experts && !together; e++) {
        struct job one = job;
        one.entries = s->entries + s->expert_first[e];
        one.rows = s->expert_first[e + 1] - s->expert_first[e];
        if (one.rows == 0) continue;
        each_row(&one, gather_row);
        run_expert(&one, &experts->expert[e], s->gathered, exact);
        each_row(&one, scatter_row);
    }
    if (m->shared_intermediate) run_shared(&job, exact);
}
