/* SPDX-License-Identifier: Apache-2.0
 * batch — the requests of many items as trees of spans, so that what they share is fed once: the
 * context of an item's choices, the head of a chat template, how questions begin.
 *
 *     item 0, choice 0   q c c c c a a|a     span 0   q
 *     item 0, choice 1   q c c c c a b|b     span 1     c c c c    after span 0
 *     item 1, choice 0   q d d|d             span 2       a        after span 1
 *     item 1, choice 1   q d d|e             span 3         a      after span 2
 *                                            span 4         b
 *                                            span 5     d d        after span 0
 *
 * Of each sequence the last token is not fed: it is only a target. A scored token is read from the
 * row of the token before it; choices that differ in one last token are all read from one row. An
 * item's values depend on nothing but the item: ig_session_score_spans promises it of sequences,
 * and the sums run in the order of the tokens.
 *
 * Sequences of a batch are kept in the order of their tokens: neighbours share the most, so what a
 * new one adds is known from its two neighbours, and a tree is a run of them. */
#include "eval/score.h"

#include <stdlib.h>

#define SESSION_ROWS 2048 /* of the cache: some batches of the engine */
#define MEMBERS_MAX  4096 /* sequences of a batch: those that add no row must end too */

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

/* ---- what sequences share ---- */

static size_t fed(const struct eval_pair *pair)
{
    return pair->count ? pair->count - 1 : 0;
}

/* How many fed tokens two pairs have in common at their start. */
static size_t agree(const struct ig_eval_tokens *t, int64_t a, int64_t b)
{
    const struct eval_pair *x = &t->pairs[a], *y = &t->pairs[b];
    const int32_t *p = t->pool.items + x->first, *q = t->pool.items + y->first;
    size_t end = fed(x) < fed(y) ? fed(x) : fed(y), k = 0;
    while (k < end && p[k] == q[k])
        k++;
    return k;
}

/* Before in the order: by tokens, what is shorter first. */
static bool is_before(const struct ig_eval_tokens *t, int64_t a, int64_t b)
{
    const struct eval_pair *x = &t->pairs[a], *y = &t->pairs[b];
    size_t k = agree(t, a, b);
    if (k == fed(x) || k == fed(y)) return fed(x) < fed(y);
    return t->pool.items[x->first + k] < t->pool.items[y->first + k];
}

/* Puts a pair in its place among the members. */
static bool insert(struct eval_batch *b, int64_t pair, struct ig_err *err)
{
    const struct ig_eval_tokens *t = b->tokens;
    size_t low = 0, high = b->member_count, shared = 0;
    if (!room((void **)&b->members, b->member_count, &b->member_cap, sizeof *b->members, err))
        return false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(t, pair, b->members[middle]))
            high = middle;
        else
            low = middle + 1;
    }
    if (low > 0) shared = agree(t, pair, b->members[low - 1]);
    if (low < b->member_count) {
        size_t next = agree(t, pair, b->members[low]);
        if (next > shared) shared = next;
    }
    memmove(b->members + low + 1, b->members + low, (b->member_count - low) * sizeof *b->members);
    b->members[low] = pair;
    b->member_count++;
    b->rows += (int64_t)(fed(&t->pairs[pair]) - shared);
    return true;
}

/* Takes pairs [first, end) out again. */
static void take_out(struct eval_batch *b, int64_t first, int64_t end)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->member_count; i++)
        if (b->members[i] < first || b->members[i] >= end) b->members[kept++] = b->members[i];
    b->member_count = kept;
}

bool eval__batch_add(struct eval_batch *b, int64_t number, int64_t *rows, bool *full,
                     struct ig_err *err)
{
    int64_t first = b->tokens->firsts[number], end = b->tokens->firsts[number + 1];
    int64_t before = b->rows;
    bool empty = b->member_count + b->alone_count == 0;
    *full = false;
    for (int64_t pair = first; pair < end; pair++)
        if (fed(&b->tokens->pairs[pair]) && !insert(b, pair, err)) return false;
    if (b->rows > b->context || (!empty && b->member_count > MEMBERS_MAX)) {
        take_out(b, first, end);
        b->rows = before;
        *full = !empty;
        for (int64_t pair = first; empty && pair < end; pair++) { /* too large for one tree */
            if (!room((void **)&b->alone, b->alone_count, &b->alone_cap, sizeof *b->alone, err))
                return false;
            b->alone[b->alone_count++] = pair;
            b->rows += (int64_t)fed(&b->tokens->pairs[pair]);
        }
    }
    *rows = b->rows - before;
    return true;
}

/* ---- trees ---- */

/* The tokens [depth, end) that all members share, and what is scored at them. */
static bool add_span(struct eval_batch *b, const int64_t *members, size_t count,
                     const struct ig_span *span, size_t depth, struct ig_err *err)
{
    const struct ig_eval_tokens *t = b->tokens;
    int64_t index = (int64_t)b->span_count;
    if (!room((void **)&b->spans, b->span_count, &b->span_cap, sizeof *b->spans, err)) return false;
    b->spans[b->span_count++] = *span;
    for (int64_t k = 0; k < span->count; k++) {
        size_t target = depth + (size_t)k + 1; /* its place in the sequence */
        for (size_t i = 0; i < count; i++) {
            const struct eval_pair *pair = &t->pairs[members[i]];
            if (target < pair->count - pair->scored) continue;
            struct ig_target one = {index, k, t->pool.items[pair->first + target]};
            if (!add_target(b, one, members[i], err)) return false;
        }
    }
    return true;
}

/* Members [first, end) of the order, which agree before depth and go on below span `parent`. */
struct eval_branch {
    size_t first, end, depth;
    int64_t parent;
};

/* The branches of members that part at `depth`, the first of them on top of the stack. */
static bool push_branches(struct eval_batch *b, const int64_t *members,
                          const struct eval_branch *at, struct ig_err *err)
{
    const struct ig_eval_tokens *t = b->tokens;
    size_t end = at->end, first = end;
    while (first > at->first && fed(&t->pairs[members[first - 1]]) > at->depth) {
        const struct eval_pair *pair = &t->pairs[members[--first]];
        int32_t token = t->pool.items[pair->first + at->depth];
        if (first > at->first) {
            const struct eval_pair *next = &t->pairs[members[first - 1]];
            if (fed(next) > at->depth && t->pool.items[next->first + at->depth] == token) continue;
        }
        if (!room((void **)&b->branches, b->branch_count, &b->branch_cap, sizeof *b->branches, err))
            return false;
        b->branches[b->branch_count++] = (struct eval_branch){first, end, at->depth, at->parent};
        end = first;
    }
    return true;
}

/* Members in their order as a forest. */
static bool add_forest(struct eval_batch *b, const int64_t *members, size_t count,
                       struct ig_err *err)
{
    const struct ig_eval_tokens *t = b->tokens;
    struct eval_branch at = {0, count, 0, -1};
    b->branch_count = 0;
    if (!push_branches(b, members, &at, err)) return false;
    while (b->branch_count) {
        at = b->branches[--b->branch_count];
        const int64_t *here = members + at.first;
        size_t end = agree(t, here[0], members[at.end - 1]);
        struct ig_span span = {t->pool.items + t->pairs[here[0]].first + at.depth,
                               (int64_t)(end - at.depth), at.parent};
        at.parent = (int64_t)b->span_count;
        if (!add_span(b, here, at.end - at.first, &span, at.depth, err)) return false;
        at.depth = end;
        if (!push_branches(b, members, &at, err)) return false;
    }
    return true;
}

static bool add_trees(struct eval_batch *b, struct ig_err *err)
{
    bool ok = add_forest(b, b->members, b->member_count, err);
    for (size_t i = 0; ok && i < b->alone_count; i++)
        ok = !fed(&b->tokens->pairs[b->alone[i]]) || add_forest(b, &b->alone[i], 1, err);
    return ok;
}

bool eval__batch_run(struct eval_batch *b, double *logprobs, bool *greedy, struct ig_err *err)
{
    if (!add_trees(b, err) || !ig_session_score_spans(b->session, b->spans, b->span_count,
                                                      b->targets, b->target_count, b->scored, err))
        return false;
    for (size_t i = 0; i < b->target_count; i++) {
        logprobs[b->owners[i]] += b->scored[i].logprob;
        greedy[b->owners[i]] = greedy[b->owners[i]] && b->scored[i].greedy;
    }
    b->fed += b->rows;
    b->rows = 0;
    b->span_count = b->target_count = b->member_count = b->alone_count = 0;
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
    free(b->members);
    free(b->alone);
    free(b->branches);
    free(b->spans);
    free(b->targets);
    free(b->scored);
    free(b->owners);
}
