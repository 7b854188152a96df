/* SPDX-License-Identifier: Apache-2.0
 * merge — several models into one, as a recipe says. */
#include "cli.h"
#include "merging.h"

struct args {
    struct cli_common common;
    struct cli_merging merging;
    const char *recipe, *out;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, recipe, "RECIPE.yaml", "what to merge and how, in mergekit's YAML"),
    IG_OPT_ARG(struct args, out, "OUT", "folder to write; must not exist"),
    CLI_MERGING(struct args),
    IG_OPT_FLAG(struct args, merging.through_disk, "through-disk", 0,
                "of several documents: make those that others use on disk first"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct ig_recipe_list *list = NULL;
    bool ok = ig_recipe_list_open(args->recipe, &list, err) &&
              cli_merging_run_list(&args->merging, list, args->out, args->common.json, watch, err);
    ig_recipe_list_free(list);
    return ok;
}

const struct cli_command cli_merge = {
    "merge", "combine models into one", "ingot merge recipe.yaml out --quantize none,qx86-hi,mxfp4",
    options, sizeof(struct args),       run,
};
