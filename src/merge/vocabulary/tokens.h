/* SPDX-License-Identifier: Apache-2.0
 * tokens — what the files share that give the output one vocabulary: what a recipe asks for, how a
 * tokenizer.json is read, how rows are aligned to it. */
#pragma once
#include "merge/merge_internal.h"

/* ---- what a recipe asks for (vocabulary.c) ---- */

enum token_source { TOKENS_BASE, TOKENS_UNION, TOKENS_MODEL };

/* tokens: {TOKEN: {source, force}} */
struct recipe_token {
    struct ig_slice token;
    const struct ig_yaml *at;
    bool sourced, zero, force;
    int model;             /* of the recipe's models */
    int64_t id;            /* of model_token; -1: by name */
    struct ig_slice named; /* ptr NULL: the token itself */
};

struct recipe_tokenizer {
    const struct ig_yaml *at;
    enum token_source source;
    struct recipe_model model; /* of TOKENS_MODEL */
    struct recipe_token *tokens;
    uint32_t token_count;
    int64_t pad; /* 0: not */
};

/* ---- a vocabulary (vocabulary.c) ---- */

struct vocab {
    struct ig_slice *tokens; /* in the order of the file: the model's, then added ones */
    int32_t *ids;
    const struct ig_json **added; /* the entry of added_tokens, or NULL */
    int64_t count, model_count;   /* model_count: of the model's own */
    struct ig_map by_token;       /* token -> index */
    int64_t limit;                /* ids from here on have no row */
    struct ig_json *file;         /* tokenizer.json; NULL: there is none */
};
IG_MUST_CHECK bool merge__vocab_open(const char *folder, const struct ig_json *config,
                                     struct ig_arena *arena, struct vocab *out, struct ig_err *err);
void merge__vocab_release(struct vocab *vocab);
int32_t merge__vocab_id(const struct vocab *vocab, struct ig_slice token);

/* ---- rows (align.c) ---- */

enum token_row_kind {
    TOKEN_ROW_NONE,
    TOKEN_ROW_MODEL,
    TOKEN_ROW_ZERO,
    TOKEN_ROW_AVERAGE, /* of the models that have the token */
    TOKEN_ROW_MEAN,    /* of all rows of the vocabulary */
};
struct token_row {
    enum token_row_kind kind;
    int model;
    int32_t row; /* -1: the model's own of this token */
};

/* In the arena of the merge, all of it. */
struct merge_alignment {
    const struct merge_input *inputs;
    int models, base;               /* base: index, or -1 */
    int64_t used, rows;             /* rows of the vocabulary, and with padding */
    struct ig_slice *tokens;        /* by row, for messages */
    int32_t *own[MERGE_MODELS_MAX]; /* by row: the model's, or -1 */
    struct token_row *listed;       /* by row: what the recipe lists, or NONE */
    bool *forced;
};
IG_MUST_CHECK bool merge__align(struct ig_merge *m, struct merge_alignment *a, struct ig_err *err);
/* Which of a model's tensors has that role and last component; -1: none. */
int64_t merge__find_rows(const struct merge_input *in, enum ig_role role, const char *last);
