/* SPDX-License-Identifier: Apache-2.0
 * together — several sessions of one model: a token for each in one pass over the weights, working
 * memory that they share, and what one has computed taken over by another. */
#include "infer/infer_internal.h"

#include <string.h>

void infer__share(struct ig_session *s, const struct ig_session *from)
{
    *s = *from;
    s->length = s->mark_length = 0;
    s->cache = (struct infer_cache){0};
    s->state = s->marked = NULL;
    s->state_bytes = s->memory_bytes = 0;
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
        sessions[i]->run_start = -1;
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
    for (size_t i = 0; i < count; i++) {
        infer__grow(sessions[i], 1);
        infer__cache_settle(sessions[i]);
    }
    return true;
}

bool ig_session_copy(struct ig_session *to, const struct ig_session *from, int64_t length)
{
    const struct ig_model *m = from->model;
    const struct infer_cache *a = &from->cache;
    struct infer_cache *b = &to->cache;
    if (to->model != m || m->states || length > from->length || length > to->context ||
        length < 0 || !infer__cache_alike(a, b) || (a->window > 0 && a->high > a->slots) ||
        (a->packed && length < a->start))
        return false;
    if (to == from) return ig_session_trim(to, length) == length;
    ig_session_trim(to, 0);
    if (a->packed != b->packed) infer__cache_switch(to);
    size_t bytes = (size_t)length * a->row_bytes;
    for (int64_t run = 0; run < m->caches * m->shape.kv_heads; run++) {
        size_t source = infer__cache_row(from, 0, run, 0), at = infer__cache_row(to, 0, run, 0);
        memcpy(b->keys + at, a->keys + source, bytes);
        memcpy(b->values + at, a->values + source, bytes);
    }
    infer__grow(to, length);
    return true;
}
