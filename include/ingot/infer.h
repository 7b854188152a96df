/* SPDX-License-Identifier: Apache-2.0
 * infer — run a model: logits, scores, and text.
 *
 * Use:   ig_model_open -> ig_session_new -> ig_session_feed (prompt, then token by token).
 * Owns:  weights stay in the store's mappings; a session owns its KV cache, sized at creation:
 *        nothing is allocated per token.
 * Threads: weights are read-only, but the sessions of a model share its threads: one call at a time
 *        into all of them together.
 * Numbers: exact arithmetic is f32 activations times dequantised weights (w = s q + b in f32), sums
 * in f32. Fast arithmetic, which is taken unless ig_model_options.exact is set, rounds
 * where the processor multiplies narrow types faster: to bf16 the activations of large matrices,
 * and their weights (bf16 weights, and packed ones in scores), or, group by group, activations to
 * int8 (packed weights, in text): docs/performance.md says what that costs.
 * Matrices under 512 columns or 256 rows, f32 and f16 weights, and everything but matrices are
 * always exact. */
#pragma once
#include "ingot/arch.h"
#include "ingot/store.h"

struct ig_model;
struct ig_session;

/* Opens a folder of an architecture that runs: f32, f16, bf16 or MLX-quantised weights. threads 0:
 * one for each core. */
IG_MUST_CHECK bool ig_model_open(const char *path, int threads, struct ig_model **out,
                                 struct ig_err *err);
struct ig_model_options {
    int threads;
    bool exact;       /* f32 arithmetic throughout, see Numbers above */
    bool int8_scores; /* scores of packed weights in int8 too: faster, and ten times the rounding */
    bool rope_as_mlx; /* scale RoPE as mlx-lm does, which ignores rope_scaling in some families;
                         else as config.json says and transformers does */
};
IG_MUST_CHECK bool ig_model_open_as(const char *path, const struct ig_model_options *options,
                                    struct ig_model **out, struct ig_err *err);
void ig_model_close(struct ig_model *model);
/* Whether its files are those that it was opened with: the engine reads them in place. */
IG_MUST_CHECK bool ig_model_unchanged(const struct ig_model *model, struct ig_err *err);
/* The kernels and arithmetic in use, in words: for logs and result files. */
const char *ig_model_arithmetic(const struct ig_model *model);
const struct ig_model_shape *ig_model_shape(const struct ig_model *model);
/* Token ids that end a reply: generation_config.json, else config.json. */
const int32_t *ig_model_eos(const struct ig_model *model, size_t *count);

/* A KV cache (f32) for up to context tokens; 0: the model's own limit. Memory is reserved at once
 * and taken as tokens come. */
IG_MUST_CHECK bool ig_session_new(struct ig_model *model, int64_t context, struct ig_session **out,
                                  struct ig_err *err);
/* The same with the working memory and the kind of cache of another session of the model, which
 * must outlive it: then a session costs its cache and little else. Logits are there until the next
 * call into any of them.
 */
IG_MUST_CHECK bool ig_session_new_beside(struct ig_session *other, int64_t context,
                                         struct ig_session **out, struct ig_err *err);
/* With another kind of cache. */
struct ig_session_options {
    int64_t context; /* as above */
    int64_t window;  /* not 0: a cache of so many tokens that rotates as mlx-lm's: tokens are fed
                        without end, the first 4 and the last seen. Not for scores */
    int bits;        /* of a number: 32 (or 0) f32, 16 f16, 8 or 4 mx.quantize's codes */
    int group;       /* of codes with one scale: 32, 64 (or 0) or 128, halved down to 32 until it
                  divides the heads' dimension */
    int64_t start; /* not 0: f32 until a call ends with so many tokens or more, then `bits` for all,
                      as mlx-lm's quantized_kv_start */
};
IG_MUST_CHECK bool ig_session_new_as(struct ig_model *model,
                                     const struct ig_session_options *options,
                                     struct ig_session **out, struct ig_err *err);
void ig_session_free(struct ig_session *session);
/* Tokens that may be fed: where the cache rotates, more than anybody will. */
int64_t ig_session_context(const struct ig_session *session);
/* Tokens that go through the layers together: longer calls are cut into so many, shorter ones read
 * the weights more often than need be. */
int64_t ig_session_rows(const struct ig_session *session);
/* Tokens that it has room for. */
int64_t ig_session_room(const struct ig_session *session);
/* Bytes of the cache for each token, as it is now. */
size_t ig_session_token_bytes(const struct ig_session *session);
/* Memory that the cache takes, in whole pages; and at most until it holds so many tokens. */
size_t ig_session_bytes(const struct ig_session *session);
size_t ig_session_bytes_for(const struct ig_session *session, int64_t tokens);
/* Gives back what was taken for tokens that are forgotten; else it is kept for the next ones. */
void ig_session_shrink(struct ig_session *session);
/* Tokens in the cache. */
int64_t ig_session_length(const struct ig_session *session);
/* Forgets all but the first `length` tokens; says how many are left. These may be fewer in a model
 * with recurrent layers: it can only go back to the end of the last feed of several tokens, or to
 * the start; in a cache that has rotated, where only the first 4 may be left; and below
 * ig_session_options.start, once that was passed, where nothing is left. */
int64_t ig_session_trim(struct ig_session *session, int64_t length);
/* Appends tokens. Afterwards ig_session_logits gives the last token's row. */
IG_MUST_CHECK bool ig_session_feed(struct ig_session *session, const int32_t *tokens, size_t count,
                                   struct ig_err *err);
/* Appends one token to each of several sessions of one model, which are different ones, in one pass
 * over the weights: the time of a step hardly grows with their number, up to a few dozen. logits:
 * count x vocab, a row for each. Up to rounding what feeding them one by one gives; one by one is
 * also how it goes where layers are recurrent. After a failure none holds its token. */
IG_MUST_CHECK bool ig_sessions_step(struct ig_session *const *sessions, const int32_t *tokens,
                                    size_t count, float *logits, struct ig_err *err);
/* Makes what `to` holds the first `length` tokens of what `from` holds, without computing them.
 * False when that cannot be had: of recurrent layers, of another kind of cache, of one that
 * has rotated, or where it does not fit; `to` is then as it was. */
bool ig_session_copy(struct ig_session *to, const struct ig_session *from, int64_t length);
/* Writes what the session holds, and its tokens, to a file: docs/formats/session.md. */
IG_MUST_CHECK bool ig_session_save(const struct ig_session *session, const int32_t *tokens,
                                   const char *path, struct ig_err *err);
/* Makes the session hold what a session of the same model has saved, and tells the tokens, of which
 * there may be as many as ig_session_room says. After a failure it holds
 * nothing. */
IG_MUST_CHECK bool ig_session_load(struct ig_session *session, const char *path, int32_t *tokens,
                                   struct ig_err *err);
/* vocab f32 logits after the last fed token. */
const float *ig_session_logits(const struct ig_session *session);
/* Appends tokens and scores them: logprobs[i] is log p(targets[i] | everything up to tokens[i]),
 * greedy[i] whether targets[i] has the largest logit (may be NULL; of equal ones the lowest token
 * is greedy). targets[i] < 0: not scored. The numbers are the same to the bit however the sequence
 * is cut into calls, and for any number of threads. */
IG_MUST_CHECK bool ig_session_score(struct ig_session *session, const int32_t *tokens,
                                    const int32_t *targets, size_t count, double *logprobs,
                                    bool *greedy, struct ig_err *err);
/* ---- scoring many sequences together ---- */

/* A run of tokens. It goes on from the end of `parent`, an earlier span of the same list, or starts
 * a sequence (-1): a tree of spans is a prefix that is computed once and the branches that share
 * it. A token sees those before it in its span and in its ancestors, nothing else. A tree's spans
 * stand together in the list, its root first. */
struct ig_span {
    const int32_t *tokens;
    int64_t count;  /* at least 1 */
    int64_t parent; /* an index, or -1 */
};
/* Asks for log p(token | everything up to tokens[index] of the span). */
struct ig_target {
    int64_t span, index;
    int32_t token;
};
struct ig_scored {
    double logprob;
    bool greedy; /* the token has the largest logit; of equal ones the lowest token */
};
/* Scores targets, which are ordered by span and index; several may share a place. The rows of all
 * trees go through the layers together, a batch at a time, and no others than the targets' rows
 * through the head: long lists of short sequences take the least time for a token. The numbers are
 * those of ig_session_score to the bit, whatever else is in the list, however the same sequences
 * are cut into spans, and for any number of threads. Forgets what the session holds. A tree may
 * hold as many tokens, all branches together, as the session's context. */
IG_MUST_CHECK bool ig_session_score_spans(struct ig_session *session, const struct ig_span *spans,
                                          size_t span_count, const struct ig_target *targets,
                                          size_t target_count, struct ig_scored *out,
                                          struct ig_err *err);

/* As feed, and all count x vocab logits into out: for parity tests. */
IG_MUST_CHECK bool ig_session_logits_all(struct ig_session *session, const int32_t *tokens,
                                         size_t count, float *out, struct ig_err *err);

/* Appends tokens; adds to out, layers x hidden, what goes into each layer, the embedding into the
 * first: the last token's, or the mean over these tokens. In exact arithmetic. */
IG_MUST_CHECK bool ig_session_states(struct ig_session *session, const int32_t *tokens,
                                     size_t count, bool mean, double *out, struct ig_err *err);

/* ---- sampling and generation ---- */

struct ig_sampling {
    double temperature;        /* 0: greedy */
    double top_p;              /* 1: off */
    double min_p;              /* 0: off */
    int64_t top_k;             /* 0: off */
    double repetition_penalty; /* 1: off; over the last repetition_window tokens */
    int64_t repetition_window;
    double presence_penalty;  /* 0: off; what a token that is among those loses, once */
    double frequency_penalty; /* 0: off; and for each time */
    /* XTC: with this probability all tokens above the threshold but the least likely of them are
     * left out. 0: off. */
    double xtc_probability, xtc_threshold;
    const int32_t *xtc_spared; /* tokens that XTC never leaves out */
    size_t xtc_spared_count;
    const struct ig_bias *biases; /* added to logits first */
    size_t bias_count;
    uint64_t seed;
};
struct ig_bias {
    int32_t token;
    float add;
};
/* False, with the error set, when a number is outside its range. */
IG_MUST_CHECK bool ig_sampling_check(const struct ig_sampling *sampling, struct ig_err *err);

/* For callers that run several sessions in turn; ig_generate does this for one. */
struct ig_sampler;
/* Keeps a copy of what `how` points to. */
IG_MUST_CHECK bool ig_sampler_new(const struct ig_model *model, const struct ig_sampling *how,
                                  struct ig_sampler **out, struct ig_err *err);
void ig_sampler_free(struct ig_sampler *sampler);
/* Tells of tokens of the text so far: of the prompt, and each one that was picked. */
void ig_sampler_note(struct ig_sampler *sampler, const int32_t *tokens, size_t count);
struct ig_choice {
    int32_t token;
    float logprob;
};
/* Picks the token at `position` (how many tokens there are before it), changing the finite logits.
 * Log-probabilities are those at temperature 1, after penalties. top: the top_count likeliest
 * tokens, the likeliest first; at most as many as the vocabulary has. */
int32_t ig_sampler_pick(struct ig_sampler *sampler, float *logits, int64_t position,
                        struct ig_choice *top, size_t top_count, double *logprob);
/* Whether a token ends a reply. */
bool ig_model_stops_at(const struct ig_model *model, int32_t token);

struct ig_generate_job {
    const int32_t *prompt;
    size_t prompt_count;
    const int32_t *before; /* what penalties count of the text before the prompt */
    size_t before_count;
    int64_t tokens_max;
    struct ig_sampling sampling;
    bool ignore_eos;
    /* Called for each new token, in order; false stops (IG_ERR_CANCELLED is not set). May be NULL.
     */
    bool (*on_token)(void *user, int32_t token, double logprob);
    size_t top_count; /* likeliest tokens to tell of, at each token, in on_top, before on_token */
    void (*on_top)(void *user, const struct ig_choice *top);
    void *user;
};
struct ig_generate_report {
    int64_t prompt_tokens, tokens;
    double prompt_seconds, generation_seconds;
    bool stopped; /* finish reason: true = stop token (not counted in tokens), false = length */
};
/* Feeds the prompt (after what the session holds) and samples until a stop token, tokens_max or the
 * end of the context. Afterwards the last token reported may not be in the cache: ig_session_length
 * says. */
IG_MUST_CHECK bool ig_generate(struct ig_session *session, const struct ig_generate_job *job,
                               struct ig_generate_report *report, struct ig_err *err);
