/* SPDX-License-Identifier: Apache-2.0
 * eval_internal — what the files of this room share.
 *
 *     TASK.jsonl --rows--> one line a row --task--> eval_doc --request--> context, continuation
 *         --encode--> tokens --score--> log-likelihoods --metric--> acc, acc_norm */
#pragma once
#include "base/arena.h"
#include "ingot/eval.h"

#define EVAL_FILE_BYTES_MAX ((size_t)1 << 31) /* hellaswag's train split has 48 MB */
#define EVAL_CHOICES_MAX    32                /* the seven tasks have 2 to 5 */
#define EVAL_SHOTS_MAX      1000
#define EVAL_WINDOW_MIN     8 /* tokens of a window of text: three are scored */

/* What a task makes of a row. Texts borrow the row, or live in the arena. */
struct eval_doc {
    struct ig_slice context; /* the question; unused when partial */
    struct ig_slice choices[EVAL_CHOICES_MAX];
    int count, gold;
    /* Each choice is a context of its own, and `rest` is what is scored after it (winogrande). */
    bool partial;
    struct ig_slice rest;
    /* Of tasks in YAML only. */
    struct ig_slice description; /* before everything else; {NULL, 0}: none */
    struct ig_slice target;      /* as samples files write it */
    bool text_target;            /* the row names the answer's text, not its number */
};

struct eval_yaml;
struct eval_task {
    const char *name, *summary;
    const char *hub;     /* data set and configuration on the Hub */
    const char *split;   /* that is scored */
    const char *version; /* the harness's */
    bool has_norm;
    /* The harness draws one example more and drops the row itself when it has no test split. */
    bool draws_spare;
    bool adds_fields; /* the harness adds query, choices and gold to the row (hellaswag) */
    bool (*read)(const struct ig_json *row, struct ig_arena *arena, struct eval_doc *out,
                 struct ig_err *err);
    /* Of tasks in YAML only. */
    const struct eval_yaml *yaml;
    struct ig_slice target_delimiter, fewshot_delimiter; /* ptr NULL: " " and two newlines */
    int64_t shots;                                       /* examples when the job does not say */
    bool lacks_acc;                                      /* its metric_list has acc_norm only */
    bool first_shots; /* examples are the pool's first rows, not drawn */
};

/* ---- literal.c ---- */
/* The texts of a Python list: EVAL_CHOICES_MAX at most, in the arena. */
IG_MUST_CHECK bool eval__literal_texts(struct ig_slice source, struct ig_arena *arena,
                                       struct ig_slice *out, int *count, struct ig_err *err);

/* ---- task.c ---- */
const struct eval_task *eval__task_find(struct ig_slice name, struct ig_err *err);
/* row[key], which must be a string. */
IG_MUST_CHECK bool eval__text(const struct ig_json *row, const char *key, struct ig_slice *out,
                              struct ig_err *err);
/* The parts as one text, in the arena. */
IG_MUST_CHECK bool eval__join(struct ig_arena *arena, const struct ig_slice *parts, int count,
                              struct ig_slice *out, struct ig_err *err);
/* row[key] as a number 0 .. count - 1: a JSON integer, or a string that holds one. */
IG_MUST_CHECK bool eval__gold(const struct ig_json *row, const char *key, int count, int *out,
                              struct ig_err *err);
/* {"text": [...], "label": [...]} of the AI2 sets, and where answer stands among the labels. */
IG_MUST_CHECK bool eval__labelled(const struct ig_json *row, struct ig_slice answer,
                                  struct eval_doc *out, struct ig_err *err);

/* ---- text.c: Python's strings ---- */
struct ig_slice eval__strip(struct ig_slice text);
struct ig_slice eval__strip_left(struct ig_slice text);
struct ig_slice eval__strip_right(struct ig_slice text);
/* str.capitalize: first character in title case, the others in lower case. */
void eval__capitalize(struct ig_buf *out, struct ig_slice text);

/* ---- files.c ---- */
struct eval_source { /* what is looked for */
    const char *task;
    const char *hub;    /* "owner/set (configuration)" */
    const char *split;  /* in files named by their split */
    const char *suffix; /* in files named by their task: TASK.SUFFIX.jsonl; "": TASK.jsonl */
};
struct eval_files {
    char **paths;
    int count;
};
/* One file, or all shards of a split in their order. Absence is an error. */
IG_MUST_CHECK bool eval__files_find(const char *dir, const struct eval_source *source,
                                    struct eval_files *out, struct ig_err *err);
/* ---- source.c: the same in the snapshot that the Hub's cache has of the task's data set ---- */
IG_MUST_CHECK bool eval__source_find(const struct eval_source *source, struct eval_files *out,
                                     struct ig_err *err);
IG_MUST_CHECK bool eval__files_add(struct eval_files *files, const char *path, struct ig_err *err);
void eval__files_release(struct eval_files *files);

/* ---- rows.c ---- */
struct eval_rows {
    char path[4096];        /* of the first file */
    struct ig_buf file;     /* the rows, a line each */
    struct ig_slice *lines; /* without blank ones */
    int64_t *numbers;       /* of lines in JSON Lines, else of rows; of all shards together */
    int64_t count;
    /* Of tasks in YAML: the members that all rows are given, so that templates see them. */
    bool has_columns;
    struct ig_json columns;
    struct ig_arena arena;
};
/* From the files that files.c finds, in dir or (NULL) in the Hub's cache; the pool of examples is
 * the train split. */
IG_MUST_CHECK bool eval__rows_open(const char *dir, const struct eval_task *task, bool pool,
                                   struct eval_rows *out, struct ig_err *err);
void eval__rows_release(struct eval_rows *rows);
/* Parses line `index` into a tree, and by the task's reader into a doc. tree may be NULL. */
IG_MUST_CHECK bool eval__rows_read(const struct eval_rows *rows, const struct eval_task *task,
                                   int64_t index, struct ig_arena *arena, struct ig_json **tree,
                                   struct eval_doc *doc, struct ig_err *err);

/* ---- random.c: CPython's random.Random(seed).sample ---- */
struct eval_random {
    uint32_t state[624];
    int next;
};
void eval__random_seed(struct eval_random *random, uint64_t seed);
/* k different indices below n, in sample's order. k <= n. */
IG_MUST_CHECK bool eval__random_sample(struct eval_random *random, int64_t n, int64_t k,
                                       int64_t *out, struct ig_err *err);

/* ---- shots.c ---- */
/* The seed of the draw: the job's, or its style's own. */
uint64_t eval__seed(const struct ig_eval_job *job);
struct eval_shots {
    const struct eval_task *task;
    struct eval_rows pool;
    struct eval_random random;
    int64_t count;
};
IG_MUST_CHECK bool eval__shots_open(const struct ig_eval_job *job, const struct eval_task *task,
                                    int64_t count, struct eval_shots *out, struct ig_err *err);
/* The examples for the next row, in order, into docs[0 .. count). */
IG_MUST_CHECK bool eval__shots_draw(struct eval_shots *shots, const struct ig_json *row,
                                    struct ig_arena *arena, struct eval_doc *docs,
                                    struct ig_err *err);
void eval__shots_release(struct eval_shots *shots);

/* ---- request.c ---- */
struct eval_question { /* a doc of a task after its examples */
    const struct eval_task *task;
    const struct eval_doc *doc, *examples;
    int64_t example_count;
};
/* Its requests: doc->count of them, in the arena. */
IG_MUST_CHECK bool eval__requests(const struct ig_eval_job *job,
                                  const struct eval_question *question, struct ig_arena *arena,
                                  struct ig_eval_request *out, struct ig_err *err);

/* ---- set.c makes it, score.c reads it ---- */
struct eval_part { /* one task's */
    const struct eval_task *task;
    struct eval_yaml *yaml; /* owned; NULL for built-in tasks */
    struct eval_rows rows;
    struct ig_eval_item *items;
    int64_t count, shots;
};
struct ig_eval_set {
    struct ig_eval_job job; /* data, tasks and chat are used by open only */
    struct ig_arena arena;
    struct eval_part *parts;
    int count;
};

/* ---- encode.c ---- */
struct eval_pair { /* a request in tokens: the last `scored` of them are the continuation */
    size_t first, count, scored; /* first: index into the pool of ids */
};
struct eval_encoder {
    const struct ig_tokenizer *tokenizer;
    enum ig_eval_style style;
    bool chat;
    int64_t context_max; /* tokens that may be fed */
};
/* Appends the tokens of one item's requests. pairs[i].scored 0: nothing of the prompt is left, the
 * choice scores minus infinity (mlx). *truncated: something was cut. */
IG_MUST_CHECK bool eval__encode(const struct eval_encoder *encoder, const struct ig_eval_item *item,
                                struct ig_ids *pool, struct eval_pair *pairs, bool *truncated,
                                struct ig_err *err);

/* ---- tokens.c makes it, score.c reads it ---- */
struct ig_eval_tokens {
    struct ig_ids pool;
    int64_t items;           /* of all tasks, numbered in their order */
    struct eval_pair *pairs; /* of all items, choice by choice */
    int64_t *firsts;         /* items + 1: an item's first pair */
    int64_t *truncated;      /* items of each task of which something was cut */
    size_t longest;          /* its last token is not fed */
    int64_t context;
};

/* ---- metric.c ---- */
/* The index of the largest value, the first of equals. */
int eval__best(const double *values, int count);
/* Divides by the code points of each choice. */
int eval__best_norm(const double *values, const struct ig_slice *choices, int count);
/* Mean of the first n of 0/1 values and its standard error, in the harness's order of operations.
 */
void eval__mean(const bool *values, int64_t n, double *mean, double *stderr_out);
