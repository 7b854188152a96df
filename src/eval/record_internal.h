/* SPDX-License-Identifier: Apache-2.0
 * record_internal — a run on its way into files: record.c gathers the samples, record_results.c
 * writes the summary. */
#pragma once
#include "base/sha256.h"
#include "eval/eval_internal.h"

struct record_part { /* of one task */
    struct ig_buf lines;
    struct ig_sha256 hash; /* over the hashes of all items */
};
struct ig_eval_record {
    const struct ig_eval_set *set;
    struct ig_eval_record_job job;
    struct record_part *parts;
    double started;
    char folder[4096], model_clean[256], time[40];
    bool failed;
    struct ig_err failure;
};
