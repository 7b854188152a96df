/* SPDX-License-Identifier: Apache-2.0
 * token_decode — from ids to text, at once or as ids come.
 *
 * Byte-level decoding is concatenation of bytes, then one U+FFFD for each maximal invalid subpart.
 * The stream emits the longest prefix that later bytes cannot change, so its chunks always add up
 * to the decode of all ids. */
#include "text/utf8.h"
#include "token/token_internal.h"

#include <stdlib.h>

#define REPLACEMENT "\xEF\xBF\xBD"

struct ig_stream_decoder {
    const struct ig_tokenizer *t;
    bool skip_special;
    bool started;       /* a token has been written */
    struct ig_buf hold; /* bytes that may still become a character: at most three between calls */
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

bool ig_tokenizer_decode(const struct ig_tokenizer *t, const int32_t *ids, size_t count,
                         bool skip_special, struct ig_buf *out, struct ig_err *err)
{
    size_t start = out->len;
    bool started = false;
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
    ig_utf8_repair(out, ig_buf_view(&stream->hold));
    ig_buf_clear(&stream->hold);
    return ig_buf_ok(out, err);
}

void ig_stream_free(struct ig_stream_decoder *stream)
{
    if (!stream) return;
    ig_buf_release(&stream->hold);
    free(stream);
}
