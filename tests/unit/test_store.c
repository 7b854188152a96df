/* SPDX-License-Identifier: Apache-2.0
 * store — model folders written and read back. */
#include "base/thread.h"
#include "ingot/store.h"
#include "scratch.h"

#include <time.h>

/* Sanitizers slow programs down several times. gcc defines macros, clang has features. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#else
#define SANITIZED false
#endif

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

struct chunks {
    struct ig_sink sink;
    const uint16_t *data;
    int64_t elems, step;
};

static bool put_chunk(void *user, int thread, int64_t index, struct ig_err *err)
{
    (void)thread;
    struct chunks *c = user;
    int64_t first = index * c->step, n = c->elems - first < c->step ? c->elems - first : c->step;
    return c->sink.put(c->sink.self, 0, first, n, c->data + first, err);
}

/* However a tensor is cut up and whoever writes it: the same bytes and the same digest. */
static void chunks_may_come_from_any_thread(void **state)
{
    (void)state;
    struct ig_err err = {0};
    enum { ELEMS = 600001 };
    static uint16_t data[ELEMS];
    char digest[64] = "";
    for (int i = 0; i < ELEMS; i++)
        data[i] = (uint16_t)(i * 40503u >> 7);
    struct ig_tensor t = tensor("t", IG_BF16, 1, ELEMS, 0);
    struct ig_pool *pool = ig_pool_new(4, &err);
    check_ok(pool != NULL, &err);
    for (int64_t step = 128; step <= (int64_t)ELEMS + 127; step = step * 3 / 128 * 128) {
        struct ig_writer *writer;
        struct ig_store *store;
        struct ig_writer_plan plan = {.out = scratch("model"), .tensors = &t, .count = 1};
        check_ok(ig_writer_open(&plan, &writer, &err), &err);
        struct chunks c = {ig_writer_sink(writer), data, ELEMS, step};
        check_ok(ig_pool_each(pool, (ELEMS + step - 1) / step, put_chunk, &c, &err), &err);
        check_ok(ig_writer_mark(writer, 0, &err), &err);
        if (!*digest) snprintf(digest, sizeof digest, "%s", ig_writer_digest(writer, 0));
        assert_string_equal(ig_writer_digest(writer, 0), digest);
        check_ok(ig_writer_finish(writer, &err), &err);
        ig_writer_close(writer);
        check_ok(ig_store_open(scratch("model"), &store, &err), &err);
        const void *map = ig_store_map(store, ig_store_at(store, 0), &err);
        check_ok(map != NULL, &err);
        assert_memory_equal(map, data, sizeof data);
        ig_store_close(store);
        check_ok(ig_dir_remove(scratch("model"), &err), &err);
    }
    ig_pool_free(pool);
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The names of Qwen3-42B-A3B (67 layers of 393 tensors, and 3), each of one byte. */
static void a_header_of_26334_tensors_opens_fast(void **state)
{
    (void)state;
    enum { COUNT = 67 * 393 + 3 };
    struct ig_err err = {0};
    struct ig_writer *writer;
    struct ig_store *store;
    static struct ig_tensor tensors[COUNT];
    static char names[COUNT][64];
    for (int i = 0; i < COUNT; i++) {
        int layer = i / 393, part = i % 393;
        snprintf(names[i], sizeof names[i],
                 part < 384 ? "model.layers.%d.mlp.experts.%d.%s_proj.weight"
                            : "model.layers.%d.part.%d.%s.weight",
                 layer, part / 3,
                 part % 3 == 0   ? "gate"
                 : part % 3 == 1 ? "up"
                                 : "down");
        tensors[i] = tensor(names[i], IG_U8, 2, 1, 1);
    }
    struct ig_writer_plan plan = {.out = scratch("large"),
                                  .tensors = tensors,
                                  .count = COUNT,
                                  .shard_bytes_max = COUNT / 13 + 1,
                                  .no_sync = true};
    check_ok(ig_writer_open(&plan, &writer, &err), &err);
    put_all(writer, tensors, COUNT);
    check_ok(ig_writer_finish(writer, &err), &err);
    ig_writer_close(writer);
    double best = 1e9;
    for (int round = 0; round < 5; round++) {
        double start = cpu_seconds();
        check_ok(ig_store_open(scratch("large"), &store, &err), &err);
        double seconds = cpu_seconds() - start;
        best = seconds < best ? seconds : best;
        assert_int_equal(ig_store_count(store), COUNT);
        assert_int_equal(ig_store_file_count(store), 13);
        for (int i = 0; i < COUNT; i += 997) {
            unsigned char byte;
            const struct ig_tensor *t = ig_store_find(store, tensors[i].name);
            assert_non_null(t);
            check_ok(ig_store_read(store, t, 0, 1, &byte, &err), &err);
            assert_int_equal(byte, (i + 1) & 255);
        }
        ig_store_close(store);
    }
    print_message("%d tensors in 13 shards: %.1f ms\n", (int)COUNT, best * 1e3);
    assert_true(SANITIZED || check_emulated() || best < 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_folder_reads_back),
        cmocka_unit_test(chunks_may_come_from_any_thread),
        cmocka_unit_test(a_header_of_26334_tensors_opens_fast),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
