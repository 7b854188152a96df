/* SPDX-License-Identifier: Apache-2.0
 * base — arena, buf, map, thread pool. */
#include "base/arena.h"
#include "base/map.h"
#include "base/thread.h"
#include "check.h"
#include "ingot/buf.h"

#include <stdatomic.h>
#include <stdio.h>

static void arena_values_are_aligned_and_zeroed(void **state)
{
    (void)state;
    struct ig_arena arena = {0};
    for (size_t n = 0; n < 3000; n += 7) {
        unsigned char *p = ig_arena_new(&arena, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xAA, n);
    }
    assert_null(ig_arena_array(&arena, SIZE_MAX / 2, 4));
    ig_arena_release(&arena);
}

static void arena_limit_holds(void **state)
{
    (void)state;
    struct ig_arena arena = {.bytes_max = 100000};
    size_t total = 0;
    while (ig_arena_new(&arena, 1000))
        total += 1000;
    assert_true(total > 0 && total <= 100000);
    ig_arena_release(&arena);
}

static void buf_failure_is_sticky(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_buf buf = {.len_max = 10};
    ig_buf_text(&buf, "12345");
    check_ok(ig_buf_ok(&buf, &err), &err);
    ig_buf_text(&buf, "1234567");
    ig_buf_text(&buf, "x");
    assert_int_equal(buf.len, 5);
    check_fails(ig_buf_ok(&buf, &err), &err, IG_ERR_NOMEM, "longer than 10 bytes");
    ig_buf_release(&buf);
}

static void map_keeps_what_was_put(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_map map = {0};
    static char names[5000][16];
    for (int i = 0; i < 5000; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        check_ok(ig_map_put(&map, ig_slice_of(names[i]), i, &err), &err);
    }
    check_ok(ig_map_put(&map, ig_slice_of("t7"), 70, &err), &err);
    assert_int_equal(map.count, 5000);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(ig_map_get(&map, ig_slice_of(names[i]), -1), i == 7 ? 70 : i);
    assert_int_equal(ig_map_get(&map, ig_slice_of("absent"), -1), -1);
    ig_map_release(&map);
}

static atomic_llong sum;

static bool add_index(void *user, int thread, int64_t index, struct ig_err *err)
{
    (void)user, (void)thread;
    if (index == 5000) return ig_err_set(err, IG_ERR_DATA, "five thousand");
    atomic_fetch_add(&sum, index);
    return true;
}

static void pool_runs_every_index_once_and_reports_failure(void **state)
{
    (void)state;
    struct ig_err err = {0};
    for (int threads = 1; threads <= 8; threads++) {
        struct ig_pool *pool = ig_pool_new(threads, &err);
        check_ok(pool != NULL, &err);
        for (int round = 0; round < 50; round++) {
            atomic_store(&sum, 0);
            check_ok(ig_pool_each(pool, 1000, add_index, NULL, &err), &err);
            assert_int_equal(atomic_load(&sum), 499500);
        }
        check_fails(ig_pool_each(pool, 10000, add_index, NULL, &err), &err, IG_ERR_DATA,
                    "five thousand");
        ig_pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_values_are_aligned_and_zeroed),
        cmocka_unit_test(arena_limit_holds),
        cmocka_unit_test(buf_failure_is_sticky),
        cmocka_unit_test(map_keeps_what_was_put),
        cmocka_unit_test(pool_runs_every_index_once_and_reports_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
