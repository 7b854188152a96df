/* SPDX-License-Identifier: Apache-2.0
 * ask — what a recipe says of a transplant, by mergekit-tokensurgeon's names and defaults:
 *
 *     transplant: {donor: MODEL, approximation: omp, k: 64, ...} */
#include "merge/transplant/transplant.h"

#include <stddef.h>

const char *const ig_transplant_methods[] = {
    "omp", "common_interpolation", "subword", "mean", "zero", "randn", NULL};
const char *const ig_transplant_weights[] = {"distance_proportional", "barycentric",
                                             "least_squares", NULL};
const char *const ig_transplant_subwords[] = {"mean", "sum", "weighted_mean", "first_last", NULL};
const char *const ig_transplant_allow[] = {"no", "yes", "embed", "lm_head", NULL};
const char *const ig_transplant_spellings[] = {"text", "mergekit", NULL};

#define T struct recipe_transplant
static const struct ig_opt options[] = {
    IG_OPT_CHOICE(T, approximation, "approximation", 0, ig_transplant_methods, "omp", ""),
    IG_OPT_INT(T, k, "k", 0, "N", "64", 1, PICKS_MAX, ""),
    IG_OPT_FLAG(T, cosine, "cosine_similarity", 0, ""),
    IG_OPT_CHOICE(T, weights, "weight_scheme", 0, ig_transplant_weights, "distance_proportional",
                  ""),
    IG_OPT_CHOICE(T, subword, "subword_method", 0, ig_transplant_subwords, "mean", ""),
    IG_OPT_CHOICE(T, prefix, "prefix_match", 0, ig_transplant_allow, "no", ""),
    IG_OPT_CHOICE(T, byte, "byte_match", 0, ig_transplant_allow, "no", ""),
    IG_OPT_CHOICE(T, spelling, "spelling", 0, ig_transplant_spellings, "text", ""),
    IG_OPT_REAL(T, noise, "new_vocab_noise", 0, "S", "0", 0, 1e6, ""),
    IG_OPT_REAL(T, scale, "new_vocab_scale", 0, "S", "1", -1e6, 1e6, ""),
    IG_OPT_END,
};
#undef T

static bool read_option(struct recipe_transplant *t, const struct ig_yaml *key,
                        const struct ig_yaml *value, struct ig_err *err)
{
    const char *names[16] = {"donor"};
    struct ig_err why = {0};
    const struct ig_opt *option = ig_opt_find(options, key->text);
    for (int i = 0; options[i].kind != IG_OPT_KIND_END; i++)
        names[i + 1] = options[i].name;
    if (!option) {
        const char *near = ig_opt_nearest(key->text, names);
        return ig_yaml_fail(err, key, "transplant: unknown key '" IG_SLICE_FMT "'%s%s%s",
                            IG_SLICE_ARG(key->text), near ? "; did you mean '" : "",
                            near ? near : "", near ? "'?" : "");
    }
    if (value->type == IG_YAML_NULL) return true;
    struct ig_slice text = value->text;
    if (value->type == IG_YAML_LIST || value->type == IG_YAML_MAP)
        return ig_yaml_fail(err, value, "transplant: %s is one value", option->name);
    /* YAML 1.1: a bare no is false */
    if (value->type == IG_YAML_BOOL && option->kind == IG_OPT_KIND_CHOICE)
        text = ig_slice_of(value->truth ? "yes" : "no");
    if (value->type == IG_YAML_BOOL && option->kind == IG_OPT_KIND_FLAG)
        text = ig_slice_of(value->truth ? "true" : "false");
    return ig_opt_set(option, text, t, &why) ||
           ig_yaml_fail(err, value, "transplant: %s", why.text);
}

static bool read_donor(struct ig_recipe *r, const struct ig_yaml *node, struct ig_err *err)
{
    if (r->count == MERGE_MODELS_MAX)
        return ig_yaml_fail(err, node, "more than %d models", MERGE_MODELS_MAX);
    r->transplant->donor = r->count;
    return merge__parse_reference(&r->arena, node, r->models + r->count++, err);
}

bool merge__read_transplant(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    const struct ig_yaml *map = ig_yaml_get(root, "transplant"), *donor;
    if (!map || map->type == IG_YAML_NULL) return true;
    if (map->type != IG_YAML_MAP)
        return ig_yaml_fail(err, map, "transplant is {donor: MODEL, ...}");
    donor = ig_yaml_get(map, "donor");
    if (!donor) return ig_yaml_fail(err, map, "transplant needs 'donor'");
    if (r->tokenizer) return ig_yaml_fail(err, map, "transplant and tokenizer exclude each other");
    if (r->count != 1)
        return ig_yaml_fail(err, map,
                            "transplant: the recipe has %d models: merge them first (a document "
                            "with a name), then transplant the result",
                            r->count);
    struct recipe_transplant *t = ig_arena_new(&r->arena, sizeof *t);
    if (!t) return ig_err_nomem(err);
    ig_opt_defaults(options, t);
    t->at = map;
    r->transplant = t;
    for (uint32_t i = 0; i < map->count; i++) {
        const struct ig_yaml *key = map->items[2 * i], *value = map->items[2 * i + 1];
        if (value == donor ? !read_donor(r, donor, err) : !read_option(t, key, value, err))
            return false;
    }
    return true;
}
