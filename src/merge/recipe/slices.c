/* SPDX-License-Identifier: Apache-2.0
 * slices — which layers of which models become which layers of the output.
 *
 *     models:  [{model, parameters}]                                   all layers of every model
 *     slices:  [{sources: [{model, layer_range: [lo, hi], parameters}], base_model, parameters}]
 *     modules: {default: {models | slices, parameters}}
 *
 * hi is exclusive. Ranges may repeat, overlap and go backwards; what mergekit finds out while it
 * runs (a range past the last layer) is checked before a byte is read. */
#include "merge/merge_internal.h"

#define LAYERS_MAX 100000 /* of the output: the largest published model has 126 */

static const char *const model_keys[] = {"model", "parameters", NULL};
static const char *const source_keys[] = {"model", "layer_range", "parameters", NULL};
/* residual_weight: mergekit accepts it and never uses it. */
static const char *const slice_keys[] = {"sources", "base_model", "parameters", "residual_weight",
                                         NULL};
static const char *const module_keys[] = {"models", "slices", "parameters", NULL};

/* ---- one source ---- */

static bool read_bound(const struct ig_yaml *node, int64_t *out, struct ig_err *err)
{
    if (node->type != IG_YAML_INT || node->integer < 0 || node->integer > LAYERS_MAX)
        return ig_yaml_fail(err, node, "a layer is a number from 0 to %d", LAYERS_MAX);
    *out = node->integer;
    return true;
}

static bool read_range(const struct ig_yaml *source, struct recipe_source *out, struct ig_err *err)
{
    const struct ig_yaml *node = ig_yaml_get(source, "layer_range");
    if (!node) return ig_yaml_fail(err, source, "a source needs layer_range: [first, end]");
    if (node->type != IG_YAML_LIST || node->count != 2)
        return ig_yaml_fail(err, node, "layer_range is [first, end], the end not included");
    if (!read_bound(node->items[0], &out->first, err) ||
        !read_bound(node->items[1], &out->end, err))
        return false;
    if (out->first >= out->end)
        return ig_yaml_fail(err, node, "layer_range [%lld, %lld] has no layer in it",
                            (long long)out->first, (long long)out->end);
    out->range = node;
    return true;
}

static bool read_source(struct ig_recipe *r, const struct ig_yaml *node, bool ranged,
                        struct recipe_source *out, struct ig_err *err)
{
    *out = (struct recipe_source){.node = node};
    if (node->type != IG_YAML_MAP)
        return ig_yaml_fail(err, node, "a model is written {model: PATH}");
    if (!merge__check_keys(node, ranged ? source_keys : model_keys, err)) return false;
    const struct ig_yaml *model = ig_yaml_get(node, "model");
    if (!model) return ig_yaml_fail(err, node, "a model needs 'model'");
    if (!merge__read_reference(r, model, &out->model, err)) return false;
    out->node = model;
    return merge__read_parameters(node, &out->parameters, err) &&
           (!ranged || read_range(node, out, err));
}

static bool same_source(const struct recipe_source *a, const struct recipe_source *b)
{
    return a->model == b->model && a->first == b->first;
}

/* ---- the sources of a slice ---- */

/* Room for a base that joins. */
static bool read_sources(struct ig_recipe *r, const struct ig_yaml *list, bool ranged,
                         struct recipe_slice *slice, struct ig_err *err)
{
    const char *what = ranged ? "sources" : "models";
    if (list->type != IG_YAML_LIST || list->count == 0)
        return ig_yaml_fail(err, list, "%s must be a list of at least one model", what);
    if (list->count > MERGE_MODELS_MAX)
        return ig_yaml_fail(err, list, "more than %d models", MERGE_MODELS_MAX);
    slice->sources = ig_arena_array(&r->arena, (size_t)list->count + 1, sizeof *slice->sources);
    if (!slice->sources) return ig_err_nomem(err);
    slice->node = list;
    slice->base = -1;
    for (uint32_t i = 0; i < list->count; i++) {
        struct recipe_source *s = slice->sources + i;
        if (!read_source(r, list->items[i], ranged, s, err)) return false;
        for (uint32_t j = 0; j < i; j++)
            if (same_source(s, slice->sources + j))
                return ig_yaml_fail(err, s->node, "model '" IG_SLICE_FMT "' is listed twice",
                                    IG_SLICE_ARG(r->models[s->model].path));
        if (s->end - s->first != slice->sources->end - slice->sources->first)
            return ig_yaml_fail(err, s->range, "%lld layers beside %lld of the first source",
                                (long long)(s->end - s->first),
                                (long long)(slice->sources->end - slice->sources->first));
    }
    slice->count = (int)list->count;
    return true;
}

/* The base is an input; one that `models` does not list joins it (mergekit does the same). Methods
 * that need a base have it as row 0. */
static bool place_base(struct ig_recipe *r, struct recipe_slice *slice, int base,
                       const struct ig_yaml *node, struct ig_err *err)
{
    bool first = r->method->base != MERGE_BASE_INPUT;
    int at = 0;
    while (at < slice->count && slice->sources[at].model != base)
        at++;
    if (at == slice->count && r->ranged) {
        if (r->method->base == MERGE_BASE_INPUT) return true;
        return ig_yaml_fail(err, slice->node, "the base_model '" IG_SLICE_FMT "' must be a source",
                            IG_SLICE_ARG(r->models[base].path));
    }
    if (at == slice->count) {
        if (slice->count == MERGE_MODELS_MAX)
            return ig_yaml_fail(err, node, "more than %d models", MERGE_MODELS_MAX);
        slice->sources[slice->count++] = (struct recipe_source){.model = base, .node = node};
    }
    slice->base = first ? 0 : at;
    if (!first) return true;
    struct recipe_source row = slice->sources[at];
    memmove(slice->sources + 1, slice->sources, (size_t)at * sizeof *slice->sources);
    slice->sources[0] = row;
    return true;
}

static bool check_count(const struct ig_recipe *r, const struct recipe_slice *slice,
                        struct ig_err *err)
{
    const struct merge_method *m = r->method;
    int count = slice->count - (m->base == MERGE_BASE_OPTIONAL && slice->base >= 0);
    const char *base = m->base == MERGE_BASE_OPTIONAL   ? " besides the base"
                       : m->base == MERGE_BASE_REQUIRED ? ", base included"
                                                        : "";
    const char *are = count == 1 ? "is" : "are";
    if (count >= m->models_min && count <= m->models_max) return true;
    if (m->models_min == m->models_max)
        return ig_yaml_fail(err, slice->node, "%s takes exactly %d model%s%s; there %s %d", m->name,
                            m->models_min, m->models_min == 1 ? "" : "s", base, are, count);
    return ig_yaml_fail(err, slice->node, "%s takes %d to %d models%s; there %s %d", m->name,
                        m->models_min, m->models_max, base, are, count);
}

/* base_model of the map into *model; an absent one leaves it. */
static bool read_base(struct ig_recipe *r, const struct ig_yaml *map, int *model,
                      const struct ig_yaml **node, struct ig_err *err)
{
    const struct ig_yaml *found = ig_yaml_get(map, "base_model");
    if (!found || found->type == IG_YAML_NULL) return true;
    *node = found;
    return merge__read_reference(r, found, model, err);
}

/* ---- the forms ---- */

static bool read_slice(struct ig_recipe *r, const struct ig_yaml *node, struct recipe_slice *slice,
                       struct ig_err *err)
{
    if (node->type != IG_YAML_MAP) return ig_yaml_fail(err, node, "a slice is {sources: [...]}");
    if (!merge__check_keys(node, slice_keys, err)) return false;
    const struct ig_yaml *list = ig_yaml_get(node, "sources"), *at = node;
    if (!list) return ig_yaml_fail(err, node, "a slice needs 'sources'");
    int base = r->base;
    if (!read_sources(r, list, true, slice, err) || !read_base(r, node, &base, &at, err) ||
        !merge__read_parameters(node, &slice->parameters, err))
        return false;
    if (base >= 0) {
        if (!place_base(r, slice, base, at, err)) return false;
    } else if (r->method->base == MERGE_BASE_REQUIRED) {
        return ig_yaml_fail(err, node, "merge_method %s needs a base_model", r->method->name);
    }
    return check_count(r, slice, err);
}

static bool read_ranged(struct ig_recipe *r, const struct ig_yaml *root, const struct ig_yaml *list,
                        struct ig_err *err)
{
    const struct ig_yaml *node;
    int64_t layers = 0;
    if (list->type != IG_YAML_LIST || list->count == 0)
        return ig_yaml_fail(err, list, "slices must be a list of at least one slice");
    r->ranged = true;
    r->slices = ig_arena_array(&r->arena, list->count, sizeof *r->slices);
    if (!r->slices) return ig_err_nomem(err);
    if (!read_base(r, root, &r->base, &node, err)) return false;
    for (uint32_t i = 0; i < list->count; i++, r->slice_count++) {
        if (!read_slice(r, list->items[i], r->slices + i, err)) return false;
        layers += r->slices[i].sources->end - r->slices[i].sources->first;
        if (layers > LAYERS_MAX)
            return ig_yaml_fail(err, list->items[i], "more than %d layers", LAYERS_MAX);
    }
    return true;
}

static bool read_whole(struct ig_recipe *r, const struct ig_yaml *root, const struct ig_yaml *list,
                       struct ig_err *err)
{
    const struct ig_yaml *node = root;
    r->slices = ig_arena_new(&r->arena, sizeof *r->slices);
    if (!r->slices) return ig_err_nomem(err);
    r->slice_count = 1;
    if (!read_sources(r, list, false, r->slices, err) || !read_base(r, root, &r->base, &node, err))
        return false;
    if (r->base >= 0) {
        if (!place_base(r, r->slices, r->base, node, err)) return false;
    } else if (r->method->base == MERGE_BASE_REQUIRED) {
        return ig_yaml_fail(err, root, "merge_method %s needs a base_model", r->method->name);
    }
    return check_count(r, r->slices, err);
}

/* The map that holds models or slices: the root, or modules' only entry. */
static bool find_form(struct ig_recipe *r, const struct ig_yaml *root, const struct ig_yaml **out,
                      struct ig_err *err)
{
    const struct ig_yaml *modules = ig_yaml_get(root, "modules");
    *out = root;
    if (!modules) return true;
    if (ig_yaml_get(root, "models") || ig_yaml_get(root, "slices"))
        return ig_yaml_fail(err, modules, "a recipe has one of models, slices and modules");
    if (modules->type != IG_YAML_MAP || modules->count == 0)
        return ig_yaml_fail(err, modules, "modules is a map: {default: {models | slices}}");
    for (uint32_t i = 0; i < modules->count; i++) {
        const struct ig_yaml *name = modules->items[2 * i];
        if (ig_slice_is(name->text, "default")) continue;
        ig_yaml_fail(err, name,
                     "module '" IG_SLICE_FMT "': only 'default', the whole model, is supported",
                     IG_SLICE_ARG(name->text));
        err->code = IG_ERR_UNSUPPORTED;
        return false;
    }
    *out = modules->items[1];
    if ((*out)->type != IG_YAML_MAP)
        return ig_yaml_fail(err, *out, "a module is {models | slices}");
    return merge__check_keys(*out, module_keys, err) &&
           merge__read_parameters(*out, &r->module_parameters, err);
}

bool merge__read_slices(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    const struct ig_yaml *form;
    r->base = -1;
    if (!find_form(r, root, &form, err)) return false;
    const struct ig_yaml *models = ig_yaml_get(form, "models");
    const struct ig_yaml *slices = ig_yaml_get(form, "slices");
    if (models && slices)
        return ig_yaml_fail(err, slices, "a recipe has one of models, slices and modules");
    if (slices) return read_ranged(r, root, slices, err);
    if (models) return read_whole(r, root, models, err);
    return ig_yaml_fail(err, form, "the recipe needs 'models' or 'slices'");
}
