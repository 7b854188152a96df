/* SPDX-License-Identifier: Apache-2.0
 * spelling — tokens of different tokenizers by what they stand for.
 *
 * Byte-level vocabularies write " é" as "ĠÃ©", those of SentencePiece as "▁é", with <0x0A> for a
 * newline. text: both become the bytes they stand for. mergekit: only the mark of a word's
 * beginning is unified, as mergekit 0.1.5's tokensurgeon does. Special tokens are the same when
 * they have the same role; with text, else when they are written the same. */
#include "merge/transplant/transplant.h"

#include "base/file.h"
#include "text/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define WORD_MARK "\xE2\x96\x81" /* SentencePiece's */
#define BYTE_MARK "\xC4\xA0"     /* a space in GPT-2's alphabet */

/* ---- what kind of vocabulary ---- */

static bool says_bytes(const struct ig_json *part) /* NOLINT(misc-no-recursion): JSON's depth */
{
    const struct ig_json *inner;
    if (!part || part->type != IG_JSON_OBJECT) return false;
    if (ig_slice_is(ig_json_text(ig_json_get(part, "type")), "ByteLevel")) return true;
    inner = ig_json_get(part, "decoders");
    if (!inner) inner = ig_json_get(part, "pretokenizers");
    for (uint32_t i = 0; inner && inner->type == IG_JSON_ARRAY && i < inner->count; i++)
        if (says_bytes(&inner->items[i])) return true;
    return false;
}

/* The byte that a character of GPT-2's alphabet stands for, or -1: printable ones of Latin-1 for
 * themselves, the 68 others for 256 and on. */
static int byte_of(uint32_t code)
{
    bool plain = (code >= 0x21 && code <= 0x7E) || (code >= 0xA1 && code <= 0xFF && code != 0xAD);
    if (plain) return (int)code;
    if (code < 256 || code >= 256 + 68) return -1;
    code -= 256;
    if (code <= 0x20) return (int)code;
    if (code <= 0x20 + 34) return (int)(code - 0x21 + 0x7F);
    return 0xAD;
}

/* ---- keys ---- */

static bool make_key(struct ig_arena *arena, char kind, struct ig_slice text, struct ig_slice *out)
{
    char *at = ig_arena_new(arena, text.len + 1);
    if (!at) return false;
    at[0] = kind;
    memcpy(at + 1, text.ptr, text.len);
    *out = ig_slice_make(at, text.len + 1);
    return true;
}

/* "<0x41>" */
static int byte_token(struct ig_slice token)
{
    if (token.len != 6 || memcmp(token.ptr, "<0x", 3) != 0 || token.ptr[5] != '>' ||
        !isxdigit((unsigned char)token.ptr[3]) || !isxdigit((unsigned char)token.ptr[4]))
        return -1;
    const char digits[3] = {token.ptr[3], token.ptr[4], '\0'};
    return (int)strtol(digits, NULL, 16);
}

static bool decode_bytes(struct ig_slice token, struct ig_buf *out)
{
    const char *end = token.ptr + token.len;
    for (const char *p = token.ptr; p < end;) {
        int n, byte = byte_of(ig_utf8_next(p, end, &n));
        if (byte < 0) return false;
        ig_buf_char(out, (char)byte);
        p += n;
    }
    return true;
}

static void decode_marks(struct ig_slice token, struct ig_buf *out)
{
    for (size_t i = 0; i < token.len; i++) {
        bool mark = token.len - i >= 3 && memcmp(token.ptr + i, WORD_MARK, 3) == 0;
        ig_buf_char(out, mark ? ' ' : token.ptr[i]);
        if (mark) i += 2;
    }
}

/* The text that the token stands for. */
static bool text_key(const struct vocab *v, int64_t i, bool bytes, struct ig_arena *arena,
                     struct ig_slice *out, struct ig_err *err)
{
    struct ig_slice token = v->tokens[i];
    struct ig_buf text = {0};
    int byte = bytes ? -1 : byte_token(token);
    char kind = 't';
    if (byte >= 0) {
        char plain = (char)byte;
        ig_buf_char(&text, plain);
        if (ig_map_get(&v->by_token, ig_slice_make(&plain, 1), -1) >= 0) kind = 'b';
    } else if (v->added[i] || (bytes && !decode_bytes(token, &text))) {
        ig_buf_clear(&text); /* as it is written */
        ig_buf_slice(&text, token);
    } else if (!bytes) {
        decode_marks(token, &text);
    }
    bool ok = ig_buf_ok(&text, err) &&
              (make_key(arena, kind, ig_buf_view(&text), out) || ig_err_nomem(err));
    ig_buf_release(&text);
    return ok;
}

static bool plain_key(struct ig_slice token, bool bytes, struct ig_arena *arena,
                      struct ig_slice *out, struct ig_err *err)
{
    const char *mark = bytes ? BYTE_MARK : WORD_MARK;
    size_t n = strlen(mark);
    bool word = ig_slice_starts(token, mark);
    if (word) token = ig_slice_make(token.ptr + n, token.len - n);
    return make_key(arena, word ? 'w' : 'p', token, out) || ig_err_nomem(err);
}

/* ---- special tokens ---- */

static bool add_roles(const char *folder, const char *name, struct ig_arena *arena,
                      struct ig_map *roles, struct ig_err *err)
{
    /* the order in which transformers asks: a token of two roles has the first */
    static const char *const names[] = {"mask_token", "cls_token", "pad_token", "sep_token",
                                        "unk_token",  "eos_token", "bos_token"};
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    const struct ig_json *file = NULL;
    if (!ig_path_join(path, folder, name, err)) return false;
    if (!ig_path_exists(path)) return true;
    if (ig_file_read(path, (size_t)64 << 20, &text, err))
        file = ig_json_parse(ig_buf_view(&text), arena, err);
    ig_buf_release(&text);
    if (!file) return ig_err_within(err, "%s", path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct ig_json *value = ig_json_get(file, names[i]);
        struct ig_slice token = ig_json_text(value);
        if (!token.ptr) token = ig_json_text(ig_json_get(value, "content"));
        if (token.ptr && !ig_map_put(roles, token, (int64_t)(intptr_t)names[i], err)) return false;
    }
    return true;
}

static bool make_special(struct spelled *s, int64_t i, const char *role, int spelling,
                         struct ig_arena *arena)
{
    return make_key(arena, 's', ig_slice_of(role), s->keys + i) &&
           (spelling != SPELLING_TEXT || make_key(arena, 't', s->vocab.tokens[i], s->literals + i));
}

/* ---- the whole ---- */

static bool add_keys(struct spelled *s, int spelling, const struct ig_map *roles,
                     struct ig_arena *arena, struct ig_err *err)
{
    const struct vocab *v = &s->vocab;
    bool bytes = says_bytes(ig_json_get(v->file, "decoder")) ||
                 says_bytes(ig_json_get(v->file, "pre_tokenizer"));
    bool ok = true;
    for (int64_t i = 0; ok && i < v->count; i++) {
        const char *role = (const char *)(intptr_t)ig_map_get(roles, v->tokens[i], 0);
        if (role)
            ok = make_special(s, i, role, spelling, arena) || ig_err_nomem(err);
        else if (spelling == SPELLING_TEXT)
            ok = text_key(v, i, bytes, arena, s->keys + i, err);
        else
            ok = plain_key(v->tokens[i], bytes, arena, s->keys + i, err);
        ok = ok && ig_map_put(&s->by_key, s->keys[i], v->ids[i], err);
        if (v->ids[i] >= s->rows) s->rows = (int64_t)v->ids[i] + 1;
    }
    for (int64_t i = 0; ok && i < v->count; i++)
        if (s->literals[i].len && ig_map_get(&s->by_key, s->literals[i], -1) < 0)
            ok = ig_map_put(&s->by_key, s->literals[i], v->ids[i], err);
    return ok;
}

bool transplant__spell(const char *folder, int spelling, struct ig_arena *arena,
                       struct spelled *out, struct ig_err *err)
{
    struct ig_map roles = {0};
    if (!merge__vocab_open(folder, NULL, arena, &out->vocab, err)) return false;
    if (!out->vocab.file)
        return ig_err_set(err, IG_ERR_DATA, "transplant: '%s' has no tokenizer.json", folder);
    out->rows = out->vocab.count;
    out->keys = ig_arena_array(arena, (size_t)out->vocab.count, sizeof *out->keys);
    out->literals = ig_arena_array(arena, (size_t)out->vocab.count, sizeof *out->literals);
    bool ok = ((out->keys && out->literals) || ig_err_nomem(err)) &&
              add_roles(folder, "special_tokens_map.json", arena, &roles, err) &&
              add_roles(folder, "tokenizer_config.json", arena, &roles, err) &&
              add_keys(out, spelling, &roles, arena, err);
    ig_map_release(&roles);
    return ok;
}

void transplant__spelled_release(struct spelled *s)
{
    merge__vocab_release(&s->vocab);
    ig_map_release(&s->by_key);
}

/* ---- the same ---- */

int32_t transplant__same(const struct spelled *s, struct ig_slice key, int64_t rows)
{
    int64_t id = ig_map_get(&s->by_key, key, -1);
    return id < rows ? (int32_t)id : -1;
}

int32_t transplant__same_byte(const struct spelled *s, struct ig_slice key, int64_t rows)
{
    struct ig_slice text = ig_slice_make(key.ptr + 1, key.len - 1);
    char other[16];
    int n = 0, byte = byte_token(text);
    if (key.ptr[0] == 't' || key.ptr[0] == 'b') {
        n = 2;
        other[0] = key.ptr[0] == 't' ? 'b' : 't';
        if (text.len != 1) return -1;
        other[1] = text.ptr[0];
    } else if (key.ptr[0] == 'p' && byte >= 0) {
        other[0] = 'p';
        n = 1 + ig_utf8_put((uint32_t)byte, other + 1);
    } else if (key.ptr[0] == 'p' && text.len > 0) {
        int length;
        uint32_t code = ig_utf8_next(text.ptr, text.ptr + text.len, &length);
        if (code > 255 || (size_t)length != text.len) return -1;
        n = snprintf(other, sizeof other, "p<0x%02X>", code);
    }
    return n ? transplant__same(s, ig_slice_make(other, (size_t)n), rows) : -1;
}

static bool has_letter(struct ig_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!isspace((unsigned char)text.ptr[i])) return true;
    return false;
}

int32_t transplant__same_prefix(const struct spelled *s, struct ig_slice key, int64_t rows)
{
    if (key.ptr[0] == 's' || key.ptr[0] == 'b') return -1;
    for (size_t n = key.len - 1; n > 1; n--) {
        if (((unsigned char)key.ptr[n] & 0xC0) == 0x80) continue; /* in the middle of a character */
        if (!has_letter(ig_slice_make(key.ptr + 1, n - 1))) break;
        int32_t id = transplant__same(s, ig_slice_make(key.ptr, n), rows);
        if (id >= 0) return id;
    }
    return -1;
}

bool transplant__text(struct ig_slice key, struct ig_buf *out)
{
    if (key.ptr[0] == 'w') ig_buf_char(out, ' ');
    ig_buf_slice(out, ig_slice_make(key.ptr + 1, key.len - 1));
    return ig_utf8_check(ig_buf_view(out)) == out->len;
}
