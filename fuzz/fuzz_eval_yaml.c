/* SPDX-License-Identifier: Apache-2.0
 * fuzz_eval_yaml — any YAML as a task over one row: refused, or choices with a gold among them; and
 * any text as a Python list. */
#include "base/check.h"
#include "eval/yaml_task.h"
#include "fuzz_target.h"

static const char row_text[] =
    "{\"question\": \"What \\u00e9?\", \"choices\": {\"text\": [\"a\", \"b's\"], \"label\": "
    "[\"A\", "
    "\"B\"]}, \"key\": \"B\", \"options\": [\"x\", \"y\"], \"answer\": \"y\", \"label\": 1}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_arena arena = {.bytes_max = (size_t)256 << 20};
    struct ig_slice source = ig_slice_make(data, size), texts[EVAL_CHOICES_MAX];
    struct eval_doc doc = {0};
    struct eval_yaml *yaml = NULL;
    struct ig_err err;
    int count = 0;
    const struct ig_json *row = ig_json_parse(ig_slice_of(row_text), &arena, &err);
    IG_ASSERT(row);
    if (eval__yaml_parse(source, ".", &yaml, &err) &&
        eval__yaml_read(yaml, row, &arena, &doc, &err)) {
        IG_ASSERT(doc.count > 0 && doc.count <= EVAL_CHOICES_MAX);
        IG_ASSERT(doc.gold >= 0 && doc.gold < doc.count);
    }
    if (eval__literal_texts(source, &arena, texts, &count, &err))
        IG_ASSERT(count >= 0 && count <= EVAL_CHOICES_MAX);
    eval__yaml_free(yaml);
    ig_arena_release(&arena);
    return 0;
}
