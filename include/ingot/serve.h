/* SPDX-License-Identifier: Apache-2.0
 * serve — a model behind HTTP, as OpenAI's API has it, and a chat page at "/".
 *
 * Use:   ig_server_open -> ig_server_run (until its watch asks to stop) -> ig_server_close.
 * Owns:  the model, a session for each request that runs at a time, and the threads.
 * Threads: one owns the engine and steps all running requests together; one for each connection
 *        reads, renders, tokenizes and writes. ig_server_run is the caller's and only waits.
 * Limits: every size, count and wait of a client is bounded by an option below.
 * Endpoints and what they take: docs/serve.md. */
#pragma once
#include "ingot/err.h"
#include "ingot/watch.h"

struct ig_server;

/* What a request gets when it does not say. */
struct ig_serve_defaults {
    double temperature, top_p, min_p;
    int64_t top_k;
    bool thinking; /* false: enable_thinking is false in templates */
};
struct ig_serve_options {
    const char *host;    /* a name or an address; where it is of this machine only, requests that
                            browsers send for other hosts are refused */
    int64_t port;        /* 0: any free one */
    const char *name;    /* of the model in answers; NULL: its folder's */
    const char *api_key; /* NULL: none is asked for */
    const char *origin;  /* another site whose pages may ask, or "*"; NULL: none */
    struct ig_serve_defaults defaults;
    int64_t threads, context;            /* context 0: the model's, at most SERVE_CONTEXT */
    int64_t kv_bits, kv_group, kv_start; /* of caches, as in infer.h */
    int64_t max_kv;      /* not 0: caches of so many tokens that rotate; context bounds requests */
    int64_t cache_bytes; /* of all caches; 0: what they come to */
    bool exact, rope_as_mlx;
    int64_t parallel;   /* requests that run at a time; caches to go on from */
    int64_t queue_max;  /* requests that wait for one */
    int64_t tokens_max; /* of a reply, at most and when the request does not say; 0: the context */
    int64_t body_bytes_max;
    int64_t connections_max;
    double request_seconds; /* from the queue to the last token */
    double idle_seconds;    /* for a header, for a body, and between requests */
    double drain_seconds;   /* that running requests get when the server is asked to stop */
};
#define IG_SERVE_CONTEXT 32768 /* a cache that one talk fills seldom */

/* Opens the model and listens. Strings of options must outlive the server. */
IG_MUST_CHECK bool ig_server_open(const char *model, const struct ig_serve_options *options,
                                  struct ig_server **out, struct ig_err *err);
/* "http://127.0.0.1:8080". */
const char *ig_server_url(const struct ig_server *server);
/* Serves until watch->progress gives false, which is asked ten times a second; then takes no more
 * requests, and returns when those that run have ended or drain_seconds are over. */
IG_MUST_CHECK bool ig_server_run(struct ig_server *server, const struct ig_watch *watch,
                                 struct ig_err *err);
void ig_server_close(struct ig_server *server);
