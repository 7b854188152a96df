/* SPDX-License-Identifier: Apache-2.0
 * serve — a model behind HTTP. Ctrl-C, or SIGTERM, lets running requests end; the second one does
 * not. */
#include "cli.h"
#include "ingot/serve.h"
#include "talk.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <sys/resource.h>

/* Buffers from this size on are the system's again as soon as they are freed. glibc raises the
 * limit to that of the largest that was freed, and then a few bodies of 16 MB stay in its pools for
 * good.
 */
#define LARGE_BUFFER (1 << 20)

struct args {
    struct cli_common common;
    const char *model;
    struct ig_serve_options serve;
    int rope; /* of talk_ropes */
};

// clang-format off
static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, model, "MODEL", "a model folder, plain or quantised"),
    IG_OPT_TEXT(struct args, serve.host, "host", 0, "HOST", "127.0.0.1", "where to listen; 0.0.0.0: everywhere"),
    IG_OPT_INT(struct args, serve.port, "port", 'p', "N", "8080", 0, 65535, "0: any free one"),
    IG_OPT_TEXT(struct args, serve.api_key, "api-key", 0, "KEY", NULL, "ask for it; or INGOT_API_KEY, which others do not see"),
    IG_OPT_TEXT(struct args, serve.name, "name", 0, "NAME", NULL, "of the model in answers; else its folder's"),
    IG_OPT_TEXT(struct args, serve.origin, "allow-origin", 0, "SITE", NULL, "https://HOST whose pages may ask; '*': all"),
    IG_OPT_INT(struct args, serve.context, "context", 0, "N", "0", 0, 1e9, "tokens of a request and its reply; 0: the model's, 32768 at most"),
    IG_OPT_INT(struct args, serve.max_kv, "max-kv", 0, "N", "0", 0, 1e9, "caches of N tokens that rotate: the first 4 and the last ones are seen"),
    IG_OPT_SIZE(struct args, serve.cache_bytes, "cache-memory", 0, "SIZE", "0", "for all caches; requests wait for it; 0: no limit"),
    IG_OPT_INT(struct args, serve.parallel, "parallel", 0, "N", "8", 1, 256, "requests that run at a time, and caches that are kept"),
    IG_OPT_INT(struct args, serve.queue_max, "queue", 0, "N", "64", 0, 1e6, "requests that may wait"),
    IG_OPT_INT(struct args, serve.tokens_max, "max-tokens", 'm', "N", "0", 0, 1e9, "of a reply, at most; 0: what the context has room for"),
    IG_OPT_REAL(struct args, serve.defaults.temperature, "temp", 't', "T", "0", 0, 100, "where the request does not say; so are these:"),
    IG_OPT_REAL(struct args, serve.defaults.top_p, "top-p", 0, "P", "1", 0, 1, "likeliest tokens that hold this probability"),
    IG_OPT_INT(struct args, serve.defaults.top_k, "top-k", 0, "K", "0", 0, 1e9, "the K likeliest tokens; 0: all"),
    IG_OPT_REAL(struct args, serve.defaults.min_p, "min-p", 0, "P", "0", 0, 1, "at least P times the likeliest one's probability"),
    IG_OPT_FLAG_ON(struct args, serve.defaults.thinking, "thinking", 0, "ask the template for replies without thinking"),
    IG_OPT_SIZE(struct args, serve.body_bytes_max, "max-body", 0, "SIZE", "16M", "of a request"),
    IG_OPT_INT(struct args, serve.connections_max, "connections", 0, "N", "256", 1, 60000, "open at a time"),
    IG_OPT_REAL(struct args, serve.request_seconds, "request-timeout", 0, "S", "600", 0.1, 1e9, "seconds from the queue to the last token"),
    IG_OPT_REAL(struct args, serve.idle_seconds, "idle-timeout", 0, "S", "30", 0.1, 1e9, "seconds for a header, for a body, and between requests"),
    IG_OPT_REAL(struct args, serve.drain_seconds, "drain-timeout", 0, "S", "30", 0, 1e9, "seconds that running requests get at the end"),
    CLI_KV_OPTIONS(struct args, serve.kv_bits, serve.kv_group, serve.kv_start),
    IG_OPT_FLAG(struct args, serve.exact, "exact", 0, "f32 arithmetic: slower"),
    IG_OPT_CHOICE(struct args, rope, "rope", 0, talk_ropes, "as-config", "as-mlx-lm: without the scaling that it ignores"),
    IG_OPT_INT(struct args, serve.threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};
// clang-format on

/* Descriptors for all connections, where the system lets us: many shells start with few. */
static void raise_limit(int64_t connections)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)connections + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want) return;
    limit.rlim_cur =
        limit.rlim_max == RLIM_INFINITY || limit.rlim_max > want ? want : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* else fewer connections are taken */
}

static bool go_on(void *user, const struct ig_progress *progress)
{
    (void)user;
    (void)progress;
    return !cli_interrupted();
}

static bool announce(const struct args *args, const struct ig_server *server, struct ig_err *err)
{
    const char *url = ig_server_url(server);
    if (args->common.json) {
        struct ig_buf text = {0};
        struct ig_json_writer w = {.out = &text};
        ig_json_open(&w, '{');
        ig_json_key(&w, "url");
        ig_json_put_text(&w, ig_slice_of(url));
        ig_json_close(&w, '}');
        bool ok = cli_print_json(&text, err);
        ig_buf_release(&text);
        if (!ok) return false;
    } else {
        printf("%s\n", url);
    }
    if (!args->common.quiet)
        fprintf(stderr, "OpenAI's API at %s/v1, a chat page at %s/; Ctrl-C ends\n", url, url);
    return fflush(stdout) == 0 || ig_err_set(err, IG_ERR_IO, "cannot write to standard output");
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    (void)watch;
    const struct args *args = arguments;
    const struct ig_watch own = {.progress = go_on};
    struct ig_serve_options serve = args->serve;
    struct ig_server *server = NULL;
    serve.rope_as_mlx = args->rope == 1;
    if (!serve.api_key) serve.api_key = getenv("INGOT_API_KEY");
    if (serve.api_key && !*serve.api_key) serve.api_key = NULL;
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER);
#endif
    raise_limit(serve.connections_max);
    cli_interrupt_arm();
    bool ok = ig_server_open(args->model, &serve, &server, err) && announce(args, server, err) &&
              ig_server_run(server, &own, err);
    ig_server_close(server);
    return ok;
}

const struct cli_command cli_serve = {
    "serve",
    "answer requests over HTTP, as OpenAI's API",
    "ingot serve MODEL --port 8080 --temp 0.7",
    options,
    sizeof(struct args),
    run,
};
