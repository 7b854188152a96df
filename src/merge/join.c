/* SPDX-License-Identifier: Apache-2.0
 * join — which tensors of the inputs make one of the output.
 *
 * Tensors are matched by name; ".language_model." is taken out first, so that vision-language and
 * text checkpoints merge. With slices a layer's number is that of the output, and what is in no
 * layer comes from the first slice (what stands before the layers: embeddings, vision) or the last
 * (norm, head). Nothing is dropped silently: the output has every tensor that any input of the
 * slice has. */
#include "merge/merge_internal.h"

#include "base/check.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

#define LANGUAGE ".language_model."

struct joiner {
    struct ig_merge *m;
    struct ig_arena *arena;
    struct ig_map by_name; /* key -> index into entries */
    struct merge_entry *entries;
    int64_t count, room;
    struct model_index *models; /* of the recipe's models; built when slices ask for one */
    const struct ig_arch *arch; /* of the output */
};

/* ---- a model's tensors by layer ---- */

struct model_tensor {
    const struct ig_tensor *tensor;
    int layer; /* -1: in none */
    enum ig_role role;
    size_t digits, rest; /* where the number stands in the name, and what follows it */
};

struct model_index {
    struct model_tensor *list; /* by layer, -1 first */
    int64_t count;
    int64_t layers;
};

static int compare_layers(const void *a, const void *b)
{
    const struct model_tensor *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return ig_slice_compare(x->tensor->name, y->tensor->name);
}

/* Where the layer's number stands: the first all-digit component after the prefix. */
static void find_digits(struct ig_slice name, size_t at, size_t *digits, size_t *rest)
{
    while (at < name.len) {
        size_t end = at;
        while (end < name.len && name.ptr[end] >= '0' && name.ptr[end] <= '9')
            end++;
        if (end > at && (end == name.len || name.ptr[end] == '.')) {
            *digits = at;
            *rest = end;
            return;
        }
        while (at < name.len && name.ptr[at] != '.')
            at++;
        at++;
    }
}

static bool index_model(struct joiner *j, int model, struct ig_err *err)
{
    struct model_index *index = j->models + model;
    const struct merge_input *in = &j->m->inputs[model];
    if (index->list) return true;
    const struct ig_arch *arch = ig_arch_find(in->config);
    index->count = in->count;
    index->list = ig_arena_array(j->arena, (size_t)index->count, sizeof *index->list);
    if (!index->list) return ig_err_nomem(err);
    for (int64_t i = 0; i < index->count; i++) {
        struct model_tensor *t = index->list + i;
        struct ig_place place;
        t->tensor = in->tensors[i];
        ig_arch_place(arch, t->tensor->name, &place);
        t->layer = place.layer;
        t->role = place.role;
        if (t->layer >= 0) find_digits(t->tensor->name, place.prefix.len, &t->digits, &t->rest);
        if (t->layer >= index->layers) index->layers = t->layer + 1;
    }
    int64_t said = merge__config_layers(in->config);
    if (said >= 0 && said < index->layers) index->layers = said;
    if (index->count) qsort(index->list, (size_t)index->count, sizeof *index->list, compare_layers);
    return true;
}

/* First tensor of a layer or of a later one. */
static int64_t first_of(const struct model_index *index, int64_t layer)
{
    int64_t low = 0, high = index->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (index->list[middle].layer < layer)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- names ---- */

struct ig_slice merge__key(struct ig_arena *arena, struct ig_slice name)
{
    const char *at = ig_slice_find(name, ig_slice_of(LANGUAGE));
    if (!at) return name;
    size_t head = (size_t)(at - name.ptr) + 1, skip = strlen(LANGUAGE) - 1;
    char *key = ig_arena_new(arena, name.len);
    if (!key) return (struct ig_slice){0};
    memcpy(key, name.ptr, head);
    memcpy(key + head, name.ptr + head + skip, name.len - head - skip);
    return ig_slice_make(key, name.len - skip);
}

static struct ig_slice with_number(struct ig_arena *arena, struct ig_slice name, size_t digits,
                                   size_t rest, int64_t number)
{
    size_t room = name.len + 24;
    char *text = ig_arena_new(arena, room);
    if (!text) return (struct ig_slice){0};
    int n = snprintf(text, room, "%.*s%lld%.*s", (int)digits, name.ptr, (long long)number,
                     (int)(name.len - rest), name.ptr + rest);
    return ig_slice_make(text, (size_t)n);
}

bool merge__renumber(struct ig_arena *arena, struct merge_entry *e, int64_t layer,
                     struct ig_err *err)
{
    if (layer == e->layer) return true;
    struct ig_slice name = with_number(arena, e->name, e->digits, e->rest, layer);
    if (!name.ptr) return ig_err_nomem(err);
    e->rest = e->rest + name.len - e->name.len;
    e->name = name;
    e->layer = layer;
    return true;
}

static bool new_entry(struct joiner *j, int slice, struct ig_slice name, const struct ig_tensor *t,
                      double place, struct ig_err *err)
{
    IG_ASSERT(j->count < j->room);
    struct merge_entry *e = j->entries + j->count++;
    size_t rows = (size_t)j->m->recipe->slices[slice].count;
    struct ig_place where;
    ig_arch_place(j->arch, name, &where);
    *e = (struct merge_entry){.name = name,
                              .slice = slice,
                              .first = t,
                              .arch = j->arch,
                              .t = place,
                              .layer = where.layer,
                              .group = j->count - 1,
                              .scale = 1};
    if (where.layer >= 0) find_digits(name, where.prefix.len, &e->digits, &e->rest);
    e->inputs = ig_arena_array(&j->m->arena, rows, sizeof *e->inputs);
    return e->inputs || ig_err_nomem(err);
}

/* Row `row` of the slice has the tensor, which the output calls `name`. */
static bool add_tensor(struct joiner *j, int slice, int row, struct ig_slice name,
                       const struct ig_tensor *t, double place, struct ig_err *err)
{
    struct ig_slice key = name.ptr ? merge__key(j->arena, name) : name;
    if (!key.ptr) return ig_err_nomem(err);
    int64_t at = ig_map_get(&j->by_name, key, -1);
    if (at < 0) {
        at = j->count;
        if (!new_entry(j, slice, name, t, place, err) || !ig_map_put(&j->by_name, key, at, err))
            return false;
    }
    struct merge_entry *e = j->entries + at;
    const struct recipe_slice *s = j->m->recipe->slices + slice;
    if (e->inputs[row])
        return ig_err_set(err, IG_ERR_DATA,
                          "model '%s' has both '" IG_SLICE_FMT "' and '" IG_SLICE_FMT "'",
                          merge__input_name(j->m, s->sources[row].model),
                          IG_SLICE_ARG(e->inputs[row]->name), IG_SLICE_ARG(t->name));
    e->inputs[row] = t;
    return true;
}

/* The donor's row, else the first: its spelling of a name is the output's. */
static int leading_row(const struct joiner *j, int slice)
{
    const struct recipe_slice *s = j->m->recipe->slices + slice;
    for (int i = 0; i < s->count; i++)
        if (s->sources[i].model == j->m->donor) return i;
    return 0;
}

/* ---- whole models ---- */

/* The part of a name before its first all-digit component, and that number; -1 without one. */
static int layer_of(struct ig_slice name, struct ig_slice *prefix)
{
    for (size_t at = 0; at < name.len;) {
        const char *dot = memchr(name.ptr + at, '.', name.len - at);
        size_t end = dot ? (size_t)(dot - name.ptr) : name.len;
        int value = 0;
        bool digits = end > at && end - at <= 6;
        for (size_t i = at; digits && i < end; i++) {
            digits = name.ptr[i] >= '0' && name.ptr[i] <= '9';
            value = value * 10 + (name.ptr[i] - '0');
        }
        if (digits) {
            *prefix = ig_slice_make(name.ptr, at);
            return value;
        }
        at = end + 1;
    }
    return -1;
}

/* mergekit's t: layer j of n is at j / (n - 1), an only layer at 1, everything outside layers at 0.
 * Every stack of layers (text, vision) by itself. */
static bool place_layers(struct joiner *j, struct ig_err *err)
{
    struct ig_map last = {0};
    struct ig_slice prefix;
    bool ok = true;
    for (int64_t i = 0; ok && i < j->count; i++) {
        int layer = layer_of(j->entries[i].name, &prefix);
        if (layer >= 0 && layer > ig_map_get(&last, prefix, -1))
            ok = ig_map_put(&last, prefix, layer, err);
    }
    for (int64_t i = 0; ok && i < j->count; i++) {
        int layer = layer_of(j->entries[i].name, &prefix);
        int64_t n = layer < 0 ? 0 : ig_map_get(&last, prefix, 0);
        j->entries[i].t = layer < 0 ? 0 : n > 0 ? (double)layer / (double)n : 1;
    }
    ig_map_release(&last);
    return ok;
}

static bool join_whole(struct joiner *j, struct ig_err *err)
{
    const struct ig_merge *m = j->m;
    const struct recipe_slice *s = m->recipe->slices;
    int lead = leading_row(j, 0);
    for (int turn = -1; turn < s->count; turn++) {
        int row = turn < 0 ? lead : turn;
        if (turn == lead) continue;
        const struct merge_input *in = &m->inputs[s->sources[row].model];
        for (int64_t t = 0; t < in->count; t++) {
            const struct ig_tensor *tensor = in->tensors[t];
            if (!add_tensor(j, 0, row, tensor->name, tensor, 0, err)) return false;
        }
    }
    return place_layers(j, err);
}

/* ---- slices ---- */

static bool check_range(const struct joiner *j, const struct recipe_source *s, struct ig_err *err)
{
    const struct ig_recipe *r = j->m->recipe;
    const struct model_index *index = j->models + s->model;
    if (s->end <= index->layers) return true;
    if (index->layers == 0)
        ig_yaml_fail(err, s->range, "model '" IG_SLICE_FMT "' has no tensors named as layers are",
                     IG_SLICE_ARG(r->models[s->model].path));
    else
        ig_yaml_fail(err, s->range,
                     "layer_range [%lld, %lld]: model '" IG_SLICE_FMT "' has %lld layers",
                     (long long)s->first, (long long)s->end, IG_SLICE_ARG(r->models[s->model].path),
                     (long long)index->layers);
    return ig_err_within(err, "%s", r->name);
}

/* What belongs in the output beside its layers: with the first slice, or the last. */
static bool is_root(const struct joiner *j, int slice, const struct model_tensor *t)
{
    if (t->layer >= 0) return false;
    bool after = t->role == IG_ROLE_NORM || t->role == IG_ROLE_LM_HEAD;
    return slice == (after ? j->m->recipe->slice_count - 1 : 0);
}

/* What a model has past its last layer, to predict several tokens: behind the output's last. */
static bool join_rest(struct joiner *j, int slice, int row, struct ig_err *err)
{
    const struct recipe_source *s = &j->m->recipe->slices[slice].sources[row];
    const struct model_index *index = j->models + s->model;
    for (int64_t i = first_of(index, index->layers); i < index->count; i++) {
        const struct model_tensor *t = index->list + i;
        struct ig_slice name = with_number(&j->m->arena, t->tensor->name, t->digits, t->rest,
                                           j->m->layer_count + t->layer - index->layers);
        if (!add_tensor(j, slice, row, name, t->tensor, 1, err)) return false;
    }
    return true;
}

static bool join_row(struct joiner *j, int slice, int row, int64_t layer_first, struct ig_err *err)
{
    const struct recipe_source *s = &j->m->recipe->slices[slice].sources[row];
    const struct model_index *index = j->models + s->model;
    int64_t layers = s->end - s->first, end = first_of(index, s->end);
    for (int64_t i = 0; i < index->count && index->list[i].layer < 0; i++) {
        const struct model_tensor *t = index->list + i;
        if (is_root(j, slice, t) && !add_tensor(j, slice, row, t->tensor->name, t->tensor, 0, err))
            return false;
    }
    for (int64_t i = first_of(index, s->first); i < end; i++) {
        const struct model_tensor *t = index->list + i;
        int64_t at = t->layer - s->first;
        double place = layers > 1 ? (double)at / (double)(layers - 1) : 1;
        struct ig_slice name = t->tensor->name;
        if (layer_first != s->first)
            name = with_number(&j->m->arena, name, t->digits, t->rest, layer_first + at);
        if (!add_tensor(j, slice, row, name, t->tensor, place, err)) return false;
    }
    return slice + 1 < j->m->recipe->slice_count || join_rest(j, slice, row, err);
}

static bool join_slice(struct joiner *j, int slice, int64_t layer_first, struct ig_err *err)
{
    const struct recipe_slice *s = j->m->recipe->slices + slice;
    int lead = leading_row(j, slice);
    for (int turn = -1; turn < s->count; turn++)
        if (turn != lead && !join_row(j, slice, turn < 0 ? lead : turn, layer_first, err))
            return false;
    return true;
}

/* Where each layer of the output is from, by its slice's leading row. */
static bool map_layers(struct joiner *j, struct ig_err *err)
{
    struct ig_merge *m = j->m;
    int64_t count = 0, at = 0;
    for (int i = 0; i < m->recipe->slice_count; i++)
        count += m->recipe->slices[i].sources->end - m->recipe->slices[i].sources->first;
    struct merge_layer *layers = ig_arena_array(&m->arena, (size_t)count, sizeof *layers);
    if (!layers) return ig_err_nomem(err);
    for (int i = 0; i < m->recipe->slice_count; i++) {
        const struct recipe_source *s = m->recipe->slices[i].sources + leading_row(j, i);
        for (int64_t layer = s->first; layer < s->end; layer++)
            layers[at++] = (struct merge_layer){.model = s->model, .layer = layer};
    }
    m->layers = layers;
    m->layer_count = count;
    return true;
}

static bool join_ranged(struct joiner *j, struct ig_err *err)
{
    const struct ig_recipe *r = j->m->recipe;
    int64_t layer = 0;
    if (!map_layers(j, err)) return false;
    for (int i = 0; i < r->slice_count; i++) {
        if (!join_slice(j, i, layer, err)) return false;
        layer += r->slices[i].sources->end - r->slices[i].sources->first;
    }
    return true;
}

/* How many entries there can be: every tensor of every row, each time it is used. */
static bool count_room(struct joiner *j, struct ig_err *err)
{
    const struct ig_recipe *r = j->m->recipe;
    for (int i = 0; i < r->slice_count; i++) {
        for (int k = 0; k < r->slices[i].count; k++) {
            const struct recipe_source *s = r->slices[i].sources + k;
            if (!s->range) {
                j->room += j->m->inputs[s->model].count;
                continue;
            }
            if (!index_model(j, s->model, err) || !check_range(j, s, err)) return false;
            const struct model_index *index = j->models + s->model;
            j->room += first_of(index, s->end) - first_of(index, s->first);
            j->room += i == 0 || i == r->slice_count - 1 ? first_of(index, 0) : 0;
            j->room += index->count - first_of(index, index->layers);
        }
    }
    return true;
}

static int compare_entries(const void *a, const void *b)
{
    const struct merge_entry *x = a, *y = b;
    return ig_arch_compare(x->arch, x->name, y->name);
}

bool merge__join(struct ig_merge *m, struct ig_arena *arena, struct merge_entry **entries,
                 int64_t *count, struct ig_err *err)
{
    struct joiner j = {.m = m, .arena = arena};
    j.arch = ig_arch_find(m->inputs[m->donor].config);
    j.models = ig_arena_array(arena, (size_t)m->recipe->count, sizeof *j.models);
    bool ok = (j.models || ig_err_nomem(err)) && count_room(&j, err);
    if (ok) {
        j.entries = ig_arena_array(arena, (size_t)j.room, sizeof *j.entries);
        ok = j.entries || ig_err_nomem(err);
    }
    ok = ok && (m->recipe->ranged ? join_ranged(&j, err) : join_whole(&j, err));
    ig_map_release(&j.by_name);
    ok = ok && merge__expand(m, arena, &j.entries, &j.count, err);
    if (!ok) return false;
    if (j.count) qsort(j.entries, (size_t)j.count, sizeof *j.entries, compare_entries);
    *entries = j.entries;
    *count = j.count;
    return true;
}
