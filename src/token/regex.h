/* SPDX-License-Identifier: Apache-2.0
 * regex — a small backtracking matcher for the split patterns of tokenizer.json that scan.c does
 * not know, in Oniguruma's Ruby syntax (the reference's), with the Unicode 16.0 classes of
 * char_class.h.
 *
 *     x|y  (x) (?:x) (?i:x) (?i)x   [..] [^..] [..&&[^..]]   \p{Lu} \P{L} \p{^L}
 *     \s \S \d \D \w \W \h .
 *     x? x* x+ x{m} x{m,} x{m,n} {,n}, lazy x+? and possessive x++, (?>x)
 *     (?=x) (?!x) (?<=x) (?<!x)   ^ $ \A \z \Z \b \B   \r \n \t \f \v \a \e \xHH \x{H..} \uHHHH
 *
 * Refused by name: back-references, scripts other than Han, repeats of what may be empty,
 * look-behind of varying length, ignoring the case of letters beyond ASCII.
 * ^ and $ are at lines' ends, as in that syntax. Limits: REGEX_CODE_MAX, REGEX_DEPTH_MAX; a match
 * that takes too many steps is an error, never a wrong answer. */
#pragma once
#include "base/arena.h"
#include <stdint.h>

#define REGEX_CODE_MAX  8192
#define REGEX_ITEMS_MAX 4096
#define REGEX_SETS_MAX  1024
#define REGEX_DEPTH_MAX 32
#define REGEX_NO_LIMIT  UINT32_MAX

enum regex_op {
    REGEX_CHAR,       /* one character of set `set` */
    REGEX_LOOP,       /* low to high characters of the set, as `how` says */
    REGEX_SPLIT,      /* goes on at `low`; when that fails at `high` */
    REGEX_JUMP,       /* to `low` */
    REGEX_LOOK,       /* what follows up to `high` must match here, and takes nothing */
    REGEX_NOT,        /* ... must not match */
    REGEX_ATOMIC,     /* what follows up to `high` matches in one way only */
    REGEX_BACK,       /* steps `low` characters back, or fails */
    REGEX_LINE_START, /* and so on: places, which take nothing */
    REGEX_LINE_END,
    REGEX_TEXT_START,
    REGEX_TEXT_END,
    REGEX_LAST_LINE_END,
    REGEX_WORD_EDGE,
    REGEX_NO_WORD_EDGE,
    REGEX_DONE,
};
enum regex_how { REGEX_GREEDY, REGEX_LAZY, REGEX_POSSESSIVE };

struct regex_code {
    uint8_t op, how;
    uint16_t set;
    uint32_t low, high;
};

/* A character is in a set when one of its items has it, or, negated, when none has; and when it is
 * in the set `also` too, unless that is 0. */
struct regex_item {
    uint32_t low, high; /* code points; of classes: the bits, and 1 for what has none of them */
    bool is_class;
};
struct regex_set {
    uint64_t ascii[2]; /* all of the below, worked out */
    uint32_t first, count;
    bool negated;
    uint16_t also;
};

struct token__regex {
    struct regex_code *code;
    struct regex_item *items;
    struct regex_set *sets;
    uint32_t code_count, item_count, set_count;
    uint64_t starts[2]; /* the ASCII characters that a match may start with */
    bool starts_known;
};

/* Compiles into the arena. An error names the place in the pattern. */
IG_MUST_CHECK bool token__regex_new(struct ig_slice pattern, struct ig_arena *arena,
                                    struct token__regex **out, struct ig_err *err);
/* The same for a text that stands for itself. */
IG_MUST_CHECK bool token__regex_literal(struct ig_slice text, struct ig_arena *arena,
                                        struct token__regex **out, struct ig_err *err);
/* \w, and what \b is the edge of. */
bool token__regex_is_word(uint32_t code);
bool token__regex_has(const struct token__regex *regex, uint32_t set, uint32_t code);
struct regex_match {
    bool found;
    const char *start, *end;
};
/* The leftmost match in [p, end) of valid UTF-8; what lies in [start, p) is only looked back at. */
IG_MUST_CHECK bool token__regex_find(const struct token__regex *regex, const char *start,
                                     const char *p, const char *end, struct regex_match *match,
                                     struct ig_err *err);
