/* SPDX-License-Identifier: Apache-2.0
 * A template renders or fails: nothing else. Its text must be UTF-8, as its source and values are.
 */
#include "base/arena.h"
#include "base/check.h"
#include "fuzz_target.h"
#include "ingot/chat.h"
#include "text/utf8.h"

static const char variables[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi \\u00e9 <x>\"}, {\"role\": "
    "\"assistant\","
    " \"content\": [{\"type\": \"text\", \"text\": \"a\"}], \"reasoning\": \"r\"}], \"tools\":"
    " [{\"function\": {\"name\": \"f\", \"items\": 1.5}}], \"n\": 12345678901234567890, \"x\": -1}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_err err;
    struct ig_arena arena = {0};
    struct ig_buf out = {0};
    struct ig_template *t = NULL;
    const struct ig_json *vars = ig_json_parse(ig_slice_of(variables), &arena, &err);
    IG_ASSERT(vars);
    if (ig_template_parse(ig_slice_make(data, size), NULL, &t, &err) &&
        ig_template_render(t, vars, 0, &out, &err))
        IG_ASSERT(ig_utf8_check(ig_buf_view(&out)) == out.len);
    ig_template_close(t);
    ig_buf_release(&out);
    ig_arena_release(&arena);
    return 0;
}
