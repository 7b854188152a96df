/* SPDX-License-Identifier: Apache-2.0
 * pull — a job: ask what there is, choose, check the room, get what is missing with a few
 * connections, and only then say that the revision is there. */
#include "base/clock.h"
#include "base/thread.h"
#include "hub/hub_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#define LISTING_RETRIES 2 /* when the Hub cannot be reached at all */
#define ROOM_SPARE      ((uint64_t)16 << 20)
#define CONNECTIONS_MAX 64
#define JSON_ARENA_MAX  ((size_t)1 << 30)

/* ---- places ---- */

static bool find_places(struct hub_pull *p, struct ig_err *err)
{
    char name[HUB_NAME_MAX + 32], locks[IG_PATH_MAX];
    if (p->job->to) {
        snprintf(p->folder, sizeof p->folder, "%s", p->job->to);
        return ig_path_join(p->cache, p->job->to, ".cache/huggingface", err) &&
               ig_path_join(p->blobs, p->cache, "download", err) &&
               ig_path_join(p->locks, p->cache, "download", err) &&
               ig_path_join(p->snapshot, p->job->to, "", err);
    }
    hub__folder_name(&p->id, name);
    return hub__cache(p->cache, err) && ig_path_join(locks, p->cache, ".locks", err) &&
           ig_path_join(p->locks, locks, name, err) &&
           ig_path_join(p->folder, p->cache, name, err) &&
           ig_path_join(p->blobs, p->folder, "blobs", err);
}

static bool name_snapshot(struct hub_pull *p, struct ig_err *err)
{
    char name[64];
    snprintf(name, sizeof name, "snapshots/%s", p->listing.commit);
    return p->job->to || ig_path_join(p->snapshot, p->folder, name, err);
}

bool hub__whole_path(const struct hub_pull *pull, const struct hub_file *file,
                     char out[IG_PATH_MAX], struct ig_err *err)
{
    return pull->job->to ? ig_path_join(out, pull->job->to, file->path.ptr, err)
                         : ig_path_join(out, pull->blobs, file->digest, err);
}

/* ---- what there is ---- */

static bool take_text(void *user, const void *bytes, size_t count, struct ig_err *err)
{
    struct ig_buf *text = user;
    ig_buf_append(text, bytes, count);
    if (!text->failed) return true;
    return ig_err_set(err, IG_ERR_DATA, "the Hub's answer has more than %zu bytes", HUB_JSON_MAX);
}

static bool forget_text(void *user, const struct hub_answer *answer, struct ig_err *err)
{
    (void)answer, (void)err;
    ig_buf_clear(user);
    return true;
}

static bool ask(struct hub_pull *p, struct hub_worker *w, struct hub_call *call,
                struct hub_answer *answer, struct ig_err *err)
{
    for (int failures = 0;;) {
        enum hub_outcome outcome = hub__http_call(w->http, call, answer, err);
        if (outcome == HUB_DONE) return true;
        bool unreachable = answer->status == 0 && failures >= LISTING_RETRIES;
        if (outcome == HUB_FAILED || unreachable ||
            !hub__again(p, w->thread, answer, false, &failures, p->id.repo, err))
            return false;
    }
}

static bool ask_listing(struct hub_pull *p, struct hub_worker *w, struct ig_err *err)
{
    struct ig_buf path = {0}, text = {.len_max = HUB_JSON_MAX};
    struct hub_answer answer;
    const char *kind = p->id.kind == IG_HUB_MODEL ? "models" : "datasets";
    ig_buf_printf(&path, "/api/%s/%s/revision/", kind, p->id.repo);
    hub__url_quote(&path, ig_slice_of(p->id.revision), false);
    ig_buf_text(&path, "?blobs=true");
    struct hub_call call = {
        .path = path.data, .begin = forget_text, .body = take_text, .user = &text};
    bool ok = ig_buf_ok(&path, err) && ask(p, w, &call, &answer, err);
    if (ok && !hub__listing_read(ig_buf_view(&text), &p->arena, &p->listing, err))
        ok = ig_err_within(err, "cannot read the Hub's answer about '%s'", p->id.repo);
    if (ok && hub__is_commit(p->id.revision) && strcmp(p->id.revision, p->listing.commit) != 0)
        ok = ig_err_set(err, IG_ERR_DATA, "the Hub answers with commit %s, asked for %s",
                        p->listing.commit, p->id.revision);
    ig_buf_release(&text);
    ig_buf_release(&path);
    return ok;
}

/* A mirror whose listing has no digests: each file is asked for its own. */
static bool ask_digests(struct hub_pull *p, struct hub_worker *w, struct ig_err *err)
{
    for (int64_t i = 0; i < p->listing.count; i++) {
        struct hub_file *file = &p->listing.files[i];
        struct hub_answer a;
        struct ig_buf path = {0};
        if (!file->wanted || file->digest[0]) continue;
        hub__file_url(p, file, &path);
        struct hub_call call = {.path = path.data, .head = true};
        bool ok = ig_buf_ok(&path, err) && ask(p, w, &call, &a, err);
        ig_buf_release(&path);
        if (!ok) return ig_err_within(err, "%s", file->path.ptr);
        int64_t bytes = a.linked_bytes >= 0 ? a.linked_bytes : a.status == 200 ? a.length : -1;
        if (!a.digest[0] || bytes < 0)
            return ig_err_set(
                err, IG_ERR_DATA,
                "%s: the server states neither digest nor size: is HF_ENDPOINT a Hub?",
                file->path.ptr);
        memcpy(file->digest, a.digest, sizeof file->digest);
        file->is_lfs = a.linked;
        file->bytes = (uint64_t)bytes;
    }
    return true;
}

static bool select_files(struct hub_pull *p, struct ig_err *err)
{
    int64_t kept = hub__listing_select(&p->listing, p->job->include, p->job->exclude);
    if (kept) return true;
    if (p->listing.count == 0) return ig_err_set(err, IG_ERR_DATA, "'%s' has no files", p->id.repo);
    return ig_err_set(err, IG_ERR_USAGE,
                      "none of the %" PRId64 " files of '%s' (%s, ..) is both included and not "
                      "excluded",
                      p->listing.count, p->id.repo, p->listing.files[0].path.ptr);
}

/* ---- what is missing ---- */

struct todo {
    struct hub_file **files; /* wanted, the largest first: the last ones to end are small */
    int64_t count;
    uint64_t bytes, missing;
};

static int by_size(const void *a, const void *b)
{
    const struct hub_file *x = *(struct hub_file *const *)a, *y = *(struct hub_file *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return ig_slice_compare(x->path, y->path);
}

/* In a folder of its own: whether the file there is the one that is wanted, and whether another one
 * may be replaced. */
static bool is_in_folder(struct hub_pull *p, const struct hub_file *file, const char *path,
                         bool *whole, struct ig_err *err)
{
    char digest[HUB_HEX_MAX];
    *whole = false;
    if (ig_slice_starts(file->path, ".cache/")) /* where notes and unfinished files are */
        return ig_err_set(err, IG_ERR_DATA, "the repository has a file '%s': refused with --to",
                          file->path.ptr);
    if (!ig_path_exists(path)) return true;
    bool noted = hub__find_note(p, file, digest);
    *whole = noted && strcmp(digest, file->digest) == 0 && hub__has_size(path, file->bytes);
    if (*whole || noted || p->job->force) return true;
    return ig_err_set(err, IG_ERR_USAGE,
                      "'%s' exists and did not come from the Hub, or was changed: choose another "
                      "folder, or use --force",
                      path);
}

static bool is_whole(struct hub_pull *p, const struct hub_file *file, bool *whole,
                     struct ig_err *err)
{
    char path[IG_PATH_MAX];
    if (!hub__whole_path(p, file, path, err)) return false;
    if (p->job->to) return is_in_folder(p, file, path, whole, err);
    *whole = hub__has_size(path, file->bytes);
    if (!*whole && ig_path_exists(path))
        hub__meter_warn(&p->meter, "%s: the cache's copy has another size than the Hub's: replaced",
                        file->path.ptr);
    return true;
}

static bool list_missing(struct hub_pull *p, struct todo *todo, struct ig_err *err)
{
    uint64_t left = 0;
    todo->files = ig_arena_array(&p->arena, (size_t)p->listing.count, sizeof *todo->files);
    if (!todo->files) return ig_err_nomem(err);
    for (int64_t i = 0; i < p->listing.count; i++) {
        struct hub_file *file = &p->listing.files[i];
        if (!file->wanted) continue;
        if (!is_whole(p, file, &file->whole, err)) return false;
        todo->files[todo->count++] = file;
        uint64_t missing = file->whole ? 0 : file->bytes - hub__unfinished(p, file);
        if (__builtin_add_overflow(todo->bytes, file->bytes, &todo->bytes) ||
            todo->bytes > INT64_MAX)
            return ig_err_set(err, IG_ERR_DATA, "the listing's sizes have no meaning");
        left += missing;
    }
    todo->missing = left;
    qsort(todo->files, (size_t)todo->count, sizeof *todo->files, by_size);
    atomic_store(&p->meter.bytes_total, (long long)left);
    p->meter.files_total = todo->count;
    return true;
}

static bool check_room(const struct hub_pull *p, uint64_t missing, struct ig_err *err)
{
    struct statvfs disk;
    if (missing == 0 || statvfs(p->blobs, &disk) != 0) return true;
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (room >= missing && room - missing >= ROOM_SPARE) return true;
    return ig_err_set(
        err, IG_ERR_IO,
        "%.2f GB are to be downloaded, the disk of '%s' has room for %.2f: free some, "
        "or %s a folder on another disk",
        (double)missing / 1e9, p->blobs, (double)room / 1e9,
        p->job->to ? "name with --to" : "set HF_HUB_CACHE to");
}

/* ---- getting it ---- */

struct crew {
    struct hub_pull *pull;
    struct todo *todo;
    struct hub_worker *workers;
};

static bool get_file(struct hub_pull *p, struct hub_worker *w, const struct hub_file *file,
                     struct ig_err *err)
{
    char whole[IG_PATH_MAX], parent[IG_PATH_MAX];
    if (!hub__whole_path(p, file, whole, err)) return false;
    if (p->job->to) {
        snprintf(parent, sizeof parent, "%s", whole);
        char *slash = strrchr(parent, '/');
        if (slash) *slash = '\0';
        if (slash && slash > parent && !hub__make_folders(parent, err)) return false;
    }
    if (!file->whole && !hub__fetch(p, w, file, whole, err)) return false;
    return p->job->to ? file->whole || hub__keep_note(p, file, err) : hub__keep_link(p, file, err);
}

static bool run_one(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct crew *crew = user;
    struct hub_pull *p = crew->pull;
    struct hub_worker *w = &crew->workers[thread];
    if (!hub__meter_tick(&p->meter)) return hub__stopped(err);
    if (!get_file(p, w, crew->todo->files[index], err)) return false;
    atomic_fetch_add(&p->meter.files_done, 1);
    return true;
}

static bool worker_open(struct hub_pull *p, int thread, struct hub_worker *w, struct ig_err *err)
{
    w->thread = thread;
    w->http = hub__http_new(&p->id, &p->meter, err);
    w->hash = w->http ? hub__hash_new(err) : NULL;
    return w->hash != NULL;
}

static void worker_close(struct hub_worker *w)
{
    hub__http_free(w->http);
    hub__hash_free(w->hash);
}

static bool get_all(struct hub_pull *p, struct todo *todo, struct ig_err *err)
{
    int64_t want = p->job->connections > 0 ? p->job->connections : HUB_CONNECTIONS;
    if (want > CONNECTIONS_MAX) want = CONNECTIONS_MAX;
    if (want > todo->count) want = todo->count;
    int count = 0;
    bool ok = true;
    struct crew crew = {.pull = p, .todo = todo};
    struct ig_pool *pool = NULL;
    crew.workers = calloc((size_t)want + 1, sizeof *crew.workers);
    if (!crew.workers) return ig_err_nomem(err);
    for (; ok && count < want; count++)
        ok = worker_open(p, count, &crew.workers[count], err);
    pool = ok ? ig_pool_new((int)want, err) : NULL;
    ok = pool && ig_pool_each(pool, todo->count, run_one, &crew, err);
    ig_pool_free(pool);
    for (int i = 0; i < count; i++)
        worker_close(&crew.workers[i]);
    free(crew.workers);
    return ok;
}

/* ---- the job ---- */

static bool make_places(const struct hub_pull *p, struct ig_err *err)
{
    return hub__make_folders(p->blobs, err) && hub__make_folders(p->locks, err) &&
           hub__make_folders(p->snapshot, err);
}

/* HF_HUB_OFFLINE: done when the cache has all of it, and an error otherwise. */
static bool do_offline(struct hub_pull *p, struct todo *todo, struct ig_err *err)
{
    char commit[41];
    bool known = !p->job->to && hub__cached_commit(&p->id, p->folder, commit, err) && commit[0] &&
                 hub__find_tree(p, commit) && name_snapshot(p, err);
    if (known) {
        if (!select_files(p, err) || !list_missing(p, todo, err)) return false;
        bool whole = true;
        for (int64_t i = 0; whole && i < todo->count; i++)
            whole = todo->files[i]->whole && hub__keep_link(p, todo->files[i], err);
        if (whole) return true;
    }
    return ig_err_set(err, IG_ERR_IO,
                      "'%s' is not %s in the Hub's cache (%s), and HF_HUB_OFFLINE forbids to "
                      "download it: unset that",
                      p->id.repo, known ? "as a whole" : "known", p->cache);
}

static bool do_job(struct hub_pull *p, struct todo *todo, struct ig_err *err)
{
    if (hub__is_offline()) return do_offline(p, todo, err);
    struct hub_worker first = {0};
    bool ok = worker_open(p, 0, &first, err) && ask_listing(p, &first, err) &&
              select_files(p, err) && ask_digests(p, &first, err);
    worker_close(&first);
    return ok && name_snapshot(p, err) && list_missing(p, todo, err) && make_places(p, err) &&
           check_room(p, todo->missing, err) && get_all(p, todo, err) &&
           (p->job->to || hub__keep_revision(p, err));
}

bool ig_hub_pull(const struct ig_hub_job *job, struct ig_hub_report *report, struct ig_err *err)
{
    double start = ig_clock_seconds();
    struct hub_pull *p = calloc(1, sizeof *p);
    struct todo todo = {0};
    if (!p) return ig_err_nomem(err);
    p->job = job;
    p->retries = job->retries < 0 ? HUB_RETRIES : job->retries;
    p->arena.bytes_max = JSON_ARENA_MAX;
    hub__meter_init(&p->meter, job->watch);
    bool ok = hub__id_read(job->kind, job->name, &p->id, err) && find_places(p, err) &&
              do_job(p, &todo, err);
    ig_buf_clear(&report->path);
    if (ok) ig_buf_text(&report->path, job->to ? job->to : p->snapshot);
    ok = ok && ig_buf_ok(&report->path, err);
    memcpy(report->commit, p->listing.commit, sizeof report->commit);
    report->files = todo.count;
    report->bytes = todo.bytes;
    report->files_fetched = atomic_load(&p->fetched_files);
    report->bytes_fetched = (uint64_t)atomic_load(&p->fetched_bytes);
    report->seconds = ig_clock_seconds() - start;
    hub__meter_release(&p->meter);
    ig_arena_release(&p->arena);
    free(p);
    return ok;
}

void ig_hub_report_release(struct ig_hub_report *report)
{
    ig_buf_release(&report->path);
}
