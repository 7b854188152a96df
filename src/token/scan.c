/* SPDX-License-Identifier: Apache-2.0
 * scan — the split patterns of known families, written out by hand: several times faster than a
 * regex engine. A pattern is known by its exact text; all others go to split.c and regex.h.
 *
 * Every alternative of these patterns takes at least one character, and one of them always matches,
 * so the pieces cover the text and `next` gives the end of the piece that starts at p (p < end).
 * Text is valid UTF-8. */
#include "token/char_class.h"
#include "token/token_internal.h"

#define WORDLESS (CLASS_L | CLASS_N | CLASS_SPACE) /* what is none of these is punctuation, say */

static const char *skip_while(const char *p, const char *end, uint32_t mask)
{
    for (int length; p < end && token__class_at(p, &length) & mask; p += length) {
    }
    return p;
}

static const char *skip_until(const char *p, const char *end, uint32_t mask)
{
    for (int length; p < end && !(token__class_at(p, &length) & mask); p += length) {
    }
    return p;
}

/* p is at an apostrophe. The end of 's 't 're 've 'm 'll 'd, or NULL. */
static const char *contraction(const char *p, const char *end, bool any_case)
{
    int fold = any_case ? 0x20 : 0;
    if (end - p < 2) return NULL;
    int first = (unsigned char)p[1] | fold;
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return p + 2;
    if (end - p < 3) return NULL;
    int second = (unsigned char)p[2] | fold;
    if (second == 'e' && (first == 'r' || first == 'v')) return p + 3;
    if (second == 'l' && first == 'l') return p + 3;
    /* U+017F, a long s, is the one character beyond ASCII that folds to one of these letters. */
    return any_case && memcmp(p + 1, "\xC5\xBF", 2) == 0 ? p + 3 : NULL;
}

/* A run of white space starts at p: \s*[\r\n]+ | \s+(?!\S) | \s+ (the first only with newlines). */
static const char *spaces(const char *p, const char *end, bool newlines)
{
    const char *at = p, *last = p, *newline = NULL;
    uint32_t class;
    for (int length; at < end && (class = token__class_at(at, &length)) & CLASS_SPACE;) {
        last = at;
        at += length;
        if (class & CLASS_NEWLINE) newline = at;
    }
    if (newlines && newline) return newline;
    return at == end || last == p ? at : last;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits_max}
 * | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static const char *next_qwen(const struct token__step *step, const char *p, const char *end)
{
    int length, second;
    uint32_t class = token__class_at(p, &length);
    if (class & CLASS_L) return skip_while(p + length, end, CLASS_L);
    if (class & CLASS_N) {
        const char *at = p + length;
        for (int n = 1; n < step->digits_max && at < end; n++, at += second)
            if (!(token__class_at(at, &second) & CLASS_N)) break;
        return at;
    }
    const char *after = p + length;
    uint32_t class_after = after < end ? token__class_at(after, &second) : CLASS_SPACE;
    if (*p == '\'') {
        const char *stop = contraction(p, end, true);
        if (stop) return stop;
    }
    if (class_after & CLASS_L && !(class & CLASS_NEWLINE))
        return skip_while(after + second, end, CLASS_L);
    if (class & CLASS_SPACE) {
        if (*p != ' ' || class_after & WORDLESS) return spaces(p, end, true);
        after += second;
    }
    return skip_while(skip_until(after, end, WORDLESS), end, CLASS_NEWLINE);
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static const char *next_gpt2(const struct token__step *step, const char *p, const char *end)
{
    int length;
    (void)step;
    if (*p == '\'') {
        const char *stop = contraction(p, end, false);
        if (stop) return stop;
    }
    const char *start = p;
    uint32_t class = token__class_at(p, &length);
    if (*p == ' ' && p + 1 < end) {
        start = p + 1;
        class = token__class_at(start, &length);
    }
    if (class & CLASS_SPACE) return spaces(p, end, false);
    if (class & CLASS_L) return skip_while(start + length, end, CLASS_L);
    if (class & CLASS_N) return skip_while(start + length, end, CLASS_N);
    return skip_until(start + length, end, WORDLESS);
}

static const char *next_isolated(const struct token__step *step, const char *p, const char *end)
{
    int length;
    if (!(token__class_at(p, &length) & step->mask)) return skip_until(p, end, step->mask);
    return step->digits_max ? p + length : skip_while(p + length, end, step->mask);
}

/* ---- words split by case: Tekken, o200k */

#define CASE_UPPER (CLASS_LU | CLASS_LT | CLASS_LM | CLASS_LO | CLASS_M)
#define CASE_LOWER (CLASS_LL | CLASS_LM | CLASS_LO | CLASS_M)

/* upper*lower+ at p, or upper+lower*: NULL when it is not there. What both classes have may count
 * as either; so upper*lower+ ends behind the last such character when no lower one follows. */
static const char *cased(const char *p, const char *end, bool needs_lower)
{
    const char *at = p, *last = NULL; /* last: behind the last one that may be lower */
    uint32_t class = 0;
    for (int length; at < end && (class = token__class_at(at, &length)) & CASE_UPPER;) {
        at += length;
        if (class & CASE_LOWER) last = at;
    }
    int length;
    if (at < end && token__class_at(at, &length) & CASE_LOWER)
        return skip_while(at, end, CASE_LOWER);
    if (needs_lower) return last;
    return at > p ? at : NULL;
}

/* [^\r\n\p{L}\p{N}]?[upper]*[lower]+|[^\r\n\p{L}\p{N}]?[upper]+[lower]*, each with a
 * contraction behind it (o200k), |\p{N}{1,digits_max}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+
 * |\s+(?!\S)|\s+ */
static const char *next_cased(const struct token__step *step, const char *p, const char *end)
{
    int length, second;
    uint32_t class = token__class_at(p, &length);
    const char *after = p + length, *stop = NULL;
    bool prefix = !(class & (CLASS_L | CLASS_N | CLASS_NEWLINE)) && after < end;
    for (int lower = 1; lower >= 0 && !stop; lower--) {
        stop = prefix ? cased(after, end, lower) : NULL;
        if (!stop) stop = cased(p, end, lower);
    }
    if (stop) {
        const char *suffix =
            step->mask && stop < end && *stop == '\'' ? contraction(stop, end, true) : NULL;
        return suffix ? suffix : stop;
    }
    if (class & CLASS_N) {
        for (int n = 1; n < step->digits_max && after < end; n++, after += second)
            if (!(token__class_at(after, &second) & CLASS_N)) break;
        return after;
    }
    if (class & CLASS_SPACE) {
        if (*p != ' ' || after == end || token__class_at(after, &second) & WORDLESS)
            return spaces(p, end, true);
        after += second;
    }
    after = skip_until(after, end, WORDLESS);
    while (after < end && (*after == '\r' || *after == '\n' || *after == '/'))
        after++;
    return after;
}

struct token__step token__step_split(const struct token__regex *regex,
                                     enum token__behavior behavior, bool invert)
{
    return (struct token__step){.regex = regex, .behavior = behavior, .invert = invert};
}

struct token__step token__step_gpt2(void)
{
    return (struct token__step){.next = next_gpt2};
}

struct token__step token__step_isolate(unsigned mask, bool runs)
{
    return (struct token__step){.next = next_isolated, .mask = mask, .digits_max = !runs};
}

#define TEKKEN_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define TEKKEN_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_SUFFIX "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define NOT_WORD     "[^\\r\\n\\p{L}\\p{N}]?"
#define OTHERS       "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

bool token__step_of_regex(struct ig_slice regex, struct token__step *out)
{
    static const struct {
        const char *regex;
        struct token__step step;
    } known[] = {
        {NOT_WORD TEKKEN_UPPER "*" TEKKEN_LOWER "+|" NOT_WORD TEKKEN_UPPER "+" TEKKEN_LOWER
                               "*|\\p{N}" OTHERS,
         {.next = next_cased, .digits_max = 1}},
        {NOT_WORD TEKKEN_UPPER "*" TEKKEN_LOWER "+" O200K_SUFFIX "|" NOT_WORD TEKKEN_UPPER
                               "+" TEKKEN_LOWER "*" O200K_SUFFIX "|\\p{N}{1,3}" OTHERS,
         {.next = next_cased, .mask = 1, .digits_max = 3}},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         {.next = next_qwen, .digits_max = 1}},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         {.next = next_qwen, .digits_max = 3}},
        {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
         {.next = next_gpt2}},
        {"\\p{N}", {.next = next_isolated, .mask = CLASS_N, .digits_max = 1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!ig_slice_is(regex, known[i].regex)) continue;
        *out = known[i].step;
        return true;
    }
    return false;
}
