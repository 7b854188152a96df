/* SPDX-License-Identifier: Apache-2.0
 * tokenize — text to ids, or ids to text. */
#include "cli.h"
#include "ingot/token.h"
#include "lines.h"

#include <stdlib.h>

struct args {
    struct cli_common common;
    const char *tokenizer, *text, *jsonl;
    bool decode, special;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, tokenizer, "MODEL|tokenizer.json", "whose tokenizer"),
    IG_OPT_TEXT(struct args, text, "text", 't', "TEXT", NULL, "text to encode; absent: stdin"),
    IG_OPT_TEXT(struct args, jsonl, "jsonl", 0, "FILE", NULL,
                "one {\"text\", \"special\"} a line gives one {\"ids\"} a line; '-' is stdin"),
    IG_OPT_FLAG(struct args, decode, "decode", 'd', "the other way: {\"ids\"} gives {\"text\"}"),
    IG_OPT_FLAG(struct args, special, "special", 0, "add BOS and the like"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

struct job {
    const struct args *args;
    struct ig_tokenizer *tokenizer;
    struct ig_ids ids;
    struct ig_buf text, line;
};

static bool take_ids(const struct ig_json *list, struct ig_ids *ids, struct ig_err *err)
{
    if (!list || list->type != IG_JSON_ARRAY)
        return ig_err_set(err, IG_ERR_DATA, "\"ids\" must be a list of whole numbers");
    int32_t *items = realloc(ids->items, ((size_t)list->count + 1) * sizeof(*items));
    if (!items) return ig_err_nomem(err);
    ids->items = items;
    ids->cap = list->count + 1;
    ids->count = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        int64_t id;
        if (!ig_json_int(&list->items[i], &id) || id < 0 || id > INT32_MAX)
            return ig_err_set(err, IG_ERR_DATA, "\"ids\" must be a list of whole numbers");
        ids->items[ids->count++] = (int32_t)id;
    }
    return true;
}

static bool encode(struct job *job, struct ig_slice text, bool special, struct ig_err *err)
{
    job->ids.count = 0;
    ig_buf_clear(&job->line);
    if (!ig_tokenizer_encode(job->tokenizer, text, special, &job->ids, err)) return false;
    struct ig_json_writer w = {.out = &job->line};
    ig_json_open(&w, '{');
    ig_json_key(&w, "ids");
    ig_json_open(&w, '[');
    for (size_t i = 0; i < job->ids.count; i++)
        ig_json_put_int(&w, job->ids.items[i]);
    ig_json_close(&w, ']');
    ig_json_close(&w, '}');
    return cli_print_json(&job->line, err);
}

static bool decode(struct job *job, const struct ig_json *list, struct ig_err *err)
{
    ig_buf_clear(&job->text);
    ig_buf_clear(&job->line);
    if (!take_ids(list, &job->ids, err) ||
        !ig_tokenizer_decode(job->tokenizer, job->ids.items, job->ids.count, false, &job->text,
                             err))
        return false;
    struct ig_json_writer w = {.out = &job->line};
    ig_json_open(&w, '{');
    ig_json_key(&w, "text");
    ig_json_put_text(&w, ig_buf_view(&job->text));
    ig_json_close(&w, '}');
    return cli_print_json(&job->line, err);
}

static bool on_line(void *user, const struct ig_json *row, struct ig_err *err)
{
    struct job *job = user;
    if (job->args->decode) return decode(job, ig_json_get(row, "ids"), err);
    const struct ig_json *text = ig_json_get(row, "text");
    bool special = job->args->special;
    (void)ig_json_bool(ig_json_get(row, "special"), &special);
    if (!text || text->type != IG_JSON_STRING)
        return ig_err_set(err, IG_ERR_DATA, "\"text\" is missing or no string");
    return encode(job, text->text, special, err);
}

static bool whole_input(struct job *job, struct ig_err *err)
{
    if (job->args->text) return encode(job, ig_slice_of(job->args->text), job->args->special, err);
    struct ig_buf typed = {0};
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, stdin)) > 0;)
        ig_buf_append(&typed, chunk, n);
    bool ok = ig_buf_ok(&typed, err) && encode(job, ig_buf_view(&typed), job->args->special, err);
    ig_buf_release(&typed);
    return ok;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct job job = {.args = args};
    if (args->decode && !args->jsonl)
        return ig_err_set(err, IG_ERR_USAGE, "--decode reads --jsonl FILE ('-' is stdin)");
    bool ok = ig_tokenizer_open(args->tokenizer, &job.tokenizer, err);
    for (int i = 0; ok && ig_tokenizer_warning(job.tokenizer, i); i++)
        ig_watch_warn(watch, "%s", ig_tokenizer_warning(job.tokenizer, i));
    if (ok)
        ok = args->jsonl ? cli_each_line(args->jsonl, on_line, &job, err) : whole_input(&job, err);
    ig_tokenizer_close(job.tokenizer);
    ig_ids_release(&job.ids);
    ig_buf_release(&job.text);
    ig_buf_release(&job.line);
    return ok;
}

const struct cli_command cli_tokenize = {
    "tokenize", "text to token ids and back", "ingot tokenize MODEL --text 'Hello, world'",
    options,    sizeof(struct args),          run,
};
