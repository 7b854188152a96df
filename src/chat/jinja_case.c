/* SPDX-License-Identifier: Apache-2.0
 * jinja_case — upper, lower, title, capitalize and swapcase of whole texts, and classes of
 * characters, as CPython's unicodeobject.c does them. */
#include "chat/chat_internal.h"
#include "text/unicode.h"
#include "text/utf8.h"

static bool is_cased(uint32_t code)
{
    return ig_unicode_is(code, IG_UNICODE_CASED);
}

/* A capital sigma is final when a cased character comes before it and none after it, those that do
 * not matter for case left out. */
static bool final_sigma(struct ig_slice text, const char *at)
{
    const char *start = text.ptr, *end = start + text.len;
    uint32_t code = 0;
    int length;
    const char *p = at;
    bool cased = false;
    while (p > start) {
        do
            p--;
        while (p > start && ((unsigned char)*p & 0xC0) == 0x80);
        code = ig_utf8_next(p, end, &length);
        if (ig_unicode_is(code, IG_UNICODE_CASE_IGNORABLE)) continue;
        cased = is_cased(code);
        break;
    }
    if (!cased) return false;
    for (p = at + 2; p < end; p += length) {
        code = ig_utf8_next(p, end, &length);
        if (!ig_unicode_is(code, IG_UNICODE_CASE_IGNORABLE)) return !is_cased(code);
    }
    return true;
}

static int lower(struct ig_slice text, const char *at, uint32_t code, uint32_t out[3])
{
    if (code != 0x3A3) return ig_unicode_lower(code, out);
    out[0] = final_sigma(text, at) ? 0x3C2 : 0x3C3;
    return 1;
}

static int convert(struct ig_slice text, const char *at, uint32_t code, enum casing casing,
                   bool inside, uint32_t out[3])
{
    switch (casing) {
    case CASE_UPPER: return ig_unicode_upper(code, out);
    case CASE_LOWER: return lower(text, at, code, out);
    case CASE_SWAP:
        if (ig_unicode_is(code, IG_UNICODE_UPPER)) return lower(text, at, code, out);
        if (ig_unicode_is(code, IG_UNICODE_LOWER)) return ig_unicode_upper(code, out);
        out[0] = code;
        return 1;
    default: return inside ? lower(text, at, code, out) : ig_unicode_title(code, out);
    }
}

bool chat__recase(struct run *r, struct value text, enum casing casing, struct value *out)
{
    struct ig_slice s = chat__text(text);
    const char *p = s.ptr, *end = p + s.len;
    size_t mark = chat__begin(r);
    bool inside = false; /* TITLE: within a word. CAPITAL: after the first character */
    int length;
    if (!chat__charge(r, s.len)) return false;
    for (; p < end; p += length) {
        uint32_t code = ig_utf8_next(p, end, &length), to[3];
        if (code == IG_UTF8_INVALID) {
            ig_buf_append(&r->out, p, (size_t)length);
            continue;
        }
        int count = convert(s, p, code, casing, inside, to);
        for (int i = 0; i < count; i++) {
            char utf8[4];
            ig_buf_append(&r->out, utf8, (size_t)ig_utf8_put(to[i], utf8));
        }
        inside = casing == CASE_CAPITAL || is_cased(code);
    }
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, text.flags & STR_MARKUP);
    return true;
}

bool chat__char_is(uint32_t code, enum char_class what)
{
    char utf8[4];
    if (code == IG_UTF8_INVALID) return false;
    switch (what) {
    case CHAR_ALPHA: return ig_unicode_is(code, IG_UNICODE_ALPHA);
    case CHAR_DIGIT: return ig_unicode_is(code, IG_UNICODE_DIGIT);
    case CHAR_DECIMAL: return ig_unicode_is(code, IG_UNICODE_DECIMAL);
    case CHAR_NUMERIC: return ig_unicode_is(code, IG_UNICODE_NUMERIC);
    case CHAR_ALNUM:
        return ig_unicode_is(code, IG_UNICODE_ALPHA) || ig_unicode_is(code, IG_UNICODE_NUMERIC);
    case CHAR_SPACE: return chat__space(utf8, utf8 + ig_utf8_put(code, utf8)) > 0;
    case CHAR_PRINTABLE: return ig_unicode_is(code, IG_UNICODE_PRINTABLE);
    }
    return false;
}

bool chat__all_cased(struct ig_slice text, bool upper)
{
    const char *p = text.ptr, *end = p + text.len;
    bool any = false;
    for (int length; p < end; p += length) {
        uint32_t code = ig_utf8_next(p, end, &length);
        if (!is_cased(code)) continue;
        if (!ig_unicode_is(code, upper ? IG_UNICODE_UPPER : IG_UNICODE_LOWER)) return false;
        any = true;
    }
    return any;
}
