/* SPDX-License-Identifier: Apache-2.0
 * score — log-likelihoods of an item's choices, and the metrics of its task.
 *
 *     tokens of choice 0   c c c c|a a a          c: fed once, for all choices
 *     tokens of choice 1   c c c c|b b            |: the row that all first tokens are read from
 * What all choices share is fed once; then each choice alone, after the cache has been cut back. An
 * item's values depend on nothing but the item. */
#include "base/check.h"
#include "base/clock.h"
#include "eval/eval_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct run {
    const struct ig_eval_set *set;
    struct ig_session *session;
    int64_t vocab;
    struct ig_ids pool;
    struct eval_pair *pairs; /* of all items, choice by choice */
    int32_t *targets;        /* room for the longest request */
    double *logprobs;
    bool *greedy;
    bool *acc, *acc_norm; /* of the part's items */
    int64_t items_done, items_total;
    size_t longest; /* its last token is not fed */
    int64_t tokens; /* fed */
};

static void run_release(struct run *run)
{
    ig_session_free(run->session);
    ig_ids_release(&run->pool);
    free(run->pairs);
    free(run->targets);
    free(run->logprobs);
    free(run->greedy);
    free(run->acc);
    free(run->acc_norm);
}

static bool report(struct run *run, const char *phase, struct ig_err *err)
{
    const struct ig_watch *watch = run->set->job.watch;
    struct ig_progress progress = {
        .phase = phase, .items_done = run->items_done, .items_total = run->items_total};
    if (watch && watch->progress && !watch->progress(watch->user, &progress))
        return ig_err_set(err, IG_ERR_CANCELLED, "stopped after %lld of %lld items",
                          (long long)run->items_done, (long long)run->items_total);
    return true;
}

/* ---- all requests in tokens ---- */

static bool encode_part(struct run *run, const struct eval_encoder *encoder,
                        const struct eval_part *part, struct eval_pair *pairs,
                        int64_t *truncated_items, struct ig_err *err)
{
    for (int64_t i = 0; i < part->count; i++) {
        const struct ig_eval_item *item = &part->items[i];
        bool truncated;
        if (!eval__encode(encoder, item, &run->pool, pairs, &truncated, err))
            return ig_err_within(err, "'%s', line %lld", part->rows.path, (long long)item->line);
        for (int k = 0; k < item->count; k++)
            if (pairs[k].count > run->longest) run->longest = pairs[k].count;
        *truncated_items += truncated;
        pairs += item->count;
    }
    if (*truncated_items)
        ig_watch_warn(run->set->job.watch,
                      "%s: %lld of %lld items are longer than the context of %lld tokens; they "
                      "are cut on the left",
                      part->task->name, (long long)*truncated_items, (long long)part->count,
                      (long long)encoder->context_max);
    return true;
}

static int64_t part_choices(const struct eval_part *part)
{
    int64_t n = 0;
    for (int64_t i = 0; i < part->count; i++)
        n += part->items[i].count;
    return n;
}

static bool encode_all(struct run *run, const struct eval_encoder *encoder,
                       struct ig_eval_result *results, struct ig_err *err)
{
    int64_t choices = 0, most = 0;
    for (int t = 0; t < run->set->count; t++) {
        const struct eval_part *part = &run->set->parts[t];
        choices += part_choices(part);
        run->items_total += part->count;
        if (part->count > most) most = part->count;
    }
    run->pairs = calloc((size_t)choices + 1, sizeof *run->pairs);
    run->acc = calloc((size_t)most + 1, sizeof *run->acc);
    run->acc_norm = calloc((size_t)most + 1, sizeof *run->acc_norm);
    if (!run->pairs || !run->acc || !run->acc_norm) return ig_err_nomem(err);
    struct eval_pair *pairs = run->pairs;
    for (int t = 0; t < run->set->count; t++) {
        const struct eval_part *part = &run->set->parts[t];
        if (!report(run, "tokenize", err)) return false;
        results[t] = (struct ig_eval_result){0};
        if (!encode_part(run, encoder, part, pairs, &results[t].truncated, err)) return false;
        pairs += part_choices(part);
    }
    run->targets = calloc(run->longest + 1, sizeof *run->targets);
    run->logprobs = calloc(run->longest + 1, sizeof *run->logprobs);
    run->greedy = calloc(run->longest + 1, sizeof *run->greedy);
    return (run->targets && run->logprobs && run->greedy) || ig_err_nomem(err);
}

/* ---- one item ---- */

/* Tokens that all choices start with, no further than up to the row that the first scored token of
 * any of them is read from. Of each sequence the last token is not fed. */
static size_t shared_tokens(const int32_t *ids, const struct eval_pair *pairs, int count)
{
    size_t shared = pairs[0].count - pairs[0].scored;
    for (int i = 1; i < count; i++) {
        size_t context = pairs[i].count - pairs[i].scored;
        if (context < shared) shared = context;
        size_t k = 0;
        while (k < shared && ids[pairs[i].first + k] == ids[pairs[0].first + k])
            k++;
        shared = k;
    }
    return shared;
}

/* log p and whether it is the largest, of the token after the last row. */
static void read_row(const float *logits, int64_t vocab, int32_t token, double log_sum,
                     double *logprob, bool *greedy)
{
    float value = logits[token];
    bool best = true;
    for (int64_t i = 0; best && i < vocab; i++)
        best = logits[i] < value || (logits[i] <= value && i >= token);
    *logprob += (double)value - log_sum;
    *greedy = *greedy && best;
}

static double log_sum_exp(const float *logits, int64_t vocab)
{
    double top = (double)logits[0], sum = 0;
    for (int64_t i = 1; i < vocab; i++)
        if ((double)logits[i] > top) top = (double)logits[i];
    for (int64_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - top);
    return top + log(sum);
}

/* Feeds what the choices share, and scores the first token of those that start right after it. */
static bool score_shared(struct run *run, const struct eval_pair *pairs, int count, size_t shared,
                         double *logprobs, bool *greedy, struct ig_err *err)
{
    const int32_t *ids = run->pool.items;
    if (shared == 0) return true;
    if (!ig_session_feed(run->session, ids + pairs[0].first, shared, err)) return false;
    run->tokens += (int64_t)shared;
    const float *logits = ig_session_logits(run->session);
    double log_sum = (double)NAN;
    for (int i = 0; i < count; i++) {
        if (pairs[i].count - pairs[i].scored != shared) continue;
        if (isnan(log_sum)) log_sum = log_sum_exp(logits, run->vocab);
        read_row(logits, run->vocab, ids[pairs[i].first + shared], log_sum, &logprobs[i],
                 &greedy[i]);
    }
    return true;
}

/* Feeds the rest of one choice and adds up what is scored there. */
static bool score_rest(struct run *run, const struct eval_pair *pair, size_t shared,
                       double *logprob, bool *greedy, struct ig_err *err)
{
    const int32_t *ids = run->pool.items + pair->first;
    size_t rows = pair->count - 1 - shared; /* the last token is only a target */
    size_t context = pair->count - pair->scored;
    if (rows == 0) return true;
    for (size_t i = 0; i < rows; i++)
        run->targets[i] = shared + i + 1 >= context ? ids[shared + i + 1] : -1;
    ig_session_trim(run->session, (int64_t)shared);
    if (!ig_session_score(run->session, ids + shared, run->targets, rows, run->logprobs,
                          run->greedy, err))
        return false;
    run->tokens += (int64_t)rows;
    for (size_t i = 0; i < rows; i++) {
        if (run->targets[i] < 0) continue;
        *logprob += run->logprobs[i];
        *greedy = *greedy && run->greedy[i];
    }
    return true;
}

static bool score_item(struct run *run, const struct eval_pair *pairs, int count, double *logprobs,
                       bool *greedy, struct ig_err *err)
{
    size_t shared = shared_tokens(run->pool.items, pairs, count);
    for (int i = 0; i < count; i++) {
        logprobs[i] = pairs[i].scored ? 0 : -(double)INFINITY;
        greedy[i] = pairs[i].scored > 0;
    }
    ig_session_trim(run->session, 0);
    if (!score_shared(run, pairs, count, shared, logprobs, greedy, err)) return false;
    for (int i = 0; i < count; i++) {
        if (pairs[i].scored == 0) continue;
        if (!score_rest(run, &pairs[i], shared, &logprobs[i], &greedy[i], err)) return false;
    }
    for (int i = 0; i < count; i++)
        if (isnan(logprobs[i]))
            return ig_err_set(err, IG_ERR_DATA, "the model's logits are not numbers");
    return true;
}

/* ---- one task ---- */

static bool score_part(struct run *run, const struct eval_part *part, const struct eval_pair *pairs,
                       ig_eval_on_item *on_item, void *user, struct ig_eval_result *result,
                       struct ig_err *err)
{
    double logprobs[EVAL_CHOICES_MAX], start = ig_clock_seconds();
    bool greedy[EVAL_CHOICES_MAX];
    int64_t tokens = run->tokens;
    for (int64_t i = 0; i < part->count; i++) {
        const struct ig_eval_item *item = &part->items[i];
        if (!report(run, "eval", err)) return false;
        if (!score_item(run, pairs, item->count, logprobs, greedy, err))
            return ig_err_within(err, "'%s', line %lld", part->rows.path, (long long)item->line);
        run->acc[i] = eval__best(logprobs, item->count) == item->gold;
        run->acc_norm[i] = eval__best_norm(logprobs, item->choices, item->count) == item->gold;
        struct ig_eval_score score = {logprobs, greedy, run->acc[i], run->acc_norm[i]};
        if (on_item && !on_item(user, item, &score))
            return ig_err_set(err, IG_ERR_CANCELLED, "stopped at item %lld of task %s",
                              (long long)i, part->task->name);
        pairs += item->count;
        run->items_done++;
    }
    snprintf(result->task, sizeof result->task, "%s", part->task->name);
    result->items = part->count;
    result->rows = part->rows.count;
    result->has_norm = part->task->has_norm;
    eval__mean(run->acc, part->count, &result->acc, &result->acc_stderr);
    eval__mean(run->acc_norm, part->count, &result->acc_norm, &result->acc_norm_stderr);
    result->seconds = ig_clock_seconds() - start;
    result->tokens = run->tokens - tokens;
    return true;
}

bool ig_eval_score(const struct ig_eval_set *set, struct ig_model *model,
                   const struct ig_tokenizer *tokenizer, ig_eval_on_item *on_item, void *user,
                   struct ig_eval_result *results, struct ig_err *err)
{
    const struct ig_model_shape *shape = ig_model_shape(model);
    struct run run = {.set = set, .vocab = shape->vocab};
    struct eval_encoder encoder = {.tokenizer = tokenizer,
                                   .style = set->job.style,
                                   .chat = set->job.chat != NULL,
                                   .context_max = shape->context};
    bool ok =
        encode_all(&run, &encoder, results, err) &&
        ig_session_new(model, run.longest > 1 ? (int64_t)run.longest - 1 : 1, &run.session, err);
    const struct eval_pair *pairs = run.pairs;
    for (int t = 0; ok && t < set->count; t++) {
        ok = score_part(&run, &set->parts[t], pairs, on_item, user, &results[t], err);
        pairs += part_choices(&set->parts[t]);
    }
    ok = ok && report(&run, "eval", err);
    run_release(&run);
    return ok;
}

bool ig_eval_run(const struct ig_eval_job *job, struct ig_model *model,
                 const struct ig_tokenizer *tokenizer, struct ig_eval_result *results,
                 int results_max, int *count, struct ig_err *err)
{
    struct ig_eval_set *set;
    if (!ig_eval_open(job, &set, err)) return false;
    int tasks = ig_eval_task_count(set);
    bool ok = tasks <= results_max ||
              ig_err_set(err, IG_ERR_USAGE, "%d tasks, room for %d", tasks, results_max);
    ok = ok && ig_eval_score(set, model, tokenizer, NULL, NULL, results, err);
    if (ok) *count = tasks;
    ig_eval_close(set);
    return ok;
}
