/* SPDX-License-Identifier: Apache-2.0
 * spans — scores of many sequences in one list. Rows fill one batch after another, wherever that
 * cuts a tree: what went before is in the cache, until that has no room for the next whole tree and
 * starts again at slot 0. Rows that are scored wait until there are enough of them for the head,
 * whose weights are a third of a small model's.
 *
 *     list      [prefix A][branch][branch] [prefix B][branch][branch][branch] [C] ..
 *     batches   |<---- rows_max rows ---->|<---- rows_max rows ---->|<----
 *     cache     |<------------ whole trees, up to the context ------------>|<---- */
#include "infer/infer_internal.h"

#include "base/check.h"

#include <stdlib.h>

struct scoring {
    struct ig_session *s;
    const struct ig_span *spans;
    const struct ig_target *targets;
    struct ig_scored *out;
    int64_t span_count, target_count;
    struct infer_span *nodes; /* of all spans */
    /* The batch. */
    int32_t *tokens;
    struct infer_part *parts;
    int64_t rows, part_count, slots;
    /* What waits for the head: targets[first .. next), in the order of s->held. */
    struct infer_target *held;
    int64_t first, next, held_rows;
};

static void release(struct scoring *job)
{
    free(job->nodes);
    free(job->tokens);
    free(job->parts);
    free(job->held);
}

static bool allocate(struct scoring *job, struct ig_err *err)
{
    size_t rows = (size_t)job->s->rows_max;
    job->nodes = calloc((size_t)job->span_count + 1, sizeof *job->nodes);
    job->tokens = calloc(rows, sizeof *job->tokens);
    job->parts = calloc(rows, sizeof *job->parts);
    job->held = calloc(rows, sizeof *job->held);
    return (job->nodes && job->tokens && job->parts && job->held) || ig_err_nomem(err);
}

static bool check_spans(struct scoring *job, struct ig_err *err)
{
    int64_t root = 0, context = job->s->model->shape.context;
    for (int64_t i = 0; i < job->span_count; i++) {
        const struct ig_span *span = &job->spans[i];
        struct infer_span *node = &job->nodes[i];
        if (span->parent < 0) root = i;
        IG_ASSERT(span->count > 0 && span->parent < i &&
                  (span->parent < 0 || span->parent >= root));
        node->count = span->count;
        if (span->parent >= 0) {
            node->parent = &job->nodes[span->parent];
            node->position = node->parent->position + node->parent->count;
        }
        if (span->count > context - node->position)
            return ig_err_set(err, IG_ERR_DATA,
                              "a sequence of %lld tokens is longer than the model's context, %lld",
                              (long long)node->position + span->count, (long long)context);
        for (int64_t k = 0; k < span->count; k++)
            if (!infer__check_token(job->s, span->tokens[k], err)) return false;
    }
    return true;
}

static bool check_targets(const struct scoring *job, struct ig_err *err)
{
    for (int64_t i = 0; i < job->target_count; i++) {
        const struct ig_target *t = &job->targets[i], *before = i ? t - 1 : t;
        IG_ASSERT(t->span >= 0 && t->span < job->span_count && t->index >= 0 &&
                  t->index < job->spans[t->span].count);
        IG_ASSERT(before->span < t->span || (before->span == t->span && before->index <= t->index));
        if (!infer__check_token(job->s, t->token, err)) return false;
    }
    return true;
}

/* The head for all rows that wait. */
static bool run_head(struct scoring *job, struct ig_err *err)
{
    struct infer_scores scores = {job->held, job->out + job->first, job->next - job->first};
    if (scores.count > 0) infer__head_scores(job->s, job->s->held, job->held_rows, &scores);
    for (; job->first < job->next; job->first++)
        if (!infer__check_finite(job->out[job->first].logprob, err)) return false;
    job->held_rows = 0;
    return true;
}

/* *taken: rows of normed, which are those that find_wanted found, that were read so far. */
static bool hold_targets(struct scoring *job, const struct infer_part *part, int64_t *taken,
                         struct ig_err *err)
{
    int64_t hidden = job->s->model->shape.hidden, span = part->span - job->nodes;
    int64_t row = -1, held = -1;
    for (; job->next < job->target_count; job->next++) {
        const struct ig_target *t = &job->targets[job->next];
        if (t->span != span || t->index >= part->offset + part->rows) return true;
        if (job->next - job->first == job->s->rows_max) {
            if (!run_head(job, err)) return false;
            held = -1;
        }
        if (t->index != row) (*taken)++;
        row = t->index;
        if (row != held)
            memcpy(job->s->held + job->held_rows++ * hidden, job->s->normed + (*taken - 1) * hidden,
                   (size_t)hidden * sizeof(float));
        held = row;
        job->held[job->next - job->first] =
            (struct infer_target){(int32_t)(job->held_rows - 1), t->token};
    }
    return true;
}

/* Rows of the batch that have targets. */
static int64_t find_wanted(const struct scoring *job, int64_t *wanted)
{
    int64_t n = 0, next = job->next;
    for (int64_t p = 0; p < job->part_count; p++) {
        const struct infer_part *part = &job->parts[p];
        int64_t span = part->span - job->nodes, end = part->offset + part->rows;
        for (int64_t row = -1; next < job->target_count; next++) {
            const struct ig_target *t = &job->targets[next];
            if (t->span != span || t->index >= end) break;
            if (t->index != row) wanted[n++] = part->row + t->index - part->offset;
            row = t->index;
        }
    }
    return n;
}

static bool run_batch(struct scoring *job, struct ig_err *err)
{
    int64_t wanted[INFER_ROWS_MAX] = {0}, taken = 0;
    if (job->rows == 0) return true;
    struct infer_batch batch = {.tokens = job->tokens,
                                .parts = job->parts,
                                .rows = job->rows,
                                .part_count = job->part_count,
                                .wanted = wanted,
                                .wanted_count = find_wanted(job, wanted)};
    infer__forward_batch(job->s, &batch, true);
    for (int64_t p = 0; p < job->part_count; p++)
        if (!hold_targets(job, &job->parts[p], &taken, err)) return false;
    job->rows = job->part_count = 0;
    return true;
}

static bool add_span(struct scoring *job, int64_t index, struct ig_err *err)
{
    const struct ig_span *span = &job->spans[index];
    int64_t rows;
    job->nodes[index].slot = job->slots;
    job->slots += span->count;
    for (int64_t done = 0; done < span->count; done += rows) {
        if (job->rows == job->s->rows_max && !run_batch(job, err)) return false;
        rows = span->count - done;
        if (rows > job->s->rows_max - job->rows) rows = job->s->rows_max - job->rows;
        memcpy(job->tokens + job->rows, span->tokens + done, (size_t)rows * sizeof *job->tokens);
        job->parts[job->part_count++] =
            (struct infer_part){&job->nodes[index], done, job->rows, rows, 0, NULL};
        job->rows += rows;
    }
    return true;
}

static bool add_tree(struct scoring *job, int64_t first, int64_t end, struct ig_err *err)
{
    int64_t rows = 0;
    for (int64_t i = first; i < end; i++)
        rows += job->spans[i].count;
    if (rows > job->s->context)
        return ig_err_set(err, IG_ERR_DATA,
                          "%lld tokens that share a prefix do not fit the context of %lld",
                          (long long)rows, (long long)job->s->context);
    if (job->slots + rows > job->s->context) {
        if (!run_batch(job, err)) return false;
        job->slots = 0;
    }
    for (int64_t i = first; i < end; i++)
        if (!add_span(job, i, err)) return false;
    return true;
}

bool ig_session_score_spans(struct ig_session *session, const struct ig_span *spans,
                            size_t span_count, const struct ig_target *targets, size_t target_count,
                            struct ig_scored *out, struct ig_err *err)
{
    struct scoring job = {.s = session,
                          .spans = spans,
                          .targets = targets,
                          .out = out,
                          .span_count = (int64_t)span_count,
                          .target_count = (int64_t)target_count};
    bool ok = false;
    if (session->cache.window) return infer__no_scores(err);
    ig_session_trim(session, 0);
    if (!allocate(&job, err) || !check_spans(&job, err) || !check_targets(&job, err)) goto done;
    if (session->state) {
        const struct infer_tree tree = {spans, targets, out, job.span_count, job.target_count};
        ok = infer__score_in_turn(session, &tree, err);
        goto done;
    }
    for (int64_t i = 0, end; i < job.span_count; i = end) {
        for (end = i + 1; end < job.span_count && spans[end].parent >= 0; end++)
            ;
        if (!add_tree(&job, i, end, err)) goto done;
    }
    ok = run_batch(&job, err) && run_head(&job, err);
done:
    release(&job);
    return ok;
}
