/* SPDX-License-Identifier: Apache-2.0
 * load_model — the "model" of a tokenizer.json: vocabulary and merges of BPE.
 *
 * A byte-level vocabulary writes each byte as one of 256 printable characters (GPT-2's alphabet);
 * it is translated to bytes here, once. An entry with any other character can never come out of
 * text: it stays out of the table, and decodes to its own UTF-8. */
#include "ingot/json.h"
#include "text/utf8.h"
#include "token/token_internal.h"

#include <stdio.h>

#define AHEAD        8   /* merges whose look-ups are under way at once: they miss the caches */
#define ALPHABET_END 324 /* the characters are below U+0144 */

/* Printable Latin-1 stands for itself; the other 68 bytes, in order, are U+0100 and up. */
static void make_alphabet(int16_t byte_of[ALPHABET_END])
{
    int extra = 256;
    for (int c = 0; c < ALPHABET_END; c++)
        byte_of[c] = -1;
    for (int b = 0; b < 256; b++) {
        bool plain = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        byte_of[plain ? b : extra++] = (int16_t)b;
    }
}

static bool translate(const int16_t byte_of[ALPHABET_END], struct ig_slice text, char *out,
                      size_t *len)
{
    const char *p = text.ptr, *end = text.len ? p + text.len : p;
    *len = 0;
    for (int length = 1; p < end; p += length) {
        uint32_t code = (unsigned char)*p;
        if (code >= 0x80)
            code = ig_utf8_next(p, end, &length);
        else
            length = 1;
        if (code >= ALPHABET_END || byte_of[code] < 0) return false;
        out[(*len)++] = (char)byte_of[code];
    }
    return true;
}

bool token__alphabet_bytes(struct ig_slice text, char *out, size_t *len)
{
    int16_t byte_of[ALPHABET_END];
    make_alphabet(byte_of);
    return translate(byte_of, text, out, len);
}

static bool option_bool(const struct ig_json *model, const char *key, bool *out, struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(model, key);
    *out = false;
    if (!node || node->type == IG_JSON_NULL || ig_json_bool(node, out)) return true;
    return ig_err_set(err, IG_ERR_DATA, "model.%s: not true or false", key);
}

static bool check_options(struct ig_tokenizer *t, const struct ig_json *model, struct ig_err *err)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    struct ig_slice type = ig_json_text(ig_json_get(model, "type"));
    if (!model || model->type != IG_JSON_OBJECT)
        return ig_err_set(err, IG_ERR_DATA, "model: missing, or not an object");
    if (type.ptr && !ig_slice_is(type, "BPE"))
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "model.type: '" IG_SLICE_FMT "' is not supported (only BPE is)",
                          IG_SLICE_ARG(type));
    for (int i = 0; i < 2; i++) {
        struct ig_slice affix = ig_json_text(ig_json_get(model, affixes[i]));
        if (affix.len)
            return ig_err_set(err, IG_ERR_UNSUPPORTED,
                              "model.%s: '" IG_SLICE_FMT "' is not supported", affixes[i],
                              IG_SLICE_ARG(affix));
    }
    double dropout = 0;
    if (ig_json_real(ig_json_get(model, "dropout"), &dropout) && dropout != 0)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "model.dropout: %g is not supported", dropout);
    return option_bool(model, "fuse_unk", &t->fuse_unk, err) &&
           option_bool(model, "byte_fallback", &t->byte_fallback, err) &&
           option_bool(model, "ignore_merges", &t->ignore_merges, err);
}

/* Sizes first: the largest id, and all bytes of the texts. */
static bool measure_vocab(struct ig_tokenizer *t, const struct ig_json *vocab, size_t *bytes,
                          struct ig_err *err)
{
    int64_t id, largest = -1;
    if (!vocab || vocab->type != IG_JSON_OBJECT)
        return ig_err_set(err, IG_ERR_DATA, "model.vocab: missing, or not an object");
    *bytes = 0;
    for (uint32_t i = 0; i < vocab->count; i++) {
        const struct ig_json *item = &vocab->items[i];
        if (!ig_json_int(item, &id) || id < 0 || id >= TOKEN_IDS_MAX)
            return ig_err_set(err, IG_ERR_DATA,
                              "model.vocab: the id of '" IG_SLICE_FMT
                              "' is not an integer from 0 to %d",
                              IG_SLICE_ARG(item->key), TOKEN_IDS_MAX - 1);
        largest = id > largest ? id : largest;
        *bytes += item->key.len;
    }
    t->size = (int32_t)largest + 1;
    t->vocab_count = (int32_t)vocab->count;
    return true;
}

static bool read_vocab(struct ig_tokenizer *t, const struct ig_json *vocab, struct ig_err *err)
{
    int16_t byte_of[ALPHABET_END];
    size_t total = 0;
    make_alphabet(byte_of);
    if (!measure_vocab(t, vocab, &total, err)) return false;
    size_t size = (size_t)t->size;
    t->contents = ig_arena_array(&t->arena, size, sizeof(*t->contents));
    t->bytes = ig_arena_array(&t->arena, size, sizeof(*t->bytes));
    char *content = ig_arena_new(&t->arena, total + 1), *bytes = ig_arena_new(&t->arena, total + 1);
    if (!t->contents || !t->bytes || !content || !bytes) return ig_err_nomem(err);
    for (uint32_t i = 0; i < vocab->count; i++) {
        const struct ig_json *item = &vocab->items[i];
        int64_t id = 0;
        size_t len;
        (void)ig_json_int(item, &id); /* measured */
        if (t->contents[id].ptr &&
            !token__warn(t, err,
                         "model.vocab: id %lld has two tokens, '" IG_SLICE_FMT
                         "' and '" IG_SLICE_FMT "'",
                         (long long)id, IG_SLICE_ARG(t->contents[id]), IG_SLICE_ARG(item->key)))
            return false;
        memcpy(content, item->key.ptr, item->key.len);
        t->contents[id] = ig_slice_make(content, item->key.len);
        t->bytes[id] = (struct ig_slice){NULL, 0};
        content += item->key.len;
        if (t->decode == DECODE_PIECES && !t->byte_level) continue; /* not in that alphabet */
        if (!translate(byte_of, item->key, bytes, &len)) continue;
        t->bytes[id] = ig_slice_make(bytes, len);
        bytes += len;
    }
    return true;
}

/* The tables, and the entries that they cannot hold. */
static bool index_vocab(struct ig_tokenizer *t, struct ig_err *err)
{
    const struct ig_slice *texts = t->byte_level ? t->bytes : t->contents;
    if (!token__vocab_init(&t->vocab, texts, t->size, err)) return false;
    for (int32_t id = 0; id < t->size; id++) {
        if (!t->contents[id].ptr || t->bytes[id].ptr) continue;
        t->bytes[id] = t->contents[id];
        if (t->byte_level && !ig_map_put(&t->odd_ids, t->contents[id], id, err)) return false;
    }
    return true;
}

/* The two parts of a merge, "a b" or ["a", "b"]. */
static bool split_merge(const struct ig_json *item, struct ig_slice part[2])
{
    if (item->type == IG_JSON_ARRAY) {
        if (item->count != 2) return false;
        part[0] = ig_json_text(&item->items[0]);
        part[1] = ig_json_text(&item->items[1]);
        return part[0].ptr && part[1].ptr;
    }
    struct ig_slice text = ig_json_text(item);
    const char *space = text.len ? memchr(text.ptr, ' ', text.len) : NULL;
    if (!space) return false;
    part[0] = ig_slice_make(text.ptr, (size_t)(space - text.ptr));
    part[1] = ig_slice_make(space + 1, text.len - part[0].len - 1);
    return !memchr(part[1].ptr, ' ', part[1].len);
}

/* One merge while it is read: its two parts, glued together as the vocabulary has them. */
struct merge {
    char *text;
    size_t len[2];
    int32_t ids[3]; /* of the two parts and of the product */
    uint32_t index; /* in the file's list */
    bool plain;     /* text is bytes; else one part is outside the alphabet, and text is content */
};

/* Writes the merge's text at merge->text; returns what follows it. */
static char *glue(const struct ig_tokenizer *t, const int16_t byte_of[ALPHABET_END],
                  const struct ig_slice part[2], struct merge *merge)
{
    merge->plain = true;
    if (t->byte_level)
        merge->plain = translate(byte_of, part[0], merge->text, &merge->len[0]) &&
                       translate(byte_of, part[1], merge->text + merge->len[0], &merge->len[1]);
    if (!merge->plain || !t->byte_level) {
        merge->len[0] = part[0].len;
        merge->len[1] = part[1].len;
        memcpy(merge->text, part[0].ptr, part[0].len);
        memcpy(merge->text + part[0].len, part[1].ptr, part[1].len);
    }
    return merge->text + merge->len[0] + merge->len[1];
}

static bool read_merge_texts(const struct ig_tokenizer *t, const struct ig_json *list,
                             struct ig_arena *arena, struct merge *merges, uint32_t *count,
                             struct ig_err *err)
{
    int16_t byte_of[ALPHABET_END];
    struct ig_slice part[2];
    size_t bytes = 1;
    make_alphabet(byte_of);
    for (uint32_t i = 0; i < list->count; i++)
        if (split_merge(&list->items[i], part)) bytes += part[0].len + part[1].len;
    char *room = ig_arena_new(arena, bytes);
    if (!room) return ig_err_nomem(err);
    *count = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        /* The first line of an old merges.txt, which some files have kept. */
        if (ig_slice_starts(ig_json_text(&list->items[i]), "#version")) continue;
        if (!split_merge(&list->items[i], part))
            return ig_err_set(err, IG_ERR_DATA, "model.merges[%u]: not two tokens", i);
        struct merge *merge = &merges[(*count)++];
        merge->index = i;
        merge->text = room;
        room = glue(t, byte_of, part, merge);
    }
    return true;
}

/* Part 0, part 1, or both as one. */
static struct ig_slice part_of(const struct merge *merge, int which)
{
    size_t skip = which == 1 ? merge->len[0] : 0;
    return ig_slice_make(merge->text + skip,
                         (which != 1 ? merge->len[0] : 0) + (which != 0 ? merge->len[1] : 0));
}

static bool find_ids(const struct ig_tokenizer *t, struct merge *merge, const struct ig_json *list,
                     struct ig_err *err)
{
    const char *end = merge->text + merge->len[0] + merge->len[1];
    for (int which = 0; which < 3; which++) {
        struct ig_slice text = part_of(merge, which);
        merge->ids[which] =
            merge->plain ? token__vocab_id(&t->vocab, text, end) : token__content_id(t, text);
        if (merge->ids[which] >= 0) continue;
        struct ig_slice part[2], none = {NULL, 0};
        (void)split_merge(&list->items[merge->index], part); /* has been done before */
        struct ig_slice first = which == 1 ? part[1] : part[0],
                        second = which == 2 ? part[1] : none;
        return ig_err_set(err, IG_ERR_DATA,
                          "model.merges[%u]: '" IG_SLICE_FMT IG_SLICE_FMT
                          "' is not in the vocabulary",
                          merge->index, IG_SLICE_ARG(first), IG_SLICE_ARG(second));
    }
    return true;
}

static void prefetch_ids(const struct ig_tokenizer *t, const struct merge *merge)
{
    const char *end = merge->text + merge->len[0] + merge->len[1];
    for (int which = 0; which < 3; which++)
        token__vocab_prefetch(&t->vocab, part_of(merge, which), end);
}

static void note_touch(struct ig_tokenizer *t, const struct merge *merge, uint32_t rank)
{
    const unsigned char *right = (const unsigned char *)merge->text + merge->len[0];
    if (!merge->len[0] || !merge->len[1]) return; /* an empty part never comes out of text */
    uint32_t *touch = &t->starts.touch[right[-1] << 8 | right[0]];
    if (rank < *touch) *touch = rank;
}

static uint32_t last_code(struct ig_slice text)
{
    const char *p = text.ptr + text.len;
    int length;
    do
        p--;
    while (p > text.ptr && ((unsigned char)*p & 0xC0) == 0x80);
    return ig_utf8_next(p, text.ptr + text.len, &length);
}

static bool is_byte_name(struct ig_slice text)
{
    return text.len == 6 && ig_slice_starts(text, "<0x");
}

/* The pair of characters that the merge brings together. A token <0xNN> stands for another
 * character than it is written with: then nothing can be said. */
static void note_join(struct ig_tokenizer *t, const struct merge *merge)
{
    struct ig_slice left = part_of(merge, 0), right = part_of(merge, 1);
    int length;
    if (!t->joins.slots || left.len == 0 || right.len == 0) return;
    if (is_byte_name(left) || is_byte_name(right))
        t->joins.slots = NULL;
    else
        token__joins_put(&t->joins, last_code(left),
                         ig_utf8_next(right.ptr, right.ptr + right.len, &length));
}

/* Only where every character has a symbol: one that is dropped would bring others together. */
static void check_joins(struct ig_tokenizer *t)
{
    for (int b = 0; b < 256; b++)
        if (t->byte_ids[b] < 0) t->joins.slots = NULL;
}

static bool read_merges(struct ig_tokenizer *t, const struct ig_json *list, struct ig_err *err)
{
    struct ig_arena arena = {0};
    uint32_t count;
    bool ok = false;
    if (!list || list->type != IG_JSON_ARRAY)
        return ig_err_set(err, IG_ERR_DATA, "model.merges: missing, or not an array");
    if (list->count > TOKEN_MERGES_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "model.merges: more than %d", TOKEN_MERGES_MAX);
    struct merge *merges = ig_arena_array(&arena, list->count, sizeof(*merges));
    if (!merges) {
        ig_err_nomem(err);
        goto done;
    }
    if (!read_merge_texts(t, list, &arena, merges, &count, err)) goto done;
    if (!token__merges_init(&t->merges, count, err)) goto done;
    for (uint32_t i = 0; i < count; i++) {
        if (i + AHEAD < count) prefetch_ids(t, &merges[i + AHEAD]);
        if (!find_ids(t, &merges[i], list, err)) goto done;
    }
    t->starts.touch = ig_arena_array(&t->arena, 0x10000, sizeof(*t->starts.touch));
    if (!t->starts.touch) {
        ig_err_nomem(err);
        goto done;
    }
    memset(t->starts.touch, 0xFF, 0x10000 * sizeof(*t->starts.touch));
    if (t->byte_fallback && !t->byte_level && !t->ignore_merges &&
        !token__joins_init(&t->joins, count, &t->arena, err))
        goto done;
    for (uint32_t i = 0; i < count; i++) {
        const int32_t *ids = merges[i].ids;
        if (i + AHEAD < count)
            token__merges_prefetch(&t->merges, merges[i + AHEAD].ids[0], merges[i + AHEAD].ids[1]);
        token__merges_put(&t->merges, ids[0], ids[1], i, ids[2]);
        note_touch(t, &merges[i], i);
        note_join(t, &merges[i]);
    }
    ok = true;
done:
    ig_arena_release(&arena);
    return ok;
}

/* What a byte is without merges: its own token, or else <0xNN>. */
static bool find_bytes(struct ig_tokenizer *t, struct ig_err *err)
{
    for (int b = 0; b < 256; b++) {
        char byte = (char)b, name[8];
        t->byte_ids[b] = -1;
        if (t->byte_level) {
            t->byte_ids[b] = token__vocab_id(&t->vocab, ig_slice_make(&byte, 1), &byte + 1);
            if (t->byte_ids[b] < 0 && t->byte_fallback)
                return ig_err_set(err, IG_ERR_UNSUPPORTED,
                                  "model.byte_fallback: not supported for "
                                  "a byte-level vocabulary that lacks byte %d",
                                  b);
        } else if (t->byte_fallback) {
            snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
            t->byte_ids[b] = token__content_id(t, ig_slice_of(name));
        }
    }
    return true;
}

static bool find_unknown(struct ig_tokenizer *t, const struct ig_json *node, struct ig_err *err)
{
    t->unk_id = -1;
    if (!node || node->type == IG_JSON_NULL) return true;
    struct ig_slice content = ig_json_text(node);
    if (!content.ptr) return ig_err_set(err, IG_ERR_DATA, "model.unk_token: not a string");
    t->unk_id = token__content_id(t, content);
    if (t->unk_id >= 0) return true;
    return token__warn(t, err, "model.unk_token: '" IG_SLICE_FMT "' is not in the vocabulary",
                       IG_SLICE_ARG(content));
}

bool token__load_model(struct ig_tokenizer *t, const struct ig_json *model, struct ig_err *err)
{
    if (!check_options(t, model, err) || !read_vocab(t, ig_json_get(model, "vocab"), err) ||
        !index_vocab(t, err) || !read_merges(t, ig_json_get(model, "merges"), err) ||
        !find_bytes(t, err) || !find_unknown(t, ig_json_get(model, "unk_token"), err))
        return false;
    check_joins(t);
    return !t->byte_level || token__find_starts(t, err);
}
