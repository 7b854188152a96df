/* SPDX-License-Identifier: Apache-2.0
 * fuzz_rows — any JSON, as a row of every task: refused, or choices with a gold among them. */
#include "base/check.h"
#include "eval/eval_internal.h"
#include "fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *const *names = ig_eval_task_list();
    struct ig_arena arena = {.bytes_max = (size_t)64 << 20};
    struct ig_err err;
    struct ig_json *row = ig_json_parse(ig_slice_make(data, size), &arena, &err);
    for (int i = 0; row && names[i]; i += 2) {
        const struct eval_task *task = eval__task_find(ig_slice_of(names[i]), &err);
        struct eval_doc doc = {0};
        if (!task || !task->read(row, &arena, &doc, &err)) continue;
        IG_ASSERT(doc.count > 0 && doc.count <= EVAL_CHOICES_MAX);
        IG_ASSERT(doc.gold >= 0 && doc.gold < doc.count);
        IG_ASSERT(doc.partial || doc.context.ptr);
    }
    ig_arena_release(&arena);
    return 0;
}
