/* SPDX-License-Identifier: Apache-2.0
 * fuzz_samples — any lines, as a samples file: refused, or items whose choices are choices. */
#include "base/check.h"
#include "eval/compare/compare_internal.h"
#include "fuzz_target.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct compare_metric metric = {0};
    struct compare_sample *sample = malloc(sizeof *sample);
    for (size_t at = 0; sample && at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) - at : size - at;
        struct ig_arena arena = {.bytes_max = (size_t)64 << 20};
        struct ig_err err;
        if (eval__sample_read(ig_slice_make(data + at, len), &metric, &arena, sample, &err)) {
            IG_ASSERT(sample->count >= 0 && sample->count <= IG_COMPARE_CHOICES_MAX);
            IG_ASSERT(sample->item.gold < sample->count && sample->item.pick < sample->count);
            IG_ASSERT(!sample->item.has_margin || sample->item.gold >= 0);
            IG_ASSERT(metric.name[0] && sample->item.doc >= 0);
        }
        ig_arena_release(&arena);
        at += len + 1;
    }
    free(sample);
    return 0;
}
