/* SPDX-License-Identifier: Apache-2.0
 * eval_requests — rows to requests, against lm-evaluation-harness (tools/golden/eval_requests.py).
 */
#include "base/file.h"
#include "check.h"
#include "eval/eval_internal.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct ig_err err;

static const char *golden(const char *name)
{
    static char path[IG_PATH_MAX];
    char folder[IG_PATH_MAX];
    const char *tests = getenv("INGOT_TESTS");
    check_ok(ig_path_join(folder, tests ? tests : "tests", "golden/eval", &err), &err);
    check_ok(ig_path_join(path, folder, name, &err), &err);
    return path;
}

static void assert_text(const struct ig_json *want, struct ig_slice got, const char *where)
{
    struct ig_slice text = ig_json_text(want);
    if (!ig_slice_equal(text, got))
        fail_msg("%s\nwant '%.*s'\ngot  '%.*s'", where, (int)text.len, text.ptr, (int)got.len,
                 got.ptr);
}

static void assert_item(const struct ig_json *want, const struct ig_eval_item *got)
{
    char where[128];
    int64_t doc = -1, gold = -1, length = -1;
    assert_true(ig_json_int(ig_json_get(want, "doc"), &doc));
    assert_true(ig_json_int(ig_json_get(want, "gold"), &gold));
    snprintf(where, sizeof where, "%s, item %d", got->task, (int)doc);
    assert_int_equal(got->doc, doc);
    assert_text(ig_json_get(want, "target"), got->target, where);
    assert_int_equal(got->gold, gold);
    const struct ig_json *contexts = ig_json_get(want, "contexts");
    const struct ig_json *continuations = ig_json_get(want, "continuations");
    const struct ig_json *lengths = ig_json_get(want, "lengths");
    assert_int_equal(got->count, continuations->count);
    for (int i = 0; i < got->count; i++) {
        int one = contexts->count == 1 ? 0 : i;
        assert_text(&contexts->items[one], got->requests[i].context, where);
        assert_text(&continuations->items[i], got->requests[i].continuation, where);
        assert_true(ig_json_int(&lengths->items[i], &length));
        assert_int_equal(ig_utf8_count(got->choices[i]), length);
    }
}

/* Every item of every task is the golden file's, in its order. */
static void assert_golden(struct ig_eval_job job, const char *name)
{
    struct ig_eval_set *set;
    struct ig_buf file = {0};
    struct ig_arena arena = {0};
    char rows[IG_PATH_MAX];
    snprintf(rows, sizeof rows, "%s", golden("rows"));
    job.data = rows;
    job.tasks = "all";
    check_ok(ig_eval_open(&job, &set, &err), &err);
    check_ok(ig_file_read(golden(name), 1 << 20, &file, &err), &err);
    const char *p = file.data;
    for (int t = 0; t < ig_eval_task_count(set); t++)
        for (int64_t i = 0; i < ig_eval_item_count(set, t); i++) {
            const char *end = p ? strchr(p, '\n') : NULL;
            if (!end) fail_msg("%s: ends before task %d, item %d", name, t, (int)i);
            struct ig_json *want = ig_json_parse(ig_slice_make(p, (size_t)(end - p)), &arena, &err);
            check_ok(want != NULL, &err);
            struct ig_eval_item item = ig_eval_item_at(set, t, i);
            assert_text(ig_json_get(want, "task"), ig_slice_of(item.task), name);
            assert_item(want, &item);
            p = end + 1;
        }
    assert_int_equal(*p, 0);
    ig_arena_release(&arena);
    ig_buf_release(&file);
    ig_eval_close(set);
}

static void requests_are_the_harness(void **state)
{
    (void)state;
    assert_golden((struct ig_eval_job){0}, "zero.jsonl");
}

static void examples_are_the_harness(void **state)
{
    (void)state;
    assert_golden((struct ig_eval_job){.shots = 3}, "shots.jsonl");
}

static void templates_are_the_harness(void **state)
{
    (void)state;
    struct ig_template *chat;
    check_ok(ig_template_open(golden("template.jinja"), false, &chat, &err), &err);
    assert_golden((struct ig_eval_job){.chat = chat}, "chat.jsonl");
    assert_golden((struct ig_eval_job){.chat = chat, .multiturn = true, .shots = 2, .limit = 3},
                  "multiturn.jsonl");
    assert_golden((struct ig_eval_job){.chat = chat, .shots = 2, .style = IG_EVAL_MLX, .limit = 3},
                  "singleturn.jsonl");
    ig_template_close(chat);
}

static void sample_is_cpythons(void **state)
{
    (void)state;
    /* python3 -c "import random; r = random.Random(S); print(r.sample(range(N), K), ...)" */
    static const struct {
        uint64_t seed;
        int64_t n, k, want[2][6];
    } cases[] = {
        {1234, 9, 3, {{7, 1, 0}, {1, 0, 5}}},
        {123, 7, 4, {{0, 2, 6, 3}, {2, 0, 5, 3}}},
        {1234, 300, 5, {{225, 59, 3, 46, 298}, {17, 42, 50, 181, 121}}},
        {0, 1000, 6, {{864, 394, 776, 911, 430, 41}, {265, 988, 523, 497, 414, 940}}},
        {1099511627783, 22, 6, {{19, 20, 18, 15, 8, 4}, {16, 12, 21, 11, 20, 14}}},
        {5, 21, 5, {{19, 8, 11, 16, 0}, {14, 7, 1, 5, 3}}},
        {42, 1300, 25, {{228, 51, 563, 501, 457, 285}, {569, 13, 326, 865, 696, 318}}},
        {7, 1, 1, {{0}, {0}}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct eval_random random;
        eval__random_seed(&random, cases[c].seed);
        for (int round = 0; round < 2; round++) {
            int64_t got[64];
            check_ok(eval__random_sample(&random, cases[c].n, cases[c].k, got, &err), &err);
            for (int64_t i = 0; i < cases[c].k && i < 6; i++)
                assert_int_equal(got[i], cases[c].want[round][i]);
        }
    }
}

static void strings_are_pythons(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        /* text, strip(), capitalize() */
        {"", "", ""},
        {" \t\r\n\x0B\x0C\x1C", "", " \t\r\n\x0B\x0C\x1C"},
        {"\xC2\xA0"
         "aB \xE3\x80\x80",
         "aB",
         "\xC2\xA0"
         "ab \xE3\x80\x80"},
        {"hELLO World", "hELLO World", "Hello world"},
        {"\xCE\xA3"
         "A\xCE\xA3'\xCE\xA3",
         "\xCE\xA3"
         "A\xCE\xA3'\xCE\xA3",
         "\xCE\xA3"
         "a\xCF\x83'\xCF\x82"},
        {"\xE2\x80\x8B x", "\xE2\x80\x8B x", "\xE2\x80\x8B x"}, /* U+200B is no white space */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ig_slice got = eval__strip(ig_slice_of(cases[i][0]));
        assert_true(ig_slice_is(got, cases[i][1]));
        struct ig_buf out = {0};
        eval__capitalize(&out, ig_slice_of(cases[i][0]));
        assert_true(ig_slice_is(ig_buf_view(&out), cases[i][2]));
        ig_buf_release(&out);
    }
}

static void means_are_pythons(void **state)
{
    (void)state;
    /* lm_eval.api.metrics.mean and mean_stderr of k ones, then n - k zeros */
    static const struct {
        int64_t n, k;
        double mean, error;
    } cases[] = {
        {1172, 292, 0x1.fe40a7c117972p-3, 0x1.9e2b0817e0fc6p-7},
        {2376, 1980, 0x1.aaaaaaaaaaaabp-1, 0x1.f52a93ce2e7f1p-8},
        {3270, 2831, 0x1.bb437bd9cbb43p-1, 0x1.86c66eb2b2c5dp-8},
        {10042, 6931, 0x1.61620bba0c227p-1, 0x1.2e6d110f199d6p-8},
        {500, 217, 0x1.bc6a7ef9db22dp-2, 0x1.6b83ed90d9f81p-6},
        {1838, 1421, 0x1.8bd6c5c7baea9p-1, 0x1.4031fd69666aap-7},
        {1267, 861, 0x1.5bef071263017p-1, 0x1.adc14f8fff9ccp-7},
        {2, 1, 0x1.0000000000000p-1, 0x1.0000000000000p-1},
        {300, 300, 0x1.0000000000000p+0, 0x0.0p+0},
        {300, 71, 0x1.e4b17e4b17e4bp-3, 0x1.92b9efa380016p-6},
    };
    static bool values[12000];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double mean, error;
        for (int64_t i = 0; i < cases[c].n; i++)
            values[i] = i < cases[c].k;
        eval__mean(values, cases[c].n, &mean, &error);
        assert_true(memcmp(&mean, &cases[c].mean, sizeof mean) == 0);
        assert_true(memcmp(&error, &cases[c].error, sizeof error) == 0);
    }
    double mean, error;
    eval__mean(values, 1, &mean, &error);
    assert_true(error != error); /* of one value there is none */
}

static void best_is_numpys(void **state)
{
    (void)state;
    const double tied[] = {-3, -1, -1};
    const double gone[] = {-1.0 / 0.0, -1.0 / 0.0};
    const struct ig_slice choices[] = {ig_slice_of("\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4"),
                                       ig_slice_of("b"), ig_slice_of("c")};
    assert_int_equal(eval__best(tied, 3), 1);
    assert_int_equal(eval__best(gone, 2), 0);
    assert_int_equal(eval__best_norm(tied, choices, 3), 0); /* 4 code points, 8 bytes */
}

/* ---- bad rows ---- */

static void assert_refused(const char *task, const char *rows, enum ig_code code, const char *text)
{
    char folder[] = "/tmp/ingot-eval-XXXXXX", path[IG_PATH_MAX], name[64];
    assert_non_null(mkdtemp(folder));
    snprintf(name, sizeof name, "%s.jsonl", task);
    check_ok(ig_path_join(path, folder, name, &err), &err);
    if (rows) check_ok(ig_file_write(path, ig_slice_of(rows), &err), &err);
    struct ig_eval_job job = {.data = folder, .tasks = task};
    struct ig_eval_set *set = NULL;
    bool done = ig_eval_open(&job, &set, &err);
    struct ig_err ignored;
    assert_true(ig_dir_remove(folder, &ignored));
    check_fails(done, &err, code, text);
}

static void bad_rows_are_named(void **state)
{
    (void)state;
    assert_refused("piqa",
                   "{\"goal\":\"g\",\"sol1\":\"a\",\"sol2\":\"b\",\"label\":0}\n\n{\"goal\":1}",
                   IG_ERR_DATA, "piqa.jsonl', line 3: 'goal' is not a text");
    assert_refused("piqa", "{\"goal\":\"g\",\"sol1\":\"a\",\"sol2\":\"b\",\"label\":-1}",
                   IG_ERR_DATA, "line 1: 'label' is '-1', not 0 to 1: an unlabelled split?");
    assert_refused("boolq", "{\"passage\":\"\",\"question\":\"\",\"label\":2}", IG_ERR_DATA,
                   "'label' is '2', not 0 to 1");
    assert_refused("boolq", "1", IG_ERR_DATA, "line 1: the row is not a JSON object");
    assert_refused("boolq", "[\n{\"passage\":\"\"}]\n", IG_ERR_DATA, "line 1: a JSON array, where");
    assert_refused("boolq", "\xEF\xBB\xBF{\"passage\":1}", IG_ERR_DATA,
                   "line 1: 'passage' is not a text"); /* the mark is passed over */
    assert_refused("boolq", "{\"passage\":\"\",\"question\":\"\",\"label\":null}", IG_ERR_DATA,
                   "'label' is not a number: an unlabelled split?");
    assert_refused("boolq", "{\"passage\":\"\",\"question\":\"\",\"label\":true}", IG_ERR_DATA,
                   "'label' is not a number");
    assert_refused("boolq", "{\"passage\":\"\",\"question\":\"\",\"label\":1.5}", IG_ERR_DATA,
                   "'label' is '1.5', not 0 to 1");
    assert_refused("boolq", "{\"passage\":\"\",\"question\":\"caf\xE9\",\"label\":1}", IG_ERR_DATA,
                   "line 1: JSON, line 1, column");
    assert_refused("boolq", "{\"passage\":\"", IG_ERR_DATA, "line 1: JSON, line 1");
    assert_refused("boolq", "\n \n", IG_ERR_DATA, "boolq.jsonl' has no rows");
    assert_refused("boolq", NULL, IG_ERR_IO,
                   "no rows for task 'boolq': neither 'boolq.jsonl' nor 'boolq/validation.jsonl'");
    assert_refused("hellaswag",
                   "{\"activity_label\":\"\",\"ctx_a\":\"\",\"ctx_b\":\"\",\"endings\":[\"a\"],"
                   "\"label\":\"\"}",
                   IG_ERR_DATA, "'label' is '', not 0 to 0: an unlabelled split?");
    assert_refused("hellaswag",
                   "{\"activity_label\":\"\",\"ctx_a\":\"\",\"ctx_b\":\"\",\"endings\":[]}",
                   IG_ERR_DATA, "'endings' is not a list of 1 to 32 texts");
    assert_refused("winogrande",
                   "{\"sentence\":\"a\",\"option1\":\"\",\"option2\":\"\",\"answer\":\"1\"}",
                   IG_ERR_DATA, "'sentence' has no blank '_'");
    assert_refused("winogrande",
                   "{\"sentence\":\"_\",\"option1\":\"\",\"option2\":\"\",\"answer\":\"\"}",
                   IG_ERR_DATA, "an unlabelled split");
    assert_refused(
        "arc_easy",
        "{\"question\":\"\",\"answerKey\":\"A\",\"choices\":{\"text\":[\"a\"],\"label\":[]}}",
        IG_ERR_DATA, "'choices' is not {\"text\": [..], \"label\": [..]}");
    assert_refused(
        "arc_easy",
        "{\"question\":\"\",\"answerKey\":\"Z\",\"choices\":{\"text\":[\"a\"],\"label\":[\"A\"]}}",
        IG_ERR_DATA, "the answer 'Z' is none of the labels");
}

static void bad_jobs_are_refused(void **state)
{
    (void)state;
    struct ig_eval_set *set = NULL;
    struct ig_eval_job job = {.data = golden("rows"), .tasks = "arc_esay"};
    check_fails(ig_eval_open(&job, &set, &err), &err, IG_ERR_USAGE,
                "unknown task 'arc_esay'; did you mean 'arc_easy'?");
    job.tasks = "piqa, piqa";
    check_fails(ig_eval_open(&job, &set, &err), &err, IG_ERR_USAGE, "task 'piqa' is named twice");
    job.tasks = "";
    check_fails(ig_eval_open(&job, &set, &err), &err, IG_ERR_USAGE, "unknown task ''");
    job.tasks = "piqa";
    job.shots = 7;
    check_fails(ig_eval_open(&job, &set, &err), &err, IG_ERR_USAGE,
                "has 7 rows: too few to draw 8 examples from");
    job.shots = 6;
    check_fails(ig_eval_open(&job, &set, &err), &err, IG_ERR_USAGE,
                "has 5 rows that differ from the one asked");
    job.shots = -1;
    check_fails(ig_eval_open(&job, &set, &err), &err, IG_ERR_USAGE, "-1 shots");
    job.shots = 0;
    job.data = NULL;
    check_fails(ig_eval_open(&job, &set, &err), &err, IG_ERR_IO, "`ingot pull datasets/");
}

/* Ten thousand '[' must not take quadratic time: this ends at once or not at all. */
static void marks_are_linear(void **state)
{
    (void)state;
    struct ig_buf row = {0};
    ig_buf_text(&row, "{\"activity_label\":\"a\",\"ctx_a\":\"");
    for (int i = 0; i < 2000000; i++)
        ig_buf_char(&row, '[');
    ig_buf_text(&row, "\",\"ctx_b\":\"\",\"endings\":[\"x\"],\"label\":0}");
    struct ig_arena arena = {0};
    struct ig_json *tree = ig_json_parse(ig_buf_view(&row), &arena, &err);
    check_ok(tree != NULL, &err);
    const struct eval_task *task = eval__task_find(ig_slice_of("hellaswag"), &err);
    struct eval_doc doc = {0};
    check_ok(task->read(tree, &arena, &doc, &err), &err);
    assert_int_equal(doc.context.len, 2000003);
    ig_arena_release(&arena);
    ig_buf_release(&row);
}

static void registry_is_whole(void **state)
{
    (void)state;
    const char *const *list = ig_eval_task_list();
    int n = 0;
    for (; list[2 * n]; n++) {
        const struct eval_task *task = eval__task_find(ig_slice_of(list[2 * n]), &err);
        assert_non_null(task);
        assert_string_equal(task->summary, list[2 * n + 1]);
        assert_true(task->hub && task->split && task->version && task->read);
        for (int k = 0; k < n; k++)
            assert_string_not_equal(list[2 * k], list[2 * n]);
    }
    assert_int_equal(n, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_is_whole),         cmocka_unit_test(strings_are_pythons),
        cmocka_unit_test(requests_are_the_harness),  cmocka_unit_test(examples_are_the_harness),
        cmocka_unit_test(templates_are_the_harness), cmocka_unit_test(sample_is_cpythons),
        cmocka_unit_test(means_are_pythons),         cmocka_unit_test(best_is_numpys),
        cmocka_unit_test(bad_rows_are_named),        cmocka_unit_test(bad_jobs_are_refused),
        cmocka_unit_test(marks_are_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
