/* SPDX-License-Identifier: Apache-2.0
 * text — strip and capitalize as Python's str has them: the tasks are defined by Python code. */
#include "eval/eval_internal.h"
#include "text/unicode.h"
#include "text/utf8.h"

#define CAPITAL_SIGMA     0x3A3
#define SMALL_FINAL_SIGMA 0x3C2

/* str.isspace: Unicode's White_Space and the separators U+001C to U+001F. */
static bool is_space(uint32_t c)
{
    if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

struct ig_slice eval__strip_left(struct ig_slice text)
{
    while (text.len) {
        int bytes;
        if (!is_space(ig_utf8_next(text.ptr, text.ptr + text.len, &bytes))) break;
        text.ptr += bytes;
        text.len -= (size_t)bytes;
    }
    return text;
}

struct ig_slice eval__strip_right(struct ig_slice text)
{
    while (text.len) {
        size_t start = text.len - 1;
        while (start > 0 && text.len - start < 4 && ((unsigned char)text.ptr[start] & 0xC0) == 0x80)
            start--;
        int bytes;
        uint32_t c = ig_utf8_next(text.ptr + start, text.ptr + text.len, &bytes);
        if (start + (size_t)bytes != text.len || !is_space(c)) break;
        text.len = start;
    }
    return text;
}

struct ig_slice eval__strip(struct ig_slice text)
{
    return eval__strip_left(eval__strip_right(text));
}

static void put_codes(struct ig_buf *out, const uint32_t *codes, int count)
{
    char bytes[4];
    for (int i = 0; i < count; i++)
        ig_buf_append(out, bytes, (size_t)ig_utf8_put(codes[i], bytes));
}

/* Whether the first character from p on that matters for case is a cased one. */
static bool cased_follows(const char *p, const char *end)
{
    for (int bytes; p < end; p += bytes) {
        uint32_t c = ig_utf8_next(p, end, &bytes);
        if (!ig_unicode_is(c, IG_UNICODE_CASE_IGNORABLE)) return ig_unicode_is(c, IG_UNICODE_CASED);
    }
    return false;
}

/* A capital sigma ends a word when a cased character comes before it, and none after; characters
 * that do not matter for case (an apostrophe) are looked through. */
void eval__capitalize(struct ig_buf *out, struct ig_slice text)
{
    const char *p = text.ptr, *end = text.ptr + text.len;
    bool cased_before = false;
    for (int bytes; p < end; p += bytes) {
        uint32_t c = ig_utf8_next(p, end, &bytes), codes[3] = {SMALL_FINAL_SIGMA};
        int count = 1;
        if (p == text.ptr)
            count = ig_unicode_title(c, codes);
        else if (c != CAPITAL_SIGMA || !cased_before || cased_follows(p + bytes, end))
            count = ig_unicode_lower(c, codes);
        put_codes(out, codes, count);
        if (!ig_unicode_is(c, IG_UNICODE_CASE_IGNORABLE))
            cased_before = ig_unicode_is(c, IG_UNICODE_CASED);
    }
}
