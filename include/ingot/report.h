/* SPDX-License-Identifier: Apache-2.0
 * report — one self-contained HTML page: tables, plots (SVG), a browser of items.
 *
 * Use:   ig_report_new -> headings, tables, plots, items, in the order of the page ->
 * ig_report_write
 *        -> ig_report_free. Nothing is fetched by the page: no fonts, no scripts from elsewhere.
 * Every text is escaped, and the page's policy allows its own script only: rows, prompts and names
 * of models are foreign. Colours follow the reader's light or dark setting; what a colour says is
 * said by a shape or a word too.
 * Owns:  texts are copied. Appending cannot fail; what failed is told by ig_report_write. */
#pragma once
#include "ingot/buf.h"
#include <stdint.h>

struct ig_report;
/* NULL: out of memory. */
IG_MUST_CHECK struct ig_report *ig_report_new(const char *title, struct ig_err *err);
void ig_report_free(struct ig_report *report);
/* Writes the page to a file, whole or not at all. */
IG_MUST_CHECK bool ig_report_write(struct ig_report *report, const char *path, struct ig_err *err);
/* The same, as bytes. */
IG_MUST_CHECK bool ig_report_text(struct ig_report *report, struct ig_buf *out, struct ig_err *err);

/* level 2 or 3; the title is the page's level 1. */
void ig_report_heading(struct ig_report *report, int level, const char *text);
void ig_report_paragraph(struct ig_report *report, const char *text);
void ig_report_list(struct ig_report *report, const char *const *items, int count);
/* Lines and spaces as they are. */
void ig_report_code(struct ig_report *report, const char *text);
/* What follows, until close, is folded behind a line. */
void ig_report_fold_open(struct ig_report *report, const char *summary);
void ig_report_fold_close(struct ig_report *report);

enum ig_report_tone {
    IG_REPORT_PLAIN,
    IG_REPORT_BEST, /* bold, with a mark */
    IG_REPORT_GOOD,
    IG_REPORT_BAD,
    IG_REPORT_EVEN, /* neither: quiet */
};
struct ig_report_cell {
    const char *text;
    enum ig_report_tone tone;
    bool number; /* set right, in figures of one width */
};
/* rows x columns cells; the first row and the first column are heads. */
void ig_report_table(struct ig_report *report, const char *caption,
                     const struct ig_report_cell *cells, int rows, int columns);

struct ig_report_interval {
    const char *label, *text; /* "boolq", "+2.1 (-1.6 to +6.0)" */
    double low, middle, high;
    enum ig_report_tone tone; /* GOOD: triangle up, BAD: triangle down, else a disc */
};
/* Intervals over one axis that shows 0. unit: "points". */
void ig_report_intervals(struct ig_report *report, const char *caption, const char *unit,
                         const struct ig_report_interval *rows, int count);

struct ig_report_histogram {
    const char *label, *note;
    const double *before, *after; /* two sets of count values over one axis that shows 0 */
    int64_t count;
};
/* Small plots side by side. Values beyond the 1st and 99th of a hundred count as there. */
void ig_report_histograms(struct ig_report *report, const char *caption, const char *before,
                          const char *after, const struct ig_report_histogram *plots, int count);

struct ig_report_choice {
    struct ig_slice context, text; /* context: of its own, or empty */
    bool gold;
    const char *by; /* who picked it; "" for nobody */
};
struct ig_report_item {
    const char *model, *task, *side; /* what the reader can filter by */
    const char *title, *note;
    enum ig_report_tone tone;
    struct ig_slice context;
    const struct ig_report_choice *choices;
    int count;
};
/* Items with a form that filters them by model, task, side and text. One list a page. */
void ig_report_item(struct ig_report *report, const struct ig_report_item *item);
/* Puts the list of all items given so far here. */
void ig_report_items(struct ig_report *report);

/* A few numbers and a sentence, shown when a cell of a map is clicked or has the keyboard's focus.
 */
struct ig_report_fact {
    const char *name, *value;
};
struct ig_report_detail {
    const char *title, *text;
    const struct ig_report_fact *facts;
    int count;
};
/* Returns the number by which cells refer to it. */
int ig_report_detail(struct ig_report *report, const struct ig_report_detail *detail);
struct ig_report_grid {
    const char *const *rows, *const *columns; /* heads */
    int row_count, column_count;
    const char *row_name; /* "layer" */
    const int *details;   /* row_count x column_count; -1: nothing there */
};
struct ig_report_heat {
    const char *label, *note;
    const double *values; /* row_count x column_count; NAN: no such number */
    double low, high;     /* the palest and the strongest colour; beyond them: the warning colour */
    double unit;          /* cells show value / unit */
    int decimals;
};
/* Heat maps of one grid, side by side where there is room. Each cell shows its number too. */
void ig_report_heats(struct ig_report *report, const char *caption,
                     const struct ig_report_grid *grid, const struct ig_report_heat *maps,
                     int count);

#define IG_REPORT_SERIES_MAX 8
struct ig_report_line {
    const char *label, *note;
    const double *values; /* series x points; NAN: a gap */
};
struct ig_report_line_axes {
    const char *const *series; /* names; at most IG_REPORT_SERIES_MAX */
    int series_count, points;
    const char *first, *last; /* what stands below the first and the last point */
    double low, high;
};
/* Small line plots side by side, all over the same axes. */
void ig_report_lines(struct ig_report *report, const char *caption,
                     const struct ig_report_line_axes *axes, const struct ig_report_line *plots,
                     int count);
