/* SPDX-License-Identifier: Apache-2.0
 * serve — a server's life: open the model, listen, wait, drain. */
#include "serve/serve_internal.h"

#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LAST_WORDS_SECONDS 1.0 /* that clients get to read that their reply was cut off */

/* The last part of the folder's path. */
static void find_name(struct ig_server *s, const char *model)
{
    char real[PATH_MAX];
    const char *path = realpath(model, real) ? real : model, *slash = strrchr(path, '/');
    const char *name = s->options.name ? s->options.name : slash && slash[1] ? slash + 1 : path;
    snprintf(s->name, sizeof s->name, "%.255s", name);
}

static bool open_templates(struct ig_server *s, const char *model, struct ig_err *err)
{
    return !ig_template_exists(model) || (ig_template_open(model, false, &s->tmpl, err) &&
                                          ig_template_open(model, true, &s->tmpl_tools, err));
}

bool ig_server_open(const char *model, const struct ig_serve_options *options,
                    struct ig_server **out, struct ig_err *err)
{
    struct ig_server *s = calloc(1, sizeof *s);
    if (!s) return ig_err_nomem(err);
    s->options = *options;
    s->created = (int64_t)time(NULL);
    find_name(s, model);
    const struct ig_model_options how = {.threads = (int)options->threads,
                                         .exact = options->exact,
                                         .rope_as_mlx = options->rope_as_mlx};
    bool ok = ig_model_open_as(model, &how, &s->model, err) &&
              ig_tokenizer_open(model, &s->tokenizer, err) && open_templates(s, model, err) &&
              serve__engine_new(s->model, options, &s->engine, err) &&
              serve__http_new(s, &s->http, err);
    if (ok)
        *out = s;
    else
        ig_server_close(s);
    return ok;
}

const char *ig_server_url(const struct ig_server *server)
{
    return server->url;
}

static void pause_shortly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

bool ig_server_run(struct ig_server *server, const struct ig_watch *watch, struct ig_err *err)
{
    (void)err;
    const struct ig_progress nothing = {.phase = "serve", .unit = "requests"};
    while (!watch || !watch->progress || watch->progress(watch->user, &nothing)) {
        serve__http_tick(server->http);
        pause_shortly();
    }
    atomic_store(&server->draining, true);
    serve__http_quiesce(server->http);
    double until = ig_clock_seconds() + server->options.drain_seconds;
    while (ig_clock_seconds() < until &&
           (!serve__engine_idle(server->engine) || serve__http_busy(server->http) > 0)) {
        serve__http_tick(server->http);
        pause_shortly();
    }
    return true;
}

void ig_server_close(struct ig_server *server)
{
    struct ig_server *s = server;
    if (!s) return;
    if (s->engine) serve__engine_stop(s->engine); /* replies end, and so do their connections */
    double until = ig_clock_seconds() + LAST_WORDS_SECONDS;
    while (s->http && serve__http_busy(s->http) > 0 && ig_clock_seconds() < until)
        pause_shortly(); /* while they say so */
    serve__http_free(s->http);
    serve__engine_free(s->engine);
    ig_template_close(s->tmpl);
    ig_template_close(s->tmpl_tools);
    ig_tokenizer_close(s->tokenizer);
    ig_model_close(s->model);
    free(s);
}
