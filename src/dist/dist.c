/* SPDX-License-Identifier: Apache-2.0
 * dist — see ingot/dist.h. How many ranks there are stands in the environment that their starter
 * made: MPI is only woken when there are several, because that takes a tenth of a second. */
#include "dist/dist_internal.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ABORT_SECONDS 10
#define GRACE_MS      500 /* in which the others remove what they have begun */
#define DEFER_SECONDS 3   /* long enough for a line on stderr, on a busy machine too */
#define SEE_SECONDS   5   /* of NFS a few are usual */
#define SHOWN_MAX     110 /* of both sides of a difference: a message has 512 bytes */
#define SPREAD_MAX    (32 << 10)

/* OpenMPI, MPICH and what speaks PMI, Slurm's srun. */
static const char *const size_names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE"};

static int announced_size(void)
{
    for (size_t i = 0; i < sizeof size_names / sizeof *size_names; i++) {
        const char *text = getenv(size_names[i]);
        if (text && atoi(text) > 0) return atoi(text);
    }
    /* srun without --mpi also sets SLURM_NTASKS in a shell that starts one process. */
    const char *tasks = getenv("SLURM_NTASKS"), *step = getenv("SLURM_STEP_NUM_TASKS");
    return tasks && step && atoi(step) > 1 ? atoi(step) : 1;
}

static bool start(struct ig_dist *dist, struct ig_err *err)
{
    if (!dist__start(dist, err)) return false;
    bool ok = true;
    if (dist->size == 1) /* each would do all of the work, into the same folder */
        ok = ig_err_set(err, IG_ERR_USAGE,
                        "%d ranks were started, but not by the MPI that this ingot was built "
                        "with: take its mpirun, or build with -Dmpi_package=mpich (or ompi-c)",
                        announced_size());
    else if (dist->size > IG_RANKS_MAX)
        ok = ig_err_set(err, IG_ERR_USAGE, "%d ranks; at most %d are supported", dist->size,
                        IG_RANKS_MAX);
    dist->words = ok ? calloc((size_t)dist->size, sizeof *dist->words) : NULL;
    if (ok && !dist->words) ok = ig_err_nomem(err);
    if (!ok) dist__stop();
    return ok;
}

bool ig_dist_open(struct ig_dist **out, struct ig_err *err)
{
    *out = NULL;
    if (announced_size() == 1) return true;
    struct ig_dist *dist = calloc(1, sizeof(*dist));
    if (!dist) return ig_err_nomem(err);
    if (!start(dist, err)) {
        free(dist);
        return false;
    }
    *out = dist;
    return true;
}

void ig_dist_close(struct ig_dist *dist)
{
    struct ig_err ignored;
    if (!dist) return;
    /* Rank 0 may have long work alone: it is waited for here, where waiting costs nothing. */
    bool may_hang = dist->rank == 0 && dist__may_hang(dist);
    if (!ig_dist_tell(dist, true, &may_hang, &ignored)) ig_dist_abort(dist, 1);
    if (may_hang) dist__leave(dist);
    dist__stop();
    free(dist->words);
    free(dist);
}

void ig_dist_abort(struct ig_dist *dist, int status)
{
    alarm(ABORT_SECONDS); /* where the starter has gone nobody may answer */
    if (dist && !dist->other_failed)
        nanosleep(&(struct timespec){.tv_nsec = GRACE_MS * 1000000}, NULL);
    if (dist) dist__abort(status);
    exit(status);
}

void ig_dist_defer(const struct ig_dist *dist)
{
    if (dist && dist->other_failed) sleep(DEFER_SECONDS);
}

int ig_dist_rank(const struct ig_dist *dist)
{
    return dist ? dist->rank : 0;
}

int ig_dist_size(const struct ig_dist *dist)
{
    return dist ? dist->size : 1;
}

const char *ig_dist_host(const struct ig_dist *dist)
{
    return dist ? dist->host : "";
}

/* ---- meeting */

static bool say_other_failed(struct ig_dist *dist, int rank, struct ig_err *err)
{
    const char *host = dist->words[rank].host;
    dist->other_failed = true;
    if (!*host) return ig_err_set(err, IG_ERR_CANCELLED, "rank %d has gone", rank);
    return ig_err_set(err, IG_ERR_CANCELLED, "rank %d on %s has failed; it says why", rank, host);
}

/* False on all ranks when one has failed; on that one err stays as it is. */
static bool exchange(struct ig_dist *dist, struct dist_word *mine, struct ig_err *err)
{
    memcpy(mine->host, dist->host, sizeof mine->host);
    if (!mine->host[0]) mine->host[0] = '?';
    if (!dist__exchange(dist, mine))
        return mine->ok && ig_err_set(err, IG_ERR_IO, "what started this rank has gone");
    for (int r = 0; r < dist->size; r++) {
        dist->words[r].host[DIST_HOST_MAX - 1] = '\0';
        if (!dist->words[r].ok) return mine->ok && say_other_failed(dist, r, err);
    }
    return mine->ok;
}

/* The lowest rank that brings something else than rank 0; -1: all bring the same. */
static int stranger(const struct ig_dist *dist)
{
    for (int r = 1; r < dist->size; r++)
        if (dist->words[r].about != dist->words[0].about) return r;
    return -1;
}

static bool meet_about(struct ig_dist *dist, bool ok, const char *about, int *said,
                       struct ig_err *err)
{
    struct dist_word mine = {.ok = ok, .said = said ? *said : 0};
    mine.about = ig_digest_of(about, strlen(about)).low;
    if (!exchange(dist, &mine, err)) return false;
    if (stranger(dist) >= 0)
        return ig_err_set(err, IG_ERR_BUG, "rank %d on %s has come to another place of the program",
                          stranger(dist), dist->words[stranger(dist)].host);
    if (said) *said = dist->words[0].said;
    return true;
}

bool ig_dist_meet(struct ig_dist *dist, bool ok, struct ig_err *err)
{
    return ig_dist_size(dist) == 1 ? ok : meet_about(dist, ok, "meet", NULL, err);
}

bool ig_dist_tell(struct ig_dist *dist, bool ok, bool *said, struct ig_err *err)
{
    if (ig_dist_size(dist) == 1) return ok;
    int value = *said;
    if (!meet_about(dist, ok, "tell", &value, err)) return false;
    *said = value != 0;
    return true;
}

/* Takes the first line off: NAME, and WHAT behind its tab. */
static bool next_line(struct ig_slice *text, struct ig_slice *name, struct ig_slice *what)
{
    if (text->len == 0) return false;
    const char *end = memchr(text->ptr, '\n', text->len);
    size_t len = end ? (size_t)(end - text->ptr) : text->len;
    const char *tab = memchr(text->ptr, '\t', len);
    *name = ig_slice_make(text->ptr, tab ? (size_t)(tab - text->ptr) : 0);
    *what = ig_slice_make(text->ptr + name->len + (tab != NULL), len - name->len - (tab != NULL));
    len += end != NULL;
    *text = ig_slice_make(text->ptr + len, text->len - len);
    return true;
}

static bool digest_lines(struct ig_slice lines, uint64_t *out, struct ig_err *err)
{
    struct ig_slice name, what;
    struct ig_digest_state *state = ig_digest_new();
    if (!state) return ig_err_nomem(err);
    while (next_line(&lines, &name, &what)) {
        ig_digest_feed(state, what.ptr, what.len);
        ig_digest_feed(state, "\n", 1);
    }
    *out = ig_digest_end(state).low;
    ig_digest_free(state);
    return true;
}

/* Says where this rank's lines leave rank 0's. Always false. */
static bool say_difference(const struct ig_dist *dist, struct ig_slice mine, struct ig_slice first,
                           struct ig_err *err)
{
    struct ig_slice name, what, first_name, first_what;
    const char *host = dist->words[0].host;
    while (next_line(&mine, &name, &what)) {
        if (!next_line(&first, &first_name, &first_what)) break;
        if (ig_slice_equal(what, first_what)) continue;
        int len = what.len < SHOWN_MAX ? (int)what.len : SHOWN_MAX;
        int first_len = first_what.len < SHOWN_MAX ? (int)first_what.len : SHOWN_MAX;
        return ig_err_set(err, IG_ERR_DATA,
                          IG_SLICE_FMT " is not as rank 0 on %s has it: %.*s; there %.*s",
                          IG_SLICE_ARG(name), host, len, what.ptr, first_len, first_what.ptr);
    }
    return ig_err_set(err, IG_ERR_DATA, "there are other files than rank 0 on %s has", host);
}

bool ig_dist_agree(struct ig_dist *dist, bool ok, struct ig_slice lines, struct ig_err *err)
{
    char first[SPREAD_MAX] = {0};
    struct dist_word mine = {0};
    if (ig_dist_size(dist) == 1) return ok;
    mine.ok = ok && digest_lines(lines, &mine.about, err);
    if (!exchange(dist, &mine, err)) return false;
    int other = stranger(dist);
    if (other < 0) return true;
    if (dist->rank == 0)
        memcpy(first, lines.ptr, lines.len < sizeof first ? lines.len : sizeof first - 1);
    if (!dist__spread(dist, first, sizeof first) || dist->rank != other)
        return say_other_failed(dist, other, err);
    return say_difference(dist, lines, ig_slice_of(first), err);
}

/* ---- the folder that they share */

static bool put_mark(const char *path, uint64_t mark, struct ig_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return ig_err_errno(err, errno, "cannot create '%s'", path);
    bool ok = ig_file_pwrite(fd, path, 0, &mark, sizeof mark, err);
    if (close(fd) != 0 && ok) ok = ig_err_errno(err, errno, "cannot write '%s'", path);
    return ok;
}

static bool has_mark(const char *path, uint64_t mark)
{
    struct ig_buf text = {0};
    struct ig_err ignored;
    bool has = ig_file_read(path, sizeof mark, &text, &ignored) && text.len == sizeof mark &&
               memcmp(text.data, &mark, sizeof mark) == 0;
    ig_buf_release(&text);
    return has;
}

static bool stop_listing(void *user, const char *name)
{
    (void)user, (void)name;
    return false;
}

/* NFS may show a folder as it was some seconds ago; reading the one above asks the server. */
static bool await_mark(const struct ig_dist *dist, const char *folder, const char *path,
                       uint64_t mark, struct ig_err *err)
{
    char above[IG_PATH_MAX];
    struct ig_err ignored;
    if (!ig_path_join(above, folder, "..", err)) return false;
    double end = ig_clock_seconds() + SEE_SECONDS;
    while (!has_mark(path, mark)) {
        if (ig_clock_seconds() > end)
            return ig_err_set(err, IG_ERR_IO,
                              "'%s' is not the folder that rank 0 on %s writes: all ranks need "
                              "one that they share, under the same path",
                              folder, dist->words[0].host);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        if (!ig_dir_list(above, stop_listing, NULL, &ignored)) continue;
    }
    return true;
}

bool ig_dist_sees(struct ig_dist *dist, bool ok, const char *folder, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    if (ig_dist_size(dist) == 1) return ok;
    bool first = dist->rank == 0;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t mark = (uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec * 4099;
    mark ^= (uint64_t)getpid() << 40;
    ok = ok && ig_path_join(path, folder, IG_DIST_MARK, err) &&
         (!first || put_mark(path, mark, err));
    if (!ig_dist_meet(dist, ok, err)) return false;
    ok = dist__spread(dist, &mark, sizeof mark) ||
         ig_err_set(err, IG_ERR_IO, "what started this rank has gone");
    ok = ig_dist_meet(dist, ok && (first || await_mark(dist, folder, path, mark, err)), err);
    if (first && unlink(path) != 0 && ok) ok = ig_err_errno(err, errno, "cannot remove '%s'", path);
    return ok;
}

/* ---- sharing */

struct piece {
    uint64_t bytes;
    int64_t first; /* the lowest of its members */
    int64_t group;
};

static int larger_first(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x->first > y->first) - (x->first < y->first);
}

static int least_loaded(const uint64_t *load, int size)
{
    int least = 0;
    for (int r = 1; r < size; r++)
        if (load[r] < load[least]) least = r;
    return least;
}

bool ig_dist_share(const struct ig_dist *dist, const uint64_t *bytes, const int64_t *group,
                   int64_t count, int *owner, struct ig_err *err)
{
    int size = ig_dist_size(dist);
    uint64_t load[IG_RANKS_MAX] = {0};
    memset(owner, 0, (size_t)count * sizeof(*owner));
    if (size == 1) return true;
    struct piece *pieces = calloc((size_t)count + 1, sizeof(*pieces));
    int *rank_of = calloc((size_t)count + 1, sizeof(*rank_of));
    bool ok = (pieces && rank_of) || ig_err_nomem(err);
    for (int64_t i = 0; ok && i < count; i++)
        pieces[i] = (struct piece){0, INT64_MAX, i};
    for (int64_t i = 0; ok && i < count; i++) {
        struct piece *p = &pieces[group ? group[i] : i];
        p->bytes += bytes[i] + 1; /* the smallest is not free */
        if (i < p->first) p->first = i;
    }
    if (ok) qsort(pieces, (size_t)count, sizeof(*pieces), larger_first);
    for (int64_t i = 0; ok && i < count; i++) {
        int rank = least_loaded(load, size);
        load[rank] += pieces[i].bytes;
        rank_of[pieces[i].group] = rank;
    }
    for (int64_t i = 0; ok && i < count; i++)
        owner[i] = rank_of[group ? group[i] : i];
    free(pieces);
    free(rank_of);
    return ok;
}
