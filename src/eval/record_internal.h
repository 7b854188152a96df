/* SPDX-License-Identifier: Apache-2.0
 * record_internal — a run on its way into files: record.c gathers the samples, record_results.c
 * writes the summary. */
#pragma once
#include "base/sha256.h"
#include "eval/eval_internal.h"

struct record_part { /* of one task */
    struct ig_buf lines;
    struct ig_sha256 hash; /* over the hashes of all items */
    struct ig_json columns;
};
struct ig_eval_record {
    const struct ig_eval_set *set;
    struct ig_eval_record_job job;
    struct ig_arena arena; /* of the columns */
    struct record_part *parts;
    struct ig_eval_log *log;
    double started;
    char folder[4096], model_clean[256], time[48];
    bool failed;
    struct ig_err failure;
};

/* ---- record_columns.c ---- */
/* The members of all rows, nested ones too, in the order in which the file first names them. */
IG_MUST_CHECK bool eval__columns_read(const struct eval_rows *rows, struct ig_arena *arena,
                                      struct ig_json *columns, struct ig_err *err);
/* Gives a row all of these members, in this order: null for what it has not. */
IG_MUST_CHECK bool eval__columns_apply(const struct ig_json *columns, struct ig_json *row,
                                       struct ig_arena *arena, struct ig_err *err);
