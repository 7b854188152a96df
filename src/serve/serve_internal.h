/* SPDX-License-Identifier: Apache-2.0
 * serve_internal — what the files of this room share.
 *
 *     connection thread                                        engine thread
 *     http.c: bytes -> request.c: JSON -> prompt.c: ids ------> engine.c: queue, sessions, steps
 *     http.c <- answer.c: JSON, SSE <- reply.c: text <----------------- token ids
 *
 * A job's tokens are the only thing that passes between the two, under the engine's lock. */
#pragma once
#include "base/arena.h"
#include "ingot/chat.h"
#include "ingot/infer.h"
#include "ingot/reply.h"
#include "ingot/serve.h"
#include "ingot/token.h"
#include <pthread.h>
#include <stdatomic.h>

#define SERVE_STOPS_MAX  16   /* OpenAI allows 4; others more */
#define SERVE_STOP_BYTES 1024 /* of one: as much text may be held back */
#define SERVE_TOP_MAX    20   /* OpenAI's limit of top_logprobs */
#define SERVE_BIASES_MAX 1024

/* ---- errors, as OpenAI writes them ---- */

struct serve_error {
    int status;        /* of HTTP */
    const char *param; /* the member of the request that is wrong, or NULL */
    const char *code;  /* a word for programs, or NULL */
    char text[IG_ERR_TEXT_MAX];
};
/* Always false. */
bool serve__refuse(struct serve_error *error, int status, const char *param, const char *format,
                   ...) IG_PRINTF(4, 5);
/* An error of the library, whose code decides the status. Always false. */
bool serve__refuse_err(struct serve_error *error, const struct ig_err *err);
void serve__write_error(struct ig_buf *out, const struct serve_error *error);

/* ---- request.c ---- */

struct serve_request {
    struct ig_arena arena; /* of the tree and of what is made of it */
    const struct ig_json *root;
    bool chat; /* else a plain completion */
    bool stream, include_usage;
    struct ig_slice model; /* as asked for; may be empty */
    int64_t tokens_max;    /* 0: not said */
    struct ig_sampling sampling;
    int64_t top_logprobs; /* -1: no logprobs */
    struct ig_slice stops[SERVE_STOPS_MAX];
    size_t stop_count;
    const struct ig_json *messages, *tools, *kwargs; /* tools NULL: none may be called */
    const struct ig_json *prompt;                    /* a string, or an array of ids */
    bool add_generation_prompt, continue_final_message;
    bool many_calls; /* of tools, in one reply */
};
/* Reads a body. The request must be released whether or not this succeeds. */
IG_MUST_CHECK bool serve__request_read(struct ig_slice body, bool chat,
                                       const struct ig_serve_defaults *defaults,
                                       struct serve_request *out, struct serve_error *error);
void serve__request_release(struct serve_request *request);

/* ---- prompt.c ---- */

/* The template's variables as JSON: messages whose content is a string, tool calls whose arguments
 * are objects, and the developer's role as `developer`. */
IG_MUST_CHECK bool serve__request_variables(const struct serve_request *request, bool thinking,
                                            const char *developer, const struct ig_json **out,
                                            struct serve_error *error);
/* Renders and tokenizes. thinks: the prompt ends inside a thought. */
IG_MUST_CHECK bool serve__request_prompt(const struct ig_server *server,
                                         const struct serve_request *request, struct ig_ids *ids,
                                         bool *thinks, struct serve_error *error);

/* ---- engine.c ---- */

enum serve_state { SERVE_WAITS, SERVE_RUNS, SERVE_DONE };
enum serve_finish { SERVE_STOP, SERVE_LENGTH, SERVE_LATE, SERVE_CANCELLED, SERVE_FAILED };

struct serve_token {
    int32_t id;
    float logprob;
};
struct serve_job {
    /* the caller's, constant once it is submitted */
    const int32_t *prompt;
    size_t prompt_count;
    int64_t tokens_max;
    struct ig_sampling sampling;
    size_t top_count;
    /* under the engine's lock */
    enum serve_state state;
    bool cancelled;
    struct serve_token *tokens;
    struct ig_choice *tops; /* top_count for each token */
    size_t token_count, token_cap;
    size_t cached; /* tokens of the prompt that were not computed again */
    enum serve_finish finish;
    struct ig_err err;
    double submitted, started, first; /* times */
    pthread_cond_t changed;
    /* the engine's */
    struct ig_sampler *sampler;
    struct serve_slot *slot;
    struct serve_job *next;
    size_t fed;
    int32_t token; /* picked, not fed */
};

struct serve_engine;
IG_MUST_CHECK bool serve__engine_new(struct ig_model *model, const struct ig_serve_options *options,
                                     struct serve_engine **out, struct ig_err *err);
/* Ends all jobs, and takes no more. */
void serve__engine_stop(struct serve_engine *engine);
void serve__engine_free(struct serve_engine *engine);
int64_t serve__engine_context(const struct serve_engine *engine);
/* Queues a job; refuses when the queue is full. */
IG_MUST_CHECK bool serve__engine_submit(struct serve_engine *engine, struct serve_job *job,
                                        struct serve_error *error);
/* Waits until there are more than `have` tokens, the job is done, or `seconds` are over; copies up
 * to `most` of the tokens after those, and their tops, and says how many. */
struct serve_taken {
    struct serve_token *tokens;
    struct ig_choice *tops;
    size_t count;
    bool done; /* and there are no more */
};
void serve__engine_take(struct serve_engine *engine, struct serve_job *job, size_t have,
                        size_t most, double seconds, struct serve_taken *out);
/* Ends the job, and returns when the engine has let it go. */
void serve__engine_release(struct serve_engine *engine, struct serve_job *job);
/* Whether no job waits or runs. */
bool serve__engine_idle(struct serve_engine *engine);

/* Seconds from the queue to the first token: upper bounds of a histogram's buckets. */
#define SERVE_BUCKETS 10
extern const double serve__buckets[SERVE_BUCKETS];
struct serve_stats {
    uint64_t jobs, prompt_tokens, cached_tokens, tokens, steps, stepped, finishes[5];
    uint64_t first_count, first_buckets[SERVE_BUCKETS + 1];
    double first_sum;
    int64_t waiting, running;
    size_t cache_bytes; /* that caches take */
};
void serve__engine_stats(struct serve_engine *engine, struct serve_stats *out);

/* ---- reply.c ---- */

/* A token that has been taken, where logprobs are asked for. */
struct serve_note {
    struct serve_token token;
    size_t start; /* of its text */
};
struct serve_reply {
    struct ig_server *server;
    struct serve_request request;
    struct ig_ids prompt;
    struct serve_job job;
    bool submitted;
    struct ig_stream_decoder *decoder;
    struct ig_reply_text text;
    size_t text_bytes; /* decoded so far */
    size_t taken;      /* tokens */
    size_t calls;      /* of tools, so far */
    struct serve_note *notes;
    struct ig_choice *tops;             /* of notes */
    size_t note_count, note_cap, noted; /* noted: how many have been told of */
    char id[40];
    int64_t created;
    const char *finish; /* "stop" and so on; NULL: goes on */
    bool failed;
    struct serve_error error;
};
/* Reads a request and queues it. The reply must be released whether or not this succeeds. */
IG_MUST_CHECK bool serve__reply_begin(struct ig_server *server, struct ig_slice body, bool chat,
                                      struct serve_reply *reply, struct serve_error *error);
/* Waits at most so many seconds for tokens and turns them into text. */
void serve__reply_advance(struct serve_reply *reply, double seconds);
void serve__reply_release(struct serve_reply *reply);

/* ---- answer.c: JSON for clients ---- */

/* The whole answer. */
void serve__write_answer(struct serve_reply *reply, struct ig_buf *out);
/* The first event of a stream; what has come since the last one, if anything; the last events. */
void serve__write_opening(struct serve_reply *reply, struct ig_buf *out);
void serve__write_delta(struct serve_reply *reply, struct ig_buf *out);
void serve__write_ending(struct serve_reply *reply, struct ig_buf *out);
void serve__write_models(const struct ig_server *server, bool one, struct ig_buf *out);
void serve__write_metrics(struct ig_server *server, struct ig_buf *out);

/* ---- serve.c ---- */

#define SERVE_STATUSES 600
struct serve_http;
struct ig_server {
    struct ig_serve_options options;
    char name[256], url[300];
    struct ig_model *model;
    struct ig_tokenizer *tokenizer;
    struct ig_template *tmpl, *tmpl_tools; /* NULL: the folder has none */
    struct serve_engine *engine;
    struct serve_http *http;
    int64_t created;
    atomic_bool draining;
    atomic_ulong answers[SERVE_STATUSES]; /* by status */
};

/* ---- http.c ---- */
IG_MUST_CHECK bool serve__http_new(struct ig_server *server, struct serve_http **out,
                                   struct ig_err *err);
/* Closes connections that have kept the server waiting. */
void serve__http_tick(struct serve_http *http);
/* Takes no more connections. */
void serve__http_quiesce(struct serve_http *http);
/* Requests that are being answered. */
int64_t serve__http_busy(struct serve_http *http);
/* Ends all connections. */
void serve__http_free(struct serve_http *http);

/* ---- page.c, made of page.html ---- */
extern const char serve__page[];
extern const size_t serve__page_bytes;
