/* SPDX-License-Identifier: Apache-2.0
 * generate — one prompt, one reply. */
#include "cli.h"
#include "talk.h"

struct args {
    struct cli_common common;
    const char *model, *prompt, *system;
    bool raw;
    struct talk_options talk;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, model, "MODEL", "a model folder, plain or quantised"),
    IG_OPT_TEXT(struct args, prompt, "prompt", 'p', "TEXT", "hello", "'-' reads it from stdin"),
    IG_OPT_TEXT(struct args, system, "system", 0, "TEXT", NULL, "a system message before it"),
    IG_OPT_FLAG(struct args, raw, "raw", 0, "take the prompt as it is, without chat template"),
    TALK_OPTIONS(struct args),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool read_stdin(struct ig_buf *out, struct ig_err *err)
{
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, stdin)) > 0;)
        ig_buf_append(out, chunk, n);
    if (ferror(stdin)) return ig_err_set(err, IG_ERR_IO, "cannot read standard input");
    return ig_buf_ok(out, err);
}

static bool print_json(const struct talk *talk, struct ig_err *err)
{
    const struct ig_generate_report *r = &talk->report;
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    ig_json_open(&w, '{');
    ig_json_key(&w, "prompt_tokens");
    ig_json_open(&w, '[');
    for (size_t i = 0; i < talk->prompt_count; i++)
        ig_json_put_int(&w, talk->ids.items[i]);
    ig_json_close(&w, ']');
    ig_json_key(&w, "tokens");
    ig_json_open(&w, '[');
    for (size_t i = talk->prompt_count; i < talk->ids.count; i++)
        ig_json_put_int(&w, talk->ids.items[i]);
    ig_json_close(&w, ']');
    ig_json_key(&w, "logprobs");
    ig_json_open(&w, '[');
    for (size_t i = talk->prompt_count; i < talk->ids.count; i++)
        ig_json_put_real(&w, talk->logprobs[i - talk->prompt_count]);
    ig_json_close(&w, ']');
    ig_json_key(&w, "text");
    ig_json_put_text(&w, ig_buf_view(&talk->text));
    ig_json_key(&w, "finish_reason");
    ig_json_put_text(&w, ig_slice_of(r->stopped ? "stop" : "length"));
    ig_json_key(&w, "prompt_tps");
    ig_json_put_real(&w, r->prompt_seconds > 0 ? (double)r->prompt_tokens / r->prompt_seconds : 0);
    ig_json_key(&w, "generation_tps");
    ig_json_put_real(&w, r->generation_seconds > 0 ? (double)r->tokens / r->generation_seconds : 0);
    ig_json_key(&w, "peak_bytes");
    ig_json_put_int(&w, (int64_t)talk_peak_bytes());
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

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    (void)watch;
    const struct args *args = arguments;
    struct talk talk = {0};
    struct ig_buf typed = {0};
    bool from_stdin = strcmp(args->prompt, "-") == 0;
    bool ok = !from_stdin || read_stdin(&typed, err);
    if (ok) ok = talk_open(args->model, &args->talk, args->raw, &talk, err);
    if (ok) {
        if (args->common.json) talk.to = NULL;
        ok = reply(args, &talk, from_stdin ? ig_buf_view(&typed) : ig_slice_of(args->prompt), err);
    }
    if (ok && args->common.json) ok = print_json(&talk, err);
    if (ok && !args->common.json) {
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
    "write a reply to one prompt",
    "ingot generate MODEL --prompt 'Who is the miller?' --temp 0.7 --seed 1",
    options,
    sizeof(struct args),
    run,
};
