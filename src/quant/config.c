/* SPDX-License-Identifier: Apache-2.0
 * config — config.json byte for byte as mlx-lm 0.32.2 writes it (save_config), and a card.
 *
 * The source's object, read and printed as Python does (floats by repr, the last of equal keys),
 * generation_config's eos_token_id in place of its own, without _name_or_path and vision_config,
 * with `quantization` and an equal `quantization_config`; top level sorted, indent 4, ASCII. An
 * entry for each module when the recipe is mixed; else, as `mlx_lm.convert -q`, for routers only.
 */
#include "quant_internal.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define PYTHON_INDENT  4
#define GENERATION_MAX ((size_t)16 << 20)
#define NUMBER_MAX     400 /* no double needs more digits; longer literals stay as they are */

/* ---- numbers as Python prints them ---- */

/* repr(float): the shortest digits that read back, plain from 1e-4 to below 1e16. */
static void python_float(double value, struct ig_buf *out)
{
    char text[40], digits[24];
    int precision = 1, exponent;
    do
        snprintf(text, sizeof text, "%.*e", precision - 1, value);
    while (strtod(text, NULL) != value && precision++ < 17);
    char *e = strchr(text, 'e');
    exponent = atoi(e + 1);
    int count = 0;
    for (const char *p = text; p < e; p++)
        if (*p >= '0' && *p <= '9') digits[count++] = *p;
    if (value < 0 || (value == 0 && signbit(value))) ig_buf_char(out, '-');
    if (exponent < -4 || exponent >= 16) {
        ig_buf_char(out, digits[0]);
        if (count > 1) ig_buf_printf(out, ".%.*s", count - 1, digits + 1);
        ig_buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    for (int i = exponent < 0 ? exponent : 0; i < count || i <= exponent + 1; i++) {
        if (i == exponent + 1) ig_buf_char(out, '.');
        ig_buf_char(out, i >= 0 && i < count ? digits[i] : '0');
    }
}

/* ---- building a tree ---- */

struct builder {
    struct ig_arena *arena;
    struct ig_err *err;
};

static bool set_text(struct builder *b, struct ig_json *node, enum ig_json_type type,
                     struct ig_slice text)
{
    node->type = type;
    node->text = ig_arena_copy(b->arena, text);
    return node->text.ptr || ig_err_nomem(b->err);
}

/* Room for `count` members; node->count stays 0 and counts those that are put. */
static bool set_object(struct builder *b, struct ig_json *node, size_t count)
{
    node->type = IG_JSON_OBJECT;
    node->count = 0;
    node->items = ig_arena_array(b->arena, count, sizeof(*node->items));
    return node->items || ig_err_nomem(b->err);
}

static struct ig_json *put_member(struct ig_json *object, struct ig_slice key)
{
    struct ig_json *node = &object->items[object->count++];
    node->key = key;
    return node;
}

static bool put_int(struct builder *b, struct ig_json *object, const char *key, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    return set_text(b, put_member(object, ig_slice_of(key)), IG_JSON_NUMBER, ig_slice_of(text));
}

/* What JSON has no word for, as mlx-lm tags it. */
static bool set_infinity(struct builder *b, struct ig_json *node, bool negative)
{
    return set_object(b, node, 1) &&
           set_text(b, put_member(node, ig_slice_of("__float__")), IG_JSON_STRING,
                    ig_slice_of(negative ? "-Infinity" : "Infinity"));
}

static bool copy_number(struct builder *b, const struct ig_json *from, struct ig_json *to)
{
    char literal[NUMBER_MAX];
    struct ig_slice text = from->text;
    bool integer = true;
    for (size_t i = 0; i < text.len; i++)
        integer = integer && (text.ptr[i] == '-' || (text.ptr[i] >= '0' && text.ptr[i] <= '9'));
    if (integer)
        return set_text(b, to, IG_JSON_NUMBER, ig_slice_is(text, "-0") ? ig_slice_of("0") : text);
    if (text.len >= sizeof literal) return set_text(b, to, IG_JSON_NUMBER, text);
    memcpy(literal, text.ptr, text.len);
    literal[text.len] = 0;
    double value = strtod(literal, NULL);
    if (!isfinite(value)) return set_infinity(b, to, value < 0);
    struct ig_buf repr = {0};
    python_float(value, &repr);
    bool ok = set_text(b, to, IG_JSON_NUMBER, ig_buf_view(&repr));
    ig_buf_release(&repr);
    return ok;
}

/* The parser bounds the depth. Of equal keys the first has the place and the last the value. */
static bool copy_node(struct builder *b, /* NOLINT(misc-no-recursion) */
                      const struct ig_json *from, struct ig_json *to)
{
    *to = *from;
    if (from->type == IG_JSON_NUMBER) return copy_number(b, from, to);
    if (from->type != IG_JSON_ARRAY && from->type != IG_JSON_OBJECT) return true;
    struct ig_map seen = {0};
    bool ok = set_object(b, to, from->count);
    to->type = from->type;
    for (uint32_t i = 0; ok && i < from->count; i++) {
        int64_t at = to->count;
        if (from->type == IG_JSON_OBJECT) at = ig_map_get(&seen, from->items[i].key, at);
        if (at == to->count) to->count++;
        ok = copy_node(b, &from->items[i], &to->items[at]) &&
             (from->type == IG_JSON_ARRAY || ig_map_put(&seen, from->items[i].key, at, b->err));
    }
    ig_map_release(&seen);
    return ok;
}

/* Whether Python finds the value true. */
static bool is_truthy(const struct ig_json *node)
{
    double value;
    if (!node) return false;
    switch (node->type) {
    case IG_JSON_TRUE: return true;
    case IG_JSON_NUMBER: return !ig_json_real(node, &value) || value != 0;
    case IG_JSON_STRING: return node->text.len > 0;
    case IG_JSON_ARRAY:
    case IG_JSON_OBJECT: return node->count > 0;
    default: return false;
    }
}

/* ---- quantization ---- */

static bool put_codec(struct builder *b, struct ig_json *object, struct ig_codec codec, bool mode)
{
    if (!put_int(b, object, "group_size", codec.group_size) ||
        !put_int(b, object, "bits", codec.bits))
        return false;
    return !mode || set_text(b, put_member(object, ig_slice_of("mode")), IG_JSON_STRING,
                             ig_slice_of(ig_quant_mode_name(codec.mode)));
}

static bool set_quantization(struct builder *b, const struct ig_cast *cast, struct ig_json *node)
{
    if (!set_object(b, node, (size_t)cast->module_count + 3)) return false;
    if (!put_codec(b, node, cast->plan.recipe->base, true)) return false;
    for (int64_t i = 0; i < cast->module_count; i++) {
        const struct ig_quant_row *row = &cast->rows[i];
        if (row->codec.bits == 0 || (!cast->mixed && row->role != IG_ROLE_ROUTER)) continue;
        struct ig_json *entry = put_member(node, row->module);
        if (!set_object(b, entry, 3) || !put_codec(b, entry, row->codec, cast->mixed)) return false;
    }
    return true;
}

/* ---- the top level ---- */

static int by_key(const void *a, const void *b)
{
    return ig_slice_compare(((const struct ig_json *)a)->key, ((const struct ig_json *)b)->key);
}

static bool is_left_out(struct ig_slice key)
{
    static const char *const names[] = {"_name_or_path", "vision_config", "quantization",
                                        "quantization_config", NULL};
    for (int i = 0; names[i]; i++)
        if (ig_slice_is(key, names[i])) return true;
    return false;
}

/* The type that config.json states, when the tensors have another one now: who loads the folder by
 * it must not round again. (mlx-lm leaves it.) */
static bool restate_dtype(struct builder *b, enum ig_dtype dtype, struct ig_json *node)
{
    bool stated = ig_slice_is(node->key, "torch_dtype") || ig_slice_is(node->key, "dtype");
    if (!stated || node->type != IG_JSON_STRING) return true;
    return set_text(b, node, IG_JSON_STRING, ig_slice_of(ig_dtype_torch_name(dtype)));
}

static bool build(struct builder *b, const struct ig_json *config, const struct ig_json *eos,
                  const struct ig_cast *cast, struct ig_json *tree)
{
    struct ig_json copy = {.type = IG_JSON_OBJECT};
    bool has_eos = false;
    if (config && !copy_node(b, config, &copy)) return false;
    if (!set_object(b, tree, (size_t)copy.count + 3)) return false;
    for (uint32_t i = 0; i < copy.count; i++) {
        struct ig_slice key = copy.items[i].key;
        bool is_eos = eos && ig_slice_is(key, "eos_token_id");
        if (is_left_out(key)) continue;
        struct ig_json *node = put_member(tree, key);
        *node = copy.items[i];
        if (is_eos && !copy_node(b, eos, node)) return false;
        node->key = key;
        has_eos = has_eos || is_eos;
    }
    if (eos && !has_eos) {
        struct ig_json *node = put_member(tree, ig_slice_of("eos_token_id"));
        if (!copy_node(b, eos, node)) return false;
        node->key = ig_slice_of("eos_token_id");
    }
    static const char *const names[] = {"quantization", "quantization_config"};
    for (int i = 0; cast && i < 2; i++)
        if (!set_quantization(b, cast, put_member(tree, ig_slice_of(names[i])))) return false;
    qsort(tree->items, tree->count, sizeof(*tree->items), by_key);
    return true;
}

bool quant__config(const struct ig_json *config, const struct ig_json *generation,
                   const struct ig_cast *cast, enum ig_dtype dtype, struct ig_buf *out,
                   struct ig_err *err)
{
    struct ig_arena arena = {0};
    struct builder b = {&arena, err};
    struct ig_json tree;
    const struct ig_json *eos = ig_json_get(generation, "eos_token_id");
    if (config && config->type != IG_JSON_OBJECT)
        return ig_err_set(err, IG_ERR_DATA, "config.json is not an object");
    bool ok = build(&b, config, is_truthy(eos) ? eos : NULL, cast, &tree);
    for (uint32_t i = 0; ok && !cast && i < tree.count; i++)
        ok = restate_dtype(&b, dtype, &tree.items[i]);
    if (ok) ig_json_write(out, &tree, PYTHON_INDENT, true);
    ig_arena_release(&arena);
    return ok && ig_buf_ok(out, err);
}

bool quant__generation(const char *model, const struct ig_watch *watch, struct ig_json_doc **out,
                       struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    struct ig_err why = {0};
    *out = NULL;
    if (!ig_path_join(path, model, "generation_config.json", err)) return false;
    if (!ig_path_exists(path)) return true;
    bool ok = ig_file_read(path, GENERATION_MAX, &text, err);
    if (ok && !ig_json_doc_new(ig_buf_view(&text), out, &why))
        ig_watch_warn(watch, "'%s' is ignored: %s", path, why.text);
    ig_buf_release(&text);
    return ok;
}

/* ---- the card ---- */

void quant__card(const struct ig_cast *cast, struct ig_buf *out)
{
    const struct ig_quant_recipe *recipe = cast->plan.recipe;
    ig_buf_text(out, "---\nlanguage: en\nlibrary_name: mlx\npipeline_tag: text-generation\ntags:\n"
                     "- mlx\n---\n");
    ig_buf_printf(out,
                  "Cast by ingot " INGOT_VERSION " with the recipe `%s`: %.3f bits per weight, "
                  "%.3f GB.\n\n```yaml\n",
                  recipe->name, ig_cast_bits_per_weight(cast), (double)cast->bytes / 1e9);
    ig_buf_slice(out, recipe->text);
    if (recipe->text.len && recipe->text.ptr[recipe->text.len - 1] != '\n') ig_buf_char(out, '\n');
    ig_buf_text(out, "```\n");
}
