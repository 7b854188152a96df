/* SPDX-License-Identifier: Apache-2.0
 * generate — feed the prompt, then sample and feed token by token until a stop token, the caller's
 * limit or the end of the context. */
#include "infer/infer_internal.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>

static bool check_sampling(const struct ig_sampling *how, struct ig_err *err)
{
    if (!(how->temperature >= 0) || !isfinite(how->temperature))
        return ig_err_set(err, IG_ERR_USAGE, "the temperature is %g; it must be 0 or more",
                          how->temperature);
    if (!(how->top_p >= 0 && how->top_p <= 1))
        return ig_err_set(err, IG_ERR_USAGE, "top-p is %g; it must be from 0 to 1", how->top_p);
    if (!(how->min_p >= 0 && how->min_p <= 1))
        return ig_err_set(err, IG_ERR_USAGE, "min-p is %g; it must be from 0 to 1", how->min_p);
    if (how->top_k < 0)
        return ig_err_set(err, IG_ERR_USAGE, "top-k is %lld; it must be 0 or more",
                          (long long)how->top_k);
    if (!(how->repetition_penalty > 0) || !isfinite(how->repetition_penalty))
        return ig_err_set(err, IG_ERR_USAGE, "the repetition penalty is %g; it must be above 0",
                          how->repetition_penalty);
    return true;
}

static bool is_stop(const struct ig_model *model, int32_t token)
{
    for (size_t i = 0; i < model->eos_count; i++)
        if (model->eos[i] == token) return true;
    return false;
}

/* The last tokens, for the repetition penalty: 2 windows, so that it moves down only now and then.
 */
struct history {
    int32_t *tokens;
    size_t count, window;
};

static void remember(struct history *h, int32_t token)
{
    if (h->window == 0) return;
    if (h->count == 2 * h->window) {
        memmove(h->tokens, h->tokens + h->window, h->window * sizeof *h->tokens);
        h->count = h->window;
    }
    h->tokens[h->count++] = token;
}

static bool sample_all(struct ig_session *s, const struct ig_generate_job *job,
                       struct history *history, struct ig_generate_report *report,
                       struct ig_err *err)
{
    while (report->tokens < job->tokens_max) {
        double logprob;
        int32_t token = infer__sample(s, &job->sampling, history->tokens, history->count, &logprob);
        if (!job->ignore_eos && is_stop(s->model, token)) {
            report->stopped = true;
            return true;
        }
        report->tokens++;
        remember(history, token);
        if (job->on_token && !job->on_token(job->user, token, logprob)) return true;
        if (report->tokens == job->tokens_max || s->length == s->context) return true;
        if (!ig_session_feed(s, &token, 1, err)) return false;
    }
    return true;
}

bool ig_generate(struct ig_session *session, const struct ig_generate_job *job,
                 struct ig_generate_report *report, struct ig_err *err)
{
    if (!check_sampling(&job->sampling, err)) return false;
    if (job->prompt_count == 0) return ig_err_set(err, IG_ERR_USAGE, "the prompt has no tokens");
    struct ig_generate_report r = {.prompt_tokens = (int64_t)job->prompt_count};
    struct history history = {0};
    if (job->sampling.repetition_window > 0 && job->sampling.repetition_penalty != 1.0) {
        int64_t window = job->sampling.repetition_window;
        history.window = (size_t)(window < session->context ? window : session->context);
        history.tokens = malloc(2 * history.window * sizeof *history.tokens);
        if (!history.tokens) return ig_err_nomem(err);
    }
    double start = ig_clock_seconds();
    bool ok = ig_session_feed(session, job->prompt, job->prompt_count, err);
    double fed = ig_clock_seconds();
    for (size_t i = 0; ok && i < job->prompt_count; i++)
        remember(&history, job->prompt[i]);
    ok = ok && sample_all(session, job, &history, &r, err);
    r.prompt_seconds = fed - start;
    r.generation_seconds = ig_clock_seconds() - fed;
    free(history.tokens);
    if (ok) *report = r;
    return ok;
}
