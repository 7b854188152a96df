/* SPDX-License-Identifier: Apache-2.0
 * boolq — yes/no questions about a passage.
 *
 *     {"question", "passage", "idx", "label": 0 no, 1 yes}
 * Clark et al. 2019, arXiv:1905.10044; rows as SuperGLUE has them. */
#include "eval/eval_internal.h"

static bool read_row(const struct ig_json *row, struct ig_arena *arena, struct eval_doc *out,
                     struct ig_err *err)
{
    struct ig_slice passage, question;
    if (!eval__text(row, "passage", &passage, err) || !eval__text(row, "question", &question, err))
        return false;
    struct ig_slice parts[] = {passage, ig_slice_of("\nQuestion: "), question,
                               ig_slice_of("?\nAnswer:")};
    out->choices[0] = ig_slice_of("no");
    out->choices[1] = ig_slice_of("yes");
    out->count = 2;
    return eval__join(arena, parts, 4, &out->context, err) &&
           eval__gold(row, "label", out->count, &out->gold, err);
}

const struct eval_task eval__boolq[] = {
    {.name = "boolq",
     .summary = "yes/no questions about a passage",
     .hub = "aps/super_glue (boolq)",
     .split = "validation",
     .version = "2.0",
     .draws_spare = true,
     .read = read_row},
    {0},
};
