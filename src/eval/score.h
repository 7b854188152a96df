/* SPDX-License-Identifier: Apache-2.0
 * score — one model at work on the tokens of a set, many items at a time. */
#pragma once
#include "eval/eval_internal.h"

struct eval_branch;
struct eval_batch {
    const struct ig_eval_tokens *tokens;
    struct ig_session *session;
    int64_t context;              /* the session's: what one tree may hold */
    int64_t *members;             /* the pairs of the batch, in the order of their tokens */
    int64_t *alone;               /* pairs of an item that is too large for one tree */
    struct eval_branch *branches; /* a stack, while trees are made */
    struct ig_span *spans;
    struct ig_target *targets;
    struct ig_scored *scored;
    int64_t *owners; /* of each target: the pair it belongs to */
    size_t member_count, member_cap, alone_count, alone_cap, branch_count, branch_cap;
    size_t span_count, span_cap, target_count, target_cap;
    int64_t rows; /* in the batch */
    int64_t fed;  /* tokens, in all batches so far */
};
IG_MUST_CHECK bool eval__batch_open(struct eval_batch *b, struct ig_model *model,
                                    const struct ig_eval_tokens *tokens, struct ig_err *err);
void eval__batch_release(struct eval_batch *b);
/* Adds the sequences of an item; *rows: how many more tokens are fed for it. *full: it was not
 * added, the batch must run first. */
IG_MUST_CHECK bool eval__batch_add(struct eval_batch *b, int64_t number, int64_t *rows, bool *full,
                                   struct ig_err *err);
/* Adds what is scored to the sums: logprobs and greedy have a place for each pair of the tokens.
 * Empties the batch. */
IG_MUST_CHECK bool eval__batch_run(struct eval_batch *b, double *logprobs, bool *greedy,
                                   struct ig_err *err);
