/* SPDX-License-Identifier: Apache-2.0
 * jinja_lex — a template's source to tokens, with jinja2's white-space rules as transformers sets
 * them: trim_blocks (one newline after a block or comment tag goes) and lstrip_blocks (blanks
 * before such a tag at the start of a line go). Source: jinja2 3.1.6 lexer.py. */
#include "base/size.h"
#include "chat/chat_internal.h"
#include "text/utf8.h"

#include <stdarg.h>
#include <stdio.h>

#define OPEN_MAX CHAT_PARSE_DEPTH_MAX /* brackets within brackets */

struct lexer {
    struct ig_template *tmpl;
    struct lexed *out;
    struct ig_err *err;
    const char *start, *p, *end;
    bool line_starting; /* the text to come starts a line */
    char open[OPEN_MAX];
    int open_count;
};

bool chat__fail_at(const struct ig_template *tmpl, uint32_t at, struct ig_err *err,
                   const char *format, ...)
{
    char text[IG_ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    unsigned line = 1, column = 1;
    for (uint32_t i = 0; i < at && i < tmpl->source.len; i++) {
        unsigned char c = (unsigned char)tmpl->source.ptr[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xC0) != 0x80) {
            column++;
        }
    }
    return ig_err_set(err, IG_ERR_DATA, "%stemplate, line %u, column %u: %s",
                      tmpl->strict ? "" : "chat ", line, column, text);
}

int chat__space(const char *p, const char *end)
{
    if (p >= end) return 0;
    unsigned char c = (unsigned char)*p;
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
    int length;
    uint32_t code = ig_utf8_next(p, end, &length);
    bool space = code == 0x85 || code == 0xA0 || code == 0x1680 ||
                 (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
                 code == 0x202F || code == 0x205F || code == 0x3000;
    return space ? length : 0;
}

static bool fail(struct lexer *x, const char *at, const char *message)
{
    return chat__fail_at(x->tmpl, (uint32_t)(at - x->start), x->err, "%s", message);
}

static bool push(struct lexer *x, enum token_kind kind, const char *at, struct ig_slice text)
{
    struct lexed *out = x->out;
    if (out->count == out->cap) {
        uint32_t cap = out->cap ? out->cap * 2 : 256;
        struct token *items = ig_arena_array(&x->tmpl->arena, cap, sizeof *items);
        if (!items) return ig_err_nomem(x->err);
        if (out->count) memcpy(items, out->items, out->count * sizeof *items);
        out->items = items;
        out->cap = cap;
    }
    out->items[out->count++] = (struct token){kind, (uint32_t)(at - x->start), text};
    return true;
}

static void skip_space(struct lexer *x)
{
    int n;
    while ((n = chat__space(x->p, x->end)) > 0)
        x->p += n;
}

static bool at_text(const struct lexer *x, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(x->end - x->p) >= n && memcmp(x->p, text, n) == 0;
}

/* Cuts white space off the end of the text before a tag: all of it for '-', and the blanks of the
 * tag's own line for a block or comment without '+'. */
static struct ig_slice trim_before(const struct lexer *x, const char *text, const char *tag,
                                   char sign, bool lstrip)
{
    const char *end = tag, *line = tag;
    if (sign == '-') {
        const char *kept = text;
        for (const char *p = text; p < tag;) {
            int n = chat__space(p, tag), length = n;
            if (!n) (void)ig_utf8_next(p, tag, &length);
            p += length;
            if (!n) kept = p;
        }
        end = kept;
    } else if (sign != '+' && lstrip && !x->tmpl->strict) {
        while (line > text && line[-1] != '\n')
            line--;
        const char *p = line;
        for (int n; (n = chat__space(p, tag)) > 0;)
            p += n;
        if (p == tag && (line > text || x->line_starting)) end = line;
    }
    return ig_slice_make(text, (size_t)(end - text));
}

static char sign_at(const char *p, const char *end)
{
    return p < end && (*p == '-' || *p == '+') ? *p : 0;
}

/* After a tag's end at p: '-' eats all white space, a block's plain end one newline. */
static void end_tag(struct lexer *x, bool dash, bool plus, bool trims)
{
    if (dash)
        skip_space(x);
    else if (!plus && trims && !x->tmpl->strict && x->p < x->end && *x->p == '\n')
        x->p++;
    x->line_starting = x->p > x->start && x->p[-1] == '\n';
}

static bool lex_comment(struct lexer *x, const char *tag)
{
    const char *close = NULL;
    if (x->p == x->end) return true; /* as jinja2: an empty comment needs no end at the very end */
    for (const char *p = x->p; p + 1 < x->end && !close; p++)
        if (p[0] == '#' && p[1] == '}') close = p;
    if (!close) return fail(x, tag, "this comment is never closed: '#}' is missing");
    char sign = close > x->p ? sign_at(close - 1, close) : 0;
    x->p = close + 2;
    end_tag(x, sign == '-', sign == '+', true);
    return true;
}

/* Matches "%}" with a sign at p; sets *next after it. */
static bool block_end(const char *p, const char *end, char *sign, const char **next)
{
    *sign = sign_at(p, end);
    if (*sign) p++;
    if (end - p < 2 || p[0] != '%' || p[1] != '}') return false;
    *next = p + 2;
    return true;
}

static const char *skip_space_at(const char *p, const char *end)
{
    for (int n; (n = chat__space(p, end)) > 0;)
        p += n;
    return p;
}

/* The whole of "{%- WORD -%}" at p, where word is raw or endraw. */
static bool is_word_tag(const char *p, const char *end, const char *word, char *first, char *last,
                        const char **next)
{
    if (end - p < 2 || p[0] != '{' || p[1] != '%') return false;
    p += 2;
    *first = sign_at(p, end);
    if (*first) p++;
    p = skip_space_at(p, end);
    size_t n = strlen(word);
    if ((size_t)(end - p) < n || memcmp(p, word, n) != 0) return false;
    p = skip_space_at(p + n, end);
    return block_end(p, end, last, next);
}

static bool lex_raw(struct lexer *x, const char *tag)
{
    const char *text = x->p, *next;
    char first, last;
    if (text == x->end) return true; /* as jinja2 */
    for (const char *p = text; p < x->end; p++) {
        if (*p != '{' || !is_word_tag(p, x->end, "endraw", &first, &last, &next)) continue;
        struct ig_slice data = trim_before(x, text, p, first, true);
        if (data.len && !push(x, T_DATA, text, data)) return false;
        x->p = next;
        end_tag(x, last == '-', last == '+', true);
        return true;
    }
    return fail(x, tag, "this raw block is never closed: 'endraw' is missing");
}

/* ---- inside a tag ---- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (c & 0x80);
}
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int digit_value(char c)
{
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

/* (\d+_)*\d+ in a base: the end of it, or p when there is none. */
static const char *digits(const char *p, const char *end, int base)
{
    if (p >= end || digit_value(*p) >= base) return p;
    while (p < end &&
           (digit_value(*p) < base || (*p == '_' && p + 1 < end && digit_value(p[1]) < base)))
        p++;
    return p;
}

/* The number's text without '_'. */
static bool push_number(struct lexer *x, enum token_kind kind, const char *stop)
{
    const char *at = x->p;
    struct ig_slice text = ig_arena_copy(&x->tmpl->arena, ig_slice_make(at, (size_t)(stop - at)));
    char *digit = ig_arena_new(&x->tmpl->arena, text.len + 1);
    if (!text.ptr || !digit) return ig_err_nomem(x->err);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != '_') digit[n++] = text.ptr[i];
    x->p = stop;
    return push(x, kind, at, ig_slice_make(digit, n));
}

static bool lex_number(struct lexer *x)
{
    const char *p = x->p, *end = x->end;
    const char *whole = digits(p, end, 10), *stop = whole;
    bool after_dot = p > x->start && p[-1] == '.';
    if (!after_dot) {
        if (stop < end && *stop == '.' && digits(stop + 1, end, 10) > stop + 1)
            stop = digits(stop + 1, end, 10);
        const char *e = stop;
        if (e < end && (*e == 'e' || *e == 'E')) {
            e++;
            if (e < end && (*e == '+' || *e == '-')) e++;
            if (digits(e, end, 10) > e) stop = digits(e, end, 10);
        }
        if (stop > whole) return push_number(x, T_REAL, stop);
    }
    int base = 10;
    if (*p == '0' && end - p > 2) {
        char c = (char)(p[1] | 0x20);
        base = c == 'x' ? 16 : c == 'b' ? 2 : c == 'o' ? 8 : 10;
    }
    if (base != 10 && digits(p + 2, end, base) > p + 2)
        return push_number(x, T_INTEGER, digits(p + 2, end, base));
    if (*p == '0') { /* 0(_?0)*: what follows is another token */
        stop = p + 1;
        while (stop < end && (*stop == '0' || (*stop == '_' && stop + 1 < end && stop[1] == '0')))
            stop++;
        whole = stop;
    }
    return push_number(x, T_INTEGER, whole);
}

static bool put_code(struct lexer *x, struct ig_buf *text, const char *at, uint32_t code)
{
    char utf8[4];
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return fail(x, at, "this escape is not a Unicode character");
    ig_buf_append(text, utf8, (size_t)ig_utf8_put(code, utf8));
    return true;
}

/* One escape, p at the character after the backslash; Python's unicode-escape rules. */
static bool unescape(struct lexer *x, struct ig_buf *text, const char **place)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char *p = *place, *at = p - 1;
    const char *simple = strchr(from, *p);
    int hex = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
    *place = p + 1;
    if (*p && simple) {
        ig_buf_char(text, to[simple - from]);
    } else if (*p == '\n') {
        return true; /* a line that goes on */
    } else if (hex) {
        uint32_t code = 0;
        for (int i = 1; i <= hex; i++) {
            int digit = p + i < x->end ? digit_value(p[i]) : 99;
            if (digit > 15) return fail(x, at, "this escape lacks hexadecimal digits");
            code = code * 16 + (uint32_t)digit;
        }
        *place = p + 1 + hex;
        return put_code(x, text, at, code);
    } else if (*p >= '0' && *p <= '7') {
        uint32_t code = 0;
        int i = 0;
        for (; i < 3 && p + i < x->end && p[i] >= '0' && p[i] <= '7'; i++)
            code = code * 8 + (uint32_t)(p[i] - '0');
        *place = p + i;
        return put_code(x, text, at, code);
    } else if (*p == 'N') {
        return fail(x, at, "escapes by character name are not supported");
    } else if (*p & 0x80) { /* jinja2 escapes the character first, so that its escape shows */
        int length;
        uint32_t code = ig_utf8_next(p, x->end, &length);
        ig_buf_printf(text,
                      code < 0x100     ? "\\x%02x"
                      : code < 0x10000 ? "\\u%04x"
                                       : "\\U%08x",
                      code);
        *place = p + length;
    } else {
        ig_buf_char(text, '\\');
        ig_buf_char(text, *p);
    }
    return true;
}

static bool lex_string(struct lexer *x)
{
    const char *at = x->p, *p = at + 1;
    bool ok = false;
    struct ig_buf text = {0};
    struct ig_slice copy;
    while (p < x->end && *p != *at) {
        if (*p != '\\') {
            ig_buf_char(&text, *p++);
            continue;
        }
        p++;
        if (p < x->end && !unescape(x, &text, &p)) goto done;
    }
    if (p >= x->end) {
        fail(x, at, "this text is never closed: a quote is missing");
        goto done;
    }
    x->p = p + 1;
    copy = ig_arena_copy(&x->tmpl->arena, ig_buf_view(&text));
    ok = copy.ptr && ig_buf_ok(&text, x->err) ? push(x, T_STRING, at, copy) : ig_err_nomem(x->err);
done:
    ig_buf_release(&text);
    return ok;
}

static bool lex_bracket(struct lexer *x, char c)
{
    if (c == '(' || c == '[' || c == '{') {
        if (x->open_count == OPEN_MAX) return fail(x, x->p, "brackets are nested too deeply");
        x->open[x->open_count++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        return true;
    }
    if (!x->open_count || x->open[x->open_count - 1] != c)
        return chat__fail_at(x->tmpl, (uint32_t)(x->p - x->start), x->err, "unexpected '%c'", c);
    x->open_count--;
    return true;
}

static bool lex_operator(struct lexer *x)
{
    static const struct {
        const char *text;
        enum token_kind kind;
    } rows[] = {
        {"//", T_FLOORDIV}, {"**", T_POW},   {"==", T_EQ},      {"!=", T_NE},
        {">=", T_GE},       {"<=", T_LE},    {"+", T_ADD},      {"-", T_SUB},
        {"*", T_MUL},       {"/", T_DIV},    {"%", T_MOD},      {"~", T_TILDE},
        {">", T_GT},        {"<", T_LT},     {"=", T_ASSIGN},   {".", T_DOT},
        {":", T_COLON},     {",", T_COMMA},  {"|", T_PIPE},     {";", T_SEMICOLON},
        {"(", T_LPAREN},    {")", T_RPAREN}, {"[", T_LBRACKET}, {"]", T_RBRACKET},
        {"{", T_LBRACE},    {"}", T_RBRACE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!at_text(x, rows[i].text)) continue;
        const char *at = x->p;
        if (rows[i].kind >= T_LPAREN && !lex_bracket(x, *at)) return false;
        x->p += strlen(rows[i].text);
        return push(x, rows[i].kind, at, ig_slice_make(at, (size_t)(x->p - at)));
    }
    return chat__fail_at(x->tmpl, (uint32_t)(x->p - x->start), x->err, "unexpected character '%c'",
                         *x->p);
}

/* True, with x->p after it, when the tag ends here. */
static bool lex_tag_end(struct lexer *x, bool block)
{
    char sign;
    const char *next;
    if (x->open_count) return false;
    if (block) {
        if (!block_end(x->p, x->end, &sign, &next)) return false;
    } else {
        sign = at_text(x, "-}}") ? '-' : 0;
        if (!sign && !at_text(x, "}}")) return false;
        next = x->p + (sign ? 3 : 2);
    }
    x->p = next;
    end_tag(x, sign == '-', sign == '+', block);
    return true;
}

static bool lex_inside(struct lexer *x, const char *tag, bool block)
{
    x->open_count = 0;
    for (;;) {
        skip_space(x);
        if (x->p >= x->end)
            return fail(x, tag,
                        block ? "this tag is never closed: '%}' is missing"
                              : "this tag is never closed: '}}' is missing");
        const char *at = x->p;
        if (lex_tag_end(x, block))
            return push(x, block ? T_BLOCK_END : T_PRINT_END, at, ig_slice_of(block ? "%}" : "}}"));
        bool ok;
        if (is_digit(*at)) {
            ok = lex_number(x);
        } else if (is_name_char(*at)) {
            while (x->p < x->end && is_name_char(*x->p))
                x->p++;
            ok = push(x, T_NAME, at, ig_slice_make(at, (size_t)(x->p - at)));
        } else if (*at == '"' || *at == '\'') {
            ok = lex_string(x);
        } else {
            ok = lex_operator(x);
        }
        if (!ok) return false;
    }
}

/* The text up to the next tag, and that tag. */
static bool lex_tag(struct lexer *x)
{
    const char *text = x->p, *tag = text;
    while (tag + 1 < x->end && !(tag[0] == '{' && memchr("{%#", tag[1], 3)))
        tag++;
    if (tag + 1 >= x->end) {
        x->p = x->end;
        return push(x, T_DATA, text, ig_slice_make(text, (size_t)(x->end - text)));
    }
    char sign = sign_at(tag + 2, x->end), last;
    const char *next;
    bool block = tag[1] == '%', raw = is_word_tag(tag, x->end, "raw", &sign, &last, &next);
    struct ig_slice data = trim_before(x, text, tag, sign, tag[1] != '{');
    if (data.len && !push(x, T_DATA, text, data)) return false;
    if (raw && last != '+') {
        x->p = next;
        end_tag(x, last == '-', false, false);
        return lex_raw(x, tag);
    }
    x->p = tag + 2 + (sign_at(tag + 2, x->end) ? 1 : 0);
    if (tag[1] == '#') return lex_comment(x, tag);
    if (!push(x, block ? T_BLOCK_BEGIN : T_PRINT_BEGIN, tag, ig_slice_make(tag, 2))) return false;
    return lex_inside(x, tag, block);
}

bool chat__lex(struct ig_template *tmpl, struct lexed *out, struct ig_err *err)
{
    struct lexer x = {.tmpl = tmpl, .out = out, .err = err, .line_starting = true};
    x.start = x.p = tmpl->source.ptr;
    x.end = x.start + tmpl->source.len;
    while (x.p < x.end)
        if (!lex_tag(&x)) return false;
    return push(&x, T_END, x.end, ig_slice_of(""));
}
