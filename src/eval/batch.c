/* SPDX-License-Identifier: Apache-2.0
 * batch — items as trees of spans, so that what sequences share is fed once.
 *
 *     choice 0   c c c c c a a|a       span 0   c c c c c
 *     choice 1   c c c c c a b|b       span 1     a         after span 0: two choices share it
 *     choice 2   c c c c c|d           span 2       a       span 3       b
 *
 * Of each sequence the last token is not fed: it is only a target. A scored token is read from the
 * row of the token before it; choices that differ in one last token are all read from one row. An
 * item's values depend on nothing but the item: ig_session_score_spans promises it of sequences,
 * and the sums run in the order of the tokens. */
#include "eval/score.h"

#include <math.h>
#include <stdlib.h>

#define SESSION_ROWS 2048 /* of the cache; more than a batch of the engine has no use */

/* ---- growing lists ---- */

static bool room(void **items, size_t count, size_t *cap, size_t size, struct ig_err *err)
{
    if (count < *cap) return true;
    size_t want = *cap ? 2 * *cap : 256;
    void *grown = realloc(*items, want * size);
    if (!grown) return ig_err_nomem(err);
    *items = grown;
    *cap = want;
    return true;
}

static bool add_target(struct eval_batch *b, struct ig_target target, int64_t owner,
                       struct ig_err *err)
{
    size_t cap = b->target_cap, same = cap, also = cap;
    if (!room((void **)&b->targets, b->target_count, &cap, sizeof *b->targets, err) ||
        !room((void **)&b->scored, b->target_count, &same, sizeof *b->scored, err) ||
        !room((void **)&b->owners, b->target_count, &also, sizeof *b->owners, err))
        return false;
    b->target_cap = cap;
    b->targets[b->target_count] = target;
    b->owners[b->target_count++] = owner;
    return true;
}

/* ---- trees ---- */

static size_t fed(const struct eval_pair *pair)
{
    return pair->count ? pair->count - 1 : 0;
}

/* How far the members' fed tokens agree, from depth on. */
static size_t agree(const struct ig_eval_tokens *t, const int64_t *members, int count, size_t depth)
{
    const struct eval_pair *first = &t->pairs[members[0]];
    size_t end = fed(first);
    for (int i = 1; i < count; i++) {
        const struct eval_pair *other = &t->pairs[members[i]];
        size_t k = depth;
        while (k < end && k < fed(other) &&
               t->pool.items[first->first + k] == t->pool.items[other->first + k])
            k++;
        end = k;
    }
    return end;
}

/* The tokens [depth, end) that all members share, and what is scored at them. */
static bool add_span(struct eval_batch *b, const int64_t *members, int count,
                     const struct ig_span *span, size_t depth, struct ig_err *err)
{
    const struct ig_eval_tokens *t = b->tokens;
    int64_t index = (int64_t)b->span_count;
    if (!room((void **)&b->spans, b->span_count, &b->span_cap, sizeof *b->spans, err)) return false;
    b->spans[b->span_count++] = *span;
    b->rows += span->count;
    for (int64_t k = 0; k < span->count; k++) {
        size_t target = depth + (size_t)k + 1; /* its place in the sequence */
        for (int i = 0; i < count; i++) {
            const struct eval_pair *pair = &t->pairs[members[i]];
            if (target < pair->count - pair->scored) continue;
            struct ig_target one = {index, k, t->pool.items[pair->first + target]};
            if (!add_target(b, one, members[i], err)) return false;
        }
    }
    return true;
}

/* Members that agree before depth, as a tree below span `parent`. Each level parts at least one
 * member from the others: no deeper than there are choices. */
static bool add_tree(struct eval_batch *b, /* NOLINT(misc-no-recursion) */
                     const int64_t *members, int count, size_t depth, int64_t parent,
                     struct ig_err *err)
{
    const struct ig_eval_tokens *t = b->tokens;
    size_t end = agree(t, members, count, depth);
    if (end > depth) {
        struct ig_span span = {t->pool.items + t->pairs[members[0]].first + depth,
                               (int64_t)(end - depth), parent};
        parent = (int64_t)b->span_count;
        if (!add_span(b, members, count, &span, depth, err)) return false;
    }
    bool taken[EVAL_CHOICES_MAX] = {false};
    for (int i = 0; i < count; i++) {
        int64_t group[EVAL_CHOICES_MAX];
        int n = 0;
        if (taken[i] || fed(&t->pairs[members[i]]) <= end) continue;
        int32_t token = t->pool.items[t->pairs[members[i]].first + end];
        for (int k = i; k < count; k++) {
            const struct eval_pair *pair = &t->pairs[members[k]];
            if (taken[k] || fed(pair) <= end || t->pool.items[pair->first + end] != token) continue;
            taken[k] = true;
            group[n++] = members[k];
        }
        if (!add_tree(b, group, n, end, parent, err)) return false;
    }
    return true;
}

bool eval__batch_add(struct eval_batch *b, int64_t number, int64_t *rows, struct ig_err *err)
{
    const int64_t *firsts = b->tokens->firsts;
    size_t spans = b->span_count, targets = b->target_count;
    int64_t members[EVAL_CHOICES_MAX], before = b->rows;
    int count = 0;
    for (int64_t pair = firsts[number]; pair < firsts[number + 1]; pair++)
        if (fed(&b->tokens->pairs[pair])) members[count++] = pair;
    bool ok = count == 0 || add_tree(b, members, count, 0, -1, err);
    if (ok && b->rows - before > b->context) { /* too large for one tree: each by itself */
        b->span_count = spans;
        b->target_count = targets;
        b->rows = before;
        for (int i = 0; ok && i < count; i++)
            ok = add_tree(b, &members[i], 1, 0, -1, err);
    }
    *rows = b->rows - before;
    return ok;
}

bool eval__batch_run(struct eval_batch *b, double *logprobs, bool *greedy, struct ig_err *err)
{
    if (!ig_session_score_spans(b->session, b->spans, b->span_count, b->targets, b->target_count,
                                b->scored, err))
        return false;
    for (size_t i = 0; i < b->target_count; i++) {
        logprobs[b->owners[i]] += b->scored[i].logprob;
        greedy[b->owners[i]] = greedy[b->owners[i]] && b->scored[i].greedy;
    }
    b->fed += b->rows;
    b->rows = 0;
    b->span_count = b->target_count = 0;
    return true;
}

/* ---- life ---- */

bool eval__batch_open(struct eval_batch *b, struct ig_model *model,
                      const struct ig_eval_tokens *tokens, struct ig_err *err)
{
    int64_t most = ig_model_shape(model)->context, longest = (int64_t)tokens->longest - 1;
    *b = (struct eval_batch){.tokens = tokens};
    b->context = SESSION_ROWS < longest ? longest : SESSION_ROWS;
    if (b->context > most) b->context = most;
    return ig_session_new(model, b->context, &b->session, err);
}

void eval__batch_release(struct eval_batch *b)
{
    ig_session_free(b->session);
    free(b->spans);
    free(b->targets);
    free(b->scored);
    free(b->owners);
}
