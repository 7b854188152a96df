/* SPDX-License-Identifier: Apache-2.0
 * compare — which of several evaluated models is better, and what cannot be told. */
#include "cli.h"
#include "compare.h"

struct args {
    struct cli_common common;
    struct ig_opt_list runs;
    const char *baseline, *tasks, *table, *html;
    bool markdown, flips;
    double plan;
    int64_t threads;
};

static const struct ig_opt options[] = {
    IG_OPT_ARGS_ANY(struct args, runs, "RESULT",
                    "folders with results_*.json and samples_*.jsonl, or folders of those"),
    IG_OPT_TEXT(struct args, baseline, "baseline", 'b', "NAME", NULL,
                "the model that the others are compared with; absent: the first"),
    IG_OPT_TEXT(struct args, tasks, "tasks", 't', "LIST", NULL, "only these, split by commas"),
    IG_OPT_FLAG(struct args, flips, "flips", 'f', "list the items that changed side"),
    IG_OPT_REAL(struct args, plan, "plan", 'p', "D", "0", 0, 1,
                "how many items would find a difference of D (0.01: one point)"),
    IG_OPT_TEXT(struct args, table, "table", 0, "FILE", NULL,
                "no runs but published numbers: [table] model TASK.., split by tabs"),
    IG_OPT_TEXT(struct args, html, "html", 0, "FILE", NULL,
                "write a page: tables, plots, the items that changed side"),
    IG_OPT_FLAG(struct args, markdown, "markdown", 'm', "tables for a model card"),
    IG_OPT_INT(struct args, threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool run_table(const struct args *args, struct ig_err *err)
{
    struct ig_published *published;
    if (args->runs.count || args->flips || args->plan > 0 || args->tasks)
        return ig_err_set(err, IG_ERR_USAGE,
                          "--table has no items: no runs, --tasks, --flips or --plan beside it");
    if (!ig_published_read(args->table, args->baseline, &published, err)) return false;
    bool ok = !args->html || cli_published_page(published, args->html, err);
    if (ok && args->common.json) {
        struct ig_buf text = {0};
        struct ig_json_writer w = {.out = &text};
        cli_published_json(published, &w);
        ok = cli_print_json(&text, err);
        ig_buf_release(&text);
    } else if (ok) {
        cli_published_print(published, args->markdown);
    }
    ig_published_close(published);
    return ok;
}

static bool show(const struct args *args, const struct ig_comparison *comparison,
                 struct ig_err *err)
{
    if (!args->common.json) {
        cli_compare_print(comparison, args->markdown);
        return !args->flips || cli_compare_print_flips(comparison, err);
    }
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    bool ok = cli_compare_json(comparison, args->flips, &w, err) && cli_print_json(&text, err);
    ig_buf_release(&text);
    return ok;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct ig_comparison *comparison;
    if (args->common.json && args->markdown)
        return ig_err_set(err, IG_ERR_USAGE, "--json or --markdown, not both");
    if (args->table) return run_table(args, err);
    if (!args->runs.count) return ig_err_set(err, IG_ERR_USAGE, "RESULT is missing");
    const struct ig_compare_job job = {.paths = args->runs.items,
                                       .path_count = args->runs.count,
                                       .baseline = args->baseline,
                                       .tasks = args->tasks,
                                       .plan = args->plan,
                                       .threads = (int)args->threads,
                                       .watch = watch};
    if (!ig_compare_open(&job, &comparison, err)) return false;
    cli_watch_clear();
    bool ok = (!args->html || cli_compare_page(comparison, args->html, err)) &&
              show(args, comparison, err);
    ig_compare_close(comparison);
    return ok;
}

const struct cli_command cli_compare = {
    "compare",
    "say which evaluated model is better, and what cannot be told",
    "ingot compare runs/base runs/merged runs/merged-qx86-hi --baseline base --html page.html",
    options,
    sizeof(struct args),
    run,
};
