/* SPDX-License-Identifier: Apache-2.0
 * regex_internal — what the two files that read a pattern share. */
#pragma once
#include "token/regex.h"

struct regex_parser {
    struct token__regex *regex;
    struct ig_arena *arena;
    const char *start, *p, *end;
    bool fold; /* (?i) */
    int depth;
    struct ig_err *err;
};

/* An error with the place in the pattern; false. */
bool regex__refuse(const struct regex_parser *s, const char *what);
/* Whether the pattern goes on with text; take steps over it. */
bool regex__at(const struct regex_parser *s, const char *text);
bool regex__take(struct regex_parser *s, const char *text);

/* After '[': a set, to its ']'. */
IG_MUST_CHECK bool regex__bracket(struct regex_parser *s, uint16_t *set);
/* The set of one character (and its other case), and of all but the newline. */
IG_MUST_CHECK bool regex__char_set(struct regex_parser *s, uint32_t code, uint16_t *set);
IG_MUST_CHECK bool regex__dot_set(struct regex_parser *s, uint16_t *set);
/* After a backslash: the character that the escape stands for; *is_char is false when it is
 * something else, and then nothing was taken. */
IG_MUST_CHECK bool regex__escaped_char(struct regex_parser *s, uint32_t *code, bool *is_char);
/* After a backslash: the set of \s, \p{..} and the like; *known is false for any other letter. */
IG_MUST_CHECK bool regex__escaped_set(struct regex_parser *s, uint16_t *set, bool *known);
