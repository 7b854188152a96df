/* SPDX-License-Identifier: Apache-2.0
 * store — model folders written and read back. */
#include "ingot/store.h"
#include "scratch.h"

static struct ig_tensor tensor(const char *name, enum ig_dtype dtype, int rank, int64_t a,
                               int64_t b)
{
    return (struct ig_tensor){
        .name = ig_slice_of(name), .dtype = dtype, .rank = rank, .shape = {a, b}};
}

static void put_all(struct ig_writer *writer, const struct ig_tensor *tensors, int64_t count)
{
    struct ig_err err = {0};
    struct ig_sink sink = ig_writer_sink(writer);
    for (int64_t i = 0; i < count; i++) {
        int64_t elems = 1;
        for (int d = 0; d < tensors[i].rank; d++)
            elems *= tensors[i].shape[d];
        size_t bytes = (size_t)elems * ig_dtype_bytes(tensors[i].dtype);
        unsigned char *data = malloc(bytes + 1);
        memset(data, (int)i + 1, bytes);
        assert_true(sink.wants(sink.self, i));
        check_ok(sink.put(sink.self, i, 0, elems, data, &err), &err);
        check_ok(sink.done(sink.self, i, &err), &err);
        free(data);
    }
}

static void written_folder_reads_back(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_tensor tensors[] = {
        tensor("embed", IG_BF16, 2, 100, 30), tensor("a.weight", IG_F32, 2, 7, 9),
        tensor("a.scales", IG_U8, 1, 13, 0),  tensor("empty", IG_F16, 1, 0, 0),
        tensor("scalar", IG_I64, 0, 0, 0),    tensor("norm", IG_BF16, 1, 300, 0),
    };
    const int64_t count = sizeof tensors / sizeof *tensors;
    for (int layout = 0; layout < 2; layout++) {
        for (uint64_t limit = 0; limit <= 6500; limit += 6500) {
            struct ig_writer_plan plan = {.out = scratch("model"),
                                          .tensors = tensors,
                                          .count = count,
                                          .layout = (enum ig_layout)layout,
                                          .shard_bytes_max = limit,
                                          .total_parameters = 5};
            struct ig_writer *writer;
            struct ig_store *store;
            check_ok(ig_writer_open(&plan, &writer, &err), &err);
            put_all(writer, tensors, count);
            check_ok(
                ig_writer_add(writer, "config.json", ig_slice_of("{\"model_type\": \"x\"}"), &err),
                &err);
            check_ok(ig_writer_finish(writer, &err), &err);
            ig_writer_close(writer);
            assert_false(ig_path_exists(scratch("model.partial")));
            check_ok(ig_store_open(scratch("model"), &store, &err), &err);
            assert_int_equal(ig_store_count(store), count);
            assert_int_equal(ig_store_file_count(store), limit ? 2 : 1);
            assert_int_equal(ig_store_bytes(store), 6000 + 252 + 13 + 8 + 600);
            assert_true(
                ig_slice_is(ig_json_text(ig_json_get(ig_store_config(store), "model_type")), "x"));
            for (int64_t i = 0; i < count; i++) {
                const struct ig_tensor *t = ig_store_find(store, tensors[i].name);
                assert_non_null(t);
                unsigned char data[6000];
                check_ok(ig_store_read(store, t, 0, t->bytes, data, &err), &err);
                const unsigned char *map = ig_store_map(store, t, &err);
                for (size_t b = 0; b < t->bytes; b++)
                    assert_true(data[b] == i + 1 && map[b] == i + 1);
            }
            assert_null(ig_store_find(store, ig_slice_of("absent")));
            ig_store_close(store);
            check_ok(ig_dir_remove(scratch("model"), &err), &err);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_folder_reads_back),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
