/* SPDX-License-Identifier: Apache-2.0
 * talk — a model, its tokenizer, its template and one session, for generate, chat and demo. */
#pragma once
#include "ingot/chat.h"
#include "ingot/infer.h"
#include "ingot/opt.h"
#include "ingot/reply.h"
#include "ingot/token.h"
#include <stdio.h>

struct talk_options {
    int64_t tokens_max, top_k, seed, threads, context, max_kv, kv_bits, kv_group, kv_start;
    double temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    double xtc_probability, xtc_threshold;
    const char *stop;
    bool thinking, exact;
    int rope; /* of talk_ropes */
};
extern const char *const talk_ropes[]; /* "as-config", "as-mlx-lm" */
// clang-format off
#define CLI_KV_OPTIONS(T, bits, group, start)                                                      \
    IG_OPT_INT(T, bits, "kv-bits", 0, "B", "32", 4, 32, "of keys and values in the cache: 32, 16 (f16), 8 or 4"), \
    IG_OPT_INT(T, group, "kv-group-size", 0, "N", "64", 32, 128, "of 8 or 4 bits: numbers that share a scale"), \
    IG_OPT_INT(T, start, "quantized-kv-start", 0, "N", "0", 0, 1e9, "keep 32 bits until N tokens are there, then --kv-bits for all")
#define TALK_OPTIONS(T)                                                                            \
    IG_OPT_INT(T, talk.tokens_max, "max-tokens", 'm', "N", "256", 1, 1e9, "tokens to write at most"), \
    IG_OPT_REAL(T, talk.temperature, "temp", 't', "T", "0", 0, 100, "temperature; 0: the likeliest token"), \
    IG_OPT_REAL(T, talk.top_p, "top-p", 0, "P", "1", 0, 1, "likeliest tokens that hold this probability"), \
    IG_OPT_INT(T, talk.top_k, "top-k", 0, "K", "0", 0, 1e9, "the K likeliest tokens; 0: all"),      \
    IG_OPT_REAL(T, talk.min_p, "min-p", 0, "P", "0", 0, 1, "at least P times the likeliest one's probability"), \
    IG_OPT_REAL(T, talk.repetition_penalty, "repetition-penalty", 0, "R", "1", 0.01, 100, "over the last 20 tokens; 1: off"), \
    IG_OPT_REAL(T, talk.presence_penalty, "presence-penalty", 0, "R", "0", -100, 100, "off the logit of a token among them"), \
    IG_OPT_REAL(T, talk.frequency_penalty, "frequency-penalty", 0, "R", "0", -100, 100, "and for each time that it is there"), \
    IG_OPT_REAL(T, talk.xtc_probability, "xtc-probability", 0, "P", "0", 0, 1, "of leaving out the likeliest tokens"), \
    IG_OPT_REAL(T, talk.xtc_threshold, "xtc-threshold", 0, "P", "0.1", 0, 0.5, "which are above this, but for the least of them"), \
    IG_OPT_TEXT(T, talk.stop, "stop", 0, "TEXT", NULL, "end the reply before this text; or a JSON list of them"), \
    IG_OPT_INT(T, talk.seed, "seed", 0, "N", "0", 0, 0, "same seed, same text"),                    \
    IG_OPT_FLAG_ON(T, talk.thinking, "thinking", 0, "ask the template for a reply without thinking"), \
    IG_OPT_FLAG(T, talk.exact, "exact", 0, "f32 arithmetic: slower, and the same on every processor up to rounding"), \
    IG_OPT_INT(T, talk.context, "context", 0, "N", "0", 0, 1e9, "tokens to make room for; 0: the model's own"), \
    IG_OPT_INT(T, talk.max_kv, "max-kv", 0, "N", "0", 0, 1e9, "a cache of N tokens that rotates: the first 4 and the last ones are seen"), \
    CLI_KV_OPTIONS(T, talk.kv_bits, talk.kv_group, talk.kv_start),                                                 \
    IG_OPT_CHOICE(T, talk.rope, "rope", 0, talk_ropes, "as-config", "as-mlx-lm: without the scaling that it ignores"), \
    IG_OPT_INT(T, talk.threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core")
// clang-format on

/* Whether texts depend on how a prompt is cut: with caches that rotate, or change their form. Then
 * pieces are mlx-lm's: of so many tokens, and the last token alone. */
#define TALK_PIECE 2048
bool talk_pieces_count(const struct talk_options *options);

#define TALK_STOPS_MAX    16
#define TALK_TOGETHER_MAX 64
struct talk {
    struct talk_options options;
    struct ig_model *model;
    struct ig_tokenizer *tokenizer;
    struct ig_template *tmpl; /* NULL when the folder has none, or raw */
    struct ig_session *session;
    struct ig_stream_decoder *stream;
    struct ig_json_doc *stop_doc;
    struct ig_slice stops[TALK_STOPS_MAX];
    struct ig_reply_text cut; /* the reply up to a stop string */
    struct ig_ids spared;     /* by XTC: tokens that end a line or the reply */
    struct ig_ids ids;        /* of the prompt, then of the reply */
    size_t prompt_count;      /* of ids */
    double *logprobs;         /* of the reply's tokens */
    size_t logprob_cap;
    struct ig_buf text; /* the reply */
    bool forked;        /* all but the session is another's */
    bool deferred;      /* replies are begun only: talk_together writes them */
    struct ig_ids held; /* deferred: what the session had read before */
    bool thinks;        /* the prompt has begun a thought */
    size_t top_count;   /* likeliest tokens to keep for each of the reply's */
    struct ig_choice *tops;
    FILE *to;                                        /* where the reply streams; NULL: nowhere */
    void (*show)(void *user, struct ig_slice fresh); /* instead of that, where it is set */
    void *user;
    size_t reused; /* tokens of the prompt that the session held before */
    double read_seconds;
    struct ig_generate_report report;
    struct ig_err stream_err; /* of the callback */
};

IG_MUST_CHECK bool talk_open(const char *model, const struct talk_options *options, bool raw,
                             struct talk *talk, struct ig_err *err);
void talk_close(struct talk *talk);
/* messages: a JSON array's text, [{"role": .., "content": ..}, ..]. Renders, reuses what the
 * session already holds of it, generates. */
IG_MUST_CHECK bool talk_reply(struct talk *talk, struct ig_slice messages, struct ig_err *err);
/* Takes over what a file holds of a session of this model; writes what this one holds. */
IG_MUST_CHECK bool talk_load(struct talk *talk, const char *path, struct ig_err *err);
IG_MUST_CHECK bool talk_save(const struct talk *talk, const char *path, struct ig_err *err);
/* Generates after text as it is. */
IG_MUST_CHECK bool talk_continue(struct talk *talk, struct ig_slice prompt, struct ig_err *err);
/* Appends one message object to an array under construction: "[{..}" without the closing bracket.
 */
void talk_message(struct ig_buf *messages, const char *role, struct ig_slice content);
/* Another talk with the same model, tokenizer and template, and a session of its own; closed before
 * `from`. */
IG_MUST_CHECK bool talk_fork(struct talk *from, struct talk *out, struct ig_err *err);
/* Writes the replies that count talks have begun, a token of each in one pass over the weights. */
IG_MUST_CHECK bool talk_together(struct talk *talks, size_t count, struct ig_err *err);
/* For talk_together: what happens to a token, and how tokens are sampled. False: no more. */
bool talk_hear(struct talk *talk, int32_t token, double logprob, const struct ig_choice *top);
struct ig_sampling talk_sampling(const struct talk *talk);
/* The end of the text, once there are no more tokens. */
IG_MUST_CHECK bool talk_end(struct talk *talk, struct ig_err *err);
/* Why the reply ended: "stop" or "length". */
const char *talk_finish(const struct talk *talk);
/* "prompt 12 tokens, 345.6 tokens/s; ..." on stderr. */
void talk_print_rates(const struct talk *talk);
