/* SPDX-License-Identifier: Apache-2.0
 * expand — one layer becomes N copies, each with scales of its own. */
#include "merging.h"

struct args {
    struct cli_common common;
    struct cli_merging merging;
    const char *model, *out, *preset, *scales;
    int64_t copies, layer, context;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, model, "MODEL", "folder of the model"),
    IG_OPT_ARG(struct args, out, "OUT", "folder to write; must not exist"),
    IG_OPT_INT(struct args, copies, "copies", 0, "N", "20", 1, 1000,
               "how often the layer is there afterwards: layers + N - 1"),
    IG_OPT_TEXT(struct args, preset, "preset", 0, "P", NULL,
                "identity (the copies do nothing; what is taken without --scales), constant:S or "
                "ramp:A,B: scale of the copies' o_proj and down_proj"),
    IG_OPT_TEXT(struct args, scales, "scales", 0, "FILE", NULL,
                "table of scales, copy by filter, YAML or JSON"),
    IG_OPT_INT(struct args, layer, "layer", 0, "L", "-1", -1, 100000, "from 0; -1: the last"),
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
    const struct ig_expand_ask ask = {.model = args->model,
                                      .copies = args->copies,
                                      .layer = args->layer,
                                      .preset = args->preset,
                                      .scales = args->scales,
                                      .context_length = args->context};
    if (args->preset && args->scales)
        return ig_err_set(err, IG_ERR_USAGE, "--preset and --scales exclude each other");
    bool ok = ig_recipe_expand(&ask, &recipe, err) &&
              cli_merging_run(&args->merging, recipe, args->out, args->common.json, watch, err);
    ig_recipe_free(recipe);
    return ok;
}

const struct cli_command cli_expand = {
    "expand",
    "repeat a layer, each copy with scales of its own",
    "ingot expand model out --copies 20 --preset constant:0.3 --quantize qx86-hi",
    options,
    sizeof(struct args),
    run,
};
