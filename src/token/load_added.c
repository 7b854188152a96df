/* SPDX-License-Identifier: Apache-2.0
 * load_added — added_tokens of tokenizer.json, and what tokenizer_config.json has to add.
 *
 * The id that the file declares is not used, because the reference does not use it: content that
 * the model's vocabulary has keeps that id, the rest are numbered from the vocabulary's count on,
 * in file order. A token that comes again replaces the earlier one's flags. */
#include "ingot/json.h"
#include "token/token_internal.h"

#include <stdio.h>
#include <stdlib.h>

static bool read_flags(const struct ig_json *item, const char *place, unsigned *out,
                       struct ig_err *err)
{
    static const struct {
        const char *key;
        unsigned flag;
    } names[] = {
        {"special", ADDED_SPECIAL},       {"lstrip", ADDED_LSTRIP},
        {"rstrip", ADDED_RSTRIP},         {"single_word", ADDED_SINGLE_WORD},
        {"normalized", ADDED_NORMALIZED},
    };
    *out = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct ig_json *value = ig_json_get(item, names[i].key);
        /* normalized is the one that is on when it is not said, but not for special tokens */
        bool on = names[i].flag == ADDED_NORMALIZED && !(*out & ADDED_SPECIAL);
        if (value && !ig_json_bool(value, &on))
            return ig_err_set(err, IG_ERR_DATA, "%s: %s is not true or false", place, names[i].key);
        if (on) *out |= names[i].flag;
    }
    return true;
}

/* Room for ids below `cap` in the arrays by id. */
static bool grow_ids(struct ig_tokenizer *t, int32_t cap, struct ig_err *err)
{
    size_t size = (size_t)t->size;
    struct ig_slice *contents = ig_arena_array(&t->arena, (size_t)cap, sizeof(*contents));
    struct ig_slice *bytes = ig_arena_array(&t->arena, (size_t)cap, sizeof(*bytes));
    unsigned char *special = ig_arena_new(&t->arena, (size_t)cap);
    if (!contents || !bytes || !special) return ig_err_nomem(err);
    if (size) {
        memcpy(contents, t->contents, size * sizeof(*contents));
        memcpy(bytes, t->bytes, size * sizeof(*bytes));
        if (t->special) memcpy(special, t->special, size);
    }
    t->contents = contents;
    t->bytes = bytes;
    t->special = special;
    t->vocab.texts = t->byte_level ? bytes : contents;
    return true;
}

/* The form that is looked for in normalized text, which is also what the token decodes to. */
static bool set_pattern(struct ig_tokenizer *t, struct token__added *added, struct ig_err *err)
{
    struct token__norm_room room = {0};
    struct ig_slice pattern = added->content;
    bool ok = true;
    if (added->flags & ADDED_NORMALIZED)
        ok = token__normalize(t->norms, t->norm_count, added->content, &room, &pattern, err);
    if (ok && pattern.ptr != added->content.ptr) {
        pattern = ig_arena_copy(&t->arena, pattern);
        if (!pattern.ptr) ok = ig_err_nomem(err);
    }
    added->pattern = pattern;
    token__norm_room_release(&room);
    return ok;
}

static bool set_bytes(struct ig_tokenizer *t, const struct token__added *added, struct ig_err *err)
{
    size_t len;
    char *bytes = ig_arena_new(&t->arena, added->pattern.len + 1);
    if (!bytes) return ig_err_nomem(err);
    t->contents[added->id] = added->content;
    t->bytes[added->id] =
        t->decode != DECODE_PIECES && token__alphabet_bytes(added->pattern, bytes, &len)
            ? ig_slice_make(bytes, len)
            : added->pattern;
    /* The reference skips by the decoded form: one that normalizing has changed is not skipped. */
    if (added->flags & ADDED_SPECIAL && ig_slice_equal(added->pattern, added->content))
        t->special[added->id] = 1;
    return true;
}

static bool add_token(struct ig_tokenizer *t, struct ig_slice content, unsigned flags,
                      int32_t *next_id, struct ig_err *err)
{
    int64_t index = ig_map_get(&t->added_index, content, -1);
    struct token__added added = {.content = ig_arena_copy(&t->arena, content), .flags = flags};
    if (!added.content.ptr) return ig_err_nomem(err);
    added.id = token__content_id(t, content);
    if (added.id < 0) added.id = (*next_id)++;
    if (added.id >= t->size) t->size = added.id + 1;
    if (!set_pattern(t, &added, err) || !set_bytes(t, &added, err)) return false;
    if (index < 0) {
        index = t->added_count++;
        if (!ig_map_put(&t->added_index, added.content, index, err)) return false;
    }
    t->added[index] = added;
    return true;
}

static int32_t first_free_id(const struct ig_tokenizer *t)
{
    int32_t next = t->vocab_count;
    for (int32_t i = 0; i < t->added_count; i++)
        if (t->added[i].id >= next) next = t->added[i].id + 1;
    return next;
}

static bool make_room(struct ig_tokenizer *t, uint32_t more, struct ig_err *err)
{
    int32_t first = first_free_id(t);
    int32_t cap = (t->size > first ? t->size : first);
    if (more > (uint32_t)(TOKEN_IDS_MAX - cap < 0 ? 0 : TOKEN_IDS_MAX - cap))
        return ig_err_set(err, IG_ERR_DATA, "added_tokens: more than %d ids", TOKEN_IDS_MAX);
    if (!grow_ids(t, cap + (int32_t)more, err)) return false;
    struct token__added *added =
        ig_arena_array(&t->arena, (size_t)t->added_count + more, sizeof(*added));
    if (!added) return ig_err_nomem(err);
    if (t->added_count) memcpy(added, t->added, (size_t)t->added_count * sizeof(*added));
    t->added = added;
    return true;
}

bool token__load_added(struct ig_tokenizer *t, const struct ig_json *list, struct ig_err *err)
{
    uint32_t count = list && list->type == IG_JSON_ARRAY ? list->count : 0;
    if (list && list->type != IG_JSON_ARRAY && list->type != IG_JSON_NULL)
        return ig_err_set(err, IG_ERR_DATA, "added_tokens: not an array");
    if (!make_room(t, count, err)) return false;
    int32_t next_id = first_free_id(t);
    for (uint32_t i = 0; i < count; i++) {
        char place[40];
        const struct ig_json *item = &list->items[i];
        struct ig_slice content = ig_json_text(ig_json_get(item, "content"));
        unsigned flags;
        int64_t declared;
        snprintf(place, sizeof place, "added_tokens[%u]", i);
        if (!content.ptr)
            return ig_err_set(err, IG_ERR_DATA, "%s.content: missing, or not a string", place);
        if (content.len == 0) continue; /* as the reference */
        if (!read_flags(item, place, &flags, err)) return false;
        if (!add_token(t, content, flags, &next_id, err)) return false;
        int32_t id = token__content_id(t, content);
        if (ig_json_int(ig_json_get(item, "id"), &declared) && declared != id &&
            !token__warn(t, err, "%s: '" IG_SLICE_FMT "' has the id %d, not %lld as declared",
                         place, IG_SLICE_ARG(content), id, (long long)declared))
            return false;
    }
    return true;
}

/* ---- tokenizer_config.json */

struct declared {
    int64_t id;
    const struct ig_json *item;
};

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const struct declared *)a)->id, y = ((const struct declared *)b)->id;
    return (x > y) - (x < y);
}

/* added_tokens_decoder: {"id": token}. Only tokens that are not there yet are added, by id. */
static bool load_more(struct ig_tokenizer *t, const struct ig_json *object, struct ig_err *err)
{
    uint32_t count = object && object->type == IG_JSON_OBJECT ? object->count : 0;
    struct declared *order = calloc((size_t)count + 1, sizeof(*order));
    bool ok = false;
    if (!order) return ig_err_nomem(err);
    for (uint32_t i = 0; i < count; i++)
        order[i] =
            (struct declared){strtoll(object->items[i].key.ptr, NULL, 10), &object->items[i]};
    qsort(order, count, sizeof(*order), by_id);
    if (!make_room(t, count, err)) goto done;
    int32_t next_id = first_free_id(t);
    for (uint32_t i = 0; i < count; i++) {
        struct ig_slice content = ig_json_text(ig_json_get(order[i].item, "content"));
        unsigned flags;
        if (content.len == 0 || ig_map_get(&t->added_index, content, -1) >= 0) continue;
        if (!read_flags(order[i].item, "added_tokens_decoder", &flags, err)) goto done;
        if (!add_token(t, content, flags, &next_id, err)) goto done;
    }
    ok = true;
done:
    free(order);
    return ok;
}

const char *const token__names[TOKEN_NAMED_COUNT] = {"bos", "eos", "pad", "unk",
                                                     "cls", "sep", "mask"};

bool token__load_config(struct ig_tokenizer *t, const struct ig_json *config, struct ig_err *err)
{
    if (!load_more(t, ig_json_get(config, "added_tokens_decoder"), err)) return false;
    for (int i = 0; i < TOKEN_NAMED_COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "%s_token", token__names[i]);
        const struct ig_json *node = ig_json_get(config, key);
        struct ig_slice content = ig_json_text(node);
        if (!content.ptr) content = ig_json_text(ig_json_get(node, "content"));
        if (!content.ptr) continue;
        t->named[i] = ig_arena_copy(&t->arena, content);
        if (!t->named[i].ptr) return ig_err_nomem(err);
    }
    return true;
}
