/* SPDX-License-Identifier: Apache-2.0
 * split — pieces of a text by the matches of a regex, in the reference's five ways.
 *
 * A text is a row of runs: matches, and the gaps between them. A piece is one run, or two or more
 * of them joined. Matches of nothing only cut a gap in two. */
#include "token/regex.h"
#include "token/token_internal.h"

struct run {
    const char *end;
    bool is_match;
};

static const char *after_char(const char *p, const char *end)
{
    do
        p++;
    while (p < end && ((unsigned char)*p & 0xC0) == 0x80);
    return p;
}

/* The run that begins at p (p < end). */
static bool run_at(const struct token__step *step, const char *start, const char *p,
                   const char *end, struct run *out, struct ig_err *err)
{
    struct regex_match match;
    if (!token__regex_find(step->regex, start, p, end, &match, err)) return false;
    if (match.found && match.end == p &&
        !token__regex_find(step->regex, start, after_char(p, end), end, &match, err))
        return false;
    if (!match.found)
        *out = (struct run){end, false};
    else
        *out = match.start == p ? (struct run){match.end, true} : (struct run){match.start, false};
    out->is_match = out->is_match != step->invert;
    return true;
}

bool token__split_next(const struct token__step *step, const char *start, const char *p,
                       const char *end, struct ig_slice *piece, struct ig_err *err)
{
    struct run first = {end, false}, second;
    do {
        *piece = ig_slice_make(p, 0);
        if (p == end) return true;
        if (!run_at(step, start, p, end, &first, err)) return false;
        p = first.end;
    } while (step->behavior == SPLIT_REMOVED && first.is_match);
    /* A gap takes the match behind it; a match the gap; or a match the next one. Two gaps have a
     * match of nothing between them, and stay two. */
    enum token__behavior how = step->behavior;
    bool joins = (how == SPLIT_CONTIGUOUS && first.is_match != step->invert) ||
                 (how == SPLIT_WITH_PREVIOUS && !first.is_match) ||
                 (how == SPLIT_WITH_NEXT && first.is_match);
    while (joins && p < end) {
        if (!run_at(step, start, p, end, &second, err)) return false;
        if ((second.is_match == first.is_match) != (how == SPLIT_CONTIGUOUS)) break;
        p = second.end;
        joins = how == SPLIT_CONTIGUOUS;
    }
    piece->len = (size_t)(p - piece->ptr);
    return true;
}
