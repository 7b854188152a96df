/* SPDX-License-Identifier: Apache-2.0
 * log — scored items beside the results, so that a killed run goes on where it was.
 *
 *     ingot eval log 1 CHECK
 *     item KEY VALUES CHECK       one line an item, in the order in which they were scored
 *
 * KEY: 32 hex digits, a digest of everything that the numbers depend on: this program's version,
 * kernels and arithmetic, the model's bytes, the item's tokens and which of them are scored.
 * VALUES: for each choice the 16 hex digits of the f64 log-likelihood, then '+' when it is what
 * greedy decoding gives, else '-'. CHECK: 16 hex digits over the rest of its line; a line that a
 * crash cut short, or that is damaged, does not pass and is dropped: its item is scored again.
 * Each line is one write, so a kill can tear the last line only. */
#include "eval/log.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define TITLE         "ingot eval log 1"
#define ITEM          "item "
#define CHECK_DIGITS  16
#define VALUE_DIGITS  16
#define LOG_BYTES_MAX ((size_t)1 << 31) /* some ten million items */

struct ig_eval_log {
    int fd;
    char main_path[IG_PATH_MAX], path[IG_PATH_MAX]; /* items.log; what is written */
    struct ig_buf text, line;
    struct ig_map items; /* KEY to the place of VALUES in text */
};

/* ---- lines ---- */

static bool hex_word(const char *digits, uint64_t *out)
{
    uint64_t word = 0;
    for (int i = 0; i < VALUE_DIGITS; i++) {
        char c = digits[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit > 15) return false;
        word = word << 4 | digit;
    }
    *out = word;
    return true;
}

static void put_check(struct ig_buf *line)
{
    char hex[IG_DIGEST_HEX];
    struct ig_slice text = ig_buf_view(line);
    ig_digest_hex(ig_digest_of(text.ptr, text.len), hex);
    ig_buf_printf(line, " %.*s\n", CHECK_DIGITS, hex);
}

/* What stands before the check of a whole line; {NULL, 0} when it does not pass. */
static struct ig_slice checked(struct ig_slice line)
{
    char hex[IG_DIGEST_HEX];
    if (line.len <= CHECK_DIGITS + 1) return (struct ig_slice){0};
    struct ig_slice rest = ig_slice_make(line.ptr, line.len - CHECK_DIGITS - 1);
    ig_digest_hex(ig_digest_of(rest.ptr, rest.len), hex);
    bool same =
        rest.ptr[rest.len] == ' ' && memcmp(rest.ptr + rest.len + 1, hex, CHECK_DIGITS) == 0;
    return same ? rest : (struct ig_slice){0};
}

/* KEY and VALUES of an item's line. */
static bool split_item(struct ig_slice line, struct ig_slice *key, struct ig_slice *values)
{
    size_t head = sizeof ITEM - 1, digits = IG_DIGEST_HEX - 1;
    if (!line.ptr || !ig_slice_starts(line, ITEM) || line.len < head + digits + 1 ||
        line.ptr[head + digits] != ' ')
        return false;
    *key = ig_slice_make(line.ptr + head, digits);
    *values = ig_slice_make(line.ptr + head + digits + 1, line.len - head - digits - 1);
    return values->len > 0 && values->len % (VALUE_DIGITS + 1) == 0;
}

bool eval__log_values(struct ig_slice values, int count, double *logprobs, bool *greedy)
{
    if (values.len != (size_t)count * (VALUE_DIGITS + 1)) return false;
    for (int i = 0; i < count; i++) {
        const char *at = values.ptr + (size_t)i * (VALUE_DIGITS + 1);
        uint64_t bits;
        if (!hex_word(at, &bits) || (at[VALUE_DIGITS] != '+' && at[VALUE_DIGITS] != '-'))
            return false;
        memcpy(&logprobs[i], &bits, sizeof bits);
        greedy[i] = at[VALUE_DIGITS] == '+';
    }
    return true;
}

bool eval__log_read(struct ig_slice text, struct ig_map *items, size_t *whole, struct ig_err *err)
{
    size_t at = 0;
    bool titled = false;
    for (const char *end; at < text.len; at = (size_t)(end - text.ptr) + 1) {
        end = memchr(text.ptr + at, '\n', text.len - at);
        if (!end) break;
        struct ig_slice key, values, line;
        line = checked(ig_slice_make(text.ptr + at, (size_t)(end - text.ptr) - at));
        if (!titled && !(line.ptr && ig_slice_is(line, TITLE)))
            return ig_err_set(err, IG_ERR_DATA, "it is not a log of scored items");
        if (titled && split_item(line, &key, &values) &&
            !ig_map_put(items, key, (int64_t)(values.ptr - text.ptr), err))
            return false;
        titled = true;
    }
    *whole = at;
    return true;
}

/* ---- the file ---- */

static bool append(struct ig_eval_log *log, struct ig_err *err)
{
    put_check(&log->line);
    if (!ig_buf_ok(&log->line, err)) return false;
    for (size_t done = 0; done < log->line.len;) {
        ssize_t n = write(log->fd, log->line.data + done, log->line.len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ig_err_errno(err, errno, "cannot write '%s'", log->path);
        done += (size_t)n;
    }
    return true;
}

static bool start(struct ig_eval_log *log, struct ig_err *err)
{
    ig_buf_clear(&log->line);
    ig_buf_text(&log->line, TITLE);
    return append(log, err);
}

/* A title that a kill cut short starts again; anything else without a title is somebody else's. */
static bool is_torn_title(struct ig_slice text)
{
    struct ig_buf title = {0};
    ig_buf_text(&title, TITLE);
    put_check(&title);
    bool torn = text.len < title.len && memcmp(text.ptr, title.data, text.len) == 0;
    ig_buf_release(&title);
    return torn;
}

static bool load(struct ig_eval_log *log, struct ig_err *err)
{
    size_t whole = 0;
    if (!ig_file_read(log->path, LOG_BYTES_MAX, &log->text, err)) return false;
    struct ig_slice text = ig_buf_view(&log->text);
    if (!is_torn_title(text) && !eval__log_read(text, &log->items, &whole, err))
        return ig_err_within(err, "'%s'", log->path);
    if (whole < text.len && ftruncate(log->fd, (off_t)whole) != 0)
        return ig_err_errno(err, errno, "cannot write '%s'", log->path);
    return whole > 0 || start(log, err);
}

static bool rank_path(const struct ig_eval_log *log, int rank, char out[IG_PATH_MAX],
                      struct ig_err *err)
{
    int length = rank ? snprintf(out, IG_PATH_MAX, "%s.%d", log->main_path, rank)
                      : snprintf(out, IG_PATH_MAX, "%s", log->main_path);
    return length < IG_PATH_MAX ||
           ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", log->main_path);
}

/* A rank beyond the first: what is known is in items.log; its own file is new. */
static bool load_as_rank(struct ig_eval_log *log, struct ig_err *err)
{
    size_t whole;
    if (!ig_file_read(log->main_path, LOG_BYTES_MAX, &log->text, err)) return false;
    return (eval__log_read(ig_buf_view(&log->text), &log->items, &whole, err) ||
            ig_err_within(err, "'%s'", log->main_path)) &&
           start(log, err);
}

/* The whole lines of another rank's file, but for its title, behind ours. */
static bool take_over(struct ig_eval_log *log, const char *path, struct ig_err *err)
{
    struct ig_buf text = {0};
    bool ok = ig_file_read(path, LOG_BYTES_MAX, &text, err);
    struct ig_slice rest = ig_buf_view(&text);
    for (const char *end; ok && (end = memchr(rest.ptr, '\n', rest.len)) != NULL;) {
        struct ig_slice key, values, line = ig_slice_make(rest.ptr, (size_t)(end - rest.ptr));
        struct ig_slice good = checked(line);
        rest = ig_slice_make(end + 1, rest.len - line.len - 1);
        if (!split_item(good, &key, &values)) continue;
        ig_buf_clear(&log->line);
        ig_buf_slice(&log->line, good);
        ok = append(log, err);
    }
    ig_buf_release(&text);
    if (ok && unlink(path) != 0) ok = ig_err_errno(err, errno, "cannot remove '%s'", path);
    return ok;
}

bool eval__log_hand_over(struct ig_eval_log *log, struct ig_err *err)
{
    if (fsync(log->fd) != 0) return ig_err_errno(err, errno, "cannot write '%s'", log->path);
    close(log->fd);
    log->fd = -1;
    return true;
}

bool eval__log_gather(struct ig_eval_log *log, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    bool any = false;
    for (int rank = 1; rank < IG_RANKS_MAX; rank++) {
        if (!rank_path(log, rank, path, err)) return false;
        if (!ig_path_exists(path)) continue;
        if (!take_over(log, path, err)) return false;
        any = true;
    }
    if (!any) return true;
    ig_map_release(&log->items);
    ig_buf_clear(&log->text);
    return load(log, err);
}

/* The run that is gone on with may still be dying: two seconds are waited for it. */
#define LOCK_TRIES   20
#define LOCK_WAIT_NS 100000000

static int lock(int fd)
{
    for (int i = 1; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK || i == LOCK_TRIES) return -1;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT_NS}, NULL);
    }
    return 0;
}

bool eval__log_open(const char *folder, int rank, struct ig_eval_log **out, struct ig_err *err)
{
    struct ig_eval_log *log = calloc(1, sizeof *log);
    if (!log) return ig_err_nomem(err);
    log->fd = -1;
    bool ok = ig_path_join(log->main_path, folder, EVAL_LOG_NAME, err) &&
              rank_path(log, rank, log->path, err);
    if (ok) {
        int fresh = rank ? O_TRUNC : 0;
        log->fd = open(log->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | fresh, 0666);
        ok = log->fd >= 0 || ig_err_errno(err, errno, "cannot open '%s'", log->path);
    }
    if (ok && lock(log->fd) != 0)
        ok = errno == EWOULDBLOCK
                 ? ig_err_set(err, IG_ERR_IO,
                              "another process is writing '%s': wait for it, or give this run "
                              "another --output",
                              log->path)
                 : ig_err_errno(err, errno, "cannot lock '%s'", log->path);
    if (ok) ok = rank ? load_as_rank(log, err) : load(log, err) && eval__log_gather(log, err);
    if (!ok) {
        eval__log_close(log);
        return false;
    }
    *out = log;
    return true;
}

void eval__log_close(struct ig_eval_log *log)
{
    if (!log) return;
    if (log->fd >= 0) close(log->fd);
    ig_map_release(&log->items);
    ig_buf_release(&log->text);
    ig_buf_release(&log->line);
    free(log);
}

bool eval__log_find(const struct ig_eval_log *log, const char key[IG_DIGEST_HEX], int count,
                    double *logprobs, bool *greedy)
{
    int64_t at = ig_map_get(&log->items, ig_slice_make(key, IG_DIGEST_HEX - 1), -1);
    if (at < 0) return false;
    struct ig_slice rest = ig_buf_view(&log->text);
    rest = ig_slice_make(rest.ptr + at, rest.len - (size_t)at);
    const char *end = memchr(rest.ptr, ' ', rest.len);
    return end && eval__log_values(ig_slice_make(rest.ptr, (size_t)(end - rest.ptr)), count,
                                   logprobs, greedy);
}

bool eval__log_add(struct ig_eval_log *log, const char key[IG_DIGEST_HEX], int count,
                   const double *logprobs, const bool *greedy, struct ig_err *err)
{
    ig_buf_clear(&log->line);
    ig_buf_printf(&log->line, ITEM "%s ", key);
    for (int i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &logprobs[i], sizeof bits);
        ig_buf_printf(&log->line, "%016" PRIx64 "%c", bits, greedy[i] ? '+' : '-');
    }
    return append(log, err);
}
