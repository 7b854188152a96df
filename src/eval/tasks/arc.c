/* SPDX-License-Identifier: Apache-2.0
 * arc — AI2's grade-school science questions, two rows of one table.
 *
 *     {"id", "question", "choices": {"text": [..], "label": [..]}, "answerKey"}
 * Labels are A to E or 1 to 5. Clark et al. 2018, arXiv:1803.05457. */
#include "eval/eval_internal.h"

static bool read_row(const struct ig_json *row, struct ig_arena *arena, struct eval_doc *out,
                     struct ig_err *err)
{
    struct ig_slice question, answer;
    if (!eval__text(row, "question", &question, err) || !eval__text(row, "answerKey", &answer, err))
        return false;
    struct ig_slice parts[] = {ig_slice_of("Question: "), question, ig_slice_of("\nAnswer:")};
    return eval__join(arena, parts, 3, &out->context, err) && eval__labelled(row, answer, out, err);
}

const struct eval_task eval__arc[] = {
    {.name = "arc_challenge",
     .summary = "grade-school science, the hard part",
     .hub = "allenai/ai2_arc (ARC-Challenge)",
     .split = "test",
     .version = "1.0",
     .has_norm = true,
     .read = read_row},
    {.name = "arc_easy",
     .summary = "grade-school science, the easy part",
     .hub = "allenai/ai2_arc (ARC-Easy)",
     .split = "test",
     .version = "1.0",
     .has_norm = true,
     .read = read_row},
    {0},
};
