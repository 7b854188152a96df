/* SPDX-License-Identifier: Apache-2.0
 * transplant — a model with another model's tokenizer, as mergekit-tokensurgeon does it. */
#include "merging.h"

struct args {
    struct cli_common common;
    struct cli_merging merging;
    struct ig_transplant_ask ask;
    const char *out;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, ask.model, "MODEL", "folder of the model"),
    IG_OPT_ARG(struct args, ask.donor, "DONOR", "folder of the model whose tokenizer it gets"),
    IG_OPT_ARG(struct args, out, "OUT", "folder to write; must not exist"),
    IG_OPT_CHOICE(struct args, ask.approximation, "approximation", 'a', ig_transplant_methods,
                  "omp", "how rows of tokens are made that the model does not have"),
    IG_OPT_INT(struct args, ask.k, "k", 'k', "N", "64", 1, 4096,
               "of how many common tokens' rows (omp, common_interpolation)"),
    IG_OPT_FLAG(struct args, ask.cosine_similarity, "cosine-similarity", 'c',
                "nearest by the cosine, not by the distance (common_interpolation)"),
    IG_OPT_CHOICE(struct args, ask.weight_scheme, "weight-scheme", 'w', ig_transplant_weights,
                  "distance_proportional", "how the nearest count (common_interpolation)"),
    IG_OPT_CHOICE(struct args, ask.subword_method, "subword-method", 's', ig_transplant_subwords,
                  "mean", "how the parts of a token count (subword)"),
    IG_OPT_CHOICE(struct args, ask.prefix_match, "prefix-match", 0, ig_transplant_allow, "no",
                  "a new token takes the row of its longest beginning that the model has"),
    IG_OPT_CHOICE(struct args, ask.byte_match, "byte-match", 0, ig_transplant_allow, "no",
                  "A is the same as <0x41>"),
    IG_OPT_CHOICE(struct args, ask.spelling, "spelling", 0, ig_transplant_spellings, "text",
                  "tokens are the same when their text is; mergekit: when they are written alike "
                  "after the mark of a word's beginning"),
    IG_OPT_REAL(struct args, ask.new_vocab_noise, "new-vocab-noise", 0, "S", "0", 0, 1e6,
                "normal noise of this size on new rows"),
    IG_OPT_REAL(struct args, ask.new_vocab_scale, "new-vocab-scale", 0, "S", "1", -1e6, 1e6,
                "new rows times this"),
    CLI_MERGING(struct args),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct ig_recipe *recipe = NULL;
    bool ok = ig_recipe_transplant(&args->ask, &recipe, err) &&
              cli_merging_run(&args->merging, recipe, args->out, args->common.json, watch, err);
    ig_recipe_free(recipe);
    return ok;
}

const struct cli_command cli_transplant = {
    "transplant",
    "give a model the tokenizer of another one",
    "ingot transplant Qwen3-0.6B Mistral-Nemo-Base-2407 out -k 64",
    options,
    sizeof(struct args),
    run,
};
