/* SPDX-License-Identifier: Apache-2.0
 * json_write — the same bytes as Python's json.dumps with the same indent and ensure_ascii. */
#include "base/check.h"
#include "ingot/json.h"
#include "text/utf8.h"

#include <math.h>

static void quote_code(struct ig_buf *out, uint32_t code)
{
    if (code >= 0x10000) {
        code -= 0x10000;
        ig_buf_printf(out, "\\u%04x\\u%04x", 0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF));
    } else {
        ig_buf_printf(out, "\\u%04x", code);
    }
}

static const char *short_escape(unsigned char c)
{
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\f': return "\\f";
    case '\b': return "\\b";
    default: return NULL;
    }
}

void ig_json_quote(struct ig_buf *out, struct ig_slice text, bool ensure_ascii)
{
    const char *p = text.ptr, *end = text.ptr ? text.ptr + text.len : NULL;
    ig_buf_char(out, '"');
    while (p < end) {
        int length;
        uint32_t code = ig_utf8_next(p, end, &length);
        const char *escape = code < 0x80 ? short_escape((unsigned char)code) : NULL;
        if (code == IG_UTF8_INVALID)
            ig_buf_text(out, ensure_ascii ? "\\ufffd" : "\xEF\xBF\xBD");
        else if (escape)
            ig_buf_text(out, escape);
        else if (code < 0x20 || (ensure_ascii && code > 0x7E))
            quote_code(out, code);
        else
            ig_buf_append(out, p, (size_t)length);
        p += length;
    }
    ig_buf_char(out, '"');
}

static void newline(struct ig_buf *out, int indent, int depth)
{
    if (indent == 0) return;
    ig_buf_char(out, '\n');
    for (int i = 0; i < indent * depth; i++)
        ig_buf_char(out, ' ');
}

/* Depth is bounded by the parser that made the tree. */
static void write_node(struct ig_buf *out, /* NOLINT(misc-no-recursion) */
                       const struct ig_json *node, int indent, int depth, bool ensure_ascii)
{
    switch (node->type) {
    case IG_JSON_NULL: ig_buf_text(out, "null"); return;
    case IG_JSON_FALSE: ig_buf_text(out, "false"); return;
    case IG_JSON_TRUE: ig_buf_text(out, "true"); return;
    case IG_JSON_NUMBER: ig_buf_slice(out, node->text); return;
    case IG_JSON_STRING: ig_json_quote(out, node->text, ensure_ascii); return;
    case IG_JSON_ARRAY:
    case IG_JSON_OBJECT: break;
    }
    bool object = node->type == IG_JSON_OBJECT;
    ig_buf_char(out, object ? '{' : '[');
    for (uint32_t i = 0; i < node->count; i++) {
        if (i) ig_buf_char(out, ',');
        newline(out, indent, depth + 1);
        if (object) {
            ig_json_quote(out, node->items[i].key, ensure_ascii);
            ig_buf_text(out, indent ? ": " : ":");
        }
        write_node(out, &node->items[i], indent, depth + 1, ensure_ascii);
    }
    if (node->count) newline(out, indent, depth);
    ig_buf_char(out, object ? '}' : ']');
}

void ig_json_write(struct ig_buf *out, const struct ig_json *node, int indent, bool ensure_ascii)
{
    write_node(out, node, indent, 0, ensure_ascii);
}

/* What goes before a value or a key: a comma, a newline. */
static void separate(struct ig_json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0) return;
    if (w->started[w->depth]) ig_buf_char(w->out, ',');
    w->started[w->depth] = true;
    newline(w->out, w->indent, w->depth);
}

void ig_json_open(struct ig_json_writer *w, char bracket)
{
    separate(w);
    ig_buf_char(w->out, bracket);
    IG_ASSERT(w->depth + 1 < (int)(sizeof w->started / sizeof *w->started));
    w->started[++w->depth] = false;
}

void ig_json_close(struct ig_json_writer *w, char bracket)
{
    IG_ASSERT(w->depth > 0);
    w->depth--;
    if (w->started[w->depth + 1]) newline(w->out, w->indent, w->depth);
    ig_buf_char(w->out, bracket);
}

void ig_json_key(struct ig_json_writer *w, const char *key)
{
    separate(w);
    ig_json_quote(w->out, ig_slice_of(key), false);
    ig_buf_text(w->out, w->indent ? ": " : ":");
    w->after_key = true;
}

void ig_json_put_text(struct ig_json_writer *w, struct ig_slice text)
{
    separate(w);
    ig_json_quote(w->out, text, false);
}

void ig_json_put_int(struct ig_json_writer *w, int64_t value)
{
    separate(w);
    ig_buf_printf(w->out, "%lld", (long long)value);
}

void ig_json_put_real(struct ig_json_writer *w, double value)
{
    if (!isfinite(value)) {
        ig_json_put_null(w);
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    separate(w);
    ig_buf_text(w->out, text);
    if (!strpbrk(text, ".e")) ig_buf_text(w->out, ".0");
}

void ig_json_put_bool(struct ig_json_writer *w, bool value)
{
    separate(w);
    ig_buf_text(w->out, value ? "true" : "false");
}

void ig_json_put_null(struct ig_json_writer *w)
{
    separate(w);
    ig_buf_text(w->out, "null");
}

void ig_json_add_text(struct ig_json_writer *w, const char *key, const char *text)
{
    ig_json_key(w, key);
    if (text)
        ig_json_put_text(w, ig_slice_of(text));
    else
        ig_json_put_null(w);
}

void ig_json_add_int(struct ig_json_writer *w, const char *key, int64_t value)
{
    ig_json_key(w, key);
    ig_json_put_int(w, value);
}

void ig_json_add_real(struct ig_json_writer *w, const char *key, double value)
{
    ig_json_key(w, key);
    ig_json_put_real(w, value);
}

void ig_json_add_bool(struct ig_json_writer *w, const char *key, bool value)
{
    ig_json_key(w, key);
    ig_json_put_bool(w, value);
}

void ig_json_put_tree(struct ig_json_writer *w, const struct ig_json *node)
{
    separate(w);
    write_node(w->out, node, w->indent, w->depth, false);
}
