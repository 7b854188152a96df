/* SPDX-License-Identifier: Apache-2.0
 * store_memory — every allocation of a whole life (write, carry, open, read, map, close) fails
 * once: the call says "out of memory", nothing leaks (ASan looks), and no output gets the final
 * name. The linker wraps the allocators (tests/unit/meson.build). */
#include "ingot/store.h"
#include "scratch.h"
#include "starve.h"

static bool write_model(struct ig_err *err)
{
    static const unsigned char bytes[70000];
    struct ig_tensor tensors[3] = {
        {.name = ig_slice_of("a"), .dtype = IG_BF16, .rank = 2, .shape = {100, 300}},
        {.name = ig_slice_of("b"), .dtype = IG_U8, .rank = 1, .shape = {70000}},
        {.name = ig_slice_of("c"), .dtype = IG_F32, .rank = 0},
    };
    struct ig_writer *writer;
    struct ig_writer_plan plan = {.out = scratch("out"),
                                  .tensors = tensors,
                                  .count = 3,
                                  .layout = IG_LAYOUT_MLX,
                                  .shard_bytes_max = 65000};
    if (!ig_writer_open(&plan, &writer, err)) return false;
    bool ok = ig_writer_put(writer, 0, 0, bytes, 60000, err) && ig_writer_mark(writer, 0, err) &&
              ig_writer_put(writer, 1, 100, bytes, 69900, err) &&
              ig_writer_put(writer, 1, 0, bytes, 100, err) && ig_writer_mark(writer, 1, err) &&
              ig_writer_put(writer, 2, 0, bytes, 4, err) && ig_writer_mark(writer, 2, err) &&
              ig_writer_add(writer, "config.json", ig_slice_of("{\"a\": [1, \"two\"]}"), err) &&
              ig_writer_carry(writer, scratch("in"), err) && ig_writer_finish(writer, err);
    ig_writer_close(writer);
    return ok;
}

static bool read_model(struct ig_err *err)
{
    struct ig_store *store;
    unsigned char byte;
    if (!ig_store_open(scratch("out"), &store, err)) return false;
    const struct ig_tensor *b = ig_store_find(store, ig_slice_of("b"));
    bool ok = b && ig_store_read(store, b, 69999, 1, &byte, err) && ig_store_map(store, b, err);
    ig_store_close(store);
    return ok;
}

/* Runs life with 0, 1, 2, ... allocations allowed until it passes; returns how many it took. */
static long starve(bool (*life)(struct ig_err *err), bool writes)
{
    struct ig_err err = {0};
    for (long allowed = 0;; allowed++) {
        if (writes) {
            check_ok(ig_dir_remove(scratch("out"), &err), &err);
            check_ok(ig_dir_remove(scratch("out.partial"), &err), &err);
        }
        err = (struct ig_err){0};
        budget = allowed;
        taken = 0;
        bool ok = life(&err);
        bool refused = taken > allowed;
        budget = -1;
        if (!refused) {
            check_ok(ok, &err);
            return allowed;
        }
        if (ok) continue; /* a digest that is computed later instead */
        if (err.code != IG_ERR_NOMEM) fail_msg("allocation %ld: %s", allowed, err.text);
        if (writes) assert_false(ig_path_exists(scratch("out")));
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct ig_err err = {0};
    check_ok(ig_dir_make(scratch("in"), &err), &err);
    scratch_write("in/tokenizer.json", "{}", 2);
    long writing = starve(write_model, true), reading = starve(read_model, false);
    print_message("allocations: %ld to write, %ld to read\n", writing, reading);
    assert_true(writing > 10 && reading > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
