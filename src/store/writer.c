/* SPDX-License-Identifier: Apache-2.0
 * writer — a model folder that appears whole or not at all.
 *
 * Everything is written to OUT.partial: shards at their full size from the start, so that a full
 * disk shows at once and tensors may arrive in any order; a journal of whole tensors; one rename at
 * the end. Digests are XXH3-128 over the digests of blocks of BLOCK_BYTES: put computes those of
 * the blocks that it gets whole, mark reads back only what came in pieces. */
#include "base/check.h"
#include "base/map.h"
#include "base/thread.h"
#include "writer_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- opening ---- */

static bool copy_plan(struct ig_writer *w, const struct ig_writer_plan *plan, struct ig_err *err)
{
    w->plan = *plan;
    struct ig_tensor *tensors = ig_arena_array(&w->arena, (size_t)plan->count, sizeof(*tensors));
    size_t len = strlen(plan->out);
    while (len > 1 && plan->out[len - 1] == '/')
        len--;
    w->out = ig_arena_copy(&w->arena, ig_slice_make(plan->out, len)).ptr;
    if (!tensors || !w->out) return ig_err_nomem(err);
    for (int64_t i = 0; i < plan->count; i++) {
        tensors[i] = plan->tensors[i];
        tensors[i].name = ig_arena_copy(&w->arena, plan->tensors[i].name);
        if (!tensors[i].name.ptr) return ig_err_nomem(err);
    }
    w->plan.tensors = tensors;
    w->plan.out = w->out;
    w->plan.origins = ig_arena_copy(&w->arena, plan->origins);
    if (!w->plan.origins.ptr) return ig_err_nomem(err);
    if (snprintf(w->partial, sizeof w->partial, "%s.partial", w->out) >= (int)sizeof w->partial)
        return ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", w->out);
    return true;
}

/* What a resumed run must have in common with the one that was interrupted. */
static bool digest_plan(struct ig_writer *w, struct ig_err *err)
{
    struct ig_digest_state *state = ig_digest_new();
    if (!state) return ig_err_nomem(err);
    store__origins_feed(state, w->plan.origins);
    for (int i = 0; i < w->shards.count; i++)
        ig_digest_feed(state, w->shards.shards[i].header.ptr, w->shards.shards[i].header.len);
    w->plan_digest = ig_digest_end(state);
    ig_digest_free(state);
    return true;
}

bool store__note_finished(void *user, struct ig_slice name, struct ig_digest digest,
                          struct ig_err *err)
{
    struct ig_writer *w = user;
    int64_t index = ig_map_get(&w->by_name, name, -1);
    if (index < 0)
        return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' is not in the plan",
                          IG_SLICE_ARG(name));
    /* What this rank has done itself stays done: another's line of it is of a run before. */
    if (atomic_load(&w->slots[index].state) == WRITER_DONE) return true;
    w->slots[index].digest = digest;
    atomic_store(&w->slots[index].state, WRITER_CLAIMED);
    w->claimed++;
    return true;
}

struct clearing {
    const char *dir;
    struct ig_err *err;
    bool failed;
};

static bool clear_entry(void *user, const char *name)
{
    struct clearing *c = user;
    char path[IG_PATH_MAX];
    if (strcmp(name, JOURNAL_NAME) == 0) return true; /* holds the lock */
    if (!ig_path_join(path, c->dir, name, c->err)) {
        c->failed = true;
    } else if (unlink(path) != 0) {
        c->failed = errno == EISDIR || errno == EPERM
                        ? !ig_dir_remove(path, c->err)
                        : !ig_err_errno(c->err, errno, "cannot remove '%s'", path);
    }
    return !c->failed;
}

static bool start_over(struct ig_writer *w, struct ig_err *err)
{
    struct clearing c = {.dir = w->partial, .err = err};
    if (!ig_dir_list(w->partial, clear_entry, &c, err) || c.failed) return false;
    for (int64_t i = 0; i < w->plan.count; i++)
        atomic_store(&w->slots[i].state, WRITER_OPEN);
    w->claimed = 0;
    return store__journal_start(&w->journal, w->plan_digest, w->plan.origins, err);
}

static bool is_not_journal(void *user, const char *name)
{
    if (strcmp(name, JOURNAL_NAME) == 0) return true;
    *(bool *)user = true;
    return false;
}

/* OUT.partial is of another plan: says what has changed since. Always false. */
static bool refuse_other(const struct ig_writer *w, struct ig_err *err)
{
    struct ig_buf before = {0};
    struct ig_slice name;
    if (!store__journal_origins(&w->journal, &before, err)) return false;
    if (store__origins_differ(ig_buf_view(&before), w->plan.origins, &name))
        ig_err_set(err, IG_ERR_USAGE,
                   "an interrupted run left '%s', but " IG_SLICE_FMT
                   " has changed since: put it back, or start over with --force",
                   w->partial, IG_SLICE_ARG(name));
    else
        ig_err_set(err, IG_ERR_USAGE,
                   "'%s' is of another recipe, other inputs or other options: run it with "
                   "those, or start over with --force",
                   w->partial);
    ig_buf_release(&before);
    return false;
}

/* Makes OUT.partial, or takes over the one that is there. */
static bool take_folder(struct ig_writer *w, struct ig_err *err)
{
    bool journaled = false, same_plan = false, occupied = false;
    if (!ig_dir_make(w->partial, err)) return false;
    if (!ig_dir_list(w->partial, is_not_journal, &occupied, err)) return false;
    if (!store__journal_open(&w->journal, w->partial, w->plan.resume, occupied, &journaled, err))
        return false;
    if (!journaled && occupied && !w->plan.force)
        return ig_err_set(err, IG_ERR_USAGE,
                          "'%s' is in the way and no interrupted run: remove it, or use --force",
                          w->partial);
    if (!store__journal_create(&w->journal, err)) return false;
    if (!journaled) return start_over(w, err);
    if (!store__journal_replay(&w->journal, w->plan_digest, store__note_finished, w, &same_plan,
                               err))
        return false;
    if (w->plan.resume && same_plan) return store__replay_ranks(w, err);
    if (w->plan.force || !store__journal_has_tensors(&w->journal)) return start_over(w, err);
    if (w->plan.resume) return refuse_other(w, err);
    return ig_err_set(
        err, IG_ERR_USAGE,
        "an interrupted run left '%s': go on with --resume, or start over with --force",
        w->partial);
}

static bool check_room(struct ig_writer *w, struct ig_err *err)
{
    uint64_t need = WRITER_ROOM_EXTRA, room;
    struct statvfs fs;
    struct stat st;
    char path[IG_PATH_MAX];
    for (int i = 0; i < w->shards.count; i++) {
        const struct store_shard *shard = &w->shards.shards[i];
        if (!ig_path_join(path, w->partial, shard->name, err)) return false;
        uint64_t have = stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
        need += shard->bytes > have ? shard->bytes - have : 0;
    }
    if (statvfs(w->partial, &fs) != 0)
        return ig_err_errno(err, errno, "cannot stat '%s'", w->partial);
    room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (need <= room) return true;
    double unit = need >= 1000000000 ? 1e9 : 1e6;
    const char *name = need >= 1000000000 ? "GB" : "MB";
    return ig_err_set(err, IG_ERR_IO,
                      "not enough room for '%s': %.1f %s are needed, %.1f %s are free", w->out,
                      (double)need / unit, name, (double)room / unit, name);
}

static bool make_shard(struct ig_writer *w, int index, struct ig_err *err)
{
    const struct store_shard *shard = &w->shards.shards[index];
    char path[IG_PATH_MAX];
    if (!ig_path_join(path, w->partial, shard->name, err)) return false;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return ig_err_errno(err, errno, "cannot create '%s'", path);
    w->fds[index] = fd;
    int failed = store__disk_reserve(fd, shard->bytes);
    if (failed)
        return ig_err_errno(err, failed, "cannot reserve %" PRIu64 " bytes for '%s'", shard->bytes,
                            path);
    return ig_file_pwrite(fd, path, 0, shard->header.ptr, shard->header.len, err);
}

static bool allocate(struct ig_writer *w, struct ig_err *err)
{
    size_t count = (size_t)w->plan.count;
    w->slots = ig_arena_array(&w->arena, count, sizeof(*w->slots));
    w->fds = ig_arena_array(&w->arena, (size_t)w->shards.count, sizeof(*w->fds));
    if (!w->slots || !w->fds) return ig_err_nomem(err);
    for (int i = 0; i < w->shards.count; i++)
        w->fds[i] = -1;
    w->fd_count = w->shards.count;
    for (int64_t i = 0; i < w->plan.count; i++)
        if (!ig_map_put(&w->by_name, w->plan.tensors[i].name, i, err)) return false;
    return true;
}

/* Whether OUT is the finished work of this very plan: its journal still lies beside it. */
static bool look_for_whole(struct ig_writer *w, struct ig_err *err)
{
    if (!w->plan.resume || !ig_path_exists(w->out) || ig_path_exists(w->partial)) return true;
    if (!store__journal_name(&w->journal, w->partial, 0, err) ||
        !store__journal_replay_aside(&w->journal, w->plan_digest, store__note_finished, w,
                                     &w->whole, err) ||
        (!w->whole && !store__is_finished(w, &w->whole, err)))
        return false;
    for (int64_t i = 0; i < w->plan.count; i++)
        atomic_store(&w->slots[i].state, w->whole ? WRITER_DONE : WRITER_OPEN);
    return true;
}

/* Ranks share chunks of their files; they write as usual. So does who does not wait for the disk.
 */
static bool open_stage(struct ig_writer *w, struct ig_err *err)
{
    if (w->plan.no_sync || ig_dist_size(w->plan.dist) > 1 || ig_writer_bytes(w) < STAGE_BYTES_MIN)
        return true;
    int count = w->shards.count, buffers = 10 + 2 * ig_core_count();
    struct store_stage_file *files = calloc((size_t)count, sizeof *files);
    char(*paths)[IG_PATH_MAX] = calloc((size_t)count, sizeof *paths);
    bool ok = (files && paths) || ig_err_nomem(err);
    for (int i = 0; ok && i < count; i++) {
        ok = ig_path_join(paths[i], w->partial, w->shards.shards[i].name, err);
        files[i] = (struct store_stage_file){paths[i], w->fds[i], w->shards.shards[i].bytes};
    }
    if (buffers > STAGE_BUFFERS_MAX) buffers = STAGE_BUFFERS_MAX;
    if (ok) w->stage = store__stage_new(files, count, STORE_STAGE_CHUNK, buffers);
    free(files);
    free(paths);
    return ok;
}

/* What is known without looking at OUT. */
static bool prepare(struct ig_writer *w, const struct ig_writer_plan *plan, struct ig_err *err)
{
    return copy_plan(w, plan, err) && store__shards_plan(&w->plan, &w->arena, &w->shards, err) &&
           allocate(w, err) && digest_plan(w, err);
}

static bool open_all(struct ig_writer *w, struct ig_err *err)
{
    if (!look_for_whole(w, err)) return false;
    if (w->whole) return true;
    if (!store__check_replaceable(w, err)) return false;
    if (!take_folder(w, err)) return false;
    w->owns_partial = true;
    if (!check_room(w, err)) return false;
    for (int i = 0; i < w->shards.count; i++)
        if (!make_shard(w, i, err)) return false;
    return open_stage(w, err);
}

/* All ranks have the same plan; then rank 0 makes the folder, and the others open what is there. */
static bool open_shared(struct ig_writer *w, bool ok, struct ig_err *err)
{
    struct ig_dist *dist = w->plan.dist;
    struct ig_buf lines = {0};
    char hex[IG_DIGEST_HEX];
    ig_digest_hex(w->plan_digest, hex);
    ig_buf_slice(&lines, w->plan.origins);
    ig_buf_printf(&lines, "the layout of '%s'\t%s\n", w->plan.out, hex);
    ok = ig_dist_agree(dist, ok && ig_buf_ok(&lines, err), ig_buf_view(&lines), err);
    ig_buf_release(&lines);
    if (!ok) return false;
    ok = ig_dist_tell(dist, w->rank > 0 || open_all(w, err), &w->whole, err);
    if (w->whole)
        for (int64_t i = 0; i < w->plan.count; i++)
            atomic_store(&w->slots[i].state, WRITER_DONE);
    if (!ok || w->whole) return ok;
    if (!ig_dist_sees(dist, true, w->partial, err)) return false;
    w->owns_partial = false; /* the others have work in it */
    return w->rank == 0 || store__join(w, err);
}

bool ig_writer_open(const struct ig_writer_plan *plan, struct ig_writer **out, struct ig_err *err)
{
    struct ig_writer *w = calloc(1, sizeof(*w));
    if (!w) return ig_err_nomem(err);
    w->journal.fd = w->journal.dir_fd = -1;
    w->rank = ig_dist_rank(plan->dist);
    pthread_mutex_init(&w->lock, NULL);
    store__window_init(&w->window);
    bool ok = prepare(w, plan, err);
    ok = ig_dist_size(plan->dist) > 1 ? open_shared(w, ok, err) : ok && open_all(w, err);
    if (!ok) {
        ig_writer_close(w);
        return false;
    }
    *out = w;
    return true;
}

void ig_writer_close(struct ig_writer *w)
{
    if (!w) return;
    store__stage_free(w->stage);
    for (int i = 0; i < w->fd_count; i++)
        if (w->fds[i] >= 0) close(w->fds[i]);
    for (int64_t i = 0; w->slots && i < w->plan.count; i++)
        free(w->slots[i].blocks);
    /* Nothing worth resuming: leave nothing behind. */
    struct ig_err ignored;
    if (w->owns_partial && !store__journal_has_tensors(&w->journal) &&
        !ig_dir_remove(w->partial, &ignored))
        w->owns_partial = false; /* it stays: the next run finds it in the way, and says so */
    store__journal_close(&w->journal);
    ig_map_release(&w->by_name);
    pthread_mutex_destroy(&w->lock);
    store__window_release(&w->window);
    ig_arena_release(&w->arena);
    free(w);
}

uint64_t ig_writer_bytes(const struct ig_writer *w)
{
    uint64_t bytes = 0;
    for (int i = 0; i < w->shards.count; i++)
        bytes += w->shards.shards[i].bytes;
    return bytes;
}

/* ---- tensors ---- */

static size_t block_count(size_t bytes)
{
    return bytes / BLOCK_BYTES + (bytes % BLOCK_BYTES != 0);
}

/* The tensor's block digests; NULL when there is no memory, and then mark reads everything back. */
static struct ig_digest *blocks_of(struct ig_writer *w, int64_t index)
{
    struct writer_slot *slot = &w->slots[index];
    struct ig_digest *blocks = atomic_load_explicit(&slot->shared, memory_order_acquire);
    if (blocks) return blocks;
    pthread_mutex_lock(&w->lock);
    if (!slot->blocks)
        slot->blocks = calloc(block_count(w->shards.places[index].bytes), sizeof(*blocks));
    blocks = slot->blocks;
    atomic_store_explicit(&slot->shared, blocks, memory_order_release);
    pthread_mutex_unlock(&w->lock);
    return blocks;
}

static bool say_failed(const struct ig_writer *w, int shard, int failed, struct ig_err *err)
{
    return ig_err_errno(err, failed, "cannot write '%s'", w->shards.shards[shard].name);
}

bool store__flush(struct ig_writer *w, struct ig_err *err)
{
    int shard = 0, failed = w->stage ? store__stage_flush(w->stage, &shard) : 0;
    return failed == 0 || say_failed(w, shard, failed, err);
}

/* Bytes of a shard, wherever they are. */
static bool read_back(const struct ig_writer *w, int shard, uint64_t offset, void *out,
                      size_t bytes, struct ig_err *err)
{
    const char *name = w->shards.shards[shard].name;
    if (!w->stage) return ig_file_pread(w->fds[shard], name, offset, out, bytes, err);
    int failed = store__stage_read(w->stage, shard, offset, out, bytes);
    return failed == 0 || ig_err_errno(err, failed, "cannot read '%s'", name);
}

bool ig_writer_put(struct ig_writer *w, int64_t index, size_t byte_first, const void *data,
                   size_t bytes, struct ig_err *err)
{
    IG_ASSERT(index >= 0 && index < w->plan.count);
    const struct store_place *place = &w->shards.places[index];
    IG_ASSERT(byte_first <= place->bytes && bytes <= place->bytes - byte_first);
    struct ig_digest *blocks = bytes ? blocks_of(w, index) : NULL;
    size_t end = byte_first + bytes;
    size_t at = (byte_first + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    for (; blocks && at < end; at += BLOCK_BYTES) {
        size_t n = place->bytes - at < BLOCK_BYTES ? place->bytes - at : BLOCK_BYTES;
        if (at + n > end) break;
        blocks[at / BLOCK_BYTES] = ig_digest_of((const char *)data + (at - byte_first), n);
    }
    int fd = w->fds[place->shard];
    const char *name = w->shards.shards[place->shard].name;
    if (w->stage) {
        int shard, failed = store__stage_put(w->stage, place->shard, place->offset + byte_first,
                                             data, bytes, &shard);
        return failed == 0 || say_failed(w, shard, failed, err);
    }
    if (!ig_file_pwrite(fd, name, place->offset + byte_first, data, bytes, err))
        return ig_err_within(err, "'%s'", w->partial);
    if (w->plan.no_sync) return true;
    int failed = store__window_push(&w->window, fd, place->offset + byte_first, bytes);
    return failed == 0 || say_failed(w, place->shard, failed, err);
}

static bool is_unknown(struct ig_digest digest)
{
    return digest.low == 0 && digest.high == 0;
}

/* The tensor's digest: from the known block digests, and from the file for the others. blocks may
 * be NULL. */
static bool digest_tensor(const struct ig_writer *w, int64_t index, const struct ig_digest *blocks,
                          struct ig_digest *out, struct ig_err *err)
{
    const struct store_place *place = &w->shards.places[index];
    unsigned char *bytes = malloc(BLOCK_BYTES), packed[16];
    struct ig_digest_state *state = ig_digest_new();
    bool ok = bytes && state;
    if (!ok) ig_err_nomem(err);
    for (size_t b = 0; ok && b < block_count(place->bytes); b++) {
        size_t at = b * BLOCK_BYTES;
        size_t n = place->bytes - at < BLOCK_BYTES ? place->bytes - at : BLOCK_BYTES;
        struct ig_digest digest = blocks ? blocks[b] : (struct ig_digest){0};
        if (is_unknown(digest)) {
            ok = read_back(w, place->shard, place->offset + at, bytes, n, err);
            digest = ok ? ig_digest_of(bytes, n) : digest;
        }
        for (int i = 0; i < 16; i++)
            packed[i] = (unsigned char)((i < 8 ? digest.low : digest.high) >> 8 * (i % 8));
        ig_digest_feed(state, packed, sizeof packed);
    }
    if (ok) *out = ig_digest_end(state);
    ig_digest_free(state);
    free(bytes);
    return ok;
}

bool ig_writer_mark(struct ig_writer *w, int64_t index, struct ig_err *err)
{
    IG_ASSERT(index >= 0 && index < w->plan.count);
    struct writer_slot *slot = &w->slots[index];
    struct ig_digest digest;
    if (!digest_tensor(w, index, slot->blocks, &digest, err)) return false;
    pthread_mutex_lock(&w->lock);
    bool ok = store__journal_add(&w->journal, w->plan.tensors[index].name, digest, err);
    free(slot->blocks);
    slot->blocks = NULL;
    atomic_store(&slot->shared, NULL);
    slot->digest = digest;
    if (ok) atomic_store(&slot->state, WRITER_DONE);
    pthread_mutex_unlock(&w->lock);
    return ok;
}

bool ig_writer_is_whole(const struct ig_writer *w)
{
    return w->whole;
}

/* A claim of the journal is believed when the bytes still have their digest. Two threads may check
 * the same one: they find the same. */
bool ig_writer_has(const struct ig_writer *w, int64_t index)
{
    IG_ASSERT(index >= 0 && index < w->plan.count);
    struct writer_slot *slot = &w->slots[index];
    struct ig_digest digest;
    struct ig_err ignored;
    int state = atomic_load(&slot->state);
    if (state != WRITER_CLAIMED) return state == WRITER_DONE;
    bool same = digest_tensor(w, index, NULL, &digest, &ignored) &&
                digest.low == slot->digest.low && digest.high == slot->digest.high;
    atomic_compare_exchange_strong(&slot->state, &state, same ? WRITER_DONE : WRITER_OPEN);
    return same;
}

const char *ig_writer_digest(const struct ig_writer *w, int64_t index)
{
    IG_ASSERT(index >= 0 && index < w->plan.count);
    struct writer_slot *slot = &w->slots[index];
    IG_ASSERT(atomic_load(&slot->state) == WRITER_DONE);
    ig_digest_hex(slot->digest, slot->hex);
    return slot->hex;
}

/* ---- sink ---- */

static bool sink_wants(void *self, int64_t index)
{
    return !ig_writer_has(self, index);
}

static bool sink_put(void *self, int64_t index, int64_t elem_first, int64_t elems, const void *data,
                     struct ig_err *err)
{
    struct ig_writer *w = self;
    size_t size = ig_dtype_bytes(w->plan.tensors[index].dtype);
    return ig_writer_put(w, index, (size_t)elem_first * size, data, (size_t)elems * size, err);
}

static bool sink_done(void *self, int64_t index, struct ig_err *err)
{
    return ig_writer_mark(self, index, err);
}

struct ig_sink ig_writer_sink(struct ig_writer *w)
{
    return (struct ig_sink){.self = w, .wants = sink_wants, .put = sink_put, .done = sink_done};
}
