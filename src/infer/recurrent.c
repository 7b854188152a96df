/* SPDX-License-Identifier: Apache-2.0
 * recurrent — sessions of models whose layers have a state (deltanet.c). A state cannot be cut
 * back, as a cache can; the session keeps a second one, as it was after the last prompt, and goes
 * back to that, or to the start. Sequences that branch are scored one after another, each from
 * there. */
#include "infer/infer_internal.h"

#include "base/check.h"
#include "base/size.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

bool infer__make_state(struct ig_session *s, struct ig_err *err)
{
    const struct ig_model *m = s->model;
    int64_t floats;
    if (m->states == 0) return true;
    if (!ig_i64_mul(infer__delta_floats(&m->shape), m->states, &floats) ||
        !ig_size_mul((size_t)floats, sizeof(float), &s->state_bytes))
        return ig_err_nomem(err);
    size_t both = 2 * s->state_bytes; /* of what fits an int64_t, and a float has 4 bytes */
    void *p = mmap(NULL, both, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        return ig_err_errno(err, errno, "cannot reserve %.1f GiB for the states of a session",
                            (double)both / (1 << 30));
    s->state = p;
    s->marked = s->state + floats;
    return true;
}

void infer__release_state(struct ig_session *s)
{
    if (s->state) munmap(s->state, 2 * s->state_bytes);
}

void infer__mark(struct ig_session *s)
{
    if (!s->state) return;
    memcpy(s->marked, s->state, s->state_bytes);
    s->mark_length = s->length;
}

int64_t ig_session_trim(struct ig_session *session, int64_t length)
{
    if (length < 0) length = 0;
    if (length >= session->length) return session->length;
    if (!infer__cache_holds(session, length)) length = session->cache.keep;
    if (session->state && length > 0) {
        length = session->mark_length <= length ? session->mark_length : 0;
        if (length > 0) memcpy(session->state, session->marked, session->state_bytes);
    }
    if (session->cache.packed && length < session->cache.start) {
        length = 0;
        infer__cache_switch(session);
    }
    if (session->mark_length > length) session->mark_length = 0;
    session->length = length;
    if (length <= session->cache.keep) session->cache.high = length; /* the ring is forgotten */
    return length;
}

/* ---- scoring ---- */

struct scoring {
    struct ig_session *s;
    const struct infer_tree *tree;
    struct infer_target *held; /* rows_max */
    int64_t first, next;       /* targets[first .. next) wait for the head */
    int64_t at, marked;        /* the span after which the session, and its mark, is; -1: none */
};

static bool run_target_rows(struct scoring *job, int64_t rows, struct ig_err *err)
{
    struct ig_scored *out = job->tree->out;
    const struct infer_scores scores = {job->held, out + job->first, job->next - job->first};
    if (scores.count > 0) infer__head_scores(job->s, job->s->held, rows, &scores);
    for (; job->first < job->next; job->first++)
        if (!infer__check_finite(out[job->first].logprob, err)) return false;
    return true;
}

/* Rows [done, done + rows) of a span that have targets, as rows of their batch. */
static int64_t find_wanted(const struct scoring *job, int64_t span, int64_t done, int64_t rows,
                           int64_t *wanted)
{
    int64_t n = 0;
    for (int64_t next = job->next; next < job->tree->target_count; next++) {
        const struct ig_target *t = &job->tree->targets[next];
        if (t->span != span || t->index >= done + rows) break;
        if (n == 0 || wanted[n - 1] != t->index - done) wanted[n++] = t->index - done;
    }
    return n;
}

/* The targets of a span's rows before `end`, whose results stand together. */
static bool score_rows(struct scoring *job, int64_t span, int64_t end, struct ig_err *err)
{
    int64_t hidden = job->s->model->shape.hidden, held = 0, row = -1, taken = 0, last = -1;
    for (; job->next < job->tree->target_count; job->next++) {
        const struct ig_target *t = &job->tree->targets[job->next];
        if (t->span != span || t->index >= end) break;
        if (t->index != last) taken++;
        last = t->index;
        if (job->next - job->first == job->s->rows_max) {
            if (!run_target_rows(job, held, err)) return false;
            held = 0;
            row = -1;
        }
        if (t->index != row) {
            row = t->index;
            memcpy(job->s->held + held++ * hidden, job->s->normed + (taken - 1) * hidden,
                   (size_t)hidden * sizeof(float));
        }
        job->held[job->next - job->first] = (struct infer_target){(int32_t)held - 1, t->token};
    }
    return run_target_rows(job, held, err);
}

/* Feeds a span; scores it, if that is asked for. */
static bool run_span(struct scoring *job, int64_t index, bool scored, struct ig_err *err)
{
    const struct ig_span *span = &job->tree->spans[index];
    struct ig_session *s = job->s;
    int64_t rows, wanted[INFER_ROWS_MAX] = {0};
    if (span->count > s->context - s->length)
        return ig_err_set(err, IG_ERR_DATA,
                          "%lld tokens that share a prefix do not fit the context of %lld",
                          (long long)s->length + span->count, (long long)s->context);
    for (int64_t done = 0; done < span->count; done += rows) {
        rows = span->count - done < s->rows_max ? span->count - done : s->rows_max;
        int64_t count = scored ? find_wanted(job, index, done, rows, wanted) : 0;
        infer__forward_wanted(s, span->tokens + done, rows, &(struct infer_wanted){wanted, count},
                              true);
        s->length += rows;
        if (scored && !score_rows(job, index, done + rows, err)) return false;
    }
    job->at = index;
    return true;
}

/* Brings the session to the end of span `index`: as it is, from the mark, or from the start. */
static bool go_to(struct scoring *job, int64_t index, struct ig_err *err)
{
    const struct ig_span *spans = job->tree->spans;
    if (job->at == index) return true;
    if (job->marked >= 0 && job->marked == index) {
        ig_session_trim(job->s, job->s->mark_length);
        job->at = index;
        return true;
    }
    ig_session_trim(job->s, 0);
    job->at = job->marked = -1;
    /* The path from the root: an ancestor at a time, each found from below. */
    for (int64_t done = -1; done != index;) {
        int64_t next = index;
        while (spans[next].parent != done)
            next = spans[next].parent;
        if (!run_span(job, next, false, err)) return false;
        done = next;
    }
    return true;
}

bool infer__score_in_turn(struct ig_session *s, const struct infer_tree *tree, struct ig_err *err)
{
    struct scoring job = {.s = s, .tree = tree, .at = -1, .marked = -1};
    bool ok = false;
    job.held = calloc((size_t)s->rows_max, sizeof *job.held);
    if (!job.held) return ig_err_nomem(err);
    for (int64_t i = 0; i < tree->span_count; i++) {
        int64_t parent = tree->spans[i].parent;
        bool branches = i + 1 < tree->span_count && tree->spans[i + 1].parent == i;
        if (!go_to(&job, parent, err) || !run_span(&job, i, true, err)) goto done;
        if (branches) {
            infer__mark(s);
            job.marked = i;
        }
    }
    IG_ASSERT(job.next == tree->target_count);
    ok = true;
done:
    free(job.held);
    ig_session_trim(s, 0);
    return ok;
}
