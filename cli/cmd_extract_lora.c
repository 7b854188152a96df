/* SPDX-License-Identifier: Apache-2.0
 * extract-lora — what a finetuned model is beyond its base, as an adapter. */
#include "cli.h"
#include "ingot/adapter.h"

static const char *const dtypes[] = {"keep", "bfloat16", "float16", "float32", NULL};

struct args {
    struct cli_common common;
    const char *tuned, *base, *out, *include, *exclude, *save;
    int64_t rank, threads, memory;
    double alpha, epsilon;
    int dtype;
    bool distribute, embed, skip, report, dry_run, check, resume, force;
    struct ig_opt_texts include_regex, exclude_regex;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, tuned, "FINETUNED", "folder of the finetuned model; may be quantised"),
    IG_OPT_ARG(struct args, out, "OUT", "folder to write; must not exist"),
    IG_OPT_TEXT(struct args, base, "base", 'b', "BASE", NULL, "the model it was made of (needed)"),
    IG_OPT_INT(struct args, rank, "rank", 'r', "N", "128", 1, 65536,
               "rank of the factors, at most"),
    IG_OPT_REAL(struct args, alpha, "alpha", 0, "A", "0", 0, 1e6,
                "lora_alpha, with factors to match; 0: the rank"),
    IG_OPT_TEXTS(struct args, include_regex, "include-regex", 'i', "REGEX",
                 "only modules with a match of it in their names; may be given several times"),
    IG_OPT_TEXTS(struct args, exclude_regex, "exclude-regex", 'e', "REGEX", "none of these"),
    IG_OPT_TEXT(struct args, include, "include", 0, "P[,P..]", NULL,
                "the same by parts of names, or by globs where P has * or ?"),
    IG_OPT_TEXT(struct args, exclude, "exclude", 0, "P[,P..]", NULL, "none of these modules"),
    IG_OPT_TEXT(struct args, save, "save-module", 0, "NAME[,NAME..]", NULL,
                "save these modules whole, by their last names"),
    IG_OPT_FLAG(struct args, embed, "embed-lora", 0,
                "embeddings and head as LoRA too; else they are saved whole"),
    IG_OPT_FLAG_ON(struct args, distribute, "distribute-scale", 0,
                   "put the singular values into A alone, not their roots into both"),
    IG_OPT_REAL(struct args, epsilon, "sv-epsilon", 0, "E", "0", 0, 1e30,
                "leave out singular values up to E"),
    IG_OPT_FLAG(struct args, skip, "skip-undecomposable", 0,
                "leave out norms and the like; else they are saved whole"),
    IG_OPT_CHOICE(struct args, dtype, "dtype", 0, dtypes, "keep", "of the factors"),
    IG_OPT_FLAG(struct args, report, "report", 0, "print what each module keeps, and of what"),
    IG_OPT_FLAG(struct args, dry_run, "dry-run", 'n', "do all but write"),
    IG_OPT_FLAG(struct args, check, "check", 0,
                "print what is taken for what, and how large it is at most; read no weights"),
    IG_OPT_FLAG(struct args, resume, "resume", 0, "go on where an interrupted run stopped"),
    IG_OPT_FLAG(struct args, force, "force", 'f', "replace OUT if it exists"),
    IG_OPT_INT(struct args, threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),
    IG_OPT_SIZE(struct args, memory, "memory", 0, "SIZE", "0", "working set; 0: 2G"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static void print_report(const struct ig_adapter_row *rows, int64_t count)
{
    printf("%8s %8s %9s %9s %7s %7s  %s\n", "rank", "kept", "relative", "effective", "for 90%",
           "for 99%", "module");
    for (int64_t i = 0; i < count; i++) {
        const struct ig_adapter_row *r = rows + i;
        if (r->kind == IG_ADAPTER_LORA)
            printf("%8lld %7.2f%% %9.3g %9.1f %7lld %7lld  " IG_SLICE_FMT "\n", (long long)r->rank,
                   100 * r->kept, r->relative, r->effective, (long long)r->rank_90,
                   (long long)r->rank_99, IG_SLICE_ARG(r->module));
        else
            printf("%8s %8s %9.3g %9s %7s %7s  " IG_SLICE_FMT "\n",
                   r->kind == IG_ADAPTER_SAVED   ? "whole"
                   : r->kind == IG_ADAPTER_EQUAL ? "equal"
                                                 : "left",
                   "", r->relative, "", "", "", IG_SLICE_ARG(r->module));
    }
}

static void print_plan(const struct args *args, const struct ig_adapter *adapter)
{
    char bytes[32];
    int64_t count, kinds[4] = {0};
    const struct ig_adapter_row *rows = ig_adapter_rows(adapter, &count);
    printf("%8s %14s  %s\n", "rank", "shape", "module");
    for (int64_t i = 0; i < count; i++) {
        const struct ig_adapter_row *r = rows + i;
        char shape[48], rank[24];
        snprintf(shape, sizeof shape, "%lldx%lld", (long long)r->rows, (long long)r->cols);
        snprintf(rank, sizeof rank, "%lld", (long long)r->rank);
        kinds[r->kind]++;
        printf("%8s %14s  " IG_SLICE_FMT "\n", r->kind == IG_ADAPTER_LORA ? rank : "whole", shape,
               IG_SLICE_ARG(r->module));
    }
    printf("%lld modules of rank up to %lld, %lld tensors whole: at most %s; nothing is read or "
           "written\n",
           (long long)kinds[IG_ADAPTER_LORA], (long long)args->rank,
           (long long)kinds[IG_ADAPTER_SAVED], cli_bytes(ig_adapter_bytes(adapter), bytes));
}

static void print_summary(const struct args *args, const struct ig_adapter *adapter)
{
    char bytes[32];
    int64_t count, kinds[4] = {0};
    const struct ig_adapter_row *rows = ig_adapter_rows(adapter, &count);
    if (args->report) print_report(rows, count);
    for (int64_t i = 0; i < count; i++)
        kinds[rows[i].kind]++;
    printf("%lld modules of rank up to %lld keep %.2f%% of the difference's energy; %lld tensors "
           "saved whole, "
           "%lld equal to the base",
           (long long)kinds[IG_ADAPTER_LORA], (long long)args->rank, 100 * ig_adapter_kept(adapter),
           (long long)kinds[IG_ADAPTER_SAVED], (long long)kinds[IG_ADAPTER_EQUAL]);
    if (kinds[IG_ADAPTER_LEFT]) printf(", %lld left out", (long long)kinds[IG_ADAPTER_LEFT]);
    if (args->dry_run)
        puts("; nothing written");
    else
        printf("; %s in %s\n", cli_bytes(ig_adapter_bytes(adapter), bytes), args->out);
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    static const enum ig_dtype dtype_of[] = {IG_F32, IG_BF16, IG_F16, IG_F32};
    const struct args *args = arguments;
    struct ig_adapter *adapter;
    struct ig_buf text = {0};
    const struct ig_adapter_job job = {
        .tuned = args->tuned,
        .base = args->base,
        .out = args->out,
        .rank = args->rank,
        .alpha = args->alpha,
        .epsilon = args->epsilon,
        .include = args->include,
        .exclude = args->exclude,
        .include_regex = {args->include_regex.items, args->include_regex.count},
        .exclude_regex = {args->exclude_regex.items, args->exclude_regex.count},
        .save = args->save,
        .together = !args->distribute,
        .embed = args->embed,
        .skip = args->skip,
        .has_dtype = args->dtype != 0,
        .dtype = dtype_of[args->dtype],
        .threads = (int)args->threads,
        .memory_bytes = args->memory,
        .resume = args->resume,
        .force = args->force,
        .plan_only = args->check,
        .dry_run = args->dry_run};
    if (!args->base) return ig_err_set(err, IG_ERR_USAGE, "--base says what it was made of");
    if (!ig_adapter_extract(&job, watch, &adapter, err)) return false;
    bool ok = true;
    if (args->common.json)
        ok = ig_adapter_describe(adapter, &text, err) && cli_print_json(&text, err);
    else if (args->check)
        print_plan(args, adapter);
    else
        print_summary(args, adapter);
    ig_buf_release(&text);
    ig_adapter_close(adapter);
    return ok;
}

const struct cli_command cli_extract_lora = {
    "extract-lora",
    "take a finetuned model's difference from its base as a LoRA",
    "ingot extract-lora finetuned adapter --base Qwen/Qwen3-0.6B --rank 64 --report",
    options,
    sizeof(struct args),
    run,
};
