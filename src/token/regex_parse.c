/* SPDX-License-Identifier: Apache-2.0
 * regex_parse — from a pattern to code for regex_match.c. Recursive descent, the depth is capped.
 *
 * A repeat of one character is one instruction. A repeat of anything else is written out: x{2,4} is
 * x x x? x?, x* is a loop of two jumps. Each parse function appends the code of what it read; that
 * is moved when an instruction has to come before it. */
#include "text/utf8.h"
#include "token/regex_internal.h"

#include <stdio.h>
#include <string.h>

static bool emit(struct regex_parser *s, struct regex_code code)
{
    if (s->regex->code_count == REGEX_CODE_MAX) return regex__refuse(s, "the pattern is too long");
    s->regex->code[s->regex->code_count++] = code;
    return true;
}

static bool is_jump(uint8_t op)
{
    return op == REGEX_SPLIT || op == REGEX_JUMP || op == REGEX_LOOK || op == REGEX_NOT ||
           op == REGEX_ATOMIC;
}

/* Moves code from `first` on by one, for an instruction before it. */
static bool insert(struct regex_parser *s, uint32_t first, struct regex_code code)
{
    struct token__regex *r = s->regex;
    if (!emit(s, code)) return false;
    for (uint32_t i = r->code_count - 1; i > first; i--) {
        r->code[i] = r->code[i - 1];
        if (!is_jump(r->code[i].op)) continue;
        r->code[i].low += r->code[i].low >= first && r->code[i].op != REGEX_LOOK &&
                          r->code[i].op != REGEX_NOT && r->code[i].op != REGEX_ATOMIC;
        r->code[i].high += r->code[i].high >= first && r->code[i].op != REGEX_JUMP;
    }
    r->code[first] = code;
    return true;
}

/* Appends a copy of code[first, last). */
static bool copy(struct regex_parser *s, uint32_t first, uint32_t last)
{
    uint32_t by = s->regex->code_count - first;
    for (uint32_t i = first; i < last; i++) {
        struct regex_code code = s->regex->code[i];
        if (code.op == REGEX_SPLIT || code.op == REGEX_JUMP) code.low += by;
        if (is_jump(code.op) && code.op != REGEX_JUMP) code.high += by;
        if (!emit(s, code)) return false;
    }
    return true;
}

/* ---- one thing that can be repeated */

static bool emit_set(struct regex_parser *s, uint16_t set)
{
    return emit(s, (struct regex_code){.op = REGEX_CHAR, .set = set});
}

static bool emit_char(struct regex_parser *s, uint32_t code)
{
    uint16_t set = 0;
    return regex__char_set(s, code, &set) && emit_set(s, set);
}

static bool place(struct regex_parser *s, enum regex_op op)
{
    return emit(s, (struct regex_code){.op = (uint8_t)op});
}

static bool escape(struct regex_parser *s)
{
    static const char letters[] = "AzZbB";
    static const enum regex_op places[] = {REGEX_TEXT_START, REGEX_TEXT_END, REGEX_LAST_LINE_END,
                                           REGEX_WORD_EDGE, REGEX_NO_WORD_EDGE};
    uint32_t code;
    uint16_t set = 0;
    bool is_char, known;
    if (!regex__escaped_char(s, &code, &is_char)) return false;
    if (is_char) return emit_char(s, code);
    const char *found = strchr(letters, *s->p);
    if (found) {
        s->p++;
        return place(s, places[found - letters]);
    }
    if (!regex__escaped_set(s, &set, &known)) return false;
    if (!known) return regex__refuse(s, "unknown escape, or a back-reference");
    return emit_set(s, set);
}

/* How many characters code[first, last) takes; false when that varies. */
static bool fixed_length(const struct token__regex *r, uint32_t first, uint32_t last, uint32_t *out)
{
    *out = 0;
    for (uint32_t i = first; i < last; i++) {
        const struct regex_code *c = &r->code[i];
        if (c->op == REGEX_CHAR)
            ++*out;
        else if (c->op == REGEX_LOOP && c->low == c->high)
            *out += c->low;
        else if (c->op < REGEX_LINE_START)
            return false;
    }
    return true;
}

static bool alternatives(struct regex_parser *s);

// NOLINTNEXTLINE(misc-no-recursion): s->depth
static bool group_body(struct regex_parser *s)
{
    bool fold = s->fold;
    if (++s->depth > REGEX_DEPTH_MAX) return regex__refuse(s, "nested too deeply");
    if (!alternatives(s)) return false;
    if (!regex__take(s, ")")) return regex__refuse(s, "( is never closed");
    s->fold = fold;
    s->depth--;
    return true;
}

/* A group whose code is run on its own. `back`: a look-behind. */
// NOLINTNEXTLINE(misc-no-recursion): s->depth
static bool inner(struct regex_parser *s, enum regex_op op, bool back)
{
    uint32_t first = s->regex->code_count, length;
    if (!place(s, op) || (back && !place(s, REGEX_BACK)) || !group_body(s)) return false;
    if (back) {
        if (!fixed_length(s->regex, first + 2, s->regex->code_count, &length))
            return regex__refuse(s, "a look-behind of varying length");
        s->regex->code[first + 1].low = length;
    }
    if (!place(s, REGEX_DONE)) return false;
    s->regex->code[first].high = s->regex->code_count;
    return true;
}

/* After '('. */
// NOLINTNEXTLINE(misc-no-recursion): s->depth
static bool group(struct regex_parser *s)
{
    bool fold = s->fold;
    if (regex__take(s, "?:")) return group_body(s);
    if (regex__take(s, "?=")) return inner(s, REGEX_LOOK, false);
    if (regex__take(s, "?!")) return inner(s, REGEX_NOT, false);
    if (regex__take(s, "?<=")) return inner(s, REGEX_LOOK, true);
    if (regex__take(s, "?<!")) return inner(s, REGEX_NOT, true);
    if (regex__take(s, "?>")) return inner(s, REGEX_ATOMIC, false);
    if (regex__take(s, "?i:")) {
        s->fold = true;
        bool ok = group_body(s);
        s->fold = fold;
        return ok;
    }
    if (regex__take(s, "?i)")) { /* to the end of the group that it stands in */
        s->fold = true;
        return true;
    }
    if (regex__at(s, "?")) return regex__refuse(s, "this kind of group is not supported");
    return group_body(s);
}

// NOLINTNEXTLINE(misc-no-recursion): s->depth
static bool atom(struct regex_parser *s)
{
    uint16_t set = 0;
    int length;
    if (regex__take(s, "(")) return group(s);
    if (regex__take(s, "[")) return regex__bracket(s, &set) && emit_set(s, set);
    if (regex__take(s, "\\")) return escape(s);
    if (regex__take(s, "^")) return place(s, REGEX_LINE_START);
    if (regex__take(s, "$")) return place(s, REGEX_LINE_END);
    if (regex__take(s, ".")) return regex__dot_set(s, &set) && emit_set(s, set);
    if (*s->p == '*' || *s->p == '+' || *s->p == '?') return regex__refuse(s, "nothing to repeat");
    uint32_t code = ig_utf8_next(s->p, s->end, &length);
    if (code == IG_UTF8_INVALID) return regex__refuse(s, "not UTF-8");
    s->p += length;
    return emit_char(s, code);
}

/* ---- repeats */

/* {m}, {m,}, {,n} or {m,n}; anything else stands for itself, as in that syntax. */
static bool braces(struct regex_parser *s, uint32_t *low, uint32_t *high)
{
    int used = 0;
    char text[32];
    size_t n =
        (size_t)(s->end - s->p) < sizeof text - 1 ? (size_t)(s->end - s->p) : sizeof text - 1;
    memcpy(text, s->p, n);
    text[n] = '\0';
    *low = 0;
    if (sscanf(text, "{%5u}%n", low, &used) == 1 && used) {
        *high = *low;
    } else if (sscanf(text, "{%5u,%5u}%n", low, high, &used) == 2 && used) {
    } else if (sscanf(text, "{,%5u}%n", high, &used) == 1 && used) {
        *low = 0;
    } else if (sscanf(text, "{%5u,}%n", low, &used) == 1 && used) {
        *high = REGEX_NO_LIMIT;
    } else {
        return false;
    }
    s->p += used;
    return true;
}

static bool quantifier(struct regex_parser *s, uint32_t *low, uint32_t *high)
{
    *low = 0;
    *high = REGEX_NO_LIMIT;
    if (regex__take(s, "*")) return true;
    if (regex__take(s, "+")) {
        *low = 1;
        return true;
    }
    if (regex__take(s, "?")) {
        *high = 1;
        return true;
    }
    return regex__at(s, "{") && braces(s, low, high);
}

/* Whether code[first, last) can match nothing; jumps make it a guess on the safe side. */
static bool may_be_empty(const struct token__regex *r, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i < last; i++) {
        const struct regex_code *c = &r->code[i];
        if (c->op == REGEX_SPLIT || c->op == REGEX_JUMP) {
            if (c->op == REGEX_SPLIT && c->low == i + 1 && c->high < last) {
                /* x|y: both sides must take something */
                if (may_be_empty(r, c->high, last)) return true;
                continue;
            }
            return true;
        }
        if (c->op == REGEX_LOOK || c->op == REGEX_NOT)
            i = c->high - 1;
        else if (c->op == REGEX_CHAR || (c->op == REGEX_LOOP && c->low > 0) ||
                 c->op == REGEX_ATOMIC)
            return false;
    }
    return true;
}

/* Code that may be left out: SPLIT before it. */
static bool optional(struct regex_parser *s, uint32_t first, enum regex_how how)
{
    if (!insert(s, first, (struct regex_code){.op = REGEX_SPLIT})) return false;
    uint32_t in = first + 1, out = s->regex->code_count;
    s->regex->code[first].low = how == REGEX_LAZY ? out : in;
    s->regex->code[first].high = how == REGEX_LAZY ? in : out;
    return true;
}

static bool repeat_group(struct regex_parser *s, uint32_t first, uint32_t low, uint32_t high,
                         enum regex_how how)
{
    struct token__regex *r = s->regex;
    uint32_t last = r->code_count, size = last - first;
    uint32_t more = high == REGEX_NO_LIMIT ? 1 : high - low;
    if (may_be_empty(r, first, last)) return regex__refuse(s, "a repeat of what may be empty");
    if ((uint64_t)size * (low + more + 1) > REGEX_CODE_MAX)
        return regex__refuse(s, "too long a repeat");
    bool ok = true;
    for (uint32_t i = 1; ok && i < low; i++)
        ok = copy(s, first, last);
    for (uint32_t i = 0; ok && i < more; i++) {
        uint32_t here = low || i ? r->code_count : first;
        if (here != first) ok = copy(s, first + (low ? 0 : 1), last + (low ? 0 : 1));
        ok = ok && optional(s, here, how);
        if (ok && high == REGEX_NO_LIMIT) {
            ok = emit(s, (struct regex_code){.op = REGEX_JUMP, .low = here});
            uint32_t out = r->code_count;
            if (how == REGEX_LAZY)
                r->code[here].low = out;
            else
                r->code[here].high = out;
        }
    }
    return ok;
}

// NOLINTNEXTLINE(misc-no-recursion): s->depth
static bool piece(struct regex_parser *s)
{
    struct token__regex *r = s->regex;
    uint32_t first = r->code_count, low, high;
    if (!atom(s)) return false;
    while (s->p < s->end && quantifier(s, &low, &high)) {
        enum regex_how how = REGEX_GREEDY;
        bool was_braces = s->p[-1] == '}';
        if (was_braces && low == high && regex__at(s, "?"))
            return regex__refuse(s, "{n}? is not supported");
        if (regex__take(s, "?"))
            how = REGEX_LAZY;
        else if (!was_braces && regex__take(s, "+")) /* {m,n}+ repeats the repeat, in that syntax */
            how = REGEX_POSSESSIVE;
        if (high < low || high == 0)
            return regex__refuse(s, "a repeat from more to less, or of nothing");
        if (r->code_count == first) return regex__refuse(s, "nothing to repeat");
        bool one = r->code_count == first + 1 && r->code[first].op == REGEX_CHAR;
        if (one) {
            r->code[first] =
                (struct regex_code){REGEX_LOOP, (uint8_t)how, r->code[first].set, low, high};
            continue;
        }
        if (!repeat_group(s, first, low, high, how == REGEX_POSSESSIVE ? REGEX_GREEDY : how))
            return false;
        if (how != REGEX_POSSESSIVE) continue;
        if (!insert(s, first, (struct regex_code){.op = REGEX_ATOMIC}) || !place(s, REGEX_DONE))
            return false;
        r->code[first].high = r->code_count;
    }
    return true;
}

/* x|y|z: SPLIT x JUMP; SPLIT y JUMP; z. */
// NOLINTNEXTLINE(misc-no-recursion): s->depth
static bool alternatives(struct regex_parser *s)
{
    struct token__regex *r = s->regex;
    uint32_t first = r->code_count, ends = UINT32_MAX;
    bool fold = s->fold;
    for (;;) {
        while (s->p < s->end && *s->p != '|' && *s->p != ')')
            if (!piece(s)) return false;
        if (!regex__take(s, "|")) break;
        if (!insert(s, first, (struct regex_code){.op = REGEX_SPLIT, .low = first + 1}))
            return false;
        /* the jumps to the end, still unknown, are a list through `high` */
        if (!emit(s, (struct regex_code){.op = REGEX_JUMP, .low = 0, .high = ends})) return false;
        ends = r->code_count - 1;
        r->code[first].high = r->code_count;
        first = r->code_count;
    }
    while (ends != UINT32_MAX) {
        uint32_t next = r->code[ends].high;
        r->code[ends].low = r->code_count;
        r->code[ends].high = 0;
        ends = next;
    }
    s->fold = fold;
    return true;
}

/* ---- the whole */

static void find_starts(struct token__regex *r)
{
    /* Follows every way to a first character; gives up at what it does not see through. */
    uint32_t waiting[64], count = 1;
    waiting[0] = 0;
    r->starts_known = false;
    r->starts[0] = r->starts[1] = 0;
    for (int steps = 0; count && steps < 4096; steps++) {
        uint32_t i = waiting[--count];
        const struct regex_code *c = &r->code[i];
        if (c->op == REGEX_SPLIT || (c->op == REGEX_LOOP && c->low == 0)) {
            if (count + 2 > 64) return;
            waiting[count++] = c->op == REGEX_SPLIT ? c->low : i + 1;
            if (c->op == REGEX_SPLIT) waiting[count++] = c->high;
        } else if (c->op == REGEX_JUMP) {
            waiting[count++] = c->low;
            continue;
        } else if (c->op != REGEX_CHAR && c->op != REGEX_LOOP) {
            return;
        }
        if (c->op == REGEX_SPLIT) continue;
        r->starts[0] |= r->sets[c->set].ascii[0];
        r->starts[1] |= r->sets[c->set].ascii[1];
    }
    r->starts_known = count == 0;
}

static bool make_room(struct regex_parser *s, struct ig_arena *arena)
{
    struct token__regex *r = s->regex;
    r->code = ig_arena_array(arena, REGEX_CODE_MAX, sizeof(*r->code));
    r->items = ig_arena_array(arena, REGEX_ITEMS_MAX, sizeof(*r->items));
    r->sets = ig_arena_array(arena, REGEX_SETS_MAX, sizeof(*r->sets));
    r->set_count = 1; /* 0 means none */
    return (r->code && r->items && r->sets) || ig_err_nomem(s->err);
}

bool token__regex_new(struct ig_slice pattern, struct ig_arena *arena, struct token__regex **out,
                      struct ig_err *err)
{
    struct token__regex *regex = ig_arena_new(arena, sizeof(*regex));
    struct regex_parser s = {regex, arena, pattern.ptr, pattern.ptr, pattern.ptr + pattern.len,
                             false, 0,     err};
    if (!regex) return ig_err_nomem(err);
    if (pattern.len == 0)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "regex: an empty pattern is not supported");
    if (!make_room(&s, arena) || !alternatives(&s)) return false;
    if (s.p < s.end) return regex__refuse(&s, ") closes nothing");
    if (!place(&s, REGEX_DONE)) return false;
    find_starts(regex);
    *out = regex;
    return true;
}

bool token__regex_literal(struct ig_slice text, struct ig_arena *arena, struct token__regex **out,
                          struct ig_err *err)
{
    struct token__regex *regex = ig_arena_new(arena, sizeof(*regex));
    struct regex_parser s = {regex, arena, text.ptr, text.ptr, text.ptr + text.len, false, 0, err};
    if (!regex) return ig_err_nomem(err);
    if (text.len == 0)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "an empty pattern is not supported");
    if (!make_room(&s, arena)) return false;
    for (int length; s.p < s.end; s.p += length) {
        uint32_t code = ig_utf8_next(s.p, s.end, &length);
        if (code == IG_UTF8_INVALID || !emit_char(&s, code)) return regex__refuse(&s, "not UTF-8");
    }
    if (!place(&s, REGEX_DONE)) return false;
    find_starts(regex);
    *out = regex;
    return true;
}
