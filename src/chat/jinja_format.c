/* SPDX-License-Identifier: Apache-2.0
 * jinja_format — values as text: Python's str() and repr(), json.dumps(), HTML escapes. */
#include "chat/chat_internal.h"
#include "text/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* repr(float): the fewest digits that read back as x, with an exponent below 1e-4 and from 1e16. */
void chat__put_real(struct ig_buf *out, double x)
{
    char text[40];
    if (!isfinite(x)) {
        ig_buf_text(out, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = 0; digits <= 16; digits++) {
        snprintf(text, sizeof text, "%.*e", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    char digit[24];
    int count = 0, exponent = atoi(strchr(text, 'e') + 1);
    for (const char *p = text; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9') digit[count++] = *p;
    if (text[0] == '-') ig_buf_char(out, '-');
    if (exponent < -4 || exponent >= 16) {
        ig_buf_char(out, digit[0]);
        if (count > 1) ig_buf_char(out, '.');
        ig_buf_append(out, digit + 1, (size_t)count - 1);
        ig_buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) ig_buf_text(out, "0.");
    for (int i = exponent; i < -1; i++)
        ig_buf_char(out, '0');
    for (int i = 0; i < count || i <= exponent; i++) {
        if (i == exponent + 1 && exponent >= 0) ig_buf_char(out, '.');
        ig_buf_char(out, i < count ? digit[i] : '0');
    }
    if (exponent >= 0 && count <= exponent + 1) ig_buf_text(out, ".0");
}

void chat__put_escaped(struct ig_buf *out, struct ig_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.ptr[i]) {
        case '&': ig_buf_text(out, "&amp;"); break;
        case '<': ig_buf_text(out, "&lt;"); break;
        case '>': ig_buf_text(out, "&gt;"); break;
        case '"': ig_buf_text(out, "&#34;"); break;
        case '\'': ig_buf_text(out, "&#39;"); break;
        default: ig_buf_char(out, text.ptr[i]);
        }
    }
}

/* repr(str) and repr(bytes) */
static void put_quoted(struct ig_buf *out, struct ig_slice text, bool bytes)
{
    bool single = memchr(text.ptr, '\'', text.len), twice = memchr(text.ptr, '"', text.len);
    char quote = single && !twice ? '"' : '\'';
    const char *p = text.ptr, *end = p + text.len;
    if (bytes) ig_buf_char(out, 'b');
    ig_buf_char(out, quote);
    for (int length = 1; p < end; p += length) {
        uint32_t code = (unsigned char)*p;
        if (!bytes) code = ig_utf8_next(p, end, &length);
        if (code == (uint32_t)quote || code == '\\')
            ig_buf_printf(out, "\\%c", (char)code);
        else if (code == '\n' || code == '\r' || code == '\t')
            ig_buf_text(out, code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t");
        else if (bytes ? code >= 0x20 && code < 0x7F : chat__char_is(code, CHAR_PRINTABLE))
            ig_buf_append(out, p, (size_t)length);
        else
            ig_buf_printf(out,
                          code < 0x100     ? "\\x%02x"
                          : code < 0x10000 ? "\\u%04x"
                                           : "\\U%08x",
                          code);
    }
    ig_buf_char(out, quote);
}

static bool put_items(struct run *r, const struct seq *seq, enum kind kind)
{
    struct ig_buf *out = &r->out;
    ig_buf_char(out, kind == V_TUPLE ? '(' : '[');
    for (size_t i = 0; i < seq->count; i++) {
        if (i) ig_buf_text(out, ", ");
        if (!chat__put_repr(r, seq->items[i])) return false;
    }
    if (kind == V_TUPLE && seq->count == 1) ig_buf_char(out, ',');
    ig_buf_char(out, kind == V_TUPLE ? ')' : ']');
    return true;
}

static bool put_dict(struct run *r, const struct dict *d)
{
    struct ig_buf *out = &r->out;
    ig_buf_char(out, '{');
    for (uint32_t i = 0; i < d->count; i++) {
        if (i) ig_buf_text(out, ", ");
        if (!chat__put_repr(r, d->pairs[i].key)) return false;
        ig_buf_text(out, ": ");
        if (!chat__put_repr(r, d->pairs[i].value)) return false;
    }
    ig_buf_char(out, '}');
    return true;
}

static bool put_view(struct run *r, struct value v)
{
    static const char *const names[] = {"dict_keys(", "dict_values(", "dict_items("};
    struct seq *items;
    ig_buf_text(&r->out, names[v.flags]);
    if (!chat__iterate(r, v, &items) || !put_items(r, items, V_LIST)) return false;
    ig_buf_char(&r->out, ')');
    return true;
}

static bool put_object(struct run *r, struct value v)
{
    struct ig_buf *out = &r->out;
    switch (v.kind) {
    case V_SPACE:
        ig_buf_text(out, "<Namespace ");
        if (!put_dict(r, &v.space->dict)) return false;
        ig_buf_char(out, '>');
        return true;
    case V_LOOP:
        if (!chat__loop_fill(r, v.loop, SIZE_MAX)) return false;
        ig_buf_printf(out, "<LoopContext %zu/%zu>", v.loop->index0 + 1, v.loop->seq->count);
        return true;
    case V_MACRO:
        ig_buf_text(out, "<Macro ");
        if (v.macro->node->kind == N_MACRO)
            put_quoted(out, r->tmpl->names[v.macro->node->name], false);
        else
            ig_buf_text(out, "anonymous");
        ig_buf_char(out, '>');
        return true;
    default: ig_buf_printf(out, "<%s>", chat__type_name(v)); return true;
    }
}

static bool put_range(struct run *r, const struct seq *seq)
{
    ig_buf_printf(&r->out, "range(%lld, %lld", (long long)seq->start, (long long)seq->stop);
    if (seq->step != 1) ig_buf_printf(&r->out, ", %lld", (long long)seq->step);
    ig_buf_char(&r->out, ')');
    return true;
}

static bool put_repr(struct run *r, struct value v)
{
    struct ig_buf *out = &r->out;
    switch (v.kind) {
    case V_UNDEFINED: ig_buf_text(out, "Undefined"); return true;
    case V_NONE: ig_buf_text(out, "None"); return true;
    case V_BOOL: ig_buf_text(out, v.integer ? "True" : "False"); return true;
    case V_INT: ig_buf_printf(out, "%lld", (long long)v.integer); return true;
    case V_BIG: ig_buf_slice(out, chat__text(v)); return true;
    case V_REAL: chat__put_real(out, v.real); return true;
    case V_STR:
    case V_BYTES:
        if (v.flags & STR_MARKUP) ig_buf_text(out, "Markup(");
        put_quoted(out, chat__text(v), v.kind == V_BYTES);
        if (v.flags & STR_MARKUP) ig_buf_char(out, ')');
        return chat__charge(r, v.len);
    case V_LIST:
    case V_TUPLE: return put_items(r, v.seq, v.kind);
    case V_RANGE: return put_range(r, v.seq);
    case V_DICT: return put_dict(r, v.dict);
    case V_VIEW: return put_view(r, v);
    default: return put_object(r, v);
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): depth is capped here */
bool chat__put_repr(struct run *r, struct value v)
{
    if (r->depth >= CHAT_EVAL_DEPTH_MAX) return chat__fail(r, "values are nested too deeply");
    r->depth++;
    bool ok = chat__charge(r, 0) && put_repr(r, v);
    r->depth--;
    return ok && (!r->out.failed ||
                  chat__fail(r, "the text is longer than %zu bytes", CHAT_OUTPUT_BYTES_MAX));
}

bool chat__put_str(struct run *r, struct value v)
{
    if (v.kind == V_UNDEFINED) return true;
    if (v.kind != V_STR) return chat__put_repr(r, v);
    ig_buf_slice(&r->out, chat__text(v));
    return chat__charge(r, v.len) &&
           (!r->out.failed ||
            chat__fail(r, "the text is longer than %zu bytes", CHAT_OUTPUT_BYTES_MAX));
}

bool chat__to_str(struct run *r, struct value v, struct value *out)
{
    if (v.kind == V_STR) {
        *out = v;
        return true;
    }
    size_t mark = chat__begin(r);
    return chat__put_str(r, v) && chat__end(r, mark, out);
}

bool chat__to_repr(struct run *r, struct value v, struct value *out)
{
    size_t mark = chat__begin(r);
    return chat__put_repr(r, v) && chat__end(r, mark, out);
}

bool chat__escape(struct run *r, struct value v, struct value *out)
{
    if (v.kind == V_STR && v.flags & STR_MARKUP) {
        *out = v;
        return true;
    }
    struct value text;
    if (!chat__to_str(r, v, &text)) return false;
    size_t mark = chat__begin(r);
    chat__put_escaped(&r->out, chat__text(text));
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, true);
    return true;
}

/* ---- JSON ---- */

static void newline(struct run *r, const struct json_style *style, int depth)
{
    if (!style->has_indent) return;
    ig_buf_char(&r->out, '\n');
    for (int i = 0; i < depth; i++)
        ig_buf_slice(&r->out, style->indent);
}

static bool put_json_key(struct run *r, struct value key, const struct json_style *style)
{
    struct value text = key;
    if (key.kind == V_NONE)
        text = chat__literal("null");
    else if (key.kind == V_BOOL)
        text = chat__literal(key.integer ? "true" : "false");
    else if (chat__is_number(key)) {
        if (!chat__to_str(r, key, &text)) return false;
    } else if (key.kind != V_STR) {
        return chat__fail(r, "tojson: a key of type '%s'", chat__type_name(key));
    }
    ig_json_quote(&r->out, chat__text(text), style->ensure_ascii);
    return chat__charge(r, text.len);
}

static bool put_json_dict(struct run *r, const struct dict *d, const struct json_style *style,
                          int depth)
{
    uint32_t *order = chat__new(r, d->count, sizeof *order);
    if (!order) return false;
    for (uint32_t i = 0; i < d->count; i++) { /* insertion sort: few keys, often sorted */
        uint32_t at = i;
        for (int o = -1; style->sort_keys && at > 0; at--) {
            if (!chat__charge(r, 0) ||
                !chat__order(r, d->pairs[i].key, d->pairs[order[at - 1]].key, &o))
                return false;
            if (o >= 0) break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    ig_buf_char(&r->out, '{');
    for (uint32_t i = 0; i < d->count; i++) {
        const struct pair *pair = &d->pairs[order[i]];
        if (i) ig_buf_slice(&r->out, style->comma);
        newline(r, style, depth + 1);
        if (!put_json_key(r, pair->key, style)) return false;
        ig_buf_slice(&r->out, style->colon);
        if (!chat__put_json(r, pair->value, style, depth + 1)) return false;
    }
    if (d->count) newline(r, style, depth);
    ig_buf_char(&r->out, '}');
    return true;
}

static bool put_json_list(struct run *r, const struct seq *seq, const struct json_style *style,
                          int depth)
{
    ig_buf_char(&r->out, '[');
    for (size_t i = 0; i < seq->count; i++) {
        if (i) ig_buf_slice(&r->out, style->comma);
        newline(r, style, depth + 1);
        if (!chat__put_json(r, seq->items[i], style, depth + 1)) return false;
    }
    if (seq->count) newline(r, style, depth);
    ig_buf_char(&r->out, ']');
    return true;
}

/* NOLINTNEXTLINE(misc-no-recursion): depth is capped here */
bool chat__put_json(struct run *r, struct value v, const struct json_style *style, int depth)
{
    if (depth > CHAT_VALUE_DEPTH_MAX) return chat__fail(r, "tojson: nested too deeply");
    if (!chat__charge(r, 0)) return false;
    if (r->out.failed)
        return chat__fail(r, "the text is longer than %zu bytes", CHAT_OUTPUT_BYTES_MAX);
    switch (v.kind) {
    case V_NONE: ig_buf_text(&r->out, "null"); return true;
    case V_BOOL: ig_buf_text(&r->out, v.integer ? "true" : "false"); return true;
    case V_REAL:
        if (isfinite(v.real))
            chat__put_real(&r->out, v.real);
        else
            ig_buf_text(&r->out, isnan(v.real) ? "NaN" : v.real < 0 ? "-Infinity" : "Infinity");
        return true;
    case V_INT:
    case V_BIG: return chat__put_repr(r, v);
    case V_STR:
        ig_json_quote(&r->out, chat__text(v), style->ensure_ascii);
        return chat__charge(r, v.len);
    case V_LIST:
    case V_TUPLE: return put_json_list(r, v.seq, style, depth);
    case V_DICT: return put_json_dict(r, v.dict, style, depth);
    default: return chat__fail(r, "tojson: a value of type '%s'", chat__type_name(v));
    }
}
