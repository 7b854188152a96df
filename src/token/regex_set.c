/* SPDX-License-Identifier: Apache-2.0
 * regex_set — the parts of a pattern that stand for one character: escapes, classes, [..]. */
#include "text/utf8.h"
#include "token/char_class.h"
#include "token/regex_internal.h"

#include <string.h>

#define LONG_S      0x17Fu /* the two characters beyond ASCII that fold to ASCII letters */
#define KELVIN_SIGN 0x212Au

bool regex__refuse(const struct regex_parser *s, const char *what)
{
    return ig_err_set(s->err, IG_ERR_UNSUPPORTED, "regex, byte %zu: %s", (size_t)(s->p - s->start),
                      what);
}

bool regex__at(const struct regex_parser *s, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(s->end - s->p) >= n && memcmp(s->p, text, n) == 0;
}

bool regex__take(struct regex_parser *s, const char *text)
{
    if (!regex__at(s, text)) return false;
    s->p += strlen(text);
    return true;
}

/* ---- sets */

static bool add_item(struct regex_parser *s, struct regex_item item)
{
    if (s->regex->item_count == REGEX_ITEMS_MAX) return regex__refuse(s, "too many ranges");
    s->regex->items[s->regex->item_count++] = item;
    return true;
}

static bool add_range(struct regex_parser *s, uint32_t low, uint32_t high)
{
    if (!add_item(s, (struct regex_item){low, high, false})) return false;
    if (!s->fold) return true;
    if (high >= 0x80 && low != high) return regex__refuse(s, "(?i) of a range beyond ASCII");
    if (high >= 0x80 && token__class_of(low) & (CLASS_LU | CLASS_LL | CLASS_LT))
        return regex__refuse(s, "(?i) of a letter beyond ASCII");
    for (uint32_t c = low; c <= high && c < 0x80; c++) {
        uint32_t lower = c | 0x20;
        if (lower < 'a' || lower > 'z') continue;
        if (!add_item(s, (struct regex_item){c ^ 0x20, c ^ 0x20, false})) return false;
        uint32_t other = lower == 's' ? LONG_S : lower == 'k' ? KELVIN_SIGN : 0;
        if (other && !add_item(s, (struct regex_item){other, other, false})) return false;
    }
    return true;
}

static bool add_class(struct regex_parser *s, uint32_t bits, bool complement)
{
    return add_item(s, (struct regex_item){bits, complement, true});
}

/* Opens a set whose items are added next; close_set works it out. */
static bool open_set(struct regex_parser *s, uint16_t *out)
{
    struct token__regex *r = s->regex;
    if (r->set_count == REGEX_SETS_MAX) return regex__refuse(s, "too many sets");
    *out = (uint16_t)r->set_count++;
    r->sets[*out] = (struct regex_set){.first = r->item_count};
    return true;
}

static void close_set(struct regex_parser *s, uint16_t set)
{
    struct regex_set *made = &s->regex->sets[set];
    for (uint32_t c = 0; c < 128; c++)
        if (token__regex_has(s->regex, set, c | 0x80000000u))
            made->ascii[c / 64] |= (uint64_t)1 << c % 64;
}

/* \w of the reference's engine lacks the two joiners, which \w of its other engine (CLASS_WORD)
 * has; and outside of brackets it has the superscripts and fractions of Latin-1, too. */
static const uint32_t odd_words[][2] = {{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}};

static uint32_t class_of(uint32_t code)
{
    uint32_t class = token__class_of(code);
    return class & CLASS_CF ? class & ~(uint32_t)CLASS_WORD : class;
}

bool token__regex_is_word(uint32_t code)
{
    for (size_t i = 0; i < sizeof odd_words / sizeof *odd_words; i++)
        if (code >= odd_words[i][0] && code <= odd_words[i][1]) return true;
    return class_of(code) & CLASS_WORD;
}

bool token__regex_has(const struct token__regex *r, uint32_t set, uint32_t code)
{
    const struct regex_set *s = &r->sets[set];
    bool work_out = code & 0x80000000u, in = false;
    code &= 0x7FFFFFFF;
    if (code < 128 && !work_out) return s->ascii[code / 64] >> code % 64 & 1;
    uint32_t class = class_of(code);
    for (uint32_t i = s->first; i < s->first + s->count && !in; i++) {
        const struct regex_item *item = &r->items[i];
        in = item->is_class ? ((class & item->low) != 0) != (item->high != 0)
                            : code >= item->low && code <= item->high;
    }
    return in != s->negated && (!s->also || token__regex_has(r, s->also, code));
}

/* ---- escapes */

static bool hex(struct regex_parser *s, int digits, bool braces, uint32_t *out)
{
    uint32_t value = 0;
    int n = 0;
    for (; n < digits && s->p < s->end; n++, s->p++) {
        char c = *s->p;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                                : 16;
        if (digit == 16) break;
        value = value << 4 | digit;
    }
    if (n == 0 || (!braces && n < digits) || (braces && !regex__take(s, "}")) || value >= 0x110000)
        return regex__refuse(s, "not a code point");
    *out = value;
    return true;
}

/* After the backslash: a character that the escape stands for; false with *is_char false when it is
 * something else. */
bool regex__escaped_char(struct regex_parser *s, uint32_t *out, bool *is_char)
{
    static const char from[] = "rntfvae", to[] = "\r\n\t\f\v\a\033";
    *is_char = true;
    if (s->p == s->end) return regex__refuse(s, "ends in a backslash");
    const char *known = strchr(from, *s->p);
    if (known && *s->p) {
        *out = (unsigned char)to[known - from];
        s->p++;
        return true;
    }
    if (regex__take(s, "x{")) return hex(s, 6, true, out);
    if (regex__take(s, "x")) return hex(s, 2, false, out);
    if (regex__take(s, "u")) return hex(s, 4, false, out);
    char c = *s->p;
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        *is_char = false;
        return true;
    }
    int length;
    *out = ig_utf8_next(s->p, s->end, &length);
    s->p += length;
    return *out != IG_UTF8_INVALID || regex__refuse(s, "not UTF-8");
}

static const struct {
    const char *name;
    uint32_t bits;
} properties[] = {
    {"L", CLASS_L},
    {"Letter", CLASS_L},
    {"Lu", CLASS_LU},
    {"Ll", CLASS_LL},
    {"Lt", CLASS_LT},
    {"Lm", CLASS_LM},
    {"Lo", CLASS_LO},
    {"M", CLASS_M},
    {"Mark", CLASS_M},
    {"Mn", CLASS_MN},
    {"Mc", CLASS_MC},
    {"Me", CLASS_ME},
    {"N", CLASS_N},
    {"Number", CLASS_N},
    {"Nd", CLASS_ND},
    {"Nl", CLASS_NL},
    {"No", CLASS_NO},
    {"P", CLASS_PC | CLASS_PD | CLASS_PS | CLASS_PE | CLASS_PI | CLASS_PF | CLASS_PO},
    {"Punctuation", CLASS_PC | CLASS_PD | CLASS_PS | CLASS_PE | CLASS_PI | CLASS_PF | CLASS_PO},
    {"Pc", CLASS_PC},
    {"Pd", CLASS_PD},
    {"Ps", CLASS_PS},
    {"Pe", CLASS_PE},
    {"Pi", CLASS_PI},
    {"Pf", CLASS_PF},
    {"Po", CLASS_PO},
    {"S", CLASS_SM | CLASS_SC | CLASS_SK | CLASS_SO},
    {"Symbol", CLASS_SM | CLASS_SC | CLASS_SK | CLASS_SO},
    {"Sm", CLASS_SM},
    {"Sc", CLASS_SC},
    {"Sk", CLASS_SK},
    {"So", CLASS_SO},
    {"Z", CLASS_ZS | CLASS_ZL},
    {"Separator", CLASS_ZS | CLASS_ZL},
    {"Zs", CLASS_ZS},
    {"Cc", CLASS_CC},
    {"Cf", CLASS_CF},
    {"C", CLASS_CC | CLASS_CF | CLASS_CN},
};

/* The script Han of Unicode 16.0. */
static const uint32_t han[][2] = {
    {0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},   {0x3005, 0x3005},
    {0x3007, 0x3007},   {0x3021, 0x3029},   {0x3038, 0x303B},   {0x3400, 0x4DBF},
    {0x4E00, 0x9FFF},   {0xF900, 0xFA6D},   {0xFA70, 0xFAD9},   {0x16FE2, 0x16FE3},
    {0x16FF0, 0x16FF1}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B739}, {0x2B740, 0x2B81D},
    {0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0}, {0x2EBF0, 0x2EE5D}, {0x2F800, 0x2FA1D},
    {0x30000, 0x3134A}, {0x31350, 0x323AF},
};

static bool add_han(struct regex_parser *s, bool complement)
{
    uint32_t next = 0;
    for (size_t i = 0; i < sizeof han / sizeof *han; i++) {
        if (!complement && !add_item(s, (struct regex_item){han[i][0], han[i][1], false}))
            return false;
        if (complement && !add_item(s, (struct regex_item){next, han[i][0] - 1, false}))
            return false;
        next = han[i][1] + 1;
    }
    return !complement || add_item(s, (struct regex_item){next, 0x10FFFF, false});
}

static bool property(struct regex_parser *s, bool complement)
{
    const char *close = memchr(s->p, '}', (size_t)(s->end - s->p));
    if (!close) return regex__refuse(s, "\\p{ is never closed");
    if (regex__take(s, "^")) complement = !complement;
    struct ig_slice name = ig_slice_make(s->p, (size_t)(close - s->p));
    bool is_han = ig_slice_is(name, "Han");
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (!ig_slice_is(name, properties[i].name)) continue;
        s->p = close + 1;
        return add_class(s, properties[i].bits, complement);
    }
    if (!is_han)
        return ig_err_set(s->err, IG_ERR_UNSUPPORTED,
                          "regex, byte %zu: unknown property '" IG_SLICE_FMT "'",
                          (size_t)(s->p - s->start), IG_SLICE_ARG(name));
    s->p = close + 1;
    return add_han(s, complement);
}

/* After the backslash, one of \s \S \d \D \w \W \h \p \P; *known is false for any other letter. */
static bool escaped_class(struct regex_parser *s, bool *known)
{
    char c = *s->p;
    *known = true;
    if (regex__take(s, "p{") || regex__take(s, "P{")) return property(s, c == 'P');
    s->p++;
    switch (c) {
    case 's':
    case 'S': return add_class(s, CLASS_SPACE, c == 'S');
    case 'd':
    case 'D': return add_class(s, CLASS_ND, c == 'D');
    case 'w':
    case 'W': return add_class(s, CLASS_WORD, c == 'W');
    case 'h':
        return add_item(s, (struct regex_item){'0', '9', false}) &&
               add_item(s, (struct regex_item){'a', 'f', false}) &&
               add_item(s, (struct regex_item){'A', 'F', false});
    default:
        s->p--;
        *known = false;
        return true;
    }
}

/* ---- [..] */

/* One character inside brackets, or a class (then *is_char is false). */
static bool bracket_char(struct regex_parser *s, uint32_t *out, bool *is_char)
{
    int length;
    bool known;
    *is_char = true;
    if (!regex__take(s, "\\")) {
        *out = ig_utf8_next(s->p, s->end, &length);
        s->p += length;
        return *out != IG_UTF8_INVALID || regex__refuse(s, "not UTF-8");
    }
    if (!regex__escaped_char(s, out, is_char)) return false;
    if (*is_char) return true;
    if (regex__take(s, "b")) {
        *out = '\b';
        *is_char = true;
        return true;
    }
    return escaped_class(s, &known) && (known || regex__refuse(s, "unknown escape"));
}

static bool bracket_item(struct regex_parser *s)
{
    uint32_t low, high;
    bool is_char;
    if (regex__at(s, "[:")) return regex__refuse(s, "[:name:] is not supported");
    if (!bracket_char(s, &low, &is_char)) return false;
    if (!is_char) return true;
    high = low;
    if (regex__at(s, "-") && s->end - s->p > 1 && s->p[1] != ']') {
        s->p++;
        if (!bracket_char(s, &high, &is_char)) return false;
        if (!is_char || high < low) return regex__refuse(s, "not a range");
    }
    return add_range(s, low, high);
}

/* After '['. Sets inside a set are only read after &&: no known pattern joins them. */
// NOLINTNEXTLINE(misc-no-recursion): s->depth
bool regex__bracket(struct regex_parser *s, uint16_t *out)
{
    uint16_t set = 0, also = 0;
    if (++s->depth > REGEX_DEPTH_MAX) return regex__refuse(s, "nested too deeply");
    if (!open_set(s, &set)) return false;
    bool negated = regex__take(s, "^"), first = true;
    for (; s->p < s->end && (first || *s->p != ']'); first = false) {
        if (regex__at(s, "&&")) break;
        if (regex__at(s, "[")) return regex__refuse(s, "a set inside a set");
        if (!bracket_item(s)) return false;
    }
    s->regex->sets[set].count = s->regex->item_count - s->regex->sets[set].first;
    if (regex__take(s, "&&")) {
        if (negated || !regex__take(s, "[")) return regex__refuse(s, "&& of this form");
        if (!regex__bracket(s, &also)) return false;
    }
    if (!regex__take(s, "]")) return regex__refuse(s, "[ is never closed");
    s->regex->sets[set].negated = negated;
    s->regex->sets[set].also = also;
    close_set(s, set);
    s->depth--;
    *out = set;
    return true;
}

/* ---- sets that are not written in brackets */

static void end_set(struct regex_parser *s, uint16_t set)
{
    s->regex->sets[set].count = s->regex->item_count - s->regex->sets[set].first;
    close_set(s, set);
}

bool regex__char_set(struct regex_parser *s, uint32_t code, uint16_t *set)
{
    if (!open_set(s, set) || !add_range(s, code, code)) return false;
    end_set(s, *set);
    return true;
}

bool regex__dot_set(struct regex_parser *s, uint16_t *set)
{
    if (!open_set(s, set) || !add_item(s, (struct regex_item){'\n', '\n', false})) return false;
    s->regex->sets[*set].negated = true;
    end_set(s, *set);
    return true;
}

static bool word_set(struct regex_parser *s, uint16_t set)
{
    s->regex->sets[set].negated = *s->p++ == 'W';
    for (size_t i = 0; i < sizeof odd_words / sizeof *odd_words; i++)
        if (!add_item(s, (struct regex_item){odd_words[i][0], odd_words[i][1], false}))
            return false;
    return add_class(s, CLASS_WORD, false);
}

bool regex__escaped_set(struct regex_parser *s, uint16_t *set, bool *known)
{
    *known = true;
    if (!open_set(s, set)) return false;
    bool word = *s->p == 'w' || *s->p == 'W';
    if (!(word ? word_set(s, *set) : escaped_class(s, known))) return false;
    if (*known) end_set(s, *set);
    return true;
}
