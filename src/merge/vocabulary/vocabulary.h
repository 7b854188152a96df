/* SPDX-License-Identifier: Apache-2.0
 * vocabulary — the tokenizer and the chat template of the output. */
#pragma once
#include "merge/recipe/recipe.h"

struct ig_merge;

/* ---- vocabulary.c, union.c, template.c ---- */

IG_MUST_CHECK bool merge__read_tokenizer(struct ig_recipe *r, const struct ig_yaml *root,
                                         struct ig_err *err);
IG_MUST_CHECK bool merge__read_template(struct ig_recipe *r, const struct ig_yaml *root,
                                        struct ig_err *err);
/* Aligns embeddings and heads to the vocabulary that the recipe asks for, and makes its files. */
IG_MUST_CHECK bool merge__apply_tokenizer(struct ig_merge *m, const struct ig_watch *watch,
                                          struct ig_err *err);
IG_MUST_CHECK bool merge__apply_template(struct ig_merge *m, const struct ig_watch *watch,
                                         struct ig_err *err);
/* The text must live as long as the merge. */
IG_MUST_CHECK bool merge__keep_file(struct ig_merge *m, const char *name, struct ig_slice text,
                                    struct ig_err *err);
