/* SPDX-License-Identifier: Apache-2.0
 * jinja_text — what Python's str methods and the text filters share. Lengths and places are in code
 * points, bytes are UTF-8. */
#include "base/size.h"
#include "chat/chat_internal.h"
#include "text/utf8.h"

/* The last character before p. */
static const char *step_back(const char *start, const char *p)
{
    do
        p--;
    while (p > start && ((unsigned char)*p & 0xC0) == 0x80);
    return p;
}

static bool in_set(const char *p, const char *end, const struct value *chars)
{
    if (!chars) return chat__space(p, end) > 0;
    return ig_slice_find(chat__text(*chars), ig_slice_make(p, (size_t)(end - p))) != NULL;
}

bool chat__charge_strip(struct run *r, struct value text, const struct value *chars)
{
    return chat__charge(r, text.len * (1 + (chars ? chars->len / 64 : 0)));
}

struct value chat__strip(struct value text, const struct value *chars, enum side side)
{
    const char *p = text.ptr, *end = p + text.len;
    while (side & SIDE_LEFT && p < end) {
        int length;
        (void)ig_utf8_next(p, end, &length);
        if (!in_set(p, p + length, chars)) break;
        p += length;
    }
    while (side & SIDE_RIGHT && p < end) {
        const char *last = step_back(p, end);
        if (!in_set(last, end, chars)) break;
        end = last;
    }
    return chat__markup(chat__str(ig_slice_make(p, (size_t)(end - p))), text.flags & STR_MARKUP);
}

/* old "": before every character and at the end, as Python. count < 0: all. */
bool chat__replace(struct run *r, struct value text, struct ig_slice old, struct ig_slice fresh,
                   int64_t count, struct value *out)
{
    struct ig_slice rest = chat__text(text);
    size_t mark = chat__begin(r);
    if (!chat__charge(r, text.len)) return false;
    while (count != 0) {
        const char *hit = rest.ptr;
        if (old.len && !(hit = ig_slice_find(rest, old))) break;
        if (old.len) ig_buf_append(&r->out, rest.ptr, (size_t)(hit - rest.ptr));
        ig_buf_slice(&r->out, fresh);
        size_t used = (size_t)(hit - rest.ptr) + old.len;
        if (!old.len && !rest.len) break;
        if (!old.len) {
            int length;
            (void)ig_utf8_next(rest.ptr, rest.ptr + rest.len, &length);
            ig_buf_append(&r->out, rest.ptr, (size_t)length);
            used = (size_t)length;
        }
        rest = ig_slice_make(rest.ptr + used, rest.len - used);
        if (count > 0) count--;
        if (r->out.failed) break;
    }
    ig_buf_slice(&r->out, rest);
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, text.flags & STR_MARKUP);
    return true;
}

/* side: where the fill goes. BOTH: str.center. */
bool chat__pad(struct run *r, struct value text, int64_t width, enum side side,
               struct ig_slice fill, struct value *out)
{
    int64_t count = (int64_t)chat__count(text);
    *out = text;
    if (width <= count) return true;
    if (width > (int64_t)CHAT_OUTPUT_BYTES_MAX) return chat__fail(r, "the width is too large");
    int64_t more = width - count;
    int64_t left = side == SIDE_LEFT    ? more
                   : side == SIDE_RIGHT ? 0
                                        : more / 2 + (more & width & 1);
    size_t mark = chat__begin(r);
    for (int64_t i = 0; i < left; i++)
        ig_buf_slice(&r->out, fill);
    ig_buf_slice(&r->out, chat__text(text));
    for (int64_t i = left; i < more; i++)
        ig_buf_slice(&r->out, fill);
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, text.flags & STR_MARKUP);
    return true;
}

/* ---- splitting ---- */

static bool add_part(struct run *r, struct value text, struct value *list, const char *from,
                     const char *to)
{
    struct value part = chat__str(ig_slice_make(from, (size_t)(to - from)));
    return chat__append(r, list->seq, chat__markup(part, text.flags & STR_MARKUP));
}

/* From the end, place by place; a long text that nearly is there again and again costs more. */
bool chat__find_last(struct run *r, struct ig_slice hay, struct ig_slice needle, const char **out)
{
    *out = NULL;
    if (!hay.ptr || needle.len > hay.len) return true;
    for (const char *p = hay.ptr + (hay.len - needle.len);; p--) {
        if (needle.len == 0 || *p == *needle.ptr) {
            if (memcmp(p, needle.ptr, needle.len) == 0) {
                *out = p;
                return true;
            }
            if (needle.len > 64 && !chat__charge(r, needle.len)) return false;
        }
        if (p == hay.ptr) return true;
    }
}

static bool split_by(struct run *r, struct value text, struct ig_slice by, int64_t times,
                     bool from_right, struct value *out)
{
    const char *p = text.ptr, *end = p + text.len, *hit;
    if (!by.len) return chat__fail(r, "split: the separator is empty");
    for (; times != 0; times -= times > 0) {
        struct ig_slice rest = {p, (size_t)(end - p)};
        hit = from_right ? NULL : ig_slice_find(rest, by);
        if (from_right && !chat__find_last(r, rest, by, &hit)) return false;
        if (!hit) break;
        if (!add_part(r, text, out, from_right ? hit + by.len : p, from_right ? end : hit))
            return false;
        if (from_right)
            end = hit;
        else
            p = hit + by.len;
    }
    return add_part(r, text, out, p, end);
}

static void skip_space(struct value text, bool from_right, const char **p, const char **end)
{
    struct value rest = {.kind = V_STR, .ptr = *p, .len = (size_t)(*end - *p), .flags = text.flags};
    rest = chat__strip(rest, NULL, from_right ? SIDE_RIGHT : SIDE_LEFT);
    *p = rest.ptr;
    *end = rest.ptr + rest.len;
}

/* By runs of white space. When `times` runs out, the rest keeps the white space at its far end. */
static bool split_space(struct run *r, struct value text, int64_t times, bool from_right,
                        struct value *out)
{
    const char *p = text.ptr, *end = p + text.len;
    skip_space(text, from_right, &p, &end);
    for (; p < end && times != 0; times -= times > 0) {
        const char *word = from_right ? end : p;
        int length = 0;
        while (from_right && word > p && !chat__space(step_back(p, word), end))
            word = step_back(p, word);
        for (; !from_right && word < end && !chat__space(word, end); word += length)
            (void)ig_utf8_next(word, end, &length);
        if (!add_part(r, text, out, from_right ? word : p, from_right ? end : word)) return false;
        *(from_right ? &end : &p) = word;
        skip_space(text, from_right, &p, &end);
    }
    return p == end || add_part(r, text, out, p, end);
}

bool chat__split(struct run *r, struct value text, const struct value *by, int64_t times,
                 bool from_right, struct value *out)
{
    if (!chat__charge(r, text.len) || !chat__new_seq(r, V_LIST, 0, out)) return false;
    bool ok = by ? split_by(r, text, chat__text(*by), times, from_right, out)
                 : split_space(r, text, times, from_right, out);
    if (!ok || !from_right) return ok;
    struct seq *seq = out->seq;
    for (size_t i = 0; i < seq->count / 2; i++) {
        struct value v = seq->items[i];
        seq->items[i] = seq->items[seq->count - 1 - i];
        seq->items[seq->count - 1 - i] = v;
    }
    return true;
}

/* str.splitlines: \n \r \r\n \v \f 1C-1E 85 2028 2029 */
bool chat__split_lines(struct run *r, struct value text, bool keep_ends, struct value *out)
{
    const char *p = text.ptr, *end = p + text.len, *line = p;
    if (!chat__charge(r, text.len) || !chat__new_seq(r, V_LIST, 0, out)) return false;
    while (p < end) {
        int length;
        uint32_t c = ig_utf8_next(p, end, &length);
        const char *stop = p;
        p += length;
        bool cut = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                   c == 0x2028 || c == 0x2029;
        if (!cut) continue;
        if (c == '\r' && p < end && *p == '\n') p++;
        if (!add_part(r, text, out, line, keep_ends ? p : stop)) return false;
        line = p;
    }
    return line == end || add_part(r, text, out, line, end);
}
