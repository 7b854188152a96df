/* SPDX-License-Identifier: Apache-2.0
 * store_layout — files and indices equal, byte for byte, those that safetensors, transformers, mlx
 * and mlx-lm wrote (tests/golden/store/layouts.jsonl, by tools/golden/safetensors_layouts.py). */
#include "base/arena.h"
#include "ingot/store.h"
#include "scratch.h"

#define TENSORS_MAX 512

static struct ig_tensor tensors[TENSORS_MAX];

static int64_t read_tensors(const struct ig_json *list)
{
    assert_true(list->count <= TENSORS_MAX);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct ig_json *row = list->items[i].items;
        struct ig_tensor *t = &tensors[i];
        *t = (struct ig_tensor){
            .name = ig_json_text(&row[0]), .rank = (int)row[2].count, .elems = 1};
        assert_true(ig_dtype_find(ig_json_text(&row[1]), &t->dtype));
        for (int d = 0; d < t->rank; d++) {
            assert_true(ig_json_int(&row[2].items[d], &t->shape[d]));
            t->elems *= t->shape[d];
        }
    }
    return list->count;
}

/* As data() of the script that made the goldens. */
static void fill(unsigned char *bytes, size_t count, int64_t index, enum ig_dtype dtype)
{
    for (size_t k = 0; k < count; k++) {
        bytes[k] = (unsigned char)((k * 7 + (size_t)index) % 251);
        if (dtype == IG_BOOL) bytes[k] %= 2;
    }
}

static void write_folder(const struct ig_json *row, int64_t count)
{
    struct ig_err err = {0};
    struct ig_writer *writer;
    bool mlx = ig_slice_is(ig_json_text(ig_json_get(row, "layout")), "mlx");
    struct ig_writer_plan plan = {.out = scratch("model"),
                                  .tensors = tensors,
                                  .count = count,
                                  .layout = mlx ? IG_LAYOUT_MLX : IG_LAYOUT_HF,
                                  .total_parameters = -1,
                                  .index_always = ig_json_get(row, "index") != NULL};
    int64_t limit = 0;
    if (ig_json_int(ig_json_get(row, "limit"), &limit)) plan.shard_bytes_max = (uint64_t)limit;
    (void)ig_json_int(ig_json_get(row, "total_parameters"), &plan.total_parameters);
    check_ok(ig_writer_open(&plan, &writer, &err), &err);
    struct ig_sink sink = ig_writer_sink(writer);
    for (int64_t i = 0; i < count; i++) {
        static unsigned char bytes[1 << 16];
        fill(bytes, (size_t)tensors[i].elems * ig_dtype_bytes(tensors[i].dtype), i,
             tensors[i].dtype);
        check_ok(sink.put(sink.self, i, 0, tensors[i].elems, bytes, &err), &err);
        check_ok(sink.done(sink.self, i, &err), &err);
    }
    check_ok(ig_writer_finish(writer, &err), &err);
    ig_writer_close(writer);
}

/* The header must be the golden text, its length before it, and only data after it. */
static void check_file(const char *name, struct ig_slice golden)
{
    char path[300];
    snprintf(path, sizeof path, "model/%s", name);
    struct ig_buf got = scratch_read(path);
    if (strstr(name, ".json")) {
        assert_string_equal(got.data, golden.ptr);
    } else {
        uint64_t length = 0;
        for (int i = 7; i >= 0; i--)
            length = length << 8 | (unsigned char)got.data[i];
        assert_true(length <= got.len - 8);
        char *header = strndup(got.data + 8, length);
        assert_string_equal(header, golden.ptr);
        assert_int_equal(length, golden.len);
        free(header);
    }
    ig_buf_release(&got);
}

static void check_data(int64_t count)
{
    struct ig_err err = {0};
    struct ig_store *store;
    static unsigned char got[1 << 16], want[1 << 16];
    check_ok(ig_store_open(scratch("model"), &store, &err), &err);
    assert_int_equal(ig_store_count(store), count);
    for (int64_t i = 0; i < count; i++) {
        const struct ig_tensor *t = ig_store_find(store, tensors[i].name);
        assert_non_null(t);
        fill(want, t->bytes, i, t->dtype);
        check_ok(ig_store_read(store, t, 0, t->bytes, got, &err), &err);
        assert_memory_equal(got, want, t->bytes);
    }
    ig_store_close(store);
}

static bool count_entry(void *user, const char *name)
{
    (void)name;
    ++*(uint32_t *)user;
    return true;
}

static void files_equal_the_peers(void **state)
{
    (void)state;
    char path[IG_PATH_MAX];
    struct ig_err err = {0};
    struct ig_buf rows = {0};
    struct ig_arena arena = {0};
    check_ok(ig_path_join(path, getenv("INGOT_TESTS"), "golden/store/layouts.jsonl", &err), &err);
    check_ok(ig_file_read(path, SIZE_MAX, &rows, &err), &err);
    for (char *line = rows.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        struct ig_json *row =
            ig_json_parse(ig_slice_make(line, (size_t)(end - line)), &arena, &err);
        check_ok(row != NULL, &err);
        print_message("%s, %s\n", ig_json_text(ig_json_get(row, "layout")).ptr,
                      ig_json_text(ig_json_get(row, "name")).ptr);
        int64_t count = read_tensors(ig_json_get(row, "tensors"));
        write_folder(row, count);
        const struct ig_json *files = ig_json_get(row, "files");
        uint32_t present = 0;
        check_ok(ig_dir_list(scratch("model"), count_entry, &present, &err), &err);
        assert_int_equal(present, files->count);
        for (uint32_t f = 0; f < files->count; f++)
            check_file(files->items[f].key.ptr, ig_json_text(&files->items[f]));
        check_data(count);
        check_ok(ig_dir_remove(scratch("model"), &err), &err);
    }
    ig_buf_release(&rows);
    ig_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_equal_the_peers),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
