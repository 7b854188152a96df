/* SPDX-License-Identifier: Apache-2.0
 * eval — multiple-choice benchmarks as lm-evaluation-harness defines them.
 *
 * One file for each task in src/eval/tasks/: a row of the Hub's schema to context, choices and gold. */
#pragma once
#include "ingot/infer.h"
#include "ingot/token.h"

struct ig_eval_result {
    char task[64];
    int64_t items;
    double acc, acc_stderr;
    bool has_norm; /* acc_norm is defined for this task */
    double acc_norm, acc_norm_stderr;
};
/* Names and summaries of the tasks, NULL-terminated pairs. */
const char *const *ig_eval_task_list(void);
/* Scores DIR/TASK.jsonl, zero-shot, without chat template (lm-eval's default style). limit 0: all. */
IG_MUST_CHECK bool ig_eval_task(struct ig_model *model, const struct ig_tokenizer *tokenizer,
                                const char *dir, const char *task, int64_t limit,
                                const struct ig_watch *watch, struct ig_eval_result *result,
                                struct ig_err *err);
