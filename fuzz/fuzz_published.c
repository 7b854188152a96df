/* SPDX-License-Identifier: Apache-2.0
 * fuzz_published — any text, as a table of accuracies: refused, or every value between 0 and 1. */
#include "base/check.h"
#include "fuzz_target.h"
#include "ingot/compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_published *p;
    struct ig_err err;
    if (!ig_published_parse(ig_slice_make(data, size), NULL, &p, &err)) return 0;
    for (int i = 0; i < p->row_count; i++) {
        struct ig_buf words = {0};
        ig_published_profile(p, i, &words);
        ig_buf_release(&words);
        IG_ASSERT(p->rows[i].baseline >= 0 && p->rows[i].baseline <= i);
        for (int t = 0; t < p->task_count; t++) {
            const struct ig_published_value *v = &p->rows[i].values[t];
            IG_ASSERT(!v->present || (v->value >= 0 && v->value <= 1));
        }
    }
    ig_published_close(p);
    return 0;
}
