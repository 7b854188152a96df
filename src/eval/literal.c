/* SPDX-License-Identifier: Apache-2.0
 * literal — a list of texts as Python writes one: what the harness's ast.literal_eval makes of
 * doc_to_choice's rendered text.
 *
 *     ['no', "it's"]   ('a', 'b',)   ["caf\u00e9", 'a' 'b']
 * Escapes are Python's; an unknown one keeps its backslash. No prefixes (r'', b''), no numbers. */
#include "eval/eval_internal.h"
#include "text/utf8.h"

struct reader {
    const char *p, *end;
    struct ig_err *err;
};

static bool fail(struct reader *r, const char *what)
{
    return ig_err_set(r->err, IG_ERR_DATA,
                      "%s where '%.*s' stands: not a list of texts as Python "
                      "writes one",
                      what, (int)(r->end - r->p < 24 ? r->end - r->p : 24), r->p);
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end && memchr(" \t\r\n\f", *r->p, 5))
        r->p++;
}

static bool take(struct reader *r, char c)
{
    if (r->p == r->end || *r->p != c) return false;
    r->p++;
    return true;
}

/* Up to digits_max digits of a base; at least digits_min of them. */
static bool code_of(struct reader *r, int base, int digits_min, int digits_max, uint32_t *code)
{
    int n = 0;
    *code = 0;
    for (; n < digits_max && r->p < r->end; n++, r->p++) {
        char c = *r->p;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : 16;
        if (digit >= base) break;
        *code = *code * (uint32_t)base + (uint32_t)digit;
    }
    return n >= digits_min;
}

static bool put_code(struct reader *r, struct ig_buf *out, uint32_t code)
{
    char bytes[4];
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return fail(r, "no character");
    ig_buf_append(out, bytes, (size_t)ig_utf8_put(code, bytes));
    return true;
}

/* What follows a backslash. */
static bool escape(struct reader *r, struct ig_buf *out)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    uint32_t code;
    if (r->p == r->end) return fail(r, "a backslash");
    char c = *r->p;
    const char *known = memchr(from, c, sizeof from - 1);
    if (c >= '0' && c <= '7') return code_of(r, 8, 1, 3, &code) && put_code(r, out, code);
    r->p++;
    if (known) {
        ig_buf_char(out, to[known - from]);
        return true;
    }
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits)
        return (code_of(r, 16, digits, digits, &code) || fail(r, "a short escape")) &&
               put_code(r, out, code);
    if (c == 'N') return fail(r, "a named character");
    if (c == '\n') return true;
    ig_buf_char(out, '\\');
    ig_buf_char(out, c);
    return true;
}

/* One quoted text; three quotes in a row may not start one. */
static bool quoted(struct reader *r, struct ig_buf *out)
{
    char quote = *r->p++;
    if (r->end - r->p >= 2 && r->p[0] == quote && r->p[1] == quote) return fail(r, "three quotes");
    while (r->p < r->end && *r->p != quote) {
        if (*r->p == '\n') return fail(r, "the end of a line");
        char c = *r->p++;
        if (c != '\\')
            ig_buf_char(out, c);
        else if (!escape(r, out))
            return false;
    }
    return take(r, quote) || fail(r, "no closing quote");
}

/* Texts that stand side by side are one. */
static bool text(struct reader *r, struct ig_arena *arena, struct ig_slice *out)
{
    struct ig_buf joined = {0};
    bool ok = r->p < r->end && (*r->p == '\'' || *r->p == '"');
    if (!ok) return fail(r, "no text");
    while (ok && r->p < r->end && (*r->p == '\'' || *r->p == '"')) {
        ok = quoted(r, &joined);
        skip_space(r);
    }
    ok = ok && ig_buf_ok(&joined, r->err);
    if (ok) {
        *out = ig_arena_copy(arena, ig_buf_view(&joined));
        ok = out->ptr || ig_err_nomem(r->err);
    }
    ig_buf_release(&joined);
    return ok;
}

bool eval__literal_texts(struct ig_slice source, struct ig_arena *arena, struct ig_slice *out,
                         int *count, struct ig_err *err)
{
    struct reader r = {source.ptr, source.ptr + source.len, err};
    int n = 0;
    bool comma = false;
    skip_space(&r);
    char close = take(&r, '[') ? ']' : take(&r, '(') ? ')' : 0;
    if (!close) return fail(&r, "no list");
    for (skip_space(&r); !take(&r, close); skip_space(&r)) {
        if (n && !comma) return fail(&r, "no comma");
        if (n == EVAL_CHOICES_MAX)
            return ig_err_set(err, IG_ERR_DATA, "more than %d choices", EVAL_CHOICES_MAX);
        if (!text(&r, arena, &out[n++])) return false;
        skip_space(&r);
        comma = take(&r, ',');
    }
    skip_space(&r);
    if (r.p < r.end) return fail(&r, "more text");
    if (close == ')' && n == 1 && !comma) return fail(&r, "one text in parentheses");
    *count = n;
    return true;
}
