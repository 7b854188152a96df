/* SPDX-License-Identifier: Apache-2.0
 * table — rows of Parquet and Arrow files against what pyarrow and datasets wrote and read
 * (tools/golden/table_golden.py), and against the JSON Lines that they were made from. */
#include "base/arena.h"
#include "ingot/json.h"
#include "ingot/table.h"
#include "scratch.h"
#include "table/table_internal.h"

static const char *golden(const char *name)
{
    static char paths[2][1024];
    static int turn;
    char *path = paths[turn++ % 2];
    snprintf(path, sizeof paths[0], "%s/golden/table/%s", getenv("INGOT_TESTS"), name);
    return path;
}

static struct ig_table *open_table(const char *path)
{
    struct ig_err err;
    struct ig_table *table = NULL;
    check_ok(ig_table_open(path, &table, &err), &err);
    return table;
}

/* All rows, a line each. */
static struct ig_buf read_rows(const char *path)
{
    struct ig_err err;
    struct ig_buf out = {0};
    struct ig_table *table = open_table(path);
    int64_t count = 0;
    for (bool done = false;; count++) {
        if (!ig_table_next(table, &out, &done, &err)) fail_msg("%s", err.text);
        if (done) break;
        ig_buf_char(&out, '\n');
        if (strcmp(ig_table_format(table), "JSON Lines") != 0)
            assert_int_equal(ig_table_place(table), count + 1);
    }
    assert_int_equal(count, ig_table_count(table));
    ig_table_close(table);
    return out;
}

static void mixed_files_have_the_rows_that_pyarrow_reads(void **state)
{
    static const char *const names[] = {
        "mixed_0.parquet", "mixed_1.parquet",    "mixed_2.parquet",
        "mixed_3.parquet", "mixed_4.parquet",    "mixed_5.parquet",
        "mixed_6.parquet", "mixed_stream.arrow", "mixed_file.arrow"};
    (void)state;
    struct ig_err err;
    struct ig_buf want = {0};
    check_ok(ig_file_read(golden("mixed.jsonl"), 1 << 20, &want, &err), &err);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct ig_buf got = read_rows(golden(names[i]));
        if (strcmp(got.data, want.data) != 0) {
            size_t at = 0;
            while (got.data[at] == want.data[at])
                at++;
            at = at > 100 ? at - 100 : 0;
            fail_msg("%s:\n got %.200s\nwant %.200s", names[i], got.data + at, want.data + at);
        }
        ig_buf_release(&got);
    }
    ig_buf_release(&want);
}

/* Both rows as compact JSON. */
static void check_same_row(const char *name, struct ig_slice got, struct ig_slice want)
{
    struct ig_err err;
    struct ig_arena arena = {0};
    struct ig_buf text = {0};
    struct ig_json *tree = ig_json_parse(want, &arena, &err);
    check_ok(tree != NULL, &err);
    ig_json_write(&text, tree, 0, false);
    if (!ig_slice_equal(got, ig_buf_view(&text)))
        fail_msg("%s:\n got %.*s\nwant %s", name, (int)got.len, got.ptr, text.data);
    ig_buf_release(&text);
    ig_arena_release(&arena);
}

/* The file has the first rows of the task's JSON Lines. */
static void check_task(const char *task, const char *kind)
{
    struct ig_err err;
    struct ig_buf got = {0}, want = {0};
    char name[64], lines[1024];
    bool done = false, want_done = false;
    snprintf(name, sizeof name, "%s.%s", task, kind);
    snprintf(lines, sizeof lines, "%s/tasks/%s.jsonl", getenv("INGOT_FIXTURES"), task);
    struct ig_table *table = open_table(golden(name)), *source = open_table(lines);
    assert_int_equal(ig_table_count(table), 24);
    for (;;) {
        ig_buf_clear(&got);
        ig_buf_clear(&want);
        check_ok(ig_table_next(table, &got, &done, &err), &err);
        if (done) break;
        check_ok(ig_table_next(source, &want, &want_done, &err), &err);
        assert_false(want_done);
        check_same_row(name, ig_buf_view(&got), ig_buf_view(&want));
    }
    ig_table_close(table);
    ig_table_close(source);
    ig_buf_release(&got);
    ig_buf_release(&want);
}

static void tasks_have_the_rows_of_their_json_lines(void **state)
{
    static const char *const tasks[] = {"arc_challenge", "arc_easy", "boolq",     "hellaswag",
                                        "openbookqa",    "piqa",     "winogrande"};
    (void)state;
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        check_task(tasks[i], "parquet");
    check_task("arc_easy", "arrow");
    check_task("boolq", "arrow");
    check_task("hellaswag", "arrow");
}

static void reals_are_as_python_writes_them(void **state)
{
    (void)state;
    struct ig_err err;
    struct ig_buf file = {0}, text = {0};
    check_ok(ig_file_read(golden("reals.txt"), 1 << 20, &file, &err), &err);
    int count = 0;
    for (char *line = strtok(file.data, "\n"); line; line = strtok(NULL, "\n"), count++) {
        char *want;
        uint64_t bits = strtoull(line, &want, 16);
        double value;
        memcpy(&value, &bits, sizeof value);
        ig_buf_clear(&text);
        check_ok(table__put_real(&text, value, &err), &err);
        assert_string_equal(text.data, want + 1);
    }
    assert_true(count > 1000);
    ig_buf_release(&file);
    ig_buf_release(&text);
}

static void lines_come_as_they_are(void **state)
{
    (void)state;
    struct ig_err err;
    struct ig_buf row = {0};
    static const char text[] = "{\"a\": 1}\n\n \t\r\n[2]\r\n not json\n\0\0";
    static const struct {
        const char *text;
        int place;
    } want[] = {{"{\"a\": 1}", 1}, {"[2]\r", 4}, {" not json", 5}, {"", 6}};
    bool done = false;
    scratch_write("rows.jsonl", text, sizeof text - 1);
    struct ig_table *table = open_table(scratch("rows.jsonl"));
    assert_int_equal(ig_table_count(table), 4); /* zeros, as a crash leaves them, are no blanks */
    for (size_t i = 0; i < 4; i++) {
        ig_buf_clear(&row);
        check_ok(ig_table_next(table, &row, &done, &err), &err);
        assert_false(done);
        assert_string_equal(row.data, want[i].text);
        assert_int_equal(ig_table_place(table), want[i].place);
    }
    check_ok(ig_table_next(table, &row, &done, &err), &err);
    assert_true(done);
    ig_table_close(table);
    ig_buf_release(&row);
}

/* Reads what is left of a file of `size` bytes; false when that is refused. */
static bool survives(const char *bytes, size_t size, int64_t *rows)
{
    struct ig_err err = {0};
    struct table_reader reader;
    struct ig_buf row = {0};
    char *copy = malloc(size ? size : 1); /* so that a sanitizer sees the first byte too many */
    int64_t place;
    bool done = false;
    *rows = 0;
    memcpy(copy, bytes, size);
    bool ok = table__open(ig_slice_make(copy, size), TABLE_UNPACKED_BYTES_MAX, &reader, &err);
    bool opened = ok;
    while (ok && !done) {
        ig_buf_clear(&row);
        ok = reader.next(reader.state, &row, &place, &done, &err);
        if (ok && !done) ++*rows;
    }
    assert_true(ok || err.text[0]);
    if (opened) reader.close(reader.state);
    ig_buf_release(&row);
    free(copy);
    return ok;
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    static const char *const names[] = {"mixed_1.parquet", "boolq.arrow", "mixed_file.arrow"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct ig_err err;
        struct ig_buf file = {0};
        int64_t rows, last = 0;
        check_ok(ig_file_read(golden(names[i]), 1 << 20, &file, &err), &err);
        for (size_t size = 8; size < file.len; size += i == 1 ? 1 : 5) {
            bool ok = survives(file.data, size, &rows);
            /* A stream may end after any message; then it has the rows of those before. */
            if (ok && (i != 1 || rows < last))
                fail_msg("%s cut at byte %zu: %d rows", names[i], size, (int)rows);
            if (ok) last = rows;
        }
        ig_buf_release(&file);
    }
}

static void a_file_with_a_wrong_byte_does_no_harm(void **state)
{
    static const char *const names[] = {"mixed_3.parquet", "mixed_stream.arrow"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ig_err err;
        struct ig_buf file = {0};
        int64_t rows;
        check_ok(ig_file_read(golden(names[i]), 1 << 20, &file, &err), &err);
        for (size_t at = 0; at < file.len; at += 7) {
            char was = file.data[at];
            file.data[at] = (char)(was ^ (at % 2 ? 0x80 : 0x01));
            survives(file.data, file.len, &rows);
            file.data[at] = was;
        }
        ig_buf_release(&file);
    }
}

/* Thousands of columns may share a name, or have it in their paths. */
static void long_names_cost_little(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_arena arena = {0};
    struct ig_buf long_name = {0};
    struct ig_slice path = {0}, member;
    for (int i = 0; i < 100000; i++)
        ig_buf_char(&long_name, 'x');
    for (int depth = 0; depth < TABLE_DEPTH_MAX; depth++)
        check_ok(table__path(&arena, path, ig_buf_view(&long_name), &path, &err), &err);
    assert_true(path.len <= TABLE_PATH_BYTES_MAX);
    check_fails(table__member(&arena, ig_buf_view(&long_name), &member, &err), &err,
                IG_ERR_UNSUPPORTED, "a column has a name of 100000 bytes; at most 65536 are read");
    assert_true(arena.bytes < 100000);
    ig_arena_release(&arena);
    ig_buf_release(&long_name);
}

/* 2^40 rows in 50 bytes: nothing would ever end them. */
static void rows_need_a_column(void **state)
{
    (void)state;
    static const char bytes[] =
        "PAR1"
        "\x15\x02\x19\x1C\x48\x01\x72\x15\x00\x00\x16\x80\x80\x80\x80\x80\x40\x19\x1C\x19"
        "\x0C\x26\x80\x80\x80\x80\x80\x40\x00\x00\x1E\x00\x00\x00"
        "PAR1";
    struct ig_err err = {0};
    struct table_reader reader;
    check_fails(table__open(ig_slice_make(bytes, sizeof bytes - 1), TABLE_UNPACKED_BYTES_MAX,
                            &reader, &err),
                &err, IG_ERR_DATA, "1099511627776 rows without a column");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixed_files_have_the_rows_that_pyarrow_reads),
        cmocka_unit_test(tasks_have_the_rows_of_their_json_lines),
        cmocka_unit_test(reals_are_as_python_writes_them),
        cmocka_unit_test(lines_come_as_they_are),
        cmocka_unit_test(long_names_cost_little),
        cmocka_unit_test(rows_need_a_column),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(a_file_with_a_wrong_byte_does_no_harm),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
