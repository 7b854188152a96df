/* SPDX-License-Identifier: Apache-2.0
 * normalize — the normalizers, in turn. Each one that changes the text writes it into the other of
 * two buffers; most change nothing and cost a scan. */
#include "token/regex.h"
#include "token/token_internal.h"

#include <stdlib.h>

void token__norm_room_release(struct token__norm_room *room)
{
    ig_buf_release(&room->buf[0]);
    ig_buf_release(&room->buf[1]);
    free(room->codes.items);
    *room = (struct token__norm_room){0};
}

static bool replace_all(const struct token__norm *norm, struct ig_slice text, struct ig_buf *out)
{
    const char *end = text.ptr + text.len;
    const char *found = ig_slice_find(text, norm->pattern);
    if (!found || norm->pattern.len == 0) return false;
    for (; found; found = ig_slice_find(text, norm->pattern)) {
        ig_buf_append(out, text.ptr, (size_t)(found - text.ptr));
        ig_buf_slice(out, norm->content);
        text.ptr = found + norm->pattern.len;
        text.len = (size_t)(end - text.ptr);
    }
    ig_buf_slice(out, text);
    return true;
}

/* As the reference: what a match of nothing stands at is kept, with the content before it. */
static bool replace_matches(const struct token__norm *norm, struct ig_slice text,
                            struct ig_buf *out, bool *changed, struct ig_err *err)
{
    const char *start = text.ptr, *end = start + text.len, *p = start, *from = start;
    struct regex_match match;
    for (;;) {
        if (!token__regex_find(norm->regex, start, from, end, &match, err)) return false;
        if (!match.found) break;
        *changed = true;
        ig_buf_append(out, p, (size_t)(match.start - p));
        ig_buf_slice(out, norm->content);
        p = from = match.end;
        if (match.end > match.start) continue;
        if (from == end) break;
        do
            from++;
        while (from < end && ((unsigned char)*from & 0xC0) == 0x80);
    }
    ig_buf_append(out, p, (size_t)(end - p));
    return true;
}

bool token__normalize(const struct token__norm *norms, int count, struct ig_slice text,
                      struct token__norm_room *room, struct ig_slice *out, struct ig_err *err)
{
    int into = 0;
    for (int i = 0; i < count && text.len; i++) {
        struct ig_buf *buf = &room->buf[into];
        bool changed = false;
        ig_buf_clear(buf);
        switch (norms[i].kind) {
        case NORM_NFC:
            if (!token__nfc(text, &room->codes, buf, &changed, err)) return false;
            break;
        case NORM_PREPEND:
            ig_buf_slice(buf, norms[i].content);
            ig_buf_slice(buf, text);
            changed = true;
            break;
        case NORM_REPLACE:
            if (!norms[i].regex)
                changed = replace_all(&norms[i], text, buf);
            else if (!replace_matches(&norms[i], text, buf, &changed, err))
                return false;
            break;
        }
        if (!ig_buf_ok(buf, err)) return false;
        if (!changed) continue;
        text = ig_buf_view(buf);
        into = !into;
    }
    *out = text;
    return true;
}
