/* SPDX-License-Identifier: Apache-2.0
 * linear — y = x W^T over all threads; in f32, or, for large matrices where the processor can and
 * the model was not opened to be exact, in narrow types (tensor/kernels/narrow.h).
 *
 * Few rows: matvec. Threads take runs of W's rows from one counter; memory is read once for all
 * rows of x. Many rows: x is transposed into tiles of `lanes` rows, [tile][column][lane]. A thread
 * takes INFER_FEATURES rows of W, unpacks INFER_DEPTH columns of them at a time and multiplies all
 * tiles:
 *
 *     W block  64 x 256   second-level cache, read by broadcast
 *     x tile   256 x 48   streamed; a row of x is a lane
 *     y^T      64 x rows  [tile][feature][lane], accumulates over the depth
 *
 * Then y^T is transposed into y, or, for scores, reduced at once.
 * In narrow types a block of W is packed over all its columns, and tiles of 6 rows of x are
 * multiplied by it, straight into y. */
#include "infer/infer_internal.h"

#include <math.h>
#include <stdatomic.h>

/* Of a matvec: bytes of W in a short run, which stays in the cache for several rows of x; and the
 * share of the last matrix that is dealt in such runs, one in so many. */
#define SHORT_BYTES  ((int64_t)64 << 10)
#define SHORT_SHARE  16
#define WEIGHTS_STEP (INFER_DEPTH + 16) /* rows of the block fall into different cache sets */

/* How W's rows are dealt: long runs first, short ones after them. */
struct deal {
    int64_t longs, long_rows, short_rows;
};

struct job {
    struct ig_session *s;
    const struct infer_product *products;
    int count;
    int64_t tasks[INFER_PRODUCTS_MAX + 1]; /* first task of each product; the end */
    struct deal deals[INFER_PRODUCTS_MAX];
    const float *x, *operands[INFER_PRODUCTS_MAX];
    const float *const *each; /* a row for each product, in place of x; or NULL */
    int64_t rows, cols;
    bool score;
    enum ig_narrow kind;
    const struct infer_scores *scores; /* NULL: store y */
    atomic_llong next;
};

/* The product and rows of W of one task; false when there are no more. */
static bool take(struct job *job, int *product, int64_t *first, int64_t *count)
{
    int64_t task = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
    if (task >= job->tasks[job->count]) return false;
    int p = 0;
    while (task >= job->tasks[p + 1])
        p++;
    const struct deal *deal = &job->deals[p];
    int64_t i = task - job->tasks[p], shorts = i - deal->longs;
    int64_t run = shorts < 0 ? deal->long_rows : deal->short_rows;
    int64_t left, rows = job->products[p].w->rows;
    *product = p;
    *first = shorts < 0 ? i * run : deal->longs * deal->long_rows + shorts * run;
    left = rows - *first;
    *count = left < run ? left : run;
    return true;
}

static void add_bias(const struct infer_product *p, int64_t row, int64_t first, int64_t count)
{
    if (!p->bias) return;
    float *y = p->y + row * p->w->rows;
    for (int64_t i = first; i < first + count; i++)
        y[i] += p->bias[i];
}

/* ---- few rows ---- */

/* `count` rows of W with all rows of x. */
static void some_rows(const struct job *job, int p, int64_t first, int64_t count)
{
    const struct infer_product *product = &job->products[p];
    const struct ig_matrix *w = product->w;
    for (int64_t r = 0; r < job->rows; r++) {
        const float *operand = job->operands[p] + r * ig_matmul_operand_floats(w->cols);
        float *y = product->y + r * w->rows + first;
        if (infer__narrow(job->s->model, w, false) == IG_NARROW_INT8)
            job->s->model->narrow.matvec(w, operand, first, count, y);
        else
            job->s->model->matmul.matvec(w, operand, first, count, y);
        add_bias(product, r, first, count);
    }
}

/* Of several rows of x a part of W that stays in the cache for all of them, of one the whole run.
 */
static void run_matvec(void *user, int thread, int threads)
{
    (void)thread, (void)threads;
    struct job *job = user;
    int p;
    int64_t first, count;
    while (take(job, &p, &first, &count)) {
        int64_t step = job->rows > 1 ? job->deals[p].short_rows : count;
        for (int64_t at = first, end = first + count; at < end; at += step)
            some_rows(job, p, at, end - at < step ? end - at : step);
    }
}

enum ig_narrow infer__narrow(const struct ig_model *model, const struct ig_matrix *w, bool score)
{
    if (model->exact || w->exact || w->cols < model->narrow_cols || w->rows < model->narrow_rows)
        return IG_NARROW_NONE;
    bool pairs = model->narrow.bf16 && ig_narrow_can(w, IG_NARROW_BF16);
    bool bytes = model->narrow.int8 && ig_narrow_can(w, IG_NARROW_INT8);
    if (pairs && ((score && !model->int8_scores) || !bytes)) return IG_NARROW_BF16;
    return bytes ? IG_NARROW_INT8 : IG_NARROW_NONE;
}

/* Whether product p can use what was prepared for the one before it. */
static bool same_operand(const struct job *job, int p)
{
    const struct ig_model *model = job->s->model;
    const struct ig_matrix *a = job->products[p].w, *b = job->products[p - 1].w;
    if (job->each && job->each[p] != job->each[p - 1]) return false;
    if (infer__narrow(model, a, false) != infer__narrow(model, b, false)) return false;
    return a->packing == b->packing && a->bits == b->bits && a->group == b->group;
}

/* A thread waits for memory where a run begins, so runs are long: one for each thread. But of the
 * last matrix a part is kept back and dealt in short ones, so that all threads end together. */
static struct deal deal_matvec(const struct ig_matrix *w, int threads, bool last)
{
    int64_t now = last ? w->rows - w->rows / SHORT_SHARE : w->rows;
    int64_t rows = (now + threads - 1) / threads, bytes = (int64_t)ig_matmul_row_bytes(w);
    struct deal deal = {.long_rows = (rows + 7) / 8 * 8};
    deal.longs = w->rows / deal.long_rows;
    if (deal.longs > threads) deal.longs = threads;
    deal.short_rows = SHORT_BYTES / bytes / 8 * 8;
    if (deal.short_rows < 8) deal.short_rows = 8;
    return deal;
}

static void few_rows(struct job *job)
{
    const struct ig_matmul_ops *ops = &job->s->model->matmul;
    float *operand = job->s->operand;
    int64_t floats = ig_matmul_operand_floats(job->cols);
    for (int p = 0; p < job->count; p++) {
        const struct ig_matrix *w = job->products[p].w;
        job->deals[p] = deal_matvec(w, ig_pool_size(job->s->model->pool), p == job->count - 1);
        job->operands[p] = operand;
        if (p > 0 && same_operand(job, p)) {
            job->operands[p] = job->operands[p - 1];
            continue;
        }
        bool narrow = infer__narrow(job->s->model, w, false) == IG_NARROW_INT8;
        const float *x = job->each ? job->each[p] : job->x;
        for (int64_t r = 0; r < job->rows; r++, operand += floats)
            if (narrow)
                job->s->model->narrow.prepare(w, x + r * job->cols, operand);
            else
                ops->prepare(w, x + r * job->cols, operand);
    }
}

/* ---- many rows ---- */

static void run_pack(void *user, int thread, int threads)
{
    struct job *job = user;
    const struct ig_matmul_ops *ops = &job->s->model->matmul;
    int64_t lanes = ops->lanes, tiles = (job->rows + lanes - 1) / lanes;
    for (int64_t t = thread; t < tiles; t += threads) {
        int64_t rows = job->rows - t * lanes < lanes ? job->rows - t * lanes : lanes;
        float *tile = job->s->packed + t * lanes * job->cols;
        if (rows < lanes) memset(tile, 0, (size_t)(lanes * job->cols) * sizeof *tile);
        ops->transpose(job->x + t * lanes * job->cols, job->cols, rows, job->cols, tile, lanes);
    }
}

/* All results of `count` rows of W, into the thread's y^T. */
static void block_results(const struct job *job, const struct infer_lane *lane,
                          const struct ig_matrix *w, int64_t first, int64_t count)
{
    const struct ig_matmul_ops *ops = &job->s->model->matmul;
    int64_t lanes = ops->lanes;
    for (int64_t k = 0; k < w->cols; k += INFER_DEPTH) {
        int64_t depth = w->cols - k < INFER_DEPTH ? w->cols - k : INFER_DEPTH;
        for (int64_t n = 0; n < count; n++)
            ops->unpack(w, first + n, k, depth, lane->weights + n * WEIGHTS_STEP);
        for (int64_t r = 0; r < job->rows; r += lanes) {
            int64_t used = job->rows - r < lanes ? job->rows - r : lanes;
            ops->tile(&(struct ig_tile){.x = job->s->packed + r * job->cols + k * lanes,
                                        .w = lane->weights,
                                        .y = lane->results + r * INFER_FEATURES,
                                        .row_step = WEIGHTS_STEP,
                                        .col_step = 1,
                                        .depth = depth,
                                        .lanes_step = (int)lanes,
                                        .lanes = (int)((used + 15) / 16 * 16),
                                        .features = (int)count,
                                        .add = k > 0});
        }
    }
}

static void store_results(const struct job *job, const struct infer_lane *lane,
                          const struct infer_product *p, int64_t first, int64_t count)
{
    const struct ig_matmul_ops *ops = &job->s->model->matmul;
    int64_t lanes = ops->lanes;
    for (int64_t r = 0; r < job->rows; r += lanes) {
        int64_t used = job->rows - r < lanes ? job->rows - r : lanes;
        ops->transpose(lane->results + r * INFER_FEATURES, lanes, count, used,
                       p->y + r * p->w->rows + first, p->w->rows);
        for (int64_t i = 0; i < used; i++)
            add_bias(p, r + i, first, count);
    }
}

static int64_t vocab_blocks(const struct ig_session *s)
{
    return (s->model->shape.vocab + INFER_FEATURES - 1) / INFER_FEATURES;
}

/* Of the targets in this block: their logits. A target is greedy so far when no earlier logit of
 * the block equals it. */
static void find_targets(const struct job *job, const float *results, int64_t first, int64_t count)
{
    struct ig_session *s = job->s;
    int64_t lanes = job->kind == IG_NARROW_NONE ? s->model->matmul.lanes : 1;
    for (int64_t t = 0; t < job->scores->count; t++) {
        int64_t n = job->scores->targets[t].token - first, r = job->scores->targets[t].row;
        if (n < 0 || n >= count) continue;
        const float *y = results + r / lanes * lanes * INFER_FEATURES + r % lanes;
        s->wanted[t] = y[n * lanes];
        s->greedy[t] = true;
        for (int64_t i = 0; i < n; i++)
            if (y[i * lanes] == y[n * lanes]) s->greedy[t] = false;
    }
}

/* The largest logit of the block and the sum of exp below it, for each row. */
static void reduce_results(const struct job *job, const struct infer_lane *lane, int64_t first,
                           int64_t count)
{
    struct ig_session *s = job->s;
    int64_t lanes = s->model->matmul.lanes;
    float *max = lane->stats, *sum = max + lanes;
    int64_t blocks = vocab_blocks(s);
    float *out = s->partial + first / INFER_FEATURES * 2; /* [row][block] */
    find_targets(job, lane->results, first, count);
    for (int64_t r = 0; r < job->rows; r += lanes) {
        int64_t used = job->rows - r < lanes ? job->rows - r : lanes;
        float *y = lane->results + r * INFER_FEATURES;
        for (int64_t l = 0; l < lanes; l++) {
            max[l] = -INFINITY;
            sum[l] = 0.0F;
            lane->last[l] = INT32_MAX;
        }
        s->model->neural.softmax_lanes(&(struct ig_softmax){.scores = y,
                                                            .keys = count,
                                                            .step = lanes,
                                                            .lanes = (int)((used + 15) / 16 * 16),
                                                            .last = lane->last,
                                                            .scale = 1.0F,
                                                            .max = max,
                                                            .sum = sum,
                                                            .rescale = sum + lanes});
        for (int64_t l = 0; l < used; l++) {
            out[2 * (r + l) * blocks] = max[l];
            out[2 * (r + l) * blocks + 1] = sum[l];
        }
    }
}

static void run_tiles(void *user, int thread, int threads)
{
    (void)threads;
    struct job *job = user;
    const struct infer_lane *lane = &job->s->lanes[thread];
    int p;
    int64_t first, count;
    while (take(job, &p, &first, &count)) {
        block_results(job, lane, job->products[p].w, first, count);
        if (job->scores)
            reduce_results(job, lane, first, count);
        else
            store_results(job, lane, &job->products[p], first, count);
    }
}

/* ---- many rows, narrow ---- */

static void run_pack_narrow(void *user, int thread, int threads)
{
    struct job *job = user;
    const struct ig_matrix *w = job->products[0].w;
    size_t bytes = ig_narrow_x_bytes(job->cols);
    int64_t tiles = (job->rows + IG_NARROW_ROWS - 1) / IG_NARROW_ROWS;
    for (int64_t t = thread; t < tiles; t += threads) {
        int64_t first = t * IG_NARROW_ROWS, rows = job->rows - first;
        job->s->model->narrow.pack_x(job->kind, w->group, job->x + first * job->cols, job->cols,
                                     (int)(rows < IG_NARROW_ROWS ? rows : IG_NARROW_ROWS),
                                     (unsigned char *)job->s->packed + (size_t)t * bytes);
    }
}

/* All results of up to 64 rows of W, into y or, for scores, the thread's buffer. */
static void narrow_results(const struct job *job, const struct infer_lane *lane,
                           const struct infer_product *p, int64_t first, int64_t count)
{
    const struct ig_narrow_ops *ops = &job->s->model->narrow;
    const struct ig_matrix *w = p->w;
    int64_t step = job->scores ? INFER_FEATURES : w->rows;
    float *y = job->scores ? lane->results : p->y + first;
    ops->pack_w(job->kind, w, first, count, lane->weights);
    ops->tile(&(struct ig_narrow_tile){.kind = job->kind,
                                       .x = job->s->packed,
                                       .w = lane->weights,
                                       .y = y,
                                       .cols = w->cols,
                                       .step = step,
                                       .group = w->group,
                                       .rows = (int)job->rows,
                                       .features = (int)count,
                                       .bits = ig_narrow_bits(w)});
    for (int64_t r = 0; !job->scores && r < job->rows; r++)
        add_bias(p, r, first, count);
}

static void reduce_narrow(const struct job *job, const struct infer_lane *lane, int64_t first,
                          int64_t count)
{
    const struct ig_neural_ops *ops = &job->s->model->neural;
    int64_t blocks = vocab_blocks(job->s);
    float *out = job->s->partial + first / INFER_FEATURES * 2; /* [row][block] */
    find_targets(job, lane->results, first, count);
    for (int64_t r = 0; r < job->rows; r++) {
        float *y = lane->results + r * INFER_FEATURES, max = ops->max(y, count);
        out[2 * r * blocks] = max;
        out[2 * r * blocks + 1] = ops->exp_sum(y, count, max);
    }
}

static void run_narrow(void *user, int thread, int threads)
{
    (void)threads;
    struct job *job = user;
    const struct infer_lane *lane = &job->s->lanes[thread];
    int p;
    int64_t first, count;
    while (take(job, &p, &first, &count)) {
        narrow_results(job, lane, &job->products[p], first, count);
        if (job->scores) reduce_narrow(job, lane, first, count);
    }
}

static void plan_tasks(struct job *job)
{
    for (int p = 0; p < job->count; p++) {
        const struct deal *deal = &job->deals[p];
        int64_t left = job->products[p].w->rows - deal->longs * deal->long_rows;
        int64_t shorts = (left + deal->short_rows - 1) / deal->short_rows;
        job->tasks[p + 1] = job->tasks[p] + deal->longs + shorts;
    }
}

/* Products that take x in the same form go together. */
static void many_rows(const struct job *all)
{
    const struct ig_model *model = all->s->model;
    for (int p = 0, end; p < all->count; p = end) {
        struct job job = *all;
        job.products += p;
        job.kind = infer__narrow(model, job.products->w, all->score);
        for (end = p + 1; end < all->count; end++) {
            const struct ig_matrix *w = all->products[end].w;
            if (infer__narrow(model, w, all->score) != job.kind) break;
            if (job.kind == IG_NARROW_INT8 && w->group != job.products->w->group) break;
        }
        job.count = end - p;
        for (int i = 0; i < job.count; i++)
            job.deals[i] = (struct deal){.short_rows = INFER_FEATURES};
        plan_tasks(&job);
        bool narrow = job.kind != IG_NARROW_NONE;
        ig_pool_all(model->pool, narrow ? run_pack_narrow : run_pack, &job);
        ig_pool_all(model->pool, narrow ? run_narrow : run_tiles, &job);
    }
}

void infer__linear(struct ig_session *s, const struct infer_product *products, int count,
                   const float *x, int64_t rows, bool exact)
{
    struct job job = {.s = s,
                      .products = products,
                      .count = count,
                      .x = x,
                      .rows = rows,
                      .cols = products[0].w->cols,
                      .score = exact};
    if (rows > INFER_MATVEC_ROWS || exact) {
        many_rows(&job);
        return;
    }
    few_rows(&job);
    plan_tasks(&job);
    ig_pool_all(s->model->pool, run_matvec, &job);
}

void infer__matvecs(struct ig_session *s, const struct infer_product *products,
                    const float *const *x, int count)
{
    struct job job = {.s = s,
                      .products = products,
                      .count = count,
                      .each = x,
                      .rows = 1,
                      .cols = products[0].w->cols};
    few_rows(&job);
    plan_tasks(&job);
    ig_pool_all(s->model->pool, run_matvec, &job);
}

/* ---- scores ---- */

/* Blocks are combined in their order, so that the sum does not depend on the threads. */
static double log_sum(const float *parts, int64_t blocks, float *top)
{
    double sum = 0.0;
    *top = -INFINITY;
    for (int64_t b = 0; b < blocks; b++)
        if (parts[2 * b] > *top) *top = parts[2 * b];
    for (int64_t b = 0; b < blocks; b++)
        sum += (double)parts[2 * b + 1] * exp((double)parts[2 * b] - (double)*top);
    return log(sum);
}

/* All targets of the rows that are this thread's. */
static void run_combine(void *user, int thread, int threads)
{
    const struct job *job = user;
    const struct infer_scores *scores = job->scores;
    const float *wanted = job->s->wanted, *parts = NULL;
    int64_t row = -1, blocks = vocab_blocks(job->s);
    double sum = 0.0;
    float top = 0.0F;
    for (int64_t t = 0; t < scores->count; t++) {
        const struct infer_target *target = &scores->targets[t];
        if (target->row % threads != thread) continue;
        if (target->row != row) {
            row = target->row;
            parts = job->s->partial + row * blocks * 2;
            sum = log_sum(parts, blocks, &top);
        }
        bool greedy = job->s->greedy[t] && wanted[t] == top;
        for (int64_t b = 0; greedy && b < target->token / INFER_FEATURES; b++)
            greedy = parts[2 * b] != wanted[t];
        scores->out[t] = (struct ig_scored){(double)wanted[t] - (double)top - sum, greedy};
    }
}

void infer__head_scores(struct ig_session *s, const float *x, int64_t rows,
                        const struct infer_scores *scores)
{
    struct infer_product product = {&s->model->head, NULL, NULL};
    struct job job = {.s = s,
                      .products = &product,
                      .count = 1,
                      .x = x,
                      .rows = rows,
                      .cols = product.w->cols,
                      .score = true,
                      .scores = scores};
    many_rows(&job);
    ig_pool_all(s->model->pool, run_combine, &job);
}
