/* SPDX-License-Identifier: Apache-2.0
 * recipe — mergekit's YAML, strictly: what mergekit ignores without a word (unknown keys, the same
 * model twice) is an error here, with its line and column. Parameters are params.c's. */
#include "merge/merge_internal.h"

#include "base/file.h"

#include <stdlib.h>

#define ARENA_BYTES_MAX ((size_t)512 << 20)

static const char *const top_keys[] = {"merge_method",
                                       "models",
                                       "slices",
                                       "modules",
                                       "base_model",
                                       "parameters",
                                       "dtype",
                                       "out_dtype",
                                       "copy_missing_from",
                                       "numerics",
                                       "random_seed",
                                       "expand",
                                       "extract",
                                       "experts",
                                       "context",
                                       "tokenizer_source",
                                       "tokenizer",
                                       "chat_template",
                                       "name",
                                       "transplant",
                                       NULL};
static bool is_one_of(struct ig_slice text, const char *const *words)
{
    for (; *words; words++)
        if (ig_slice_is(text, *words)) return true;
    return false;
}

bool merge__check_keys(const struct ig_yaml *map, const char *const *known, struct ig_err *err)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct ig_yaml *key = map->items[2 * i];
        if (is_one_of(key->text, known)) continue;
        const char *near = ig_opt_nearest(key->text, known);
        return ig_yaml_fail(err, key, "unknown key '" IG_SLICE_FMT "'%s%s%s",
                            IG_SLICE_ARG(key->text), near ? "; did you mean '" : "",
                            near ? near : "", near ? "'?" : "");
    }
    return true;
}

bool merge__need_text(const struct ig_yaml *node, const char *what, struct ig_err *err)
{
    if (node->type == IG_YAML_LIST || node->type == IG_YAML_MAP || node->type == IG_YAML_NULL)
        return ig_yaml_fail(err, node, "%s must be text", what);
    if (node->text.len == 0) return ig_yaml_fail(err, node, "%s is empty", what);
    if (memchr(node->text.ptr, '\0', node->text.len))
        return ig_yaml_fail(err, node, "%s has a NUL byte in it", what);
    return true;
}

static bool fail_unsupported(const struct ig_yaml *at, const char *what, struct ig_err *err)
{
    ig_yaml_fail(err, at, "%s is not supported by this version yet", what);
    err->code = IG_ERR_UNSUPPORTED;
    return false;
}

static int find_model(const struct ig_recipe *r, struct ig_slice path)
{
    for (int i = 0; i < r->count; i++)
        if (ig_slice_equal(r->models[i].path, path)) return i;
    return -1;
}

bool merge__read_reference(struct ig_recipe *r, const struct ig_yaml *node, int *out,
                           struct ig_err *err)
{
    struct recipe_model model;
    if (!merge__parse_reference(&r->arena, node, &model, err)) return false;
    int at = find_model(r, model.path);
    if (at < 0) {
        if (r->count == MERGE_MODELS_MAX)
            return ig_yaml_fail(err, node, "more than %d models", MERGE_MODELS_MAX);
        at = r->count++;
        r->models[at] = model;
    }
    *out = at;
    return true;
}

bool merge__read_parameters(const struct ig_yaml *map, const struct ig_yaml **out,
                            struct ig_err *err)
{
    const struct ig_yaml *node = ig_yaml_get(map, "parameters");
    if (!node || node->type == IG_YAML_NULL) return true;
    if (node->type != IG_YAML_MAP) return ig_yaml_fail(err, node, "parameters must be a map");
    *out = node;
    return true;
}

static bool read_method(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    const char *names[MERGE_MODELS_MAX] = {NULL};
    const struct ig_yaml *node = ig_yaml_get(root, "merge_method");
    if (!node) return ig_yaml_fail(err, root, "the recipe needs 'merge_method'");
    if (!merge__need_text(node, "merge_method", err)) return false;
    r->method = merge__method_find(node->text);
    if (r->method) return true;
    for (int i = 0; merge__methods[i] && i + 1 < MERGE_MODELS_MAX; i++)
        names[i] = merge__methods[i]->name;
    const char *near = ig_opt_nearest(node->text, names);
    struct ig_buf list = {0};
    for (int i = 0; names[i]; i++)
        ig_buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    ig_yaml_fail(err, node, "unknown merge_method '" IG_SLICE_FMT "'%s%s%s; there are: %s",
                 IG_SLICE_ARG(node->text), near ? "; did you mean '" : "", near ? near : "",
                 near ? "'?" : "", list.data ? list.data : "");
    ig_buf_release(&list);
    return false;
}

static bool read_dtype(const struct ig_yaml *root, const char *key, bool *has, enum ig_dtype *out,
                       struct ig_err *err)
{
    const struct ig_yaml *node = ig_yaml_get(root, key);
    *has = node && node->type != IG_YAML_NULL;
    if (!*has) return true;
    if (!merge__need_text(node, key, err)) return false;
    struct ig_slice name = node->text;
    if (ig_slice_starts(name, "torch.")) name = ig_slice_make(name.ptr + 6, name.len - 6);
    bool known = ig_dtype_find(name, out);
    if (known && (*out == IG_F16 || *out == IG_BF16 || *out == IG_F32 || *out == IG_F64))
        return true;
    return ig_yaml_fail(
        err, node, "%s: '" IG_SLICE_FMT "' is %s; it may be float32, bfloat16, float16 or float64",
        key, IG_SLICE_ARG(node->text), known ? "no type to merge in" : "no known type");
}

static bool read_dtypes(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    if (!read_dtype(root, "dtype", &r->has_dtype, &r->dtype, err)) return false;
    if (!read_dtype(root, "out_dtype", &r->has_out_dtype, &r->out_dtype, err)) return false;
    if (r->has_dtype && r->dtype == IG_F64)
        return fail_unsupported(ig_yaml_get(root, "dtype"),
                                "dtype: float64 (arithmetic is float32, sums float64)", err);
    if (r->has_out_dtype || !r->has_dtype) return true;
    r->has_out_dtype = true;
    r->out_dtype = r->dtype;
    return true;
}

/* numerics: float32 (the default) or mergekit; random_seed: a whole number. */
static bool read_numbers(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    const struct ig_yaml *numerics = ig_yaml_get(root, "numerics");
    const struct ig_yaml *seed = ig_yaml_get(root, "random_seed");
    if (numerics && numerics->type != IG_YAML_NULL) {
        r->stepwise = ig_slice_is(numerics->text, "mergekit");
        if (!r->stepwise && !ig_slice_is(numerics->text, "float32"))
            return ig_yaml_fail(err, numerics, "numerics may be float32 or mergekit");
    }
    if (!seed || seed->type == IG_YAML_NULL) return true;
    if (seed->type != IG_YAML_INT)
        return ig_yaml_fail(err, seed, "random_seed must be a whole number");
    r->seed = seed->integer;
    return true;
}

static bool read_layout(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    const struct ig_yaml *extract = ig_yaml_get(root, "extract");
    const struct ig_yaml *experts = ig_yaml_get(root, "experts");
    if (extract && extract->type != IG_YAML_NULL) {
        if (!ig_slice_is(extract->text, "text"))
            return ig_yaml_fail(err, extract, "extract: text is all there is");
        r->extract = true;
    }
    if (!experts || experts->type == IG_YAML_NULL) return true;
    if (ig_slice_is(experts->text, "single"))
        r->experts = MERGE_EXPERTS_SINGLE;
    else if (ig_slice_is(experts->text, "fused"))
        r->experts = MERGE_EXPERTS_FUSED;
    else
        return ig_yaml_fail(err, experts, "experts is 'single' or 'fused'");
    return true;
}

static bool add_copy_source(struct ig_recipe *r, const struct ig_yaml *node, struct ig_err *err)
{
    struct recipe_model model;
    if (!merge__parse_reference(&r->arena, node, &model, err)) return false;
    int at = find_model(r, model.path);
    if (at < 0)
        return ig_yaml_fail(err, node,
                            "copy_missing_from: '" IG_SLICE_FMT "' is not one of the models",
                            IG_SLICE_ARG(model.path));
    for (int i = 0; i < r->copy_count; i++)
        if (r->copy_from[i] == at) return ig_yaml_fail(err, node, "the same model twice");
    r->copy_from[r->copy_count++] = at;
    return true;
}

static bool read_copy_sources(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    const struct ig_yaml *node = ig_yaml_get(root, "copy_missing_from");
    if (!node || node->type == IG_YAML_NULL) return true;
    if (node->type != IG_YAML_LIST) return add_copy_source(r, node, err);
    for (uint32_t i = 0; i < node->count; i++)
        if (!add_copy_source(r, node->items[i], err)) return false;
    return true;
}

/* It is a folder's name too. */
static bool read_title(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    const struct ig_yaml *node = ig_yaml_get(root, "name");
    if (!node || node->type == IG_YAML_NULL) return true;
    if (!merge__need_text(node, "name", err)) return false;
    if (node->text.ptr[0] == '.' || memchr(node->text.ptr, '/', node->text.len) ||
        node->text.len > 200)
        return ig_yaml_fail(err, node, "a name has no '/' in it and no '.' before it");
    r->title = node->text;
    r->title_at = node;
    return true;
}

static bool read_root(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    if (root->type != IG_YAML_MAP) return ig_yaml_fail(err, root, "a recipe is a map");
    if (merge__is_moe(root)) {
        r->method = merge__method_find(ig_slice_of("passthrough"));
        return read_title(r, root, err) && merge__read_moe(r, root, err) &&
               read_dtypes(r, root, err);
    }
    if (!merge__check_keys(root, top_keys, err) || !read_title(r, root, err)) return false;
    if (!merge__read_parameters(root, &r->parameters, err) || !read_method(r, root, err) ||
        !merge__read_slices(r, root, err) || !merge__read_expand(r, root, err) ||
        !merge__read_context(r, root, err) || !read_dtypes(r, root, err) ||
        !read_numbers(r, root, err) || !read_layout(r, root, err) ||
        !merge__read_tokenizer(r, root, err) || !merge__read_template(r, root, err) ||
        !read_copy_sources(r, root, err) || !merge__read_transplant(r, root, err))
        return false;
    /* unknown parameters and bad values show before a model is opened */
    struct merge_params *params;
    if (!merge__params_new(r, &params, err)) return false;
    merge__params_free(params);
    return true;
}

bool ig_recipe_parse(struct ig_slice text, const char *name, struct ig_recipe **out,
                     struct ig_err *err)
{
    struct ig_recipe *r = calloc(1, sizeof *r);
    if (!r) return ig_err_nomem(err);
    r->arena.bytes_max = ARENA_BYTES_MAX;
    r->text = ig_arena_copy(&r->arena, text);
    r->name = ig_arena_copy(&r->arena, ig_slice_of(name)).ptr;
    const struct ig_yaml *root = NULL;
    bool ok = (r->text.ptr && r->name) || ig_err_nomem(err);
    if (ok) root = ig_yaml_parse(r->text, &r->arena, err);
    ok = root && read_root(r, root, err);
    if (!ok) {
        ig_err_within(err, "%s", name);
        ig_recipe_free(r);
        return false;
    }
    *out = r;
    return true;
}

bool ig_recipe_open(const char *path, struct ig_recipe **out, struct ig_err *err)
{
    struct ig_buf text = {0};
    bool ok = ig_file_read(path, RECIPE_BYTES_MAX, &text, err) &&
              ig_recipe_parse(ig_buf_view(&text), path, out, err);
    ig_buf_release(&text);
    return ok;
}

void ig_recipe_free(struct ig_recipe *recipe)
{
    if (!recipe) return;
    ig_arena_release(&recipe->arena);
    free(recipe);
}
