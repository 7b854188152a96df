/* SPDX-License-Identifier: Apache-2.0
 * compare — how a comparison is shown: tables for people, Markdown for a model card, JSON. */
#pragma once
#include "ingot/compare.h"
#include "ingot/json.h"
#include "ingot/report.h"

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
/* "better", "cannot be told". */
const char *cli_published_word(enum ig_verdict verdict);
/* The best value of each column of a table, then of the means; NAN where fewer than two rows have
 * one. The caller's to free; NULL: out of memory. */
double *cli_published_best(const struct ig_published *published, const char *table);
/* The next row of the same table after `row`; -1 for the first of all. row_count: no more. */
int cli_published_next(const struct ig_published *published, const char *table, int row);
/* Whether row is the first of its table. */
bool cli_published_leads(const struct ig_published *published, int row);

/* ---- published_page.c ---- */
IG_MUST_CHECK bool cli_published_page(const struct ig_published *published, const char *path,
                                      struct ig_err *err);

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

/* ---- compare_cells.c ---- */
/* What a page's tables and plots are made of, kept until the report has copied it. */
struct cli_cells {
    struct ig_report *report; /* the caller's */
    struct ig_report_cell *cells;
    char **texts;
    int count, room;
    bool failed; /* out of memory */
};
/* A text that lives until forget; NULL when there is no memory. */
char *cli_cells_text(struct cli_cells *c, const char *pattern, ...) IG_PRINTF(2, 3);
/* The next cell of a table. */
void cli_cells_put(struct cli_cells *c, enum ig_report_tone tone, bool number, const char *text);
/* A number; NAN: a dash. */
void cli_cells_number(struct cli_cells *c, enum ig_report_tone tone, const char *pattern,
                      double value);
/* The cells so far as a table of the report; forgets them. */
void cli_cells_table(struct cli_cells *c, const char *caption, int columns);
void cli_cells_forget(struct cli_cells *c);
void cli_cells_release(struct cli_cells *c);
enum ig_report_tone cli_cells_tone(enum ig_verdict verdict);

/* ---- compare_json.c ---- */
IG_MUST_CHECK bool cli_compare_json(const struct ig_comparison *comparison, bool flips,
                                    struct ig_json_writer *w, struct ig_err *err);

/* ---- compare_page.c ---- */
IG_MUST_CHECK bool cli_compare_page(const struct ig_comparison *comparison, const char *path,
                                    struct ig_err *err);
