/* SPDX-License-Identifier: Apache-2.0
 * pull — download models and data sets from the Hugging Face Hub. */
#include "cli.h"
#include "ingot/eval.h"
#include "ingot/hub.h"

#define DATASETS "datasets/"

struct args {
    struct cli_common common;
    struct ig_opt_list names;
    const char *tasks, *include, *exclude, *to;
    bool force;
    int64_t connections, retries;
};

static const struct ig_opt options[] = {
    IG_OPT_ARGS_ANY(struct args, names, "ORG/NAME[@REV]",
                    "a model; datasets/ORG/NAME is a data set. REV: branch, tag or commit"),
    IG_OPT_TEXT(struct args, tasks, "tasks", 't', "LIST", NULL,
                "the data sets of these benchmarks: all, or as 'ingot list tasks' names them"),
    IG_OPT_TEXT(struct args, include, "include", 0, "GLOBS", NULL,
                "only files that match one of them: '*.safetensors,*.json'; * also matches /"),
    IG_OPT_TEXT(struct args, exclude, "exclude", 0, "GLOBS", NULL, "no files that match these"),
    IG_OPT_TEXT(struct args, to, "to", 0, "DIR", NULL,
                "fill this folder in place of the Hub's cache"),
    IG_OPT_FLAG(struct args, force, "force", 'f', "with --to: replace files that differ"),
    IG_OPT_INT(struct args, connections, "connections", 'c', "N", "8", 1, 64, "files at a time"),
    IG_OPT_INT(struct args, retries, "retries", 0, "N", "5", 0, 100,
               "tries after a failure, as long as nothing moves"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

struct pull {
    const struct args *args;
    const struct ig_watch *watch;
    struct ig_json_writer *w;
};

static void put_report(struct ig_json_writer *w, const struct ig_hub_job *job,
                       const struct ig_hub_report *r)
{
    ig_json_open(w, '{');
    ig_json_add_text(w, "name", job->name);
    ig_json_add_text(w, "type", job->kind == IG_HUB_MODEL ? "model" : "dataset");
    ig_json_add_text(w, "commit", r->commit);
    ig_json_key(w, "path");
    ig_json_put_text(w, ig_buf_view(&r->path));
    ig_json_add_int(w, "files", r->files);
    ig_json_add_int(w, "bytes", (int64_t)r->bytes);
    ig_json_add_int(w, "files_fetched", r->files_fetched);
    ig_json_add_int(w, "bytes_fetched", (int64_t)r->bytes_fetched);
    ig_json_add_real(w, "seconds", r->seconds);
    ig_json_close(w, '}');
}

static void print_report(const struct ig_hub_job *job, const struct ig_hub_report *r)
{
    char all[32], got[32], rate[32];
    cli_watch_clear();
    printf("%s\n", r->path.data);
    if (r->files_fetched == 0 && r->bytes_fetched == 0) {
        printf("  %s: %lld files, %s, all there already\n", job->name, (long long)r->files,
               cli_bytes(r->bytes, all));
        return;
    }
    double speed = r->seconds > 0 ? (double)r->bytes_fetched / r->seconds : 0;
    printf("  %s: %lld files, %s; fetched %lld of them, %s, %s/s\n", job->name, (long long)r->files,
           cli_bytes(r->bytes, all), (long long)r->files_fetched, cli_bytes(r->bytes_fetched, got),
           cli_bytes((uint64_t)speed, rate));
}

static bool pull_one(const struct pull *p, const char *name, const char *include,
                     enum ig_hub_kind kind, struct ig_err *err)
{
    struct ig_hub_report report = {0};
    const struct ig_hub_job job = {.kind = kind,
                                   .name = name,
                                   .include = include,
                                   .exclude = p->args->exclude,
                                   .to = p->args->to,
                                   .force = p->args->force,
                                   .connections = (int)p->args->connections,
                                   .retries = (int)p->args->retries,
                                   .watch = p->watch};
    bool ok = ig_hub_pull(&job, &report, err);
    if (ok) put_report(p->w, &job, &report);
    if (ok && !p->args->common.json) print_report(&job, &report);
    ig_hub_report_release(&report);
    return ok;
}

/* Data sets with configurations have a folder for each; of the others all is taken. */
static bool pull_task(const struct pull *p, struct ig_slice task, struct ig_err *err)
{
    char dataset[IG_EVAL_SOURCE_MAX], config[IG_EVAL_SOURCE_MAX], folder[IG_EVAL_SOURCE_MAX + 2];
    if (!ig_eval_task_source(task, dataset, config, err)) return false;
    snprintf(folder, sizeof folder, "%s/", config);
    if (config[0] && pull_one(p, dataset, folder, IG_HUB_DATASET, err)) return true;
    if (config[0] && err->code != IG_ERR_USAGE) return false;
    return pull_one(p, dataset, NULL, IG_HUB_DATASET, err);
}

static bool pull_tasks(const struct pull *p, const char *tasks, struct ig_err *err)
{
    if (strcmp(tasks, "all") == 0) {
        for (const char *const *t = ig_eval_task_list(); *t; t += 2)
            if (!pull_task(p, ig_slice_of(*t), err)) return false;
        return true;
    }
    for (size_t len; *(tasks += strspn(tasks, ", ")); tasks += len) {
        len = strcspn(tasks, ", ");
        if (!pull_task(p, ig_slice_make(tasks, len), err)) return false;
    }
    return true;
}

static bool check_usage(const struct args *args, struct ig_err *err)
{
    size_t asked = args->names.count + (args->tasks != NULL);
    if (asked == 0)
        return ig_err_set(err, IG_ERR_USAGE, "name a model, a data set, or --tasks all");
    if (args->to && (asked > 1 || args->tasks))
        return ig_err_set(err, IG_ERR_USAGE, "--to takes one model or data set");
    if (args->tasks && args->include)
        return ig_err_set(err, IG_ERR_USAGE, "--tasks chooses the files itself, without --include");
    return true;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    const struct pull p = {args, watch, &w};
    bool ok = check_usage(args, err);
    ig_json_open(&w, '{');
    ig_json_key(&w, "pulled");
    ig_json_open(&w, '[');
    for (size_t i = 0; ok && i < args->names.count; i++) {
        const char *name = args->names.items[i];
        bool is_set = strncmp(name, DATASETS, sizeof DATASETS - 1) == 0;
        ok = is_set ? pull_one(&p, name + sizeof DATASETS - 1, args->include, IG_HUB_DATASET, err)
                    : pull_one(&p, name, args->include, IG_HUB_MODEL, err);
    }
    if (ok && args->tasks) ok = pull_tasks(&p, args->tasks, err);
    ig_json_close(&w, ']');
    ig_json_close(&w, '}');
    if (ok && args->common.json) ok = cli_print_json(&text, err);
    ig_buf_release(&text);
    return ok;
}

const struct cli_command cli_pull = {
    "pull",
    "download models and data sets from the Hugging Face Hub",
    "ingot pull Qwen/Qwen3-0.6B && ingot quantize Qwen/Qwen3-0.6B Qwen3-0.6B-q8 --recipe q8",
    options,
    sizeof(struct args),
    run,
};
