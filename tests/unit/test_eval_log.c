/* SPDX-License-Identifier: Apache-2.0
 * eval_log — a run that is killed goes on from its log and ends with the same bytes; nothing stale,
 * torn or foreign is taken from it. */
#include "base/file.h"
#include "eval/eval_internal.h"
#include "eval/log.h"
#include "scratch.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT    4 /* rows of each task */
#define KILLS    10
#define NOW      1000000000
#define STAMP    "2001-09-09T01-46-40.000000"
#define TASKS    7
#define TEXT_MAX ((size_t)1 << 24)

static struct ig_err err;
static char model_dir[IG_PATH_MAX], task_dir[IG_PATH_MAX];

static int open_all(void **state)
{
    const char *fixtures = getenv("INGOT_FIXTURES");
    return !fixtures || !ig_path_join(model_dir, fixtures, "models/base", &err) ||
                   !ig_path_join(task_dir, fixtures, "tasks", &err)
               ? -1
               : scratch_open(state);
}

/* ---- runs ---- */

static bool tell(void *user, const struct ig_progress *progress)
{
    const int *fd = user;
    if (strcmp(progress->phase, "eval") != 0) return true;
    return write(*fd, "x", 1) == 1; /* once an item; the parent reads the first */
}

static bool evaluate(const char *out, int threads, const char *tasks, int tell_fd, int64_t *resumed)
{
    struct ig_watch watch = {.user = &tell_fd, .progress = tell};
    struct ig_eval_job job = {
        .data = task_dir, .tasks = tasks, .limit = LIMIT, .watch = tell_fd < 0 ? NULL : &watch};
    struct ig_eval_identity id;
    struct ig_eval_record_job files = {.dir = out, .model = "m", .now = NOW, .identity = &id};
    struct ig_eval_set *set = NULL;
    struct ig_eval_record *record = NULL;
    struct ig_model *model = NULL;
    struct ig_tokenizer *tokenizer = NULL;
    struct ig_eval_tokens *tokens = NULL;
    struct ig_eval_result results[TASKS];
    bool ok = ig_eval_digest_model(model_dir, threads, id.model, &err) &&
              ig_eval_digest_tokenizer(model_dir, id.tokenizer, &err) &&
              ig_eval_open(&job, &set, &err) && ig_eval_record_open(set, &files, &record, &err) &&
              ig_model_open(model_dir, threads, &model, &err) &&
              ig_tokenizer_open(model_dir, &tokenizer, &err) &&
              ig_eval_tokens_new(set, tokenizer, ig_model_shape(model)->context, &tokens, &err);
    struct ig_eval_scoring how = {.tokens = tokens,
                                  .log = ok ? ig_eval_record_log(record) : NULL,
                                  .identity = &id,
                                  .batch = 64,
                                  .on_item = ig_eval_record_item,
                                  .user = record};
    ok = ok && ig_eval_score_as(set, model, &how, results, &err) &&
         ig_eval_record_finish(record, model, tokenizer, results, &err);
    *resumed = 0;
    for (int t = 0; ok && t < ig_eval_task_count(set); t++)
        *resumed += results[t].resumed;
    ig_eval_tokens_free(tokens);
    ig_tokenizer_close(tokenizer);
    ig_model_close(model);
    ig_eval_record_close(record);
    ig_eval_close(set);
    return ok;
}

static int64_t done(const char *out, int threads, const char *tasks)
{
    int64_t resumed;
    check_ok(evaluate(out, threads, tasks, -1, &resumed), &err);
    return resumed;
}

static void pause_us(long us)
{
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

/* Starts a run in a process of its own and kills it `us` after its first item. */
static void start_and_kill(const char *out, int threads, long us)
{
    int pipe_fds[2], status;
    char byte;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int64_t resumed;
        close(pipe_fds[0]);
        signal(SIGPIPE, SIG_IGN);
        _exit(evaluate(out, threads, "all", pipe_fds[1], &resumed) ? 0 : 1);
    }
    close(pipe_fds[1]);
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    pause_us(us);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    close(pipe_fds[0]);
}

/* ---- files ---- */

static struct ig_buf file_of(const char *out, const char *name)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    snprintf(path, sizeof path, "%s/m/%s", out, name);
    check_ok(ig_file_read(path, TEXT_MAX, &text, &err), &err);
    return text;
}

static void assert_same_file(const char *a, const char *b, const char *name)
{
    struct ig_buf one = file_of(a, name), other = file_of(b, name);
    char *times[] = {strstr(one.data, "\"total_evaluation_time_seconds\""),
                     strstr(other.data, "\"total_evaluation_time_seconds\"")};
    for (int i = 0; i < 2; i++)
        for (char *p = times[i]; p && *p != '\n'; p++)
            *p = ' ';
    if (!times[0]) assert_int_equal(one.len, other.len);
    /* The time's digits may be more or fewer: compare around them. */
    size_t before = times[0] ? (size_t)(times[0] - one.data) : one.len;
    assert_memory_equal(one.data, other.data, before);
    if (times[0]) assert_string_equal(strchr(times[0], '\n'), strchr(times[1], '\n'));
    ig_buf_release(&one);
    ig_buf_release(&other);
}

static void assert_same_results(const char *a, const char *b)
{
    const char *const *names = ig_eval_task_list();
    for (int t = 0; t < TASKS; t++) {
        char name[128];
        snprintf(name, sizeof name, "samples_%s_" STAMP ".jsonl", names[2 * t]);
        assert_same_file(a, b, name);
    }
    assert_same_file(a, b, "results_" STAMP ".json");
}

/* ---- tests ---- */

static void a_killed_run_goes_on(void **state)
{
    (void)state;
    char whole[IG_PATH_MAX], killed[IG_PATH_MAX];
    snprintf(whole, sizeof whole, "%s", scratch("whole"));
    snprintf(killed, sizeof killed, "%s", scratch("killed"));
    unsigned random = 20260101;
    for (int i = 0; i < KILLS; i++) { /* before any thread of this process */
        random = random * 1103515245U + 12345;
        int doublings = check_emulated() ? 9 : 6;
        long most =
            30000L << (i < doublings ? i
                                     : doublings); /* some come after a batch on slow kernels too */
        start_and_kill(killed, 1 + i % 2, (long)(random >> 8) % most);
    }
    assert_int_equal(done(whole, 1, "all"), 0);
    int64_t resumed = done(killed, 3, "all");
    assert_true(resumed > 0);
    assert_same_results(whole, killed);
}

static void what_is_known_is_not_scored_again(void **state)
{
    (void)state;
    const char *out = scratch("whole");
    assert_int_equal(done(out, 1, "all"), TASKS * LIMIT);
    assert_int_equal(done(out, 1, "piqa"), LIMIT);
}

static void runs_of_one_second_are_kept(void **state)
{
    (void)state;
    static const char *const names[] = {"results_" STAMP ".json",
                                        "results_2001-09-09T01-46-40.000001.json",
                                        "samples_piqa_2001-09-09T01-46-40.000001.jsonl"};
    for (int i = 0; i < 2; i++)
        done(scratch("second"), 1, "piqa");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct ig_buf text = file_of(scratch("second"), names[i]);
        ig_buf_release(&text);
    }
}

static void folders_of_models_are_below_the_output(void **state)
{
    (void)state;
    static const char *const models[] = {"..", "."};
    struct ig_eval_job job = {.data = task_dir, .tasks = "piqa", .limit = 1};
    struct ig_eval_set *set;
    check_ok(ig_eval_open(&job, &set, &err), &err);
    for (int i = 0; i < 2; i++) {
        struct ig_eval_record *record;
        struct ig_eval_record_job files = {
            .dir = scratch("dots/out"), .model = models[i], .now = NOW};
        check_ok(ig_eval_record_open(set, &files, &record, &err), &err);
        ig_eval_record_close(record);
        assert_true(ig_path_exists(scratch("dots/out/__/" EVAL_LOG_NAME)));
        assert_false(ig_path_exists(scratch("dots/" EVAL_LOG_NAME)));
        assert_false(ig_path_exists(scratch("dots/out/" EVAL_LOG_NAME)));
    }
    ig_eval_close(set);
}

static void every_torn_log_is_gone_on_from(void **state)
{
    (void)state;
    struct ig_buf log = file_of(scratch("whole"), EVAL_LOG_NAME);
    check_ok(ig_dir_make(scratch("torn"), &err), &err);
    size_t title = (size_t)(strchr(log.data, '\n') - log.data) + 1;
    size_t first = title + (size_t)(strchr(log.data + title, '\n') - log.data - title) + 1;
    for (size_t cut = 0; cut <= first + 1; cut++) {
        struct ig_eval_log *open;
        scratch_write("torn/" EVAL_LOG_NAME, log.data, cut);
        check_ok(eval__log_open(scratch("torn"), 0, &open, &err), &err);
        eval__log_close(open);
        struct ig_buf now = scratch_read("torn/" EVAL_LOG_NAME);
        size_t want = cut >= first ? first : title;
        assert_int_equal(now.len, want);
        assert_memory_equal(now.data, log.data, want);
        ig_buf_release(&now);
    }
    ig_buf_release(&log);
}

static void damaged_lines_do_not_count(void **state)
{
    (void)state;
    struct ig_buf log = file_of(scratch("whole"), EVAL_LOG_NAME);
    struct ig_map items = {0};
    size_t whole;
    check_ok(eval__log_read(ig_buf_view(&log), &items, &whole, &err), &err);
    assert_int_equal(items.count, TASKS * LIMIT);
    ig_map_release(&items);
    size_t title = (size_t)(strchr(log.data, '\n') - log.data) + 1;
    for (size_t at = title; at < title + 150; at++) {
        char kept = log.data[at];
        log.data[at] ^= 1;
        check_ok(eval__log_read(ig_buf_view(&log), &items, &whole, &err), &err);
        assert_true(items.count < TASKS * LIMIT);
        ig_map_release(&items);
        log.data[at] = kept;
    }
    ig_buf_release(&log);
}

static void foreign_files_are_left_alone(void **state)
{
    (void)state;
    static const char mine[] = "dear diary,\n";
    struct ig_eval_log *log;
    check_ok(ig_dir_make(scratch("foreign"), &err), &err);
    scratch_write("foreign/" EVAL_LOG_NAME, mine, sizeof mine - 1);
    check_fails(eval__log_open(scratch("foreign"), 0, &log, &err), &err, IG_ERR_DATA,
                "not a log of scored items");
    struct ig_buf now = scratch_read("foreign/" EVAL_LOG_NAME);
    assert_string_equal(now.data, mine);
    ig_buf_release(&now);
}

static void the_second_process_is_told(void **state)
{
    (void)state;
    struct ig_eval_log *one, *two;
    check_ok(ig_dir_make(scratch("twice"), &err), &err);
    check_ok(eval__log_open(scratch("twice"), 0, &one, &err), &err);
    check_fails(eval__log_open(scratch("twice"), 0, &two, &err), &err, IG_ERR_IO,
                "another process is writing");
    eval__log_close(one);
    check_ok(eval__log_open(scratch("twice"), 0, &two, &err), &err);
    eval__log_close(two);
}

static void values_come_back_to_the_bit(void **state)
{
    (void)state;
    struct ig_eval_log *log;
    static const char key[] = "0123456789abcdef0123456789abcdef";
    double values[] = {-1.0 / 3, -(double)INFINITY, -0.0, -5e-324}, back[4];
    bool greedy[] = {true, false, false, true}, greedy_back[4];
    check_ok(ig_dir_make(scratch("bits"), &err), &err);
    check_ok(eval__log_open(scratch("bits"), 0, &log, &err), &err);
    assert_false(eval__log_find(log, key, 4, back, greedy_back));
    check_ok(eval__log_add(log, key, 4, values, greedy, &err), &err);
    eval__log_close(log);
    check_ok(eval__log_open(scratch("bits"), 0, &log, &err), &err);
    assert_true(eval__log_find(log, key, 4, back, greedy_back));
    assert_memory_equal(values, back, sizeof back);
    assert_memory_equal(greedy, greedy_back, sizeof greedy);
    assert_false(eval__log_find(log, key, 3, back, greedy_back));
    eval__log_close(log);
}

/* One bit of one weight: the shapes, names and sizes stay, the digest does not. */
static void other_weights_are_another_model(void **state)
{
    (void)state;
    char before[33], after[33], again[33];
    static const char *const names[] = {"config.json", "model.safetensors"};
    check_ok(ig_dir_make(scratch("model"), &err), &err);
    for (int i = 0; i < 2; i++) {
        char path[IG_PATH_MAX], name[64];
        struct ig_buf bytes = {0};
        check_ok(ig_path_join(path, model_dir, names[i], &err), &err);
        check_ok(ig_file_read(path, TEXT_MAX, &bytes, &err), &err);
        snprintf(name, sizeof name, "model/%s", names[i]);
        scratch_write(name, bytes.data, bytes.len);
        ig_buf_release(&bytes);
    }
    check_ok(ig_eval_digest_model(model_dir, 1, before, &err), &err);
    check_ok(ig_eval_digest_model(scratch("model"), 3, again, &err), &err);
    assert_string_equal(before, again);
    struct ig_buf bytes = scratch_read("model/model.safetensors");
    bytes.data[bytes.len - 5] ^= 1;
    scratch_write("model/model.safetensors", bytes.data, bytes.len);
    ig_buf_release(&bytes);
    check_ok(ig_eval_digest_model(scratch("model"), 2, after, &err), &err);
    assert_string_not_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_run_goes_on),
        cmocka_unit_test(what_is_known_is_not_scored_again),
        cmocka_unit_test(runs_of_one_second_are_kept),
        cmocka_unit_test(folders_of_models_are_below_the_output),
        cmocka_unit_test(every_torn_log_is_gone_on_from),
        cmocka_unit_test(damaged_lines_do_not_count),
        cmocka_unit_test(foreign_files_are_left_alone),
        cmocka_unit_test(the_second_process_is_told),
        cmocka_unit_test(values_come_back_to_the_bit),
        cmocka_unit_test(other_weights_are_another_model),
    };
    return cmocka_run_group_tests(tests, open_all, scratch_close);
}
