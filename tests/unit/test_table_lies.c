/* SPDX-License-Identifier: Apache-2.0
 * table_lies — files that lie, or hold what is not read (tools/golden/table_lies.py): each is
 * refused with the message in lies_messages.txt, or has the rows that pyarrow finds. Nothing is
 * read that pyarrow refuses. INGOT_UPDATE=1 rewrites the messages: read the difference before
 * committing it. */
#include "base/arena.h"
#include "base/file.h"
#include "check.h"
#include "ingot/json.h"
#include "table/table_internal.h"

#include <stdio.h>
#include <stdlib.h>

static size_t decode_base64(struct ig_slice text, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t count = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < text.len && text.ptr[i] != '='; i++) {
        const char *digit = strchr(digits, text.ptr[i]);
        assert_non_null(digit);
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (i % 4) out[count++] = (char)(bits >> (6 - i % 4 * 2));
    }
    return count;
}

/* Reads the whole file: how many rows, or -1 with the error set. */
static int64_t count_rows(struct ig_slice bytes, struct ig_err *err)
{
    struct table_reader reader;
    struct ig_buf row = {0};
    int64_t count = -1, place;
    bool ok = true, done = false;
    if (!table__open(bytes, TABLE_UNPACKED_BYTES_MAX, &reader, err)) return -1;
    for (; ok && !done; count++) {
        ig_buf_clear(&row);
        ok = reader.next(reader.state, &row, &place, &done, err);
    }
    reader.close(reader.state);
    ig_buf_release(&row);
    return ok ? count : -1;
}

static void check_case(const struct ig_json *row, struct ig_buf *messages)
{
    struct ig_err err = {0};
    struct ig_slice name = ig_json_text(ig_json_get(row, "name"));
    struct ig_slice text = ig_json_text(ig_json_get(row, "base64"));
    const struct ig_json *pyarrow = ig_json_get(row, "pyarrow");
    char *bytes = malloc(text.len + 1);
    size_t size = decode_base64(text, bytes);
    bytes = realloc(bytes, size); /* so that a sanitizer sees the first byte too many */
    int64_t want = -1, got = count_rows(ig_slice_make(bytes, size), &err);
    free(bytes);
    ig_json_int(pyarrow, &want);
    if (got < 0)
        ig_buf_printf(messages, IG_SLICE_FMT ": %s: %s\n", IG_SLICE_ARG(name),
                      ig_code_name(err.code), err.text);
    else if (got != want)
        fail_msg(IG_SLICE_FMT ": %d rows, pyarrow: %d", IG_SLICE_ARG(name), (int)got, (int)want);
    else
        ig_buf_printf(messages, IG_SLICE_FMT ": %d rows\n", IG_SLICE_ARG(name), (int)got);
}

static void each_lie_is_told(void **state)
{
    (void)state;
    struct ig_err err;
    struct ig_buf lies = {0}, want = {0}, got = {0};
    char path[1024];
    snprintf(path, sizeof path, "%s/golden/table/lies.jsonl", getenv("INGOT_TESTS"));
    check_ok(ig_file_read(path, 1 << 20, &lies, &err), &err);
    for (char *line = strtok(lies.data, "\n"); line; line = strtok(NULL, "\n")) {
        struct ig_arena arena = {0};
        const struct ig_json *row = ig_json_parse(ig_slice_of(line), &arena, &err);
        check_ok(row != NULL, &err);
        check_case(row, &got);
        ig_arena_release(&arena);
    }
    snprintf(path, sizeof path, "%s/golden/table/lies_messages.txt", getenv("INGOT_TESTS"));
    if (getenv("INGOT_UPDATE")) check_ok(ig_file_write(path, ig_buf_view(&got), &err), &err);
    check_ok(ig_file_read(path, 1 << 20, &want, &err), &err);
    if (!ig_slice_equal(ig_buf_view(&got), ig_buf_view(&want))) {
        size_t at = 0, line = 0;
        for (; got.data[at] == want.data[at]; at++)
            if (got.data[at] == '\n') line = at + 1;
        fail_msg("\n got %.200s\nwant %.200s", got.data + line, want.data + line);
    }
    ig_buf_release(&lies);
    ig_buf_release(&want);
    ig_buf_release(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_lie_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
