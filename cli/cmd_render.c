/* SPDX-License-Identifier: Apache-2.0
 * render — what a chat template makes of messages. */
#include "cli.h"
#include "ingot/chat.h"
#include "lines.h"

#include <stdlib.h>

struct args {
    struct cli_common common;
    const char *source, *jsonl, *user;
    bool tools;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, source, "MODEL|TEMPLATE.jinja", "whose chat template"),
    IG_OPT_TEXT(struct args, user, "user", 'u', "TEXT", NULL, "one user message"),
    IG_OPT_TEXT(struct args, jsonl, "jsonl", 0, "FILE", NULL,
                "one object of variables a line gives one {\"text\"} or {\"error\"} a line"),
    IG_OPT_FLAG(struct args, tools, "tools", 0, "prefer a template named tool_use"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

struct job {
    struct ig_template *tmpl;
    struct ig_buf text, line;
    int64_t now;
};

static bool on_line(void *user, const struct ig_json *row, struct ig_err *err)
{
    struct job *job = user;
    struct ig_err why = {0};
    ig_buf_clear(&job->text);
    ig_buf_clear(&job->line);
    bool ok = ig_template_render(job->tmpl, row, job->now, &job->text, &why);
    struct ig_json_writer w = {.out = &job->line};
    ig_json_open(&w, '{');
    ig_json_key(&w, ok ? "text" : "error");
    ig_json_put_text(&w, ok ? ig_buf_view(&job->text) : ig_slice_of(why.text));
    ig_json_close(&w, '}');
    return cli_print_json(&job->line, err);
}

static bool one_message(struct job *job, const char *user, struct ig_err *err)
{
    struct ig_buf variables = {0};
    struct ig_json_doc *doc = NULL;
    ig_buf_text(&variables, "{\"messages\":[{\"role\":\"user\",\"content\":");
    ig_json_quote(&variables, ig_slice_of(user), false);
    ig_buf_text(&variables, "}],\"add_generation_prompt\":true}");
    bool ok = ig_json_doc_new(ig_buf_view(&variables), &doc, err) &&
              ig_template_render(job->tmpl, ig_json_doc_root(doc), job->now, &job->text, err) &&
              ig_buf_ok(&job->text, err);
    if (ok) fwrite(job->text.data ? job->text.data : "", 1, job->text.len, stdout);
    ig_json_doc_free(doc);
    ig_buf_release(&variables);
    return ok;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    (void)watch;
    const struct args *args = arguments;
    struct job job = {.now = -1};
    if (!args->jsonl == !args->user)
        return ig_err_set(err, IG_ERR_USAGE, "give --user TEXT or --jsonl FILE");
    bool ok = ig_template_open(args->source, args->tools, &job.tmpl, err);
    if (ok)
        ok = args->jsonl ? cli_each_line(args->jsonl, on_line, &job, err)
                         : one_message(&job, args->user, err);
    ig_template_close(job.tmpl);
    ig_buf_release(&job.text);
    ig_buf_release(&job.line);
    return ok;
}

const struct cli_command cli_render = {
    "render",
    "show what a chat template makes of messages",
    "ingot render MODEL --user 'Who is the miller?'",
    options,
    sizeof(struct args),
    run,
};
