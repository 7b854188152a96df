/* SPDX-License-Identifier: Apache-2.0
 * params — a recipe's parameters, resolved for each tensor as mergekit 0.1.5 does.
 *
 *     setting = value | {filter, value} | list of {filter, value};  value = scalar | gradient
 *
 * A filter matches when it is absent, "*", or part of the tensor's name; the first match wins; when
 * none does the next level is asked: the source's own parameters, then the slice's, the module's,
 * the recipe's, the default. What each model has of its own (weight, scale) is matched by the
 * input's name, what they share by the output's: with slices the layers have different numbers. A
 * gradient of n numbers is read at t, the place of the tensor's layer among its siblings: s = t (n
 * - 1), i = floor(s), v[i] + (s - i) (v[i+1] - v[i]); words and integers are v[i]. */
#include "merge/merge_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const nonfinite_choices[] = {"refuse", "zero", NULL};
const struct ig_opt merge__common_options[] = {
    IG_OPT_CHOICE(struct merge_common, nonfinite, "nonfinite", 0, nonfinite_choices, "refuse",
                  "what to do with NaN and infinities in an input"),
    IG_OPT_END,
};

struct condition {
    struct ig_slice filter; /* len 0: everything */
    const struct ig_yaml *value, *at;
    bool seen, won; /* matched some tensor; was the first to match one */
};

struct setting {
    const struct ig_opt *option;
    struct condition *conditions;
    uint32_t count;
};

struct level {
    struct setting *settings;
    uint32_t count;
};

struct slice_levels {
    struct level shared;
    struct level *sources;
};

struct merge_params {
    const struct ig_recipe *recipe;
    struct ig_arena arena;
    struct level shared, module;
    struct slice_levels *slices;
};

/* ---- values ---- */

static bool is_list_option(const struct merge_method *m, const struct ig_opt *option)
{
    for (const char *const *p = m->lists; p && *p; p++)
        if (strcmp(*p, option->name) == 0) return true;
    return false;
}

static bool set_text(const struct ig_opt *option, struct ig_slice text, const struct ig_yaml *at,
                     void *fields, struct ig_err *err)
{
    struct ig_err why = {0};
    if (ig_opt_set(option, text, fields, &why)) return true;
    return ig_yaml_fail(err, at, "%s", why.text);
}

static bool set_scalar(const struct ig_opt *option, const struct ig_yaml *node, void *fields,
                       struct ig_err *err)
{
    struct ig_slice text = node->text;
    double number;
    char digits[40];
    if (node->type == IG_YAML_LIST || node->type == IG_YAML_MAP || node->type == IG_YAML_NULL)
        return ig_yaml_fail(err, node, "%s: not a value", option->name);
    if (memchr(text.ptr, '\0', text.len))
        return ig_yaml_fail(err, node, "%s: a NUL byte in the value", option->name);
    if (node->type == IG_YAML_BOOL && option->kind == IG_OPT_KIND_FLAG)
        text = ig_slice_of(node->truth ? "true" : "false");
    if (option->kind == IG_OPT_KIND_REAL && ig_yaml_number(node, &number)) {
        snprintf(digits, sizeof digits, "%.17g", number);
        text = ig_slice_of(digits);
    }
    if (option->kind == IG_OPT_KIND_INT && node->type == IG_YAML_INT) {
        snprintf(digits, sizeof digits, "%lld", (long long)node->integer);
        text = ig_slice_of(digits);
    }
    return set_text(option, text, node, fields, err);
}

/* [0, 2] as the text "0,2". */
static bool set_joined(struct ig_arena *arena, const struct ig_opt *option,
                       const struct ig_yaml *node, void *fields, struct ig_err *err)
{
    struct ig_buf joined = {0};
    for (uint32_t i = 0; i < node->count; i++) {
        const struct ig_yaml *item = node->items[i];
        if (item->type == IG_YAML_LIST || item->type == IG_YAML_MAP) {
            ig_buf_release(&joined);
            return ig_yaml_fail(err, item, "%s: not a value", option->name);
        }
        if (i) ig_buf_char(&joined, ',');
        ig_buf_slice(&joined, item->text);
    }
    bool ok = ig_buf_ok(&joined, err);
    if (ok) {
        struct ig_slice text = ig_arena_copy(arena, ig_buf_view(&joined));
        ok = text.ptr ? set_text(option, text, node, fields, err) : ig_err_nomem(err);
    }
    ig_buf_release(&joined);
    return ok;
}

static bool set_gradient(const struct ig_opt *option, const struct ig_yaml *list, double t,
                         void *fields, struct ig_err *err)
{
    double s = t * (list->count - 1), low, high;
    uint32_t i = (uint32_t)floor(s), next = i + 1 < list->count ? i + 1 : i;
    char digits[40];
    if (option->kind != IG_OPT_KIND_REAL) return set_scalar(option, list->items[i], fields, err);
    if (!ig_yaml_number(list->items[i], &low) || !ig_yaml_number(list->items[next], &high))
        return ig_yaml_fail(err, list, "%s: a gradient is a list of numbers", option->name);
    snprintf(digits, sizeof digits, "%.17g", (1 - (s - i)) * low + (s - i) * high);
    return set_text(option, ig_slice_of(digits), list, fields, err);
}

static bool set_value(struct merge_params *p, const struct ig_opt *option,
                      const struct ig_yaml *value, double t, void *fields, struct ig_err *err)
{
    if (value->type != IG_YAML_LIST) return set_scalar(option, value, fields, err);
    if (is_list_option(p->recipe->method, option))
        return set_joined(&p->arena, option, value, fields, err);
    if (value->count == 0) return true; /* mergekit: as if absent */
    return set_gradient(option, value, t, fields, err);
}

/* ---- reading the settings ---- */

/* Every end of a gradient must be a value by itself. */
static bool check_value(struct merge_params *p, const struct ig_opt *option,
                        const struct ig_yaml *value, struct ig_err *err)
{
    size_t bytes = p->recipe->method->options_bytes + p->recipe->method->model_options_bytes +
                   sizeof(struct merge_common);
    void *scratch = ig_arena_new(&p->arena, bytes);
    if (!scratch) return ig_err_nomem(err);
    if (value->type != IG_YAML_LIST || is_list_option(p->recipe->method, option))
        return set_value(p, option, value, 0, scratch, err);
    for (uint32_t i = 0; i < value->count; i++)
        if (!set_scalar(option, value->items[i], scratch, err)) return false;
    return true;
}

static bool read_condition(struct merge_params *p, const struct ig_opt *option,
                           const struct ig_yaml *node, struct condition *out, struct ig_err *err)
{
    *out = (struct condition){.value = node, .at = node};
    if (node->type == IG_YAML_MAP) {
        for (uint32_t i = 0; i < node->count; i++) {
            const struct ig_yaml *key = node->items[2 * i];
            if (!ig_slice_is(key->text, "filter") && !ig_slice_is(key->text, "value"))
                return ig_yaml_fail(err, key,
                                    "unknown key '" IG_SLICE_FMT "'; a condition has filter "
                                    "and value",
                                    IG_SLICE_ARG(key->text));
        }
        const struct ig_yaml *filter = ig_yaml_get(node, "filter");
        out->value = ig_yaml_get(node, "value");
        if (!out->value)
            return ig_yaml_fail(err, node, "%s: a condition needs 'value'", option->name);
        if (filter && filter->type != IG_YAML_NULL) {
            if (filter->type == IG_YAML_LIST || filter->type == IG_YAML_MAP)
                return ig_yaml_fail(err, filter, "a filter is text");
            out->at = filter;
            if (!ig_slice_is(filter->text, "*")) out->filter = filter->text;
        }
    }
    return check_value(p, option, out->value, err);
}

static bool read_setting(struct merge_params *p, const struct ig_opt *option,
                         const struct ig_yaml *node, struct setting *out, struct ig_err *err)
{
    bool many =
        node->type == IG_YAML_LIST && node->count > 0 && node->items[0]->type == IG_YAML_MAP;
    out->option = option;
    out->count = many ? node->count : 1;
    out->conditions = ig_arena_array(&p->arena, out->count, sizeof *out->conditions);
    if (!out->conditions) return ig_err_nomem(err);
    if (!many) return read_condition(p, option, node, out->conditions, err);
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->items[i]->type != IG_YAML_MAP)
            return ig_yaml_fail(err, node->items[i], "%s: write a condition as 'value: ...'",
                                option->name);
        if (!read_condition(p, option, node->items[i], out->conditions + i, err)) return false;
    }
    return true;
}

static const struct ig_opt *find_option(const struct merge_method *m, struct ig_slice name,
                                        bool shared)
{
    const struct ig_opt *found = m->model_options ? ig_opt_find(m->model_options, name) : NULL;
    if (!found && shared && m->options) found = ig_opt_find(m->options, name);
    return found || !shared ? found : ig_opt_find(merge__common_options, name);
}

static int add_names(const struct ig_opt *options, const char **names, int count, int max)
{
    for (; options && options->kind != IG_OPT_KIND_END && count < max; options++)
        names[count++] = options->name;
    return count;
}

static bool fail_unknown(const struct merge_method *m, const struct ig_yaml *key, bool shared,
                         struct ig_err *err)
{
    enum { NAMES_MAX = 62 };
    const char *names[NAMES_MAX + 1] = {NULL};
    if (!shared && find_option(m, key->text, true))
        return ig_yaml_fail(err, key,
                            "'" IG_SLICE_FMT "' is no model's own parameter in %s; put it under "
                            "the recipe's parameters",
                            IG_SLICE_ARG(key->text), m->name);
    int count = add_names(m->model_options, names, 0, NAMES_MAX);
    if (shared) {
        count = add_names(m->options, names, count, NAMES_MAX);
        count = add_names(merge__common_options, names, count, NAMES_MAX);
    }
    const char *near = ig_opt_nearest(key->text, names);
    struct ig_buf list = {0};
    for (int i = 0; i < count; i++)
        ig_buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    ig_yaml_fail(err, key, "%s has no parameter '" IG_SLICE_FMT "'%s%s%s; it has: %s", m->name,
                 IG_SLICE_ARG(key->text), near ? "; did you mean '" : "", near ? near : "",
                 near ? "'?" : "", count ? list.data : "none here");
    ig_buf_release(&list);
    return false;
}

static bool read_level(struct merge_params *p, const struct ig_yaml *map, bool shared,
                       struct level *out, struct ig_err *err)
{
    if (!map) return true;
    out->count = map->count;
    out->settings = ig_arena_array(&p->arena, map->count, sizeof *out->settings);
    if (!out->settings) return ig_err_nomem(err);
    for (uint32_t i = 0; i < map->count; i++) {
        const struct ig_yaml *key = map->items[2 * i];
        const struct ig_opt *option = find_option(p->recipe->method, key->text, shared);
        if (!option) return fail_unknown(p->recipe->method, key, shared, err);
        if (!read_setting(p, option, map->items[2 * i + 1], out->settings + i, err)) return false;
    }
    return true;
}

static bool read_slice(struct merge_params *p, int index, struct ig_err *err)
{
    const struct recipe_slice *slice = p->recipe->slices + index;
    struct slice_levels *levels = p->slices + index;
    levels->sources = ig_arena_array(&p->arena, (size_t)slice->count, sizeof *levels->sources);
    if (!levels->sources) return ig_err_nomem(err);
    if (!read_level(p, slice->parameters, true, &levels->shared, err)) return false;
    for (int i = 0; i < slice->count; i++)
        if (!read_level(p, slice->sources[i].parameters, false, &levels->sources[i], err))
            return false;
    return true;
}

bool merge__params_new(const struct ig_recipe *recipe, struct merge_params **out,
                       struct ig_err *err)
{
    struct merge_params *p = calloc(1, sizeof *p);
    if (!p) return ig_err_nomem(err);
    p->recipe = recipe;
    p->slices = ig_arena_array(&p->arena, (size_t)recipe->slice_count, sizeof *p->slices);
    bool ok = p->slices || ig_err_nomem(err);
    ok = ok && read_level(p, recipe->parameters, true, &p->shared, err) &&
         read_level(p, recipe->module_parameters, true, &p->module, err);
    for (int i = 0; ok && i < recipe->slice_count; i++)
        ok = read_slice(p, i, err);
    if (!ok) {
        merge__params_free(p);
        return false;
    }
    *out = p;
    return true;
}

void merge__params_free(struct merge_params *params)
{
    if (!params) return;
    ig_arena_release(&params->arena);
    free(params);
}

/* ---- resolving ---- */

/* The value that holds for this tensor at this level, or NULL. */
static const struct ig_yaml *find_at(struct level *level, const struct ig_opt *option,
                                     struct ig_slice name)
{
    const struct ig_yaml *found = NULL;
    for (uint32_t i = 0; i < level->count; i++) {
        struct setting *s = level->settings + i;
        if (s->option != option) continue;
        for (uint32_t c = 0; c < s->count; c++) {
            struct condition *at = s->conditions + c;
            if (at->filter.len && !ig_slice_find(name, at->filter)) continue;
            at->seen = true;
            if (found) continue;
            at->won = true;
            found = at->value;
        }
    }
    return found;
}

/* row: of a model's own parameter; -1 for what all models share. */
static const struct ig_yaml *find_value(struct merge_params *p, const struct ig_opt *option,
                                        const struct merge_where *where, int row)
{
    struct slice_levels *slice = p->slices + where->slice;
    struct level *levels[] = {row < 0 ? NULL : &slice->sources[row], &slice->shared, &p->module,
                              &p->shared};
    struct ig_slice name = row < 0 ? where->name : where->inputs[row]->name;
    const struct ig_yaml *found = NULL;
    for (size_t i = 0; i < sizeof levels / sizeof *levels && !found; i++)
        if (levels[i]) found = find_at(levels[i], option, name);
    return found;
}

static bool is_required(const struct merge_method *m, const struct ig_opt *option)
{
    for (const char *const *p = m->required; p && *p; p++)
        if (strcmp(*p, option->name) == 0) return true;
    return false;
}

static bool fail_missing(const struct merge_params *p, const struct ig_opt *option, int row,
                         const struct merge_where *where, struct ig_err *err)
{
    const struct recipe_slice *slice = p->recipe->slices + where->slice;
    struct ig_slice path =
        row >= 0 ? p->recipe->models[slice->sources[row].model].path : ig_slice_of("");
    return ig_err_set(err, IG_ERR_DATA,
                      "%s needs the parameter '%s'%s" IG_SLICE_FMT "%s for tensor '" IG_SLICE_FMT
                      "'",
                      p->recipe->method->name, option->name, row >= 0 ? " of model '" : "",
                      IG_SLICE_ARG(path), row >= 0 ? "'" : "", IG_SLICE_ARG(where->name));
}

/* A base that is an origin, not an input, has no weight and the like. */
static bool is_origin(const struct ig_recipe *r, int slice, int row)
{
    return r->method->base != MERGE_BASE_INPUT && row == r->slices[slice].base;
}

static bool resolve_table(struct merge_params *p, const struct ig_opt *options, int row,
                          const struct merge_where *where, void *fields, struct ig_err *err)
{
    ig_opt_defaults(options, fields);
    for (const struct ig_opt *o = options; o->kind != IG_OPT_KIND_END; o++) {
        const struct ig_yaml *value = find_value(p, o, where, row);
        if (value) {
            if (!set_value(p, o, value, where->t, fields, err)) return false;
        } else if (is_required(p->recipe->method, o)) {
            return fail_missing(p, o, row, where, err);
        }
    }
    return true;
}

bool merge__params_resolve(struct merge_params *params, const struct merge_where *where,
                           struct merge_resolved *out, struct ig_err *err)
{
    const struct merge_method *m = params->recipe->method;
    int rows = params->recipe->slices[where->slice].count;
    size_t own = m->model_options_bytes;
    out->options = ig_arena_new(&params->arena, m->options_bytes);
    out->model_options = ig_arena_array(&params->arena, (size_t)rows, own);
    if (!out->options || !out->model_options) return ig_err_nomem(err);
    if (!resolve_table(params, merge__common_options, -1, where, &out->common, err)) return false;
    if (m->options && !resolve_table(params, m->options, -1, where, out->options, err))
        return false;
    for (int i = 0; m->model_options && i < rows; i++) {
        void *fields = out->model_options + (size_t)i * own;
        if (is_origin(params->recipe, where->slice, i))
            ig_opt_defaults(m->model_options, fields);
        else if (!resolve_table(params, m->model_options, i, where, fields, err))
            return false;
    }
    return true;
}

static bool check_level(const struct level *level, const struct ig_watch *watch, struct ig_err *err)
{
    for (uint32_t i = 0; i < level->count; i++) {
        for (uint32_t c = 0; c < level->settings[i].count; c++) {
            const struct condition *at = level->settings[i].conditions + c;
            if (!at->seen && at->filter.len)
                return ig_yaml_fail(err, at->at, "filter '" IG_SLICE_FMT "' matches no tensor",
                                    IG_SLICE_ARG(at->filter));
            if (!at->won)
                ig_watch_warn(watch,
                              "line %d, column %d: a condition of %s is never reached: earlier "
                              "ones match first",
                              at->at->line, at->at->column, level->settings[i].option->name);
        }
    }
    return true;
}

bool merge__params_check_used(const struct merge_params *params, const struct ig_watch *watch,
                              struct ig_err *err)
{
    if (!check_level(&params->shared, watch, err) || !check_level(&params->module, watch, err))
        return false;
    for (int i = 0; i < params->recipe->slice_count; i++) {
        const struct slice_levels *slice = params->slices + i;
        if (!check_level(&slice->shared, watch, err)) return false;
        for (int k = 0; k < params->recipe->slices[i].count; k++) {
            if (!is_origin(params->recipe, i, k)) {
                if (!check_level(&slice->sources[k], watch, err)) return false;
            } else if (slice->sources[k].count > 0) {
                ig_watch_warn(watch, "%s does not use parameters of its base_model",
                              params->recipe->method->name);
            }
        }
    }
    return true;
}
