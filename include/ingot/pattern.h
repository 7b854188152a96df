/* SPDX-License-Identifier: Apache-2.0
 * pattern — a regular expression that is looked for in short texts, in the syntax of tokenizer.json
 * (Oniguruma's; of names in ASCII, what Python's re finds too): classes, groups, repeats, anchors,
 * look-arounds. No back-references, no named groups.
 *
 * Threads: finding is safe from many threads. */
#pragma once
#include "ingot/err.h"
#include "ingot/slice.h"

struct ig_pattern;
/* An error names the place in the pattern. */
IG_MUST_CHECK bool ig_pattern_new(struct ig_slice text, struct ig_pattern **out,
                                  struct ig_err *err);
/* Whether it matches anywhere in the text; a match that takes too many steps is an error. */
IG_MUST_CHECK bool ig_pattern_find(const struct ig_pattern *pattern, struct ig_slice text,
                                   bool *found, struct ig_err *err);
void ig_pattern_free(struct ig_pattern *pattern);
