/* SPDX-License-Identifier: Apache-2.0
 * winogrande — whom a sentence means, by partial scoring.
 *
 *     {"sentence": "Ann beat Bea because _ trained.", "option1", "option2", "answer": "1" or "2"}
 *     contexts "Ann beat Bea because Ann", "Ann beat Bea because Bea"; scored of both: " trained."
 * Only the text after the blank is scored, given each option. Sakaguchi et al. 2019,
 * arXiv:1907.10641; partial scoring: Trinh and Le 2018, arXiv:1806.02847. */
#include "eval/eval_internal.h"

static bool read_row(const struct ig_json *row, struct ig_arena *arena, struct eval_doc *out,
                     struct ig_err *err)
{
    struct ig_slice sentence, options[2], answer;
    if (!eval__text(row, "sentence", &sentence, err) ||
        !eval__text(row, "option1", &options[0], err) ||
        !eval__text(row, "option2", &options[1], err) || !eval__text(row, "answer", &answer, err))
        return false;
    const char *blank = sentence.len ? memchr(sentence.ptr, '_', sentence.len) : NULL;
    if (!blank) return ig_err_set(err, IG_ERR_DATA, "'sentence' has no blank '_'");
    if (!ig_slice_is(answer, "1") && !ig_slice_is(answer, "2"))
        return ig_err_set(err, IG_ERR_DATA, "'answer' is '" IG_SLICE_FMT "', not '1' or '2'%s",
                          IG_SLICE_ARG(answer), answer.len ? "" : ": an unlabelled split");
    size_t before = (size_t)(blank - sentence.ptr);
    for (int i = 0; i < 2; i++) {
        struct ig_slice parts[] = {{sentence.ptr, before}, options[i]};
        if (!eval__join(arena, parts, 2, &out->choices[i], err)) return false;
    }
    out->rest = eval__strip(ig_slice_make(blank + 1, sentence.len - before - 1));
    out->partial = true;
    out->count = 2;
    out->gold = answer.ptr[0] - '1';
    return true;
}

const struct eval_task eval__winogrande[] = {
    {.name = "winogrande",
     .summary = "whom a sentence means",
     .hub = "allenai/winogrande (winogrande_xl)",
     .split = "validation",
     .version = "1.0",
     .draws_spare = true,
     .read = read_row},
    {0},
};
