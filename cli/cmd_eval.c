/* SPDX-License-Identifier: Apache-2.0
 * eval — accuracy of one or more models on multiple-choice tasks. */
#include "cli.h"
#include "eval_text.h"
#include "ingot/eval.h"
#include "ingot/hub.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

static const char *const styles[] = {"lm-eval", "mlx", NULL};
static const char *const ropes[] = {"as-config", "as-mlx-lm", NULL};

struct args {
    struct cli_common common;
    struct ig_opt_list models;
    const char *tasks, *data, *output;
    int style, rope;
    bool chat, plain, exact, int8;
    const char *perplexity, *reference, *until;
    int64_t limit, shots, threads, context;
};

static const struct ig_opt options[] = {
    IG_OPT_ARGS(struct args, models, "MODEL", "model folders, plain or quantised"),
    IG_OPT_TEXT(struct args, tasks, "tasks", 't', "LIST", "all",
                "'ingot list tasks' shows them; mini: the embedded ones; FILE.yaml: your own"),
    IG_OPT_TEXT(
        struct args, data, "data", 'd', "DIR", NULL,
        "the rows: TASK.jsonl, or Parquet or Arrow as the Hub names it; absent: what `ingot pull "
        "--tasks` got, else the mini-tasks"),
    IG_OPT_INT(struct args, limit, "limit", 'l', "N", "0", 0, 1e9, "the first N rows; 0: all"),
    IG_OPT_INT(struct args, shots, "shots", 'n', "N", "-1", -1, 64,
               "examples before the question; -1: as the task says, 0 for the built-in ones"),
    IG_OPT_FLAG(struct args, chat, "chat-template", 0,
                "ask through the model's chat template; the mlx style does, where there is one"),
    IG_OPT_FLAG(struct args, plain, "no-chat-template", 0, "ask without; the lm-eval style does"),
    IG_OPT_TEXT(struct args, output, "output", 'o', "DIR", NULL,
                "write lm-evaluation-harness's files there, and a log to go on from after a kill"),
    IG_OPT_CHOICE(struct args, style, "style", 0, styles, "lm-eval", "whose token borders"),
    IG_OPT_FLAG(struct args, exact, "exact", 0,
                "f32 arithmetic throughout, as the harness with dtype=float32; slower"),
    IG_OPT_FLAG(struct args, int8, "int8", 0,
                "quantised models: 8-bit activations, as llama.cpp has them; faster and coarser"),
    IG_OPT_CHOICE(struct args, rope, "rope", 0, ropes, "as-config",
                  "as-mlx-lm: without the scaling that it ignores"),
    IG_OPT_INT(struct args, threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),
    IG_OPT_TEXT(struct args, until, "until-clear", 'u', "RESULT", NULL,
                "stop a task as soon as it is clear which is better, this or RESULT's model"),
    IG_OPT_TEXT(struct args, perplexity, "perplexity", 'p', "TEXT", NULL,
                "in place of tasks: the perplexity of a text file, as llama-perplexity's"),
    IG_OPT_TEXT(struct args, reference, "kl-to", 0, "MODEL", NULL,
                "with --perplexity: how far each model's distributions are from this one's"),
    IG_OPT_INT(struct args, context, "context", 'c', "N", "512", 8, 1e9,
               "with --perplexity: tokens of a window; --limit: windows"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static void put_verdict(struct ig_json_writer *w, const struct ig_eval_result *r)
{
    ig_json_add_bool(w, "stopped", r->stopped);
    ig_json_add_int(w, "better", r->better);
    ig_json_add_int(w, "worse", r->worse);
    ig_json_add_real(w, "e_value", r->evidence);
}

static void put_result(struct ig_json_writer *w, const struct ig_eval_result *r)
{
    ig_json_open(w, '{');
    ig_json_add_text(w, "task", r->task);
    ig_json_add_int(w, "items", r->items);
    ig_json_add_real(w, "acc", r->acc);
    ig_json_add_real(w, "acc_stderr", r->acc_stderr);
    if (r->has_norm) {
        ig_json_add_real(w, "acc_norm", r->acc_norm);
        ig_json_add_real(w, "acc_norm_stderr", r->acc_norm_stderr);
    }
    if (r->evidence > 0) put_verdict(w, r);
    ig_json_close(w, '}');
}

static void print_verdict(const struct ig_eval_result *r)
{
    const char *verdict = r->evidence < IG_EVAL_CLEAR ? "not clear"
                          : r->better > r->worse      ? "clear: better than the baseline"
                                                      : "clear: worse than the baseline";
    printf("  %-16s %6lld  %s (alone right: %lld; the baseline: %lld)\n", "", (long long)r->items,
           verdict, (long long)r->better, (long long)r->worse);
}

/* Of one item there is no error. */
static void print_metric(const char *name, double value, double error)
{
    printf("  %s %.4f", name, value);
    if (!isnan(error)) printf(" +- %.4f", error);
}

static void print_result(const struct ig_eval_result *r)
{
    printf("  %-16s %6lld", r->task, (long long)r->items);
    print_metric("acc", r->acc, r->acc_stderr);
    if (r->has_norm) print_metric("acc_norm", r->acc_norm, r->acc_norm_stderr);
    putchar('\n');
    if (r->evidence > 0) print_verdict(r);
}

/* The tables of the seeds: acc_norm where the task defines it. */
static double headline(const struct ig_eval_result *r)
{
    return r->has_norm ? r->acc_norm : r->acc;
}

struct asked { /* what models are asked: shared by those whose prompts are the same in tokens */
    struct ig_eval_set *set;
    struct ig_template *chat;
    struct ig_eval_tokens *tokens;
    struct ig_eval_baseline *until;
    char tokenizer[33];
    int64_t context;
};
struct scored { /* one model at work */
    struct ig_buf name;
    struct ig_model *model;
    struct ig_tokenizer *tokenizer;
    struct ig_template *chat;
    struct ig_eval_identity identity;
    struct ig_eval_record *record;
    struct ig_eval_result *results;
};

static void asked_release(struct asked *asked)
{
    ig_eval_baseline_close(asked->until);
    ig_eval_tokens_free(asked->tokens);
    ig_eval_close(asked->set);
    ig_template_close(asked->chat);
    *asked = (struct asked){0};
}

static bool same_template(const struct ig_template *a, const struct ig_template *b)
{
    if (!a || !b) return a == b;
    return ig_slice_equal(ig_template_source(a), ig_template_source(b));
}

/* The items of before, when this model gets them in the same tokens; else new ones. */
static bool ask(const struct args *args, const struct ig_watch *watch, struct scored *s,
                struct asked *asked, struct ig_err *err)
{
    char mini[4096];
    bool fixtures = strcmp(args->tasks, "mini") == 0 ||
                    (!args->data && !ig_eval_has_data(args->tasks)); /* of the Hub's cache */
    int64_t context = ig_model_shape(s->model)->context;
    if (asked->set && asked->context == context && same_template(asked->chat, s->chat) &&
        strcmp(asked->tokenizer, s->identity.tokenizer) == 0)
        return true;
    asked_release(asked);
    snprintf(mini, sizeof mini, "%s/tasks", cli_fixtures());
    const struct ig_eval_job job = {.data = fixtures ? mini : args->data,
                                    .tasks = strcmp(args->tasks, "mini") ? args->tasks : "all",
                                    .limit = args->limit,
                                    .shots = args->shots < 0 ? 0 : args->shots,
                                    .shots_own = args->shots < 0,
                                    .multiturn = args->style == 0, /* as each program's default */
                                    .chat = s->chat,
                                    .style = (enum ig_eval_style)args->style,
                                    .watch = watch};
    asked->chat = s->chat;
    s->chat = NULL;
    asked->context = context;
    memcpy(asked->tokenizer, s->identity.tokenizer, sizeof asked->tokenizer);
    if (!ig_eval_open(&job, &asked->set, err)) return false;
    if (fixtures && strcmp(args->tasks, "mini") != 0)
        ig_watch_warn(
            watch,
            "not all of these tasks' rows are in the Hub's cache: the embedded mini-tasks "
            "are scored; `ingot pull --tasks '%s'` gets the real ones",
            args->tasks);
    return (!args->until || ig_eval_baseline_open(asked->set, args->until, &asked->until, err)) &&
           ig_eval_tokens_new(asked->set, s->tokenizer, context, &asked->tokens, err);
}

/* As each program's default, unless said. */
static bool asks_in_chat(const struct args *args, const char *path)
{
    if (args->chat || args->plain) return args->chat;
    return styles[args->style] == styles[1] && ig_template_exists(path);
}

static struct ig_model_options model_options(const struct args *args)
{
    return (struct ig_model_options){.threads = (int)args->threads,
                                     .exact = args->exact,
                                     .int8_scores = args->int8,
                                     .rope_as_mlx = args->rope == 1};
}

static bool open_model(const struct args *args, const char *path, struct scored *s,
                       struct ig_err *err)
{
    if (args->chat && !ig_template_exists(path))
        return ig_err_set(err, IG_ERR_USAGE,
                          "'%s' has no chat template: leave out --chat-template, or add a "
                          "chat_template.jinja to the folder",
                          path);
    const struct ig_model_options how = model_options(args);
    return (!asks_in_chat(args, path) || ig_template_open(path, false, &s->chat, err)) &&
           ig_model_open_as(path, &how, &s->model, err) &&
           ig_tokenizer_open(path, &s->tokenizer, err) &&
           ig_eval_digest_tokenizer(path, s->identity.tokenizer, err);
}

static bool score_model(const struct args *args, const char *path, const struct asked *asked,
                        struct scored *s, struct ig_err *err)
{
    const struct ig_eval_record_job record = {.dir = args->output,
                                              .model = s->name.data,
                                              .now = (int64_t)time(NULL),
                                              .chat = asked->chat ? ig_template_source(asked->chat)
                                                                  : (struct ig_slice){0},
                                              .identity = &s->identity,
                                              .rope = ropes[args->rope],
                                              .until = args->until,
                                              .dist = cli_dist()};
    struct ig_eval_scoring how = {.tokens = asked->tokens,
                                  .identity = &s->identity,
                                  .until = asked->until,
                                  .dist = cli_dist()};
    s->results = calloc((size_t)ig_eval_task_count(asked->set) + 1, sizeof(*s->results));
    if (!s->results) return ig_err_nomem(err);
    if (args->output) {
        if (!ig_eval_digest_model(path, (int)args->threads, s->identity.model, err) ||
            !ig_eval_record_open(asked->set, &record, &s->record, err))
            return false;
        how.log = ig_eval_record_log(s->record);
        how.on_item = ig_eval_record_item;
        how.user = s->record;
    }
    return ig_eval_score_as(asked->set, s->model, &how, s->results, err) &&
           (!args->output || ig_dist_rank(cli_dist()) > 0 ||
            ig_eval_record_finish(s->record, s->model, s->tokenizer, s->results, err));
}

static void close_model(struct scored *s)
{
    ig_buf_release(&s->name);
    ig_eval_record_close(s->record);
    ig_template_close(s->chat);
    ig_tokenizer_close(s->tokenizer);
    ig_model_close(s->model);
    free(s->results);
}

static void show_model(int tasks, const struct scored *s, bool json, struct ig_json_writer *w)
{
    double sum = 0;
    cli_watch_clear();
    if (!json) printf("%s\n", s->name.data);
    ig_json_open(w, '{');
    ig_json_key(w, "model");
    ig_json_put_text(w, ig_buf_view(&s->name));
    ig_json_key(w, "arithmetic");
    ig_json_put_text(w, ig_slice_of(ig_model_arithmetic(s->model)));
    ig_json_key(w, "results");
    ig_json_open(w, '[');
    for (int i = 0; i < tasks; i++) {
        put_result(w, &s->results[i]);
        if (!json) print_result(&s->results[i]);
        sum += headline(&s->results[i]);
    }
    ig_json_close(w, ']');
    ig_json_add_real(w, "mean", tasks ? sum / tasks : (double)NAN);
    ig_json_close(w, '}');
    if (!json) printf("  mean %.4f (acc_norm where the task has it)\n", sum / tasks);
}

static bool run_text(const struct args *args, const struct ig_watch *watch, struct ig_err *err)
{
    const struct eval_text asked = {.models = args->models,
                                    .path = args->perplexity,
                                    .reference = args->reference,
                                    .context = args->context,
                                    .windows = args->limit,
                                    .how = model_options(args),
                                    .json = args->common.json};
    return eval_text_run(&asked, watch, err);
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    if (args->chat && args->plain)
        return ig_err_set(err, IG_ERR_USAGE, "--chat-template and --no-chat-template: only one");
    if (args->exact && args->int8)
        return ig_err_set(err, IG_ERR_USAGE, "--exact and --int8: only one");
    if (args->reference && !args->perplexity)
        return ig_err_set(err, IG_ERR_USAGE, "--kl-to needs --perplexity TEXT");
    if (args->perplexity && (args->output || args->until || args->data || args->chat))
        return ig_err_set(
            err, IG_ERR_USAGE,
            "--perplexity is of a text alone: without --output, --until-clear, --data "
            "and --chat-template");
    if (args->perplexity) /* rank 0's alone */
        return ig_dist_rank(cli_dist()) > 0 || run_text(args, watch, err);
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    struct asked asked = {0};
    bool ok = true;
    ig_json_open(&w, '[');
    for (size_t i = 0; ok && i < args->models.count; i++) {
        const char *path = args->models.items[i];
        struct scored s = {0};
        if (!ig_hub_name_of(path, &s.name)) ig_buf_text(&s.name, path);
        ok = ig_buf_ok(&s.name, err) && open_model(args, path, &s, err) &&
             ask(args, watch, &s, &asked, err) && score_model(args, path, &asked, &s, err);
        if (ok) show_model(ig_eval_task_count(asked.set), &s, args->common.json, &w);
        close_model(&s);
    }
    asked_release(&asked);
    ig_json_close(&w, ']');
    if (ok && args->common.json) ok = cli_print_json(&text, err);
    ig_buf_release(&text);
    return ok;
}

const struct cli_command cli_eval = {
    "eval",
    "score models on multiple-choice tasks",
    "ingot eval MODEL MODEL-qx86-hi --tasks arc_easy,boolq --data rows",
    options,
    sizeof(struct args),
    run,
};
