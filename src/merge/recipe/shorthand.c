/* SPDX-License-Identifier: Apache-2.0
 * shorthand — the recipes that `ingot expand`, `extract` and `transplant` stand for. They are text
 * like any other, so that the model card and ingot.json say what was done, and anyone can do it
 * again. */
#include "merge/merge_internal.h"

#include "base/file.h"

#define SCALES_BYTES_MAX ((size_t)1 << 20)

static void put_line(struct ig_buf *out, const char *key, const char *value)
{
    ig_buf_text(out, key);
    ig_json_quote(out, ig_slice_of(value), false);
    ig_buf_char(out, '\n');
}

static void put_head(struct ig_buf *out, const char *model)
{
    ig_buf_text(out, "merge_method: passthrough\nmodels:\n");
    put_line(out, "  - model: ", model);
}

/* The table in one form, whatever the file's: YAML or JSON. The parser caps the depth. */
static void put_tree(struct ig_buf *out, const struct ig_yaml *node) /* NOLINT(misc-no-recursion) */
{
    bool map = node->type == IG_YAML_MAP;
    if (!map && node->type != IG_YAML_LIST) {
        if (node->type == IG_YAML_INT || node->type == IG_YAML_REAL)
            ig_buf_slice(out, node->text);
        else
            ig_json_quote(out, node->text, false);
        return;
    }
    ig_buf_char(out, map ? '{' : '[');
    for (uint32_t i = 0; i < node->count; i++) {
        if (i) ig_buf_text(out, ", ");
        if (map) {
            ig_json_quote(out, node->items[2 * i]->text, false);
            ig_buf_text(out, ": ");
        }
        put_tree(out, node->items[map ? 2 * i + 1 : i]);
    }
    ig_buf_char(out, map ? '}' : ']');
}

static void put_context(struct ig_buf *out, int64_t length)
{
    if (length > 0) ig_buf_printf(out, "context:\n  length: %lld\n", (long long)length);
}

static bool put_scales(struct ig_buf *out, const char *path, struct ig_err *err)
{
    struct ig_buf text = {0};
    struct ig_arena arena = {.bytes_max = (size_t)256 << 20};
    bool ok = ig_file_read(path, SCALES_BYTES_MAX, &text, err);
    const struct ig_yaml *root = NULL;
    if (ok) root = ig_yaml_parse(ig_buf_view(&text), &arena, err);
    if (ok && !root) ig_err_within(err, "%s", path);
    if (root) {
        ig_buf_text(out, "  scales: ");
        put_tree(out, root);
        ig_buf_char(out, '\n');
    }
    ig_arena_release(&arena);
    ig_buf_release(&text);
    return root != NULL;
}

static bool parse(struct ig_buf *text, const char *name, struct ig_recipe **out, struct ig_err *err)
{
    if (!ig_buf_ok(text, err) || !ig_recipe_parse(ig_buf_view(text), name, out, err)) return false;
    (*out)->made = true;
    return true;
}

bool ig_recipe_expand(const struct ig_expand_ask *ask, struct ig_recipe **out, struct ig_err *err)
{
    struct ig_buf text = {0};
    put_head(&text, ask->model);
    ig_buf_printf(&text, "expand:\n  copies: %lld\n", (long long)ask->copies);
    if (ask->layer >= 0)
        ig_buf_printf(&text, "  layer: %lld\n", (long long)ask->layer);
    else
        ig_buf_text(&text, "  layer: last\n");
    if (ask->preset) put_line(&text, "  preset: ", ask->preset);
    bool ok = !ask->scales || put_scales(&text, ask->scales, err);
    put_context(&text, ask->context_length);
    ok = ok && parse(&text, "expand", out, err);
    ig_buf_release(&text);
    return ok;
}

bool ig_recipe_extract(const char *model, int64_t context_length, struct ig_recipe **out,
                       struct ig_err *err)
{
    struct ig_buf text = {0};
    put_head(&text, model);
    ig_buf_text(&text, "extract: text\n");
    put_context(&text, context_length);
    bool ok = parse(&text, "extract", out, err);
    ig_buf_release(&text);
    return ok;
}

static void put_choice(struct ig_buf *out, const char *key, const char *const *words, int at)
{
    if (at) ig_buf_printf(out, "  %s: \"%s\"\n", key, words[at]);
}

bool ig_recipe_transplant(const struct ig_transplant_ask *ask, struct ig_recipe **out,
                          struct ig_err *err)
{
    struct ig_buf text = {0};
    put_head(&text, ask->model);
    ig_buf_text(&text, "transplant:\n");
    put_line(&text, "  donor: ", ask->donor);
    ig_buf_printf(&text, "  approximation: %s\n", ig_transplant_methods[ask->approximation]);
    ig_buf_printf(&text, "  k: %lld\n", (long long)ask->k);
    put_choice(&text, "weight_scheme", ig_transplant_weights, ask->weight_scheme);
    put_choice(&text, "subword_method", ig_transplant_subwords, ask->subword_method);
    put_choice(&text, "prefix_match", ig_transplant_allow, ask->prefix_match);
    put_choice(&text, "byte_match", ig_transplant_allow, ask->byte_match);
    put_choice(&text, "spelling", ig_transplant_spellings, ask->spelling);
    if (ask->cosine_similarity) ig_buf_text(&text, "  cosine_similarity: true\n");
    if (ask->new_vocab_noise != 0)
        ig_buf_printf(&text, "  new_vocab_noise: %.17g\n", ask->new_vocab_noise);
    if (ask->new_vocab_scale != 1)
        ig_buf_printf(&text, "  new_vocab_scale: %.17g\n", ask->new_vocab_scale);
    bool ok = parse(&text, "transplant", out, err);
    ig_buf_release(&text);
    return ok;
}
