/* SPDX-License-Identifier: Apache-2.0
 * config — the donor's config.json, made true for what is written: element types, and with slices
 * the number of layers and everything that it lists layer by layer. */
#include "merge/merge_internal.h"

#include <stdio.h>

/* Of a text model in a vision-language one. */
const struct ig_json *merge__text_config(const struct ig_json *config)
{
    const struct ig_json *inner = ig_json_get(config, "text_config");
    return inner && inner->type == IG_JSON_OBJECT ? inner : config;
}

static const char *const layer_keys[] = {"num_hidden_layers", "n_layer", "num_layers", "n_layers",
                                         NULL};

int64_t merge__config_layers(const struct ig_json *config)
{
    int64_t layers;
    const struct ig_json *text = merge__text_config(config);
    for (int i = 0; layer_keys[i]; i++)
        if (ig_json_int(ig_json_get(text, layer_keys[i]), &layers) && layers >= 0) return layers;
    return -1;
}

/* ---- editing ---- */

/* A copy that may be edited. JSON depth is capped by the parser. */
static bool copy_tree(const struct ig_json *node, /* NOLINT(misc-no-recursion) */
                      struct ig_arena *arena, struct ig_json *out, struct ig_err *err)
{
    *out = *node;
    if (node->type != IG_JSON_OBJECT && node->type != IG_JSON_ARRAY) return true;
    out->items = ig_arena_array(arena, node->count, sizeof *out->items);
    if (!out->items) return ig_err_nomem(err);
    for (uint32_t i = 0; i < node->count; i++)
        if (!copy_tree(&node->items[i], arena, &out->items[i], err)) return false;
    return true;
}

bool merge__config_copy(const struct ig_json *node, struct ig_arena *arena, struct ig_json **out,
                        struct ig_err *err)
{
    *out = ig_arena_new(arena, sizeof **out);
    return *out ? copy_tree(node, arena, *out, err) : ig_err_nomem(err);
}

struct ig_json *merge__config_find(const struct ig_json *object, const char *key)
{
    struct ig_json *found = NULL;
    for (uint32_t i = 0; object->type == IG_JSON_OBJECT && i < object->count; i++)
        if (ig_slice_is(object->items[i].key, key)) found = &object->items[i];
    return found;
}

void merge__config_drop(struct ig_json *object, const char *key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; object->type == IG_JSON_OBJECT && i < object->count; i++)
        if (!ig_slice_is(object->items[i].key, key)) object->items[kept++] = object->items[i];
    if (object->type == IG_JSON_OBJECT) object->count = kept;
}

bool merge__config_set(struct ig_json *object, const char *key, struct ig_json value,
                       struct ig_arena *arena, struct ig_err *err)
{
    struct ig_json *member = merge__config_find(object, key);
    value.key = ig_slice_of(key);
    if (member) {
        *member = value;
        return true;
    }
    struct ig_json *items = ig_arena_array(arena, (size_t)object->count + 1, sizeof *items);
    if (!items) return ig_err_nomem(err);
    if (object->count) memcpy(items, object->items, object->count * sizeof *items);
    items[object->count++] = value;
    object->items = items;
    return true;
}

static bool put_value(struct ig_json *member, struct ig_json value)
{
    value.key = member->key;
    *member = value;
    return true;
}

static bool set_int(struct ig_json *member, int64_t value, struct ig_arena *arena,
                    struct ig_err *err)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)value);
    struct ig_slice text = ig_arena_copy(arena, ig_slice_of(digits));
    if (!text.ptr) return ig_err_nomem(err);
    return put_value(member, (struct ig_json){.type = IG_JSON_NUMBER, .text = text});
}

/* ---- element types ---- */

static bool is_dtype_key(struct ig_slice key)
{
    return ig_slice_is(key, "torch_dtype") || ig_slice_is(key, "dtype");
}

/* Also of nested configs. */
static void set_dtype(struct ig_json *node, const char *dtype) /* NOLINT(misc-no-recursion) */
{
    if (node->type != IG_JSON_OBJECT) return;
    for (uint32_t i = 0; i < node->count; i++) {
        set_dtype(&node->items[i], dtype);
        if (is_dtype_key(node->items[i].key) && node->items[i].type == IG_JSON_STRING)
            node->items[i].text = ig_slice_of(dtype);
    }
}

/* ---- layers ---- */

/* Lists with one item for each layer. */
static const char *const layer_lists[] = {"layer_types",     "layers_block_type", "no_rope_layers",
                                          "mlp_layer_types", "moe_layer_freq",    NULL};
/* Lists of layer numbers. */
static const char *const layer_numbers[] = {"mlp_only_layers", "full_attn_idxs", NULL};

/* What layer l of the output has in its own model's list; the donor's where that has none. */
static const struct ig_json *item_of(const struct ig_merge *m, int64_t l, const char *key)
{
    const struct merge_layer *from = m->layers + l;
    const struct ig_json *own = m->inputs[from->model].config;
    const struct ig_json *list = ig_json_get(merge__text_config(own), key);
    if (!list || list->type != IG_JSON_ARRAY)
        list = ig_json_get(merge__text_config(m->inputs[m->donor].config), key);
    if (!list || list->type != IG_JSON_ARRAY || from->layer >= list->count) return NULL;
    return &list->items[from->layer];
}

static bool rebuild_list(const struct ig_merge *m, struct ig_json *member, const char *key,
                         struct ig_arena *arena, struct ig_err *err)
{
    struct ig_json *items = ig_arena_array(arena, (size_t)m->layer_count, sizeof *items);
    if (!items) return ig_err_nomem(err);
    for (int64_t l = 0; l < m->layer_count; l++) {
        const struct ig_json *item = item_of(m, l, key);
        if (!item) return true; /* not a list by layer after all */
        items[l] = *item;
    }
    return put_value(member, (struct ig_json){
                                 .type = IG_JSON_ARRAY,
                                 .count = (uint32_t)m->layer_count,
                                 .items = items,
                             });
}

static bool lists_layer(const struct ig_merge *m, int64_t l, const char *key)
{
    const struct ig_json *own = m->inputs[m->layers[l].model].config;
    const struct ig_json *list = ig_json_get(merge__text_config(own), key);
    int64_t number;
    for (uint32_t i = 0; list && list->type == IG_JSON_ARRAY && i < list->count; i++)
        if (ig_json_int(&list->items[i], &number) && number == m->layers[l].layer) return true;
    return false;
}

static bool rebuild_numbers(const struct ig_merge *m, struct ig_json *member, const char *key,
                            struct ig_arena *arena, struct ig_err *err)
{
    struct ig_json *items = ig_arena_array(arena, (size_t)m->layer_count, sizeof *items);
    uint32_t count = 0;
    if (!items) return ig_err_nomem(err);
    for (int64_t l = 0; l < m->layer_count; l++)
        if (lists_layer(m, l, key) && !set_int(&items[count++], l, arena, err)) return false;
    return put_value(member,
                     (struct ig_json){.type = IG_JSON_ARRAY, .count = count, .items = items});
}

/* Every n-th layer is of the other kind: said by a number, of which the output's layers know
 * nothing any more. */
static int64_t period_of(const struct ig_merge *m, int64_t l, const char *key)
{
    int64_t period = 1;
    const struct ig_json *own = merge__text_config(m->inputs[m->layers[l].model].config);
    return ig_json_int(ig_json_get(own, key), &period) && period > 0 ? period : 1;
}

/* layer_types out of full_attention_interval, where there are none. */
static bool list_attention(const struct ig_merge *m, struct ig_json *text, struct ig_arena *arena,
                           struct ig_err *err)
{
    if (!ig_json_get(text, "full_attention_interval") || ig_json_get(text, "layer_types"))
        return true;
    struct ig_json *items = ig_arena_array(arena, (size_t)m->layer_count, sizeof *items);
    if (!items) return ig_err_nomem(err);
    for (int64_t l = 0; l < m->layer_count; l++) {
        bool full = (m->layers[l].layer + 1) % period_of(m, l, "full_attention_interval") == 0;
        items[l] =
            (struct ig_json){.type = IG_JSON_STRING,
                             .text = ig_slice_of(full ? "full_attention" : "linear_attention")};
    }
    const struct ig_json list = {
        .type = IG_JSON_ARRAY, .count = (uint32_t)m->layer_count, .items = items};
    return merge__config_set(text, "layer_types", list, arena, err);
}

/* Layers without experts, by number in place of decoder_sparse_step. */
static bool list_dense(const struct ig_merge *m, struct ig_json *text, struct ig_arena *arena,
                       struct ig_err *err)
{
    uint32_t count = 0;
    int64_t step;
    struct ig_json *member = merge__config_find(text, "decoder_sparse_step");
    if (!ig_json_int(member, &step) || step <= 1) return true;
    struct ig_json *items = ig_arena_array(arena, (size_t)m->layer_count, sizeof *items);
    if (!items) return ig_err_nomem(err);
    for (int64_t l = 0; l < m->layer_count; l++) {
        bool dense = (m->layers[l].layer + 1) % period_of(m, l, "decoder_sparse_step") != 0 ||
                     lists_layer(m, l, "mlp_only_layers");
        if (dense && !set_int(&items[count++], l, arena, err)) return false;
    }
    const struct ig_json list = {.type = IG_JSON_ARRAY, .count = count, .items = items};
    return set_int(member, 1, arena, err) &&
           merge__config_set(text, "mlp_only_layers", list, arena, err);
}

/* mlx-lm builds the pattern from the number, whatever the list says. */
void merge__warn_layers(const struct ig_merge *m, const struct ig_watch *watch)
{
    int64_t period;
    const struct ig_json *text = merge__text_config(m->config);
    if (!m->layers || !ig_json_int(ig_json_get(text, "full_attention_interval"), &period)) return;
    for (int64_t l = 0; period > 0 && l < m->layer_count; l++) {
        if (((l + 1) % period == 0) == ((m->layers[l].layer + 1) % period == 0)) continue;
        ig_watch_warn(watch,
                      "layer %lld of the output was layer %lld: it is no longer of the kind that "
                      "full_attention_interval says. transformers reads layer_types; mlx-lm does "
                      "not, and will not load this model",
                      (long long)l, (long long)m->layers[l].layer);
        return;
    }
}

/* ---- the head ---- */

static bool has_head(const struct merge_input *in)
{
    const struct ig_arch *arch = ig_arch_find(in->config);
    for (int64_t i = 0; i < in->count; i++) {
        struct ig_place place;
        ig_arch_place(arch, in->tensors[i]->name, &place);
        if (place.role == IG_ROLE_LM_HEAD) return true;
    }
    return false;
}

/* tie_word_embeddings, true to what is written. */
static void set_tied(const struct ig_merge *m, struct ig_json *config)
{
    struct ig_json *text = merge__config_find(config, "text_config");
    struct ig_json *members[] = {merge__config_find(config, "tie_word_embeddings"),
                                 text ? merge__config_find(text, "tie_word_embeddings") : NULL};
    bool head = false, apart = false;
    for (int i = 0; i < merge__slice_models(m->recipe); i++) {
        bool tied = false;
        ig_json_bool(ig_json_get(m->inputs[i].config, "tie_word_embeddings"), &tied);
        head = head || has_head(&m->inputs[i]);
        apart = apart || (!tied && has_head(&m->inputs[i]));
    }
    for (int i = 0; i < 2; i++) {
        if (!members[i]) continue;
        if (apart) put_value(members[i], (struct ig_json){.type = IG_JSON_FALSE});
        if (!head) put_value(members[i], (struct ig_json){.type = IG_JSON_TRUE});
    }
}

static bool set_layers(const struct ig_merge *m, struct ig_json *text, struct ig_arena *arena,
                       struct ig_err *err)
{
    int64_t before = merge__config_layers(text), window;
    struct ig_json *member;
    if (!list_attention(m, text, arena, err)) return false;
    for (int i = 0; layer_keys[i]; i++)
        if ((member = merge__config_find(text, layer_keys[i])) &&
            !set_int(member, m->layer_count, arena, err))
            return false;
    /* Layers from here on have a sliding window, where there is one: none, usually. */
    member = merge__config_find(text, "max_window_layers");
    if (ig_json_int(member, &window) && window >= before &&
        !set_int(member, m->layer_count, arena, err))
        return false;
    for (int i = 0; layer_lists[i]; i++) {
        member = merge__config_find(text, layer_lists[i]);
        if (member && member->type == IG_JSON_ARRAY && member->count == before &&
            !rebuild_list(m, member, layer_lists[i], arena, err))
            return false;
    }
    for (int i = 0; layer_numbers[i]; i++) {
        member = merge__config_find(text, layer_numbers[i]);
        if (member && member->type == IG_JSON_ARRAY && member->count > 0 &&
            !rebuild_numbers(m, member, layer_numbers[i], arena, err))
            return false;
    }
    return list_dense(m, text, arena, err);
}

bool merge__make_config(const struct ig_merge *m, struct ig_arena *arena,
                        const struct ig_json **out, struct ig_err *err)
{
    const struct ig_json *donor = m->inputs[m->donor].config;
    *out = donor;
    if (!donor && m->recipe->context)
        return ig_err_set(err, IG_ERR_DATA, "context: '%s' has no config.json",
                          merge__input_name(m, m->donor));
    if (!donor || donor->type != IG_JSON_OBJECT) return true;
    struct ig_json *copy;
    if (!merge__config_copy(donor, arena, &copy, err)) return false;
    struct ig_json *text = merge__config_find(copy, "text_config");
    if (!text || text->type != IG_JSON_OBJECT) text = copy;
    set_tied(m, copy);
    if (m->recipe->has_out_dtype) set_dtype(copy, ig_dtype_torch_name(m->recipe->out_dtype));
    if (m->layers && !set_layers(m, text, arena, err)) return false;
    struct ig_json *rows = merge__config_find(text, "vocab_size");
    if (m->vocab_rows && rows && !set_int(rows, m->vocab_rows, arena, err)) return false;
    rows = merge__config_find(copy, "vocab_size");
    if (m->vocab_rows && rows && !set_int(rows, m->vocab_rows, arena, err)) return false;
    if (!merge__set_token_ids(m, copy, text, arena, err)) return false;
    if (!merge__set_context(m, text, arena, err)) return false;
    *out = copy;
    return true;
}
