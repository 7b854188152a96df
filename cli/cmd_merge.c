/* SPDX-License-Identifier: Apache-2.0
 * merge — several models into one, as a recipe says. */
#include "cli.h"
#include "ingot/merge.h"
#include "recipes.h"

struct args {
    struct cli_common common;
    const char *recipe, *out, *quantize;
    bool dry_run, trace, resume, force;
    int64_t threads, memory;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, recipe, "RECIPE.yaml", "what to merge and how, in mergekit's YAML"),
    IG_OPT_ARG(struct args, out, "OUT", "folder to write; must not exist"),
    IG_OPT_TEXT(struct args, quantize, "quantize", 0, "R[,R..]", NULL,
                "write these quantised forms in the same pass; 'none' is the plain model"),
    IG_OPT_FLAG(struct args, dry_run, "dry-run", 'n',
                "print the plan, the memory and the disk needed; write nothing"),
    IG_OPT_FLAG_ON(struct args, trace, "trace", 0, "do not write the sketchbook"),
    IG_OPT_FLAG(struct args, resume, "resume", 0, "go on where an interrupted run stopped"),
    IG_OPT_FLAG(struct args, force, "force", 'f', "replace OUT if it exists"),
    IG_OPT_INT(struct args, threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),
    IG_OPT_SIZE(struct args, memory, "memory", 0, "SIZE", "0", "working set; 0: chosen"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool describe(const struct ig_merge *merge, bool json, struct ig_err *err)
{
    struct ig_buf text = {0};
    bool ok = ig_merge_describe(merge, json, &text, err) && ig_buf_ok(&text, err);
    if (ok) fwrite(text.data, 1, text.len, stdout);
    if (ok && text.len && text.data[text.len - 1] != '\n') fputc('\n', stdout);
    ig_buf_release(&text);
    return ok;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    bool ok = false;
    struct cli_recipes quantize = {0};
    struct ig_recipe *recipe = NULL;
    struct ig_merge *merge = NULL;
    struct ig_job_report report = {0};
    if (!cli_recipes_open(args->quantize, true, &quantize, err)) goto done;
    if (!ig_recipe_open(args->recipe, &recipe, err)) goto done;
    struct ig_merge_job job = {
        .recipe = recipe,
        .out = args->out,
        .quantize = cli_recipes_view(&quantize),
        .quantize_count = quantize.count,
        .threads = (int)args->threads,
        .memory_bytes = args->memory,
        .trace = args->trace,
        .resume = args->resume,
        .force = args->force,
    };
    if (!ig_merge_plan(&job, watch, &merge, err)) goto done;
    if (args->dry_run)
        ok = describe(merge, args->common.json, err);
    else
        ok = ig_merge_run(merge, watch, &report, err) &&
             cli_print_report(&report, args->out, args->common.json, err);
done:
    ig_merge_close(merge);
    ig_recipe_free(recipe);
    cli_recipes_release(&quantize);
    return ok;
}

const struct cli_command cli_merge = {
    "merge", "combine models into one", "ingot merge recipe.yaml out --quantize none,qx86-hi,mxfp4",
    options, sizeof(struct args),       run,
};
