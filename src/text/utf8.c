/* SPDX-License-Identifier: Apache-2.0
 * utf8 — see utf8.h. The ranges are table 3-7 of the Unicode standard, "well-formed UTF-8 byte
 * sequences": only the second byte's range depends on the first. */
#include "text/utf8.h"

uint32_t ig_utf8_next(const char *p, const char *end, int *length)
{
    const unsigned char *s = (const unsigned char *)p;
    unsigned char first = *s;
    *length = 1;
    if (first < 0x80) return first;
    if (first < 0xC2 || first > 0xF4) return IG_UTF8_INVALID;
    int more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    uint32_t code = first & (0x3Fu >> more);
    for (int i = 1; i <= more; i++) {
        if (p + i >= end || s[i] < low || s[i] > high) return IG_UTF8_INVALID;
        code = code << 6 | (s[i] & 0x3F);
        *length = i + 1;
        low = 0x80;
        high = 0xBF;
    }
    return code;
}

size_t ig_utf8_check(struct ig_slice text)
{
    const char *p = text.ptr, *end = text.ptr ? text.ptr + text.len : NULL;
    while (p < end) {
        uint64_t eight;
        while (end - p >= 8 && (memcpy(&eight, p, 8), (eight & 0x8080808080808080u) == 0))
            p += 8;
        if (p == end) break;
        int length;
        if (ig_utf8_next(p, end, &length) == IG_UTF8_INVALID) return (size_t)(p - text.ptr);
        p += length;
    }
    return text.len;
}

int ig_utf8_put(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char lead[4] = {0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(lead[more] | code >> (6 * more));
    for (int i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3F));
    return more + 1;
}

size_t ig_utf8_count(struct ig_slice text)
{
    size_t count = 0;
    const char *p = text.ptr, *end = text.ptr ? text.ptr + text.len : NULL;
    for (int length; p < end; p += length, count++)
        ig_utf8_next(p, end, &length);
    return count;
}

void ig_utf8_repair(struct ig_buf *out, struct ig_slice text)
{
    while (text.len) {
        size_t good = ig_utf8_check(text);
        ig_buf_append(out, text.ptr, good);
        if (good == text.len) return;
        int length;
        ig_utf8_next(text.ptr + good, text.ptr + text.len, &length);
        ig_buf_text(out, "\xEF\xBF\xBD");
        text = ig_slice_make(text.ptr + good + (size_t)length, text.len - good - (size_t)length);
    }
}
