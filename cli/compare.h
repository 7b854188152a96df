/* SPDX-License-Identifier: Apache-2.0
 * compare — how a comparison is shown: tables for people, Markdown for a model card, JSON. */
#pragma once
#include "ingot/compare.h"
#include "ingot/json.h"

/* ---- compare_print.c: on stdout ---- */
void cli_compare_print(const struct ig_comparison *comparison, bool markdown);
/* "0.031", "<0.0001"; returns out. */
const char *cli_compare_p(double p, char out[16]);
/* The best value of a task's column; of the means with task -1. */
double cli_compare_best(const struct ig_comparison *comparison, int task);
/* The items that changed side, with their texts. */
IG_MUST_CHECK bool cli_compare_print_flips(const struct ig_comparison *comparison,
                                           struct ig_err *err);
/* Foreign text: control bytes as \xNN, so that it cannot steer a terminal; after a line break
 * `indent`. */
void cli_compare_foreign(struct ig_slice text, const char *indent);
/* The same on one line, into a buffer. */
void cli_compare_clean(struct ig_slice text, struct ig_buf *out);

/* ---- published.c ---- */
void cli_published_print(const struct ig_published *published, bool markdown);
void cli_published_json(const struct ig_published *published, struct ig_json_writer *w);

/* ---- compare_grid.c ---- */
/* Cells written one after the other, printed as a table of spaces or of Markdown. */
struct cli_grid {
    char **cells;
    int count, room, columns;
    bool failed; /* out of memory */
};
void cli_grid_put(struct cli_grid *grid, const char *format, ...) IG_PRINTF(2, 3);
/* Prints and releases. */
void cli_grid_print(struct cli_grid *grid, bool markdown);

/* ---- compare_json.c ---- */
IG_MUST_CHECK bool cli_compare_json(const struct ig_comparison *comparison, bool flips,
                                    struct ig_json_writer *w, struct ig_err *err);

/* ---- compare_page.c ---- */
IG_MUST_CHECK bool cli_compare_page(const struct ig_comparison *comparison, const char *path,
                                    struct ig_err *err);
