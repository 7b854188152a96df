/* SPDX-License-Identifier: Apache-2.0
 * fuzz_table — what fuzz_parquet and fuzz_arrow do with a file: every row that is given is JSON,
 * their number is the one that was said, and what is refused is refused with words. */
#pragma once
#include "base/check.h"
#include "ingot/json.h"
#include "table/table_internal.h"

#define FUZZ_UNPACKED_MAX ((uint64_t)32 << 20)
#define FUZZ_TEXT_MAX     ((size_t)1 << 20) /* of all rows: a few bytes can stand for many */
#define FUZZ_ROW_COST     256 /* counted for each: parsing takes more than its bytes */

static inline void fuzz_rows(struct table_reader *reader)
{
    struct ig_err err = {0};
    struct ig_buf row = {.len_max = (size_t)1 << 20};
    size_t total = 0;
    int64_t count = 0, place = 0;
    bool done = false, ok = true;
    while (ok && !done && total < FUZZ_TEXT_MAX) {
        struct ig_arena arena = {0};
        ig_buf_clear(&row);
        ok = reader->next(reader->state, &row, &place, &done, &err);
        if (ok && !done) {
            IG_ASSERT(ig_json_parse(ig_buf_view(&row), &arena, &err));
            IG_ASSERT(place == ++count);
        }
        total += row.len + FUZZ_ROW_COST;
        ig_arena_release(&arena);
    }
    IG_ASSERT(ok || (err.code != IG_OK && err.text[0] != '\0'));
    IG_ASSERT(!done || count == reader->count);
    ig_buf_release(&row);
    reader->close(reader->state);
}
