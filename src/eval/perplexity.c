/* SPDX-License-Identifier: Apache-2.0
 * perplexity — how likely a model finds a text, as llama-perplexity measures it:
 *
 *     |.......first half, read only.......|.......second half, scored.......|   next window ..
 *     ppl = exp(mean of -log p)      error = ppl * standard error of that mean
 * Each window starts anew; where the tokenizer adds BOS, it takes the place of a window's first
 * token. */
#include "eval/perplexity.h"

#include "base/file.h"

#include <math.h>
#include <stdlib.h>

#define TEXT_BYTES_MAX    ((size_t)1 << 30)
#define WINDOWS_AT_A_TIME 4 /* fill the engine's batches, and its head's */

/* ---- windows ---- */

/* The token that the tokenizer puts before every text, or -1. */
static bool leading_token(const struct ig_tokenizer *tokenizer, int32_t *out, struct ig_err *err)
{
    struct ig_ids ids = {0};
    int32_t bos = ig_tokenizer_id(tokenizer, ig_tokenizer_named(tokenizer, "bos"));
    bool ok = ig_tokenizer_encode(tokenizer, ig_slice_of(""), true, &ids, err);
    *out = ok && bos >= 0 && ids.count && ids.items[0] == bos ? bos : -1;
    ig_ids_release(&ids);
    return ok;
}

static bool read_tokens(const char *path, const struct ig_tokenizer *tokenizer, struct ig_ids *out,
                        struct ig_err *err)
{
    struct ig_buf text = {0};
    bool ok = ig_file_read(path, TEXT_BYTES_MAX, &text, err) &&
              ig_tokenizer_encode(tokenizer, ig_buf_view(&text), true, out, err);
    ig_buf_release(&text);
    return ok;
}

bool eval__windows_open(const struct ig_text_job *job, const struct ig_tokenizer *tokenizer,
                        struct eval_windows *out, struct ig_err *err)
{
    struct ig_ids ids = {0};
    int32_t bos;
    struct eval_windows w = {.context = job->context, .first = job->context / 2};
    if (job->context < EVAL_WINDOW_MIN)
        return ig_err_set(err, IG_ERR_USAGE, "a window of %lld tokens is less than %d",
                          (long long)job->context, EVAL_WINDOW_MIN);
    bool ok = leading_token(tokenizer, &bos, err) && read_tokens(job->path, tokenizer, &ids, err);
    if (ok && (int64_t)ids.count < w.context)
        ok = ig_err_set(err, IG_ERR_DATA,
                        "'%s' has %zu tokens, less than one window of %lld: take a longer text, or "
                        "a smaller --context",
                        job->path, ids.count, (long long)w.context);
    if (!ok) {
        ig_ids_release(&ids);
        return false;
    }
    w.count = (int64_t)ids.count / w.context;
    if (job->windows && job->windows < w.count) w.count = job->windows;
    w.scored = w.context - 1 - w.first;
    w.tokens = ids.items;
    for (int64_t i = 0; bos >= 0 && i < w.count; i++)
        w.tokens[i * w.context] = bos;
    *out = w;
    return true;
}

void eval__windows_release(struct eval_windows *windows)
{
    free(windows->tokens);
}

/* ---- scores ---- */

static bool report(const struct ig_text_job *job, const struct eval_windows *w, int64_t done,
                   struct ig_err *err)
{
    struct ig_progress progress = {
        .phase = "perplexity", .items_done = done, .items_total = w->count};
    if (job->watch && job->watch->progress && !job->watch->progress(job->watch->user, &progress))
        return ig_err_set(err, IG_ERR_CANCELLED, "stopped after %lld of %lld windows",
                          (long long)done, (long long)w->count);
    return true;
}

/* Windows i .. i + count - 1, in one list. */
static bool score_some(const struct eval_windows *w, struct ig_session *session, int64_t i,
                       int64_t count, struct ig_target *targets, struct ig_scored *scored,
                       struct ig_err *err)
{
    struct ig_span spans[WINDOWS_AT_A_TIME];
    int64_t n = 0;
    for (int64_t k = 0; k < count; k++) {
        const int32_t *tokens = w->tokens + (i + k) * w->context;
        spans[k] = (struct ig_span){tokens, w->context - 1, -1};
        for (int64_t at = w->first; at < w->context - 1; at++)
            targets[n++] = (struct ig_target){k, at, tokens[at + 1]};
    }
    return ig_session_score_spans(session, spans, (size_t)count, targets, (size_t)n, scored, err);
}

bool eval__windows_score(const struct ig_text_job *job, const struct eval_windows *w,
                         struct ig_model *model, struct eval_token *out, struct ig_err *err)
{
    size_t most = (size_t)(WINDOWS_AT_A_TIME * w->scored);
    struct ig_target *targets = calloc(most, sizeof *targets);
    struct ig_scored *scored = calloc(most, sizeof *scored);
    struct ig_session *session = NULL;
    bool ok = ((targets && scored) || ig_err_nomem(err)) &&
              ig_session_new(model, w->context, &session, err);
    for (int64_t i = 0, count; ok && i < w->count; i += count) {
        count = w->count - i < WINDOWS_AT_A_TIME ? w->count - i : WINDOWS_AT_A_TIME;
        ok = report(job, w, i, err) && score_some(w, session, i, count, targets, scored, err);
        for (int64_t k = 0; ok && k < count * w->scored; k++)
            out[i * w->scored + k] = (struct eval_token){.nll = -scored[k].logprob};
    }
    ig_session_free(session);
    free(targets);
    free(scored);
    return ok && report(job, w, w->count, err);
}

/* ---- the whole ---- */

/* Both models must see the text in the same tokens. */
static bool check_reference(const struct ig_text_job *job, const struct eval_windows *mine,
                            const struct ig_model *model, struct ig_err *err)
{
    struct eval_windows theirs;
    int64_t vocab = ig_model_shape(model)->vocab;
    int64_t other = ig_model_shape(job->reference)->vocab;
    if (vocab != other)
        return ig_err_set(err, IG_ERR_USAGE,
                          "the model's vocabulary has %lld tokens, the reference's %lld: their "
                          "distributions cannot be compared",
                          (long long)vocab, (long long)other);
    if (!eval__windows_open(job, job->reference_tokenizer, &theirs, err)) return false;
    size_t bytes = (size_t)(mine->count * mine->context) * sizeof(int32_t);
    bool same = theirs.count == mine->count && memcmp(theirs.tokens, mine->tokens, bytes) == 0;
    eval__windows_release(&theirs);
    return same || ig_err_set(err, IG_ERR_USAGE,
                              "the model and the reference cut the text into different tokens");
}

bool ig_eval_text(const struct ig_text_job *job, struct ig_model *model,
                  const struct ig_tokenizer *tokenizer, struct ig_text_result *result,
                  struct ig_err *err)
{
    struct eval_windows w;
    if (!eval__windows_open(job, tokenizer, &w, err)) return false;
    int64_t count = w.count * w.scored;
    struct eval_token *tokens = calloc((size_t)count + 1, sizeof *tokens);
    bool ok = tokens || ig_err_nomem(err);
    if (ok && job->reference)
        ok = check_reference(job, &w, model, err) &&
             eval__windows_diverge(job, &w, model, job->reference, tokens, err);
    else if (ok)
        ok = eval__windows_score(job, &w, model, tokens, err);
    ok = ok && eval__text_result(tokens, count, job->reference != NULL, result, err);
    if (ok) {
        result->windows = w.count;
        result->context = w.context;
    }
    free(tokens);
    eval__windows_release(&w);
    return ok;
}
