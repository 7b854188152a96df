/* SPDX-License-Identifier: Apache-2.0
 * expand — one layer of the merge becomes N copies, each with scales of its own.
 *
 *     expand: {copies: N, layer: last | NUMBER, preset: TEXT | scales: TABLE}
 *     preset: identity | constant:S | ramp:A,B
 *     table:  {FILTER: S | [S, ...]}  or  [{FILTER: S, ...}, ...], a row for each copy
 *
 * Copy 0 is the layer itself. A scale multiplies what was merged, once that is rounded, so that the
 * bytes are those of the two steps one after the other; it is written with the layer it is a copy
 * of, and costs no read. A block adds o_proj(...) and down_proj(...) to the residual stream: at
 * scale 0 of both a copy does nothing. */
#include "merge/merge_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define COPIES_MAX 1000

/* What ends the two halves of a block, in the families that we know the names of. */
static const char *const enders[] = {
    "o_proj", "out_proj", "down_proj",       "c_proj",        "wo",
    "w2",     "fc2",      "attention.dense", "dense_4h_to_h", NULL};

struct filter {
    struct ig_slice text;
    const struct ig_yaml *at;
    double *values; /* one for each copy; NAN: this filter does not speak of it */
    bool ender;     /* a preset's: the module's last words must be it */
    bool used;
};

struct recipe_expand {
    const struct ig_yaml *at, *layer_at;
    int copies;
    int64_t layer; /* -1: the last */
    struct filter *filters;
    int filter_count;
    const char *preset; /* or NULL */
};

/* ---- reading ---- */

static struct filter *new_filter(struct ig_recipe *r, struct recipe_expand *x, struct ig_slice text,
                                 const struct ig_yaml *at, struct ig_err *err)
{
    struct filter *f = x->filters + x->filter_count++;
    *f = (struct filter){.text = text, .at = at};
    f->values = ig_arena_array(&r->arena, (size_t)x->copies, sizeof *f->values);
    for (int i = 0; f->values && i < x->copies; i++)
        f->values[i] = (double)NAN;
    if (f->values) return f;
    ig_err_nomem(err);
    return NULL;
}

static bool read_scale(const struct ig_yaml *node, double *out, struct ig_err *err)
{
    if (node->type != IG_YAML_LIST && node->type != IG_YAML_MAP && ig_yaml_number(node, out) &&
        isfinite(*out))
        return true;
    return ig_yaml_fail(err, node, "a scale is a number");
}

static bool read_filter_name(const struct ig_yaml *node, struct ig_slice *out, struct ig_err *err)
{
    if (!merge__need_text(node, "a filter", err)) return false;
    *out = ig_slice_is(node->text, "*") ? ig_slice_of("") : node->text;
    return true;
}

/* {FILTER: S | [S, ...]}: a number is for all copies but the layer itself. */
static bool read_columns(struct ig_recipe *r, struct recipe_expand *x, const struct ig_yaml *map,
                         struct ig_err *err)
{
    x->filters = ig_arena_array(&r->arena, map->count, sizeof *x->filters);
    if (!x->filters) return ig_err_nomem(err);
    for (uint32_t i = 0; i < map->count; i++) {
        const struct ig_yaml *value = map->items[2 * i + 1];
        struct ig_slice name = {0};
        double scale = 1;
        if (!read_filter_name(map->items[2 * i], &name, err)) return false;
        struct filter *f = new_filter(r, x, name, map->items[2 * i], err);
        if (!f) return false;
        if (value->type == IG_YAML_LIST && value->count != (uint32_t)x->copies)
            return ig_yaml_fail(err, value, "%u scales for %d copies (the layer itself is one)",
                                value->count, x->copies);
        if (value->type != IG_YAML_LIST && !read_scale(value, &scale, err)) return false;
        for (int c = 0; c < x->copies; c++) {
            f->values[c] = c ? scale : 1;
            if (value->type == IG_YAML_LIST && !read_scale(value->items[c], &f->values[c], err))
                return false;
        }
    }
    return true;
}

/* [{FILTER: S, ...}, ...] */
static bool read_rows(struct ig_recipe *r, struct recipe_expand *x, const struct ig_yaml *list,
                      struct ig_err *err)
{
    size_t total = 0;
    if (list->count != (uint32_t)x->copies)
        return ig_yaml_fail(err, list, "%u rows for %d copies (the layer itself is one)",
                            list->count, x->copies);
    for (uint32_t c = 0; c < list->count; c++) {
        if (list->items[c]->type != IG_YAML_MAP)
            return ig_yaml_fail(err, list->items[c], "a row is {FILTER: SCALE, ...}");
        total += list->items[c]->count;
    }
    x->filters = ig_arena_array(&r->arena, total, sizeof *x->filters);
    if (!x->filters) return ig_err_nomem(err);
    for (uint32_t c = 0; c < list->count; c++) {
        const struct ig_yaml *row = list->items[c];
        for (uint32_t i = 0; i < row->count; i++) {
            struct ig_slice name = {0};
            if (!read_filter_name(row->items[2 * i], &name, err)) return false;
            struct filter *f = new_filter(r, x, name, row->items[2 * i], err);
            if (!f || !read_scale(row->items[2 * i + 1], &f->values[c], err)) return false;
        }
    }
    return true;
}

/* constant:S, ramp:A,B, identity; the scale of copy c. */
static bool parse_preset(const struct ig_yaml *node, double *first, double *last,
                         struct ig_err *err)
{
    const char *text = node->text.ptr;
    char *end = NULL;
    *first = *last = 0;
    if (strcmp(text, "identity") == 0) return true;
    if (strncmp(text, "constant:", 9) == 0) {
        *first = *last = strtod(text + 9, &end);
        if (end != text + 9 && *end == '\0' && isfinite(*first)) return true;
    } else if (strncmp(text, "ramp:", 5) == 0) {
        *first = strtod(text + 5, &end);
        if (end != text + 5 && *end == ',' && isfinite(*first)) {
            const char *second = end + 1;
            *last = strtod(second, &end);
            if (end != second && *end == '\0' && isfinite(*last)) return true;
        }
    }
    return ig_yaml_fail(err, node,
                        "preset '" IG_SLICE_FMT "' is not identity, constant:S or ramp:A,B",
                        IG_SLICE_ARG(node->text));
}

static bool set_preset(struct ig_recipe *r, struct recipe_expand *x, const struct ig_yaml *node,
                       double first, double last, struct ig_err *err)
{
    size_t count = sizeof enders / sizeof *enders - 1;
    x->filters = ig_arena_array(&r->arena, count, sizeof *x->filters);
    if (!x->filters) return ig_err_nomem(err);
    for (size_t i = 0; i < count; i++) {
        struct filter *f = new_filter(r, x, ig_slice_of(enders[i]), node, err);
        if (!f) return false;
        f->ender = true;
        for (int c = 0; c < x->copies; c++) {
            double at = x->copies > 2 ? (double)(c - 1) / (x->copies - 2) : 0;
            f->values[c] = c ? first + at * (last - first) : 1;
        }
    }
    x->preset = "identity";
    if (node != x->at) x->preset = node->text.ptr;
    return true;
}

static bool read_scales(struct ig_recipe *r, struct recipe_expand *x, const struct ig_yaml *map,
                        struct ig_err *err)
{
    const struct ig_yaml *preset = ig_yaml_get(map, "preset");
    const struct ig_yaml *scales = ig_yaml_get(map, "scales");
    double first = 0, last = 0;
    if (preset && scales)
        return ig_yaml_fail(err, scales, "expand takes a preset or scales, not both");
    if (scales && scales->type == IG_YAML_MAP) return read_columns(r, x, scales, err);
    if (scales && scales->type == IG_YAML_LIST) return read_rows(r, x, scales, err);
    if (scales)
        return ig_yaml_fail(err, scales, "scales are {FILTER: SCALE} or a list of such rows");
    if (preset &&
        (!merge__need_text(preset, "a preset", err) || !parse_preset(preset, &first, &last, err)))
        return false;
    return set_preset(r, x, preset ? preset : x->at, first, last, err);
}

bool merge__read_expand(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    static const char *const keys[] = {"copies", "layer", "preset", "scales", NULL};
    const struct ig_yaml *map = ig_yaml_get(root, "expand");
    if (!map || map->type == IG_YAML_NULL) return true;
    if (map->type != IG_YAML_MAP) return ig_yaml_fail(err, map, "expand is {copies: N, ...}");
    if (!merge__check_keys(map, keys, err)) return false;
    struct recipe_expand *x = ig_arena_new(&r->arena, sizeof *x);
    if (!x) return ig_err_nomem(err);
    *x = (struct recipe_expand){.at = map, .layer = -1};
    const struct ig_yaml *copies = ig_yaml_get(map, "copies"), *layer = ig_yaml_get(map, "layer");
    if (!copies) return ig_yaml_fail(err, map, "expand needs 'copies'");
    if (copies->type != IG_YAML_INT || copies->integer < 1 || copies->integer > COPIES_MAX)
        return ig_yaml_fail(err, copies, "copies is a number from 1 to %d", COPIES_MAX);
    x->copies = (int)copies->integer;
    if (layer && !ig_slice_is(layer->text, "last")) {
        if (layer->type != IG_YAML_INT || layer->integer < 0)
            return ig_yaml_fail(err, layer, "layer is 'last' or a number from 0");
        x->layer = layer->integer;
        x->layer_at = layer;
    }
    r->expand = x;
    return read_scales(r, x, map, err);
}

/* ---- applying ---- */

static bool filter_matches(const struct filter *f, const struct ig_place *place,
                           struct ig_slice name)
{
    if (!f->ender) return f->text.len == 0 || ig_slice_find(name, f->text);
    struct ig_slice part = place->part;
    if (part.len < f->text.len) return false;
    size_t at = part.len - f->text.len;
    return memcmp(part.ptr + at, f->text.ptr, f->text.len) == 0 &&
           (at == 0 || part.ptr[at - 1] == '.');
}

/* The first filter that speaks of this copy and this tensor decides. */
static double scale_of(struct recipe_expand *x, int copy, const struct ig_place *place,
                       struct ig_slice name)
{
    double scale = (double)NAN;
    for (int i = 0; i < x->filter_count; i++) {
        struct filter *f = x->filters + i;
        if (isnan(f->values[copy]) || !filter_matches(f, place, name)) continue;
        f->used = true;
        if (isnan(scale)) scale = f->values[copy];
    }
    return isnan(scale) ? 1 : scale;
}

static bool check_used(const struct ig_recipe *r, int64_t layer, struct ig_err *err)
{
    const struct recipe_expand *x = r->expand;
    bool any = false;
    for (int i = 0; i < x->filter_count; i++) {
        const struct filter *f = x->filters + i;
        any = any || f->used;
        if (f->used || f->ender) continue;
        ig_yaml_fail(err, f->at, "filter '" IG_SLICE_FMT "' matches no tensor of layer %lld",
                     IG_SLICE_ARG(f->text), (long long)layer);
        return ig_err_within(err, "%s", r->name);
    }
    if (any || !x->preset) return true;
    ig_yaml_fail(err, x->at,
                 "preset %s: layer %lld has no o_proj or down_proj, nor another name known for "
                 "them; give scales",
                 x->preset, (long long)layer);
    return ig_err_within(err, "%s", r->name);
}

/* Which layer is copied; *count: how many there are. */
static bool find_layer(const struct ig_merge *m, const struct merge_entry *entries, int64_t count,
                       int64_t *layer, int64_t *layers, struct ig_err *err)
{
    const struct recipe_expand *x = m->recipe->expand;
    int64_t named = 0, said = merge__config_layers(m->inputs[m->donor].config);
    for (int64_t i = 0; i < count; i++)
        if (entries[i].layer >= named) named = entries[i].layer + 1;
    *layers = m->layers ? m->layer_count : named;
    if (!m->layers && said >= 0 && said < named) *layers = said;
    *layer = x->layer < 0 ? *layers - 1 : x->layer;
    if (*layer >= 0 && *layer < *layers) return true;
    ig_yaml_fail(err, x->layer_at ? x->layer_at : x->at, "expand: the merge has %lld layers",
                 (long long)*layers);
    return ig_err_within(err, "%s", m->recipe->name);
}

static bool widen_map(struct ig_merge *m, int64_t layer, int64_t layers, struct ig_err *err)
{
    int64_t extra = m->recipe->expand->copies - 1;
    struct merge_layer *wide = ig_arena_array(&m->arena, (size_t)(layers + extra), sizeof *wide);
    if (!wide) return ig_err_nomem(err);
    for (int64_t i = 0; i < layers + extra; i++) {
        int64_t from = i <= layer ? i : i <= layer + extra ? layer : i - extra;
        wide[i] = m->layers ? m->layers[from] : (struct merge_layer){m->donor, from};
    }
    m->layers = wide;
    m->layer_count = layers + extra;
    return true;
}

static bool copy_entry(struct ig_merge *m, const struct merge_entry *from, int copy,
                       struct merge_entry *to, struct ig_err *err)
{
    struct ig_place place;
    ig_arch_place(from->arch, from->name, &place);
    *to = *from;
    to->twin = copy;
    to->scale = scale_of(m->recipe->expand, copy, &place, from->name);
    return merge__renumber(&m->arena, to, from->layer + copy, err);
}

bool merge__expand(struct ig_merge *m, struct ig_arena *arena, struct merge_entry **entries,
                   int64_t *count, struct ig_err *err)
{
    int64_t layer, layers, copied = 0, at = 0;
    struct recipe_expand *x = m->recipe->expand;
    if (!x) return true;
    if (!find_layer(m, *entries, *count, &layer, &layers, err)) return false;
    for (int64_t i = 0; i < *count; i++)
        copied += (*entries)[i].layer == layer;
    struct merge_entry *wide =
        ig_arena_array(arena, (size_t)(*count + copied * (x->copies - 1)), sizeof *wide);
    if (!wide) return ig_err_nomem(err);
    for (int64_t i = 0; i < *count; i++) {
        const struct merge_entry *e = *entries + i;
        int turns = e->layer == layer ? x->copies : 1;
        for (int c = 0; c < turns; c++) {
            if (e->layer == layer && !copy_entry(m, e, c, wide + at, err)) return false;
            if (e->layer != layer) wide[at] = *e;
            if (e->layer > layer &&
                !merge__renumber(&m->arena, wide + at, e->layer + x->copies - 1, err))
                return false;
            wide[at].group = i;
            at++;
        }
    }
    *entries = wide;
    *count = at;
    return check_used(m->recipe, layer, err) && widen_map(m, layer, layers, err);
}
