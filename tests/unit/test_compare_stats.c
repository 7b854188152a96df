/* SPDX-License-Identifier: Apache-2.0
 * compare_stats — intervals and tests against scipy, statsmodels and full enumeration
 * (tools/golden/compare_stats.py); then how often they are right, by simulation with a fixed seed.
 */
#include "base/file.h"
#include "check.h"
#include "eval/compare/stats.h"
#include "ingot/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CELLS_MAX 4096

static struct ig_err err;
static struct ig_pool *pool;

static int open_pool(void **state)
{
    (void)state;
    pool = ig_pool_new(2, &err);
    return pool ? 0 : -1;
}
static int close_pool(void **state)
{
    (void)state;
    ig_pool_free(pool);
    return 0;
}

/* ---- golden ---- */

static double real(const struct ig_json *node, const char *key)
{
    double value = 0;
    assert_true(ig_json_real(ig_json_get(node, key), &value));
    return value;
}

static int64_t reals(const struct ig_json *node, const char *key, double *out)
{
    const struct ig_json *list = ig_json_get(node, key);
    assert_non_null(list);
    assert_true(list->count <= CELLS_MAX);
    for (uint32_t i = 0; i < list->count; i++)
        assert_true(ig_json_real(&list->items[i], &out[i]));
    return list->count;
}

static int64_t integers(const struct ig_json *node, const char *key, int32_t *out)
{
    static double values[CELLS_MAX];
    int64_t count = reals(node, key, values);
    for (int64_t i = 0; i < count; i++)
        out[i] = (int32_t)values[i];
    return count;
}

static void near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.12g, want %.12g", what, got, want);
}

static void near_interval(struct eval_interval got, const struct ig_json *row, double tolerance)
{
    near(got.low, real(row, "low"), tolerance, "low");
    near(got.high, real(row, "high"), tolerance, "high");
}

static void check_bootstrap(const struct ig_json *row)
{
    static int32_t sums[3][CELLS_MAX], sizes[3][CELLS_MAX];
    struct eval_stratum strata[3];
    struct eval_resampled got;
    const struct ig_json *list = ig_json_get(row, "strata");
    assert_int_equal(list->count, 3);
    for (int t = 0; t < 3; t++) {
        strata[t] =
            (struct eval_stratum){sums[t], sizes[t], integers(&list->items[t], "sums", sums[t]), 0};
        integers(&list->items[t], "sizes", sizes[t]);
        for (int64_t i = 0; i < strata[t].count; i++)
            strata[t].items += sizes[t][i];
    }
    check_ok(eval__bootstrap(strata, 3, 10000, 1, pool, &got, &err), &err);
    double error = real(row, "error"); /* 10,000 draws: quantiles within 3 % of an error */
    near_interval(got.interval, row, 0.08 * error);
    near(got.error, error, 0.03 * error, "error");
    near(got.p, real(row, "p"), 0.02, "p");
}

static void check_flip(const struct ig_json *row)
{
    static double x[CELLS_MAX];
    double p;
    bool exact = false;
    int64_t count = reals(row, "x", x);
    ig_json_bool(ig_json_get(row, "exact"), &exact);
    check_ok(eval__sign_flip(x, count, 10000, 1, pool, &p, &err), &err);
    near(p, real(row, "p"), exact ? 1e-12 : 0.015, "sign flips");
}

static void check_row(const struct ig_json *row)
{
    static int32_t ids[CELLS_MAX];
    static double x[CELLS_MAX], want[CELLS_MAX];
    struct ig_slice kind = ig_json_text(ig_json_get(row, "kind"));
    if (ig_slice_is(kind, "wilson")) {
        near_interval(eval__wilson(real(row, "share"), real(row, "n")), row, 1e-12);
    } else if (ig_slice_is(kind, "newcombe")) {
        double n = real(row, "n");
        near_interval(eval__newcombe(real(row, "a"), n, real(row, "b"), n), row, 1e-12);
    } else if (ig_slice_is(kind, "tango")) {
        near_interval(eval__tango(real(row, "gained"), real(row, "lost"), real(row, "n")), row,
                      1e-6);
    } else if (ig_slice_is(kind, "mcnemar")) {
        struct eval_mcnemar got;
        check_ok(eval__mcnemar(ids, integers(row, "sums", ids), &got, &err), &err);
        near(got.p, real(row, "p"), 1e-10, "mid-p");
        assert_int_equal(got.critical, (int64_t)real(row, "critical"));
    } else if (ig_slice_is(kind, "holm")) {
        int64_t count = reals(row, "p", x);
        reals(row, "adjusted", want);
        eval__holm(x, (int)count);
        for (int64_t i = 0; i < count; i++)
            near(x[i], want[i], 1e-12, "Holm");
    } else if (ig_slice_is(kind, "design")) {
        struct eval_clusters clusters = {.ids = ids, .items = integers(row, "ids", ids)};
        double effect;
        clusters.count = ids[clusters.items - 1] + 1;
        reals(row, "x", x);
        check_ok(eval__design_effect(&clusters, x, &effect, &err), &err);
        near(effect, real(row, "effect"), 1e-9, "design effect");
    } else if (ig_slice_is(kind, "flip")) {
        check_flip(row);
    } else {
        assert_true(ig_slice_is(kind, "bootstrap"));
        check_bootstrap(row);
    }
}

static void golden_files_agree(void **state)
{
    (void)state;
    char path[IG_PATH_MAX];
    struct ig_buf file = {0};
    int rows = 0;
    check_ok(ig_path_join(path, getenv("INGOT_TESTS"), "golden/eval/compare_stats.jsonl", &err),
             &err);
    check_ok(ig_file_read(path, (size_t)1 << 20, &file, &err), &err);
    for (char *line = strtok(file.data, "\n"); line; line = strtok(NULL, "\n"), rows++) {
        struct ig_json_doc *doc;
        check_ok(ig_json_doc_new(ig_slice_of(line), &doc, &err), &err);
        check_row(ig_json_doc_root(doc));
        ig_json_doc_free(doc);
    }
    assert_true(rows > 40);
    ig_buf_release(&file);
}

/* ---- properties ---- */

static void swapping_models_mirrors(void **state)
{
    (void)state;
    int32_t sums[60], back[60];
    for (int i = 0; i < 60; i++) {
        sums[i] = i % 7 - 2;
        back[i] = -sums[i];
    }
    struct eval_mcnemar a, b;
    check_ok(eval__mcnemar(sums, 60, &a, &err), &err);
    check_ok(eval__mcnemar(back, 60, &b, &err), &err);
    near(a.p, b.p, 0, "p of the swapped");
    assert_int_equal(a.critical, b.critical);
    for (int gained = 0; gained < 12; gained++)
        for (int lost = 0; lost < 12; lost++) {
            struct eval_interval i = eval__tango(gained, lost, 40);
            struct eval_interval j = eval__tango(lost, gained, 40);
            near(i.low, -j.high, 1e-12, "low of the swapped");
            near(i.high, -j.low, 1e-12, "high of the swapped");
            double d = (gained - lost) / 40.0;
            assert_true(i.low <= d && d <= i.high && i.low >= -1 && i.high <= 1);
        }
}

static void holm_keeps_order_and_skips_nan(void **state)
{
    (void)state;
    double p[] = {0.03, (double)NAN, 0.001, 0.2, 0.03, 0.6};
    eval__holm(p, 6);
    assert_true(isnan(p[1]));
    near(p[2], 0.005, 1e-15, "the least times five");
    double tiny[] = {1e-30, 0, 1};
    eval__holm(tiny, 3);
    assert_true(tiny[0] > 1e-30 && tiny[1] == 0 && tiny[2] == 1);
    assert_true(p[2] <= p[0] && p[0] == p[4] && p[0] <= p[3] && p[3] <= p[5] && p[5] <= 1);
}

static void critical_is_where_p_turns(void **state)
{
    (void)state;
    int32_t sums[200];
    for (int ones = 1; ones < 200; ones++) {
        struct eval_mcnemar any, at;
        for (int i = 0; i < ones; i++)
            sums[i] = 1;
        check_ok(eval__mcnemar(sums, ones, &any, &err), &err);
        if (!any.critical) {
            assert_true(ones < 5); /* 2 / 2^5 / 2 = 0.03 is the first under 5 % */
            continue;
        }
        for (int step = 0; step < 2; step++) { /* with that difference, and with the next lower */
            int64_t difference = any.critical - 2 * step;
            for (int i = 0; i < ones; i++)
                sums[i] = i < (ones + difference) / 2 ? 1 : -1;
            check_ok(eval__mcnemar(sums, ones, &at, &err), &err);
            assert_true(step ? at.p >= 0.05 : at.p < 0.05);
        }
    }
}

static void threads_and_seeds(void **state)
{
    (void)state;
    int32_t sums[500], sizes[500];
    for (int i = 0; i < 500; i++) {
        sums[i] = i % 11 == 0 ? 1 : i % 13 == 0 ? -1 : 0;
        sizes[i] = 1;
    }
    struct eval_stratum stratum = {sums, sizes, 500, 500};
    struct eval_resampled a, b, c;
    struct ig_pool *one = ig_pool_new(1, &err);
    assert_non_null(one);
    check_ok(eval__bootstrap(&stratum, 1, 1000, 7, pool, &a, &err), &err);
    check_ok(eval__bootstrap(&stratum, 1, 1000, 7, one, &b, &err), &err);
    check_ok(eval__bootstrap(&stratum, 1, 1000, 8, one, &c, &err), &err);
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(a.error != c.error);
    ig_pool_free(one);
}

/* ---- simulation ---- */

static uint64_t state64 = 20;
static double uniform(void) /* xorshift64*: unlike the generator under test */
{
    state64 ^= state64 >> 12;
    state64 ^= state64 << 25;
    state64 ^= state64 >> 27;
    return (double)(state64 * 0x2545F4914F6CDD1Du >> 11) * 0x1p-53;
}

/* -1, 0 or 1, with these chances of the outer ones. */
static int outcome(double lost, double gained)
{
    double u = uniform();
    return u < lost ? -1 : u < lost + gained ? 1 : 0;
}

/* 95 % intervals hold the truth in about 95 of 100 runs, wherever the truth is. */
static void tango_covers(void **state)
{
    (void)state;
    static const double tables[][3] = {
        {0.03, 0.03, 240}, {0.02, 0.06, 240}, {0.005, 0.005, 500}, {0.1, 0.3, 60}, {0, 0.02, 100}};
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++) {
        int runs = 2000, held = 0, n = (int)tables[k][2];
        double truth = tables[k][1] - tables[k][0];
        for (int run = 0; run < runs; run++) {
            int gained = 0, lost = 0;
            for (int i = 0; i < n; i++) {
                int o = outcome(tables[k][0], tables[k][1]);
                gained += o > 0;
                lost += o < 0;
            }
            struct eval_interval interval = eval__tango(gained, lost, n);
            held += interval.low <= truth && truth <= interval.high;
        }
        if (held < 0.93 * runs || held > 0.995 * runs)
            fail_msg("table %zu: %d of %d intervals hold the truth", k, held, runs);
    }
}

/* Clusters of items that always change together: what ignores them would be wrong too often. */
static void clusters_keep_the_rates(void **state)
{
    (void)state;
    static int32_t ids[600], sums[200];
    static double x[600];
    int runs = 1500, rejected = 0, naive = 0, held = 0;
    struct eval_clusters clusters = {ids, 600, 200};
    for (int run = 0; run < runs; run++) {
        int32_t single[600];
        double gained = 0, lost = 0, design;
        struct eval_mcnemar grouped, alone;
        for (int c = 0; c < 200; c++) {
            int o = outcome(0.05, 0.05);
            sums[c] = 3 * o;
            for (int i = 3 * c; i < 3 * c + 3; i++) {
                ids[i] = c;
                x[i] = single[i] = o;
                gained += o > 0;
                lost += o < 0;
            }
        }
        check_ok(eval__mcnemar(sums, 200, &grouped, &err), &err);
        check_ok(eval__mcnemar(single, 600, &alone, &err), &err);
        check_ok(eval__design_effect(&clusters, x, &design, &err), &err);
        struct eval_interval interval = eval__tango(gained / design, lost / design, 600 / design);
        rejected += grouped.p < 0.05;
        naive += alone.p < 0.05;
        held += interval.low <= 0 && 0 <= interval.high;
    }
    if (rejected > 0.06 * runs || rejected < 0.025 * runs)
        fail_msg("%d of %d true nulls rejected", rejected, runs);
    if (naive < 0.15 * runs) fail_msg("%d of %d: the clusters make no difference", naive, runs);
    if (held < 0.93 * runs) fail_msg("%d of %d intervals hold 0", held, runs);
}

static void bootstrap_covers(void **state)
{
    (void)state;
    static int32_t sums[3][150], sizes[150];
    int runs = 300, held = 0, rejected = 0;
    for (int i = 0; i < 150; i++)
        sizes[i] = 1;
    for (int run = 0; run < runs; run++) {
        struct eval_stratum strata[3];
        struct eval_resampled got;
        for (int t = 0; t < 3; t++) { /* one task up, one down, one still: the mean is 0 */
            for (int i = 0; i < 150; i++)
                sums[t][i] = outcome(t == 1 ? 0.25 : 0.05, t == 0 ? 0.25 : 0.05);
            strata[t] = (struct eval_stratum){sums[t], sizes, 150, 150};
        }
        check_ok(eval__bootstrap(strata, 3, 500, (uint64_t)run, pool, &got, &err), &err);
        held += got.interval.low <= 0 && 0 <= got.interval.high;
        rejected += got.p < 0.05;
    }
    if (held < 0.91 * runs || held > 0.985 * runs) fail_msg("%d of %d hold 0", held, runs);
    if (rejected > 0.09 * runs) fail_msg("%d of %d true nulls rejected", rejected, runs);
}

static void sign_flips_keep_their_rate(void **state)
{
    (void)state;
    int runs = 400, rejected = 0;
    for (int run = 0; run < runs; run++) {
        double x[60], p;
        for (int i = 0; i < 60; i++)
            x[i] = (uniform() - 0.5) * (i % 10 == 0 ? 20 : 1); /* heavy tails */
        check_ok(eval__sign_flip(x, 60, 400, (uint64_t)run, pool, &p, &err), &err);
        rejected += p < 0.05;
    }
    if (rejected > 0.085 * runs || rejected < 0.02 * runs)
        fail_msg("%d of %d true nulls rejected", rejected, runs);
}

/* So many items do find the difference in four runs of five. */
static void planned_items_suffice(void **state)
{
    (void)state;
    static int32_t sums[8192];
    int n = (int)eval__items_needed(0.03, 0.10), runs = 400, found = 0;
    assert_in_range(n, 500, 1200);
    for (int run = 0; run < runs; run++) {
        struct eval_mcnemar got;
        for (int i = 0; i < n; i++)
            sums[i] = outcome(0.035, 0.065);
        check_ok(eval__mcnemar(sums, n, &got, &err), &err);
        found += got.p < 0.05;
    }
    if (found < 0.75 * runs || found > 0.86 * runs) fail_msg("%d of %d found it", found, runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_files_agree),
        cmocka_unit_test(swapping_models_mirrors),
        cmocka_unit_test(holm_keeps_order_and_skips_nan),
        cmocka_unit_test(critical_is_where_p_turns),
        cmocka_unit_test(threads_and_seeds),
        cmocka_unit_test(tango_covers),
        cmocka_unit_test(clusters_keep_the_rates),
        cmocka_unit_test(bootstrap_covers),
        cmocka_unit_test(sign_flips_keep_their_rate),
        cmocka_unit_test(planned_items_suffice),
    };
    return cmocka_run_group_tests(tests, open_pool, close_pool);
}
