/* SPDX-License-Identifier: Apache-2.0
 * nfc — canonical composition with the data of Unicode 9.0, which is what the reference has.
 *
 * Nearly all text is composed already. The scan looks for regions that may not be: a run of
 * characters that can change or be reordered (CLASS_NFC_CHECK), with the starter before it if that
 * can compose. Only regions go to utf8proc. What Unicode 9.0 does not know is never part of a
 * region, and what it does know can never change (Unicode's normalization stability policy), so any
 * version of utf8proc gives the same result. Marks are sorted here: utf8proc's own sort is
 * quadratic. */
#include "text/unicode.h"
#include "text/utf8.h"
#include "token/char_class.h"
#include "token/token_internal.h"

#include <stdlib.h>

#define FEW_MARKS    32  /* insertion sort up to here */
#define MARK_CLASSES 256 /* canonical combining classes */

static bool reserve(struct token__codes *codes, size_t more)
{
    if (codes->cap - codes->count >= more) return true;
    size_t cap = codes->cap ? codes->cap * 2 : 256;
    int32_t *items = realloc(codes->items, cap * sizeof(*items));
    if (!items) return false;
    codes->items = items;
    codes->cap = cap;
    return true;
}

/* First byte of UTF-8 for U+0300, below which nothing is decomposed that is not composed. */
static const char *skip_plain(const char *p, const char *end)
{
    uint64_t eight;
    while (end - p >= 8 && (memcpy(&eight, p, 8), (eight & 0x8080808080808080u) == 0))
        p += 8;
    while (p < end && (unsigned char)*p < 0xCC)
        p++;
    return p;
}

static const char *char_before(const char *p)
{
    do
        p--;
    while (((unsigned char)*p & 0xC0) == 0x80);
    return p;
}

/* The next region at or after p: true, and where it starts and ends. */
static bool next_region(const char *text, const char *p, const char *end, const char **start,
                        const char **stop)
{
    int length;
    for (;;) {
        p = skip_plain(p, end);
        if (p == end) return false;
        uint32_t class = token__class_at(p, &length);
        if (!(class & CLASS_NFC_CHECK)) {
            p += length;
            continue;
        }
        const char *run = p;
        uint32_t all = 0;
        int count = 0;
        for (; p < end && (class = token__class_at(p, &length)) & CLASS_NFC_CHECK; p += length) {
            all |= class;
            count++;
        }
        if (count == 1 && !(all & CLASS_NFC_JOINS)) continue; /* one mark is in order */
        *start = run;
        *stop = p;
        if (run > text) {
            const char *before = char_before(run);
            if (token__class_at(before, &length) & CLASS_NFC_JOINS) *start = before;
        }
        return true;
    }
}

static int mark_class(int32_t code)
{
    return ig_unicode_combining_class(code);
}

/* Stable sort of a run of marks by combining class. spare: room for count more. */
static void sort_marks(int32_t *marks, size_t count, int32_t *spare)
{
    if (count <= FEW_MARKS) {
        for (size_t i = 1; i < count; i++) {
            int32_t mark = marks[i];
            int class = mark_class(mark);
            size_t at = i;
            for (; at > 0 && mark_class(marks[at - 1]) > class; at--)
                marks[at] = marks[at - 1];
            marks[at] = mark;
        }
        return;
    }
    size_t starts[MARK_CLASSES + 1] = {0};
    for (size_t i = 0; i < count; i++)
        starts[mark_class(marks[i]) + 1]++;
    for (int class = 1; class < MARK_CLASSES; class ++)
        starts[class] += starts[class - 1];
    for (size_t i = 0; i < count; i++)
        spare[starts[mark_class(marks[i])]++] = marks[i];
    memcpy(marks, spare, count * sizeof(*marks));
}

static bool decompose(const char *p, const char *end, struct token__codes *codes)
{
    codes->count = 0;
    for (int length; p < end; p += length) {
        if (!reserve(codes, IG_UNICODE_DECOMPOSED_MAX)) return false;
        int32_t code = (int32_t)ig_utf8_next(p, end, &length);
        codes->count += (size_t)ig_unicode_decompose(code, codes->items + codes->count);
    }
    return true;
}

static bool order(struct token__codes *codes)
{
    size_t count = codes->count;
    while (codes->cap < 2 * count)
        if (!reserve(codes, codes->cap - codes->count + 1)) return false;
    for (size_t i = 0; i < count;) {
        size_t run = i;
        while (i < count && mark_class(codes->items[i]) != 0)
            i++;
        if (i - run > 1) sort_marks(codes->items + run, i - run, codes->items + count);
        i += i == run;
    }
    return true;
}

static bool compose_region(const char *start, const char *stop, struct token__codes *codes,
                           struct ig_buf *out, struct ig_err *err)
{
    if (!decompose(start, stop, codes) || !order(codes)) return ig_err_nomem(err);
    size_t count = ig_unicode_compose(codes->items, codes->count);
    for (size_t i = 0; i < count; i++) {
        char bytes[4];
        ig_buf_append(out, bytes, (size_t)ig_utf8_put((uint32_t)codes->items[i], bytes));
    }
    return true;
}

bool token__nfc(struct ig_slice text, struct token__codes *codes, struct ig_buf *out, bool *changed,
                struct ig_err *err)
{
    const char *p = text.ptr, *end = text.ptr + text.len, *start, *stop;
    *changed = false;
    if (text.len == 0) return true;
    while (next_region(text.ptr, p, end, &start, &stop)) {
        *changed = true;
        ig_buf_append(out, p, (size_t)(start - p));
        if (!compose_region(start, stop, codes, out, err)) return false;
        p = stop;
    }
    if (*changed) ig_buf_append(out, p, (size_t)(end - p));
    return ig_buf_ok(out, err);
}
