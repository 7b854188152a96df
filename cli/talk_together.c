/* SPDX-License-Identifier: Apache-2.0
 * talk_together — many replies at once: each prompt is read, from where its session, or the one
 * before it, has the beginning; then every step gives each reply that goes on a token. */
#include "cli.h"
#include "talk.h"

#include <stdlib.h>
#include <time.h>

#define TOP_MAX 64

struct running {
    struct talk *talk;
    struct ig_sampler *sampler;
    int32_t token; /* picked, not fed */
    bool over;
};

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t common(const struct ig_ids *a, const struct ig_ids *b, size_t limit)
{
    size_t n = 0;
    if (limit > a->count) limit = a->count;
    if (limit > b->count) limit = b->count;
    while (n < limit && a->items[n] == b->items[n])
        n++;
    return n;
}

/* Samples from logits; ends the reply where it ends. */
static bool pick(struct running *r, float *logits, struct ig_err *err)
{
    struct talk *talk = r->talk;
    struct ig_choice top[TOP_MAX];
    double logprob;
    int64_t length = ig_session_length(talk->session);
    r->token = ig_sampler_pick(r->sampler, logits, length, top, talk->top_count, &logprob);
    if (ig_model_stops_at(talk->model, r->token)) {
        talk->report.stopped = r->over = true;
    } else {
        talk->report.tokens++;
        r->over = !talk_hear(talk, r->token, logprob, top) ||
                  talk->report.tokens == talk->options.tokens_max ||
                  length == ig_session_context(talk->session);
    }
    if (r->over && talk->stream_err.code != IG_OK) *err = talk->stream_err;
    return !r->over || (talk->stream_err.code == IG_OK && talk_end(talk, err));
}

/* Pieces are what there is between looks at Ctrl-C. */
static bool feed_rest(struct talk *talk, size_t kept, struct ig_err *err)
{
    bool count_pieces = talk_pieces_count(&talk->options);
    size_t most = count_pieces ? TALK_PIECE : (size_t)ig_session_rows(talk->session), count;
    for (; kept < talk->ids.count; kept += count) {
        count = talk->ids.count - kept;
        if (count_pieces && count > 1) count--;
        if (count > most) count = most;
        if (cli_interrupted()) return ig_err_set(err, IG_ERR_CANCELLED, "stopped");
        if (!ig_session_feed(talk->session, talk->ids.items + kept, count, err)) return false;
    }
    return true;
}

static bool read_prompt(struct running *r, const struct talk *before, struct ig_err *err)
{
    struct talk *talk = r->talk;
    struct ig_ids *ids = &talk->ids;
    const struct ig_sampling how = talk_sampling(talk);
    double start = now_seconds();
    size_t kept = common(ids, &talk->held, (size_t)ig_session_length(talk->session));
    size_t shared = before ? common(ids, &before->ids, before->prompt_count) : 0;
    if (kept == ids->count) kept--; /* one token has to be fed */
    if (shared == ids->count) shared--;
    if (shared > kept && ig_session_copy(talk->session, before->session, (int64_t)shared))
        kept = shared;
    else
        kept = (size_t)ig_session_trim(talk->session, (int64_t)kept);
    talk->stream_err = (struct ig_err){0};
    talk->report =
        (struct ig_generate_report){.prompt_tokens = (int64_t)(talk->prompt_count - kept)};
    if (!ig_sampler_new(talk->model, &how, &r->sampler, err) || !feed_rest(talk, kept, err))
        return false;
    ig_sampler_note(r->sampler, ids->items, ids->count);
    talk->report.prompt_seconds = now_seconds() - start;
    return pick(r, (float *)(uintptr_t)ig_session_logits(talk->session), err);
}

static bool step_all(struct running *all, size_t count, float *logits, struct ig_err *err)
{
    int64_t vocab = ig_model_shape(all[0].talk->model)->vocab;
    struct ig_session *sessions[TALK_TOGETHER_MAX];
    struct running *rows[TALK_TOGETHER_MAX];
    int32_t tokens[TALK_TOGETHER_MAX];
    for (;;) {
        size_t n = 0;
        double start = now_seconds();
        for (size_t i = 0; i < count; i++) {
            if (all[i].over) continue;
            sessions[n] = all[i].talk->session;
            tokens[n] = all[i].token;
            rows[n++] = &all[i];
        }
        if (n == 0) return true;
        if (!ig_sessions_step(sessions, tokens, n, logits, err)) return false;
        for (size_t i = 0; i < n; i++) {
            if (!pick(rows[i], logits + (int64_t)i * vocab, err)) return false;
            rows[i]->talk->report.generation_seconds += now_seconds() - start;
        }
    }
}

bool talk_together(struct talk *talks, size_t count, struct ig_err *err)
{
    struct running all[TALK_TOGETHER_MAX] = {0};
    bool ok = true;
    if (count == 0) return true;
    size_t vocab = (size_t)ig_model_shape(talks[0].model)->vocab;
    float *logits = calloc(count * vocab, sizeof *logits);
    if (!logits) return ig_err_nomem(err);
    for (size_t i = 0; ok && i < count; i++) {
        all[i].talk = &talks[i];
        ok = read_prompt(&all[i], i > 0 ? &talks[i - 1] : NULL, err);
    }
    ok = ok && step_all(all, count, logits, err);
    for (size_t i = 0; i < count; i++)
        ig_sampler_free(all[i].sampler);
    free(logits);
    return ok;
}
