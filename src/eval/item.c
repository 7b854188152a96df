/* SPDX-License-Identifier: Apache-2.0
 * item — the log-likelihoods of one item's choices.
 *
 *     tokens of choice 0   c c c c|a a a          c: fed once, for all choices
 *     tokens of choice 1   c c c c|b b            |: the row that all first tokens are read from
 * What all choices share is fed once; then each choice alone, after the cache has been cut back. An
 * item's values depend on nothing but the item. */
#include "eval/score.h"

#include <math.h>
#include <stdlib.h>

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
static bool score_shared(struct eval_scorer *s, const struct eval_pair *pairs, int count,
                         size_t shared, double *logprobs, bool *greedy, struct ig_err *err)
{
    const int32_t *ids = s->tokens->pool.items;
    if (shared == 0) return true;
    if (!ig_session_feed(s->session, ids + pairs[0].first, shared, err)) return false;
    s->fed += (int64_t)shared;
    const float *logits = ig_session_logits(s->session);
    double log_sum = (double)NAN;
    for (int i = 0; i < count; i++) {
        if (pairs[i].count - pairs[i].scored != shared) continue;
        if (isnan(log_sum)) log_sum = log_sum_exp(logits, s->vocab);
        read_row(logits, s->vocab, ids[pairs[i].first + shared], log_sum, &logprobs[i], &greedy[i]);
    }
    return true;
}

/* Feeds the rest of one choice and adds up what is scored there. */
static bool score_rest(struct eval_scorer *s, const struct eval_pair *pair, size_t shared,
                       double *logprob, bool *greedy, struct ig_err *err)
{
    const int32_t *ids = s->tokens->pool.items + pair->first;
    size_t rows = pair->count - 1 - shared; /* the last token is only a target */
    size_t context = pair->count - pair->scored;
    if (rows == 0) return true;
    for (size_t i = 0; i < rows; i++)
        s->targets[i] = shared + i + 1 >= context ? ids[shared + i + 1] : -1;
    ig_session_trim(s->session, (int64_t)shared);
    if (!ig_session_score(s->session, ids + shared, s->targets, rows, s->logprobs, s->greedy, err))
        return false;
    s->fed += (int64_t)rows;
    for (size_t i = 0; i < rows; i++) {
        if (s->targets[i] < 0) continue;
        *logprob += s->logprobs[i];
        *greedy = *greedy && s->greedy[i];
    }
    return true;
}

bool eval__score_item(struct eval_scorer *s, const struct eval_pair *pairs, int count,
                      double *logprobs, bool *greedy, struct ig_err *err)
{
    size_t shared = shared_tokens(s->tokens->pool.items, pairs, count);
    for (int i = 0; i < count; i++) {
        logprobs[i] = pairs[i].scored ? 0 : -(double)INFINITY;
        greedy[i] = pairs[i].scored > 0;
    }
    ig_session_trim(s->session, 0);
    if (!score_shared(s, pairs, count, shared, logprobs, greedy, err)) return false;
    for (int i = 0; i < count; i++) {
        if (pairs[i].scored == 0) continue;
        if (!score_rest(s, &pairs[i], shared, &logprobs[i], &greedy[i], err)) return false;
    }
    for (int i = 0; i < count; i++)
        if (isnan(logprobs[i]))
            return ig_err_set(err, IG_ERR_DATA, "the model's logits are not numbers");
    return true;
}

bool eval__scorer_open(struct eval_scorer *s, struct ig_model *model,
                       const struct ig_eval_tokens *tokens, struct ig_err *err)
{
    size_t longest = tokens->longest;
    *s = (struct eval_scorer){.tokens = tokens, .vocab = ig_model_shape(model)->vocab};
    s->targets = calloc(longest + 1, sizeof *s->targets);
    s->logprobs = calloc(longest + 1, sizeof *s->logprobs);
    s->greedy = calloc(longest + 1, sizeof *s->greedy);
    return ((s->targets && s->logprobs && s->greedy) || ig_err_nomem(err)) &&
           ig_session_new(model, longest > 1 ? (int64_t)longest - 1 : 1, &s->session, err);
}

void eval__scorer_release(struct eval_scorer *s)
{
    ig_session_free(s->session);
    free(s->targets);
    free(s->logprobs);
    free(s->greedy);
}
