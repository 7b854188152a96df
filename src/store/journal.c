/* SPDX-License-Identifier: Apache-2.0
 * journal — the list of whole tensors beside an unfinished model, so that a killed run can go on.
 *
 *     ingot journal 1 PLAN CHECK        PLAN: digest of the recipe, the inputs and the output's
 *     from "ORIGIN" CHECK               one line for each of what it is made of, to say what
 * changed tensor DIGEST "NAME" CHECK        one line a tensor, in the order in which they were
 * finished
 *
 * CHECK is 16 hex digits over the rest of its line: a line that a crash cut short does not pass it.
 * Lines are appended by one write each, after the tensor's bytes were written. A power failure may
 * keep a line and lose the bytes; so whoever resumes compares DIGEST with what is on the disk. */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define JOURNAL_TITLE     "ingot journal 1 "
#define JOURNAL_TENSOR    "tensor "
#define JOURNAL_FROM      "from "
#define JOURNAL_BYTES_MAX ((size_t)1 << 30)
#define CHECK_DIGITS      16

/* A run that is gone on with may still be dying, on a mpirun's SIGTERM say. */
#define LOCK_TRIES   20
#define LOCK_WAIT_NS 100000000

static int lock(int fd, bool patient)
{
    for (int i = 1; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK || !patient || i == LOCK_TRIES) return -1;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT_NS}, NULL);
    }
    return 0;
}

/* The lock is on the folder itself: it holds while the journal is removed and the folder renamed.
 */
static bool lock_folder(struct store_journal *journal, const char *dir, bool patient,
                        struct ig_err *err)
{
    struct stat locked, named;
    journal->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (journal->dir_fd < 0) return ig_err_errno(err, errno, "cannot open folder '%s'", dir);
    if (lock(journal->dir_fd, patient) != 0 || fstat(journal->dir_fd, &locked) != 0 ||
        stat(dir, &named) != 0 || locked.st_dev != named.st_dev || locked.st_ino != named.st_ino)
        return ig_err_set(err, IG_ERR_IO, "another process is writing '%s'", dir);
    return true;
}

bool store__journal_name(struct store_journal *journal, const char *dir, int rank,
                         struct ig_err *err)
{
    char name[sizeof JOURNAL_NAME + 16] = JOURNAL_NAME;
    if (rank) snprintf(name, sizeof name, JOURNAL_NAME ".%d", rank);
    if (!ig_path_join(journal->path, dir, name, err)) return false;
    int length = snprintf(journal->aside, sizeof journal->aside, "%s.journal", dir);
    return length < (int)sizeof journal->aside ||
           ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", dir);
}

bool store__journal_open(struct store_journal *journal, const char *dir, bool patient,
                         bool occupied, bool *exists, struct ig_err *err)
{
    if (!store__journal_name(journal, dir, 0, err) || !lock_folder(journal, dir, patient, err))
        return false;
    *exists = ig_path_exists(journal->path);
    if (!ig_path_exists(journal->aside)) return true;
    if (*exists || !occupied) return store__journal_forget(journal, err);
    if (rename(journal->aside, journal->path) != 0)
        return ig_err_errno(err, errno, "cannot rename '%s'", journal->aside);
    *exists = true;
    return true;
}

bool store__journal_set_aside(struct store_journal *journal, struct ig_err *err)
{
    return rename(journal->path, journal->aside) == 0 ||
           ig_err_errno(err, errno, "cannot rename '%s'", journal->path);
}

bool store__journal_forget(const struct store_journal *journal, struct ig_err *err)
{
    return unlink(journal->aside) == 0 || errno == ENOENT ||
           ig_err_errno(err, errno, "cannot remove '%s'", journal->aside);
}

bool store__journal_create(struct store_journal *journal, struct ig_err *err)
{
    journal->fd = open(journal->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (journal->fd < 0) return ig_err_errno(err, errno, "cannot create '%s'", journal->path);
    return true;
}

void store__journal_close(struct store_journal *journal)
{
    if (journal->fd >= 0) close(journal->fd);
    if (journal->dir_fd >= 0) close(journal->dir_fd);
    journal->fd = journal->dir_fd = -1;
}

bool store__journal_has_tensors(const struct store_journal *journal)
{
    struct ig_buf text = {0};
    struct ig_err ignored;
    if (!ig_path_exists(journal->path)) return false;
    bool has = !ig_file_read(journal->path, JOURNAL_BYTES_MAX, &text, &ignored) ||
               ig_slice_find(ig_buf_view(&text), ig_slice_of("\n" JOURNAL_TENSOR)) != NULL;
    ig_buf_release(&text);
    return has;
}

static void put_check(struct ig_buf *line)
{
    char hex[IG_DIGEST_HEX];
    ig_digest_hex(ig_digest_of(line->data, line->len), hex);
    ig_buf_printf(line, " %.*s\n", CHECK_DIGITS, hex);
}

/* One write a line, so that a crash can tear only the last one. */
static bool append(struct store_journal *journal, struct ig_buf *line, struct ig_err *err)
{
    if (!ig_buf_ok(line, err)) return false;
    put_check(line);
    if (!ig_buf_ok(line, err)) return false;
    size_t done = 0;
    while (done < line->len) {
        ssize_t n = write(journal->fd, line->data + done, line->len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ig_err_errno(err, errno, "cannot write '%s'", journal->path);
        done += (size_t)n;
    }
    return true;
}

static bool add_origins(struct store_journal *journal, struct ig_slice origins, struct ig_err *err)
{
    bool ok = true;
    while (ok && origins.len) {
        struct ig_buf line = {0};
        const char *end = memchr(origins.ptr, '\n', origins.len);
        size_t len = end ? (size_t)(end - origins.ptr) : origins.len;
        ig_buf_text(&line, JOURNAL_FROM);
        ig_json_quote(&line, ig_slice_make(origins.ptr, len), true);
        ok = append(journal, &line, err);
        ig_buf_release(&line);
        len += end != NULL;
        origins = ig_slice_make(origins.ptr + len, origins.len - len);
    }
    return ok;
}

bool store__journal_start(struct store_journal *journal, struct ig_digest plan,
                          struct ig_slice origins, struct ig_err *err)
{
    char hex[IG_DIGEST_HEX];
    struct ig_buf line = {0};
    if (ftruncate(journal->fd, 0) != 0)
        return ig_err_errno(err, errno, "cannot write '%s'", journal->path);
    ig_digest_hex(plan, hex);
    ig_buf_printf(&line, JOURNAL_TITLE "%s", hex);
    bool ok = append(journal, &line, err) && add_origins(journal, origins, err);
    ig_buf_release(&line);
    return ok;
}

bool store__journal_add(struct store_journal *journal, struct ig_slice name,
                        struct ig_digest digest, struct ig_err *err)
{
    char hex[IG_DIGEST_HEX];
    struct ig_buf line = {0};
    ig_digest_hex(digest, hex);
    ig_buf_printf(&line, JOURNAL_TENSOR "%s ", hex);
    ig_json_quote(&line, name, true);
    bool ok = append(journal, &line, err);
    ig_buf_release(&line);
    return ok;
}

/* The line that text starts with, without its check; false when it is torn or damaged. */
static bool next_line(struct ig_slice text, struct ig_slice *line, size_t *whole)
{
    const char *end = text.len ? memchr(text.ptr, '\n', text.len) : NULL;
    if (!end || end - text.ptr <= CHECK_DIGITS) return false;
    *whole = (size_t)(end - text.ptr) + 1;
    *line = ig_slice_make(text.ptr, (size_t)(end - text.ptr) - CHECK_DIGITS - 1);
    char hex[IG_DIGEST_HEX];
    ig_digest_hex(ig_digest_of(line->ptr, line->len), hex);
    return line->ptr[line->len] == ' ' && memcmp(line->ptr + line->len + 1, hex, CHECK_DIGITS) == 0;
}

static bool read_hex(struct ig_slice *text, struct ig_digest *out)
{
    uint64_t half[2] = {0, 0};
    if (text->len < IG_DIGEST_HEX - 1) return false;
    for (int i = 0; i < IG_DIGEST_HEX - 1; i++) {
        char c = text->ptr[i];
        unsigned digit = c >= 'a' ? (unsigned)(c - 'a') + 10 : (unsigned)(c - '0');
        if (digit > 15) return false;
        half[i / 16] = half[i / 16] << 4 | digit;
    }
    *out = (struct ig_digest){.low = half[1], .high = half[0]};
    *text = ig_slice_make(text->ptr + IG_DIGEST_HEX - 1, text->len - (IG_DIGEST_HEX - 1));
    return true;
}

static bool skip(struct ig_slice *text, const char *prefix)
{
    if (!ig_slice_starts(*text, prefix)) return false;
    *text = ig_slice_make(text->ptr + strlen(prefix), text->len - strlen(prefix));
    return true;
}

static bool replay_tensor(struct ig_slice line, store__journal_each *each, void *user,
                          struct ig_err *err)
{
    struct ig_digest digest;
    struct ig_arena arena = {0};
    if (!skip(&line, JOURNAL_TENSOR) || !read_hex(&line, &digest) || !skip(&line, " "))
        return ig_err_set(err, IG_ERR_DATA, "a line is not one of ours");
    const struct ig_json *name = ig_json_parse(line, &arena, err);
    bool ok = name && each(user, ig_json_text(name), digest, err);
    ig_arena_release(&arena);
    return ok;
}

/* good: how many bytes of the file were whole lines of that plan. */
static bool replay(const char *path, struct ig_digest plan, store__journal_each *each, void *user,
                   size_t *good, bool *cut, struct ig_err *err)
{
    struct ig_buf text = {0};
    struct ig_slice line;
    size_t at = 0, whole;
    bool ok = true;
    struct ig_digest found;
    if (!ig_file_read(path, JOURNAL_BYTES_MAX, &text, err)) return false;
    while (ok && next_line(ig_slice_make(text.data + at, text.len - at), &line, &whole)) {
        if (at == 0) {
            if (!skip(&line, JOURNAL_TITLE) || !read_hex(&line, &found) || found.low != plan.low ||
                found.high != plan.high)
                break;
        } else if (!ig_slice_starts(line, JOURNAL_FROM) && !replay_tensor(line, each, user, err)) {
            ok = ig_err_within(err, "'%s', byte %zu", path, at);
        }
        at += whole;
    }
    *good = at;
    *cut = at < text.len;
    ig_buf_release(&text);
    return ok;
}

bool store__journal_origins(const struct store_journal *journal, struct ig_buf *out,
                            struct ig_err *err)
{
    struct ig_buf text = {0};
    struct ig_slice line;
    size_t at = 0, whole;
    bool ok = ig_file_read(journal->path, JOURNAL_BYTES_MAX, &text, err);
    while (ok && next_line(ig_slice_make(text.data + at, text.len - at), &line, &whole)) {
        struct ig_arena arena = {0};
        at += whole;
        if (!skip(&line, JOURNAL_FROM)) continue;
        const struct ig_json *origin = ig_json_parse(line, &arena, err);
        ok = origin != NULL;
        if (ok) ig_buf_slice(out, ig_json_text(origin));
        ig_buf_char(out, '\n');
        ig_arena_release(&arena);
    }
    ig_buf_release(&text);
    return ok && ig_buf_ok(out, err);
}

bool store__journal_replay(struct store_journal *journal, struct ig_digest plan,
                           store__journal_each *each, void *user, bool *same_plan,
                           struct ig_err *err)
{
    size_t good = 0;
    bool cut = false;
    bool ok = replay(journal->path, plan, each, user, &good, &cut, err);
    *same_plan = good > 0;
    if (ok && *same_plan && cut && ftruncate(journal->fd, (off_t)good) != 0)
        ok = ig_err_errno(err, errno, "cannot write '%s'", journal->path);
    return ok;
}

bool store__journal_replay_aside(const struct store_journal *journal, struct ig_digest plan,
                                 store__journal_each *each, void *user, bool *same_plan,
                                 struct ig_err *err)
{
    size_t good = 0;
    bool cut;
    *same_plan = false;
    if (!ig_path_exists(journal->aside)) return true;
    bool ok = replay(journal->aside, plan, each, user, &good, &cut, err);
    *same_plan = good > 0;
    return ok;
}
