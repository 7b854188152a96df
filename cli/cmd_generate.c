/* SPDX-License-Identifier: Apache-2.0
 * generate — replies to prompts: one from the command line or stdin, or a file of them. */
#include "cli.h"
#include "lines.h"
#include "talk.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct args {
    struct cli_common common;
    const char *model, *prompt, *prompts, *system, *cache;
    bool raw;
    int64_t logprobs, parallel;
    struct talk_options talk;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, model, "MODEL", "a model folder, plain or quantised"),
    IG_OPT_TEXT(struct args, prompt, "prompt", 'p', "TEXT", "hello", "'-' reads it from stdin"),
    IG_OPT_TEXT(struct args, prompts, "prompts", 0, "FILE", NULL,
                "one a line: text, or JSON {\"prompt\"} or {\"messages\"}; gives a JSON line each"),
    IG_OPT_INT(struct args, parallel, "parallel", 0, "N", "8", 1, TALK_TOGETHER_MAX,
               "of --prompts: replies that are written at a time"),
    IG_OPT_TEXT(struct args, system, "system", 0, "TEXT", NULL, "a system message before it"),
    IG_OPT_TEXT(struct args, cache, "prompt-cache", 0, "FILE", NULL,
                "go on from what it holds of the prompt; keep the session there afterwards"),
    IG_OPT_FLAG(struct args, raw, "raw", 0, "take the prompt as it is, without chat template"),
    IG_OPT_INT(struct args, logprobs, "logprobs", 0, "N", "0", 0, 64,
               "with JSON: the N likeliest tokens at each place"),
    TALK_OPTIONS(struct args),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool read_stdin(struct ig_buf *out, struct ig_err *err)
{
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, stdin)) > 0;)
        ig_buf_append(out, chunk, n);
    if (ferror(stdin)) return ig_err_errno(err, errno, "cannot read standard input");
    return ig_buf_ok(out, err);
}

static void put_ids(struct ig_json_writer *w, const char *key, const int32_t *ids, size_t count)
{
    ig_json_key(w, key);
    ig_json_open(w, '[');
    for (size_t i = 0; i < count; i++)
        ig_json_put_int(w, ids[i]);
    ig_json_close(w, ']');
}

/* Lists of {"token", "logprob"}, one for each token of the reply. */
static void put_tops(struct ig_json_writer *w, const struct talk *talk, size_t count)
{
    ig_json_key(w, "top_logprobs");
    ig_json_open(w, '[');
    for (size_t i = 0; i < count; i++) {
        ig_json_open(w, '[');
        for (size_t t = 0; t < talk->top_count; t++) {
            const struct ig_choice *top = &talk->tops[i * talk->top_count + t];
            ig_json_open(w, '{');
            ig_json_add_int(w, "token", top->token);
            ig_json_add_real(w, "logprob", (double)top->logprob);
            ig_json_close(w, '}');
        }
        ig_json_close(w, ']');
    }
    ig_json_close(w, ']');
}

static double rate(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static bool print_json(const struct talk *talk, struct ig_err *err)
{
    const struct ig_generate_report *r = &talk->report;
    size_t count = talk->ids.count - talk->prompt_count;
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    ig_json_open(&w, '{');
    put_ids(&w, "prompt_tokens", talk->ids.items, talk->prompt_count);
    put_ids(&w, "tokens", talk->ids.items + talk->prompt_count, count);
    ig_json_key(&w, "logprobs");
    ig_json_open(&w, '[');
    for (size_t i = 0; i < count; i++)
        ig_json_put_real(&w, talk->logprobs[i]);
    ig_json_close(&w, ']');
    if (talk->top_count > 0) put_tops(&w, talk, count);
    ig_json_key(&w, "text");
    ig_json_put_text(&w, ig_buf_view(&talk->text));
    ig_json_key(&w, "finish_reason");
    ig_json_put_text(&w, ig_slice_of(talk_finish(talk)));
    ig_json_key(&w, "prompt_tps");
    ig_json_put_real(&w, rate(r->prompt_tokens, r->prompt_seconds));
    ig_json_key(&w, "generation_tps");
    ig_json_put_real(&w, rate(r->tokens, r->generation_seconds));
    ig_json_key(&w, "peak_bytes");
    ig_json_put_int(&w, (int64_t)ig_peak_bytes());
    ig_json_close(&w, '}');
    bool ok = cli_print_json(&text, err);
    ig_buf_release(&text);
    return ok;
}

static bool reply(const struct args *args, struct talk *talk, struct ig_slice prompt,
                  struct ig_err *err)
{
    if (args->raw) return talk_continue(talk, prompt, err);
    struct ig_buf messages = {0};
    if (args->system) talk_message(&messages, "system", ig_slice_of(args->system));
    talk_message(&messages, "user", prompt);
    ig_buf_char(&messages, ']');
    bool ok = ig_buf_ok(&messages, err) && talk_reply(talk, ig_buf_view(&messages), err);
    ig_buf_release(&messages);
    return ok;
}

/* ---- a file of prompts ---- */

struct batch {
    const struct args *args;
    struct talk *talks; /* as many as are written at a time */
    size_t count, begun;
};

static bool reply_to_object(struct batch *batch, const struct ig_json *line, struct ig_err *err)
{
    const struct ig_json *messages = ig_json_get(line, "messages");
    struct ig_slice prompt = ig_json_text(ig_json_get(line, "prompt"));
    if (prompt.ptr) return reply(batch->args, &batch->talks[batch->begun], prompt, err);
    if (!messages || messages->type != IG_JSON_ARRAY || batch->args->raw)
        return ig_err_set(err, IG_ERR_DATA,
                          batch->args->raw ? "with --raw a line needs a \"prompt\""
                                           : "a line needs a \"prompt\" or \"messages\"");
    struct ig_buf text = {0};
    ig_json_write(&text, messages, 0, false);
    bool ok =
        ig_buf_ok(&text, err) && talk_reply(&batch->talks[batch->begun], ig_buf_view(&text), err);
    ig_buf_release(&text);
    return ok;
}

static bool write_begun(struct batch *batch, struct ig_err *err)
{
    size_t count = batch->begun;
    batch->begun = 0;
    bool ok = !batch->talks[0].deferred || talk_together(batch->talks, count, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = print_json(&batch->talks[i], err);
    return ok;
}

static bool reply_to_line(void *user, struct ig_slice line, struct ig_err *err)
{
    struct batch *batch = user;
    struct ig_json_doc *doc = NULL;
    bool ok;
    if (cli_interrupted()) return ig_err_set(err, IG_ERR_CANCELLED, "stopped");
    size_t space = 0;
    while (space < line.len && (line.ptr[space] == ' ' || line.ptr[space] == '\t'))
        space++;
    if (space < line.len && line.ptr[space] == '{') {
        ok = ig_json_doc_new(line, &doc, err) && reply_to_object(batch, ig_json_doc_root(doc), err);
        ig_json_doc_free(doc);
    } else {
        ok = reply(batch->args, &batch->talks[batch->begun], line, err);
    }
    batch->begun += ok;
    return ok && (batch->begun < batch->count || write_begun(batch, err));
}

static bool reply_to_file(const struct args *args, struct talk *talk, struct ig_err *err)
{
    bool alone = args->cache || args->talk.max_kv > 0; /* those are about one session */
    struct batch batch = {.args = args, .count = alone ? 1 : (size_t)args->parallel};
    bool ok = true;
    batch.talks = calloc(batch.count, sizeof *batch.talks);
    if (!batch.talks) return ig_err_nomem(err);
    talk->deferred = !alone;
    for (size_t i = 1; ok && i < batch.count; i++)
        ok = talk_fork(talk, &batch.talks[i], err);
    batch.talks[0] = *talk;
    struct ig_err ignored;
    ok = ok && cli_each_text_line(args->prompts, reply_to_line, &batch, err);
    if (ok || err->code != IG_ERR_CANCELLED) /* the lines before a wrong one are answered */
        ok = write_begun(&batch, ok ? err : &ignored) && ok;
    *talk = batch.talks[0];
    for (size_t i = 1; i < batch.count; i++)
        if (batch.talks[i].session) talk_close(&batch.talks[i]);
    free(batch.talks);
    return ok;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    (void)watch;
    const struct args *args = arguments;
    struct talk talk = {0};
    struct ig_buf typed = {0};
    bool from_stdin = strcmp(args->prompt, "-") == 0 && !args->prompts;
    bool ok = !from_stdin || read_stdin(&typed, err);
    if (ok) ok = talk_open(args->model, &args->talk, args->raw, &talk, err);
    cli_interrupt_arm();
    if (ok) {
        talk.top_count = (size_t)args->logprobs;
        if (args->common.json || args->prompts) talk.to = NULL;
        if (args->cache && access(args->cache, F_OK) == 0) ok = talk_load(&talk, args->cache, err);
    }
    if (ok) {
        ok = args->prompts
                 ? reply_to_file(args, &talk, err)
                 : reply(args, &talk, from_stdin ? ig_buf_view(&typed) : ig_slice_of(args->prompt),
                         err);
    }
    if (ok && args->cache) ok = talk_save(&talk, args->cache, err);
    if (ok && args->common.json && !args->prompts) ok = print_json(&talk, err);
    if (ok && !args->common.json && !args->prompts) {
        putchar('\n');
        fflush(stdout);
        if (!args->common.quiet) talk_print_rates(&talk);
    }
    talk_close(&talk);
    ig_buf_release(&typed);
    return ok;
}

const struct cli_command cli_generate = {
    "generate",
    "write replies to prompts",
    "ingot generate MODEL --prompt 'Who is the miller?' --temp 0.7 --seed 1",
    options,
    sizeof(struct args),
    run,
};
