/* SPDX-License-Identifier: Apache-2.0
 * load_pipeline — the normalizer, pre_tokenizer, post_processor and decoder of a tokenizer.json.
 *
 * What is not known is refused by its name and place: a tokenizer that is nearly right gives wrong
 * ids without a word. */
#include "ingot/json.h"
#include "token/char_class.h"
#include "token/regex.h"
#include "token/token_internal.h"

#include <stdio.h>

#define PLACE_MAX    96 /* "pre_tokenizer.pretokenizers[1]" */
#define SEQUENCE_MAX 4  /* sequences inside sequences */

/* A component's "type", or an error that names the place. */
static struct ig_slice type_of(const struct ig_json *node, const char *place, struct ig_err *err)
{
    struct ig_slice type = ig_json_text(ig_json_get(node, "type"));
    if (!type.ptr) ig_err_set(err, IG_ERR_DATA, "%s.type: missing, or not a string", place);
    return type;
}

static bool unsupported(const char *place, struct ig_slice type, struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_UNSUPPORTED, "%s: type '" IG_SLICE_FMT "' is not supported",
                      place, IG_SLICE_ARG(type));
}

typedef bool load_one(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                      struct ig_err *err);

/* Calls one() for a component, or for each member of a Sequence of them. NOLINTs: the depth is
 * capped by SEQUENCE_MAX. */
// NOLINTNEXTLINE(misc-no-recursion)
static bool each(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                 const char *members, int depth, load_one *one, struct ig_err *err)
{
    if (!node || node->type == IG_JSON_NULL) return true;
    struct ig_slice type = type_of(node, place, err);
    if (!type.ptr) return false;
    if (!ig_slice_is(type, "Sequence")) return one(t, node, place, err);
    const struct ig_json *list = ig_json_get(node, members);
    if (!list || list->type != IG_JSON_ARRAY || depth == SEQUENCE_MAX)
        return ig_err_set(err, IG_ERR_DATA, "%s.%s: missing, no array, or too deep", place,
                          members);
    for (uint32_t i = 0; i < list->count; i++) {
        char inner[PLACE_MAX];
        snprintf(inner, sizeof inner, "%.64s.%.16s[%u]", place, members, i);
        if (!each(t, &list->items[i], inner, members, depth + 1, one, err)) return false;
    }
    return true;
}

static bool option_bool(const struct ig_json *node, const char *key, bool otherwise, bool *out,
                        const char *place, struct ig_err *err)
{
    const struct ig_json *value = ig_json_get(node, key);
    *out = otherwise;
    if (!value || ig_json_bool(value, out)) return true;
    return ig_err_set(err, IG_ERR_DATA, "%s.%s: not true or false", place, key);
}

static bool keep_text(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                      const char *key, struct ig_slice *out, struct ig_err *err)
{
    struct ig_slice text = ig_json_text(ig_json_get(node, key));
    if (!text.ptr)
        return ig_err_set(err, IG_ERR_DATA, "%s.%s: missing, or not a string", place, key);
    *out = ig_arena_copy(&t->arena, text);
    return out->ptr || ig_err_nomem(err);
}

/* ---- normalizer */

static bool load_regex(struct ig_tokenizer *t, struct ig_slice text, const char *place,
                       const struct token__regex **out, struct ig_err *err)
{
    struct token__regex *regex;
    if (!token__regex_new(text, &t->arena, &regex, err))
        return ig_err_within(err, "%s.pattern: '" IG_SLICE_FMT "'", place, IG_SLICE_ARG(text));
    *out = regex;
    return true;
}

/* "Replace" of a normalizer or a decoder. */
static bool load_replace(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                         struct token__norm *norm, struct ig_err *err)
{
    const struct ig_json *pattern = ig_json_get(node, "pattern");
    struct ig_slice regex = ig_json_text(ig_json_get(pattern, "Regex"));
    norm->kind = NORM_REPLACE;
    return (regex.ptr ? load_regex(t, regex, place, &norm->regex, err)
                      : keep_text(t, pattern, place, "String", &norm->pattern, err)) &&
           keep_text(t, node, place, "content", &norm->content, err);
}

static bool load_norm(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                      struct ig_err *err)
{
    struct ig_slice type = type_of(node, place, err);
    struct token__norm norm = {0};
    if (ig_slice_is(type, "NFC")) {
        norm.kind = NORM_NFC;
    } else if (ig_slice_is(type, "Prepend")) {
        norm.kind = NORM_PREPEND;
        if (!keep_text(t, node, place, "prepend", &norm.content, err)) return false;
    } else if (ig_slice_is(type, "Replace")) {
        if (!load_replace(t, node, place, &norm, err)) return false;
    } else {
        return unsupported(place, type, err);
    }
    if (t->norm_count == TOKEN_STEPS_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "%s: more than %d normalizers", place,
                          TOKEN_STEPS_MAX);
    t->norms[t->norm_count++] = norm;
    return true;
}

bool token__load_normalizer(struct ig_tokenizer *t, const struct ig_json *node, struct ig_err *err)
{
    return each(t, node, "normalizer", "normalizers", 0, load_norm, err);
}

/* ---- pre_tokenizer */

static bool add_step(struct ig_tokenizer *t, struct token__step step, const char *place,
                     struct ig_err *err)
{
    if (t->byte_level)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "%s: a split after ByteLevel is not supported",
                          place);
    if (t->step_count == TOKEN_STEPS_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "%s: more than %d splits", place,
                          TOKEN_STEPS_MAX);
    t->steps[t->step_count++] = step;
    return true;
}

static bool load_behavior(const struct ig_json *node, const char *place, enum token__behavior *out,
                          struct ig_err *err)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    struct ig_slice name = ig_json_text(ig_json_get(node, "behavior"));
    for (int i = 0; i < 5; i++) {
        if (!ig_slice_is(name, names[i])) continue;
        *out = (enum token__behavior)i;
        return true;
    }
    return ig_err_set(err, IG_ERR_DATA, "%s.behavior: '" IG_SLICE_FMT "' is unknown", place,
                      IG_SLICE_ARG(name));
}

/* A step that cuts at a regex that we write ourselves. */
static bool add_own_split(struct ig_tokenizer *t, const char *pattern,
                          enum token__behavior behavior, bool invert, const char *place,
                          struct ig_err *err)
{
    const struct token__regex *regex = NULL;
    return load_regex(t, ig_slice_of(pattern), place, &regex, err) &&
           add_step(t, token__step_split(regex, behavior, invert), place, err);
}

static bool add_literal_split(struct ig_tokenizer *t, struct ig_slice text,
                              enum token__behavior behavior, bool invert, const char *place,
                              struct ig_err *err)
{
    struct token__regex *literal;
    if (!token__regex_literal(text, &t->arena, &literal, err))
        return ig_err_within(err, "%s.pattern", place);
    return add_step(t, token__step_split(literal, behavior, invert), place, err);
}

static bool load_split(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                       struct ig_err *err)
{
    const struct ig_json *pattern = ig_json_get(node, "pattern");
    struct ig_slice text = ig_json_text(ig_json_get(pattern, "Regex"));
    struct ig_slice literal = ig_json_text(ig_json_get(pattern, "String"));
    enum token__behavior behavior = SPLIT_ISOLATED;
    const struct token__regex *regex = NULL;
    struct token__step step;
    bool invert;
    if (!option_bool(node, "invert", false, &invert, place, err) ||
        !load_behavior(node, place, &behavior, err))
        return false;
    if (literal.ptr) return add_literal_split(t, literal, behavior, invert, place, err);
    if (!text.ptr)
        return ig_err_set(err, IG_ERR_DATA, "%s.pattern: neither Regex nor String", place);
    if (behavior == SPLIT_ISOLATED && token__step_of_regex(text, &step))
        return add_step(t, step, place, err);
    return load_regex(t, text, place, &regex, err) &&
           add_step(t, token__step_split(regex, behavior, invert), place, err);
}

/* Older files have add_prefix_space in place of prepend_scheme. */
static bool load_prepend(const struct ig_json *node, const char *place, enum token__prepend *out,
                         struct ig_err *err)
{
    static const char *const names[] = {"always", "first", "never"};
    struct ig_slice scheme = ig_json_text(ig_json_get(node, "prepend_scheme"));
    bool prefix;
    *out = PREPEND_ALWAYS;
    if (!option_bool(node, "add_prefix_space", true, &prefix, place, err)) return false;
    for (int i = 0; i < 3; i++)
        if (ig_slice_is(scheme, names[i])) *out = (enum token__prepend)i;
    if (scheme.ptr && !ig_slice_is(scheme, names[*out]))
        return ig_err_set(err, IG_ERR_DATA, "%s.prepend_scheme: '" IG_SLICE_FMT "' is unknown",
                          place, IG_SLICE_ARG(scheme));
    if (!prefix && *out != PREPEND_NEVER) /* as the reference */
        return ig_err_set(err, IG_ERR_DATA,
                          "%s.prepend_scheme: not 'never', but add_prefix_space is false", place);
    return true;
}

static bool load_metaspace(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                           struct ig_err *err)
{
    bool split;
    if (t->step_count || t->metaspace.len || t->byte_level)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "%s: Metaspace after another step is not supported", place);
    if (!keep_text(t, node, place, "replacement", &t->metaspace, err) ||
        !load_prepend(node, place, &t->metaspace_prepend, err) ||
        !option_bool(node, "split", true, &split, place, err))
        return false;
    if (t->metaspace.len == 0) return ig_err_set(err, IG_ERR_DATA, "%s.replacement: empty", place);
    return !split || add_literal_split(t, t->metaspace, SPLIT_WITH_NEXT, false, place, err);
}

static bool load_byte_level(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                            struct ig_err *err)
{
    bool prefix, regex;
    if (!option_bool(node, "add_prefix_space", true, &prefix, place, err)) return false;
    if (!option_bool(node, "use_regex", true, &regex, place, err)) return false;
    if (prefix && (t->step_count || t->metaspace.len))
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "%s.add_prefix_space: not supported after a "
                          "split",
                          place);
    if (regex && !add_step(t, token__step_gpt2(), place, err)) return false;
    t->prefix_space = prefix;
    t->byte_level = true;
    return true;
}

static bool load_step(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                      struct ig_err *err)
{
    struct ig_slice type = type_of(node, place, err);
    bool individual;
    if (ig_slice_is(type, "Split")) return load_split(t, node, place, err);
    if (ig_slice_is(type, "ByteLevel")) return load_byte_level(t, node, place, err);
    if (ig_slice_is(type, "Metaspace")) return load_metaspace(t, node, place, err);
    if (ig_slice_is(type, "WhitespaceSplit"))
        return add_own_split(t, "\\s", SPLIT_REMOVED, false, place, err);
    if (ig_slice_is(type, "Digits"))
        return option_bool(node, "individual_digits", false, &individual, place, err) &&
               add_step(t, token__step_isolate(CLASS_N, !individual), place, err);
    return unsupported(place, type, err);
}

bool token__load_pre_tokenizer(struct ig_tokenizer *t, const struct ig_json *node,
                               struct ig_err *err)
{
    return each(t, node, "pre_tokenizer", "pretokenizers", 0, load_step, err);
}

/* ---- post_processor: the ids before and after a text */

static bool add_special(struct ig_tokenizer *t, const struct ig_json *ids, bool after,
                        const char *place, struct ig_err *err)
{
    int32_t *list = after ? t->after : t->before;
    int *count = after ? &t->after_count : &t->before_count;
    if (!ids || ids->type != IG_JSON_ARRAY)
        return ig_err_set(err, IG_ERR_DATA, "%s.special_tokens: a token has no ids", place);
    for (uint32_t i = 0; i < ids->count; i++) {
        int64_t id;
        if (!ig_json_int(&ids->items[i], &id) || id < 0 || id >= TOKEN_IDS_MAX)
            return ig_err_set(err, IG_ERR_DATA, "%s.special_tokens: not an id", place);
        if (*count == TOKEN_SPECIAL_MAX)
            return ig_err_set(err, IG_ERR_UNSUPPORTED, "%s: more than %d special tokens", place,
                              TOKEN_SPECIAL_MAX);
        list[(*count)++] = (int32_t)id;
    }
    return true;
}

static bool load_template(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                          struct ig_err *err)
{
    const struct ig_json *single = ig_json_get(node, "single");
    const struct ig_json *specials = ig_json_get(node, "special_tokens");
    bool after = false;
    if (!single || single->type != IG_JSON_ARRAY)
        return ig_err_set(err, IG_ERR_DATA, "%s.single: missing, or not an array", place);
    if (t->before_count || t->after_count)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "%s: a second template is not supported", place);
    for (uint32_t i = 0; i < single->count; i++) {
        const struct ig_json *piece = &single->items[i];
        struct ig_slice sequence = ig_json_text(ig_json_get(ig_json_get(piece, "Sequence"), "id"));
        struct ig_slice name = ig_json_text(ig_json_get(ig_json_get(piece, "SpecialToken"), "id"));
        const struct ig_json *found = NULL;
        if (ig_slice_is(sequence, "A") && !after) {
            after = true;
            continue;
        }
        for (uint32_t k = 0;
             name.ptr && specials && specials->type == IG_JSON_OBJECT && k < specials->count; k++)
            if (ig_slice_equal(specials->items[k].key, name)) found = &specials->items[k];
        if (!found)
            return ig_err_set(err, IG_ERR_DATA,
                              "%s.single[%u]: neither the first sequence A nor "
                              "one of special_tokens",
                              place, i);
        if (!add_special(t, ig_json_get(found, "ids"), after, place, err)) return false;
    }
    if (!after) return ig_err_set(err, IG_ERR_DATA, "%s.single: has no sequence A", place);
    return true;
}

static bool load_processor(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                           struct ig_err *err)
{
    struct ig_slice type = type_of(node, place, err);
    if (ig_slice_is(type, "ByteLevel")) return true; /* changes offsets only */
    if (ig_slice_is(type, "TemplateProcessing")) return load_template(t, node, place, err);
    return unsupported(place, type, err);
}

bool token__load_post_processor(struct ig_tokenizer *t, const struct ig_json *node,
                                struct ig_err *err)
{
    return each(t, node, "post_processor", "processors", 0, load_processor, err);
}

/* ---- decoder */

/* What is known of the chain: texts are still single tokens until something joins them. */
static bool load_strip(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                       struct ig_err *err)
{
    int64_t start, stop;
    if (!ig_json_int(ig_json_get(node, "start"), &start) ||
        !ig_json_int(ig_json_get(node, "stop"), &stop) || start < 0 || start > 1000)
        return ig_err_set(err, IG_ERR_DATA, "%s: start and stop are not small numbers", place);
    if (stop != 0 || t->decode_strip_count || !t->decode_fused)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "%s: Strip is only supported once, after Fuse, at the start", place);
    t->decode_strip_count = (int)start;
    return keep_text(t, node, place, "content", &t->decode_strip, err);
}

static bool load_decode_metaspace(struct ig_tokenizer *t, const struct ig_json *node,
                                  const char *place, struct ig_err *err)
{
    struct token__norm *norm = &t->decode_replace[t->decode_replace_count++];
    enum token__prepend prepend;
    *norm = (struct token__norm){.kind = NORM_REPLACE, .content = ig_slice_of(" ")};
    if (!keep_text(t, node, place, "replacement", &norm->pattern, err) ||
        !load_prepend(node, place, &prepend, err))
        return false;
    t->decode_drop_first = prepend != PREPEND_NEVER;
    return true;
}

static bool load_decode_step(struct ig_tokenizer *t, const struct ig_json *node, const char *place,
                             struct ig_err *err)
{
    struct ig_slice type = type_of(node, place, err);
    bool replaces = ig_slice_is(type, "Replace") || ig_slice_is(type, "Metaspace");
    if (ig_slice_is(type, "ByteLevel") && t->decode == DECODE_SPACES) {
        t->decode = DECODE_BYTE_LEVEL;
        return true;
    }
    if (t->decode == DECODE_BYTE_LEVEL) return unsupported(place, type, err);
    t->decode = DECODE_PIECES;
    if (ig_slice_is(type, "Fuse")) {
        t->decode_fused = true;
        return true;
    }
    if (ig_slice_is(type, "Strip")) return load_strip(t, node, place, err);
    if (ig_slice_is(type, "ByteFallback") && !t->decode_fused) {
        t->decode_bytes = true;
        return true;
    }
    if (!replaces || t->decode_fused || t->decode_bytes || t->decode_drop_first ||
        t->decode_replace_count == TOKEN_STEPS_MAX)
        return unsupported(place, type, err);
    if (ig_slice_is(type, "Metaspace")) return load_decode_metaspace(t, node, place, err);
    return load_replace(t, node, place, &t->decode_replace[t->decode_replace_count++], err);
}

bool token__load_decoder(struct ig_tokenizer *t, const struct ig_json *node, struct ig_err *err)
{
    t->decode = DECODE_SPACES;
    return each(t, node, "decoder", "decoders", 0, load_decode_step, err);
}

bool token__decoder_apply(struct ig_tokenizer *t, struct ig_err *err)
{
    struct token__norm_room room = {0};
    bool ok = true;
    for (int32_t id = 0; ok && t->decode == DECODE_PIECES && id < t->size; id++) {
        struct ig_slice text = t->bytes[id];
        if (!t->contents[id].ptr) continue;
        ok = token__normalize(t->decode_replace, t->decode_replace_count, text, &room, &text, err);
        if (!ok || text.ptr == t->bytes[id].ptr) continue;
        t->bytes[id] = ig_arena_copy(&t->arena, text);
        ok = t->bytes[id].ptr || ig_err_nomem(err);
    }
    token__norm_room_release(&room);
    return ok;
}
