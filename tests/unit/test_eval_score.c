/* SPDX-License-Identifier: Apache-2.0
 * eval_score — log-likelihoods and metrics of a fixture model on the fixtures' tasks, against
 * lm-evaluation-harness in f32 and mlx_lm.evaluate (tools/golden/eval_scores.py). */
#include "base/file.h"
#include "base/sha256.h"
#include "check.h"
#include "eval/eval_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOGPROB_TOLERANCE 2e-4
#define ITEMS             16 /* of each task; the golden files list the first 8 */
#define TASKS             7

static struct ig_err err;
static struct ig_model *model;
static struct ig_tokenizer *tokenizer;
static struct ig_template *chat;
static char fixture_model[IG_PATH_MAX], fixture_tasks[IG_PATH_MAX], goldens[IG_PATH_MAX];

static int open_all(void **state)
{
    (void)state;
    const char *fixtures = getenv("INGOT_FIXTURES"), *tests = getenv("INGOT_TESTS");
    if (!fixtures || !tests || !ig_path_join(fixture_model, fixtures, "models/base", &err) ||
        !ig_path_join(fixture_tasks, fixtures, "tasks", &err) ||
        !ig_path_join(goldens, tests, "golden/eval", &err) ||
        !ig_model_open(fixture_model, 1, &model, &err) ||
        !ig_tokenizer_open(fixture_model, &tokenizer, &err) ||
        !ig_template_open(fixture_model, false, &chat, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    ig_template_close(chat);
    ig_tokenizer_close(tokenizer);
    ig_model_close(model);
    return 0;
}

/* ---- against the golden files ---- */

struct golden {
    struct ig_arena arena;
    struct ig_buf file;
    struct ig_json *lines[512];
    size_t count, used;
};

static void golden_open(struct golden *g, const char *name)
{
    char path[IG_PATH_MAX];
    check_ok(ig_path_join(path, goldens, name, &err), &err);
    check_ok(ig_file_read(path, 1 << 20, &g->file, &err), &err);
    for (const char *p = g->file.data, *end; (end = strchr(p, '\n')) != NULL; p = end + 1) {
        struct ig_slice line = ig_slice_make(p, (size_t)(end - p));
        assert_true(g->count < sizeof g->lines / sizeof *g->lines);
        g->lines[g->count] = ig_json_parse(line, &g->arena, &err);
        check_ok(g->lines[g->count++] != NULL, &err);
    }
}

static void golden_close(struct golden *g)
{
    ig_arena_release(&g->arena);
    ig_buf_release(&g->file);
}

/* The line of a task's metrics (doc < 0) or of one item; NULL when it is not listed. */
static const struct ig_json *golden_find(struct golden *g, const char *task, int64_t doc)
{
    for (size_t i = 0; i < g->count; i++) {
        int64_t number = -1;
        if (!ig_slice_is(ig_json_text(ig_json_get(g->lines[i], "task")), task)) continue;
        ig_json_int(ig_json_get(g->lines[i], "doc"), &number);
        if (number == doc) return g->lines[i];
    }
    return NULL;
}

static bool compare_item(void *user, const struct ig_eval_item *item,
                         const struct ig_eval_score *score)
{
    struct golden *g = user;
    const struct ig_json *want = golden_find(g, item->task, item->doc);
    if (!want) return true;
    const struct ig_json *logprobs = ig_json_get(want, "logprobs");
    const struct ig_json *greedy = ig_json_get(want, "greedy");
    double acc = -1;
    assert_true(ig_json_real(ig_json_get(want, "acc"), &acc));
    assert_int_equal(item->count, logprobs->count);
    for (int i = 0; i < item->count; i++) {
        double value = 0;
        assert_true(ig_json_real(&logprobs->items[i], &value));
        if (!(fabs(value - score->logprobs[i]) <= LOGPROB_TOLERANCE))
            fail_msg("%s, item %d, choice %d: %.7f, want %.7f", item->task, (int)item->doc, i,
                     score->logprobs[i], value);
        assert_int_equal(score->greedy[i], greedy->items[i].type == IG_JSON_TRUE);
    }
    assert_int_equal(score->acc, acc > 0.5);
    g->used++;
    return true;
}

static void assert_metric(const struct ig_json *want, const char *key, double got)
{
    double value = -1;
    assert_true(ig_json_real(ig_json_get(want, key), &value));
    if (memcmp(&value, &got, sizeof got) != 0) fail_msg("%s: %.17g, want %.17g", key, got, value);
}

static void assert_scores(struct ig_eval_job job, const char *name, size_t items)
{
    struct golden g = {0};
    struct ig_eval_set *set;
    struct ig_eval_result results[TASKS];
    golden_open(&g, name);
    check_ok(ig_eval_open(&job, &set, &err), &err);
    check_ok(ig_eval_score(set, model, tokenizer, compare_item, &g, results, &err), &err);
    assert_int_equal(g.used, items);
    for (int t = 0; t < ig_eval_task_count(set); t++) {
        const struct ig_json *want = golden_find(&g, results[t].task, -1);
        assert_non_null(want);
        assert_metric(want, "acc", results[t].acc);
        assert_metric(want, "acc_stderr", results[t].acc_stderr);
        assert_int_equal(results[t].has_norm, ig_json_get(want, "acc_norm") != NULL);
        if (!results[t].has_norm) continue;
        assert_metric(want, "acc_norm", results[t].acc_norm);
        assert_metric(want, "acc_norm_stderr", results[t].acc_norm_stderr);
    }
    ig_eval_close(set);
    golden_close(&g);
}

static void plain_is_the_harness(void **state)
{
    (void)state;
    assert_scores((struct ig_eval_job){.data = fixture_tasks, .tasks = "all", .limit = ITEMS},
                  "scores/hf.jsonl", 8 * TASKS);
}

/* The reference kernels would take minutes, and what is tested here does not depend on kernels: one
 * mode, the plain one, is enough there. */
static void skip_on_ref(void)
{
    enum ig_isa isa;
    check_ok(ig_isa_pick(&isa, &err), &err);
    if (isa == IG_ISA_REF) skip();
}

static void chat_is_the_harness(void **state)
{
    (void)state;
    skip_on_ref();
    assert_scores(
        (struct ig_eval_job){
            .data = fixture_tasks, .tasks = "all", .limit = ITEMS, .chat = chat, .multiturn = true},
        "scores/hf-chat.jsonl", 8 * TASKS);
}

static void shots_are_the_harness(void **state)
{
    (void)state;
    skip_on_ref();
    assert_scores(
        (struct ig_eval_job){.data = fixture_tasks, .tasks = "all", .limit = ITEMS, .shots = 3},
        "scores/hf-shots.jsonl", 8 * TASKS);
}

static void mlx_style_is_mlx(void **state)
{
    (void)state;
    skip_on_ref();
    struct ig_eval_job job = {
        .data = fixture_tasks, .tasks = "all", .limit = ITEMS, .style = IG_EVAL_MLX};
    assert_scores(job, "scores/mlx.jsonl", 8 * TASKS);
    job.chat = chat;
    assert_scores(job, "scores/mlx-chat.jsonl", 8 * TASKS);
    job.chat = NULL;
    job.shots = 3;
    assert_scores(job, "scores/mlx-shots.jsonl", 8 * TASKS);
}

static void note_warning(void *user, const char *text)
{
    snprintf(user, IG_ERR_TEXT_MAX, "%s", text);
}

static void long_rows_are_cut_on_the_left(void **state)
{
    (void)state;
    char rows[IG_PATH_MAX], warning[IG_ERR_TEXT_MAX] = "";
    check_ok(ig_path_join(rows, goldens, "long", &err), &err);
    struct ig_watch watch = {.user = warning, .warn = note_warning};
    assert_scores((struct ig_eval_job){.data = rows, .tasks = "boolq", .watch = &watch},
                  "scores/long.jsonl", 3);
    assert_string_equal(warning, "boolq: 2 of 3 items are longer than the context of 512 tokens; "
                                 "they are cut on the left");
}

/* ---- nothing but the item counts ---- */

struct seen {
    double logprobs[2 * ITEMS][EVAL_CHOICES_MAX];
    bool stop;
};

static bool keep_item(void *user, const struct ig_eval_item *item,
                      const struct ig_eval_score *score)
{
    struct seen *seen = user;
    int64_t at = item->doc + (strcmp(item->task, "piqa") == 0 ? ITEMS : 0);
    memcpy(seen->logprobs[at], score->logprobs, (size_t)item->count * sizeof(double));
    return !seen->stop;
}

static void score_two(struct ig_model *with, const char *tasks, int64_t limit, struct seen *seen)
{
    struct ig_eval_set *set;
    struct ig_eval_result results[2];
    struct ig_eval_job job = {.data = fixture_tasks, .tasks = tasks, .limit = limit};
    check_ok(ig_eval_open(&job, &set, &err), &err);
    check_ok(ig_eval_score(set, with, tokenizer, keep_item, seen, results, &err), &err);
    ig_eval_close(set);
}

/* Returns how many tokens the model was fed. */
static int64_t score_in_batches(const char *tasks, int64_t batch, struct seen *seen)
{
    struct ig_eval_set *set;
    struct ig_eval_tokens *tokens;
    struct ig_eval_result results[2];
    struct ig_eval_job job = {.data = fixture_tasks, .tasks = tasks, .limit = ITEMS};
    check_ok(ig_eval_open(&job, &set, &err), &err);
    check_ok(ig_eval_tokens_new(set, tokenizer, 512, &tokens, &err), &err);
    struct ig_eval_scoring how = {
        .tokens = tokens, .batch = batch, .on_item = keep_item, .user = seen};
    check_ok(ig_eval_score_as(set, model, &how, results, &err), &err);
    ig_eval_tokens_free(tokens);
    ig_eval_close(set);
    return results[0].tokens + results[1].tokens;
}

static void order_batch_and_threads_do_not_matter(void **state)
{
    (void)state;
    static struct seen one, other, threads;
    struct ig_model *second;
    score_two(model, "piqa,arc_easy", ITEMS, &one);
    score_two(model, "arc_easy,piqa", ITEMS, &other);
    assert_memory_equal(&one, &other, sizeof one);
    int64_t alone = score_in_batches("piqa,arc_easy", 1, &other);
    assert_memory_equal(&one, &other, sizeof one);
    int64_t some = score_in_batches("arc_easy,piqa", 150, &other);
    assert_memory_equal(&one, &other, sizeof one);
    int64_t all = score_in_batches("arc_easy,piqa", 0, &other);
    assert_memory_equal(&one, &other, sizeof one);
    assert_true(all < some && some < alone); /* what items share is fed once */
    check_ok(ig_model_open(fixture_model, 3, &second, &err), &err);
    score_two(second, "piqa,arc_easy", ITEMS, &threads);
    ig_model_close(second);
    assert_memory_equal(&one, &threads, sizeof one);
}

static bool stop_at_three(void *user, const struct ig_progress *progress)
{
    (void)user;
    return progress->items_done < 3;
}

static void runs_can_be_stopped(void **state)
{
    (void)state;
    static struct seen seen = {.stop = true};
    struct ig_watch watch = {.progress = stop_at_three};
    struct ig_eval_job job = {.data = fixture_tasks, .tasks = "piqa", .limit = 5};
    struct ig_eval_set *set;
    struct ig_eval_result result;
    check_ok(ig_eval_open(&job, &set, &err), &err);
    check_fails(ig_eval_score(set, model, tokenizer, keep_item, &seen, &result, &err), &err,
                IG_ERR_CANCELLED, "stopped at item 0 of task piqa");
    ig_eval_close(set);
    job.watch = &watch;
    int count = 0;
    check_fails(ig_eval_run(&job, model, tokenizer, &result, 1, &count, &err), &err,
                IG_ERR_CANCELLED, "stopped after 3 of 5 items");
    job.tasks = "all";
    check_fails(ig_eval_run(&job, model, tokenizer, &result, 1, &count, &err), &err, IG_ERR_USAGE,
                "7 tasks, room for 1");
}

/* ---- files ---- */

static void sha256_is_sha256(void **state)
{
    (void)state;
    /* FIPS 180-4's examples, and lengths around a block: python3 -c "hashlib.sha256(b'a' * n)" */
    static const struct {
        int count;
        const char *hex;
    } cases[] = {
        {0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
        {64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
        {65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"},
        {119, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb"},
        {128, "6836cf13bac400e9105071cd6af47084dfacad4e5e302c94bfed24e013afb73e"},
        {200, "c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5"},
    };
    char text[256], hex[IG_SHA256_HEX];
    ig_sha256_of("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ig_sha256_of(text, (size_t)cases[i].count, hex);
        assert_string_equal(hex, cases[i].hex);
        struct ig_sha256 sha;
        ig_sha256_init(&sha);
        for (int k = 0; k < cases[i].count; k++)
            ig_sha256_feed(&sha, text + k, 1);
        ig_sha256_end(&sha, hex);
        assert_string_equal(hex, cases[i].hex);
    }
}

static void read_file(const char *folder, const char *name, struct ig_buf *out)
{
    char path[IG_PATH_MAX];
    ig_buf_clear(out);
    check_ok(ig_path_join(path, folder, name, &err), &err);
    check_ok(ig_file_read(path, 1 << 24, out, &err), &err);
}

/* Every line's doc_hash is what the harness made of the same row. */
static void assert_samples(const char *folder, const char *task, struct golden *g)
{
    struct ig_buf text = {0};
    struct ig_arena arena = {0};
    char name[128];
    snprintf(name, sizeof name, "samples_%.64s_2001-09-09T01-46-40.000000.jsonl", task);
    read_file(folder, name, &text);
    int64_t doc = 0;
    for (const char *p = text.data, *end; (end = strchr(p, '\n')) != NULL; p = end + 1, doc++) {
        struct ig_json *line = ig_json_parse(ig_slice_make(p, (size_t)(end - p)), &arena, &err);
        check_ok(line != NULL, &err);
        const struct ig_json *want = golden_find(g, task, doc);
        assert_non_null(want);
        struct ig_slice hash = ig_json_text(ig_json_get(want, "doc_hash"));
        assert_true(ig_slice_equal(hash, ig_json_text(ig_json_get(line, "doc_hash"))));
    }
    assert_true(doc > 2 && !golden_find(g, task, doc));
    ig_arena_release(&arena);
    ig_buf_release(&text);
}

static void files_are_the_harness(void **state)
{
    (void)state;
    char folder[] = "/tmp/ingot-eval-XXXXXX", rows[IG_PATH_MAX], out[IG_PATH_MAX];
    struct golden g = {0};
    struct ig_eval_set *set;
    struct ig_eval_record *record;
    struct ig_eval_result results[TASKS];
    struct ig_buf text = {0};
    struct ig_arena arena = {0};
    assert_non_null(mkdtemp(folder));
    check_ok(ig_path_join(rows, goldens, "rows", &err), &err);
    check_ok(ig_path_join(out, folder, "a/b/org__name", &err), &err);
    struct ig_eval_job job = {.data = rows, .tasks = "all"};
    struct ig_eval_record_job files = {.model = "org/name", .now = 1000000000};
    char deep[64];
    snprintf(deep, sizeof deep, "%s/a/b", folder);
    files.dir = deep;
    check_ok(ig_eval_open(&job, &set, &err), &err);
    check_ok(ig_eval_record_open(set, &files, &record, &err), &err);
    check_ok(ig_eval_score(set, model, tokenizer, ig_eval_record_item, record, results, &err),
             &err);
    check_ok(ig_eval_record_finish(record, model, tokenizer, results, &err), &err);
    ig_eval_record_close(record);
    golden_open(&g, "zero.jsonl");
    for (int t = 0; t < TASKS; t++)
        assert_samples(out, results[t].task, &g);
    read_file(out, "results_2001-09-09T01-46-40.000000.json", &text);
    struct ig_json *root = ig_json_parse(ig_buf_view(&text), &arena, &err);
    check_ok(root != NULL, &err);
    const struct ig_json *boolq = ig_json_get(ig_json_get(root, "results"), "boolq");
    double acc = -1;
    assert_true(ig_json_real(ig_json_get(boolq, "acc,none"), &acc));
    assert_true(acc >= results[2].acc && acc <= results[2].acc);
    assert_null(ig_json_get(boolq, "acc_norm,none"));
    ig_arena_release(&arena);
    ig_buf_release(&text);
    golden_close(&g);
    ig_eval_close(set);
    assert_true(ig_dir_remove(folder, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_is_the_harness),
        cmocka_unit_test(chat_is_the_harness),
        cmocka_unit_test(shots_are_the_harness),
        cmocka_unit_test(mlx_style_is_mlx),
        cmocka_unit_test(long_rows_are_cut_on_the_left),
        cmocka_unit_test(order_batch_and_threads_do_not_matter),
        cmocka_unit_test(runs_can_be_stopped),
        cmocka_unit_test(sha256_is_sha256),
        cmocka_unit_test(files_are_the_harness),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
