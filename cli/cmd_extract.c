/* SPDX-License-Identifier: Apache-2.0
 * extract — the text model out of a vision-language one. */
#include "merging.h"

struct args {
    struct cli_common common;
    struct cli_merging merging;
    const char *model, *out;
    int64_t context;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, model, "MODEL", "folder of a vision-language model"),
    IG_OPT_ARG(struct args, out, "OUT", "folder to write; must not exist"),
    IG_OPT_INT(struct args, context, "context-length", 0, "N", "0", 0, 2147483647,
               "as many positions, by YaRN; 0: as the model has"),
    CLI_MERGING(struct args),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct ig_recipe *recipe = NULL;
    bool ok = ig_recipe_extract(args->model, args->context, &recipe, err) &&
              cli_merging_run(&args->merging, recipe, args->out, args->common.json, watch, err);
    ig_recipe_free(recipe);
    return ok;
}

const struct cli_command cli_extract = {
    "extract",
    "take the text model out of a vision-language one",
    "ingot extract Qwen3-VL-8B-Instruct out --quantize none,qx86-hi",
    options,
    sizeof(struct args),
    run,
};
