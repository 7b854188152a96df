/* SPDX-License-Identifier: Apache-2.0
 * eval — accuracy of one or more models on multiple-choice tasks. */
#include "cli.h"
#include "ingot/eval.h"

#include <math.h>
#include <stdlib.h>

static const char *const styles[] = {"lm-eval", "mlx", NULL};

struct args {
    struct cli_common common;
    struct ig_opt_list models;
    const char *tasks, *data;
    int style;
    int64_t limit, threads;
};

static const struct ig_opt options[] = {
    IG_OPT_ARGS(struct args, models, "MODEL", "model folders, plain or quantised"),
    IG_OPT_TEXT(struct args, tasks, "tasks", 't', "LIST", "all", "'ingot list tasks' shows them"),
    IG_OPT_TEXT(struct args, data, "data", 'd', "DIR", NULL,
                "holds TASK.jsonl in the Hub's row schema; absent: the embedded mini-tasks"),
    IG_OPT_INT(struct args, limit, "limit", 'l', "N", "0", 0, 1e9, "the first N rows; 0: all"),
    IG_OPT_CHOICE(struct args, style, "style", 0, styles, "lm-eval", "whose token borders"),
    IG_OPT_INT(struct args, threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static void put_result(struct ig_json_writer *w, const struct ig_eval_result *r)
{
    ig_json_open(w, '{');
    ig_json_key(w, "task");
    ig_json_put_text(w, ig_slice_of(r->task));
    ig_json_key(w, "items");
    ig_json_put_int(w, r->items);
    ig_json_key(w, "acc");
    ig_json_put_real(w, r->acc);
    ig_json_key(w, "acc_stderr");
    ig_json_put_real(w, r->acc_stderr);
    if (r->has_norm) {
        ig_json_key(w, "acc_norm");
        ig_json_put_real(w, r->acc_norm);
        ig_json_key(w, "acc_norm_stderr");
        ig_json_put_real(w, r->acc_norm_stderr);
    }
    ig_json_close(w, '}');
}

static void print_result(const struct ig_eval_result *r)
{
    printf("  %-16s %6lld  acc %.4f +- %.4f", r->task, (long long)r->items, r->acc, r->acc_stderr);
    if (r->has_norm) printf("  acc_norm %.4f +- %.4f", r->acc_norm, r->acc_norm_stderr);
    putchar('\n');
}

/* The tables of the seeds: acc_norm where the task defines it. */
static double headline(const struct ig_eval_result *r)
{
    return r->has_norm ? r->acc_norm : r->acc;
}

static bool score_model(const struct args *args, const char *path, const struct ig_eval_set *set,
                        struct ig_json_writer *w, struct ig_err *err)
{
    struct ig_model *model = NULL;
    struct ig_tokenizer *tokenizer = NULL;
    int tasks = ig_eval_task_count(set);
    struct ig_eval_result *results = calloc((size_t)tasks + 1, sizeof(*results));
    bool ok = results ? true : ig_err_nomem(err);
    ok = ok && ig_model_open(path, (int)args->threads, &model, err) &&
         ig_tokenizer_open(path, &tokenizer, err) &&
         ig_eval_score(set, model, tokenizer, NULL, NULL, results, err);
    double sum = 0;
    if (ok) {
        cli_watch_clear();
        if (!args->common.json) printf("%s\n", path);
        ig_json_open(w, '{');
        ig_json_key(w, "model");
        ig_json_put_text(w, ig_slice_of(path));
        ig_json_key(w, "results");
        ig_json_open(w, '[');
        for (int i = 0; i < tasks; i++) {
            put_result(w, &results[i]);
            if (!args->common.json) print_result(&results[i]);
            sum += headline(&results[i]);
        }
        ig_json_close(w, ']');
        ig_json_key(w, "mean");
        ig_json_put_real(w, tasks ? sum / tasks : (double)NAN);
        ig_json_close(w, '}');
        if (!args->common.json)
            printf("  mean %.4f (acc_norm where the task has it)\n", sum / tasks);
    }
    free(results);
    ig_tokenizer_close(tokenizer);
    ig_model_close(model);
    return ok;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct ig_eval_set *set = NULL;
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    char mini[4096];
    snprintf(mini, sizeof mini, "%s/tasks", cli_fixtures());
    struct ig_eval_job job = {.data = args->data ? args->data : mini,
                              .tasks = args->tasks,
                              .limit = args->limit,
                              .style = (enum ig_eval_style)args->style,
                              .watch = watch};
    bool ok = ig_eval_open(&job, &set, err);
    ig_json_open(&w, '[');
    for (size_t i = 0; ok && i < args->models.count; i++)
        ok = score_model(args, args->models.items[i], set, &w, err);
    ig_json_close(&w, ']');
    if (ok && args->common.json) ok = cli_print_json(&text, err);
    ig_eval_close(set);
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
