/* SPDX-License-Identifier: Apache-2.0
 * keep — what is written beside the bytes, in huggingface_hub's forms (2.4.0: file_download.py,
 * _tree_cache.py, _local_folder.py).
 *
 *     snapshots/COMMIT/a/b -> ../../../blobs/DIGEST
 *     refs/REVISION          the commit, without a newline
 *     trees/COMMIT.json      {"format_version": 1, "files": {PATH: {"size", "blob_id", ..}}}: tells
 *                            a snapshot in part from a whole one without asking the Hub
 *     TO/.cache/huggingface/download/PATH.metadata     "COMMIT\nDIGEST\nSECONDS\n" */
#include "hub/hub_internal.h"
#include "ingot/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/port.h"

#define NOTE_BYTES_MAX 512
#define TREE_VERSION   1

/* Folders up to the last '/' of the path. */
static bool make_parents(const char *path, struct ig_err *err)
{
    char parent[IG_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    memcpy(parent, path, len);
    parent[len] = '\0';
    return len == 0 || hub__make_folders(parent, err);
}

/* Through a temporary name of this process, so that nobody ever reads half of it. */
static bool put_file(const char *path, struct ig_slice bytes, struct ig_err *err)
{
    char temporary[IG_PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid());
    if (n >= IG_PATH_MAX) return ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", path);
    if (!make_parents(path, err) || !ig_file_write(temporary, bytes, err)) return false;
    if (rename(temporary, path) == 0) return true;
    ig_err_errno(err, errno, "cannot rename '%s' to '%s'", temporary, path);
    unlink(temporary);
    return false;
}

bool hub__keep_link(const struct hub_pull *pull, const struct hub_file *file, struct ig_err *err)
{
    char path[IG_PATH_MAX], temporary[IG_PATH_MAX], target[2 * HUB_PATH_MAX + 128] = "../../";
    char old[sizeof target];
    size_t len = strlen(target);
    for (size_t i = 0; i < file->path.len; i++)
        if (file->path.ptr[i] == '/') len += (size_t)snprintf(target + len, 4, "../");
    snprintf(target + len, sizeof target - len, "blobs/%s", file->digest);
    if (!ig_path_join(path, pull->snapshot, file->path.ptr, err)) return false;
    ssize_t n = readlink(path, old, sizeof old - 1);
    if (n >= 0) old[n] = '\0';
    if (n >= 0 && strcmp(old, target) == 0) return true;
    if (!make_parents(path, err)) return false;
    n = snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid());
    if (n >= IG_PATH_MAX) return ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", path);
    unlink(temporary);
    if (symlink(target, temporary) != 0)
        return ig_err_errno(err, errno, "cannot make link '%s' (the cache needs symbolic links)",
                            path);
    if (rename(temporary, path) == 0) return true;
    ig_err_errno(err, errno, "cannot make link '%s'", path);
    unlink(temporary);
    return false;
}

/* ---- a folder of its own ---- */

static bool note_path(const struct hub_pull *pull, const struct hub_file *file,
                      char out[IG_PATH_MAX], struct ig_err *err)
{
    char name[HUB_PATH_MAX + 16];
    snprintf(name, sizeof name, "%s.metadata", file->path.ptr);
    return ig_path_join(out, pull->blobs, name, err);
}

bool hub__keep_note(const struct hub_pull *pull, const struct hub_file *file, struct ig_err *err)
{
    char path[IG_PATH_MAX], text[NOTE_BYTES_MAX];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(text, sizeof text, "%s\n%s\n%lld.%06ld\n", pull->listing.commit, file->digest,
             (long long)now.tv_sec, now.tv_nsec / 1000);
    return note_path(pull, file, path, err) && put_file(path, ig_slice_of(text), err);
}

bool hub__find_note(const struct hub_pull *pull, const struct hub_file *file,
                    char digest[HUB_HEX_MAX])
{
    char path[IG_PATH_MAX], whole[IG_PATH_MAX], commit[41];
    struct ig_buf text = {0};
    struct ig_err ignored;
    struct stat st;
    double when = 0;
    if (!note_path(pull, file, path, &ignored) ||
        !ig_path_join(whole, pull->snapshot, file->path.ptr, &ignored) || stat(whole, &st) != 0 ||
        !ig_file_read(path, NOTE_BYTES_MAX, &text, &ignored))
        return false;
    bool read = sscanf(text.data, "%40[0-9a-f]\n%64[0-9a-f]\n%lf", commit, digest, &when) == 3;
    ig_buf_release(&text);
    return read && (double)st.st_mtim.tv_sec - 1 <= when; /* else it was changed since */
}

/* ---- a revision ---- */

static bool keep_tree(const struct hub_pull *pull, struct ig_err *err)
{
    char name[64], path[IG_PATH_MAX];
    const struct hub_listing *l = &pull->listing;
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text, .indent = 1};
    snprintf(name, sizeof name, "trees/%s.json", l->commit);
    if (!ig_path_join(path, pull->folder, name, err)) return false;
    if (ig_path_exists(path)) return true; /* a commit's tree never changes */
    ig_json_open(&w, '{');
    ig_json_key(&w, "format_version");
    ig_json_put_int(&w, TREE_VERSION);
    ig_json_key(&w, "files");
    ig_json_open(&w, '{');
    for (int64_t i = 0; i < l->count; i++) {
        const struct hub_file *file = &l->files[i];
        if (!file->git[0] || !file->digest[0]) goto unknown;
        ig_json_key(&w, file->path.ptr);
        ig_json_open(&w, '{');
        ig_json_key(&w, "size");
        ig_json_put_int(&w, (int64_t)file->bytes);
        ig_json_key(&w, "blob_id");
        ig_json_put_text(&w, ig_slice_of(file->git));
        if (file->is_lfs) {
            ig_json_key(&w, "lfs_sha256");
            ig_json_put_text(&w, ig_slice_of(file->digest));
            ig_json_key(&w, "lfs_size");
            ig_json_put_int(&w, (int64_t)file->bytes);
        }
        ig_json_close(&w, '}');
    }
    ig_json_close(&w, '}');
    ig_json_close(&w, '}');
    bool ok = ig_buf_ok(&text, err) && put_file(path, ig_buf_view(&text), err);
    ig_buf_release(&text);
    return ok;
unknown: /* half a tree would be worse than none */
    ig_buf_release(&text);
    return true;
}

static bool keep_ref(const struct hub_pull *pull, struct ig_err *err)
{
    char name[HUB_REVISION_MAX + 8], path[IG_PATH_MAX], known[41];
    const char *commit = pull->listing.commit;
    struct ig_err ignored;
    if (strcmp(pull->id.revision, commit) == 0) return true;
    if (hub__cached_commit(&pull->id, pull->folder, known, &ignored) && strcmp(known, commit) == 0)
        return true;
    snprintf(name, sizeof name, "refs/%s", pull->id.revision);
    return ig_path_join(path, pull->folder, name, err) && put_file(path, ig_slice_of(commit), err);
}

/* So that programs that make backups leave the cache out: bford.info/cachedir. */
static void keep_tag(const char *cache)
{
    static const char text[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                               "# This folder is a cache of the Hugging Face Hub, and may be "
                               "removed.\n";
    char path[IG_PATH_MAX];
    struct ig_err ignored;
    bool done = ig_path_join(path, cache, "CACHEDIR.TAG", &ignored) &&
                (ig_path_exists(path) || put_file(path, ig_slice_of(text), &ignored));
    (void)done; /* a wish only */
}

bool hub__keep_revision(const struct hub_pull *pull, struct ig_err *err)
{
    keep_tag(pull->cache);
    return keep_tree(pull, err) && keep_ref(pull, err);
}

/* ---- a tree that is there ---- */

static bool read_entry(const struct ig_json *node, struct hub_file *out)
{
    int64_t size;
    struct ig_slice git = ig_json_text(ig_json_get(node, "blob_id"));
    struct ig_slice sha = ig_json_text(ig_json_get(node, "lfs_sha256"));
    const struct ig_json *bytes = ig_json_get(node, sha.ptr ? "lfs_size" : "size");
    if (!ig_json_int(bytes, &size) || size < 0 || !hub__is_hex(git, 40)) return false;
    out->path = node->key;
    out->bytes = (uint64_t)size;
    out->is_lfs = sha.ptr != NULL;
    if (out->is_lfs && !hub__is_hex(sha, 64)) return false;
    snprintf(out->git, sizeof out->git, "%s", git.ptr);
    snprintf(out->digest, sizeof out->digest, "%s", out->is_lfs ? sha.ptr : git.ptr);
    return hub__is_path(out->path);
}

bool hub__find_tree(struct hub_pull *pull, const char *commit)
{
    char name[64], path[IG_PATH_MAX];
    struct ig_err ignored;
    struct ig_buf text = {0};
    int64_t version;
    snprintf(name, sizeof name, "trees/%s.json", commit);
    if (!ig_path_join(path, pull->folder, name, &ignored) ||
        !ig_file_read(path, HUB_JSON_MAX, &text, &ignored))
        return false;
    const struct ig_json *root = ig_json_parse(ig_buf_view(&text), &pull->arena, &ignored);
    ig_buf_release(&text);
    const struct ig_json *files = ig_json_get(root, "files");
    bool ok = ig_json_int(ig_json_get(root, "format_version"), &version) &&
              version == TREE_VERSION && files && files->type == IG_JSON_OBJECT;
    struct hub_file *list = ok ? ig_arena_array(&pull->arena, files->count, sizeof *list) : NULL;
    for (uint32_t i = 0; list && i < files->count; i++)
        if (!read_entry(&files->items[i], &list[i])) return false;
    if (!list) return false;
    snprintf(pull->listing.commit, sizeof pull->listing.commit, "%s", commit);
    pull->listing.files = list;
    pull->listing.count = files->count;
    return true;
}
