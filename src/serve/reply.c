/* SPDX-License-Identifier: Apache-2.0
 * reply — one request from its body to its last piece of text. */
#include "serve/serve_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define REPLY_TAKE 64 /* tokens at a time */

static void make_id(struct serve_reply *reply)
{
    unsigned char bytes[12];
    size_t at = (size_t)snprintf(reply->id, sizeof reply->id, "%s-",
                                 reply->request.chat ? "chatcmpl" : "cmpl");
    if (getentropy(bytes, sizeof bytes) != 0) memset(bytes, 0, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        at += (size_t)snprintf(reply->id + at, sizeof reply->id - at, "%02x", bytes[i]);
    reply->created = (int64_t)time(NULL);
}

static bool check_model(const struct ig_server *server, struct ig_slice asked,
                        struct serve_error *error)
{
    if (asked.len == 0 || ig_slice_is(asked, server->name) || ig_slice_is(asked, "default"))
        return true;
    serve__refuse(error, 404, "model", "the model '" IG_SLICE_FMT "' is not here; '%s' is",
                  IG_SLICE_ARG(asked), server->name);
    error->code = "model_not_found";
    return false;
}

static bool check_biases(const struct ig_server *server, const struct serve_request *request,
                         struct serve_error *error)
{
    int64_t vocab = ig_model_shape(server->model)->vocab;
    for (size_t i = 0; i < request->sampling.bias_count; i++)
        if (request->sampling.biases[i].token >= vocab)
            return serve__refuse(error, 400, "logit_bias",
                                 "'logit_bias': token %d is beyond the vocabulary of %lld",
                                 (int)request->sampling.biases[i].token, (long long)vocab);
    return true;
}

/* How many tokens it may get. */
static bool find_room(struct serve_reply *r, struct serve_error *error)
{
    int64_t context = serve__engine_context(r->server->engine);
    int64_t most = r->server->options.tokens_max, asked = r->request.tokens_max;
    if (r->prompt.count == 0)
        return serve__refuse(error, 400, r->request.chat ? "messages" : "prompt",
                             "the prompt is empty");
    if ((int64_t)r->prompt.count >= context) {
        serve__refuse(error, 400, r->request.chat ? "messages" : "prompt",
                      "the prompt has %zu tokens; the context is %lld, and the reply needs room",
                      r->prompt.count, (long long)context);
        error->code = "context_length_exceeded";
        return false;
    }
    int64_t room = context - (int64_t)r->prompt.count + 1;
    if (most <= 0 || most > room) most = room;
    r->job.tokens_max = asked > 0 && asked < most ? asked : most;
    return true;
}

bool serve__reply_begin(struct ig_server *server, struct ig_slice body, bool chat,
                        struct serve_reply *reply, struct serve_error *error)
{
    struct serve_reply *r = reply;
    struct ig_err err = {0};
    bool thinks = false;
    *r = (struct serve_reply){.server = server};
    if (!serve__request_read(body, chat, &server->options.defaults, &r->request, error) ||
        !check_model(server, r->request.model, error) ||
        !check_biases(server, &r->request, error) ||
        !serve__request_prompt(server, &r->request, &r->prompt, &thinks, error) ||
        !find_room(r, error))
        return false;
    if (!ig_stream_new(server->tokenizer, true, &r->decoder, &err))
        return serve__refuse_err(error, &err);
    make_id(r);
    r->text = (struct ig_reply_text){.stops = r->request.stops,
                                     .stop_count = r->request.stop_count,
                                     .plain = !chat,
                                     .tools = r->request.tools != NULL,
                                     .one_call = !r->request.many_calls,
                                     .thinks = thinks};
    r->job.prompt = r->prompt.items;
    r->job.prompt_count = r->prompt.count;
    r->job.sampling = r->request.sampling;
    r->job.top_count = r->request.top_logprobs > 0 ? (size_t)r->request.top_logprobs : 0;
    r->submitted = serve__engine_submit(server->engine, &r->job, error);
    return r->submitted;
}

static bool note(struct serve_reply *r, const struct serve_token *token,
                 const struct ig_choice *tops)
{
    if (r->request.top_logprobs < 0) return true;
    if (r->note_count == r->note_cap) {
        size_t cap = r->note_cap ? r->note_cap * 2 : 64;
        struct serve_note *notes = realloc(r->notes, cap * sizeof *notes);
        if (!notes) return false;
        r->notes = notes;
        struct ig_choice *all = realloc(r->tops, cap * (r->job.top_count + 1) * sizeof *all);
        if (!all) return false;
        r->tops = all;
        r->note_cap = cap;
    }
    memcpy(r->tops + r->note_count * r->job.top_count, tops, r->job.top_count * sizeof *tops);
    r->notes[r->note_count++] = (struct serve_note){*token, r->text_bytes};
    return true;
}

static void give_up(struct serve_reply *r, int status, const char *text)
{
    r->failed = true;
    r->finish = "error";
    serve__refuse(&r->error, status, NULL, "%s", text);
}

/* The tokens one by one, so that a stop string ends the reply at its token. */
static void hear(struct serve_reply *r, const struct serve_taken *taken)
{
    struct ig_buf fresh = {0};
    struct ig_err err = {0};
    for (size_t i = 0; i < taken->count && !r->text.stopped; i++) {
        ig_buf_clear(&fresh);
        r->taken++;
        if (!note(r, &taken->tokens[i], taken->tops + i * r->job.top_count) ||
            !ig_stream_push(r->decoder, taken->tokens[i].id, &fresh, &err) || fresh.failed) {
            give_up(r, 503, "out of memory");
            break;
        }
        r->text_bytes += fresh.len;
        ig_reply_text_push(&r->text, ig_buf_view(&fresh), false);
    }
    ig_buf_release(&fresh);
}

static void end(struct serve_reply *r)
{
    struct ig_buf fresh = {0};
    struct ig_err err = {0};
    switch (r->job.finish) {
    case SERVE_FAILED: give_up(r, 500, r->job.err.text); return;
    case SERVE_CANCELLED: give_up(r, 503, "the server is shutting down"); return;
    case SERVE_LATE: give_up(r, 503, "the request took longer than the server allows"); return;
    default: break;
    }
    if (!ig_stream_flush(r->decoder, &fresh, &err) || fresh.failed) {
        give_up(r, 503, "out of memory");
    } else {
        r->text_bytes += fresh.len;
        ig_reply_text_push(&r->text, ig_buf_view(&fresh), true);
        r->finish = r->job.finish == SERVE_LENGTH && !r->text.stopped ? "length" : "stop";
    }
    ig_buf_release(&fresh);
}

void serve__reply_advance(struct serve_reply *reply, double seconds)
{
    struct serve_reply *r = reply;
    struct serve_token tokens[REPLY_TAKE];
    struct ig_choice tops[REPLY_TAKE * SERVE_TOP_MAX];
    struct serve_taken taken = {tokens, tops, 0, false};
    if (r->finish) return;
    serve__engine_take(r->server->engine, &r->job, r->taken, REPLY_TAKE, seconds, &taken);
    hear(r, &taken);
    if (r->failed) return;
    if (r->text.stopped)
        r->finish = "stop";
    else if (taken.done)
        end(r);
    if (r->text.content.failed || r->text.reasoning.failed || r->text.mid.failed ||
        r->text.held.failed)
        give_up(r, 503, "out of memory");
    if (r->finish && !r->failed && strcmp(r->finish, "stop") == 0 &&
        r->calls + r->text.call_count > 0)
        r->finish = "tool_calls";
}

void serve__reply_release(struct serve_reply *reply)
{
    struct serve_reply *r = reply;
    if (r->submitted) serve__engine_release(r->server->engine, &r->job);
    ig_stream_free(r->decoder);
    ig_reply_text_release(&r->text);
    serve__request_release(&r->request);
    ig_ids_release(&r->prompt);
    free(r->notes);
    free(r->tops);
    *r = (struct serve_reply){0};
}
