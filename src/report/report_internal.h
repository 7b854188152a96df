/* SPDX-License-Identifier: Apache-2.0
 * report_internal — what the files of this room share. */
#pragma once
#include "ingot/report.h"

#define REPORT_NAMES_MAX 1024 /* of one filter */
#define REPORT_BYTES_MAX ((size_t)1 << 30)

struct report_names { /* in the order of their first use */
    char *items[REPORT_NAMES_MAX];
    int count;
};
struct ig_report {
    char *title;
    struct ig_buf body, items, details;
    struct report_names models, tasks, sides;
    int64_t item_count;
    int tables, detail_count; /* number ids */
    bool failed;
};

/* ---- report.c ---- */
/* Appends foreign text: markup escaped, control bytes and invalid UTF-8 as U+FFFD. Safe as content
 * and within double quotes. */
void report__escape(struct ig_buf *out, struct ig_slice text);
void report__text(struct ig_buf *out, const char *text);
/* "good", "bad", "even", "best", "". */
const char *report__tone(enum ig_report_tone tone);

/* ---- report_style.c ---- */
extern const char *const report__style[];  /* pieces, NULL-terminated */
extern const char *const report__script[]; /* the same */
