/* SPDX-License-Identifier: Apache-2.0
 * opt — one option table for the command line, a recipe's parameters, the manual and the checks.
 *
 * A table describes the fields of a plain struct. The same row fills a field from `--name value`
 * or from YAML, prints help, and states default, range and choices.
 *     struct args { const char *out; bool force; int64_t jobs; };
 *     static const struct ig_opt options[] = {
 *         IG_OPT_ARG(struct args, out, "OUT", "folder to write"),
 *         IG_OPT_FLAG(struct args, force, "force", 'f', "replace OUT"),
 *         IG_OPT_INT(struct args, jobs, "jobs", 'j', "N", "0", 0, 1024, "threads; 0: one a core"),
 *         IG_OPT_END,
 *     };
 * Strings set from argv borrow argv; strings set from YAML borrow the recipe. */
#pragma once
#include "ingot/buf.h"
#include <stdint.h>

enum ig_opt_kind {
    IG_OPT_KIND_END,
    IG_OPT_KIND_ARG,    /* const char *: positional, required */
    IG_OPT_KIND_ARGS,   /* struct ig_opt_list: positional, min or more, last */
    IG_OPT_KIND_FLAG,   /* bool: --name, and --no-name */
    IG_OPT_KIND_TEXT,   /* const char * */
    IG_OPT_KIND_TEXTS,  /* struct ig_opt_texts: may be given several times */
    IG_OPT_KIND_INT,    /* int64_t */
    IG_OPT_KIND_REAL,   /* double */
    IG_OPT_KIND_SIZE,   /* int64_t bytes: 512M, 2G, 1Ki; K, M, G are 1024-based */
    IG_OPT_KIND_CHOICE, /* int: index into choices */
};

struct ig_opt_list { /* points into argv */
    const char *const *items;
    size_t count;
};

#define IG_OPT_TEXTS_MAX 16
struct ig_opt_texts {
    const char *items[IG_OPT_TEXTS_MAX];
    size_t count;
};

struct ig_opt {
    enum ig_opt_kind kind;
    const char *name; /* long name without dashes; of a positional: what help prints */
    char letter;      /* 0: none */
    size_t offset;
    const char *meta; /* name of the value in help */
    const char *help;
    const char *preset;         /* default, as text; NULL: 0, false, NULL */
    double min, max;            /* INT, REAL, SIZE; both 0: unbounded. ARGS: at least min */
    const char *const *choices; /* NULL-terminated */
};

// clang-format off
#define IG_OPT_ARG(T, f, name, help)  {IG_OPT_KIND_ARG, name, 0, offsetof(T, f), name, help, NULL, 0, 0, NULL}
#define IG_OPT_ARGS(T, f, name, help) {IG_OPT_KIND_ARGS, name, 0, offsetof(T, f), name, help, NULL, 1, 0, NULL}
#define IG_OPT_ARGS_ANY(T, f, name, help) {IG_OPT_KIND_ARGS, name, 0, offsetof(T, f), name, help, NULL, 0, 0, NULL}
#define IG_OPT_FLAG(T, f, name, c, help) {IG_OPT_KIND_FLAG, name, c, offsetof(T, f), NULL, help, NULL, 0, 0, NULL}
#define IG_OPT_FLAG_ON(T, f, name, c, help) {IG_OPT_KIND_FLAG, name, c, offsetof(T, f), NULL, help, "true", 0, 0, NULL}
#define IG_OPT_TEXT(T, f, name, c, meta, preset, help) {IG_OPT_KIND_TEXT, name, c, offsetof(T, f), meta, help, preset, 0, 0, NULL}
#define IG_OPT_TEXTS(T, f, name, c, meta, help) {IG_OPT_KIND_TEXTS, name, c, offsetof(T, f), meta, help, NULL, 0, 0, NULL}
#define IG_OPT_INT(T, f, name, c, meta, preset, lo, hi, help) {IG_OPT_KIND_INT, name, c, offsetof(T, f), meta, help, preset, lo, hi, NULL}
#define IG_OPT_REAL(T, f, name, c, meta, preset, lo, hi, help) {IG_OPT_KIND_REAL, name, c, offsetof(T, f), meta, help, preset, lo, hi, NULL}
#define IG_OPT_SIZE(T, f, name, c, meta, preset, help) {IG_OPT_KIND_SIZE, name, c, offsetof(T, f), meta, help, preset, 0, 0, NULL}
#define IG_OPT_CHOICE(T, f, name, c, list, preset, help) {IG_OPT_KIND_CHOICE, name, c, offsetof(T, f), NULL, help, preset, 0, 0, list}
#define IG_OPT_END {IG_OPT_KIND_END, NULL, 0, 0, NULL, NULL, NULL, 0, 0, NULL}
// clang-format on

/* Fills every field with its default. */
void ig_opt_defaults(const struct ig_opt *options, void *fields);
/* The row of that long name, or NULL. */
const struct ig_opt *ig_opt_find(const struct ig_opt *options, struct ig_slice name);
/* Sets one field from text; the text must be NUL-terminated at text.ptr[text.len] for TEXT. */
IG_MUST_CHECK bool ig_opt_set(const struct ig_opt *option, struct ig_slice text, void *fields,
                              struct ig_err *err);
/* Parses argv[0..argc), which excludes the program's and command's names. All errors are USAGE. */
IG_MUST_CHECK bool ig_opt_parse(const struct ig_opt *options, int argc, const char *const *argv,
                                void *fields, struct ig_err *err);
/* "MODEL OUT [--force] ..." */
void ig_opt_synopsis(const struct ig_opt *options, struct ig_buf *out);
/* One indented line for each option. */
void ig_opt_help(const struct ig_opt *options, struct ig_buf *out);
/* The known name nearest to an unknown one, for "did you mean"; NULL when none is near. names is
 * NULL-terminated. */
const char *ig_opt_nearest(struct ig_slice name, const char *const *names);
