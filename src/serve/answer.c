/* SPDX-License-Identifier: Apache-2.0
 * answer — what clients read: OpenAI's JSON, whole or as server-sent events; Prometheus's text. */
#include "serve/serve_internal.h"

#include <stdio.h>
#include <unistd.h>

static void put_error(struct ig_json_writer *w, const struct serve_error *error)
{
    const char *type = error->status == 401   ? "authentication_error"
                       : error->status == 403 ? "permission_error"
                       : error->status == 429 ? "rate_limit_error"
                       : error->status >= 500 ? "server_error"
                                              : "invalid_request_error";
    ig_json_key(w, "error");
    ig_json_open(w, '{');
    ig_json_add_text(w, "message", error->text);
    ig_json_add_text(w, "type", type);
    ig_json_add_text(w, "param", error->param);
    ig_json_add_text(w, "code", error->code);
    ig_json_close(w, '}');
}

void serve__write_error(struct ig_buf *out, const struct serve_error *error)
{
    struct ig_json_writer w = {.out = out};
    ig_json_open(&w, '{');
    put_error(&w, error);
    ig_json_close(&w, '}');
}

/* ---- logprobs ---- */

static void token_text(const struct serve_reply *r, int32_t id, struct ig_buf *out)
{
    struct ig_err err;
    ig_buf_clear(out);
    if (!ig_tokenizer_decode(r->server->tokenizer, &id, 1, false, out, &err)) ig_buf_clear(out);
}

/* "token", "logprob" and "bytes"; null bytes where the token is a part of a character. */
static void put_token(const struct serve_reply *r, struct ig_json_writer *w, int32_t id,
                      double logprob)
{
    struct ig_buf text = {0};
    token_text(r, id, &text);
    ig_json_key(w, "token");
    ig_json_put_text(w, ig_buf_view(&text));
    ig_json_add_real(w, "logprob", logprob);
    ig_json_key(w, "bytes");
    if (ig_slice_find(ig_buf_view(&text), ig_slice_of("\xEF\xBF\xBD"))) {
        ig_json_put_null(w);
    } else {
        ig_json_open(w, '[');
        for (size_t i = 0; i < text.len; i++)
            ig_json_put_int(w, (unsigned char)text.data[i]);
        ig_json_close(w, ']');
    }
    ig_buf_release(&text);
}

/* Notes up to this one may be told of: their text has come. */
static size_t tellable(const struct serve_reply *r)
{
    size_t n = r->noted;
    if (r->finish && !r->text.stopped) return r->note_count;
    while (n < r->note_count && r->notes[n].start < r->text.passed)
        n++;
    return n;
}

static void put_chat_logprobs(struct serve_reply *r, struct ig_json_writer *w, size_t end)
{
    ig_json_open(w, '{');
    ig_json_key(w, "content");
    ig_json_open(w, '[');
    for (size_t i = r->noted; i < end; i++) {
        const struct ig_choice *tops = r->tops + i * r->job.top_count;
        ig_json_open(w, '{');
        put_token(r, w, r->notes[i].token.id, (double)r->notes[i].token.logprob);
        ig_json_key(w, "top_logprobs");
        ig_json_open(w, '[');
        for (size_t t = 0; t < r->job.top_count; t++) {
            ig_json_open(w, '{');
            put_token(r, w, tops[t].token, (double)tops[t].logprob);
            ig_json_close(w, '}');
        }
        ig_json_close(w, ']');
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
    ig_json_key(w, "refusal");
    ig_json_put_null(w);
    ig_json_close(w, '}');
}

static void put_top(const struct serve_reply *r, struct ig_json_writer *w,
                    const struct ig_choice *tops)
{
    struct ig_buf text = {0};
    ig_json_open(w, '{');
    for (size_t t = 0; t < r->job.top_count; t++) {
        token_text(r, tops[t].token, &text);
        ig_json_add_real(w, text.data ? text.data : "", (double)tops[t].logprob);
    }
    ig_json_close(w, '}');
    ig_buf_release(&text);
}

static void put_plain_logprobs(struct serve_reply *r, struct ig_json_writer *w, size_t end)
{
    static const char *const lists[] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    struct ig_buf text = {0};
    ig_json_open(w, '{');
    for (int list = 0; list < 4; list++) {
        ig_json_key(w, lists[list]);
        ig_json_open(w, '[');
        for (size_t i = r->noted; i < end; i++) {
            const struct serve_note *n = &r->notes[i];
            if (list == 0) {
                token_text(r, n->token.id, &text);
                ig_json_put_text(w, ig_buf_view(&text));
            } else if (list == 1) {
                ig_json_put_real(w, (double)n->token.logprob);
            } else if (list == 2) {
                put_top(r, w, r->tops + i * r->job.top_count);
            } else {
                ig_json_put_int(w, (int64_t)n->start);
            }
        }
        ig_json_close(w, ']');
    }
    ig_json_close(w, '}');
    ig_buf_release(&text);
}

static void put_logprobs(struct serve_reply *r, struct ig_json_writer *w)
{
    size_t end = tellable(r);
    ig_json_key(w, "logprobs");
    if (r->request.top_logprobs < 0 || end == r->noted)
        ig_json_put_null(w);
    else if (r->request.chat)
        put_chat_logprobs(r, w, end);
    else
        put_plain_logprobs(r, w, end);
    r->noted = end;
}

/* ---- the parts of an answer ---- */

static void put_head(const struct serve_reply *r, struct ig_json_writer *w, bool chunk)
{
    const char *chat = chunk ? "chat.completion.chunk" : "chat.completion";
    ig_json_add_text(w, "id", r->id);
    ig_json_add_text(w, "object", r->request.chat ? chat : "text_completion");
    ig_json_add_int(w, "created", r->created);
    ig_json_add_text(w, "model", r->server->name);
    ig_json_add_text(w, "system_fingerprint", "ingot-" INGOT_VERSION);
}

static void put_usage(const struct serve_reply *r, struct ig_json_writer *w)
{
    ig_json_key(w, "usage");
    ig_json_open(w, '{');
    ig_json_add_int(w, "prompt_tokens", (int64_t)r->prompt.count);
    ig_json_add_int(w, "completion_tokens", (int64_t)r->taken);
    ig_json_add_int(w, "total_tokens", (int64_t)(r->prompt.count + r->taken));
    ig_json_key(w, "prompt_tokens_details");
    ig_json_open(w, '{');
    ig_json_add_int(w, "cached_tokens", (int64_t)r->job.cached);
    ig_json_close(w, '}');
    ig_json_close(w, '}');
}

static void put_calls(struct serve_reply *r, struct ig_json_writer *w, bool numbered)
{
    ig_json_key(w, "tool_calls");
    ig_json_open(w, '[');
    for (size_t i = 0; i < r->text.call_count; i++) {
        char id[64];
        snprintf(id, sizeof id, "call_%.24s_%zu", strchr(r->id, '-') + 1, r->calls);
        ig_json_open(w, '{');
        if (numbered) ig_json_add_int(w, "index", (int64_t)r->calls);
        ig_json_add_text(w, "id", id);
        ig_json_add_text(w, "type", "function");
        ig_json_key(w, "function");
        ig_json_open(w, '{');
        ig_json_key(w, "name");
        ig_json_put_text(w, ig_buf_view(&r->text.calls[i].name));
        ig_json_key(w, "arguments");
        ig_json_put_text(w, ig_buf_view(&r->text.calls[i].arguments));
        ig_json_close(w, '}');
        ig_json_close(w, '}');
        r->calls++;
    }
    ig_json_close(w, ']');
}

static void put_message(struct serve_reply *r, struct ig_json_writer *w)
{
    const struct ig_reply_text *t = &r->text;
    ig_json_key(w, "message");
    ig_json_open(w, '{');
    ig_json_add_text(w, "role", "assistant");
    ig_json_key(w, "content");
    if (t->content.len == 0 && t->call_count > 0)
        ig_json_put_null(w);
    else
        ig_json_put_text(w, ig_buf_view(&t->content));
    if (t->reasoning.len > 0) {
        ig_json_key(w, "reasoning_content");
        ig_json_put_text(w, ig_buf_view(&t->reasoning));
    }
    if (t->call_count > 0) put_calls(r, w, false);
    ig_json_close(w, '}');
}

void serve__write_answer(struct serve_reply *reply, struct ig_buf *out)
{
    struct ig_json_writer w = {.out = out};
    ig_json_open(&w, '{');
    put_head(reply, &w, false);
    ig_json_key(&w, "choices");
    ig_json_open(&w, '[');
    ig_json_open(&w, '{');
    ig_json_add_int(&w, "index", 0);
    if (reply->request.chat) {
        put_message(reply, &w);
    } else {
        ig_json_key(&w, "text");
        ig_json_put_text(&w, ig_buf_view(&reply->text.content));
    }
    put_logprobs(reply, &w);
    ig_json_add_text(&w, "finish_reason", reply->finish);
    ig_json_close(&w, '}');
    ig_json_close(&w, ']');
    put_usage(reply, &w);
    ig_json_close(&w, '}');
}

/* ---- events ---- */

enum part { PART_ROLE, PART_REASONING, PART_CONTENT, PART_CALLS, PART_END };

static void put_delta(struct serve_reply *r, struct ig_json_writer *w, enum part part)
{
    if (!r->request.chat) {
        ig_json_key(w, "text");
        ig_json_put_text(w, part == PART_CONTENT ? ig_buf_view(&r->text.content) : ig_slice_of(""));
        return;
    }
    ig_json_key(w, "delta");
    ig_json_open(w, '{');
    if (part == PART_ROLE) {
        ig_json_add_text(w, "role", "assistant");
        ig_json_add_text(w, "content", "");
    } else if (part == PART_REASONING) {
        ig_json_key(w, "reasoning_content");
        ig_json_put_text(w, ig_buf_view(&r->text.reasoning));
    } else if (part == PART_CONTENT) {
        ig_json_key(w, "content");
        ig_json_put_text(w, ig_buf_view(&r->text.content));
    } else if (part == PART_CALLS) {
        put_calls(r, w, true);
    }
    ig_json_close(w, '}');
}

static void write_event(struct serve_reply *r, struct ig_buf *out, enum part part)
{
    struct ig_json_writer w = {.out = out};
    ig_buf_text(out, "data: ");
    ig_json_open(&w, '{');
    put_head(r, &w, true);
    ig_json_key(&w, "choices");
    ig_json_open(&w, '[');
    ig_json_open(&w, '{');
    ig_json_add_int(&w, "index", 0);
    put_delta(r, &w, part);
    put_logprobs(r, &w);
    ig_json_add_text(&w, "finish_reason", part == PART_END ? r->finish : NULL);
    ig_json_close(&w, '}');
    ig_json_close(&w, ']');
    if (r->request.include_usage) ig_json_add_text(&w, "usage", NULL);
    ig_json_close(&w, '}');
    ig_buf_text(out, "\n\n");
}

void serve__write_opening(struct serve_reply *reply, struct ig_buf *out)
{
    if (reply->request.chat) write_event(reply, out, PART_ROLE);
}

void serve__write_delta(struct serve_reply *reply, struct ig_buf *out)
{
    if (reply->text.reasoning.len > 0) write_event(reply, out, PART_REASONING);
    if (reply->text.content.len > 0) write_event(reply, out, PART_CONTENT);
    if (reply->text.call_count > 0) write_event(reply, out, PART_CALLS);
    ig_reply_text_clear(&reply->text);
}

void serve__write_ending(struct serve_reply *reply, struct ig_buf *out)
{
    if (reply->failed) {
        ig_buf_text(out, "data: ");
        serve__write_error(out, &reply->error);
        ig_buf_text(out, "\n\n");
        return;
    }
    write_event(reply, out, PART_END);
    if (reply->request.include_usage) {
        struct ig_json_writer w = {.out = out};
        ig_buf_text(out, "data: ");
        ig_json_open(&w, '{');
        put_head(reply, &w, true);
        ig_json_key(&w, "choices");
        ig_json_open(&w, '[');
        ig_json_close(&w, ']');
        put_usage(reply, &w);
        ig_json_close(&w, '}');
        ig_buf_text(out, "\n\n");
    }
    ig_buf_text(out, "data: [DONE]\n\n");
}

/* ---- the rest ---- */

static void put_model(const struct ig_server *server, struct ig_json_writer *w)
{
    ig_json_open(w, '{');
    ig_json_add_text(w, "id", server->name);
    ig_json_add_text(w, "object", "model");
    ig_json_add_int(w, "created", server->created);
    ig_json_add_text(w, "owned_by", "ingot");
    ig_json_add_int(w, "max_model_len", serve__engine_context(server->engine));
    ig_json_close(w, '}');
}

void serve__write_models(const struct ig_server *server, bool one, struct ig_buf *out)
{
    struct ig_json_writer w = {.out = out};
    if (one) {
        put_model(server, &w);
        return;
    }
    ig_json_open(&w, '{');
    ig_json_add_text(&w, "object", "list");
    ig_json_key(&w, "data");
    ig_json_open(&w, '[');
    put_model(server, &w);
    ig_json_close(&w, ']');
    ig_json_close(&w, '}');
}

static void metric(struct ig_buf *out, const char *name, const char *type, const char *help,
                   double value)
{
    ig_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name,
                  value);
}

static int64_t resident_bytes(void)
{
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return 0;
    if (fscanf(f, "%*d %lld", &pages) != 1) pages = 0;
    fclose(f);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static void write_histogram(const struct serve_stats *s, struct ig_buf *out)
{
    const char *name = "ingot_time_to_first_token_seconds";
    uint64_t sum = 0;
    ig_buf_printf(out, "# HELP %s From the queue to the first token.\n# TYPE %s histogram\n", name,
                  name);
    for (int i = 0; i <= SERVE_BUCKETS; i++) {
        char bound[32] = "+Inf";
        if (i < SERVE_BUCKETS) snprintf(bound, sizeof bound, "%g", serve__buckets[i]);
        sum += s->first_buckets[i];
        ig_buf_printf(out, "%s_bucket{le=\"%s\"} %llu\n", name, bound, (unsigned long long)sum);
    }
    ig_buf_printf(out, "%s_sum %.6f\n%s_count %llu\n", name, s->first_sum, name,
                  (unsigned long long)s->first_count);
}

void serve__write_metrics(struct ig_server *server, struct ig_buf *out)
{
    static const char *const ends[] = {"stop", "length", "late", "cancelled", "failed"};
    struct serve_stats s;
    serve__engine_stats(server->engine, &s);
    ig_buf_text(out, "# HELP ingot_http_answers_total Answers by status.\n"
                     "# TYPE ingot_http_answers_total counter\n");
    for (int status = 100; status < SERVE_STATUSES; status++) {
        unsigned long n = atomic_load(&server->answers[status]);
        if (n) ig_buf_printf(out, "ingot_http_answers_total{status=\"%d\"} %lu\n", status, n);
    }
    ig_buf_text(out, "# HELP ingot_replies_total Replies by how they ended.\n"
                     "# TYPE ingot_replies_total counter\n");
    for (int i = 0; i < 5; i++)
        ig_buf_printf(out, "ingot_replies_total{finish=\"%s\"} %llu\n", ends[i],
                      (unsigned long long)s.finishes[i]);
    metric(out, "ingot_prompt_tokens_total", "counter", "Tokens of prompts.",
           (double)s.prompt_tokens);
    metric(out, "ingot_prompt_tokens_cached_total", "counter",
           "Those that were in a cache and were not computed.", (double)s.cached_tokens);
    metric(out, "ingot_generated_tokens_total", "counter", "Tokens of replies.", (double)s.tokens);
    metric(out, "ingot_steps_total", "counter", "Passes over the weights for replies' tokens.",
           (double)s.steps);
    metric(out, "ingot_stepped_tokens_total", "counter", "Tokens that went through those.",
           (double)s.stepped);
    metric(out, "ingot_requests_waiting", "gauge", "Requests in the queue.", (double)s.waiting);
    metric(out, "ingot_requests_running", "gauge", "Requests that run.", (double)s.running);
    metric(out, "ingot_cache_bytes", "gauge", "Memory that caches of requests take.",
           (double)s.cache_bytes);
    metric(out, "process_resident_memory_bytes", "gauge", "Memory in use.",
           (double)resident_bytes());
    write_histogram(&s, out);
}
