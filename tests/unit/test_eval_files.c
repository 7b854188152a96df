/* SPDX-License-Identifier: Apache-2.0
 * eval_files — rows are found under every name that docs/eval.md lists, and are those of the JSON
 * Lines. */
#include "ingot/eval.h"
#include "scratch.h"

#define ROWS 24 /* of the golden files: the first of the fixtures' */

/* Copies a golden file to a place below the scratch folder, whose folders are made. */
static void put(const char *golden, const char *place)
{
    struct ig_err err;
    struct ig_buf bytes = {0};
    char path[1024];
    snprintf(path, sizeof path, "%s", scratch(place));
    for (char *slash = path + strlen(scratch_dir) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        check_ok(ig_dir_make(path, &err), &err);
        *slash = '/';
    }
    char from[1024];
    snprintf(from, sizeof from, "%s/golden/table/%s", getenv("INGOT_TESTS"), golden);
    check_ok(ig_file_read(from, 1 << 20, &bytes, &err), &err);
    check_ok(ig_file_write(path, ig_buf_view(&bytes), &err), &err);
    ig_buf_release(&bytes);
}

static struct ig_eval_set *open_set(const char *data, const char *task)
{
    struct ig_err err;
    struct ig_eval_set *set = NULL;
    struct ig_eval_job job = {.data = data, .tasks = task};
    check_ok(ig_eval_open(&job, &set, &err), &err);
    return set;
}

/* Item i of the set is item i % ROWS of the fixtures. */
static void check_items(const char *task, const char *data, int64_t count)
{
    char fixtures[1024];
    snprintf(fixtures, sizeof fixtures, "%s/tasks", getenv("INGOT_FIXTURES"));
    struct ig_eval_set *got = open_set(data, task), *want = open_set(fixtures, task);
    assert_int_equal(ig_eval_item_count(got, 0), count);
    for (int64_t i = 0; i < count; i++) {
        struct ig_eval_item a = ig_eval_item_at(got, 0, i), b = ig_eval_item_at(want, 0, i % ROWS);
        assert_int_equal(a.count, b.count);
        assert_int_equal(a.gold, b.gold);
        assert_int_equal(a.line, i + 1);
        for (int c = 0; c < a.count; c++) {
            assert_true(ig_slice_equal(a.requests[c].context, b.requests[c].context));
            assert_true(ig_slice_equal(a.requests[c].continuation, b.requests[c].continuation));
        }
    }
    ig_eval_close(got);
    ig_eval_close(want);
}

static void every_name_is_found(void **state)
{
    static const struct {
        const char *task, *golden, *place;
    } cases[] = {
        {"arc_challenge", "arc_challenge.parquet", "arc_challenge.parquet"},
        {"arc_challenge", "arc_challenge.parquet", "arc_challenge/test.parquet"},
        {"arc_challenge", "arc_challenge.parquet", "arc_challenge/test-00000-of-00001.parquet"},
        {"arc_challenge", "arc_challenge.parquet",
         "arc_challenge/ARC-Challenge/test-00000-of-00001.parquet"},
        {"arc_challenge", "arc_challenge.parquet",
         "ai2_arc/ARC-Challenge/test-00000-of-00001.parquet"},
        {"arc_challenge", "arc_challenge.parquet",
         "allenai/ai2_arc/ARC-Challenge/test-00000-of-00001.parquet"},
        {"arc_challenge", "arc_challenge.parquet", "ARC-Challenge/test-00000-of-00001.parquet"},
        {"arc_challenge", "arc_challenge.parquet",
         "datasets--allenai--ai2_arc/snapshots/0f1e/ARC-Challenge/test-00000-of-00001.parquet"},
        {"arc_easy", "arc_easy.arrow", "allenai___ai2_arc/ARC-Easy/0.0.0/0f1e/ai2_arc-test.arrow"},
        {"arc_easy", "arc_easy.arrow", "arc_easy/test/data-00000-of-00001.arrow"},
        {"boolq", "boolq.parquet", "boolq/validation-00000-of-00001.parquet"},
        {"hellaswag", "hellaswag.parquet", "hellaswag/data/validation-00000-of-00001.parquet"},
        {"hellaswag", "hellaswag.parquet", "data/validation-00000-of-00001.parquet"},
        {"hellaswag", "hellaswag.parquet",
         "Rowan/hellaswag/data/validation-00000-of-00001.parquet"},
        {"hellaswag", "hellaswag.arrow",
         "Rowan___hellaswag/default/0.0.0/0f1e/hellaswag-validation.arrow"},
        {"openbookqa", "openbookqa.parquet", "openbookqa/main/test-00000-of-00001.parquet"},
        {"piqa", "piqa.parquet", "piqa/validation.parquet"},
        {"winogrande", "winogrande.parquet",
         "winogrande/winogrande_xl/validation-00000-of-00001.parquet"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char dir[32], place[256];
        snprintf(dir, sizeof dir, "case_%zu", i);
        snprintf(place, sizeof place, "%s/%s", dir, cases[i].place);
        put(cases[i].golden, place);
        check_items(cases[i].task, scratch(dir), ROWS);
    }
}

static void shards_follow_each_other(void **state)
{
    (void)state;
    put("hellaswag.parquet", "shards/hellaswag/data/validation-00000-of-00002.parquet");
    put("hellaswag.parquet", "shards/hellaswag/data/validation-00001-of-00002.parquet");
    check_items("hellaswag", scratch("shards"), 2 * ROWS);
}

static void examples_come_from_the_train_split(void **state)
{
    (void)state;
    struct ig_err err;
    struct ig_eval_set *set = NULL;
    put("piqa.parquet", "pool/piqa/validation.parquet");
    put("piqa.parquet", "pool/piqa/train-00000-of-00001.parquet");
    struct ig_eval_job job = {.data = scratch("pool"), .tasks = "piqa", .shots = 2};
    check_ok(ig_eval_open(&job, &set, &err), &err);
    struct ig_eval_item item = ig_eval_item_at(set, 0, 0);
    struct ig_slice separator = ig_slice_of("\n\n"); /* between examples */
    assert_non_null(ig_slice_find(item.requests[0].context, separator));
    ig_eval_close(set);
}

static void refuse(const char *dir, const char *task, enum ig_code code, const char *message)
{
    struct ig_err err = {0};
    struct ig_eval_set *set = NULL;
    struct ig_eval_job job = {.data = scratch(dir), .tasks = task};
    check_fails(ig_eval_open(&job, &set, &err), &err, code, message);
}

static void what_is_not_there_is_named(void **state)
{
    (void)state;
    put("hellaswag.parquet", "gap/hellaswag/data/validation-00000-of-00002.parquet");
    refuse("gap", "hellaswag", IG_ERR_DATA,
           "has some of the 2 shards of 'validation', but not 'validation-00001-of-00002.parquet'");
    put("hellaswag.arrow", "two/Rowan___hellaswag/default/0.0.0/a/hellaswag-validation.arrow");
    put("hellaswag.arrow", "two/Rowan___hellaswag/default/0.0.0/b/hellaswag-validation.arrow");
    refuse("two", "hellaswag", IG_ERR_USAGE, "0.0.0' has 2 folders: give the one that is wanted");
    refuse("gap", "arc_easy", IG_ERR_IO,
           "no rows for task 'arc_easy': neither 'arc_easy.jsonl' nor 'arc_easy/test.jsonl' nor "
           "either as .parquet or .arrow is in '");
    put("hellaswag.parquet", "cut/piqa.parquet");
    refuse("cut", "piqa", IG_ERR_DATA, "piqa.parquet', line 1: the row has no 'goal'");
}

static void what_was_pulled_is_found_by_a_list(void **state)
{
    (void)state;
    static const char hex[] = "0123456789abcdef0123456789abcdef01234567";
    char place[256];
    assert_int_equal(setenv("HF_HUB_CACHE", scratch("cache"), 1), 0);
    snprintf(place, sizeof place, "cache/datasets--baber--piqa/snapshots/%s/validation.parquet",
             hex);
    put("piqa.parquet", place);
    check_ok(ig_dir_make(scratch("cache/datasets--baber--piqa/refs"), &(struct ig_err){0}),
             &(struct ig_err){0});
    scratch_write("cache/datasets--baber--piqa/refs/main", hex, sizeof hex - 1);
    snprintf(place, sizeof place,
             "cache/datasets--baber--piqa/snapshots/%s/data/validation.parquet", hex);
    put("piqa.parquet", place);
    assert_true(ig_eval_has_data("piqa"));
    assert_true(ig_eval_has_data("piqa, mine.yaml ,"));
    assert_false(ig_eval_has_data("piqa,boolq"));
    unsetenv("HF_HUB_CACHE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_is_found),
        cmocka_unit_test(shards_follow_each_other),
        cmocka_unit_test(examples_come_from_the_train_split),
        cmocka_unit_test(what_is_not_there_is_named),
        cmocka_unit_test(what_was_pulled_is_found_by_a_list),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
