/* SPDX-License-Identifier: Apache-2.0
 * fetch — one file: its bytes come to BLOBS/DIGEST.incomplete, are hashed on their way, and get
 * their name when the digest is right. What a cut connection, a signal or a kill leaves there is
 * hashed again and gone on from.
 *
 * Others may be at the same file: a lock (LOCKS/DIGEST.lock, flock, as huggingface_hub's) lets one
 * work and the others find the result. Where locks do nothing, all write the same bytes to the same
 * places. */
#include "hub/hub_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/port.h"

#define READ_BYTES     ((size_t)1 << 20)
#define LOCK_POLL      0.1
#define LOCK_WARNS     20                  /* polls until the wait is told */
#define STEP_BYTES     ((uint64_t)1 << 20) /* of new bytes that count as progress, */
#define STEP_PART      32                  /* or this part of the file */
#define WAIT_FIRST     0.5                 /* doubled each time */
#define WAIT_LONGEST   30.0                /* between two tries */
#define WAIT_ASKED     300.0               /* longer than that is not waited, even when asked to */
#define DIGEST_TRIES   2
#define LOCK_FILE_MODE 0664 /* huggingface_hub's: users of one group share a cache */

struct fetch {
    struct hub_pull *pull;
    struct hub_worker *worker;
    const struct hub_file *file;
    char part[IG_PATH_MAX];
    int fd;
    uint64_t have;   /* bytes in part, all of them hashed */
    uint64_t before; /* of these: there before this run */
    bool again;      /* a callback failed, but not for good */
};

bool hub__has_size(const char *path, uint64_t bytes)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes;
}

static bool part_path(const struct hub_pull *pull, const struct hub_file *file,
                      char out[IG_PATH_MAX], struct ig_err *err)
{
    char name[HUB_HEX_MAX + 16];
    snprintf(name, sizeof name, "%s.incomplete", file->digest);
    return ig_path_join(out, pull->blobs, name, err);
}

uint64_t hub__unfinished(const struct hub_pull *pull, const struct hub_file *file)
{
    char path[IG_PATH_MAX];
    struct ig_err ignored;
    struct stat st;
    bool there = part_path(pull, file, path, &ignored) && stat(path, &st) == 0;
    return there && (uint64_t)st.st_size <= file->bytes ? (uint64_t)st.st_size : 0;
}

void hub__file_url(const struct hub_pull *pull, const struct hub_file *file, struct ig_buf *out)
{
    ig_buf_printf(out, "/%s%s/resolve/%s/", pull->id.kind == IG_HUB_MODEL ? "" : "datasets/",
                  pull->id.repo, pull->listing.commit);
    hub__url_quote(out, file->path, true);
}

/* ---- the lock ---- */

/* The file may have been removed between open and flock: then the lock is on nothing. */
static bool is_still_there(int fd, const char *path)
{
    struct stat mine, now;
    return fstat(fd, &mine) == 0 && stat(path, &now) == 0 && mine.st_ino == now.st_ino &&
           mine.st_dev == now.st_dev;
}

static bool take_lock(struct fetch *f, int *out, struct ig_err *err)
{
    char name[HUB_HEX_MAX + 8], path[IG_PATH_MAX];
    snprintf(name, sizeof name, "%s.lock", f->file->digest);
    if (!ig_path_join(path, f->pull->locks, name, err)) return false;
    for (int polls = 0;; polls++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_FILE_MODE);
        if (fd < 0) return ig_err_errno(err, errno, "cannot open lock '%s'", path);
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        bool works = locked || errno == EWOULDBLOCK || errno == EINTR;
        if (!works || (locked && is_still_there(fd, path))) {
            *out = fd;
            return true;
        }
        close(fd);
        if (polls == LOCK_WARNS)
            hub__meter_warn(&f->pull->meter, "another program downloads '%s': waiting for it",
                            f->file->path.ptr);
        if (!hub__meter_wait(&f->pull->meter, LOCK_POLL, err)) return false;
    }
}

/* ---- bytes ---- */

static bool restart(struct fetch *f, struct ig_err *err)
{
    atomic_fetch_sub(&f->pull->meter.bytes_done, (long long)(f->have - f->before));
    atomic_fetch_add(&f->pull->meter.bytes_total, (long long)f->before);
    f->have = f->before = 0;
    if (ftruncate(f->fd, 0) != 0) return ig_err_errno(err, errno, "cannot write '%s'", f->part);
    return hub__hash_start(f->worker->hash, f->file, err);
}

/* What an earlier run left: hashed, unless it cannot be part of this file. */
static bool take_up(struct fetch *f, struct ig_err *err)
{
    uint64_t size;
    if (!ig_file_size(f->fd, f->part, &size, err)) return false;
    if (size > f->file->bytes) return restart(f, err);
    f->before = size;
    if (!hub__hash_start(f->worker->hash, f->file, err)) return false;
    char *bytes = malloc(READ_BYTES);
    if (!bytes) return ig_err_nomem(err);
    bool ok = true;
    while (ok && f->have < size) {
        size_t n = size - f->have < READ_BYTES ? (size_t)(size - f->have) : READ_BYTES;
        ok = ig_file_pread(f->fd, f->part, f->have, bytes, n, err) &&
             (hub__meter_tick(&f->pull->meter) || hub__stopped(err));
        if (!ok) break;
        hub__hash_feed(f->worker->hash, bytes, n);
        f->have += n;
    }
    free(bytes);
    return ok;
}

static bool begin(void *user, const struct hub_answer *answer, struct ig_err *err)
{
    struct fetch *f = user;
    uint64_t bytes = f->file->bytes;
    if (answer->status == 206 &&
        (!answer->ranged || answer->range_first != f->have ||
         (answer->range_total != UINT64_MAX && answer->range_total != bytes))) {
        f->again = true;
        return restart(f, err) &&
               ig_err_set(err, IG_ERR_DATA, "the server sends another part than was asked for");
    }
    if (answer->status != 206 && f->have && !restart(f, err)) return false;
    uint64_t left = bytes - f->have;
    if (answer->length < 0 || (uint64_t)answer->length == left) return true;
    f->again = true;
    return ig_err_set(err, IG_ERR_DATA, "the server announces %lld bytes, the Hub's list %llu",
                      (long long)answer->length, (unsigned long long)left);
}

static bool body(void *user, const void *bytes, size_t count, struct ig_err *err)
{
    struct fetch *f = user;
    if (count > f->file->bytes - f->have)
        return ig_err_set(err, IG_ERR_DATA, "the server sends more than the file's %llu bytes",
                          (unsigned long long)f->file->bytes);
    if (!ig_file_pwrite(f->fd, f->part, f->have, bytes, count, err)) return false;
    hub__hash_feed(f->worker->hash, bytes, count);
    f->have += count;
    atomic_fetch_add(&f->pull->meter.bytes_done, (long long)count);
    atomic_fetch_add(&f->pull->fetched_bytes, (long long)count);
    return true;
}

bool hub__again(struct hub_pull *pull, int thread, const struct hub_answer *answer, bool moved,
                int *failures, const char *what, struct ig_err *err)
{
    *failures = moved ? 0 : *failures + 1;
    if (*failures > pull->retries) return false;
    double wait = *failures ? WAIT_FIRST * (1 << (*failures < 8 ? *failures - 1 : 7)) : 0;
    if (wait > WAIT_LONGEST) wait = WAIT_LONGEST;
    wait *= 1 + 0.05 * thread; /* not all at the same instant */
    if (answer->retry_after > WAIT_ASKED)
        return ig_err_within(err, "the server asks to wait for %.0f s", answer->retry_after);
    if (answer->retry_after >= 0 && *failures) wait = answer->retry_after + 0.05 * thread;
    if (*failures)
        hub__meter_warn(&pull->meter, "%s: %s; trying again in %.1f s", what, err->text, wait);
    return hub__meter_wait(&pull->meter, wait, err);
}

static bool receive(struct fetch *f, struct ig_err *err)
{
    struct ig_buf url = {0};
    uint64_t bytes = f->file->bytes;
    int failures = 0;
    bool ok = true;
    hub__file_url(f->pull, f->file, &url);
    ok = ig_buf_ok(&url, err);
    while (ok && f->have < bytes) {
        struct hub_answer answer;
        uint64_t from = f->have;
        struct hub_call call = {
            .path = url.data, .from = from, .begin = begin, .body = body, .user = f};
        f->again = false;
        enum hub_outcome outcome = hub__http_call(f->worker->http, &call, &answer, err);
        if (f->have == bytes) break; /* whatever came after it */
        if (outcome == HUB_DONE)
            ig_err_set(err, IG_ERR_IO, "the server ended after %llu of %llu bytes",
                       (unsigned long long)f->have, (unsigned long long)bytes);
        if (outcome != HUB_DONE && answer.status == 416 && from) /* it has no such part */
            f->again = restart(f, err);
        uint64_t step = bytes / STEP_PART < STEP_BYTES ? bytes / STEP_PART : STEP_BYTES;
        bool moved = f->have > from && f->have - from >= step;
        ok = (outcome != HUB_FAILED || f->again) &&
             hub__again(f->pull, f->worker->thread, &answer, moved, &failures, f->file->path.ptr,
                        err);
    }
    ig_buf_release(&url);
    return ok;
}

/* Until the bytes have the digest, or have not, twice. */
static bool receive_right(struct fetch *f, struct ig_err *err)
{
    if (!take_up(f, err)) return false;
    for (int i = 1;; i++) {
        if (!receive(f, err)) return false;
        if (hub__hash_agrees(f->worker->hash, f->file)) return true;
        bool resumed = f->before != 0;
        if (!restart(f, err)) return false;
        if (i == DIGEST_TRIES) break;
        hub__meter_warn(&f->pull->meter,
                        "%s: its bytes do not have the digest that the Hub "
                        "states%s; trying again from its start",
                        f->file->path.ptr,
                        resumed ? " (an interrupted download may have left bad ones)" : "");
    }
    return ig_err_set(err, IG_ERR_DATA,
                      "its bytes do not have the digest that the Hub states (%s %s): not kept",
                      f->file->is_lfs ? "SHA-256" : "git SHA-1", f->file->digest);
}

/* ---- a file ---- */

static bool fetch_locked(struct fetch *f, const char *whole, struct ig_err *err)
{
    if (!f->pull->job->to && hub__has_size(whole, f->file->bytes)) {
        atomic_fetch_add(&f->pull->meter.bytes_done, (long long)f->file->bytes);
        return true; /* somebody else was faster */
    }
    f->fd = open(f->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f->fd < 0) return ig_err_errno(err, errno, "cannot create '%s'", f->part);
    bool ok = receive_right(f, err);
    if (ok && fdatasync(f->fd) != 0) ok = ig_err_errno(err, errno, "cannot write '%s'", f->part);
    if (close(f->fd) != 0 && ok) ok = ig_err_errno(err, errno, "cannot write '%s'", f->part);
    bool named = ok && rename(f->part, whole) == 0;
    if (ok && !named && !(errno == ENOENT && hub__has_size(whole, f->file->bytes)))
        ok = ig_err_errno(err, errno, "cannot rename '%s' to '%s'", f->part, whole);
    if (ok) atomic_fetch_add(&f->pull->fetched_files, 1);
    return ok;
}

bool hub__fetch(struct hub_pull *pull, struct hub_worker *worker, const struct hub_file *file,
                const char *whole, struct ig_err *err)
{
    struct fetch f = {.pull = pull, .worker = worker, .file = file, .fd = -1};
    int lock = -1;
    bool ok = part_path(pull, file, f.part, err) && take_lock(&f, &lock, err) &&
              fetch_locked(&f, whole, err);
    if (lock >= 0) close(lock);
    return ok || ig_err_within(err, "%s", file->path.ptr);
}
