/* SPDX-License-Identifier: Apache-2.0
 * fuzz_sketch — any lines, as a sketchbook: refused, or lengths and shares of energy are such. */
#include "base/check.h"
#include "fuzz_target.h"
#include "merge/sketch/sketch_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int models = 3;
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) - at : size - at;
        struct ig_slice text = ig_slice_make(data + at, len);
        struct ig_arena arena = {.bytes_max = (size_t)64 << 20};
        struct ig_sketch_head head;
        struct ig_sketch_line line;
        struct ig_err err;
        if (merge__sketch_head_read(text, &arena, &head, &err)) {
            models = head.model_count;
            IG_ASSERT(models >= 1 && models <= IG_SKETCH_INPUTS_MAX);
            IG_ASSERT(head.models[models - 1].label && head.models[models - 1].identity);
        }
        if (merge__sketch_line_read(text, models, &arena, &line, &err)) {
            IG_ASSERT(line.inputs >= 0 && line.inputs <= models && line.name.len > 0);
            IG_ASSERT(line.farthest < line.inputs && line.layer < IG_LAYERS_MAX);
            IG_ASSERT(line.directions >= 0 && line.directions <= IG_SKETCH_DIRECTIONS_MAX);
        }
        ig_arena_release(&arena);
        at += len + 1;
    }
    return 0;
}
