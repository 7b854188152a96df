/* SPDX-License-Identifier: Apache-2.0
 * divergence — the distance of a model's distributions to a reference's, token by token:
 *
 *     KLD = sum over the vocabulary of p_base (log p_base - log p)
 * Both models run side by side; of their logits only ROWS rows are in memory at a time. Terms are
 * f32, sums f64 in the order of the vocabulary, so results do not depend on threads. */
#include "base/thread.h"
#include "eval/perplexity.h"

#include <math.h>
#include <stdlib.h>

#define ROWS 64 /* 39 MB a model at 152k tokens */

struct rows {
    int64_t vocab;
    const float *logits, *base; /* ROWS x vocab */
    const int32_t *targets;
    struct eval_token *out;
};

static double log_sum_exp(const float *logits, int64_t vocab, int64_t *top)
{
    double sum = 0;
    *top = 0;
    for (int64_t i = 1; i < vocab; i++)
        if (logits[i] > logits[*top]) *top = i;
    float max = logits[*top];
    for (int64_t i = 0; i < vocab; i++)
        sum += (double)expf(logits[i] - max);
    return (double)max + log(sum);
}

static bool one_row(void *user, int thread, int64_t row, struct ig_err *err)
{
    (void)thread;
    const struct rows *r = user;
    const float *logits = r->logits + row * r->vocab, *base = r->base + row * r->vocab;
    int64_t top, top_base;
    double log_sum = log_sum_exp(logits, r->vocab, &top);
    double log_sum_base = log_sum_exp(base, r->vocab, &top_base), kld = 0;
    if (!isfinite(log_sum) || !isfinite(log_sum_base))
        return ig_err_set(err, IG_ERR_DATA,
                          "the logits are not finite numbers: the weights of %s "
                          "are broken",
                          isfinite(log_sum) ? "the reference" : "the model");
    double shift = log_sum - log_sum_base;
    for (int64_t i = 0; i < r->vocab; i++) {
        double log_base = (double)base[i] - log_sum_base;
        kld += (double)expf((float)log_base) * ((double)base[i] - (double)logits[i] + shift);
    }
    r->out[row] = (struct eval_token){.nll = log_sum - (double)logits[r->targets[row]],
                                      .nll_base = log_sum_base - (double)base[r->targets[row]],
                                      .kld = kld,
                                      .same_top = top == top_base};
    return true;
}

struct pair { /* both models at work */
    const struct eval_windows *windows;
    struct ig_session *sessions[2];
    float *logits[2];
    struct ig_pool *pool;
    int64_t vocab;
};

static bool diverge_window(struct pair *p, int64_t window, struct eval_token *out,
                           struct ig_err *err)
{
    const struct eval_windows *w = p->windows;
    const int32_t *tokens = w->tokens + window * w->context;
    for (int m = 0; m < 2; m++) {
        ig_session_trim(p->sessions[m], 0);
        if (!ig_session_feed(p->sessions[m], tokens, (size_t)w->first, err)) return false;
    }
    for (int64_t at = w->first, rows; at < w->context - 1; at += rows) {
        rows = w->context - 1 - at < ROWS ? w->context - 1 - at : ROWS;
        for (int m = 0; m < 2; m++)
            if (!ig_session_logits_all(p->sessions[m], tokens + at, (size_t)rows, p->logits[m],
                                       err))
                return false;
        struct rows job = {.vocab = p->vocab,
                           .logits = p->logits[0],
                           .base = p->logits[1],
                           .targets = tokens + at + 1,
                           .out = out + at - w->first};
        if (!ig_pool_each(p->pool, rows, one_row, &job, err)) return false;
    }
    return true;
}

bool eval__windows_diverge(const struct ig_text_job *job, const struct eval_windows *w,
                           struct ig_model *model, struct ig_model *reference,
                           struct eval_token *out, struct ig_err *err)
{
    struct ig_model *models[2] = {model, reference};
    struct pair p = {.windows = w, .vocab = ig_model_shape(model)->vocab};
    bool ok = true;
    for (int m = 0; ok && m < 2; m++) {
        p.logits[m] = malloc((size_t)(ROWS * p.vocab) * sizeof(float));
        ok = (p.logits[m] || ig_err_nomem(err)) &&
             ig_session_new(models[m], w->context, &p.sessions[m], err);
    }
    ok = ok && (p.pool = ig_pool_new(job->threads, err)) != NULL;
    for (int64_t i = 0; ok && i < w->count; i++) {
        struct ig_progress progress = {
            .phase = "perplexity", .items_done = i, .items_total = w->count};
        if (job->watch && job->watch->progress &&
            !job->watch->progress(job->watch->user, &progress))
            ok = ig_err_set(err, IG_ERR_CANCELLED, "stopped after %lld of %lld windows",
                            (long long)i, (long long)w->count);
        ok = ok && diverge_window(&p, i, out + i * w->scored, err);
    }
    for (int m = 0; m < 2; m++) {
        ig_session_free(p.sessions[m]);
        free(p.logits[m]);
    }
    ig_pool_free(p.pool);
    return ok;
}
