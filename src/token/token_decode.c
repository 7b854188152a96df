/* SPDX-License-Identifier: Apache-2.0
 * token_decode — from ids to text, at once or as ids come.
 *
 * Byte-level decoding is concatenation of bytes, then one U+FFFD for each maximal invalid subpart.
 * The stream emits the longest prefix that later bytes cannot change, so its chunks always add up
 * to the decode of all ids.
 *
 * SentencePiece's pieces are texts, but for <0xNN>: a run of these is a text when its bytes are all
 * valid UTF-8, and else one U+FFFD for each byte. A stream does not wait for the end of a run that
 * is valid so far; of a run that turns out broken it has then written the good characters. */
#include "text/utf8.h"
#include "token/token_internal.h"

#include <stdlib.h>

#define REPLACEMENT "\xEF\xBF\xBD"

struct ig_stream_decoder {
    const struct ig_tokenizer *t;
    bool skip_special;
    bool started;       /* a token has been written */
    int stripped;       /* pieces: characters that went at the start; -1: no more may */
    struct ig_buf hold; /* bytes that may still become a character: at most three between calls */
    struct ig_buf piece;
};

/* Appends the bytes of one token. */
static void put_token(const struct ig_tokenizer *t, int32_t id, bool skip_special, bool *started,
                      struct ig_buf *out)
{
    if (id < 0 || id >= t->size || !t->contents[id].ptr) return; /* unknown ids are skipped */
    if (skip_special && t->special[id]) return;
    if (t->decode == DECODE_SPACES) {
        if (*started) ig_buf_char(out, ' ');
        ig_buf_slice(out, t->contents[id]);
    } else {
        ig_buf_slice(out, t->bytes[id]);
    }
    *started = true;
}

/* ---- pieces */

/* The byte that <0xNN> stands for, or -1. */
static int byte_of(struct ig_slice text)
{
    int value = 0;
    if (text.len != 6 || !ig_slice_starts(text, "<0x") || text.ptr[5] != '>') return -1;
    for (int i = 3; i < 5; i++) {
        char c = text.ptr[i];
        bool digit = c >= '0' && c <= '9', upper = c >= 'A' && c <= 'F',
             lower = c >= 'a' && c <= 'f';
        if (!digit && !upper && !lower) return -1;
        value = value * 16 + (digit ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* Appends a piece's text; what stands at the start of all text is stripped. */
static void put_text(const struct ig_tokenizer *t, struct ig_slice text, int *stripped,
                     struct ig_buf *out)
{
    struct ig_slice sign = t->decode_strip;
    while (*stripped >= 0 && text.len) {
        bool goes = *stripped < t->decode_strip_count && sign.len && text.len >= sign.len &&
                    memcmp(text.ptr, sign.ptr, sign.len) == 0;
        *stripped = goes ? *stripped + 1 : -1;
        if (goes) text = ig_slice_make(text.ptr + sign.len, text.len - sign.len);
    }
    ig_buf_slice(out, text);
}

/* Ends a run of bytes. */
static void end_bytes(const struct ig_tokenizer *t, struct ig_buf *run, int *stripped,
                      struct ig_buf *out)
{
    struct ig_slice bytes = ig_buf_view(run);
    if (ig_utf8_check(bytes) == bytes.len)
        put_text(t, bytes, stripped, out);
    else
        for (size_t i = 0; i < bytes.len; i++)
            put_text(t, ig_slice_of(REPLACEMENT), stripped, out);
    ig_buf_clear(run);
}

/* Of the first token Metaspace drops what it would turn into spaces. */
static struct ig_slice piece_text(const struct ig_tokenizer *t, int32_t id, bool first,
                                  struct ig_buf *room)
{
    struct ig_slice text = t->contents[id], sign;
    if (!first || !t->decode_drop_first) return t->bytes[id];
    sign = t->decode_replace[t->decode_replace_count - 1].pattern;
    ig_buf_clear(room);
    for (const char *found; (found = ig_slice_find(text, sign)) != NULL;) {
        ig_buf_append(room, text.ptr, (size_t)(found - text.ptr));
        text.len -= (size_t)(found + sign.len - text.ptr);
        text.ptr = found + sign.len;
    }
    ig_buf_slice(room, text);
    return ig_buf_view(room);
}

/* One token of pieces. `early`: bytes that are valid so far are written at once. */
static void put_piece(struct ig_stream_decoder *s, int32_t id, bool early, struct ig_buf *out)
{
    const struct ig_tokenizer *t = s->t;
    if (id < 0 || id >= t->size || !t->contents[id].ptr) return;
    if (s->skip_special && t->special[id]) return;
    struct ig_slice text = piece_text(t, id, !s->started, &s->piece);
    int byte = t->decode_bytes ? byte_of(text) : -1;
    s->started = true;
    if (byte >= 0) ig_buf_char(&s->hold, (char)byte);
    if (s->hold.len && (byte < 0 || (early && ig_utf8_check(ig_buf_view(&s->hold)) == s->hold.len)))
        end_bytes(t, &s->hold, &s->stripped, out);
    if (byte < 0) put_text(t, text, &s->stripped, out);
}

static bool decode_pieces(const struct ig_tokenizer *t, const int32_t *ids, size_t count,
                          bool skip_special, struct ig_buf *out, struct ig_err *err)
{
    struct ig_stream_decoder s = {.t = t, .skip_special = skip_special};
    for (size_t i = 0; i < count; i++)
        put_piece(&s, ids[i], false, out);
    end_bytes(t, &s.hold, &s.stripped, out);
    bool ok = ig_buf_ok(&s.hold, err) && ig_buf_ok(&s.piece, err) && ig_buf_ok(out, err);
    ig_buf_release(&s.hold);
    ig_buf_release(&s.piece);
    return ok;
}

/* ---- at once */

bool ig_tokenizer_decode(const struct ig_tokenizer *t, const int32_t *ids, size_t count,
                         bool skip_special, struct ig_buf *out, struct ig_err *err)
{
    size_t start = out->len;
    bool started = false;
    if (t->decode == DECODE_PIECES) return decode_pieces(t, ids, count, skip_special, out, err);
    for (size_t i = 0; i < count; i++)
        put_token(t, ids[i], skip_special, &started, out);
    if (!ig_buf_ok(out, err)) return false;
    struct ig_slice text = ig_slice_make(out->data ? out->data + start : "", out->len - start);
    size_t good = ig_utf8_check(text);
    if (good == text.len) return true;
    struct ig_buf broken = {0};
    ig_buf_append(&broken, text.ptr + good, text.len - good);
    out->len = start + good;
    ig_utf8_repair(out, ig_buf_view(&broken));
    bool ok = ig_buf_ok(&broken, err) && ig_buf_ok(out, err);
    ig_buf_release(&broken);
    return ok;
}

/* ---- as ids come */

bool ig_stream_new(const struct ig_tokenizer *t, bool skip_special, struct ig_stream_decoder **out,
                   struct ig_err *err)
{
    struct ig_stream_decoder *stream = calloc(1, sizeof(*stream));
    if (!stream) return ig_err_nomem(err);
    stream->t = t;
    stream->skip_special = skip_special;
    *out = stream;
    return true;
}

/* Whether these last bytes are the start of a character that more bytes could complete. */
static bool is_cut_short(const char *p, const char *end, int length)
{
    unsigned char lead = (unsigned char)*p;
    int needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    bool can_lead = lead >= 0xC2 && lead <= 0xF4;
    return can_lead && p + length == end && length < needed;
}

bool ig_stream_push(struct ig_stream_decoder *stream, int32_t id, struct ig_buf *out,
                    struct ig_err *err)
{
    struct ig_buf *hold = &stream->hold;
    if (stream->t->decode == DECODE_PIECES) {
        put_piece(stream, id, true, out);
        return ig_buf_ok(hold, err) && ig_buf_ok(&stream->piece, err) && ig_buf_ok(out, err);
    }
    put_token(stream->t, id, stream->skip_special, &stream->started, hold);
    if (!ig_buf_ok(hold, err)) return false;
    struct ig_slice rest = ig_buf_view(hold);
    for (;;) {
        size_t good = ig_utf8_check(rest);
        ig_buf_append(out, rest.ptr, good);
        rest = ig_slice_make(rest.ptr + good, rest.len - good);
        if (rest.len == 0) break;
        int length;
        ig_utf8_next(rest.ptr, rest.ptr + rest.len, &length);
        if (is_cut_short(rest.ptr, rest.ptr + rest.len, length)) break;
        ig_buf_text(out, REPLACEMENT);
        rest = ig_slice_make(rest.ptr + length, rest.len - (size_t)length);
    }
    if (rest.len) memmove(hold->data, rest.ptr, rest.len);
    hold->len = rest.len;
    return ig_buf_ok(out, err);
}

bool ig_stream_flush(struct ig_stream_decoder *stream, struct ig_buf *out, struct ig_err *err)
{
    if (stream->t->decode == DECODE_PIECES)
        end_bytes(stream->t, &stream->hold, &stream->stripped, out);
    else
        ig_utf8_repair(out, ig_buf_view(&stream->hold));
    ig_buf_clear(&stream->hold);
    return ig_buf_ok(out, err);
}

void ig_stream_free(struct ig_stream_decoder *stream)
{
    if (!stream) return;
    ig_buf_release(&stream->hold);
    ig_buf_release(&stream->piece);
    free(stream);
}
