/* SPDX-License-Identifier: Apache-2.0
 * generate — feed the prompt, then sample and feed token by token until a stop token, the caller's
 * limit or the end of the context. */
#include "infer/infer_internal.h"

#include "base/clock.h"

#define TOP_MAX 64 /* likeliest tokens that may be asked for */

bool ig_model_stops_at(const struct ig_model *model, int32_t token)
{
    for (size_t i = 0; i < model->eos_count; i++)
        if (model->eos[i] == token) return true;
    return false;
}

static bool sample_all(struct ig_session *s, const struct ig_generate_job *job,
                       struct ig_sampler *sampler, struct ig_generate_report *report,
                       struct ig_err *err)
{
    struct ig_choice top[TOP_MAX];
    while (report->tokens < job->tokens_max) {
        double logprob;
        int32_t token =
            ig_sampler_pick(sampler, s->logits, s->length, top, job->top_count, &logprob);
        if (!job->ignore_eos && ig_model_stops_at(s->model, token)) {
            report->stopped = true;
            return true;
        }
        report->tokens++;
        if (job->top_count > 0 && job->on_top) job->on_top(job->user, top);
        if (job->on_token && !job->on_token(job->user, token, logprob)) return true;
        if (report->tokens == job->tokens_max || s->length == s->context) return true;
        if (!ig_session_feed(s, &token, 1, err)) return false;
    }
    return true;
}

bool ig_generate(struct ig_session *session, const struct ig_generate_job *job,
                 struct ig_generate_report *report, struct ig_err *err)
{
    struct ig_sampler *sampler = NULL;
    if (job->prompt_count == 0) return ig_err_set(err, IG_ERR_USAGE, "the prompt has no tokens");
    if (job->top_count > TOP_MAX || (int64_t)job->top_count > session->model->shape.vocab)
        return ig_err_set(err, IG_ERR_USAGE, "%zu likeliest tokens were asked for; at most %d",
                          job->top_count, TOP_MAX);
    if (!ig_sampler_new(session->model, &job->sampling, &sampler, err)) return false;
    struct ig_generate_report r = {.prompt_tokens = (int64_t)job->prompt_count};
    double start = ig_clock_seconds();
    bool ok = ig_session_feed(session, job->prompt, job->prompt_count, err);
    double fed = ig_clock_seconds();
    ig_sampler_note(sampler, job->before, job->before_count);
    ig_sampler_note(sampler, job->prompt, job->prompt_count);
    ok = ok && sample_all(session, job, sampler, &r, err);
    r.prompt_seconds = fed - start;
    r.generation_seconds = ig_clock_seconds() - fed;
    ig_sampler_free(sampler);
    if (ok) *report = r;
    return ok;
}
