/* SPDX-License-Identifier: Apache-2.0 */
#include "recipes.h"

static bool open_one(struct ig_slice word, bool allow_none, struct cli_recipes *out,
                     struct ig_err *err)
{
    char name[4096];
    if (out->count == IG_OUTPUTS_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "more than %d recipes", IG_OUTPUTS_MAX);
    if (word.len == 0 || word.len >= sizeof name)
        return ig_err_set(err, IG_ERR_USAGE, "an empty name in the list of recipes");
    memcpy(name, word.ptr, word.len);
    name[word.len] = '\0';
    struct ig_quant_recipe *recipe = NULL;
    bool none = allow_none && strcmp(name, "none") == 0;
    if (!none && !ig_quant_recipe_open(name, &recipe, err)) return false;
    out->items[out->count++] = recipe;
    return true;
}

bool cli_recipes_open(const char *list, bool allow_none, struct cli_recipes *out,
                      struct ig_err *err)
{
    while (list) {
        size_t len = strcspn(list, ",");
        if (!open_one(ig_slice_make(list, len), allow_none, out, err)) return false;
        list = list[len] ? list + len + 1 : NULL;
    }
    return true;
}

const struct ig_quant_recipe *const *cli_recipes_view(const struct cli_recipes *recipes)
{
    return (const struct ig_quant_recipe *const *)recipes->items;
}

void cli_recipes_release(struct cli_recipes *recipes)
{
    for (int i = 0; i < recipes->count; i++)
        ig_quant_recipe_free(recipes->items[i]);
    recipes->count = 0;
}
