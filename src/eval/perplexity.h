/* SPDX-License-Identifier: Apache-2.0
 * perplexity — a text in windows, and the sums over its scored tokens. */
#pragma once
#include "eval/eval_internal.h"

/* A token that is scored, by the model and, where there is one, by the reference. */
struct eval_token {
    double nll, nll_base; /* - log p */
    double kld;           /* of the reference's distribution to the model's */
    bool same_top;        /* both have the same likeliest token */
};
/* Windows of `context` tokens, one after another; of each the second half is scored: tokens first
 * + 1 .. context - 1, each after all before it in its window. */
struct eval_windows {
    int32_t *tokens;
    int64_t count, context, first; /* count: of windows */
    int64_t scored;                /* tokens of each */
};
IG_MUST_CHECK bool eval__windows_open(const struct ig_text_job *job,
                                      const struct ig_tokenizer *tokenizer,
                                      struct eval_windows *out, struct ig_err *err);
void eval__windows_release(struct eval_windows *windows);
/* Fills one token for each that is scored, in order. */
IG_MUST_CHECK bool eval__windows_score(const struct ig_text_job *job,
                                       const struct eval_windows *windows, struct ig_model *model,
                                       struct eval_token *out, struct ig_err *err);
/* The same and the distance to the reference, whose vocabulary must have the same size. */
IG_MUST_CHECK bool eval__windows_diverge(const struct ig_text_job *job,
                                         const struct eval_windows *windows, struct ig_model *model,
                                         struct ig_model *reference, struct eval_token *out,
                                         struct ig_err *err);
/* Everything that is reported of them. */
IG_MUST_CHECK bool eval__text_result(const struct eval_token *tokens, int64_t count, bool diverge,
                                     struct ig_text_result *out, struct ig_err *err);
