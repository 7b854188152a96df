/* SPDX-License-Identifier: Apache-2.0
 * adapter_plan — which tensors of the finetuned model become factors, and which are saved whole, by
 * mergekit's rules: matrices of linear layers are factored; embeddings, the head, norms, routers
 * and what else is no matrix of a linear layer are saved. */
#include "merge/adapter/adapter_internal.h"

#include "base/size.h"

#include <stdlib.h>

/* ---- entries ---- */

static struct adapter_entry *add_entry(struct ig_adapter *a, const struct ig_tensor *tuned,
                                       const struct ig_tensor *base, struct ig_slice name)
{
    struct adapter_entry *e = &a->entries[a->count++];
    *e = (struct adapter_entry){.tuned = tuned, .base = base, .module = name};
    for (size_t i = name.len; i-- > 0;)
        if (name.ptr[i] == '.') {
            e->module.len = i;
            break;
        }
    e->tail = ig_slice_make(name.ptr + e->module.len, name.len - e->module.len);
    e->key = e->module;
    for (size_t i = e->module.len; i-- > 0;)
        if (e->module.ptr[i] == '.') {
            e->key = ig_slice_make(e->module.ptr + i + 1, e->module.len - i - 1);
            break;
        }
    return e;
}

/* What is no nn.Linear, as the transformers' classes have it. */
static bool is_linear(const struct ig_tensor *t, const struct ig_place *place, struct ig_slice key)
{
    if (t->rank != 2 || !ig_dtype_is_float(t->dtype)) return false;
    if (place->role == IG_ROLE_ROUTER)
        return !ig_slice_is(key, "gate") && !ig_slice_is(key, "router");
    return place->role != IG_ROLE_NORM && !ig_slice_find(key, ig_slice_of("embed"));
}

static bool same_shape(const struct ig_tensor *a, const struct ig_tensor *b)
{
    bool same = b && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = a->shape[i] == b->shape[i];
    return same;
}

static struct ig_place place_of(const struct ig_adapter *a, const struct adapter_entry *e)
{
    struct ig_place place;
    ig_arch_place(ig_arch_find(a->in[ADAPTER_TUNED]->config), e->tuned->name, &place);
    return place;
}

/* Decides what becomes of a weight; *in is false when it is left out as the options say. */
static bool decide(const struct ig_adapter *a, struct adapter_entry *e, bool *in,
                   struct ig_err *err)
{
    const struct ig_adapter_job *job = &a->job;
    const struct ig_place place = place_of(a, e);
    bool table = place.role == IG_ROLE_EMBED || place.role == IG_ROLE_LM_HEAD ||
                 ig_slice_is(e->key, "lm_head");
    e->part = ADAPTER_WHOLE;
    e->wanted = *in = adapter__saves(a, e->key);
    if (e->wanted) return true;
    if (!adapter__wants(a, e->module, in, err)) return false;
    if (!*in) return true;
    if (table && job->embed && same_shape(e->tuned, e->base)) {
        e->part = ADAPTER_FACTORS;
        e->turned = place.role == IG_ROLE_EMBED && !ig_slice_is(e->key, "lm_head");
    } else if (!table && is_linear(e->tuned, &place, e->key)) {
        e->part = ADAPTER_FACTORS;
    }
    *in = e->part == ADAPTER_FACTORS || table || !job->skip;
    return true;
}

static bool fail_shape(const struct ig_adapter *a, const struct adapter_entry *e,
                       struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_DATA,
                      e->base ? "'" IG_SLICE_FMT "' has another shape in '%s'"
                              : "'" IG_SLICE_FMT "' is not in '%s'",
                      IG_SLICE_ARG(e->tuned->name), ig_store_path(a->in[ADAPTER_BASE]->store));
}

static enum ig_dtype factor_dtype(const struct ig_adapter *a, const struct adapter_entry *e)
{
    enum ig_dtype x = merge__stored_dtype(e->tuned), y = merge__stored_dtype(e->base);
    if (a->job.has_dtype) return a->job.dtype;
    if (x == y && (x == IG_BF16 || x == IG_F16)) return x;
    return IG_F32;
}

static bool plan_weight(struct ig_adapter *a, struct adapter_entry *e, struct ig_err *err)
{
    bool in;
    if (!decide(a, e, &in, err)) return false;
    if (!in) a->count--;
    if (!in) return true;
    if (e->part != ADAPTER_FACTORS) return true;
    if (!same_shape(e->tuned, e->base)) return fail_shape(a, e, err);
    int64_t rows = e->tuned->shape[0], cols = e->tuned->shape[1];
    e->rank = rows < cols ? rows : cols;
    e->even = place_of(a, e).expert >= 0;
    if (e->rank > a->job.rank || e->even) e->rank = a->job.rank;
    e->dtype = factor_dtype(a, e);
    size_t row;
    if (e->rank < 1 || __builtin_add_overflow(rows, cols, &row) ||
        !ig_size_mul(row, (size_t)e->rank * ig_dtype_bytes(e->dtype), &e->bytes) ||
        e->bytes > SIZE_MAX / 4)
        return ig_err_set(err, IG_ERR_DATA, "'" IG_SLICE_FMT "' has no elements, or too many",
                          IG_SLICE_ARG(e->tuned->name));
    return true;
}

/* The weight of the same module, when it is in the list. */
static const struct adapter_entry *weight_of(const struct ig_adapter *a, struct ig_map *weights,
                                             struct ig_slice module)
{
    int64_t at = ig_map_get(weights, module, -1);
    return at < 0 ? NULL : &a->entries[at];
}

static bool plan_other(struct ig_adapter *a, struct ig_map *weights, struct adapter_entry *e,
                       struct ig_err *err)
{
    const struct adapter_entry *w = weight_of(a, weights, e->module);
    if (ig_slice_is(e->tail, ".bias") && w) {
        e->part = w->part == ADAPTER_FACTORS ? ADAPTER_BIAS : ADAPTER_WHOLE;
        e->wanted = w->wanted;
        return same_shape(e->tuned, e->base) || w->part == ADAPTER_WHOLE || fail_shape(a, e, err);
    }
    e->part = ADAPTER_NONE;
    bool asked;
    if (!adapter__wants(a, e->tuned->name, &asked, err)) return false;
    if (ig_slice_is(e->tail, ".bias") || !asked || !ig_dtype_is_float(e->tuned->dtype)) a->count--;
    return true;
}

static bool add_tensor(struct ig_adapter *a, struct ig_map *bases, struct ig_map *weights,
                       const struct ig_tensor *t, struct ig_err *err)
{
    struct ig_slice key = merge__key(&a->arena, t->name);
    if (!key.ptr) return ig_err_nomem(err);
    int64_t at = ig_map_get(bases, key, -1), before = a->count;
    struct adapter_entry *e =
        add_entry(a, t, at < 0 ? NULL : a->in[ADAPTER_BASE]->tensors[at], t->name);
    if (!ig_slice_is(e->tail, ".weight")) return plan_other(a, weights, e, err);
    if (!plan_weight(a, e, err)) return false;
    return a->count == before || ig_map_put(weights, e->module, before, err);
}

/* A model whose head is its embedding: what is done to the one must be done to the other, which is
 * a module of its own in PEFT. */
static bool add_tied_head(struct ig_adapter *a, struct ig_err *err)
{
    const struct ig_json *config = a->in[ADAPTER_TUNED]->config;
    bool tied = false, found = false;
    ig_json_bool(ig_json_get(config, "tie_word_embeddings"), &tied);
    for (int64_t i = 0; i < a->in[ADAPTER_TUNED]->count; i++)
        found = found || ig_slice_ends(a->in[ADAPTER_TUNED]->tensors[i]->name, "lm_head.weight");
    for (int64_t i = 0; tied && !found && i < a->count; i++) {
        const struct ig_place place = place_of(a, &a->entries[i]);
        if (place.role != IG_ROLE_EMBED || place.layer >= 0) continue;
        const struct adapter_entry embed = a->entries[i];
        return plan_weight(a, add_entry(a, embed.tuned, embed.base, ig_slice_of("lm_head.weight")),
                           err);
    }
    return true;
}

static int in_order(const void *a, const void *b)
{
    const struct ig_tensor *const *x = a, *const *y = b;
    return ig_arch_compare(ig_arch_find(NULL), (*x)->name, (*y)->name);
}

static bool list_entries(struct ig_adapter *a, struct ig_err *err)
{
    const struct merge_input *tuned = a->in[ADAPTER_TUNED], *base = a->in[ADAPTER_BASE];
    struct ig_map bases = {0}, weights = {0};
    size_t count = (size_t)tuned->count;
    const struct ig_tensor **list = ig_arena_array(&a->arena, count, sizeof *list);
    a->entries = ig_arena_array(&a->arena, count + 1, sizeof *a->entries);
    bool ok = (list && a->entries) || ig_err_nomem(err);
    for (int64_t i = 0; ok && i < base->count; i++) {
        struct ig_slice key = merge__key(&a->arena, base->tensors[i]->name);
        ok = (key.ptr || ig_err_nomem(err)) && ig_map_put(&bases, key, i, err);
    }
    if (ok && count) {
        memcpy(list, tuned->tensors, count * sizeof *list);
        qsort(list, count, sizeof *list, in_order);
    }
    /* a module's bias is decided after its weight */
    for (int pass = 0; ok && pass < 2; pass++)
        for (size_t i = 0; ok && i < count; i++)
            if (ig_slice_ends(list[i]->name, ".weight") == (pass == 0))
                ok = add_tensor(a, &bases, &weights, list[i], err);
    ig_map_release(&bases);
    ig_map_release(&weights);
    return ok && add_tied_head(a, err);
}

static bool open_models(struct ig_adapter *a, struct ig_err *err)
{
    struct ig_buf text = {0};
    if (strcmp(a->job.tuned, a->job.base) == 0)
        return ig_err_set(err, IG_ERR_USAGE, "'%s' cannot be its own base", a->job.tuned);
    a->models = calloc(1, sizeof *a->models);
    ig_buf_text(&text, "merge_method: linear\nparameters: {weight: 1}\nexperts: single\nmodels:\n"
                       "- model: ");
    ig_json_quote(&text, ig_slice_of(a->job.tuned), false);
    ig_buf_text(&text, "\n- model: ");
    ig_json_quote(&text, ig_slice_of(a->job.base), false);
    bool ok = (a->models || ig_err_nomem(err)) && ig_buf_ok(&text, err) &&
              ig_recipe_parse(ig_buf_view(&text), "extract-lora", &a->recipe, err);
    ig_buf_release(&text);
    if (!ok) return false;
    a->recipe->made = true;
    a->models->recipe = a->recipe;
    for (int i = 0; i < 2; i++)
        a->in[i] = &a->models->inputs[i];
    return merge__inputs_open(a->models, a->watch, err);
}

bool adapter__plan(struct ig_adapter *a, struct ig_err *err)
{
    return adapter__select_open(a, err) && open_models(a, err) && list_entries(a, err) &&
           adapter__select_check(a, err);
}

void adapter__expect(struct ig_adapter *a)
{
    for (int64_t i = 0; i < a->count; i++) {
        struct adapter_entry *e = &a->entries[i];
        e->changed = e->kept = e->part != ADAPTER_NONE;
        if (!e->kept) continue;
        a->bytes += e->part == ADAPTER_FACTORS
                        ? e->bytes
                        : (uint64_t)e->tuned->elems * ig_dtype_bytes(merge__stored_dtype(e->tuned));
        if (e->part == ADAPTER_FACTORS && e->rank > a->rank) a->rank = e->rank;
    }
}
