/* SPDX-License-Identifier: Apache-2.0
 * jinja_printf — "..." % values and "...".format(values), as Python formats them. */
#include "chat/chat_internal.h"
#include "text/utf8.h"

#include <math.h>
#include <stdlib.h>

#define WIDTH_MAX 100000 /* of one field */

struct spec {
    char fill[5]; /* one character, NUL-terminated */
    char align;   /* < > ^ = or 0 */
    char sign;    /* + - space or 0 */
    bool alternate, zero, has_precision;
    char group; /* , or _ */
    int64_t width, precision;
    char type; /* 0: none given */
};

/* The sign, prefix and digits of a number go out padded as the spec says. */
static bool put_padded(struct run *r, const struct spec *s, struct ig_slice head, struct value body,
                       char align)
{
    int64_t used = (int64_t)head.len + (int64_t)chat__count(body);
    int64_t more = s->width > used ? s->width - used : 0;
    int64_t left = align == '>' ? more : align == '^' ? more / 2 : 0;
    for (int64_t i = 0; i < left; i++)
        ig_buf_text(&r->out, s->fill);
    ig_buf_slice(&r->out, head);
    for (int64_t i = 0; i < more && align == '='; i++)
        ig_buf_text(&r->out, s->fill);
    ig_buf_slice(&r->out, chat__text(body));
    for (int64_t i = left; i < more && align != '='; i++)
        ig_buf_text(&r->out, s->fill);
    return chat__charge(r, (size_t)(more + used));
}

/* Puts a separator between every `every` digits of the whole part, at the end of r->out from mark.
 */
static bool group_digits(struct run *r, struct value *body, char separator, int every)
{
    size_t whole = 0, mark = chat__begin(r);
    while (whole < body->len && body->ptr[whole] >= '0' && body->ptr[whole] <= '9')
        whole++;
    for (size_t i = 0; i < body->len; i++) {
        if (i && i < whole && (whole - i) % (size_t)every == 0) ig_buf_char(&r->out, separator);
        ig_buf_char(&r->out, body->ptr[i]);
    }
    return chat__end(r, mark, body);
}

static bool put_number(struct run *r, const struct spec *s, bool negative, const char *prefix,
                       struct value body)
{
    char head[8];
    int n = 0;
    if (negative)
        head[n++] = '-';
    else if (s->sign == '+' || s->sign == ' ')
        head[n++] = s->sign;
    while (*prefix)
        head[n++] = *prefix++;
    if (s->group && !group_digits(r, &body, s->group, 3)) return false;
    return put_padded(r, s, ig_slice_make(head, (size_t)n), body, s->align ? s->align : '>');
}

static bool put_int(struct run *r, const struct spec *s, struct value v)
{
    static const char digit[] = "0123456789abcdef0123456789ABCDEF";
    struct value body;
    char type = s->type ? s->type : 'd';
    if (v.kind == V_BOOL) v.kind = V_INT;
    bool negative = v.kind == V_BIG ? v.ptr[0] == '-' : v.integer < 0;
    if (type == 'd' || type == 'i' || type == 'u' || type == 'n') {
        if (!chat__to_str(r, v, &body)) return false;
        body.ptr += negative;
        body.len -= negative;
        size_t mark = chat__begin(r);
        for (int64_t i = (int64_t)body.len; s->has_precision && i < s->precision; i++)
            ig_buf_char(&r->out, '0');
        ig_buf_slice(&r->out, chat__text(body));
        return chat__end(r, mark, &body) && put_number(r, s, negative, "", body);
    }
    if (v.kind == V_BIG) return chat__fail(r, "'%%%c' of an integer beyond 64 bits", type);
    unsigned base = type == 'o' ? 8 : type == 'b' ? 2 : 16;
    uint64_t size = negative ? 0 - (uint64_t)v.integer : (uint64_t)v.integer;
    char text[72], *p = text + sizeof text;
    do {
        *--p = digit[size % base + (type == 'X' ? 16 : 0)];
        size /= base;
    } while (size);
    if (!chat__copy_str(r, ig_slice_make(p, (size_t)(text + sizeof text - p)), &body)) return false;
    const char *prefix = !s->alternate ? ""
                         : type == 'x' ? "0x"
                         : type == 'X' ? "0X"
                         : type == 'o' ? "0o"
                                       : "0b";
    return put_number(r, s, negative, prefix, body);
}

static void put_c_real(struct ig_buf *out, char type, bool alternate, int precision, double x)
{
    switch (type) {
    case 'e': ig_buf_printf(out, alternate ? "%#.*e" : "%.*e", precision, x); break;
    case 'E': ig_buf_printf(out, alternate ? "%#.*E" : "%.*E", precision, x); break;
    case 'f': ig_buf_printf(out, alternate ? "%#.*f" : "%.*f", precision, x); break;
    case 'G': ig_buf_printf(out, alternate ? "%#.*G" : "%.*G", precision, x); break;
    default: ig_buf_printf(out, alternate ? "%#.*g" : "%.*g", precision, x); break;
    }
}

static bool put_real(struct run *r, const struct spec *s, double x)
{
    struct value body;
    bool percent = s->type == '%', negative = signbit(x) && !isnan(x);
    size_t mark = chat__begin(r);
    char type = percent || s->type == 'F' ? 'f' : s->type;
    if (s->has_precision && s->precision > 1000) return chat__fail(r, "the precision is too large");
    x = fabs(x) * (percent ? 100 : 1);
    if (!isfinite(x))
        ig_buf_text(&r->out, isnan(x) ? "nan" : "inf");
    else if (!s->type && !s->has_precision)
        chat__put_real(&r->out, x);
    else
        put_c_real(&r->out, type, s->alternate, s->has_precision ? (int)s->precision : 6, x);
    if (percent) ig_buf_char(&r->out, '%');
    return chat__end(r, mark, &body) && put_number(r, s, negative, "", body);
}

static bool put_text(struct run *r, const struct spec *s, struct value text)
{
    if (s->has_precision && s->precision < (int64_t)chat__count(text))
        text.len = chat__offset(text, (size_t)s->precision);
    text.flags &= STR_ASCII;
    return put_padded(r, s, ig_slice_of(""), text, s->align ? s->align : '<');
}

/* ---- % ---- */

struct printf_state {
    struct value args; /* a tuple's items, or the one value */
    size_t used;
    bool markup;
};

static bool next_arg(struct run *r, struct printf_state *st, struct value *out)
{
    bool tuple = st->args.kind == V_TUPLE;
    if (st->used >= (tuple ? st->args.seq->count : 1))
        return chat__fail(r, "too few values for the format");
    *out = tuple ? st->args.seq->items[st->used] : st->args;
    st->used++;
    return true;
}

/* Digits, or '*': the next value. */
static bool read_number(struct run *r, struct printf_state *st, const char **p, const char *end,
                        int64_t *out)
{
    struct value v;
    if (*p < end && **p == '*') {
        ++*p;
        if (!next_arg(r, st, &v)) return false;
        if (!chat__as_int(v, out)) return chat__fail(r, "'*' needs a whole number");
    } else {
        for (; *p < end && **p >= '0' && **p <= '9' && *out <= WIDTH_MAX; ++*p)
            *out = *out * 10 + (**p - '0');
    }
    if (*out > WIDTH_MAX || *out < -WIDTH_MAX) return chat__fail(r, "a width is too large");
    return true;
}

static bool read_printf_spec(struct run *r, struct printf_state *st, const char **place,
                             const char *end, struct spec *s)
{
    const char *p = *place;
    *s = (struct spec){.fill = " "};
    for (; p < end && *p && strchr("-+ #0", *p); p++) {
        if (*p == '-') s->align = '<';
        if (*p == '+' || (*p == ' ' && s->sign != '+')) s->sign = *p;
        s->alternate |= *p == '#';
        s->zero |= *p == '0';
    }
    if (!read_number(r, st, &p, end, &s->width)) return false;
    if (s->width < 0) {
        s->align = '<';
        s->width = -s->width;
    }
    if (p < end && *p == '.') {
        p++;
        s->has_precision = true;
        if (!read_number(r, st, &p, end, &s->precision)) return false;
        if (s->precision < 0) s->precision = 0;
    }
    while (p < end && *p && strchr("hlL", *p))
        p++;
    if (p == end) return chat__fail(r, "the format ends after '%%'");
    s->type = *p++;
    *place = p;
    return true;
}

/* %(name)s */
static bool read_key(struct run *r, const struct printf_state *st, const char **place,
                     const char *end, struct value *out)
{
    const char *p = *place + 1, *close = memchr(p, ')', (size_t)(end - p));
    const struct value *found = NULL;
    if (!close) return chat__fail(r, "the format lacks a ')'");
    struct ig_slice key = ig_slice_make(p, (size_t)(close - p));
    if (st->args.kind != V_DICT) return chat__fail(r, "the format needs a dict");
    found = chat__find_text(st->args.dict, key);
    if (!found)
        return chat__fail(r, "the format's '" IG_SLICE_FMT "' is missing", IG_SLICE_ARG(key));
    *out = *found;
    *place = close + 1;
    return true;
}

static bool put_char(struct run *r, const struct spec *s, struct value v)
{
    int64_t code;
    char utf8[4];
    struct value text = v;
    if (chat__as_int(v, &code)) {
        if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            return chat__fail(r, "'%%c' needs a character");
        int n = ig_utf8_put((uint32_t)code, utf8);
        if (!chat__copy_str(r, ig_slice_make(utf8, (size_t)n), &text)) return false;
    } else if (v.kind != V_STR || chat__count(v) != 1) {
        return chat__fail(r, "'%%c' needs a character");
    }
    return put_padded(r, s, ig_slice_of(""), text, s->align ? s->align : '>');
}

static bool put_converted(struct run *r, const struct printf_state *st, struct spec *s,
                          struct value v)
{
    double x;
    if (s->type == 's' || s->type == 'r' || s->type == 'a') {
        if (!(s->type == 's' ? chat__to_str(r, v, &v) : chat__to_repr(r, v, &v))) return false;
        if (st->markup && !chat__escape(r, v, &v)) return false;
        if (!s->align) s->align = '>';
        return put_text(r, s, v);
    }
    if (s->type == 'c') return put_char(r, s, v);
    if (v.kind == V_UNDEFINED) return chat__fail_undefined(r, v);
    if (!chat__is_number(v))
        return chat__fail(r, "'%%%c' needs a number, not '%s'", s->type, chat__type_name(v));
    if (s->zero && s->align != '<') {
        s->align = '=';
        s->fill[0] = '0';
    }
    bool whole = s->type && strchr("diu", s->type);
    if (whole && v.kind == V_REAL && !chat__truncate(r, v.real, &v)) return false;
    if (whole || (s->type && strchr("oxX", s->type))) {
        if (v.kind == V_REAL) return chat__fail(r, "'%%%c' needs a whole number", s->type);
        return put_int(r, s, v);
    }
    if (!s->type || !strchr("eEfFgG", s->type) || !chat__as_real(v, &x))
        return chat__fail(r, "the format has an unknown conversion");
    return put_real(r, s, x);
}

bool chat__printf(struct run *r, struct value format, struct value args, struct value *out)
{
    struct printf_state st = {.args = args, .markup = format.flags & STR_MARKUP};
    const char *p = format.ptr, *end = p + format.len;
    size_t mark = chat__begin(r);
    while (p < end) {
        struct spec s;
        struct value v;
        const char *text = p;
        while (p < end && *p != '%')
            p++;
        ig_buf_append(&r->out, text, (size_t)(p - text));
        if (p == end) break;
        p++;
        bool keyed = p < end && *p == '(';
        if (keyed && !read_key(r, &st, &p, end, &v)) return false;
        if (!read_printf_spec(r, &st, &p, end, &s)) return false;
        if (s.type == '%') {
            ig_buf_char(&r->out, '%');
            continue;
        }
        if (!keyed && !next_arg(r, &st, &v)) return false;
        if (!put_converted(r, &st, &s, v)) return false;
    }
    if (args.kind == V_TUPLE
            ? st.used < args.seq->count
            : !st.used && args.kind != V_DICT && args.kind != V_LIST && args.kind != V_UNDEFINED)
        return chat__fail(r, "too many values for the format");
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, st.markup);
    return true;
}

/* ---- str.format ---- */

struct format_state {
    const struct call *call;
    size_t next; /* automatic numbering */
    bool markup;
    int depth; /* a spec may hold fields, those may not */
};

static int64_t read_digits(const char **p, const char *end)
{
    int64_t n = -1;
    for (; *p < end && **p >= '0' && **p <= '9' && n < WIDTH_MAX; ++*p)
        n = (n < 0 ? 0 : n) * 10 + (**p - '0');
    return n;
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static bool read_spec(struct run *r, struct ig_slice text, struct spec *s)
{
    const char *p = text.ptr, *end = p + text.len;
    int length = 1;
    bool filled = false;
    *s = (struct spec){.fill = " "};
    if (p < end) (void)ig_utf8_next(p, end, &length);
    if (end - p > length && p[length] && strchr("<>^=", p[length])) {
        memcpy(s->fill, p, (size_t)length);
        s->fill[length] = '\0';
        s->align = p[length];
        p += length + 1;
        filled = true;
    } else if (p < end && *p && strchr("<>^=", *p)) {
        s->align = *p++;
    }
    if (p < end && *p && strchr("+- ", *p)) s->sign = *p++;
    if (p < end && *p == '#') s->alternate = *p++;
    if (p < end && *p == '0') {
        s->zero = *p++;
        if (!filled) memcpy(s->fill, "0", 2);
    }
    s->width = read_digits(&p, end);
    if (p < end && (*p == ',' || *p == '_')) s->group = *p++;
    if (p < end && *p == '.') {
        p++;
        s->precision = read_digits(&p, end);
        s->has_precision = true;
        if (s->precision < 0) return chat__fail(r, "format: the precision is missing");
    }
    if (p < end) s->type = *p++;
    if (p != end || s->width >= WIDTH_MAX || s->precision >= WIDTH_MAX)
        return chat__fail(r, "format: '" IG_SLICE_FMT "' is not understood", IG_SLICE_ARG(text));
    return true;
}

static bool put_formatted(struct run *r, struct value v, struct ig_slice spec)
{
    struct spec s;
    double x;
    if (!spec.len) return chat__put_str(r, v);
    if (!read_spec(r, spec, &s)) return false;
    if (v.kind == V_STR && (!s.type || s.type == 's') && !s.group) return put_text(r, &s, v);
    bool number = chat__is_number(v), whole = number && v.kind != V_REAL;
    if (s.zero && !s.align) s.align = '='; /* zeros go after a number's sign */
    if (whole && (!s.type || strchr("dxXobn", s.type))) return put_int(r, &s, v);
    if (whole && s.type == 'c') return put_char(r, &s, v);
    if (number && (!s.type || strchr("eEfFgGn%", s.type)) && chat__as_real(v, &x))
        return put_real(r, &s, x);
    return chat__fail(r, "format: '" IG_SLICE_FMT "' does not suit a value of type '%s'",
                      IG_SLICE_ARG(spec), chat__type_name(v));
}

/* The value of "name.attr[key]". */
static bool find_field(struct run *r, struct format_state *st, struct ig_slice name,
                       struct value *out)
{
    const char *p = name.ptr, *end = p + name.len, *first = p;
    while (p < end && *p != '.' && *p != '[')
        p++;
    struct ig_slice head = ig_slice_make(first, (size_t)(p - first));
    const char *digits = head.ptr;
    int64_t index = head.len ? read_digits(&digits, p) : (int64_t)st->next++;
    if (index >= 0 && digits == (head.len ? p : head.ptr)) {
        if ((uint64_t)index >= st->call->count) return chat__fail(r, "format: too few values");
        *out = st->call->list[index];
    } else {
        uint32_t i = 0;
        if (!chat__charge(r, st->call->named_count)) return false;
        while (i < st->call->named_count && !ig_slice_equal(st->call->named[i].name, head))
            i++;
        if (i == st->call->named_count)
            return chat__fail(r, "format: '" IG_SLICE_FMT "' is missing", IG_SLICE_ARG(head));
        *out = st->call->named[i].value;
    }
    while (p < end) {
        bool bracket = *p++ == '[';
        const char *start = p;
        while (p < end && (bracket ? *p != ']' : *p != '.' && *p != '['))
            p++;
        struct ig_slice part = ig_slice_make(start, (size_t)(p - start));
        const char *tail = start;
        index = read_digits(&tail, p);
        struct value key = index >= 0 && tail == p ? chat__int(index) : chat__str(part);
        if (!(bracket ? chat__item(r, *out, key, out) : chat__attr(r, *out, part, out)))
            return false;
        if (bracket && p < end) p++;
    }
    return true;
}

static bool format_text(struct run *r, struct format_state *st, struct ig_slice text);

static bool put_field(struct run *r, struct format_state *st, struct ig_slice field)
{
    const char *p = field.ptr, *end = p + field.len;
    while (p < end && *p != '!' && *p != ':')
        p += *p == '[' && memchr(p, ']', (size_t)(end - p))
                 ? (const char *)memchr(p, ']', (size_t)(end - p)) - p
                 : 1;
    struct value v, spec = chat__literal("");
    if (!find_field(r, st, ig_slice_make(field.ptr, (size_t)(p - field.ptr)), &v)) return false;
    if (p < end && *p == '!') {
        char how = p + 1 < end ? p[1] : 0;
        if (how != 's' && how != 'r') return chat__fail(r, "format: only !s and !r are supported");
        if (!(how == 's' ? chat__to_str(r, v, &v) : chat__to_repr(r, v, &v))) return false;
        p += 2;
    }
    size_t mark = chat__begin(r);
    if (p < end) {
        if (*p != ':') return chat__fail(r, "format: ':' is missing");
        st->depth++;
        bool ok = st->depth < 3 || chat__fail(r, "format: fields are nested too deeply");
        ok = ok && format_text(r, st, ig_slice_make(p + 1, (size_t)(end - p - 1)));
        st->depth--;
        if (!ok || !chat__end(r, mark, &spec)) return false;
    }
    bool safe = v.kind == V_STR && v.flags & STR_MARKUP;
    if (!put_formatted(r, v, chat__text(spec))) return false;
    if (!st->markup || safe) return true;
    if (!chat__end(r, mark, &v) || !chat__escape(r, v, &v)) return false;
    return chat__put_str(r, v);
}

/* NOLINTNEXTLINE(misc-no-recursion): put_field caps the depth */
static bool format_text(struct run *r, struct format_state *st, struct ig_slice text)
{
    const char *p = text.ptr, *end = p + text.len;
    while (p < end) {
        char c = *p++;
        bool brace = c == '{' || c == '}';
        if (!brace || (p < end && *p == c && st->depth == 0)) {
            ig_buf_char(&r->out, c);
            p += brace;
            continue;
        }
        if (c == '}') return chat__fail(r, "format: a '}' stands alone");
        const char *field = p;
        for (int depth = 1; p < end; p++) {
            depth += *p == '{' ? 1 : *p == '}' ? -1 : 0;
            if (depth == 0) break;
        }
        if (p == end) return chat__fail(r, "format: a '{' is never closed");
        if (!put_field(r, st, ig_slice_make(field, (size_t)(p - field)))) return false;
        p++;
    }
    return true;
}

bool chat__format(struct run *r, struct value format, const struct call *call, struct value *out)
{
    struct format_state st = {.call = call, .markup = format.flags & STR_MARKUP};
    size_t mark = chat__begin(r);
    if (!chat__charge(r, format.len) || !format_text(r, &st, chat__text(format))) return false;
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, st.markup);
    return true;
}
