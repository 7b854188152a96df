/* SPDX-License-Identifier: Apache-2.0
 * score — one model at work on the tokens of a set. */
#pragma once
#include "eval/eval_internal.h"

struct eval_scorer {
    const struct ig_eval_tokens *tokens;
    struct ig_session *session;
    int64_t vocab;
    int32_t *targets; /* room for the longest request, as the next two */
    double *logprobs;
    bool *greedy;
    int64_t fed; /* tokens */
};
IG_MUST_CHECK bool eval__scorer_open(struct eval_scorer *s, struct ig_model *model,
                                     const struct ig_eval_tokens *tokens, struct ig_err *err);
void eval__scorer_release(struct eval_scorer *s);
/* Log-likelihoods of an item's choices, and whether each is what greedy decoding would give. */
IG_MUST_CHECK bool eval__score_item(struct eval_scorer *s, const struct eval_pair *pairs, int count,
                                    double *logprobs, bool *greedy, struct ig_err *err);
