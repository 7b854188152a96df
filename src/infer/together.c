/* SPDX-License-Identifier: Apache-2.0
 * together — several sessions of one model: a token for each in one pass over the weights, working
 * memory that they share, and what one has computed taken over by another. */
#include "infer/infer_internal.h"

#include <string.h>

void infer__share(struct ig_session *s, const struct ig_session *from)
{
    *s = *from;
    s->length = s->mark_length = 0;
    s->keys = s->values = s->state = s->marked = NULL;
    s->cache_bytes = s->state_bytes = s->memory_bytes = 0;
    s->memory = NULL;
}

static bool check_step(struct ig_session *const *sessions, const int32_t *tokens, size_t count,
                       struct ig_err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct ig_session *s = sessions[i];
        if (s->model != sessions[0]->model)
            return ig_err_set(err, IG_ERR_USAGE, "sessions of several models cannot step together");
        if (s->length >= s->context)
            return ig_err_set(err, IG_ERR_DATA, "the context of %lld tokens is full",
                              (long long)s->context);
        if (!infer__check_token(s, tokens[i], err)) return false;
    }
    return true;
}

static bool step_in_turn(struct ig_session *const *sessions, const int32_t *tokens, size_t count,
                         float *logits, struct ig_err *err)
{
    int64_t vocab = sessions[0]->model->shape.vocab;
    for (size_t i = 0; i < count; i++) {
        if (!ig_session_feed(sessions[i], &tokens[i], 1, err)) {
            for (size_t j = 0; j < i; j++)
                ig_session_trim(sessions[j], sessions[j]->length - 1);
            return false;
        }
        memcpy(logits + (int64_t)i * vocab, ig_session_logits(sessions[i]),
               (size_t)vocab * sizeof *logits);
    }
    return true;
}

/* Up to INFER_ROWS_MAX, through the buffers of the first. */
static void step_batch(struct ig_session *const *sessions, const int32_t *tokens, int64_t count,
                       float *logits)
{
    struct ig_session *s = sessions[0];
    struct infer_span spans[INFER_ROWS_MAX];
    struct infer_part parts[INFER_ROWS_MAX];
    for (int64_t i = 0; i < count; i++) {
        int64_t length = sessions[i]->length;
        spans[i] = (struct infer_span){.count = length + 1};
        parts[i] = (struct infer_part){
            .span = &spans[i], .offset = length, .row = i, .rows = 1, .cache = sessions[i]};
    }
    struct infer_batch batch = {
        .tokens = tokens, .parts = parts, .rows = count, .part_count = count};
    infer__forward_batch(s, &batch, false);
    const struct infer_product head = {&s->model->head, NULL, logits};
    infer__linear(s, &head, 1, s->normed, count, false);
}

bool ig_sessions_step(struct ig_session *const *sessions, const int32_t *tokens, size_t count,
                      float *logits, struct ig_err *err)
{
    if (count == 0) return true;
    if (!check_step(sessions, tokens, count, err)) return false;
    const struct ig_model *model = sessions[0]->model;
    if (model->states || count == 1) return step_in_turn(sessions, tokens, count, logits, err);
    size_t most = (size_t)sessions[0]->rows_max, rows;
    int64_t vocab = model->shape.vocab;
    for (size_t done = 0; done < count; done += rows) {
        rows = count - done < most ? count - done : most;
        step_batch(sessions + done, tokens + done, (int64_t)rows, logits + (int64_t)done * vocab);
    }
    for (size_t i = 0; i < count; i++) {
        float top = model->neural.max(logits + (int64_t)i * vocab, vocab);
        if (!infer__check_finite((double)top, err)) return false;
    }
    for (size_t i = 0; i < count; i++)
        sessions[i]->length++;
    return true;
}

bool ig_session_copy(struct ig_session *to, const struct ig_session *from, int64_t length)
{
    const struct ig_model_shape *m = &from->model->shape;
    if (to->model != from->model || from->model->states || length > from->length ||
        length > to->context || length < 0)
        return false;
    for (int64_t run = 0; run < from->model->caches * m->kv_heads && to != from; run++) {
        int64_t source = run * from->context * m->head_dim, at = run * to->context * m->head_dim;
        size_t bytes = (size_t)(length * m->head_dim) * sizeof(float);
        memcpy(to->keys + at, from->keys + source, bytes);
        memcpy(to->values + at, from->values + source, bytes);
    }
    to->length = length;
    return true;
}
