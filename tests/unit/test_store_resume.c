/* SPDX-License-Identifier: Apache-2.0
 * store_resume — a run that is killed goes on and ends with the same bytes; a full disk, a second
 * writer, an output that exists: nothing is left under the final name, and the message says what to
 * do. */
#include "base/digest.h"
#include "ingot/store.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define COUNT       40
#define SKIP_STATUS 77

static struct ig_tensor tensors[COUNT];
static char names[COUNT][16];

/* Sizes on both sides of a digest's block, and none. */
static int set_up(void **state)
{
    static const int64_t sizes[] = {1, 0, 700, 16384, 16385, 40000, 65536, 131};
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "t%02d", i);
        tensors[i] = (struct ig_tensor){.name = ig_slice_of(names[i]),
                                        .dtype = i % 3 ? IG_BF16 : IG_U8,
                                        .rank = 1,
                                        .shape = {sizes[i % 8]}};
    }
    return scratch_open(state);
}

static struct ig_writer_plan plan_of(const char *out)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s", scratch(out));
    return (struct ig_writer_plan){.out = path,
                                   .tensors = tensors,
                                   .count = COUNT,
                                   .layout = IG_LAYOUT_HF,
                                   .shard_bytes_max = 300000,
                                   .total_parameters = -1,
                                   .origins = ig_slice_of("recipe 1")};
}

static bool write_tensor(struct ig_writer *writer, int64_t index, struct ig_err *err)
{
    static unsigned char bytes[1 << 18];
    struct ig_sink sink = ig_writer_sink(writer);
    int64_t elems = tensors[index].shape[0], step = 128 * (1 + index % 5 * 40);
    size_t size = ig_dtype_bytes(tensors[index].dtype);
    for (size_t k = 0; k < (size_t)elems * size; k++)
        bytes[k] = (unsigned char)(k * 13 + k / 251 + (size_t)index * 7);
    for (int64_t first = 0; first < elems; first += step) {
        int64_t n = elems - first < step ? elems - first : step;
        if (!sink.put(sink.self, index, first, n, bytes + (size_t)first * size, err)) return false;
    }
    return sink.done(sink.self, index, err);
}

/* Writes what is wanted, at most `most` tensors; then finishes if all are there. */
static bool run(const struct ig_writer_plan *plan, int most, int *written, struct ig_err *err)
{
    struct ig_writer *writer;
    *written = 0;
    if (!ig_writer_open(plan, &writer, err)) return false;
    struct ig_sink sink = ig_writer_sink(writer);
    bool ok = true;
    for (int64_t i = 0; ok && i < COUNT && *written < most; i++) {
        int64_t index = (i * 7 + 3) % COUNT; /* not in file order */
        if (!sink.wants(sink.self, index)) continue;
        ok = write_tensor(writer, index, err);
        ++*written;
    }
    if (ok && *written < most) ok = ig_writer_finish(writer, err);
    ig_writer_close(writer);
    return ok;
}

struct comparison {
    const char *other;
    int files;
};

static bool compare_entry(void *user, const char *name)
{
    struct comparison *c = user;
    char path[128];
    snprintf(path, sizeof path, "whole/%s", name);
    struct ig_buf x = scratch_read(path);
    snprintf(path, sizeof path, "%s/%s", c->other, name);
    struct ig_buf y = scratch_read(path);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    ig_buf_release(&x);
    ig_buf_release(&y);
    c->files++;
    return true;
}

static bool count_entry(void *user, const char *name)
{
    (void)name;
    ++*(int *)user;
    return true;
}

/* The folder holds what "whole" holds, byte for byte, and nothing else. */
static void assert_same_as_whole(const char *name)
{
    struct ig_err err = {0};
    struct comparison c = {.other = name};
    int files = 0;
    check_ok(ig_dir_list(scratch("whole"), compare_entry, &c, &err), &err);
    check_ok(ig_dir_list(scratch(name), count_entry, &files, &err), &err);
    assert_int_equal(files, c.files);
    assert_true(files > 3); /* several shards and their index */
}

static void remove_folders(void)
{
    struct ig_err err = {0};
    check_ok(ig_dir_remove(scratch("out"), &err), &err);
    check_ok(ig_dir_remove(scratch("out.partial"), &err), &err);
}

/* The folder of a run that nothing disturbs. */
static void make_reference(void)
{
    struct ig_err err = {0};
    int written;
    if (ig_path_exists(scratch("whole"))) return;
    struct ig_writer_plan plan = plan_of("whole");
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
}

static void a_stopped_run_goes_on(void **state)
{
    (void)state;
    struct ig_err err = {0};
    int written;
    make_reference();
    struct ig_writer_plan plan = plan_of("out");
    check_ok(run(&plan, 10, &written, &err), &err);
    assert_false(ig_path_exists(scratch("out")));
    assert_true(ig_path_exists(scratch("out.partial/ingot.journal")));
    plan.resume = true;
    check_ok(run(&plan, 5, &written, &err), &err);
    assert_int_equal(written, 5);
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_int_equal(written, COUNT - 15);
    assert_same_as_whole("out");
    assert_false(ig_path_exists(scratch("out.partial")));
    remove_folders();
}

static void resume_wants_the_same_plan(void **state)
{
    (void)state;
    struct ig_err err = {0};
    char want[2048];
    int written;
    struct ig_writer_plan plan = plan_of("out");
    check_ok(run(&plan, 10, &written, &err), &err);
    snprintf(want, sizeof want,
             "an interrupted run left '%s': go on with --resume, or start over with --force",
             scratch("out.partial"));
    check_fails(run(&plan, COUNT + 1, &written, &err), &err, IG_ERR_USAGE, want);
    plan.resume = true;
    plan.origins = ig_slice_of("recipe 2");
    snprintf(
        want, sizeof want,
        "'%s' is of another recipe, other inputs or other options: run it with those, or start "
        "over with --force",
        scratch("out.partial"));
    check_fails(run(&plan, COUNT + 1, &written, &err), &err, IG_ERR_USAGE, want);
    plan.force = true;
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_int_equal(written, COUNT);
    remove_folders();
}

/* The same values by other names are the same; of other values the first is told by its name. */
static void resume_says_what_has_changed(void **state)
{
    (void)state;
    struct ig_err err = {0};
    char want[2048];
    int written;
    struct ig_writer_plan plan = plan_of("out");
    plan.origins = ig_slice_of("the recipe\t1\na/model\t2\n\"odd\"\\name\t3\n");
    check_ok(run(&plan, 10, &written, &err), &err);
    plan.resume = true;
    plan.origins = ig_slice_of("the recipe\t1\na/model\t2\n\"odd\"\\name\t4\n");
    snprintf(want, sizeof want,
             "an interrupted run left '%s', but \"odd\"\\name has changed since: put it back, or "
             "start over with --force",
             scratch("out.partial"));
    check_fails(run(&plan, COUNT + 1, &written, &err), &err, IG_ERR_USAGE, want);
    plan.origins = ig_slice_of("the recipe\t1\na/model\t2\n");
    check_fails(run(&plan, COUNT + 1, &written, &err), &err, IG_ERR_USAGE, "is of another recipe");
    plan.origins = ig_slice_of("the recipe\t1\nb/model\t2\nother\t3\n");
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_int_equal(written, COUNT - 10);
    remove_folders();
}

static void nothing_to_resume_is_a_start(void **state)
{
    (void)state;
    struct ig_err err = {0};
    int written;
    struct ig_writer_plan plan = plan_of("out");
    plan.resume = true;
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_int_equal(written, COUNT);
    assert_same_as_whole("out");
    remove_folders();
}

static void change_byte(const char *name, off_t at, bool from_end)
{
    int fd = open(scratch(name), O_RDWR);
    unsigned char byte;
    assert_true(fd >= 0);
    if (from_end) at = lseek(fd, 0, SEEK_END) - at;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void damaged_bytes_are_written_again(void **state)
{
    (void)state;
    struct ig_err err = {0};
    int written;
    struct ig_writer_plan plan = plan_of("out");
    check_ok(run(&plan, COUNT, &written, &err), &err);
    plan.resume = true;
    change_byte("out.partial/model-00002-of-00005.safetensors", 5, true);
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_int_equal(written, 1); /* the one with the changed byte */
    assert_same_as_whole("out");
    remove_folders();
}

/* Killed between setting the journal aside and the rename, and between the rename and its end. */
static void a_run_killed_in_its_last_moment_goes_on(void **state)
{
    (void)state;
    struct ig_err err = {0};
    char want[2048];
    int written;
    make_reference();
    struct ig_writer_plan plan = plan_of("out");
    plan.resume = true;
    check_ok(run(&plan, COUNT, &written, &err), &err);
    assert_int_equal(rename(scratch("out.partial/ingot.journal"), scratch("out.partial.journal")),
                     0);
    plan.keep_journal = true;
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_int_equal(written, 0);
    assert_same_as_whole("out");
    assert_true(ig_path_exists(scratch("out.partial.journal")));
    plan.keep_journal = false;
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_int_equal(written, 0);
    assert_same_as_whole("out");
    assert_false(ig_path_exists(scratch("out.partial.journal")));
    snprintf(want, sizeof want, "'%s' exists: choose another name, or use --force", scratch("out"));
    check_fails(run(&plan, COUNT + 1, &written, &err), &err, IG_ERR_USAGE, want);
    remove_folders();
}

/* Killed while the journals of several outputs were removed: this one's is gone already. */
static void one_of_several_finished_outputs_is_known(void **state)
{
    (void)state;
    struct ig_err err = {0};
    char want[2048], path[1200];
    int written;
    make_reference();
    struct ig_writer_plan plan = plan_of("out");
    plan.keep_journal = plan.resume = true;
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    struct ig_buf journal = scratch_read("out.partial.journal");
    const char *digest = journal.data + strlen("ingot journal 1 ");
    snprintf(path, sizeof path, "%s", scratch("ingot.finished"));
    check_ok(ig_file_write(path, ig_slice_make(digest, IG_DIGEST_HEX - 1), &err), &err);
    assert_int_equal(unlink(scratch("out.partial.journal")), 0);
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_int_equal(written, 0);
    assert_same_as_whole("out");
    plan.origins = ig_slice_of("recipe 2");
    snprintf(want, sizeof want, "'%s' exists: choose another name, or use --force", scratch("out"));
    check_fails(run(&plan, COUNT + 1, &written, &err), &err, IG_ERR_USAGE, want);
    assert_int_equal(unlink(path), 0);
    ig_buf_release(&journal);
    remove_folders();
}

/* A journal that lies about is not taken for another run's. */
static void a_stale_journal_is_forgotten(void **state)
{
    (void)state;
    struct ig_err err = {0};
    int written;
    struct ig_writer_plan plan = plan_of("out");
    plan.keep_journal = true;
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    check_ok(ig_dir_remove(scratch("out"), &err), &err);
    plan.keep_journal = false;
    plan.resume = true;
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_int_equal(written, COUNT);
    assert_false(ig_path_exists(scratch("out.partial.journal")));
    remove_folders();
}

static void damaged_journal_lines_are_forgotten(void **state)
{
    (void)state;
    struct ig_err err = {0};
    int written;
    struct ig_writer_plan plan = plan_of("out");
    for (int damage = 0; damage < 4; damage++) {
        plan.resume = false;
        check_ok(run(&plan, 10, &written, &err), &err);
        struct ig_buf journal = scratch_read("out.partial/ingot.journal");
        size_t len = journal.len;
        ig_buf_release(&journal);
        if (damage == 0)
            assert_int_equal(truncate(scratch("out.partial/ingot.journal"), (off_t)len - 1), 0);
        if (damage == 1)
            assert_int_equal(truncate(scratch("out.partial/ingot.journal"), (off_t)len - 30), 0);
        if (damage == 2)
            change_byte("out.partial/ingot.journal", 100, true); /* in the last but one */
        if (damage == 3) assert_int_equal(truncate(scratch("out.partial/ingot.journal"), 20), 0);
        plan.resume = true;
        check_ok(run(&plan, COUNT + 1, &written, &err), &err);
        assert_int_equal(written, damage == 3 ? COUNT : damage == 2 ? COUNT - 8 : COUNT - 9);
        assert_same_as_whole("out");
        remove_folders();
    }
}

/* A child writes; it is killed after a random time, again and again, until it gets to the end. */
static void a_killed_run_goes_on(void **state)
{
    (void)state;
    make_reference();
    unsigned seed = (unsigned)getpid();
    int killed = 0;
    for (int round = 0; round < 400 && killed < 25; round++) {
        if (ig_path_exists(scratch("out"))) remove_folders();
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct ig_err err = {0};
            struct ig_writer_plan plan = plan_of("out");
            int written;
            plan.resume = true;
            _exit(run(&plan, COUNT + 1, &written, &err) ? 0 : 1);
        }
        int status;
        usleep((useconds_t)(rand_r(&seed) % 12000));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        killed += WIFSIGNALED(status);
        if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
        if (ig_path_exists(scratch("out"))) assert_same_as_whole("out");
    }
    struct ig_err err = {0};
    struct ig_writer_plan plan = plan_of("out");
    int written;
    remove_folders();
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_same_as_whole("out");
    remove_folders();
    print_message("killed %d times\n", killed);
    assert_true(killed >= 10);
}

static void one_writer_at_a_time(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_writer *first, *second;
    char want[2048];
    struct ig_writer_plan plan = plan_of("out");
    check_ok(ig_writer_open(&plan, &first, &err), &err);
    snprintf(want, sizeof want, "another process is writing '%s'", scratch("out.partial"));
    plan.resume = plan.force = true;
    check_fails(ig_writer_open(&plan, &second, &err), &err, IG_ERR_IO, want);
    check_ok(write_tensor(first, 0, &err), &err);
    ig_writer_close(first);
    assert_true(ig_path_exists(scratch("out.partial")));
    remove_folders();
}

static void an_unused_folder_goes_away(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_writer *writer;
    struct ig_writer_plan plan = plan_of("out");
    check_ok(ig_writer_open(&plan, &writer, &err), &err);
    assert_true(ig_path_exists(scratch("out.partial")));
    ig_writer_close(writer);
    assert_false(ig_path_exists(scratch("out.partial")));
    check_ok(ig_writer_open(&plan, &writer, &err), &err);
    check_fails(ig_writer_finish(writer, &err), &err, IG_ERR_BUG,
                "tensor 't00' was never finished");
    ig_writer_close(writer);
    assert_false(ig_path_exists(scratch("out")));
}

static void what_exists_is_not_overwritten(void **state)
{
    (void)state;
    struct ig_err err = {0};
    char want[2048];
    int written;
    struct ig_writer_plan plan = plan_of("out");
    check_ok(ig_dir_make(scratch("out"), &err), &err);
    scratch_write("out/thesis.txt", "x", 1);
    snprintf(want, sizeof want, "'%s' exists: choose another name, or use --force", scratch("out"));
    check_fails(run(&plan, COUNT + 1, &written, &err), &err, IG_ERR_USAGE, want);
    plan.force = true;
    snprintf(want, sizeof want, "'%s' exists and is no model folder: it is not replaced",
             scratch("out"));
    check_fails(run(&plan, COUNT + 1, &written, &err), &err, IG_ERR_USAGE, want);
    scratch_write("out/config.json", "{}", 2);
    check_ok(run(&plan, COUNT + 1, &written, &err), &err);
    assert_false(ig_path_exists(scratch("out/thesis.txt")));
    assert_false(ig_path_exists(scratch("out.partial")));
    assert_same_as_whole("out");
    remove_folders();

    plan.force = false;
    check_ok(ig_dir_make(scratch("out.partial"), &err), &err);
    scratch_write("out.partial/thesis.txt", "x", 1);
    snprintf(want, sizeof want,
             "'%s' is in the way and no interrupted run: remove it, or use --force",
             scratch("out.partial"));
    check_fails(run(&plan, COUNT + 1, &written, &err), &err, IG_ERR_USAGE, want);
    assert_true(ig_path_exists(scratch("out.partial/thesis.txt")));
    remove_folders();
}

static void bad_plans_are_refused(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_writer *writer;
    struct ig_tensor two[2] = {
        {.name = ig_slice_of("a"), .dtype = IG_F32, .rank = 1, .shape = {2}}};
    struct ig_writer_plan plan = {.out = scratch("out"), .tensors = two, .count = 2};
    two[1] = two[0];
    check_fails(ig_writer_open(&plan, &writer, &err), &err, IG_ERR_DATA,
                "two tensors 'a' are to be written");
    two[1].name = ig_slice_of("__metadata__");
    check_fails(ig_writer_open(&plan, &writer, &err), &err, IG_ERR_DATA,
                "cannot have the name '__metadata__'");
    two[1].name = ig_slice_of("b");
    two[1].dtype = IG_F4;
    check_fails(ig_writer_open(&plan, &writer, &err), &err, IG_ERR_UNSUPPORTED,
                "tensor 'b': cannot write elements of type F4");
    two[1].dtype = IG_F32;
    two[1].shape[0] = INT64_MAX;
    check_fails(ig_writer_open(&plan, &writer, &err), &err, IG_ERR_DATA,
                "tensor 'b': its shape overflows");
    plan.out = scratch("absent/out");
    plan.count = 1;
    check_fails(ig_writer_open(&plan, &writer, &err), &err, IG_ERR_IO, "No such file or directory");
    assert_false(ig_path_exists(scratch("out.partial")));
}

/* Runs in a child, so that mounts and limits end with it. 0: passed; else what went wrong. */
static int in_child(int (*body)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(body());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int write_too_much(void)
{
    struct ig_err err = {0};
    struct ig_writer *writer;
    char big[1 << 16] = {0};
    struct ig_tensor t = {.name = ig_slice_of("a"), .dtype = IG_U8, .rank = 1, .shape = {8 << 20}};
    struct ig_writer_plan plan = {.out = scratch("disk/out"), .tensors = &t, .count = 1};
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", scratch("disk"), "tmpfs", 0, "size=4m") != 0)
        return SKIP_STATUS;
    /* More than there is room for, known at once. */
    if (ig_writer_open(&plan, &writer, &err) || err.code != IG_ERR_IO) return 1;
    if (!strstr(err.text, "not enough room for '") ||
        !strstr(err.text, "/out': 9.4 MB are needed, 4.2 MB are free"))
        return 2;
    if (ig_path_exists(scratch("disk/out")) || ig_path_exists(scratch("disk/out.partial")))
        return 3;
    /* The shards fit; somebody else, here a file beside them, takes the rest. */
    t.shape[0] = 2 << 20;
    if (!ig_writer_open(&plan, &writer, &err)) return 4;
    for (int i = 0; i < 32; i++)
        if (!ig_writer_put(writer, 0, (size_t)i * sizeof big, big, sizeof big, &err)) return 5;
    if (!ig_writer_mark(writer, 0, &err)) return 6;
    struct ig_slice rest = ig_slice_make(calloc(1, 3 << 20), 3 << 20);
    if (ig_writer_add(writer, "tokenizer.json", rest, &err)) return 7;
    if (!strstr(err.text, "/out.partial/tokenizer.json' at byte ") ||
        !strstr(err.text, ": No space left on device"))
        return 8;
    ig_writer_close(writer);
    return ig_path_exists(scratch("disk/out")) ? 9 : 0;
}

static void a_full_disk_leaves_no_model(void **state)
{
    (void)state;
    struct ig_err err = {0};
    check_ok(ig_dir_make(scratch("disk"), &err), &err);
    int result = in_child(write_too_much);
    if (result == SKIP_STATUS) {
        print_message("mounting a tmpfs is not permitted here\n");
        skip();
    }
    assert_int_equal(result, 0);
}

static int write_beyond_the_limit(void)
{
    struct ig_err err = {0};
    struct ig_writer *writer;
    struct rlimit limit = {1 << 20, 1 << 20};
    struct ig_tensor t = {.name = ig_slice_of("a"), .dtype = IG_U8, .rank = 1, .shape = {2 << 20}};
    struct ig_writer_plan plan = {.out = scratch("out"), .tensors = &t, .count = 1};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return SKIP_STATUS;
    if (ig_writer_open(&plan, &writer, &err) || err.code != IG_ERR_IO) return 1;
    if (!strstr(err.text, "cannot reserve 2097256 bytes for '") ||
        !strstr(err.text, "File too large"))
        return 2;
    return ig_path_exists(scratch("out")) || ig_path_exists(scratch("out.partial")) ? 3 : 0;
}

static void a_file_limit_is_told(void **state)
{
    (void)state;
    assert_int_equal(in_child(write_beyond_the_limit), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_run_goes_on),
        cmocka_unit_test(resume_wants_the_same_plan),
        cmocka_unit_test(resume_says_what_has_changed),
        cmocka_unit_test(nothing_to_resume_is_a_start),
        cmocka_unit_test(damaged_bytes_are_written_again),
        cmocka_unit_test(a_run_killed_in_its_last_moment_goes_on),
        cmocka_unit_test(one_of_several_finished_outputs_is_known),
        cmocka_unit_test(a_stale_journal_is_forgotten),
        cmocka_unit_test(damaged_journal_lines_are_forgotten),
        cmocka_unit_test(a_killed_run_goes_on),
        cmocka_unit_test(one_writer_at_a_time),
        cmocka_unit_test(an_unused_folder_goes_away),
        cmocka_unit_test(what_exists_is_not_overwritten),
        cmocka_unit_test(bad_plans_are_refused),
        cmocka_unit_test(a_full_disk_leaves_no_model),
        cmocka_unit_test(a_file_limit_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_close);
}
