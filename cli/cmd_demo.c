/* SPDX-License-Identifier: Apache-2.0
 * demo — the main job on the embedded tiny models: finetunes become one model, which is cast to
 * qx86-hi and mxfp4 in the same pass, compared with its parents, and asked a few things. */
#include "cli.h"
#include "demo.h"
#include "ingot/merge.h"
#include "recipes.h"
#include "talk.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEMO_VARIANTS "none,qx86-hi,mxfp4"

struct args {
    struct cli_common common;
    const char *out;
    bool full;
};

static const struct ig_opt options[] = {
    IG_OPT_TEXT(struct args, out, "out", 'o', "DIR", NULL,
                "keep the models in DIR; absent: a temporary folder, removed at the end"),
    IG_OPT_FLAG(struct args, full, "full", 0,
                "score every row of the mini-tasks, not the first 100"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static void heading(const char *text)
{
    cli_watch_clear();
    bool bold = cli_colours();
    printf("%s%s%s\n", bold ? "\n\033[1m" : "\n== ", text, bold ? "\033[0m" : " ==");
    fflush(stdout);
}

static bool write_recipe(const struct demo *demo, char path[4096], struct ig_err *err)
{
    snprintf(path, 4096, "%s/recipe.yaml", demo->folder);
    FILE *file = fopen(path, "w");
    if (!file) return ig_err_errno(err, errno, "cannot create '%s'", path);
    fputs("merge_method: yoyo_fusion\nmodels:\n", file);
    for (int i = 0; i < demo->parent_count; i++)
        fprintf(file, "  - model: %s\n", demo->parents[i].path);
    fputs("parameters:\n  center: geometric_median\nout_dtype: bfloat16\n", file);
    bool ok = !ferror(file);
    if (fclose(file) != 0 || !ok) return ig_err_errno(err, errno, "cannot write '%s'", path);
    return true;
}

static bool fuse(struct demo *demo, const struct ig_watch *watch, struct ig_err *err)
{
    char path[4096];
    struct cli_recipes quantize = {0};
    struct ig_recipe *recipe = NULL;
    struct ig_merge *merge = NULL;
    struct ig_job_report report = {0};
    bool ok = write_recipe(demo, path, err) &&
              cli_recipes_open(DEMO_VARIANTS, true, &quantize, err) &&
              ig_recipe_open(path, &recipe, err);
    if (ok) {
        struct ig_merge_job job = {.recipe = recipe,
                                   .out = demo->merged,
                                   .quantize = cli_recipes_view(&quantize),
                                   .quantize_count = quantize.count,
                                   .trace = true,
                                   .force = true};
        ok = ig_merge_plan(&job, watch, &merge, err) && ig_merge_run(merge, watch, &report, err) &&
             cli_print_report(&report, demo->merged, false, err);
    }
    for (int i = 0; ok && i < report.output_count; i++)
        demo_add_variant(demo, report.outputs[i].recipe, report.outputs[i].path);
    ig_merge_close(merge);
    ig_recipe_free(recipe);
    cli_recipes_release(&quantize);
    return ok;
}

static bool converse(const char *model, struct ig_err *err)
{
    static const char *const questions[] = {DEMO_QUESTIONS};
    struct talk_options talk_options = {
        .tokens_max = 60, .top_p = 1, .repetition_penalty = 1, .thinking = false};
    struct talk talk;
    if (!talk_open(model, &talk_options, false, &talk, err)) return false;
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof questions / sizeof *questions; i++) {
        struct ig_buf messages = {0};
        printf("> %s\n", questions[i]);
        talk_message(&messages, "user", ig_slice_of(questions[i]));
        ig_buf_char(&messages, ']');
        ok = ig_buf_ok(&messages, err) && talk_reply(&talk, ig_buf_view(&messages), err);
        putchar('\n');
        ig_buf_release(&messages);
    }
    fflush(stdout);
    if (ok) talk_print_rates(&talk);
    talk_close(&talk);
    return ok;
}

static bool make_folder(const struct args *args, struct demo *demo, struct ig_err *err)
{
    if (args->out) {
        snprintf(demo->folder, sizeof demo->folder, "%s", args->out);
        if (mkdir(demo->folder, 0777) != 0)
            return ig_err_errno(err, errno, "cannot make folder '%s'", demo->folder);
    } else {
        const char *tmp = getenv("TMPDIR");
        snprintf(demo->folder, sizeof demo->folder, "%s/ingot-demo-XXXXXX",
                 tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(demo->folder))
            return ig_err_errno(err, errno, "cannot make a temporary folder '%s'", demo->folder);
    }
    int n = snprintf(demo->merged, sizeof demo->merged, "%s/fused", demo->folder);
    return n < (int)sizeof demo->merged ||
           ig_err_set(err, IG_ERR_USAGE, "the folder's path is too long");
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct demo demo = {.limit = args->full ? 0 : 100};
    if (args->common.json)
        return ig_err_set(err, IG_ERR_USAGE, "demo has no --json; the commands it shows have");
    if (!demo_find_parents(&demo, err) || !make_folder(args, &demo, err)) return false;
    heading("three finetunes of one tiny base");
    bool ok = demo_print_parents(&demo, err);
    if (ok) heading("fused by yoyo_fusion, cast to qx86-hi and mxfp4 in the same pass");
    if (ok) ok = fuse(&demo, watch, err);
    if (ok) heading("from the sketchbook: how much of each model went in");
    if (ok) ok = demo_print_shares(&demo, err);
    if (ok) heading("is it better? mini-tasks, acc_norm where the task has it, else acc");
    if (ok) ok = demo_print_scores(&demo, watch, err);
    if (ok) heading("the fused model, as qx86-hi, answers");
    if (ok) ok = converse(demo_variant_path(&demo, "qx86-hi"), err);
    if (ok && args->out) printf("\nthe models are in %s\n", demo.merged);
    if (!args->out) demo_remove(demo.folder);
    return ok;
}

const struct cli_command cli_demo = {
    "demo",
    "merge, quantise, compare and talk: the embedded tiny models",
    "ingot demo --out models",
    options,
    sizeof(struct args),
    run,
};
