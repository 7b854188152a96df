/* SPDX-License-Identifier: Apache-2.0
 * surgery — what a recipe does to a model beside merging: layers added, experts made, the context
 * lengthened. */
#pragma once
#include "merge/recipe/recipe.h"

struct ig_merge;
struct merge_entry;

/* ---- expand.c ---- */

IG_MUST_CHECK bool merge__read_expand(struct ig_recipe *r, const struct ig_yaml *root,
                                      struct ig_err *err);
/* Puts the copies of a layer among the entries, when the recipe asks for them. */
IG_MUST_CHECK bool merge__expand(struct ig_merge *m, struct ig_arena *arena,
                                 struct merge_entry **entries, int64_t *count, struct ig_err *err);

/* ---- moe.c ---- */

bool merge__is_moe(const struct ig_yaml *root);
IG_MUST_CHECK bool merge__read_moe(struct ig_recipe *r, const struct ig_yaml *root,
                                   struct ig_err *err);
/* Gives the base the experts' MLPs and routers. */
IG_MUST_CHECK bool merge__apply_moe(struct ig_merge *m, const struct ig_watch *watch,
                                    struct ig_err *err);

/* ---- context.c ---- */

IG_MUST_CHECK bool merge__read_context(struct ig_recipe *r, const struct ig_yaml *root,
                                       struct ig_err *err);
/* Into the text model's part of config.json. */
IG_MUST_CHECK bool merge__set_context(const struct ig_merge *m, struct ig_json *text,
                                      struct ig_arena *arena, struct ig_err *err);
/* A sentence, or nothing when the recipe does not ask for it. */
void merge__describe_context(const struct ig_merge *m, struct ig_buf *out);
void merge__warn_context(const struct ig_merge *m, const struct ig_watch *watch);

/* ---- the folder transplant/: another model's tokenizer ---- */

IG_MUST_CHECK bool merge__read_transplant(struct ig_recipe *r, const struct ig_yaml *root,
                                          struct ig_err *err);
/* Embedding and head of the donor's vocabulary, as views. */
IG_MUST_CHECK bool merge__apply_transplant(struct ig_merge *m, const struct ig_watch *watch,
                                           struct ig_err *err);
struct transplant;
void merge__transplant_free(struct transplant *t);
/* Into config.json; text: the text model's part of it, or itself. */
IG_MUST_CHECK bool merge__set_token_ids(const struct ig_merge *m, struct ig_json *config,
                                        struct ig_json *text, struct ig_arena *arena,
                                        struct ig_err *err);
/* What it takes beside the workers. */
uint64_t merge__transplant_bytes(const struct ig_merge *m);
/* A sentence, or nothing when the recipe does not ask for it. */
void merge__describe_transplant(const struct ig_merge *m, struct ig_buf *out);
