/* SPDX-License-Identifier: Apache-2.0
 * session_forms — caches that hold floats first and fewer bits later: when they change, what is
 * copied, kept and cut back; copies of caches that rotate; the memory that caches take and give
 * back. Parity with mlx-lm: test_session_cache.c. */
#include "sessions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { IDS_MAX = 512 };

/* ---- floats first, fewer bits later ---- */

static struct ig_session *later(struct ig_model *model, int64_t window, int64_t start)
{
    struct ig_err err = {0};
    struct ig_session *s = NULL;
    const struct ig_session_options how = {.window = window, .bits = 8, .start = start};
    check_ok(ig_session_new_as(model, &how, &s, &err), &err);
    return s;
}

static void check_same(struct ig_session *a, struct ig_session *b, struct ig_model *model)
{
    assert_memory_equal(ig_session_logits(a), ig_session_logits(b),
                        (size_t)ig_model_shape(model)->vocab * sizeof(float));
}

/* Before it is passed the cache is one of floats to the byte; afterwards it has the bytes of codes;
 * cut back below it is empty, and floats again. */
static void it_changes_once(void **state)
{
    (void)state;
    struct ig_model *model = open_lantern();
    struct ig_session *floats = session_as(model, 0, 0, 32), *s = later(model, 0, 100);
    int32_t ids[200];
    for (int i = 0; i < 200; i++)
        ids[i] = token_at(i);
    for (int round = 0; round < 2; round++) {
        feed(floats, ids, 98);
        feed(s, ids, 98);
        feed(floats, ids + 98, 1);
        feed(s, ids + 98, 1);
        check_same(floats, s, model);
        assert_int_equal(ig_session_token_bytes(s), 2048);
        feed(s, ids + 99, 1);
        assert_int_equal(ig_session_token_bytes(s), 640);
        feed(s, ids + 100, 90);
        assert_int_equal(ig_session_trim(s, 150), 150);
        assert_int_equal(ig_session_token_bytes(s), 640);
        assert_int_equal(ig_session_trim(s, 99), 0);
        assert_int_equal(ig_session_token_bytes(s), 2048);
        ig_session_trim(floats, 0);
    }
    ig_session_free(floats);
    ig_session_free(s);
    ig_model_close(model);
}

static void a_copy_has_the_form_of_its_length(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = open_lantern();
    struct ig_session *s = later(model, 0, 100), *t, *floats = session_as(model, 0, 0, 8);
    int32_t ids[200], read[512];
    char path[] = "/tmp/ingot-cache-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < 200; i++)
        ids[i] = token_at(i);
    check_ok(ig_session_new_beside(s, 300, &t, &err), &err);
    feed(s, ids, 80);
    assert_true(ig_session_copy(t, s, 60));
    assert_int_equal(ig_session_token_bytes(t), 2048);
    feed(s, ids + 80, 80);
    assert_false(ig_session_copy(t, s, 60)); /* those are codes now */
    assert_int_equal(ig_session_length(t), 60);
    assert_true(ig_session_copy(t, s, 140));
    assert_int_equal(ig_session_token_bytes(t), 640);
    assert_false(ig_session_copy(floats, s, 140));
    ig_session_trim(s, 140);
    float want[4];
    feed(s, ids, 1);
    memcpy(want, ig_session_logits(s), sizeof want);
    feed(t, ids, 1);
    assert_memory_equal(ig_session_logits(t), want, sizeof want);
    ig_session_trim(s, 140);
    check_ok(ig_session_save(s, ids, path, &err), &err);
    ig_session_trim(t, 0);
    feed(t, ids, 20);
    check_ok(ig_session_load(t, path, read, &err), &err);
    assert_int_equal(ig_session_length(t), 140);
    feed(t, ids, 1);
    assert_memory_equal(ig_session_logits(t), want, sizeof want);
    ig_session_trim(s, 0);
    feed(s, ids, 20); /* and the file of a session that has not changed */
    check_ok(ig_session_save(s, ids, path, &err), &err);
    check_ok(ig_session_load(t, path, read, &err), &err);
    assert_int_equal(ig_session_token_bytes(t), 2048);
    ig_session_free(t);
    ig_session_free(s);
    ig_session_free(floats);
    unlink(path);
    ig_model_close(model);
}

/* In rings too; and steps of several, of which some change. */
static void rings_and_steps_change(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = open_lantern();
    struct ig_session *ring = later(model, 64, 100), *two[2] = {later(model, 0, 30), NULL};
    int64_t vocab = ig_model_shape(model)->vocab;
    int32_t ids[200];
    float *logits = calloc(2 * (size_t)vocab, sizeof *logits);
    assert_non_null(logits);
    for (int i = 0; i < 200; i++)
        ids[i] = token_at(i);
    feed(ring, ids, 90);
    assert_int_equal(ig_session_token_bytes(ring), 2048);
    for (int i = 90; i < 200; i++)
        feed(ring, ids + i, 1);
    assert_int_equal(ig_session_token_bytes(ring), 640);
    assert_true(isfinite(ig_session_logits(ring)[0]));
    check_ok(ig_session_new_beside(two[0], 0, &two[1], &err), &err);
    feed(two[0], ids, 28);
    feed(two[1], ids, 10);
    for (int i = 0; i < 10; i++)
        check_ok(ig_sessions_step(two, ids + i, 2, logits, &err), &err);
    assert_int_equal(ig_session_token_bytes(two[0]), 640);
    assert_int_equal(ig_session_token_bytes(two[1]), 2048);
    free(logits);
    ig_session_free(two[1]);
    ig_session_free(two[0]);
    ig_session_free(ring);
    ig_model_close(model);
}

/* ---- memory ---- */

static void copies_of_rings_that_have_not_turned(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = open_lantern();
    struct ig_session *s = session_as(model, 0, 64, 32), *t;
    int32_t ids[IDS_MAX * 2];
    for (int i = 0; i < IDS_MAX * 2; i++)
        ids[i] = token_at(i);
    check_ok(ig_session_new_beside(s, 0, &t, &err), &err);
    feed(s, ids, 50);
    feed(t, ids + 3, 200);
    assert_true(ig_session_copy(t, s, 40));
    ig_session_trim(s, 40);
    for (int i = 40; i < 120; i++) {
        feed(s, ids + i, 1);
        float want = ig_session_logits(s)[5];
        feed(t, ids + i, 1);
        assert_true(ig_session_logits(t)[5] == want);
    }
    feed(s, ids, IDS_MAX * 2 - 1);
    assert_false(ig_session_copy(t, s, 10));
    ig_session_free(t);
    ig_session_free(s);
    ig_model_close(model);
}

static void it_gives_memory_back(void **state)
{
    (void)state;
    struct ig_model *model = open_lantern();
    struct ig_session *s = session_as(model, 0, 0, 32), *again = session_as(model, 0, 0, 32);
    int32_t ids[400];
    for (int i = 0; i < 400; i++)
        ids[i] = token_at(i);
    assert_int_equal(ig_session_bytes(s), 0);
    feed(s, ids, 300);
    size_t full = ig_session_bytes(s);
    assert_true(full >= 300U * 2048 && full <= ig_session_bytes_for(s, 300));
    ig_session_trim(s, 100);
    assert_int_equal(ig_session_bytes(s), full); /* kept for what comes */
    ig_session_shrink(s);
    assert_true(ig_session_bytes(s) < full / 2);
    feed(s, ids + 100, 300);
    feed(again, ids, 100);
    feed(again, ids + 100, 300);
    check_same(s, again, model);
    ig_session_trim(s, 0);
    ig_session_shrink(s);
    assert_int_equal(ig_session_bytes(s), 0);
    ig_session_free(s);
    s = later(model, 0, 50);
    assert_true(ig_session_bytes_for(s, 40) >= 40U * 2048);
    assert_true(ig_session_bytes_for(s, 500) < 500U * 2048 + 500U * 640 + (64U << 12));
    ig_session_free(s);
    ig_session_free(again);
    ig_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_changes_once),
        cmocka_unit_test(a_copy_has_the_form_of_its_length),
        cmocka_unit_test(rings_and_steps_change),
        cmocka_unit_test(copies_of_rings_that_have_not_turned),
        cmocka_unit_test(it_gives_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
