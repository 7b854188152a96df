/* SPDX-License-Identifier: Apache-2.0
 * jinja_filters — the filters on one value: texts, numbers, JSON. Those on sequences are in
 * jinja_filters_seq.c. A new filter is one row of a table. Semantics: jinja2 3.1.6 filters.py
 * without autoescape, tojson as transformers 5 replaces it. */
#include "chat/chat_internal.h"
#include "text/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* soft_str: the text of a value; undefined is empty. */
static bool self_text(struct run *r, const struct in *in, struct value *out)
{
    return chat__to_str(r, in->self, out);
}

static bool recase(struct run *r, const struct in *in, enum casing casing, struct value *out)
{
    struct value text;
    return self_text(r, in, &text) && chat__recase(r, text, casing, out);
}
static bool filter_upper(struct run *r, const struct in *in, struct value *out)
{
    return recase(r, in, CASE_UPPER, out);
}
static bool filter_lower(struct run *r, const struct in *in, struct value *out)
{
    return recase(r, in, CASE_LOWER, out);
}
static bool filter_capitalize(struct run *r, const struct in *in, struct value *out)
{
    return recase(r, in, CASE_CAPITAL, out);
}

static bool starts_word(const char *p, const char *end)
{
    return strchr("-({[<", *p) != NULL || chat__space(p, end) > 0;
}

/* Words begin after "-", white space and opening brackets only: "they're" stays one word. */
static bool filter_title(struct run *r, const struct in *in, struct value *out)
{
    struct value text, part;
    if (!self_text(r, in, &text)) return false;
    const char *p = text.ptr, *end = p + text.len;
    size_t mark = chat__begin(r);
    while (p < end) {
        const char *word = p;
        int length = 1;
        for (; p < end && *p && starts_word(p, end); p += length)
            (void)ig_utf8_next(p, end, &length);
        ig_buf_append(&r->out, word, (size_t)(p - word));
        for (word = p; p < end && !(*p && starts_word(p, end)); p += length)
            (void)ig_utf8_next(p, end, &length);
        if (word == p) continue;
        (void)ig_utf8_next(word, end, &length);
        part = chat__str(ig_slice_make(word, (size_t)length));
        if (!chat__recase(r, part, CASE_UPPER, &part)) return false;
        ig_buf_slice(&r->out, chat__text(part));
        part = chat__str(ig_slice_make(word + length, (size_t)(p - word - length)));
        if (!chat__recase(r, part, CASE_LOWER, &part)) return false;
        ig_buf_slice(&r->out, chat__text(part));
    }
    return chat__end(r, mark, out);
}

static bool filter_trim(struct run *r, const struct in *in, struct value *out)
{
    struct value text, chars = in->arg[0];
    if (!self_text(r, in, &text)) return false;
    bool some = chat__given(chars) && chars.kind != V_NONE;
    if (some && chars.kind != V_STR) return chat__fail(r, "trim: the characters must be a text");
    if (!chat__charge_strip(r, text, some ? &chars : NULL)) return false;
    *out = chat__strip(text, some ? &chars : NULL, SIDE_BOTH);
    return true;
}

static bool filter_replace(struct run *r, const struct in *in, struct value *out)
{
    struct value text, old, fresh;
    int64_t count = -1;
    if (!self_text(r, in, &text) || !chat__to_str(r, in->arg[0], &old) ||
        !chat__to_str(r, in->arg[1], &fresh))
        return false;
    if (chat__given(in->arg[2]) && in->arg[2].kind != V_NONE && !chat__as_int(in->arg[2], &count))
        return chat__fail(r, "replace: the count must be a whole number");
    text = chat__markup(text, false);
    return chat__replace(r, text, chat__text(old), chat__text(fresh), count, out);
}

static bool filter_center(struct run *r, const struct in *in, struct value *out)
{
    struct value text;
    int64_t width = 80;
    if (!self_text(r, in, &text)) return false;
    if (chat__given(in->arg[0]) && !chat__as_int(in->arg[0], &width))
        return chat__fail(r, "center: the width must be a whole number");
    return chat__pad(r, text, width, SIDE_BOTH, ig_slice_of(" "), out);
}

static bool filter_indent(struct run *r, const struct in *in, struct value *out)
{
    struct value width = in->arg[0], lines, text = in->self;
    int64_t spaces = 4;
    bool first = chat__truth(in->arg[1]), blank = chat__truth(in->arg[2]);
    if (text.kind == V_UNDEFINED) return chat__fail_undefined(r, text);
    if (text.kind != V_STR)
        return chat__fail(r, "indent needs a text, not '%s'", chat__type_name(text));
    if (chat__given(width) && width.kind != V_STR && !chat__as_int(width, &spaces))
        return chat__fail(r, "indent: the width must be a whole number or a text");
    if (width.kind != V_STR &&
        !chat__pad(r, chat__literal(""), spaces, SIDE_LEFT, ig_slice_of(" "), &width))
        return false;
    /* jinja2 adds a newline first, so that a newline at the end gives one more line */
    struct value newline = chat__literal("\n");
    if (!chat__concat(r, chat__text(text), chat__text(newline), text.flags, &text) ||
        !chat__split_lines(r, text, false, &lines))
        return false;
    size_t mark = chat__begin(r);
    for (size_t i = 0; i < lines.seq->count; i++) {
        struct value line = lines.seq->items[i];
        if (i) ig_buf_char(&r->out, '\n');
        if (i ? blank || line.len : first) ig_buf_slice(&r->out, chat__text(width));
        ig_buf_slice(&r->out, chat__text(line));
    }
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, text.flags & STR_MARKUP);
    return true;
}

static bool filter_truncate(struct run *r, const struct in *in, struct value *out)
{
    int64_t length = 255, leeway = 5;
    size_t count;
    bool kill = chat__truth(in->arg[1]);
    struct value end = chat__given(in->arg[2]) ? in->arg[2] : chat__literal("..."), text = in->self;
    if (chat__given(in->arg[0]) && !chat__as_int(in->arg[0], &length))
        return chat__fail(r, "truncate: the length must be a whole number");
    if (chat__given(in->arg[3]) && in->arg[3].kind != V_NONE && !chat__as_int(in->arg[3], &leeway))
        return chat__fail(r, "truncate: the leeway must be a whole number");
    if (!chat__length(r, text, &count)) return false;
    int64_t tail = end.kind == V_STR ? (int64_t)chat__count(end) : 0;
    if (length < tail || leeway < 0) return chat__fail(r, "truncate: the length is too small");
    *out = text;
    if ((int64_t)count <= length || (int64_t)count - length <= leeway) return true;
    if (text.kind != V_STR || end.kind != V_STR) return chat__fail(r, "truncate needs a text");
    struct ig_slice kept = {text.ptr, chat__offset(text, (size_t)(length - tail))};
    for (size_t i = kept.len; !kill && i > 0; i--) {
        if (kept.ptr[i - 1] != ' ') continue;
        kept.len = i - 1;
        break;
    }
    return chat__concat(r, kept, chat__text(end), text.flags & end.flags & STR_ASCII, out);
}

static bool filter_wordcount(struct run *r, const struct in *in, struct value *out)
{
    struct value text;
    int64_t count = 0;
    bool inside = false;
    if (!self_text(r, in, &text)) return false;
    const char *p = text.ptr, *end = p + text.len;
    for (int length; p < end; p += length) {
        uint32_t code = ig_utf8_next(p, end, &length);
        bool word = code == '_' || chat__char_is(code, CHAR_ALNUM);
        count += word && !inside;
        inside = word;
    }
    *out = chat__int(count);
    return chat__charge(r, text.len);
}

/* ---- markup ---- */

static bool filter_safe(struct run *r, const struct in *in, struct value *out)
{
    if (!self_text(r, in, out)) return false;
    *out = chat__markup(*out, true);
    return true;
}
static bool filter_escape(struct run *r, const struct in *in, struct value *out)
{
    return chat__escape(r, in->self, out);
}
static bool filter_forceescape(struct run *r, const struct in *in, struct value *out)
{
    struct value text;
    return self_text(r, in, &text) && chat__escape(r, chat__markup(text, false), out);
}

static const char *after_tag(const char *p, const char *end)
{
    bool comment = end - p >= 4 && memcmp(p, "<!--", 4) == 0;
    struct ig_slice rest = ig_slice_make(p, (size_t)(end - p));
    const char *close = ig_slice_find(rest, ig_slice_of(comment ? "-->" : ">"));
    return close ? close + (comment ? 3 : 1) : NULL;
}

static bool filter_striptags(struct run *r, const struct in *in, struct value *out)
{
    static const struct {
        const char *entity, *text;
    } rows[] = {{"&lt;", "<"},  {"&gt;", ">"},          {"&#34;", "\""}, {"&quot;", "\""},
                {"&#39;", "'"}, {"&nbsp;", "\xC2\xA0"}, {"&amp;", "&"}};
    struct value text, words;
    if (!self_text(r, in, &text)) return false;
    const char *p = text.ptr, *end = p + text.len, *next;
    size_t mark = chat__begin(r);
    for (const char *tag; (tag = memchr(p, '<', (size_t)(end - p))); p = next) {
        if (!(next = after_tag(tag, end))) break;
        ig_buf_append(&r->out, p, (size_t)(tag - p));
    }
    ig_buf_append(&r->out, p, (size_t)(end - p));
    if (!chat__end(r, mark, &text) || !chat__split(r, text, NULL, -1, false, &words)) return false;
    for (size_t i = 0; i < words.seq->count; i++) {
        if (i) ig_buf_char(&r->out, ' ');
        ig_buf_slice(&r->out, chat__text(words.seq->items[i]));
    }
    if (!chat__end(r, mark, out)) return false;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!chat__replace(r, *out, ig_slice_of(rows[i].entity), ig_slice_of(rows[i].text), -1,
                           out))
            return false;
    return true;
}

static bool filter_xmlattr(struct run *r, const struct in *in, struct value *out)
{
    struct value text;
    if (in->self.kind != V_DICT) return chat__fail(r, "xmlattr needs a dict");
    size_t mark = chat__begin(r);
    bool space = !chat__given(in->arg[0]) || chat__truth(in->arg[0]), any = false;
    for (uint32_t i = 0; i < in->self.dict->count; i++) {
        const struct pair *pair = &in->self.dict->pairs[i];
        if (pair->value.kind == V_NONE || pair->value.kind == V_UNDEFINED) continue;
        if (pair->key.kind != V_STR) return chat__fail(r, "xmlattr: a key is no text");
        for (size_t k = 0; k < pair->key.len; k++)
            if (strchr(" \t\n\r\f\v/>=", pair->key.ptr[k]))
                return chat__fail(r, "xmlattr: a key has a character that is not allowed");
        if (any || space) ig_buf_char(&r->out, ' ');
        any = true;
        if (!chat__escape(r, pair->key, &text)) return false;
        ig_buf_slice(&r->out, chat__text(text));
        if (!chat__escape(r, pair->value, &text)) return false;
        ig_buf_text(&r->out, "=\"");
        ig_buf_slice(&r->out, chat__text(text));
        ig_buf_char(&r->out, '"');
    }
    return chat__end(r, mark, out);
}

static bool put_url(struct run *r, struct value v, bool query)
{
    struct value text;
    if (!chat__to_str(r, v, &text)) return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("_.-~", c)) || (c == '/' && !query);
        if (plain)
            ig_buf_char(&r->out, (char)c);
        else if (c == ' ' && query)
            ig_buf_char(&r->out, '+');
        else
            ig_buf_printf(&r->out, "%%%02X", c);
    }
    return chat__charge(r, text.len);
}

static bool filter_urlencode(struct run *r, const struct in *in, struct value *out)
{
    struct value self = in->self;
    struct seq *items;
    size_t mark = chat__begin(r);
    bool walk = self.kind == V_DICT || (self.kind >= V_LIST && self.kind <= V_VIEW);
    if (!walk) return put_url(r, self, false) && chat__end(r, mark, out);
    if (self.kind == V_DICT)
        self = (struct value){.kind = V_VIEW, .flags = VIEW_ITEMS, .dict = self.dict};
    if (!chat__iterate(r, self, &items)) return false;
    for (size_t i = 0; i < items->count; i++) {
        struct seq *pair;
        mark = i ? mark : chat__begin(r);
        if (i) ig_buf_char(&r->out, '&');
        if (!chat__iterate(r, items->items[i], &pair)) return false;
        if (pair->count != 2) return chat__fail(r, "urlencode needs pairs");
        if (!put_url(r, pair->items[0], true)) return false;
        ig_buf_char(&r->out, '=');
        if (!put_url(r, pair->items[1], true)) return false;
    }
    return chat__end(r, mark, out);
}

/* ---- numbers ---- */

static bool filter_abs(struct run *r, const struct in *in, struct value *out)
{
    bool negative;
    *out = in->self;
    if (in->self.kind == V_UNDEFINED) return chat__fail_undefined(r, in->self);
    if (!chat__is_number(in->self)) return chat__fail(r, "abs needs a number");
    if (in->self.kind == V_REAL) {
        *out = chat__real(fabs(in->self.real));
        return true;
    }
    if (in->self.kind == V_BOOL) *out = chat__int(in->self.integer);
    return chat__compare(r, T_LT, *out, chat__int(0), &negative) &&
           (!negative || chat__negate(r, *out, out));
}

static struct ig_slice number_text(struct value v)
{
    struct value text = chat__strip(v, NULL, SIDE_BOTH);
    return chat__text(text);
}

/* int(text, base), with Python's prefixes. False: no such number. */
static bool read_int(struct ig_slice text, int base, struct value *out)
{
    char buffer[80], *end;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool gap = text.ptr[i] == '_' && i > 0 && i + 1 < text.len;
        if (n + 1 >= sizeof buffer || !text.ptr[i]) return false;
        if (!gap) buffer[n++] = text.ptr[i];
    }
    buffer[n] = '\0';
    char *p = buffer;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    char prefix = p[0] == '0' ? (char)(p[1] | 0x20) : 0;
    int own = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 0;
    if (own && (base == own || base == 0)) {
        p += 2;
        base = own;
    }
    if (base == 0) base = 10;
    if (!*p || *p == '-' || *p == '+' || *p == ' ') return false;
    errno = 0;
    long long whole = strtoll(p, &end, base);
    if (*end || errno) return false;
    *out = chat__int(negative ? -whole : whole);
    return true;
}

/* float(text). False: no such number. */
static bool read_real(struct ig_slice text, double *out)
{
    char buffer[80], *end;
    if (!text.len || text.len >= sizeof buffer) return false;
    memcpy(buffer, text.ptr, text.len);
    buffer[text.len] = '\0';
    if (strpbrk(buffer, "xXpP(")) return false; /* C's own forms */
    *out = strtod(buffer, &end);
    return end == buffer + text.len;
}

static bool filter_int(struct run *r, const struct in *in, struct value *out)
{
    struct value self = in->self;
    int64_t base = 10;
    double real;
    *out = chat__given(in->arg[0]) ? in->arg[0] : chat__int(0);
    bool based = self.kind == V_STR && chat__given(in->arg[1]);
    if (based && !chat__as_int(in->arg[1], &base))
        return chat__fail(r, "int: the base must be a whole number");
    if (based && base != 0 && (base < 2 || base > 36))
        return chat__fail(r, "int: the base must be 2 to 36");
    if (self.kind == V_UNDEFINED) return chat__fail_undefined(r, self);
    if (self.kind == V_INT || self.kind == V_BIG || self.kind == V_BOOL) {
        *out = self.kind == V_BOOL ? chat__int(self.integer) : self;
        return true;
    }
    if (self.kind == V_STR && read_int(number_text(self), (int)base, out)) return true;
    if (self.kind == V_STR ? !read_real(number_text(self), &real) : !chat__as_real(self, &real))
        return true;
    if (!isfinite(real)) return true;
    return chat__truncate(r, real, out);
}

static bool filter_float(struct run *r, const struct in *in, struct value *out)
{
    double real;
    *out = chat__given(in->arg[0]) ? in->arg[0] : chat__real(0);
    if (in->self.kind == V_UNDEFINED) return chat__fail_undefined(r, in->self);
    bool ok = in->self.kind == V_STR ? read_real(number_text(in->self), &real)
                                     : chat__as_real(in->self, &real);
    if (ok) *out = chat__real(real);
    return true;
}

/* Python's round(): correctly rounded on the decimal value, ties to even. */
static double round_places(double x, int64_t places)
{
    char text[400];
    if (!isfinite(x) || places > 300) return x;
    if (places < 0) {
        double unit = pow(10, (double)-places);
        return isfinite(unit) ? nearbyint(x / unit) * unit : 0;
    }
    snprintf(text, sizeof text, "%.*f", (int)places, x); /* printf rounds the exact value */
    return strtod(text, NULL);
}

static bool filter_round(struct run *r, const struct in *in, struct value *out)
{
    double x;
    int64_t places = 0;
    struct ig_slice method =
        chat__given(in->arg[1]) ? chat__text(in->arg[1]) : ig_slice_of("common");
    if (chat__given(in->arg[1]) && in->arg[1].kind != V_STR) method = ig_slice_of("");
    if (in->self.kind == V_UNDEFINED) return chat__fail_undefined(r, in->self);
    if (!chat__as_real(in->self, &x)) return chat__fail(r, "round needs a number");
    if (chat__given(in->arg[0]) && !chat__as_int(in->arg[0], &places))
        return chat__fail(r, "round: the precision must be a whole number");
    if (ig_slice_is(method, "common")) {
        bool whole = in->self.kind != V_REAL;
        if (whole && places < 0) return chat__round_whole(r, in->self, places, out);
        *out = whole ? in->self : chat__real(round_places(x, places));
        if (out->kind == V_BOOL) *out = chat__int(out->integer);
        return true;
    }
    double unit = pow(10, (double)places);
    if (ig_slice_is(method, "ceil"))
        *out = chat__real(ceil(x * unit) / unit);
    else if (ig_slice_is(method, "floor"))
        *out = chat__real(floor(x * unit) / unit);
    else
        return chat__fail(r, "round: the method must be 'common', 'ceil' or 'floor'");
    return true;
}

static bool filter_filesizeformat(struct run *r, const struct in *in, struct value *out)
{
    double bytes, base = chat__truth(in->arg[0]) ? 1024 : 1000;
    bool ok = in->self.kind == V_STR ? read_real(number_text(in->self), &bytes)
                                     : chat__as_real(in->self, &bytes);
    if (!ok || !isfinite(bytes)) return chat__fail(r, "filesizeformat needs a number");
    size_t mark = chat__begin(r);
    if (bytes == 1) {
        ig_buf_text(&r->out, "1 Byte");
    } else if (bytes < base) {
        ig_buf_printf(&r->out, "%.0f Bytes", trunc(bytes) + 0.0); /* + 0.0: no "-0" */
    } else {
        double unit = base * base;
        int at = 0;
        for (; at < 7 && bytes >= unit; at++)
            unit *= base;
        ig_buf_printf(&r->out, "%.1f %c%sB", base * bytes / unit,
                      (base > 1000 ? "KMGTPEZY" : "kMGTPEZY")[at], base > 1000 ? "i" : "");
    }
    return chat__end(r, mark, out);
}

/* ---- anything ---- */

static bool filter_default(struct run *r, const struct in *in, struct value *out)
{
    bool absent =
        in->self.kind == V_UNDEFINED || (chat__truth(in->arg[1]) && !chat__truth(in->self));
    struct value other = chat__given(in->arg[0]) ? in->arg[0] : chat__literal("");
    *out = absent ? other : in->self;
    return chat__charge(r, 0);
}

static bool filter_string(struct run *r, const struct in *in, struct value *out)
{
    return self_text(r, in, out);
}

static bool filter_length(struct run *r, const struct in *in, struct value *out)
{
    size_t n;
    if (!chat__length(r, in->self, &n)) return false;
    *out = chat__int((int64_t)n);
    return true;
}

static bool filter_attr(struct run *r, const struct in *in, struct value *out)
{
    struct value name;
    if (!chat__to_str(r, in->arg[0], &name)) return false;
    if (in->self.kind == V_DICT) { /* attributes only: a dict's keys are none */
        struct value empty;
        return chat__new_dict(r, &empty) && chat__attr(r, empty, chat__text(name), out);
    }
    return chat__attr(r, in->self, chat__text(name), out);
}

static bool filter_format(struct run *r, const struct in *in, struct value *out)
{
    struct value text, args;
    const struct call *call = in->call;
    if (call->count && call->named_count)
        return chat__fail(r, "format takes values by place or by name, not both");
    if (!self_text(r, in, &text)) return false;
    if (call->named_count) {
        if (!chat__new_dict(r, &args)) return false;
        for (uint32_t i = 0; i < call->named_count; i++)
            if (!chat__put(r, args.dict, chat__str(call->named[i].name), call->named[i].value))
                return false;
        return chat__printf(r, text, args, out);
    }
    if (!chat__new_seq(r, V_TUPLE, call->count, &args)) return false;
    for (uint32_t i = 0; i < call->count; i++)
        args.seq->items[args.seq->count++] = call->list[i];
    return chat__printf(r, text, args, out);
}

/* json.dumps(x, ensure_ascii, indent, separators, sort_keys) */
static bool filter_tojson(struct run *r, const struct in *in, struct value *out)
{
    struct value indent = in->arg[1], separators = in->arg[2];
    int64_t spaces;
    struct json_style style = {.ensure_ascii = chat__truth(in->arg[0]),
                               .sort_keys = chat__truth(in->arg[3]),
                               .comma = ig_slice_of(", "),
                               .colon = ig_slice_of(": ")};
    if (chat__given(indent) && indent.kind != V_NONE) {
        if (chat__as_int(indent, &spaces)) {
            if (!chat__pad(r, chat__literal(""), spaces, SIDE_LEFT, ig_slice_of(" "), &indent))
                return false;
        } else if (indent.kind != V_STR) {
            return chat__fail(r, "tojson: the indent must be a whole number or a text");
        }
        style.has_indent = true;
        style.indent = chat__text(indent);
        style.comma = ig_slice_of(",");
    }
    if (chat__given(separators) && separators.kind != V_NONE) {
        struct seq *pair;
        if (!chat__iterate(r, separators, &pair)) return false;
        if (pair->count != 2 || pair->items[0].kind != V_STR || pair->items[1].kind != V_STR)
            return chat__fail(r, "tojson: separators must be two texts");
        style.comma = chat__text(pair->items[0]);
        style.colon = chat__text(pair->items[1]);
    }
    size_t mark = chat__begin(r);
    return chat__put_json(r, in->self, &style, 0) && chat__end(r, mark, out);
}

// clang-format off
const struct builtin chat__filters[] = {
    {"tojson", filter_tojson, 0, {"ensure_ascii", "indent", "separators", "sort_keys"}},
    {"trim", filter_trim, 0, {"chars"}},
    {"length", filter_length, 0, {0}},
    {"count", filter_length, 0, {0}},
    {"string", filter_string, 0, {0}},
    {"default", filter_default, 0, {"default_value", "boolean"}},
    {"d", filter_default, 0, {"default_value", "boolean"}},
    {"upper", filter_upper, 0, {0}},
    {"lower", filter_lower, 0, {0}},
    {"capitalize", filter_capitalize, 0, {0}},
    {"title", filter_title, 0, {0}},
    {"replace", filter_replace, 2, {"old", "new", "count"}},
    {"indent", filter_indent, 0, {"width", "first", "blank"}},
    {"center", filter_center, 0, {"width"}},
    {"truncate", filter_truncate, 0, {"length", "killwords", "end", "leeway"}},
    {"wordcount", filter_wordcount, 0, {0}},
    {"format", filter_format, CHAT_VARIADIC, {0}},
    {"safe", filter_safe, 0, {0}},
    {"e", filter_escape, 0, {0}},
    {"escape", filter_escape, 0, {0}},
    {"forceescape", filter_forceescape, 0, {0}},
    {"striptags", filter_striptags, 0, {0}},
    {"xmlattr", filter_xmlattr, 0, {"autospace"}},
    {"urlencode", filter_urlencode, 0, {0}},
    {"abs", filter_abs, 0, {0}},
    {"int", filter_int, 0, {"default", "base"}},
    {"float", filter_float, 0, {"default"}},
    {"round", filter_round, 0, {"precision", "method"}},
    {"filesizeformat", filter_filesizeformat, 0, {"binary"}},
    {"attr", filter_attr, 1, {"name"}},
    /* known, and refused by name: random is not repeatable, the others are for web pages */
    {"random", NULL, 0, {0}},
    {"pprint", NULL, 0, {0}},
    {"urlize", NULL, 0, {0}},
    {"wordwrap", NULL, 0, {0}},
    {0},
};
// clang-format on

const struct builtin *chat__find_filter(struct ig_slice name)
{
    const struct builtin *row = chat__find_row(chat__filters, name);
    return row ? row : chat__find_row(chat__seq_filters, name);
}
