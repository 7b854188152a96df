/* SPDX-License-Identifier: Apache-2.0
 * openbookqa — elementary science that needs one fact and common sense.
 *
 *     {"id", "question_stem", "choices": {"text": [..], "label": [..]}, "answerKey"}
 * The context is the stem alone. Mihaylov et al. 2018, arXiv:1809.02789. */
#include "eval/eval_internal.h"

static bool read_row(const struct ig_json *row, struct ig_arena *arena, struct eval_doc *out,
                     struct ig_err *err)
{
    (void)arena;
    struct ig_slice answer;
    return eval__text(row, "question_stem", &out->context, err) &&
           eval__text(row, "answerKey", &answer, err) &&
           eval__labelled(row, eval__strip_left(answer), out, err);
}

const struct eval_task eval__openbookqa[] = {
    {.name = "openbookqa",
     .summary = "elementary science with common sense",
     .hub = "allenai/openbookqa (main)",
     .split = "test",
     .version = "1.0",
     .has_norm = true,
     .read = read_row},
    {0},
};
