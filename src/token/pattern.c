/* SPDX-License-Identifier: Apache-2.0
 * pattern — regex.h for other rooms. */
#include "ingot/pattern.h"

#include "text/utf8.h"
#include "token/regex.h"

#include <stdlib.h>

#define BYTES_MAX 4096

struct ig_pattern {
    struct ig_arena arena;
    struct token__regex *regex;
};

bool ig_pattern_new(struct ig_slice text, struct ig_pattern **out, struct ig_err *err)
{
    if (text.len == 0 || text.len > BYTES_MAX || ig_utf8_check(text) < text.len)
        return ig_err_set(err, IG_ERR_USAGE, "a regular expression is 1 to %d bytes of UTF-8",
                          BYTES_MAX);
    struct ig_pattern *p = calloc(1, sizeof *p);
    if (!p) return ig_err_nomem(err);
    if (!token__regex_new(text, &p->arena, &p->regex, err)) {
        ig_pattern_free(p);
        return false;
    }
    *out = p;
    return true;
}

bool ig_pattern_find(const struct ig_pattern *pattern, struct ig_slice text, bool *found,
                     struct ig_err *err)
{
    struct regex_match match;
    if (ig_utf8_check(text) < text.len)
        return ig_err_set(err, IG_ERR_DATA, "a text that is not UTF-8 is matched with nothing");
    const char *start = text.len ? text.ptr : "";
    if (!token__regex_find(pattern->regex, start, start, start + text.len, &match, err))
        return false;
    *found = match.found;
    return true;
}

void ig_pattern_free(struct ig_pattern *pattern)
{
    if (!pattern) return;
    ig_arena_release(&pattern->arena);
    free(pattern);
}
