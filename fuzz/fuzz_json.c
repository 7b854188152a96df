/* SPDX-License-Identifier: Apache-2.0
 * What parses must print as text that parses to the same text again. */
#include "base/arena.h"
#include "base/check.h"
#include "fuzz_target.h"
#include "ingot/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_err err;
    struct ig_arena arena = {0};
    struct ig_buf once = {0}, twice = {0};
    const struct ig_json *root = ig_json_parse(ig_slice_make(data, size), &arena, &err);
    if (root) {
        ig_json_write(&once, root, 0, false);
        const struct ig_json *again = ig_json_parse(ig_buf_view(&once), &arena, &err);
        IG_ASSERT(again);
        ig_json_write(&twice, again, 0, false);
        IG_ASSERT(ig_slice_equal(ig_buf_view(&once), ig_buf_view(&twice)));
    }
    ig_buf_release(&once);
    ig_buf_release(&twice);
    ig_arena_release(&arena);
    return 0;
}
