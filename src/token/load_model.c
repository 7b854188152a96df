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
    const char *p = text.ptr, *end = text.ptr + text.len;
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

struct merge_reader {
    struct ig_tokenizer *t;
    int16_t byte_of[ALPHABET_END];
    char *room; /* as long as any two parts together */
};

/* Ids of both parts and of the two glued together, as the vocabulary writes them. */
static void find_parts(struct merge_reader *r, const struct ig_slice part[2], int32_t ids[3])
{
    size_t len[2] = {part[0].len, part[1].len};
    bool whole, plain = true;
    if (r->t->byte_level) {
        plain = translate(r->byte_of, part[0], r->room, &len[0]) &&
                translate(r->byte_of, part[1], r->room + len[0], &len[1]);
    }
    if (!plain || !r->t->byte_level) {
        len[0] = part[0].len;
        len[1] = part[1].len;
        memcpy(r->room, part[0].ptr, len[0]);
        memcpy(r->room + len[0], part[1].ptr, len[1]);
    }
    const struct ig_slice texts[3] = {
        {r->room, len[0]}, {r->room + len[0], len[1]}, {r->room, len[0] + len[1]}};
    const char *end = r->room + len[0] + len[1];
    for (int i = 0; i < 3; i++)
        ids[i] = plain ? token__vocab_find(&r->t->vocab, texts[i], end, &whole)
                       : token__content_id(r->t, texts[i]);
}

static bool read_merge(struct merge_reader *r, const struct ig_json *item, uint32_t index,
                       uint32_t rank, struct ig_err *err)
{
    struct ig_slice part[2];
    int32_t ids[3];
    if (!split_merge(item, part))
        return ig_err_set(err, IG_ERR_DATA, "model.merges[%u]: not two tokens", index);
    find_parts(r, part, ids);
    for (int i = 0; i < 3; i++) {
        if (ids[i] >= 0) continue;
        if (i < 2)
            return ig_err_set(err, IG_ERR_DATA,
                              "model.merges[%u]: '" IG_SLICE_FMT "' is not in the vocabulary",
                              index, IG_SLICE_ARG(part[i]));
        return ig_err_set(err, IG_ERR_DATA,
                          "model.merges[%u]: '" IG_SLICE_FMT IG_SLICE_FMT
                          "' is not in the vocabulary",
                          index, IG_SLICE_ARG(part[0]), IG_SLICE_ARG(part[1]));
    }
    token__merges_put(&r->t->merges, (uint32_t)ids[0], (uint32_t)ids[1], rank, (uint32_t)ids[2]);
    return true;
}

static bool read_merges(struct ig_tokenizer *t, const struct ig_json *merges, struct ig_err *err)
{
    struct merge_reader reader = {.t = t};
    size_t longest = 0;
    if (!merges || merges->type != IG_JSON_ARRAY)
        return ig_err_set(err, IG_ERR_DATA, "model.merges: missing, or not an array");
    for (uint32_t i = 0; i < merges->count; i++) {
        const struct ig_json *item = &merges->items[i];
        struct ig_slice part[2];
        if (!split_merge(item, part)) continue; /* reported below */
        if (part[0].len + part[1].len > longest) longest = part[0].len + part[1].len;
    }
    make_alphabet(reader.byte_of);
    reader.room = ig_arena_new(&t->arena, longest + 1);
    if (!reader.room) return ig_err_nomem(err);
    if (!token__merges_init(&t->merges, merges->count, err)) return false;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < merges->count; i++) {
        const struct ig_json *item = &merges->items[i];
        /* The first line of an old merges.txt, which some files have kept. */
        if (ig_slice_starts(ig_json_text(item), "#version")) continue;
        if (!read_merge(&reader, item, i, rank++, err)) return false;
    }
    return true;
}

/* What a byte is without merges: its own token, or else <0xNN>. */
static bool find_bytes(struct ig_tokenizer *t, struct ig_err *err)
{
    for (int b = 0; b < 256; b++) {
        char byte = (char)b, name[8];
        bool whole;
        t->byte_ids[b] = -1;
        if (t->byte_level) {
            t->byte_ids[b] =
                token__vocab_find(&t->vocab, ig_slice_make(&byte, 1), &byte + 1, &whole);
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
    return check_options(t, model, err) && read_vocab(t, ig_json_get(model, "vocab"), err) &&
           index_vocab(t, err) && read_merges(t, ig_json_get(model, "merges"), err) &&
           find_bytes(t, err) && find_unknown(t, ig_json_get(model, "unk_token"), err) &&
           token__find_whole(t, err);
}
