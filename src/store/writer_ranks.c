/* SPDX-License-Identifier: Apache-2.0
 * writer_ranks — one model folder written by several ranks.
 *
 * Rank 0 makes OUT.partial, its shards and their headers; the others open them and write at the
 * same known places. Each keeps a journal of its own (ingot.journal.1 ...), because an append is
 * only whole on one machine. At the end rank 0 enters the others' lines in its own journal, removes
 * theirs, and finishes as a process alone would. A resumed run may have another number of ranks:
 * all journals that are there count. */
#include "writer_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool ig_writer_is_first(const struct ig_writer *w)
{
    return w->rank == 0;
}

static bool replay_rank(struct ig_writer *w, int rank, struct ig_err *err)
{
    struct store_journal other = {.fd = -1, .dir_fd = -1};
    bool same_plan;
    if (!store__journal_name(&other, w->partial, rank, err)) return false;
    if (!ig_path_exists(other.path)) return true;
    if (!store__journal_create(&other, err)) return false;
    bool ok =
        store__journal_replay(&other, w->plan_digest, store__note_finished, w, &same_plan, err);
    store__journal_close(&other);
    return ok;
}

bool store__replay_ranks(struct ig_writer *w, struct ig_err *err)
{
    for (int rank = 0; rank < IG_RANKS_MAX; rank++)
        if (rank != w->rank && !replay_rank(w, rank, err)) return false;
    return true;
}

static bool open_shard(struct ig_writer *w, int index, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    if (!ig_path_join(path, w->partial, w->shards.shards[index].name, err)) return false;
    w->fds[index] = open(path, O_RDWR | O_CLOEXEC);
    return w->fds[index] >= 0 ||
           ig_err_errno(err, errno, "cannot open '%s', which rank 0 has made", path);
}

bool store__join(struct ig_writer *w, struct ig_err *err)
{
    struct stat st;
    bool same_plan = false;
    if (!store__journal_name(&w->journal, w->partial, w->rank, err) ||
        !store__journal_create(&w->journal, err))
        return false;
    if (fstat(w->journal.fd, &st) == 0 && st.st_size > 0 &&
        !store__journal_replay(&w->journal, w->plan_digest, store__note_finished, w, &same_plan,
                               err))
        return false;
    if (!same_plan && !store__journal_start(&w->journal, w->plan_digest, (struct ig_slice){0}, err))
        return false;
    if (w->plan.resume && !store__replay_ranks(w, err)) return false;
    for (int i = 0; i < w->shards.count; i++)
        if (!open_shard(w, i, err)) return false;
    return true;
}

/* ---- the end */

/* The journal too: NFS shows others what was written once it is synced, and a name that is removed
 * stays as .nfs.. while the file is open. */
static bool sync_files(struct ig_writer *w, struct ig_err *err)
{
    if (fsync(w->journal.fd) != 0)
        return ig_err_errno(err, errno, "cannot write '%s'", w->journal.path);
    store__journal_close(&w->journal);
    for (int i = 0; i < w->fd_count; i++)
        if (w->fds[i] >= 0 && fsync(w->fds[i]) != 0)
            return ig_err_errno(err, errno, "cannot write '%s'", w->shards.shards[i].name);
    return true;
}

bool store__forget_ranks(const struct ig_writer *w, struct ig_err *err)
{
    char mark[IG_PATH_MAX]; /* of a run that was killed while ranks met */
    if (!ig_path_join(mark, w->partial, IG_DIST_MARK, err)) return false;
    if (unlink(mark) != 0 && errno != ENOENT)
        return ig_err_errno(err, errno, "cannot remove '%s'", mark);
    for (int rank = 1; rank < IG_RANKS_MAX; rank++) {
        struct store_journal other;
        if (!store__journal_name(&other, w->partial, rank, err)) return false;
        if (unlink(other.path) != 0 && errno != ENOENT)
            return ig_err_errno(err, errno, "cannot remove '%s'", other.path);
    }
    return true;
}

bool store__close_books(struct ig_writer *w, struct ig_err *err)
{
    for (int64_t i = 0; i < w->plan.count; i++) {
        struct writer_slot *slot = &w->slots[i];
        if (atomic_load(&slot->state) != WRITER_CLAIMED) continue;
        if (!store__journal_add(&w->journal, w->plan.tensors[i].name, slot->digest, err))
            return false;
        atomic_store(&slot->state, WRITER_DONE); /* its rank has just written, or checked, it */
    }
    return store__forget_ranks(w, err);
}

bool ig_writer_gather(struct ig_writer *w, struct ig_err *err)
{
    if (ig_dist_size(w->plan.dist) == 1) return true;
    bool ok = w->rank == 0 || w->whole || sync_files(w, err);
    if (!ig_dist_meet(w->plan.dist, ok, err)) return false;
    if (w->rank > 0 || w->whole) return true;
    return store__replay_ranks(w, err) && store__close_books(w, err);
}
