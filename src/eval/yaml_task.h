/* SPDX-License-Identifier: Apache-2.0
 * yaml_task — a user's own multiple-choice task, in the form of lm-evaluation-harness. */
#pragma once
#include "base/file.h"
#include "eval/eval_internal.h"
#include "text/yaml.h"

/* doc_to_text and its kind: a member of the row where one has that name, else a template; or a
 * number, or a list of texts. */
enum eval_field_kind { EVAL_FIELD_NONE, EVAL_FIELD_TEXT, EVAL_FIELD_INT, EVAL_FIELD_LIST };
struct eval_field {
    enum eval_field_kind kind;
    const char *key; /* "doc_to_text" */
    struct ig_slice name;
    struct ig_template *tmpl; /* TEXT */
    int64_t integer;
    struct ig_slice *items;
    int count;
};
enum eval_split { EVAL_SCORED, EVAL_POOL, EVAL_SPLITS };
struct eval_yaml {
    struct ig_arena arena;
    struct ig_buf file;
    struct eval_task task; /* .yaml points back here */
    struct eval_field text, target, choice, description;
    char dir[IG_PATH_MAX];           /* of the YAML file */
    const char *splits[EVAL_SPLITS]; /* their names */
    const char *files[EVAL_SPLITS];  /* named by data_files; NULL: by the task's name */
};
/* Reads PATH. Free with eval__yaml_free, which accepts NULL. */
IG_MUST_CHECK bool eval__yaml_open(const char *path, struct eval_yaml **out, struct ig_err *err);
/* The same from memory; dir: against which file names are resolved. */
IG_MUST_CHECK bool eval__yaml_parse(struct ig_slice text, const char *dir, struct eval_yaml **out,
                                    struct ig_err *err);
void eval__yaml_free(struct eval_yaml *yaml);
/* A split's files: its data file, else by the task's name beside the YAML, else in dir. */
IG_MUST_CHECK bool eval__yaml_files(const struct eval_yaml *yaml, const char *dir,
                                    enum eval_split split, struct eval_files *out,
                                    struct ig_err *err);
/* A row, whose members are those of all rows, to a doc. */
IG_MUST_CHECK bool eval__yaml_read(const struct eval_yaml *yaml, const struct ig_json *row,
                                   struct ig_arena *arena, struct eval_doc *out,
                                   struct ig_err *err);
