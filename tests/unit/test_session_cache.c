/* SPDX-License-Identifier: Apache-2.0
 * session_cache — caches that rotate, or hold fewer bits: logits are those of mlx-lm with the same
 * cache (tools/golden/cache_mlx.py); a cache that rotates and is not full is a plain one; how far
 * fewer bits are from f32; what may be cut back, copied, kept and taken up. Caches that change
 * their form: test_session_forms.c. */
#include "base/file.h"
#include "ingot/json.h"
#include "sessions.h"
#include "starve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { IDS_MAX = 512, WATCHED_MAX = 16 };

static const char *folder(const char *variable, const char *otherwise, const char *name)
{
    static char path[IG_PATH_MAX];
    const char *at = getenv(variable);
    snprintf(path, sizeof path, "%s/%s", at ? at : otherwise, name);
    return path;
}

/* ---- against mlx-lm ---- */

struct golden {
    struct ig_buf text;
    int32_t ids[IDS_MAX];
    int64_t watched[WATCHED_MAX];
    size_t id_count, watched_count;
};

static int64_t whole(const struct ig_json *node)
{
    int64_t out;
    assert_true(ig_json_int(node, &out));
    return out;
}

static void read_ids(struct golden *g, const struct ig_json *line)
{
    const struct ig_json *ids = ig_json_get(line, "ids"), *watched = ig_json_get(line, "watched");
    assert_true(ids->count <= IDS_MAX && watched->count <= WATCHED_MAX);
    for (uint32_t i = 0; i < ids->count; i++)
        g->ids[g->id_count++] = (int32_t)whole(&ids->items[i]);
    for (uint32_t i = 0; i < watched->count; i++)
        g->watched[g->watched_count++] = whole(&watched->items[i]);
}

static double log_sum(const float *logits, int64_t vocab)
{
    double top = -(double)INFINITY, sum = 0;
    for (int64_t i = 0; i < vocab; i++) /* not fmax: gcc 12 for ARM breaks on it */
        top = (double)logits[i] > top ? (double)logits[i] : top;
    for (int64_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - top);
    return top + log(sum);
}

/* Codes jump where a number lies between two of them: a rounding error of 1e-7 may move a key by a
 * step of its grid. So only f32 is close everywhere. */
static double tolerance_of(const struct ig_session_options *how)
{
    if (how->bits == 32) return 1e-4;
    if (how->bits == 4) return 1e-2;
    return how->start > 0 ? 2e-3 : 1e-3; /* mlx-lm's floats become codes all at once */
}

static void check_case(const struct golden *g, struct ig_model *model, const struct ig_json *line)
{
    struct ig_err err = {0};
    struct ig_session *s = NULL;
    const struct ig_json *runs = ig_json_get(line, "runs"), *want = ig_json_get(line, "want");
    const struct ig_session_options how = {
        .window = whole(ig_json_get(line, "window")),
        .bits = (int)whole(ig_json_get(line, "bits")),
        .group = (int)whole(ig_json_get(line, "group")),
        .start = ig_json_get(line, "start") ? whole(ig_json_get(line, "start")) : 0};
    int64_t at = 0, vocab = ig_model_shape(model)->vocab;
    double most = 0, sum = 0, tolerance = tolerance_of(&how);
    check_ok(ig_session_new_as(model, &how, &s, &err), &err);
    assert_int_equal(want->count, runs->count);
    for (uint32_t r = 0; r < runs->count; r++) {
        int64_t count = whole(&runs->items[r]);
        feed(s, g->ids + at, (size_t)count);
        at += count;
        const float *logits = ig_session_logits(s);
        for (size_t w = 0; w <= g->watched_count; w++) {
            double expected, got = w ? (double)logits[g->watched[w - 1]] : log_sum(logits, vocab);
            assert_true(ig_json_real(&want->items[r].items[w], &expected));
            double error = fabs(got - expected);
            most = fmax(most, error);
            sum += error / (double)(runs->count * (g->watched_count + 1));
            if (!(error <= tolerance))
                fail_msg("%.*s, window %ld, %d bits, after %ld tokens: %.6f, want %.6f",
                         IG_SLICE_ARG(ig_json_text(ig_json_get(line, "case"))), (long)how.window,
                         how.bits, (long)at, got, expected);
        }
    }
    print_message("window %ld, %d bits: largest error %.2g, mean %.2g\n", (long)how.window,
                  how.bits, most, sum);
    assert_true(sum <= 1e-4);
    assert_int_equal(ig_session_length(s), at);
    ig_session_free(s);
}

static void check_golden(struct ig_model *model)
{
    struct ig_err err = {0};
    struct golden g = {0};
    check_ok(ig_file_read(folder("INGOT_TESTS", "tests", "golden/infer/cache.jsonl"), 1 << 20,
                          &g.text, &err),
             &err);
    struct ig_slice rest = ig_buf_view(&g.text);
    size_t cases = 0;
    while (rest.len > 0) {
        struct ig_json_doc *doc = NULL;
        const char *end = memchr(rest.ptr, '\n', rest.len);
        assert_non_null(end);
        struct ig_slice line = {rest.ptr, (size_t)(end - rest.ptr)};
        check_ok(ig_json_doc_new(line, &doc, &err), &err);
        if (g.id_count == 0)
            read_ids(&g, ig_json_doc_root(doc));
        else
            check_case(&g, model, ig_json_doc_root(doc));
        cases++;
        ig_json_doc_free(doc);
        rest = (struct ig_slice){end + 1, rest.len - line.len - 1};
    }
    assert_int_equal(cases, 10);
    ig_buf_release(&g.text);
}

static void logits_are_those_of_mlx_lm(void **state)
{
    (void)state;
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        setenv("IG_KERNELS", ig_isa_name((enum ig_isa)isa), 1);
        struct ig_model *model = open_lantern();
        check_golden(model);
        ig_model_close(model);
    }
    unsetenv("IG_KERNELS");
}

/* ---- rotating ---- */

/* Runs of several lengths up to `count` tokens. */
static void feed_both(struct ig_session *a, struct ig_session *b, int64_t count, int64_t vocab)
{
    int32_t ids[IDS_MAX];
    for (int64_t i = 0; i < count; i++)
        ids[i] = token_at(i);
    for (int64_t at = 0, run = 50; at < count; at += run, run = at % 5 == 0 ? 3 : 1) {
        if (run > count - at) run = count - at;
        feed(a, ids + at, (size_t)run);
        feed(b, ids + at, (size_t)run);
        for (int64_t i = 0; i < vocab; i++)
            if (!(fabsf(ig_session_logits(a)[i] - ig_session_logits(b)[i]) <= 1e-6F))
                fail_msg("after %ld tokens, logit %ld: %.7g and %.7g", (long)(at + run), (long)i,
                         (double)ig_session_logits(a)[i], (double)ig_session_logits(b)[i]);
    }
}

static void one_that_is_not_full_is_a_plain_one(void **state)
{
    (void)state;
    struct ig_err err = {0};
    static const char *const names[] = {"plain", "qwen3_moe", "gemma3_text", "qwen3_next"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        char name[64];
        struct ig_model *model = NULL;
        snprintf(name, sizeof name, "golden/infer/%s", names[n]);
        check_ok(ig_model_open(folder("INGOT_TESTS", "tests", name), 2, &model, &err), &err);
        struct ig_session *plain = session_as(model, 0, 0, 32);
        struct ig_session *rotating = session_as(model, 0, 120, 32);
        feed_both(plain, rotating, 120, ig_model_shape(model)->vocab);
        ig_session_free(plain);
        ig_session_free(rotating);
        ig_model_close(model);
    }
}

/* Layers with a window that is smaller than the cache see what they see without the cache's end. */
static void sliding_layers_keep_their_window(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = NULL;
    check_ok(
        ig_model_open(folder("INGOT_TESTS", "tests", "golden/infer/gemma3_text"), 2, &model, &err),
        &err);
    struct ig_session *s = session_as(model, 0, 40, 32);
    int32_t ids[IDS_MAX];
    for (int64_t i = 0; i < 200; i++)
        ids[i] = token_at(i);
    feed(s, ids, 100);
    for (int64_t i = 100; i < 200; i++) {
        feed(s, ids + i, 1);
        assert_true(isfinite(ig_session_logits(s)[0]));
    }
    ig_session_free(s);
    ig_model_close(model);
}

/* Back to what is there, else to the first tokens; and the same logits from there. */
static void a_full_one_goes_back_as_far_as_it_can(void **state)
{
    (void)state;
    struct ig_model *model = open_lantern();
    struct ig_session *s = session_as(model, 0, 40, 32), *again = session_as(model, 0, 40, 32);
    int64_t vocab = ig_model_shape(model)->vocab;
    int32_t ids[IDS_MAX * 3];
    for (int64_t i = 0; i < IDS_MAX * 3; i++)
        ids[i] = token_at(i);
    for (int round = 0; round < 2; round++) {
        feed(s, ids, 300);
        for (int64_t i = 300; i < 700; i++)
            feed(s, ids + i, 1);
        float *logits = malloc((size_t)vocab * sizeof *logits);
        assert_non_null(logits);
        memcpy(logits, ig_session_logits(s), (size_t)vocab * sizeof *logits);
        assert_int_equal(ig_session_trim(s, 600), 600); /* the ring has room for a batch more */
        for (int64_t i = 600; i < 700; i++)
            feed(s, ids + i, 1);
        assert_memory_equal(ig_session_logits(s), logits, (size_t)vocab * sizeof *logits);
        assert_int_equal(ig_session_trim(s, 50), 4); /* that is overwritten */
        free(logits);
        feed(s, ids + 4, 30);
        feed(again, ids, 4);
        feed(again, ids + 4, 30);
        assert_memory_equal(ig_session_logits(s), ig_session_logits(again),
                            (size_t)vocab * sizeof *logits);
        assert_int_equal(ig_session_trim(s, 0), 0);
        assert_int_equal(ig_session_trim(again, 0), 0);
    }
    ig_session_free(s);
    ig_session_free(again);
    ig_model_close(model);
}

static void it_is_not_for_scores_nor_copies(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = open_lantern();
    struct ig_session *s = session_as(model, 0, 64, 32), *t = session_as(model, 0, 0, 32);
    const int32_t ids[] = {1, 2, 3};
    double logprobs[3];
    const struct ig_span span = {ids, 3, -1};
    const struct ig_target target = {0, 1, 5};
    struct ig_scored scored;
    feed(s, ids, 3);
    check_fails(ig_session_score(s, ids, ids, 3, logprobs, NULL, &err), &err, IG_ERR_USAGE,
                "does not rotate");
    check_fails(ig_session_score_spans(s, &span, 1, &target, 1, &scored, &err), &err, IG_ERR_USAGE,
                "does not rotate");
    assert_false(ig_session_copy(t, s, 2));
    assert_int_equal(ig_session_room(s), 64);
    assert_true(ig_session_context(s) > 1 << 30);
    ig_session_free(s);
    ig_session_free(t);
    ig_model_close(model);
}

/* ---- fewer bits ---- */

static double divergence(const float *p, const float *q, int64_t vocab)
{
    double p_sum = log_sum(p, vocab), q_sum = log_sum(q, vocab), sum = 0;
    for (int64_t i = 0; i < vocab; i++) {
        double lp = (double)p[i] - p_sum, lq = (double)q[i] - q_sum;
        sum += exp(lp) * (lp - lq);
    }
    return sum;
}

/* The mean over 60 tokens that come alone after a prompt; together (tiles) it is no other. */
static void fewer_bits_cost_little(void **state)
{
    (void)state;
    static const struct {
        int bits;
        double kl; /* seen: 4.4e-7, 2.2e-4, 5.9e-2, on tokens that mean nothing */
        size_t bytes;
    } kinds[] = {{16, 2e-6, 512}, {8, 1e-3, 320}, {4, 0.2, 192}};
    struct ig_model *model = open_lantern();
    struct ig_session *exact = session_as(model, 0, 0, 0);
    int64_t vocab = ig_model_shape(model)->vocab;
    int32_t ids[IDS_MAX];
    for (int64_t i = 0; i < 200; i++)
        ids[i] = token_at(i) * 20 + 5;
    /* 4 layers x 2 key heads x 32 numbers, twice */
    assert_int_equal(ig_session_token_bytes(exact), 2048);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct ig_session *s = session_as(model, 0, 0, kinds[k].bits);
        double kl = 0;
        ig_session_trim(exact, 0);
        feed(s, ids, 140);
        feed(exact, ids, 140);
        for (int64_t i = 140; i < 200; i++) {
            feed(s, ids + i, 1);
            feed(exact, ids + i, 1);
            kl += divergence(ig_session_logits(exact), ig_session_logits(s), vocab) / 60;
        }
        print_message("%d bits: KL %.2g\n", kinds[k].bits, kl);
        assert_true(kl < kinds[k].kl);
        assert_int_equal(ig_session_token_bytes(s), 2 * kinds[k].bytes);
        ig_session_free(s);
    }
    ig_session_free(exact);
    ig_model_close(model);
}

static void nothing_is_allocated_for_a_token(void **state)
{
    (void)state;
    static const struct {
        int64_t window;
        int bits;
    } kinds[] = {{0, 32}, {64, 32}, {0, 16}, {0, 8}, {64, 4}};
    struct ig_model *model = open_lantern();
    int32_t ids[200];
    for (int i = 0; i < 200; i++)
        ids[i] = token_at(i);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct ig_session *s = session_as(model, 0, kinds[k].window, kinds[k].bits);
        long before = taken;
        feed(s, ids, 150);
        for (int i = 150; i < 180; i++)
            feed(s, ids + i, 1);
        ig_session_trim(s, 170);
        feed(s, ids + 170, 20);
        assert_int_equal(taken, before);
        ig_session_free(s);
    }
    assert_true(taken > 0);
    ig_model_close(model);
}

static void kinds_are_kept_apart(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = open_lantern();
    static const int kinds[] = {32, 16, 8, 4};
    int32_t ids[64], read[512];
    char path[] = "/tmp/ingot-cache-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < 64; i++)
        ids[i] = token_at(i);
    for (size_t k = 0; k < 4; k++) {
        struct ig_session *s = session_as(model, 0, 0, kinds[k]), *t;
        check_ok(ig_session_new_beside(s, 128, &t, &err), &err);
        assert_int_equal(ig_session_token_bytes(t), ig_session_token_bytes(s));
        feed(s, ids, 60);
        check_ok(ig_session_save(s, ids, path, &err), &err);
        assert_true(ig_session_copy(t, s, 60));
        float want[4], copied[4];
        feed(s, ids + 60, 1);
        memcpy(want, ig_session_logits(s), sizeof want);
        feed(t, ids + 60, 1);
        memcpy(copied, ig_session_logits(t), sizeof copied);
        assert_memory_equal(copied, want, sizeof want);
        for (size_t other = 0; other < 4; other++) {
            struct ig_session *u = session_as(model, 0, 0, kinds[other]);
            if (other == k) {
                check_ok(ig_session_load(u, path, read, &err), &err);
                feed(u, ids + 60, 1);
                assert_memory_equal(ig_session_logits(u), want, sizeof want);
            } else {
                check_fails(ig_session_load(u, path, read, &err), &err, IG_ERR_DATA,
                            "the same kind of cache");
                assert_false(ig_session_copy(u, s, 10));
            }
            ig_session_free(u);
        }
        ig_session_free(t);
        ig_session_free(s);
    }
    unlink(path);
    ig_model_close(model);
}

/* A rotating cache is kept while it has forgotten nothing. */
static void a_rotating_one_is_kept_until_it_forgets(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = open_lantern();
    struct ig_session *s = session_as(model, 0, 40, 8), *t = session_as(model, 0, 64, 8);
    int32_t ids[64], read[64];
    char path[] = "/tmp/ingot-cache-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < 64; i++)
        ids[i] = token_at(i);
    feed(s, ids, 40);
    check_ok(ig_session_save(s, ids, path, &err), &err);
    check_ok(ig_session_load(t, path, read, &err), &err);
    assert_int_equal(ig_session_length(t), 40);
    assert_memory_equal(read, ids, 40 * sizeof *ids);
    feed(s, ids + 40, 1);
    check_fails(ig_session_save(s, ids, path, &err), &err, IG_ERR_USAGE, "forgotten");
    feed(t, ids + 40, 10);
    check_ok(ig_session_save(t, ids, path, &err), &err);
    check_fails(ig_session_load(s, path, read, &err), &err, IG_ERR_DATA, "holds 50 tokens");
    unlink(path);
    ig_session_free(s);
    ig_session_free(t);
    ig_model_close(model);
}

static void what_cannot_be(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = open_lantern(), *small = NULL;
    struct ig_session *s = NULL;
    static const struct {
        struct ig_session_options how;
        const char *says;
    } bad[] = {{{.bits = 5}, "32, 16, 8 or 4 bits"},
               {{.bits = 8, .group = 48}, "groups of 32, 64 or 128"},
               {{.window = 31}, "32 tokens or more"},
               {{.window = 513}, "up to the model's 512"},
               {{.context = 513}, "the model's is 512"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_fails(ig_session_new_as(model, &bad[i].how, &s, &err), &err, IG_ERR_USAGE,
                    bad[i].says);
    check_ok(ig_model_open(folder("INGOT_TESTS", "tests", "golden/infer/plain"), 1, &small, &err),
             &err);
    if (ig_model_shape(small)->head_dim % 32 != 0)
        check_fails(ig_session_new_as(small, &(struct ig_session_options){.bits = 8}, &s, &err),
                    &err, IG_ERR_USAGE, "a multiple of 32");
    ig_model_close(small);
    ig_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_mlx_lm),
        cmocka_unit_test(one_that_is_not_full_is_a_plain_one),
        cmocka_unit_test(sliding_layers_keep_their_window),
        cmocka_unit_test(a_full_one_goes_back_as_far_as_it_can),
        cmocka_unit_test(it_is_not_for_scores_nor_copies),
        cmocka_unit_test(fewer_bits_cost_little),
        cmocka_unit_test(nothing_is_allocated_for_a_token),
        cmocka_unit_test(kinds_are_kept_apart),
        cmocka_unit_test(a_rotating_one_is_kept_until_it_forgets),
        cmocka_unit_test(what_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
