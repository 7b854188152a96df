/* SPDX-License-Identifier: Apache-2.0
 * session — the KV cache and every buffer of a forward pass, sized once: nothing is allocated per
 * token. The cache is reserved for the whole context; the system backs the pages that are used. */
#include "infer/infer_internal.h"

#include "base/size.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ALIGN 64 /* a cache line, and the widest vector */

/* Where a buffer goes, and how many elements it has. Two passes over the same list: the first sums
 * the sizes, the second hands out the memory. */
struct carver {
    unsigned char *base; /* NULL while only measuring */
    size_t used;
    bool overflow;
};

static void *carve(struct carver *c, int64_t a, int64_t b, size_t size)
{
    size_t bytes;
    int64_t count;
    if (!ig_i64_mul(a, b, &count) || count < 0 || !ig_size_mul((size_t)count, size, &bytes) ||
        !ig_size_add(bytes, ALIGN, &bytes) || !ig_size_add(c->used, bytes, &bytes)) {
        c->overflow = true;
        return NULL;
    }
    void *at = c->base ? c->base + c->used : NULL;
    c->used = bytes / ALIGN * ALIGN;
    return at;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t widest_inner(const struct ig_model_shape *m)
{
    return larger(larger(m->intermediate, m->moe_intermediate), m->shared_intermediate);
}

static int64_t widest_row(const struct ig_model_shape *m)
{
    int64_t mixed = larger(m->heads * m->head_dim, m->linear_value_heads * m->linear_value_dim);
    return larger(larger(m->hidden, mixed), widest_inner(m));
}

static void carve_lane(struct carver *c, const struct ig_session *s, int64_t rows,
                       struct infer_lane *lane)
{
    const struct ig_model_shape *m = &s->model->shape;
    int64_t lanes = s->model->matmul.lanes, f32 = INFER_FEATURES * (INFER_DEPTH + 16);
    int64_t narrow = (int64_t)(ig_narrow_w_bytes(widest_row(m)) / sizeof(float)) + 1;
    int64_t delta = 0; /* its q, k, v and scratch */
    if (m->linear_key_heads > 0)
        delta = 2 * m->linear_key_dim +
                (m->linear_value_heads / m->linear_key_heads + 1) * m->linear_value_dim;
    struct infer_lane l = {
        .weights = carve(c, 1, larger(f32, narrow), sizeof(float)),
        .results = carve(c, INFER_FEATURES, rows, sizeof(float)),
        .scores = carve(c, INFER_KEYS, lanes, sizeof(float)),
        .queries = carve(c, m->head_dim, lanes, sizeof(float)),
        .mixed = carve(c, m->head_dim, lanes, sizeof(float)),
        .stats = carve(c, 3, lanes, sizeof(float)),
        .last = carve(c, 1, lanes, sizeof(int32_t)),
        .heads = carve(c, 2, m->heads / m->kv_heads, sizeof(float)),
        .unpacked = carve(c, s->cache.as.bits == 32 && s->cache.start == 0 ? 0 : INFER_KEYS,
                          m->head_dim, sizeof(float)),
        .delta = carve(c, 1, delta, sizeof(float)),
    };
    if (lane) *lane = l;
}

static void carve_all(struct carver *c, struct ig_session *s)
{
    const struct ig_model_shape *m = &s->model->shape;
    int64_t lanes = s->model->matmul.lanes, rows = s->rows_max;
    int64_t padded = (rows + lanes - 1) / lanes * lanes;
    int64_t q = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    int64_t widest = widest_row(m), experts = m->experts ? rows : 0;
    int64_t values = m->linear_value_heads * m->linear_value_dim;
    int64_t qkvz = 2 * (m->linear_key_heads * m->linear_key_dim + values);
    int64_t blocks = (m->vocab + INFER_FEATURES - 1) / INFER_FEATURES;
    int threads = ig_pool_size(s->model->pool);
    s->x = carve(c, rows, m->hidden, sizeof(float));
    s->normed = carve(c, rows, m->hidden, sizeof(float));
    s->q = carve(c, rows, q, sizeof(float));
    s->k = carve(c, rows, kv, sizeof(float));
    s->v = carve(c, rows, kv, sizeof(float));
    s->attended = carve(c, rows, larger(q, values), sizeof(float));
    s->wide = carve(c, rows, larger(m->attention_gate ? 2 * q : 0, qkvz), sizeof(float));
    s->wide_ba = carve(c, rows, 2 * m->linear_value_heads, sizeof(float));
    s->gate = carve(c, rows, widest_inner(m), sizeof(float));
    s->up = carve(c, rows, widest_inner(m), sizeof(float));
    s->positions = carve(c, 1, rows, sizeof(int64_t));
    s->slots = carve(c, 1, rows, sizeof(int64_t));
    s->caches = carve(c, 1, rows, sizeof *s->caches);
    s->angles = carve(c, 2 * rows, m->rotary, sizeof(float));
    s->routed = carve(c, experts, m->experts, sizeof(float));
    s->shares = carve(c, experts, m->experts_used, sizeof(float));
    s->chosen = carve(c, experts, m->experts_used, sizeof(int32_t));
    s->entries = carve(c, experts, m->experts_used, sizeof(int32_t));
    s->expert_first = carve(c, 1, m->experts + 2, sizeof(int32_t));
    s->gathered = carve(c, experts, m->hidden, sizeof(float));
    s->expert_out = carve(c, experts, m->hidden, sizeof(float));
    s->mixed = carve(c, experts, m->hidden, sizeof(float));
    s->operand = carve(c, larger(3 * INFER_MATVEC_ROWS, 2 * m->experts_used),
                       ig_matmul_operand_floats(widest), sizeof(float));
    s->packed = carve(c, padded, widest, sizeof(float));
    s->logits = carve(c, 1, m->vocab, sizeof(float));
    s->partial = carve(c, 2 * rows, blocks, sizeof(float));
    s->wanted = carve(c, 1, rows, sizeof(float));
    s->greedy = carve(c, 1, rows, sizeof(bool));
    s->held = carve(c, rows, m->hidden, sizeof(float));
    struct infer_lane *all = carve(c, 1, threads, sizeof *all);
    for (int t = 0; t < threads; t++)
        carve_lane(c, s, padded, all ? &all[t] : NULL);
    s->lanes = all;
}

/* Zeroed pages that take no memory until they are used. */
static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static bool make_buffers(struct ig_session *s, struct ig_err *err)
{
    struct carver c = {0};
    carve_all(&c, s);
    if (c.overflow) return ig_err_nomem(err);
    s->memory_bytes = c.used;
    s->memory = reserve(c.used);
    if (!s->memory) return ig_err_nomem(err);
    c = (struct carver){.base = s->memory};
    carve_all(&c, s);
    return true;
}

static int64_t most_rows(const struct ig_model_shape *m, int64_t context)
{
    int64_t rows = m->experts ? INFER_ROWS * m->experts / m->experts_used : INFER_ROWS;
    if (rows > INFER_ROWS_MAX) rows = INFER_ROWS_MAX;
    return context < rows ? context : rows;
}

static bool make_session(struct ig_model *model, struct ig_session *beside,
                         const struct ig_session_options *options, struct ig_session **out,
                         struct ig_err *err)
{
    struct ig_session *s = calloc(1, sizeof *s);
    if (!s) return ig_err_nomem(err);
    if (beside) infer__share(s, beside);
    s->model = model;
    if (!infer__cache_init(s, options, err)) goto failed;
    if (!beside) {
        int64_t most = s->cache.window ? model->shape.context : s->context;
        s->rows_max = most_rows(&model->shape, most);
    }
    if (!infer__cache_reserve(s, err) || (!beside && !make_buffers(s, err)) ||
        !infer__make_state(s, err))
        goto failed;
    *out = s;
    return true;
failed:
    ig_session_free(s);
    return false;
}

bool ig_session_new(struct ig_model *model, int64_t context, struct ig_session **out,
                    struct ig_err *err)
{
    return make_session(model, NULL, &(struct ig_session_options){.context = context}, out, err);
}

bool ig_session_new_as(struct ig_model *model, const struct ig_session_options *options,
                       struct ig_session **out, struct ig_err *err)
{
    return make_session(model, NULL, options, out, err);
}

bool ig_session_new_beside(struct ig_session *other, int64_t context, struct ig_session **out,
                           struct ig_err *err)
{
    const struct infer_cache *c = &other->cache;
    const struct ig_cached *as = c->start > 0 && !c->packed ? &c->other.as : &c->as;
    const struct ig_session_options options = {.context = c->window ? 0 : context,
                                               .window = c->window,
                                               .bits = as->bits,
                                               .group = as->group,
                                               .start = c->start};
    return make_session(other->model, other, &options, out, err);
}

void ig_session_free(struct ig_session *session)
{
    if (!session) return;
    infer__cache_release(session);
    if (session->memory) munmap(session->memory, session->memory_bytes);
    infer__release_state(session);
    free(session);
}

int64_t ig_session_context(const struct ig_session *session)
{
    return session->context;
}

int64_t ig_session_rows(const struct ig_session *session)
{
    return session->rows_max;
}

int64_t ig_session_room(const struct ig_session *session)
{
    return session->cache.window ? session->cache.window : session->context;
}

size_t ig_session_token_bytes(const struct ig_session *session)
{
    const struct ig_model *m = session->model;
    return 2 * (size_t)(m->caches * m->shape.kv_heads) * session->cache.row_bytes;
}

int64_t ig_session_length(const struct ig_session *session)
{
    return session->length;
}

const float *ig_session_logits(const struct ig_session *session)
{
    return session->logits;
}

/* ---- feeding ---- */

bool infer__check_token(const struct ig_session *s, int32_t token, struct ig_err *err)
{
    if (token >= 0 && token < s->model->shape.vocab) return true;
    return ig_err_set(err, IG_ERR_DATA, "token %d is outside the model's vocabulary of %lld",
                      (int)token, (long long)s->model->shape.vocab);
}

static bool check_tokens(const struct ig_session *s, const int32_t *tokens, size_t count,
                         struct ig_err *err)
{
    if (count > (size_t)(s->context - s->length)) {
        if (s->length == 0)
            return ig_err_set(err, IG_ERR_DATA, "the prompt has %zu tokens, the %s context is %lld",
                              count, s->context < s->model->shape.context ? "session's" : "model's",
                              (long long)s->context);
        return ig_err_set(err, IG_ERR_DATA,
                          "%lld tokens and %zu more do not fit the context of %lld",
                          (long long)s->length, count, (long long)s->context);
    }
    for (size_t i = 0; i < count; i++)
        if (!infer__check_token(s, tokens[i], err)) return false;
    return true;
}

bool infer__check_finite(double value, struct ig_err *err)
{
    if (isfinite(value)) return true;
    return ig_err_set(err, IG_ERR_DATA,
                      "the model's logits are not finite numbers: its weights are broken");
}

bool infer__no_scores(struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_USAGE,
                      "scores need a cache that does not rotate: they would depend on how the "
                      "text is cut");
}

/* Rows of the next batch: as many as fit. */
static int64_t batch_rows(const struct ig_session *s, size_t left)
{
    int64_t most = s->cache.window ? s->cache.slots - s->cache.window : s->rows_max;
    return left < (size_t)most ? (int64_t)left : most;
}

/* Of a prompt only the last row is read: the others end at their keys and values in the last layer,
 * and so do all rows of batches before the last. As many go on with it as make products take the
 * path of many rows, so that it gets the numbers that it would among all. */
static const float *forward_last(struct ig_session *s, const int32_t *tokens, int64_t rows,
                                 bool last)
{
    enum { KEPT = INFER_MATVEC_ROWS + 1 };
    int64_t places[KEPT], kept = last ? KEPT : 0;
    if (rows < KEPT) {
        infer__forward(s, tokens, rows, false);
        kept = rows;
    } else {
        for (int64_t i = 0; i < KEPT; i++)
            places[i] = rows - KEPT + i;
        infer__forward_wanted(s, tokens, rows, &(struct infer_wanted){places, kept}, false);
    }
    return s->normed + (kept > 0 ? kept - 1 : 0) * s->model->shape.hidden;
}

bool ig_session_feed(struct ig_session *session, const int32_t *tokens, size_t count,
                     struct ig_err *err)
{
    if (!check_tokens(session, tokens, count, err)) return false;
    const struct ig_model_shape *m = &session->model->shape;
    int64_t before = session->length, rows = 0;
    const float *read = NULL;
    session->run_start = count > 1 ? before : -1;
    for (size_t done = 0; done < count; done += (size_t)rows) {
        rows = batch_rows(session, count - done);
        read = forward_last(session, tokens + done, rows, done + (size_t)rows == count);
        infer__grow(session, rows);
    }
    if (count == 0) return true;
    struct infer_product head = {&session->model->head, NULL, session->logits};
    infer__linear(session, &head, 1, read, 1, false);
    float top = session->model->neural.max(session->logits, m->vocab);
    bool ok = infer__check_finite((double)top, err);
    if (!ok) ig_session_trim(session, before);
    if (ok && count > 1) infer__mark(session); /* a prompt's end is worth coming back to */
    if (ok) infer__cache_settle(session);
    return ok;
}

/* The rows that are scored, and what is asked of their results, which stand together. */
static int64_t find_scored(const int32_t *targets, int64_t rows, struct infer_target *picked,
                           int64_t *places)
{
    int64_t n = 0;
    for (int64_t r = 0; r < rows; r++) {
        if (targets[r] < 0) continue;
        picked[n] = (struct infer_target){(int32_t)n, targets[r]};
        places[n++] = r;
    }
    return n;
}

static bool score_batch(struct ig_session *s, const int32_t *tokens, const int32_t *targets,
                        int64_t rows, double *logprobs, bool *greedy, struct ig_err *err)
{
    struct infer_target picked[INFER_ROWS_MAX];
    int64_t places[INFER_ROWS_MAX] = {0};
    struct ig_scored scored[INFER_ROWS_MAX];
    int64_t n = find_scored(targets, rows, picked, places);
    infer__forward_wanted(s, tokens, rows, &(struct infer_wanted){places, n}, true);
    infer__grow(s, rows);
    if (n == 0) return true;
    infer__head_scores(s, s->normed, n, &(struct infer_scores){picked, scored, n});
    for (int64_t i = 0; i < n; i++) {
        if (!infer__check_finite(scored[i].logprob, err)) return false;
        logprobs[places[i]] = scored[i].logprob;
        if (greedy) greedy[places[i]] = scored[i].greedy;
    }
    return true;
}

bool ig_session_score(struct ig_session *session, const int32_t *tokens, const int32_t *targets,
                      size_t count, double *logprobs, bool *greedy, struct ig_err *err)
{
    if (session->cache.window) return infer__no_scores(err);
    if (!check_tokens(session, tokens, count, err)) return false;
    for (size_t i = 0; i < count; i++)
        if (targets[i] >= 0 && !infer__check_token(session, targets[i], err)) return false;
    int64_t before = session->length, rows = 0;
    for (size_t done = 0; done < count; done += (size_t)rows) {
        rows = batch_rows(session, count - done);
        if (score_batch(session, tokens + done, targets + done, rows, logprobs + done,
                        greedy ? greedy + done : NULL, err))
            continue;
        ig_session_trim(session, before);
        return false;
    }
    return true;
}

bool ig_session_logits_all(struct ig_session *session, const int32_t *tokens, size_t count,
                           float *out, struct ig_err *err)
{
    if (!check_tokens(session, tokens, count, err)) return false;
    session->run_start = count > 1 ? session->length : -1;
    int64_t rows, vocab = session->model->shape.vocab;
    for (size_t done = 0; done < count; done += (size_t)rows) {
        rows = batch_rows(session, count - done);
        infer__forward(session, tokens + done, rows, false);
        infer__grow(session, rows);
        struct infer_product head = {&session->model->head, NULL, out + (int64_t)done * vocab};
        infer__linear(session, &head, 1, session->normed, rows, false);
    }
    return true;
}

bool ig_session_states(struct ig_session *session, const int32_t *tokens, size_t count, bool mean,
                       double *out, struct ig_err *err)
{
    const struct ig_model_shape *m = &session->model->shape;
    if (!check_tokens(session, tokens, count, err)) return false;
    session->run_start = count > 1 ? session->length : -1;
    int64_t rows;
    for (size_t done = 0; done < count; done += (size_t)rows) {
        rows = batch_rows(session, count - done);
        bool last = done + (size_t)rows == count;
        const struct infer_states states = {out, mean ? 1 / (double)count : 0};
        session->states = mean || last ? &states : NULL;
        infer__forward(session, tokens + done, rows, true);
        session->states = NULL;
        infer__grow(session, rows);
    }
    for (int64_t i = 0; i < m->layers * m->hidden; i++)
        if (!infer__check_finite(out[i], err)) return false;
    return true;
}
