/* SPDX-License-Identifier: Apache-2.0
 * piqa — which of two solutions reaches the goal, in the physical world.
 *
 *     {"goal", "sol1", "sol2", "label": 0 or 1}
 * White space around a solution is kept. Bisk et al. 2019, arXiv:1911.11641. */
#include "eval/eval_internal.h"

static bool read_row(const struct ig_json *row, struct ig_arena *arena, struct eval_doc *out,
                     struct ig_err *err)
{
    struct ig_slice goal;
    if (!eval__text(row, "goal", &goal, err) || !eval__text(row, "sol1", &out->choices[0], err) ||
        !eval__text(row, "sol2", &out->choices[1], err))
        return false;
    out->count = 2;
    struct ig_slice parts[] = {ig_slice_of("Question: "), goal, ig_slice_of("\nAnswer:")};
    return eval__join(arena, parts, 3, &out->context, err) &&
           eval__gold(row, "label", out->count, &out->gold, err);
}

const struct eval_task eval__piqa[] = {
    {.name = "piqa",
     .summary = "which of two solutions works in the physical world",
     .hub = "baber/piqa",
     .split = "validation",
     .version = "1.0",
     .has_norm = true,
     .draws_spare = true,
     .read = read_row},
    {0},
};
