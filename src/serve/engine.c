/* SPDX-License-Identifier: Apache-2.0
 * engine — one thread runs all jobs. A round: jobs that wait get idle slots; every job that is
 * past its prompt gets one token, all of them in one pass over the weights; one job that is not
 * gets a piece of its prompt read, in turn. So nobody waits longer for a token than a pass and a
 * piece take, and short requests overtake long ones.
 *
 * The lock is held while lists and tokens change, never while the model runs. */
#include "serve/engine_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* Tokens of a prompt read in a round. 128 make the unpacking of weights 1 / 128 of its use; and
 * hold the others up for less than a second on a small machine. */
#define ENGINE_PIECE 128
/* The same when nobody else waits for a token. */
#define ENGINE_PIECE_ALONE 512
/* Tokens that memory for caches must hold: a short question and its answer. */
#define CONTEXT_LEAST 64

const double serve__buckets[SERVE_BUCKETS] = {0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};

/* ---- life ---- */

static void *run(void *user);

/* A request that is alone can always run: the context is what all memory for caches can hold. */
static bool fit_context(struct serve_engine *e, struct ig_err *err)
{
    const struct ig_session *s = e->slots[0].session;
    int64_t low = 0, high = e->context;
    if (e->bytes_max == 0 || ig_session_bytes_for(s, high) <= e->bytes_max) return true;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (ig_session_bytes_for(s, middle) <= e->bytes_max)
            low = middle;
        else
            high = middle;
    }
    e->context = low;
    return low >= CONTEXT_LEAST ||
           ig_err_set(err, IG_ERR_USAGE,
                      "memory of %.1f MB for caches holds %lld tokens; %d need %.1f MB",
                      (double)e->bytes_max / 1e6, (long long)low, CONTEXT_LEAST,
                      (double)ig_session_bytes_for(s, CONTEXT_LEAST) / 1e6);
}

static bool make_slots(struct serve_engine *e, const struct ig_serve_options *options,
                       struct ig_err *err)
{
    const struct ig_session_options how = {.context = e->rotates ? 0 : e->context,
                                           .window = options->max_kv,
                                           .bits = (int)options->kv_bits,
                                           .group = (int)options->kv_group,
                                           .start = options->kv_start};
    for (size_t i = 0; i < e->slot_count; i++) {
        struct serve_slot *slot = &e->slots[i];
        bool ok = i == 0
                      ? ig_session_new_as(e->model, &how, &slot->session, err)
                      : ig_session_new_beside(e->slots[0].session, e->context, &slot->session, err);
        if (!ok || (i == 0 && !fit_context(e, err))) return false;
        slot->ids = calloc((size_t)e->context, sizeof *slot->ids);
        if (!slot->ids) return ig_err_nomem(err);
    }
    return true;
}

bool serve__engine_new(struct ig_model *model, const struct ig_serve_options *options,
                       struct serve_engine **out, struct ig_err *err)
{
    int64_t own = ig_model_shape(model)->context;
    struct serve_engine *e = calloc(1, sizeof *e);
    if (!e) return ig_err_nomem(err);
    e->model = model;
    e->context =
        options->context ? options->context : (own < IG_SERVE_CONTEXT ? own : IG_SERVE_CONTEXT);
    e->slot_count = (size_t)options->parallel;
    e->rotates = options->max_kv > 0;
    e->pieces_count = e->rotates || options->kv_start > 0;
    e->bytes_max = (size_t)options->cache_bytes;
    e->queue_max = options->queue_max;
    e->request_seconds = options->request_seconds;
    e->last = &e->first;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    e->slots = calloc(e->slot_count, sizeof *e->slots);
    e->logits = calloc(e->slot_count * (size_t)ig_model_shape(model)->vocab, sizeof *e->logits);
    bool ok = e->slots && e->logits ? make_slots(e, options, err) : ig_err_nomem(err);
    if (ok) {
        int failed = pthread_create(&e->thread, NULL, run, e);
        e->started = failed == 0;
        if (failed) ok = ig_err_errno(err, failed, "cannot start a thread");
    }
    if (ok)
        *out = e;
    else
        serve__engine_free(e);
    return ok;
}

void serve__engine_stop(struct serve_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    engine->stopping = true;
    pthread_cond_broadcast(&engine->work);
    pthread_mutex_unlock(&engine->lock);
    if (engine->started) pthread_join(engine->thread, NULL);
    engine->started = false;
}

void serve__engine_free(struct serve_engine *engine)
{
    struct serve_engine *e = engine;
    if (!e) return;
    serve__engine_stop(e);
    for (size_t i = e->slots ? e->slot_count : 0; i-- > 0;) { /* the first lends its memory */
        ig_session_free(e->slots[i].session);
        free(e->slots[i].ids);
    }
    free(e->slots);
    free(e->logits);
    pthread_cond_destroy(&e->work);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

int64_t serve__engine_context(const struct serve_engine *engine)
{
    return engine->context;
}

/* ---- what connections call ---- */

bool serve__engine_submit(struct serve_engine *engine, struct serve_job *job,
                          struct serve_error *error)
{
    struct serve_engine *e = engine;
    bool ok = false;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
#if !defined(__APPLE__)
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
#endif
    pthread_mutex_lock(&e->lock);
    if (e->stopping) {
        serve__refuse(error, 503, NULL, "the server is shutting down");
    } else if (e->waiting >= e->queue_max + ((int64_t)e->slot_count - e->running)) {
        serve__refuse(error, 429, NULL, "%lld requests are waiting already; try again later",
                      (long long)e->waiting);
    } else {
        pthread_cond_init(&job->changed, &clock);
        job->state = SERVE_WAITS;
        job->submitted = ig_clock_seconds();
        *e->last = job;
        e->last = &job->next;
        e->waiting++;
        pthread_cond_signal(&e->work);
        ok = true;
    }
    pthread_mutex_unlock(&e->lock);
    pthread_condattr_destroy(&clock);
    return ok;
}

static void wait_for(struct serve_engine *e, struct serve_job *job, double until)
{
#if defined(__APPLE__) /* its conditions know no monotonic clock, but how long is left */
    until -= ig_clock_seconds();
    if (until < 0) until = 0;
#endif
    struct timespec t = {.tv_sec = (time_t)until};
    t.tv_nsec = (long)((until - (double)t.tv_sec) * 1e9);
#if defined(__APPLE__)
    pthread_cond_timedwait_relative_np(&job->changed, &e->lock, &t);
#else
    pthread_cond_timedwait(&job->changed, &e->lock, &t);
#endif
}

void serve__engine_take(struct serve_engine *engine, struct serve_job *job, size_t have,
                        size_t most, double seconds, struct serve_taken *out)
{
    double until = ig_clock_seconds() + seconds;
    pthread_mutex_lock(&engine->lock);
    while (job->token_count <= have && job->state != SERVE_DONE && ig_clock_seconds() < until)
        wait_for(engine, job, until);
    size_t count = job->token_count - have;
    if (count > most) count = most;
    if (count > 0) {
        memcpy(out->tokens, job->tokens + have, count * sizeof *out->tokens);
        if (job->top_count > 0)
            memcpy(out->tops, job->tops + have * job->top_count,
                   count * job->top_count * sizeof *out->tops);
    }
    out->count = count;
    out->done = job->state == SERVE_DONE && have + count == job->token_count;
    pthread_mutex_unlock(&engine->lock);
}

void serve__engine_release(struct serve_engine *engine, struct serve_job *job)
{
    pthread_mutex_lock(&engine->lock);
    job->cancelled = true;
    pthread_cond_signal(&engine->work);
    while (job->state != SERVE_DONE)
        wait_for(engine, job, ig_clock_seconds() + 1);
    pthread_mutex_unlock(&engine->lock);
    pthread_cond_destroy(&job->changed);
    free(job->tokens);
    free(job->tops);
}

bool serve__engine_idle(struct serve_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    bool idle = engine->waiting == 0 && engine->running == 0;
    pthread_mutex_unlock(&engine->lock);
    return idle;
}

void serve__engine_stats(struct serve_engine *engine, struct serve_stats *out)
{
    pthread_mutex_lock(&engine->lock);
    *out = engine->stats;
    out->cache_bytes = engine->cache_bytes;
    out->waiting = engine->waiting;
    out->running = engine->running;
    pthread_mutex_unlock(&engine->lock);
}

/* ---- the engine's thread; these hold the lock ---- */

static void finish(struct serve_engine *e, struct serve_job *job, enum serve_finish how)
{
    if (job->slot) {
        job->slot->job = NULL;
        job->slot->bytes = 0;
        job->slot = NULL;
        e->running--;
    }
    e->stats.finishes[how]++;
    ig_sampler_free(job->sampler);
    job->sampler = NULL;
    job->finish = how;
    job->state = SERVE_DONE;
    pthread_cond_broadcast(&job->changed);
}

static void fail(struct serve_engine *e, struct serve_job *job, const struct ig_err *err)
{
    job->err = *err;
    finish(e, job, SERVE_FAILED);
}

static void drop_waiting(struct serve_engine *e, struct serve_job **at, enum serve_finish how)
{
    struct serve_job *job = *at;
    *at = job->next;
    if (!*at) e->last = at;
    e->waiting--;
    finish(e, job, how);
}

/* Ends what need not go on. */
static void sweep(struct serve_engine *e)
{
    double now = ig_clock_seconds();
    for (struct serve_job **at = &e->first; *at;) {
        bool late = now - (*at)->submitted > e->request_seconds;
        if ((*at)->cancelled || e->stopping || late)
            drop_waiting(e, at, late ? SERVE_LATE : SERVE_CANCELLED);
        else
            at = &(*at)->next;
    }
    for (size_t i = 0; i < e->slot_count; i++) {
        struct serve_job *job = e->slots[i].job;
        if (!job) continue;
        bool late = now - job->submitted > e->request_seconds;
        if (job->cancelled || e->stopping || late)
            finish(e, job, late ? SERVE_LATE : SERVE_CANCELLED);
    }
}

static void admit(struct serve_engine *e)
{
    struct ig_err err = {0};
    while (e->first) {
        struct serve_job *job = e->first;
        if (!serve__slot_take(e, job)) return;
        e->first = job->next;
        if (!e->first) e->last = &e->first;
        e->waiting--;
        e->running++;
        job->state = SERVE_RUNS;
        job->started = ig_clock_seconds();
        e->stats.prompt_tokens += job->prompt_count;
        e->stats.cached_tokens += job->cached;
        if (ig_sampler_new(e->model, &job->sampling, &job->sampler, &err))
            ig_sampler_note(job->sampler, job->prompt, job->prompt_count);
        else
            fail(e, job, &err);
    }
}

static void count_first(struct serve_stats *stats, double seconds)
{
    int bucket = 0;
    while (bucket < SERVE_BUCKETS && seconds > serve__buckets[bucket])
        bucket++;
    stats->first_buckets[bucket]++;
    stats->first_count++;
    stats->first_sum += seconds;
}

static bool keep_token(struct serve_job *job, const struct serve_token *token,
                       const struct ig_choice *top)
{
    if (job->token_count == job->token_cap) {
        size_t cap = job->token_cap ? job->token_cap * 2 : 64;
        struct serve_token *tokens = realloc(job->tokens, cap * sizeof *tokens);
        if (!tokens) return false;
        job->tokens = tokens;
        struct ig_choice *tops = realloc(job->tops, cap * (job->top_count + 1) * sizeof *tops);
        if (!tops) return false;
        job->tops = tops;
        job->token_cap = cap;
    }
    memcpy(job->tops + job->token_count * job->top_count, top, job->top_count * sizeof *top);
    job->tokens[job->token_count++] = *token;
    return true;
}

/* Takes a token that was picked, or ends the job. */
static void take_token(struct serve_engine *e, struct serve_job *job,
                       const struct serve_token *token)
{
    struct ig_err err = {0};
    double now = ig_clock_seconds();
    if (ig_model_stops_at(e->model, token->id)) {
        finish(e, job, SERVE_STOP);
        return;
    }
    if (!keep_token(job, token, e->top)) {
        ig_err_nomem(&err);
        fail(e, job, &err);
        return;
    }
    if (job->token_count == 1) {
        job->first = now;
        count_first(&e->stats, now - job->submitted);
    }
    e->stats.tokens++;
    job->token = token->id;
    if ((int64_t)job->token_count == job->tokens_max ||
        ig_session_length(job->slot->session) == e->context)
        finish(e, job, SERVE_LENGTH);
    else
        pthread_cond_signal(&job->changed);
}

/* ---- these take it ---- */

static void pick(struct serve_engine *e, struct serve_job *job, float *logits)
{
    struct serve_token token;
    double logprob;
    size_t vocab = (size_t)ig_model_shape(e->model)->vocab;
    size_t top = job->top_count < vocab ? job->top_count : vocab;
    memset(e->top, 0, sizeof e->top);
    token.id = ig_sampler_pick(job->sampler, logits, ig_session_length(job->slot->session), e->top,
                               top, &logprob);
    token.logprob = (float)logprob;
    pthread_mutex_lock(&e->lock);
    take_token(e, job, &token);
    pthread_mutex_unlock(&e->lock);
}

static bool past_prompt(const struct serve_slot *slot)
{
    return slot->job && slot->job->fed == slot->job->prompt_count;
}

/* One token for each job that is past its prompt. Says how many these are. */
static size_t step(struct serve_engine *e, struct ig_session **sessions, struct serve_job **jobs,
                   int32_t *tokens)
{
    struct ig_err err = {0};
    size_t count = 0;
    for (size_t i = 0; i < e->slot_count; i++) {
        struct serve_slot *slot = &e->slots[i];
        if (!past_prompt(slot)) continue;
        sessions[count] = slot->session;
        jobs[count] = slot->job;
        tokens[count] = slot->job->token;
        slot->ids[ig_session_length(slot->session)] = slot->job->token;
        count++;
    }
    if (count == 0) return 0;
    bool ok = ig_sessions_step(sessions, tokens, count, e->logits, &err);
    pthread_mutex_lock(&e->lock);
    e->stats.steps++;
    e->stats.stepped += count;
    for (size_t i = 0; i < count && !ok; i++)
        fail(e, jobs[i], &err);
    pthread_mutex_unlock(&e->lock);
    int64_t vocab = ig_model_shape(e->model)->vocab;
    for (size_t i = 0; i < count && ok; i++)
        pick(e, jobs[i], e->logits + (int64_t)i * vocab);
    return count;
}

/* A piece of one prompt. */
static void read_piece(struct serve_engine *e, size_t piece)
{
    struct ig_err err = {0};
    struct serve_slot *slot = NULL;
    for (size_t i = 0; i < e->slot_count && !slot; i++) {
        struct serve_slot *next = &e->slots[(e->turn + i) % e->slot_count];
        if (!next->job || past_prompt(next)) continue;
        slot = next;
        e->turn = (e->turn + i + 1) % e->slot_count;
    }
    if (!slot) return;
    struct serve_job *job = slot->job;
    size_t count = job->prompt_count - job->fed;
    if (count > piece) count = piece;
    if (!ig_session_feed(slot->session, job->prompt + job->fed, count, &err)) {
        pthread_mutex_lock(&e->lock);
        fail(e, job, &err);
        pthread_mutex_unlock(&e->lock);
        return;
    }
    memcpy(slot->ids + job->fed, job->prompt + job->fed, count * sizeof *slot->ids);
    job->fed += count;
    if (job->fed == job->prompt_count) /* the logits are shared with the other sessions */
        pick(e, job, (float *)(uintptr_t)ig_session_logits(slot->session));
}

/* Waits for work. False: there will be none. */
static bool next_round(struct serve_engine *e)
{
    pthread_mutex_lock(&e->lock);
    for (;;) {
        sweep(e);
        if (!e->stopping) admit(e);
        e->cache_bytes = 0;
        for (size_t i = 0; i < e->slot_count; i++)
            e->cache_bytes += ig_session_bytes(e->slots[i].session);
        if (e->running > 0 || (e->stopping && !e->first)) break;
        pthread_cond_wait(&e->work, &e->lock);
    }
    bool more = e->running > 0;
    pthread_mutex_unlock(&e->lock);
    return more;
}

static void *run(void *user)
{
    struct serve_engine *e = user;
    struct ig_session **sessions = calloc(e->slot_count, sizeof *sessions);
    struct serve_job **jobs = calloc(e->slot_count, sizeof *jobs);
    int32_t *tokens = calloc(e->slot_count, sizeof *tokens);
    IG_ASSERT(sessions && jobs && tokens); /* a few hundred bytes, at the start */
    while (next_round(e)) {
        size_t stepped = step(e, sessions, jobs, tokens);
        read_piece(e, stepped > 0 || e->pieces_count ? ENGINE_PIECE : ENGINE_PIECE_ALONE);
    }
    free(sessions);
    free(jobs);
    free(tokens);
    return NULL;
}
