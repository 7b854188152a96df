/* SPDX-License-Identifier: Apache-2.0
 * word — the ids of one piece of text: the vocabulary when the piece is a token, else BPE.
 *
 * The short cut is exact only for tokens whose own bytes BPE turns into that token again; most
 * files have no other token, but some do, so each is tried at load. With ignore_merges every token
 * may be taken whole. */
#include "text/utf8.h"
#include "token/token_internal.h"

#include <stdio.h>
#include <stdlib.h>

bool token__ids_reserve(struct ig_ids *ids, size_t more, struct ig_err *err)
{
    if (ids->cap - ids->count >= more) return true;
    size_t cap = ids->cap ? ids->cap * 2 : 64;
    if (cap - ids->count < more) cap = ids->count + more;
    int32_t *items = realloc(ids->items, cap * sizeof(*items));
    if (!items) return ig_err_nomem(err);
    ids->items = items;
    ids->cap = cap;
    return true;
}

bool token__ids_put(struct ig_ids *ids, int32_t id, struct ig_err *err)
{
    if (!token__ids_reserve(ids, 1, err)) return false;
    ids->items[ids->count++] = id;
    return true;
}

/* The tokens <0xNN> of a character's bytes; false when one of them is not in the vocabulary. */
static bool fall_back(const struct ig_tokenizer *t, const char *p, int length, int32_t *out)
{
    for (int i = 0; i < length; i++) {
        out[i] = t->byte_ids[(unsigned char)p[i]];
        if (out[i] < 0) return false;
    }
    return true;
}

/* Start symbols of a vocabulary of characters. An unknown character is one <unk>, or with fuse_unk
 * a run of them is; the pending <unk> of a run is written before the next known character, but not
 * before bytes: that is the reference's order. */
static size_t symbols_of_characters(const struct ig_tokenizer *t, struct ig_slice word,
                                    int32_t *out)
{
    const char *end = word.ptr + word.len;
    size_t count = 0;
    bool pending = false;
    for (int length; word.ptr < end; word.ptr += length) {
        ig_utf8_next(word.ptr, end, &length);
        int32_t id =
            token__vocab_id(&t->vocab, ig_slice_make(word.ptr, (size_t)length), word.ptr + length);
        if (id >= 0) {
            if (pending) out[count++] = t->unk_id;
            pending = false;
            out[count++] = id;
        } else if (t->byte_fallback && fall_back(t, word.ptr, length, out + count)) {
            count += (size_t)length;
        } else if (t->unk_id >= 0) {
            if (pending && !t->fuse_unk) out[count++] = t->unk_id;
            pending = true;
        }
    }
    if (pending) out[count++] = t->unk_id;
    return count;
}

/* Start symbols of a byte-level vocabulary in which some bytes are missing. */
static size_t symbols_of_some_bytes(const struct ig_tokenizer *t, struct ig_slice word,
                                    int32_t *out)
{
    size_t count = 0;
    bool after_unk = false;
    for (size_t i = 0; i < word.len; i++) {
        int32_t id = t->byte_ids[(unsigned char)word.ptr[i]];
        bool unk = id < 0;
        if (unk) id = after_unk && t->fuse_unk ? -1 : t->unk_id;
        after_unk = unk;
        if (id >= 0) out[count++] = id;
    }
    return count;
}

/* Whether the character at p, of two or three bytes, is one symbol before anything touches it. */
static bool starts_merged(const struct token__starts *starts, const char *p, int length,
                          const char *start, const char *end, const struct token__char *c)
{
    const unsigned char *s = (const unsigned char *)p;
    if (c->id_plus_1 == 0) return false;
    if (p > start && starts->touch[s[-1] << 8 | s[0]] <= c->rank) return false;
    return p + length == end || starts->touch[s[length - 1] << 8 | s[length]] > c->rank;
}

/* Start symbols of a byte-level vocabulary: one for each byte, or for a whole character where that
 * is what the merges of its bytes give in any case. */
static size_t symbols_of_bytes(const struct ig_tokenizer *t, struct ig_slice word, int32_t *out)
{
    const char *p = word.ptr, *end = p + word.len;
    size_t count = 0;
    while (p < end) {
        unsigned char first = (unsigned char)*p;
        int length = 1;
        if (first >= 0xC2 && first < 0xF0) {
            uint32_t code = ig_utf8_next(p, end, &length);
            const struct token__char *c = &t->starts.chars[code < 0x10000 ? code : 0];
            if (starts_merged(&t->starts, p, length, word.ptr, end, c)) {
                out[count++] = c->id_plus_1 - 1;
                p += length;
                continue;
            }
        }
        for (int i = 0; i < length; i++)
            out[count++] = t->byte_ids[(unsigned char)*p++];
    }
    return count;
}

/* The highest rank among the merges that make one token of a character's bytes, or TOKEN_NO_RANK
 * when they do not end in that token. */
static uint32_t char_rank(const struct ig_tokenizer *t, struct ig_slice text, int32_t id)
{
    const struct token__merges *m = &t->merges;
    int32_t symbols[3];
    uint32_t highest = 0;
    size_t count = text.len;
    for (size_t i = 0; i < count; i++)
        symbols[i] = t->byte_ids[(unsigned char)text.ptr[i]];
    while (count > 1) {
        uint32_t first = token__merges_rank(m, symbols[0], symbols[1]);
        uint32_t second =
            count == 3 ? token__merges_rank(m, symbols[1], symbols[2]) : TOKEN_NO_RANK;
        uint32_t least = first <= second ? first : second;
        if (least == TOKEN_NO_RANK) return TOKEN_NO_RANK;
        if (least > highest) highest = least;
        symbols[first <= second ? 0 : 1] = m->products[least];
        if (first <= second) symbols[1] = symbols[2];
        count--;
    }
    return symbols[0] == id ? highest : TOKEN_NO_RANK;
}

bool token__find_starts(struct ig_tokenizer *t, struct ig_err *err)
{
    struct token__starts *starts = &t->starts;
    for (int b = 0; b < 256; b++)
        if (t->byte_ids[b] < 0) return true;
    starts->chars = ig_arena_array(&t->arena, 0x10000, sizeof(*starts->chars));
    if (!starts->chars) return ig_err_nomem(err);
    for (int32_t id = 0; id < t->size; id++) {
        struct ig_slice text = t->vocab.texts[id];
        int length;
        if (text.len < 2 || text.len > 3) continue;
        uint32_t code = ig_utf8_next(text.ptr, text.ptr + text.len, &length);
        if (code == IG_UTF8_INVALID || (size_t)length != text.len) continue;
        uint32_t rank = char_rank(t, text, id);
        if (rank != TOKEN_NO_RANK) starts->chars[code] = (struct token__char){id + 1, rank};
    }
    return true;
}

bool token__word_ids(const struct ig_tokenizer *t, struct token__heap *heap, struct ig_slice word,
                     const char *readable_end, struct ig_ids *ids, struct ig_err *err)
{
    if (!token__ids_reserve(ids, word.len, err)) return false;
    int32_t *out = ids->items + ids->count;
    uint32_t *slot = token__vocab_find(&t->vocab, word, readable_end);
    uint32_t tail = slot ? __atomic_load_n(slot, __ATOMIC_RELAXED) : 0;
    int32_t id = (int32_t)(tail >> TOKEN_TAIL_SHIFT);
    if (tail & TOKEN_TAIL_WHOLE || (slot && t->ignore_merges)) {
        *out = id;
        ids->count++;
        return true;
    }
    size_t count = !t->byte_level    ? symbols_of_characters(t, word, out)
                   : t->starts.chars ? symbols_of_bytes(t, word, out)
                                     : symbols_of_some_bytes(t, word, out);
    if (!token__bpe_merge(&t->merges, heap, out, &count, err)) return false;
    if (slot && !(tail & TOKEN_TAIL_CHECKED)) {
        bool whole = count == 1 && *out == id;
        uint32_t flags = TOKEN_TAIL_CHECKED | (whole ? TOKEN_TAIL_WHOLE : 0);
        __atomic_fetch_or(slot, flags, __ATOMIC_RELAXED);
    }
    ids->count += count;
    return true;
}
