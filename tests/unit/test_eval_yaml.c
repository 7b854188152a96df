/* SPDX-License-Identifier: Apache-2.0
 * eval_yaml — tasks of one's own in the harness's YAML, against its own requests
 * (tools/golden/eval_yaml.py); what is not supported or wrong is said. */
#include "base/sha256.h"
#include "eval/record_internal.h"
#include "eval/yaml_task.h"
#include "scratch.h"
#include "text/utf8.h"

#define TASKS "science.yaml,by_name.yml,verdict.yaml,blank.yaml,letters.yaml"

static struct ig_err err;
static char folder[IG_PATH_MAX];

static int open_all(void **state)
{
    const char *tests = getenv("INGOT_TESTS");
    return !tests || !ig_path_join(folder, tests, "golden/eval/yaml", &err) ? -1
                                                                            : scratch_open(state);
}

/* "science.yaml,.." with the folder before each name. */
static void task_list(struct ig_buf *out, const char *names)
{
    for (const char *p = names; *p;) {
        size_t n = strcspn(p, ",");
        ig_buf_printf(out, "%s%s/%.*s", out->len ? "," : "", folder, (int)n, p);
        p += n + (p[n] == ',');
    }
}

static void assert_text(const struct ig_json *want, struct ig_slice got, const char *what)
{
    struct ig_slice text = ig_json_text(want);
    if (!ig_slice_equal(text, got))
        fail_msg("%s: '%.*s', want '%.*s'", what, (int)got.len, got.ptr, (int)text.len, text.ptr);
}

static void assert_item(const struct ig_json *want, const struct ig_eval_set *set, int task,
                        const struct ig_eval_item *item)
{
    const struct ig_json *contexts = ig_json_get(want, "contexts");
    const struct ig_json *metrics = ig_json_get(want, "metrics");
    int64_t gold = -1, length;
    assert_true(ig_json_int(ig_json_get(want, "gold"), &gold));
    assert_int_equal(item->gold, gold);
    assert_int_equal(item->count, contexts->count);
    assert_text(ig_json_get(want, "target"), item->target, item->task);
    for (int i = 0; i < item->count; i++) {
        assert_text(&contexts->items[i], item->requests[i].context, item->task);
        assert_text(&ig_json_get(want, "continuations")->items[i], item->requests[i].continuation,
                    item->task);
        assert_true(ig_json_int(&ig_json_get(want, "lengths")->items[i], &length));
        assert_int_equal(ig_utf8_count(item->choices[i]), length);
    }
    const struct eval_task *of = set->parts[task].task;
    assert_int_equal(metrics->count, !of->lacks_acc + of->has_norm);
    assert_true(of->lacks_acc == !ig_slice_is(ig_json_text(&metrics->items[0]), "acc"));
}

/* Rows become the table's: all members, in the order in which the file first names them. */
static void assert_hash(const struct ig_json *want, const struct ig_eval_set *set, int task,
                        int64_t index)
{
    struct ig_arena arena = {0};
    struct ig_buf text = {0};
    struct ig_json *row;
    struct eval_doc doc;
    char hex[IG_SHA256_HEX];
    const struct eval_part *part = &set->parts[task];
    check_ok(eval__rows_read(&part->rows, part->task, index, &arena, &row, &doc, &err), &err);
    ig_json_write(&text, row, 2, false);
    ig_sha256_of(text.data, text.len, hex);
    assert_text(ig_json_get(want, "doc_hash"), ig_slice_of(hex), "doc_hash");
    ig_buf_release(&text);
    ig_arena_release(&arena);
}

static void assert_golden(struct ig_eval_job job, const char *name)
{
    struct ig_buf tasks = {0}, file = {0};
    struct ig_arena arena = {0};
    struct ig_eval_set *set;
    char path[IG_PATH_MAX];
    task_list(&tasks, TASKS);
    job.tasks = tasks.data;
    job.data = "nowhere";
    job.shots_own = true;
    check_ok(ig_eval_open(&job, &set, &err), &err);
    check_ok(ig_path_join(path, folder, name, &err) && ig_file_read(path, 1 << 20, &file, &err),
             &err);
    const char *p = file.data;
    for (int t = 0; t < ig_eval_task_count(set); t++)
        for (int64_t i = 0; i < ig_eval_item_count(set, t); i++) {
            const char *end = strchr(p, '\n');
            assert_non_null(end);
            struct ig_json *want = ig_json_parse(ig_slice_make(p, (size_t)(end - p)), &arena, &err);
            check_ok(want != NULL, &err);
            struct ig_eval_item item = ig_eval_item_at(set, t, i);
            assert_text(ig_json_get(want, "task"), ig_slice_of(item.task), name);
            assert_item(want, set, t, &item);
            assert_hash(want, set, t, i);
            p = end + 1;
        }
    assert_int_equal(*p, 0);
    ig_eval_close(set);
    ig_arena_release(&arena);
    ig_buf_release(&file);
    ig_buf_release(&tasks);
}

static void requests_are_the_harness(void **state)
{
    (void)state;
    struct ig_template *chat = NULL;
    char path[IG_PATH_MAX];
    assert_golden((struct ig_eval_job){0}, "requests.jsonl");
    check_ok(ig_path_join(path, folder, "../template.jinja", &err) &&
                 ig_template_open(path, false, &chat, &err),
             &err);
    assert_golden((struct ig_eval_job){.chat = chat, .multiturn = true}, "chat.jsonl");
    ig_template_close(chat);
}

/* ---- what is wrong is said ---- */

#define HEAD                                                                                       \
    "task: t\noutput_type: multiple_choice\ntest_split: test\n"                                    \
    "dataset_kwargs: {data_files: {test: rows.jsonl}}\n"
#define BODY "doc_to_text: q\ndoc_to_choice: c\ndoc_to_target: a\n"

static const char *data_dir = "nowhere";

static void assert_refused(const char *yaml, const char *rows, enum ig_code code, const char *says)
{
    struct ig_eval_set *set = NULL;
    char path[IG_PATH_MAX];
    scratch_write("t.yaml", yaml, strlen(yaml));
    scratch_write("rows.jsonl", rows, strlen(rows));
    snprintf(path, sizeof path, "%s", scratch("t.yaml"));
    struct ig_eval_job job = {.data = data_dir, .tasks = path, .shots_own = true};
    bool done = ig_eval_open(&job, &set, &err);
    ig_eval_close(done ? set : NULL);
    check_fails(done, &err, code, says);
}

static void wrong_tasks_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *says;
    } cases[] = {
        {"- 1\n", "a task is a map"},
        {"output_type: multiple_choice\n", "'task', the task's name, is missing"},
        {"task: a/b\n", "has a '/', which a file's name cannot have"},
        {"task: t\n", "'output_type' must be multiple_choice"},
        {"task: t\noutput_type: generate_until\n", "'output_type' must be multiple_choice"},
        {"task: t\noutput_type: multiple_choice\n", "neither a test_split nor a validation_split"},
        {HEAD "process_docs: !function utils.x\n", "'process_docs' is not supported"},
        {HEAD "doc_to_text: !function utils.x\n", "'!function' asks for Python code"},
        {HEAD "include: x.yaml\n", "line 5, column 1: 'include' is not supported"},
        {HEAD "doc_to_text: q\n", "'doc_to_target' must be there"},
        {HEAD "doc_to_choice: [no, yes]\n", "an item of 'doc_to_choice' is not a text: put it in"},
        {HEAD "doc_to_choice: [!function utils.x]\n", "an item of 'doc_to_choice' is not a text"},
        {HEAD "doc_to_choice: []\n", "'doc_to_choice' has 0 items"},
        {HEAD BODY "target_delimiter: \"a\\0b\"\n", "'target_delimiter' has a NUL character"},
        {"task: \"t\\0\"\n", "'task' has a NUL character"},
        {"task: t\noutput_type: multiple_choice\ntest_split: test\n"
         "dataset_kwargs: {data_files: {test: \"x\\0\"}}\n",
         "'data_files' has a NUL character"},
        {HEAD "doc_to_text: '{{'\n", "doc_to_text: template, line 1"},
        {HEAD BODY "metric_list: [{metric: f1}]\n", "only the metrics acc and acc_norm"},
        {HEAD BODY "metric_list: [{metric: acc, aggregation: max}]\n", "aggregation is mean"},
        {HEAD BODY "num_fewshot: -1\n", "'num_fewshot' is not a number of examples"},
        {HEAD BODY "fewshot_config: {sampler: balanced}\n", "the sampler is 'balanced'"},
        {HEAD BODY "fewshot_config: {doc_to_text: x}\n", "'doc_to_text' in fewshot_config is not"},
        {HEAD BODY "fewshot_config: x\n", "'fewshot_config' is not a map"},
        {HEAD BODY "repeats: 2\n", "'repeats' must be 1"},
        {"task: t\noutput_type: multiple_choice\ntest_split: test\n"
         "dataset_kwargs: {data_files: {validation: x}}\n",
         "does not name one file for split 'test'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i].yaml, "{}\n", IG_ERR_DATA, cases[i].says);
    assert_refused("task: t\noutput_type: multiple_choice\ntest_split: test\n" BODY, "{}\n",
                   IG_ERR_IO, "no rows for task 't': neither 't.jsonl'");
    data_dir = NULL; /* nor in the Hub's cache */
    assert_refused("task: t\noutput_type: multiple_choice\ntest_split: test\n" BODY, "{}\n",
                   IG_ERR_IO, "no rows for task 't': neither 't.jsonl'");
    data_dir = "nowhere";
    assert_refused(HEAD BODY "num_fewshot: 1\nfewshot_split: train\n", "{}\n", IG_ERR_IO,
                   "no rows for task 't'");
}

/* Of a data set with configurations the one that the task names is read. */
static void configurations_are_told_apart(void **state)
{
    (void)state;
    static const char yaml[] = "task: t\noutput_type: multiple_choice\ntest_split: test\n"
                               "dataset_path: own/set\ndataset_name: two\n" BODY;
    static const char *const folders[] = {"hub", "hub/set", "hub/set/data", "hub/set/two"};
    static const char *const rows[] = {"{\"q\": \"one\", \"c\": [\"x\"], \"a\": 0}",
                                       "{\"q\": \"two\", \"c\": [\"x\"], \"a\": 0}"};
    struct ig_eval_set *set;
    char path[IG_PATH_MAX], name[64];
    for (int i = 0; i < 4; i++)
        check_ok(ig_dir_make(scratch(folders[i]), &err), &err);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s/test.jsonl", folders[2 + i]);
        scratch_write(name, rows[i], strlen(rows[i]));
    }
    scratch_write("t.yaml", yaml, strlen(yaml));
    snprintf(path, sizeof path, "%s", scratch("t.yaml"));
    struct ig_eval_job job = {.data = scratch("hub"), .tasks = path};
    check_ok(ig_eval_open(&job, &set, &err), &err);
    struct ig_eval_item item = ig_eval_item_at(set, 0, 0);
    assert_true(ig_slice_is(item.requests[0].context, "two"));
    ig_eval_close(set);
}

static void wrong_rows_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *row, *says;
    } cases[] = {
        {BODY, "{\"q\": \"?\", \"c\": [\"x\"], \"a\": 1}",
         "line 1: doc_to_target is 1, not 0 to 0"},
        {BODY, "{\"q\": \"?\", \"c\": [\"x\"], \"a\": -1}", "an unlabelled split?"},
        {BODY, "{\"q\": \"?\", \"c\": [\"x\"], \"a\": \"y\"}", "'y', which is none of the choices"},
        {BODY, "{\"q\": \"?\", \"c\": [\"x\"], \"a\": 0.5}", "neither a text nor an integer"},
        {BODY, "{\"q\": \"?\", \"c\": \"x\", \"a\": 0}", "'c' is not a list of 1 to 32 texts"},
        {BODY, "{\"q\": \"?\", \"c\": [1], \"a\": 0}", "choice 0 is not a text"},
        {BODY, "{\"q\": null, \"c\": [\"x\"], \"a\": 0}", "neither a text nor an integer"},
        {BODY, "[1]", "line 1: a JSON array, where each row is an object"},
        {BODY, "{\"q\":", "line 1"},
        {"doc_to_text: '{{z}}'\ndoc_to_choice: c\ndoc_to_target: a\n", "{\"c\": [\"x\"], \"a\": 0}",
         "doc_to_text: template, line 1, column 3: 'z' is undefined"},
        {"doc_to_text: '{{a.z}}'\ndoc_to_choice: c\ndoc_to_target: a\n",
         "{\"c\": [\"x\"], \"a\": \"x\"}", "has no 'z'"},
        {"doc_to_text: x\ndoc_to_choice: '[1]'\ndoc_to_target: 0\n", "{}",
         "doc_to_choice: no text where '1]' stands"},
        {"doc_to_text: x\ndoc_to_choice: '[]'\ndoc_to_target: 0\n", "{}", "gives no choice"},
        {"doc_to_text: x\ndoc_to_choice: ['a']\ndoc_to_target: '007'\n", "{}", "is no number"},
        {"doc_to_text: x\ndoc_to_choice: ['a']\ndoc_to_target: '[0]'\n", "{}", "gives a list"},
    };
    char yaml[1024];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum ig_code code = strstr(cases[i].says, "a list") && !strstr(cases[i].says, "not a list")
                                ? IG_ERR_UNSUPPORTED
                                : IG_ERR_DATA;
        snprintf(yaml, sizeof yaml, HEAD "%s", cases[i].fields);
        assert_refused(yaml, cases[i].row, code, cases[i].says);
    }
}

/* An object takes the room that its members need: 40,401 objects, 12 MB. */
static void columns_take_their_room(void **state)
{
    (void)state;
    struct ig_arena arena = {.bytes_max = (size_t)64 << 20};
    struct ig_buf text = {0};
    int64_t number = 1;
    for (int i = 0; i < 201; i++) {
        ig_buf_printf(&text, i ? ",\"%d\":{" : "{\"%d\":{", i);
        for (int k = 0; k < 200; k++)
            ig_buf_printf(&text, k ? ",\"%d\":{}" : "\"%d\":{}", k);
        ig_buf_char(&text, '}');
    }
    ig_buf_char(&text, '}');
    struct ig_slice line = ig_buf_view(&text);
    struct eval_rows rows = {.lines = &line, .numbers = &number, .count = 1};
    struct ig_json columns;
    check_ok(eval__columns_read(&rows, &arena, &columns, &err), &err);
    assert_true(columns.count == 201 && columns.items[200].count == 200);
    assert_true(ig_slice_is(columns.items[200].items[199].key, "199"));
    ig_buf_release(&text);
    ig_arena_release(&arena);
}

/* ---- Python's lists ---- */

static void lists_are_pythons(void **state)
{
    (void)state;
    /* python3 -c "import ast; print(ast.literal_eval(..))" */
    static const struct {
        const char *source, *want[3];
    } good[] = {
        {"[]", {NULL}},
        {"  ['a']\n", {"a"}},
        {"('a',)", {"a"}},
        {"['a', \"b\",]", {"a", "b"}},
        {"['a' 'b'\n\"c\", 'd']", {"abc", "d"}},
        {"['\\x41\\u00e9\\U0001F600\\101\\n\\t\\\\\\'\\\"', '\\q\\8']",
         {"A\xC3\xA9\xF0\x9F\x98\x80"
          "A\n\t\\'\"",
          "\\q\\8"}},
        {"['a\\\nb', '']", {"ab", ""}},
    };
    static const char *const bad[] = {
        "",        "'a'",       "['a'",          "['a]",   "['a\n']",     "[a]",
        "['a' b]", "['a'] x",   "('a')",         "[r'a']", "['\\x4']",    "[,]",
        "['a',,]", "['''a''']", "['\\N{DASH}']", "[1]",    "['\\ud800']",
    };
    struct ig_slice texts[EVAL_CHOICES_MAX];
    struct ig_arena arena = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int count = -1, want = 0;
        check_ok(eval__literal_texts(ig_slice_of(good[i].source), &arena, texts, &count, &err),
                 &err);
        for (; want < 3 && good[i].want[want]; want++)
            assert_true(want < count && ig_slice_is(texts[want], good[i].want[want]));
        assert_int_equal(count, want);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int count;
        if (eval__literal_texts(ig_slice_of(bad[i]), &arena, texts, &count, &err))
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(err.code, IG_ERR_DATA);
    }
    ig_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_the_harness),      cmocka_unit_test(wrong_tasks_are_refused),
        cmocka_unit_test(configurations_are_told_apart), cmocka_unit_test(wrong_rows_are_refused),
        cmocka_unit_test(columns_take_their_room),       cmocka_unit_test(lists_are_pythons),
    };
    return cmocka_run_group_tests(tests, open_all, scratch_close);
}
