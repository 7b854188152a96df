/* SPDX-License-Identifier: Apache-2.0
 * stage — whatever the order, the sizes and the threads of what is put, the file holds it. */
#include "check.h"
#include "scratch.h"
#include "store/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define CHUNK 8192
#define BYTES (CHUNK * 40 + 5000)
#define PART  1000

static unsigned char want[2][BYTES], got[BYTES];
static char path[2][1024];
static struct store_stage_file files[2];
static int order[2 * (BYTES / PART + 1)], order_count;
static struct store_stage *stage;

static unsigned random_state;
static unsigned dice(unsigned sides)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % sides;
}

static void open_files(void)
{
    for (int f = 0; f < 2; f++) {
        snprintf(path[f], sizeof path[f], "%s", scratch(f ? "second" : "first"));
        int fd = open(path[f], O_RDWR | O_CREAT | O_TRUNC, 0666);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, BYTES), 0);
        files[f] = (struct store_stage_file){path[f], fd, BYTES};
        for (int i = 0; i < BYTES; i++)
            want[f][i] = (unsigned char)dice(256);
    }
}

static void close_files(void)
{
    for (int f = 0; f < 2; f++)
        close(files[f].fd);
}

/* Parts of both files, swapped with others up to `far` places away. */
static void shuffle(int far)
{
    int each = BYTES / PART + 1;
    order_count = 2 * each;
    for (int i = 0; i < order_count; i++)
        order[i] = i;
    for (int i = 0; far && i < order_count; i++) {
        int other = i + (int)dice((unsigned)far), swap = order[i];
        if (other >= order_count) continue;
        order[i] = order[other];
        order[other] = swap;
    }
}

static void put_part(int part)
{
    int each = BYTES / PART + 1, file = part / each, at = part % each * PART, failed;
    size_t n = BYTES - at < PART ? (size_t)(BYTES - at) : PART;
    assert_int_equal(store__stage_put(stage, file, (uint64_t)at, want[file] + at, n, &failed), 0);
    memset(got, 0, n);
    assert_int_equal(store__stage_read(stage, file, (uint64_t)at, got, n), 0);
    assert_memory_equal(got, want[file] + at, n);
}

static void check_files(void)
{
    for (int f = 0; f < 2; f++) {
        assert_int_equal(pread(files[f].fd, got, BYTES, 0), BYTES);
        assert_memory_equal(got, want[f], BYTES);
    }
}

static void any_order_of_parts(void **state)
{
    (void)state;
    int failed, buffers[] = {1, 3, 16};
    for (int far = 0; far < 200; far = far * 3 + 1) {
        for (int b = 0; b < 3; b++) {
            open_files();
            stage = store__stage_new(files, 2, CHUNK, buffers[b]);
            if (!stage) skip(); /* a file system without O_DIRECT */
            shuffle(far);
            for (int i = 0; i < order_count; i++)
                put_part(order[i]);
            assert_int_equal(store__stage_flush(stage, &failed), 0);
            check_files();
            put_part(7); /* after a flush, and again what is there */
            store__stage_free(stage);
            check_files();
            close_files();
        }
    }
}

static void what_was_put_is_written_without_a_flush(void **state)
{
    (void)state;
    open_files();
    stage = store__stage_new(files, 2, CHUNK, 4);
    if (!stage) skip();
    int failed;
    assert_int_equal(store__stage_put(stage, 1, 9000, want[1] + 9000, 30000, &failed), 0);
    store__stage_free(stage);
    assert_int_equal(pread(files[1].fd, got, BYTES, 0), BYTES);
    for (int i = 0; i < BYTES; i++)
        assert_int_equal(got[i], i >= 9000 && i < 39000 ? want[1][i] : 0);
    close_files();
}

static void *put_share(void *user)
{
    int failed, thread = *(int *)user, each = BYTES / PART + 1;
    for (int i = thread; i < order_count; i += 4) {
        int file = order[i] / each, at = order[i] % each * PART;
        size_t n = BYTES - at < PART ? (size_t)(BYTES - at) : PART;
        if (store__stage_put(stage, file, (uint64_t)at, want[file] + at, n, &failed) != 0)
            return user;
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    int failed, thread[4] = {0, 1, 2, 3};
    for (int round = 0; round < 20; round++) {
        pthread_t threads[4];
        open_files();
        stage = store__stage_new(files, 2, CHUNK, 2 + round % 5);
        if (!stage) skip();
        shuffle(round * 4);
        for (int t = 0; t < 4; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, put_share, &thread[t]), 0);
        for (int t = 0; t < 4; t++) {
            void *bad;
            pthread_join(threads[t], &bad);
            assert_null(bad);
        }
        assert_int_equal(store__stage_flush(stage, &failed), 0);
        check_files();
        store__stage_free(stage);
        close_files();
    }
}

static void a_failed_write_is_told(void **state)
{
    (void)state;
    struct rlimit before, tight;
    int failed = -1, told = 0;
    open_files();
    stage = store__stage_new(files, 2, CHUNK, 4);
    if (!stage) skip();
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    tight = before;
    tight.rlim_cur = CHUNK * 8;
    setrlimit(RLIMIT_FSIZE, &tight);
    for (int i = 0; i < 40 && !told; i++)
        told = store__stage_put(stage, 1, (uint64_t)i * CHUNK, want[1], CHUNK, &failed);
    int flushed = store__stage_flush(stage, &failed);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(flushed, EFBIG);
    assert_int_equal(told ? told : EFBIG, EFBIG);
    assert_int_equal(failed, 1);
    store__stage_free(stage);
    close_files();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_of_parts),
        cmocka_unit_test(what_was_put_is_written_without_a_flush),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(a_failed_write_is_told),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
