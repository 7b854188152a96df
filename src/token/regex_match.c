/* SPDX-License-Identifier: Apache-2.0
 * regex_match — runs the code of a pattern at one place of a text after the other.
 *
 * A stack holds the ways not yet tried, last first. The many ways of a repeat of one character are
 * one entry, which gives one character back (or takes one more, when lazy) each time it is popped.
 * Look-arounds and atomic groups run the matcher anew for their own code: no deeper than they are
 * nested, which the parser caps. */
#include "text/utf8.h"
#include "token/regex.h"

#include <stdlib.h>
#include <string.h>

#define WAYS_FIRST    64
#define WAYS_MAX      ((size_t)1 << 20)
#define STEPS_A_BYTE  200 /* known patterns need some twenty */
#define STEPS_AT_ONCE ((uint64_t)1 << 22)

struct way {
    const char *pos, *limit; /* limit: of a greedy repeat, where it may not go back beyond */
    uint32_t code, left;     /* left: characters that a lazy repeat may still take */
    bool lazy;
};
struct ways {
    struct way first[WAYS_FIRST];
    struct way *items;
    size_t count, cap;
};
struct matcher {
    const struct token__regex *regex;
    const char *start, *end;
    uint64_t steps_left;
    struct ig_err *err;
};

static bool push(struct matcher *m, struct ways *ways, struct way way)
{
    if (ways->count == ways->cap) {
        size_t cap = ways->cap * 4;
        if (cap > WAYS_MAX)
            return ig_err_set(m->err, IG_ERR_DATA, "regex: too many ways to match a text");
        struct way *items = malloc(cap * sizeof(*items));
        if (!items) return ig_err_nomem(m->err);
        memcpy(items, ways->items, ways->count * sizeof(*items));
        if (ways->items != ways->first) free(ways->items);
        ways->items = items;
        ways->cap = cap;
    }
    ways->items[ways->count++] = way;
    return true;
}

/* Whether the character at p is in the set, and its length. p < end. */
static inline bool is_in(const struct token__regex *r, uint32_t set, const char *p, int *length)
{
    const unsigned char *s = (const unsigned char *)p;
    if (s[0] < 0x80) {
        *length = 1;
        return r->sets[set].ascii[s[0] / 64] >> s[0] % 64 & 1;
    }
    *length = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    uint32_t code = *length == 2   ? (s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu)
                    : *length == 3 ? (s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu)
                                   : (s[0] & 0x07u) << 18 | (s[1] & 0x3Fu) << 12 |
                                         (s[2] & 0x3Fu) << 6 | (s[3] & 0x3Fu);
    return token__regex_has(r, set, code);
}

static const char *before(const char *p)
{
    do
        p--;
    while (((unsigned char)*p & 0xC0) == 0x80);
    return p;
}

static bool is_word(const char *p)
{
    int length;
    return token__regex_is_word(ig_utf8_next(p, p + 4, &length));
}

static bool is_at(const struct matcher *m, enum regex_op op, const char *p)
{
    bool left, right;
    switch (op) {
    case REGEX_LINE_START: return p == m->start || (p[-1] == '\n' && p < m->end);
    case REGEX_LINE_END: return p == m->end || *p == '\n';
    case REGEX_TEXT_START: return p == m->start;
    case REGEX_TEXT_END: return p == m->end;
    case REGEX_LAST_LINE_END: return p == m->end || (p + 1 == m->end && *p == '\n');
    default:
        left = p > m->start && is_word(before(p));
        right = p < m->end && is_word(p);
        return (left != right) == (op == REGEX_WORD_EDGE);
    }
}

static bool step_back(const struct matcher *m, uint32_t count, const char **p)
{
    for (; count; count--) {
        if (*p == m->start) return false;
        *p = before(*p);
    }
    return true;
}

/* Takes the repeat at *p; false when it has too few characters here. */
static bool take_loop(struct matcher *m, const struct regex_code *c, uint32_t at, const char **p,
                      struct ways *ways, bool *ok)
{
    const char *least = NULL, *q = *p;
    uint32_t n = 0, wanted = c->how == REGEX_LAZY ? c->low : c->high;
    int length;
    for (; n < wanted && q < m->end && is_in(m->regex, c->set, q, &length); n++, q += length)
        if (n == c->low) least = q;
    if (n < c->low) return false;
    if (n == c->low) least = q;
    uint64_t used = (uint64_t)(q - *p);
    m->steps_left -= used < m->steps_left ? used : m->steps_left;
    if (c->how == REGEX_GREEDY && q > least)
        *ok = push(m, ways, (struct way){.pos = q, .limit = least, .code = at + 1});
    if (c->how == REGEX_LAZY && c->high > c->low)
        *ok = push(m, ways,
                   (struct way){.pos = q, .code = at, .left = c->high - c->low, .lazy = true});
    *p = q;
    return true;
}

/* The next way: where to go on. False when there is none. */
static bool pop(struct matcher *m, struct ways *ways, uint32_t *code, const char **p)
{
    int length;
    while (ways->count) {
        struct way *w = &ways->items[ways->count - 1];
        if (w->lazy) {
            const struct regex_code *c = &m->regex->code[w->code];
            if (w->left == 0 || w->pos == m->end || !is_in(m->regex, c->set, w->pos, &length)) {
                ways->count--;
                continue;
            }
            w->pos += length;
            w->left -= w->left != REGEX_NO_LIMIT;
            *code = w->code + 1;
            *p = w->pos;
            return true;
        }
        if (w->limit) {
            w->pos = before(w->pos);
            *code = w->code;
            *p = w->pos;
            if (w->pos == w->limit) ways->count--;
            return true;
        }
        *code = w->code;
        *p = w->pos;
        ways->count--;
        return true;
    }
    return false;
}

static bool run(struct matcher *m, uint32_t code, const char *p, const char **stop, bool *ok);

/* Runs one instruction at *p. False when it does not match. */
static bool step(struct matcher *m, uint32_t *code, const char **p, struct ways *ways, bool *ok)
{ /* NOLINT(misc-no-recursion): as deep as groups are nested */
    const struct regex_code *c = &m->regex->code[*code];
    const char *stop;
    int length;
    switch ((enum regex_op)c->op) {
    case REGEX_CHAR:
        if (*p == m->end || !is_in(m->regex, c->set, *p, &length)) return false;
        *p += length;
        break;
    case REGEX_LOOP:
        if (!take_loop(m, c, *code, p, ways, ok)) return false;
        break;
    case REGEX_SPLIT:
        *ok = push(m, ways, (struct way){.pos = *p, .code = c->high});
        *code = c->low;
        return true;
    case REGEX_JUMP: *code = c->low; return true;
    case REGEX_LOOK:
    case REGEX_NOT:
        if (run(m, *code + 1, *p, &stop, ok) != (c->op == REGEX_LOOK)) return false;
        *code = c->high;
        return true;
    case REGEX_ATOMIC:
        if (!run(m, *code + 1, *p, &stop, ok)) return false;
        *p = stop;
        *code = c->high;
        return true;
    case REGEX_BACK:
        if (!step_back(m, c->low, p)) return false;
        break;
    default:
        if (!is_at(m, (enum regex_op)c->op, *p)) return false;
        break;
    }
    ++*code;
    return true;
}

/* Matches the code from `code` to its DONE at p. *ok is false after a failure of another kind. */
static bool run(struct matcher *m, uint32_t code, /* NOLINT(misc-no-recursion) */
                const char *p, const char **stop, bool *ok)
{
    struct ways ways;
    bool matches = true;
    ways.items = ways.first;
    ways.count = 0;
    ways.cap = WAYS_FIRST;
    while (*ok && m->regex->code[code].op != REGEX_DONE) {
        if (m->steps_left == 0)
            *ok = ig_err_set(m->err, IG_ERR_DATA,
                             "regex: a text takes too long to match; the pattern tries too many "
                             "ways");
        else
            m->steps_left--;
        if (*ok && !step(m, &code, &p, &ways, ok) && !pop(m, &ways, &code, &p)) {
            matches = false;
            break;
        }
    }
    if (ways.items != ways.first) free(ways.items);
    *stop = p;
    return *ok && matches;
}

/* Whether no match begins with this byte. */
static bool cannot_start(const struct token__regex *regex, unsigned char byte)
{
    return regex->starts_known && byte < 0x80 && !(regex->starts[byte / 64] >> byte % 64 & 1);
}

bool token__regex_find(const struct token__regex *regex, const char *start, const char *p,
                       const char *end, struct regex_match *match, struct ig_err *err)
{
    struct matcher m = {regex, start, end, (uint64_t)(end - p) * STEPS_A_BYTE + STEPS_AT_ONCE, err};
    bool ok = true;
    match->found = false;
    for (; p <= end; p++) {
        while (p < end && cannot_start(regex, (unsigned char)*p))
            p++;
        if (p == end && regex->starts_known) return true;
        if (p < end && ((unsigned char)*p & 0xC0) == 0x80) continue;
        match->start = p;
        match->found = run(&m, 0, p, &match->end, &ok);
        if (!ok || match->found) return ok;
    }
    return true;
}
