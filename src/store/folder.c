/* SPDX-License-Identifier: Apache-2.0
 * folder — what a model folder holds beside its weights, and the moment in which it gets its name.
 */
#include "writer_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES     ((size_t)1 << 20)
#define CHAT_TEMPLATES "additional_chat_templates" /* the one folder that transformers writes */

/* No fsync for each small file: with gigabytes of shards dirty each would wait for all of them. */
bool ig_writer_add(struct ig_writer *w, const char *name, struct ig_slice bytes, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    if (w->whole || w->rank > 0) return true;
    if (!ig_path_join(path, w->partial, name, err)) return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return ig_err_errno(err, errno, "cannot create '%s'", path);
    bool ok = ig_file_pwrite(fd, path, 0, bytes.ptr, bytes.len, err);
    if (close(fd) != 0 && ok) ok = ig_err_errno(err, errno, "cannot write '%s'", path);
    return ok;
}

/* ---- carrying files over ---- */

static const char *const made_anew[] = {STORE_CONFIG_NAME, "README.md", "ingot.json",
                                        "sketchbook.jsonl"};
/* Weights in any form, and the indices that name them. */
static const char *const weight_suffixes[] = {
    STORE_SUFFIX, ".index.json", ".bin", ".pt",  ".pth",     ".ckpt",   ".gguf",
    ".ggml",      ".onnx",       ".h5",  ".npz", ".msgpack", ".partial"};

static bool is_carried(const char *name)
{
    struct ig_slice text = ig_slice_of(name);
    if (*name == '.' || ig_slice_starts(text, JOURNAL_NAME)) return false;
    for (size_t i = 0; i < sizeof made_anew / sizeof *made_anew; i++)
        if (strcmp(name, made_anew[i]) == 0) return false;
    for (size_t i = 0; i < sizeof weight_suffixes / sizeof *weight_suffixes; i++)
        if (ig_slice_ends(text, weight_suffixes[i])) return false;
    return true;
}

static bool copy_bytes(int from, const char *from_path, int to, const char *to_path,
                       struct ig_err *err)
{
    uint64_t size;
    if (!ig_file_size(from, from_path, &size, err)) return false;
    char *bytes = malloc(COPY_BYTES);
    bool ok = bytes || ig_err_nomem(err);
    for (uint64_t at = 0; ok && at < size; at += COPY_BYTES) {
        size_t n = size - at < COPY_BYTES ? (size_t)(size - at) : COPY_BYTES;
        ok = ig_file_pread(from, from_path, at, bytes, n, err) &&
             ig_file_pwrite(to, to_path, at, bytes, n, err);
    }
    free(bytes);
    return ok;
}

static bool copy_file(const char *from_path, const char *to_path, struct ig_err *err)
{
    int from = ig_file_open(from_path, err);
    if (from < 0) return false;
    int to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool ok = to >= 0 ? copy_bytes(from, from_path, to, to_path, err)
                      : ig_err_errno(err, errno, "cannot create '%s'", to_path);
    if (to >= 0 && close(to) != 0 && ok)
        ok = ig_err_errno(err, errno, "cannot write '%s'", to_path);
    close(from);
    return ok;
}

struct carrying {
    const char *from, *to;
    bool nested; /* inside CHAT_TEMPLATES: no folders are looked for */
    const char *const *but;
    struct ig_err *err;
    bool failed;
};

static bool carry_folder(const char *from, const char *to, bool nested, const char *const *but,
                         struct ig_err *err);

/* stat, not lstat: the Hub's cache is made of links. */
static bool carry_entry(void *user, const char *name) /* NOLINT(misc-no-recursion): once */
{
    struct carrying *c = user;
    char from[IG_PATH_MAX], to[IG_PATH_MAX];
    struct stat st;
    if (!is_carried(name)) return true;
    for (const char *const *p = c->but; *p; p++)
        if (strcmp(name, *p) == 0) return true;
    if (!ig_path_join(from, c->from, name, c->err) || !ig_path_join(to, c->to, name, c->err))
        c->failed = true;
    else if (stat(from, &st) != 0)
        c->failed = !ig_err_errno(c->err, errno, "cannot copy '%s'", from);
    else if (S_ISREG(st.st_mode))
        c->failed = !copy_file(from, to, c->err);
    else if (S_ISDIR(st.st_mode) && !c->nested && strcmp(name, CHAT_TEMPLATES) == 0)
        c->failed = !ig_dir_make(to, c->err) || !carry_folder(from, to, true, c->but, c->err);
    return !c->failed;
}

static bool carry_folder(const char *from, const char *to, /* NOLINT(misc-no-recursion): once */
                         bool nested, const char *const *but, struct ig_err *err)
{
    struct carrying c = {.from = from, .to = to, .nested = nested, .but = but, .err = err};
    return ig_dir_list(from, carry_entry, &c, err) && !c.failed;
}

bool ig_writer_carry_but(struct ig_writer *w, const char *model_dir, const char *const *names,
                         struct ig_err *err)
{
    if (w->whole || w->rank > 0 || !ig_path_is_dir(model_dir))
        return true; /* a single file has no company */
    return carry_folder(model_dir, w->partial, false, names, err);
}

bool ig_writer_carry(struct ig_writer *w, const char *model_dir, struct ig_err *err)
{
    static const char *const none[] = {NULL};
    return ig_writer_carry_but(w, model_dir, none, err);
}

/* ---- finishing ---- */

static bool write_index(struct ig_writer *w, struct ig_err *err)
{
    struct ig_buf text = {0};
    if (w->shards.count == 1 && !w->plan.index_always) return true;
    bool ok = store__shards_index(&w->plan, &w->shards, &text, err) &&
              ig_writer_add(w, STORE_INDEX_NAME, ig_buf_view(&text), err);
    ig_buf_release(&text);
    return ok;
}

struct syncing {
    const char *dir;
    struct ig_err *err;
    bool failed;
};

static bool sync_folder(const char *dir, struct ig_err *err);

static bool sync_entry(void *user,
                       const char *name) /* NOLINT(misc-no-recursion): as deep as carried */
{
    struct syncing *s = user;
    char path[IG_PATH_MAX];
    if (!ig_path_join(path, s->dir, name, s->err)) {
        s->failed = true;
    } else if (ig_path_is_dir(path)) {
        s->failed = !sync_folder(path, s->err);
    } else {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        s->failed = fd < 0 || fsync(fd) != 0;
        if (s->failed) ig_err_errno(s->err, errno, "cannot write '%s'", path);
        if (fd >= 0) close(fd);
    }
    return !s->failed;
}

/* All files' bytes, then the folder's names. */
static bool sync_folder(const char *dir, struct ig_err *err) /* NOLINT(misc-no-recursion) */
{
    struct syncing s = {.dir = dir, .err = err};
    return ig_dir_list(dir, sync_entry, &s, err) && !s.failed && ig_dir_sync(dir, err);
}

/* Makes the new name of the folder durable. */
static bool sync_parent(const char *path, struct ig_err *err)
{
    char parent[IG_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (!slash) return ig_dir_sync(".", err);
    if (len == 0) return ig_dir_sync("/", err);
    memcpy(parent, path, len);
    parent[len] = '\0';
    return ig_dir_sync(parent, err);
}

/* An old OUT changes places with the new one in one step where the file system can. */
static bool take_name(struct ig_writer *w, struct ig_err *err)
{
    char old[IG_PATH_MAX];
    if (!ig_path_exists(w->out)) {
        if (rename(w->partial, w->out) == 0) return true;
        return ig_err_errno(err, errno, "cannot rename '%s' to '%s'", w->partial, w->out);
    }
    if (!w->plan.force)
        return ig_err_set(err, IG_ERR_USAGE,
                          "'%s' has appeared meanwhile; the new model is in '%s'", w->out,
                          w->partial);
    if (store__disk_exchange(w->partial, w->out) == 0) return ig_dir_remove(w->partial, err);
    if (snprintf(old, sizeof old, "%s.old", w->out) >= (int)sizeof old)
        return ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", w->out);
    if (rename(w->out, old) != 0)
        return ig_err_errno(err, errno, "cannot rename '%s' to '%s'", w->out, old);
    if (rename(w->partial, w->out) == 0) return ig_dir_remove(old, err);
    ig_err_errno(err, errno, "cannot replace '%s' by '%s'", w->out, w->partial);
    if (rename(old, w->out) != 0) ig_err_within(err, "the old model is in '%s' now", old);
    return false;
}

static bool finish(struct ig_writer *w, struct ig_err *err)
{
    bool sync = !w->plan.no_sync;
    if (w->whole) return w->plan.keep_journal || store__journal_forget(&w->journal, err);
    for (int64_t i = 0; i < w->plan.count; i++)
        if (!ig_writer_has(w, i))
            return ig_err_set(err, IG_ERR_BUG, "tensor '" IG_SLICE_FMT "' was never finished",
                              IG_SLICE_ARG(w->plan.tensors[i].name));
    if (!write_index(w, err) || !store__flush(w, err)) return false;
    if (w->plan.resume && !store__forget_ranks(w, err)) return false;
    if (sync && !sync_folder(w->partial, err)) return false;
    if (!store__journal_set_aside(&w->journal, err)) return false;
    w->owns_partial = false;
    if (!take_name(w, err)) return false;
    store__journal_close(&w->journal);
    if (sync && !sync_parent(w->out, err)) return false;
    return w->plan.keep_journal || store__journal_forget(&w->journal, err);
}

bool ig_writer_finish(struct ig_writer *w, struct ig_err *err)
{
    return ig_dist_meet(w->plan.dist, w->rank > 0 || finish(w, err), err);
}

bool ig_writer_discard(struct ig_writer *w, struct ig_err *err)
{
    if (rename(w->out, w->partial) != 0)
        return ig_err_errno(err, errno, "cannot rename '%s' to '%s'", w->out, w->partial);
    return ig_dir_remove(w->partial, err) && store__journal_forget(&w->journal, err);
}

bool ig_writer_left(const char *out)
{
    struct ig_err ignored;
    struct store_journal journal;
    char partial[IG_PATH_MAX];
    size_t len = strlen(out);
    while (len > 1 && out[len - 1] == '/')
        len--;
    if (len + sizeof ".partial" > sizeof partial) return false;
    snprintf(partial, sizeof partial, "%.*s.partial", (int)len, out);
    return ig_path_exists(partial) ||
           (store__journal_name(&journal, partial, 0, &ignored) && ig_path_exists(journal.aside));
}

/* ---- several outputs ---- */

/* Beside the outputs, while their journals are removed one by one: the digests of their plans. */
#define FINISHED_NAME      "ingot.finished"
#define FINISHED_BYTES_MAX ((size_t)4096)

static bool finished_path(const struct ig_writer *w, char out[IG_PATH_MAX], struct ig_err *err)
{
    char parent[IG_PATH_MAX];
    const char *slash = strrchr(w->out, '/');
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - w->out) : 1,
             slash ? w->out : ".");
    return ig_path_join(out, parent, FINISHED_NAME, err);
}

bool store__is_finished(const struct ig_writer *w, bool *yes, struct ig_err *err)
{
    char path[IG_PATH_MAX], hex[IG_DIGEST_HEX];
    struct ig_buf text = {0};
    *yes = false;
    if (!w->plan.keep_journal) return true;
    if (!finished_path(w, path, err)) return false;
    if (!ig_path_exists(path)) return true;
    if (!ig_file_read(path, FINISHED_BYTES_MAX, &text, err)) return false;
    ig_digest_hex(w->plan_digest, hex);
    *yes = ig_slice_find(ig_buf_view(&text), ig_slice_of(hex)) != NULL;
    ig_buf_release(&text);
    return true;
}

bool ig_writers_forget(struct ig_writer *const *writers, int count, struct ig_err *err)
{
    char path[IG_PATH_MAX], hex[IG_DIGEST_HEX];
    struct ig_buf text = {0};
    if (count < 2 || writers[0]->rank > 0) return true;
    if (!finished_path(writers[0], path, err)) return false;
    for (int i = 0; i < count; i++) {
        ig_digest_hex(writers[i]->plan_digest, hex);
        ig_buf_printf(&text, "%s\n", hex);
    }
    bool ok = ig_buf_ok(&text, err) && ig_file_write(path, ig_buf_view(&text), err);
    for (int i = 0; ok && i < count; i++)
        ok = store__journal_forget(&writers[i]->journal, err);
    if (ok && unlink(path) != 0) ok = ig_err_errno(err, errno, "cannot remove '%s'", path);
    ig_buf_release(&text);
    return ok;
}

/* ---- what may be replaced ---- */

struct looking {
    bool model, anything;
};

static bool look_at_entry(void *user, const char *name)
{
    struct looking *l = user;
    l->anything = true;
    l->model =
        strcmp(name, STORE_CONFIG_NAME) == 0 || ig_slice_ends(ig_slice_of(name), STORE_SUFFIX);
    return !l->model;
}

/* --force replaces models, not the folder that all models are in, nor a home. */
bool store__check_replaceable(const struct ig_writer *w, struct ig_err *err)
{
    struct looking l = {0};
    if (!ig_path_exists(w->out)) return true;
    if (!w->plan.force)
        return ig_err_set(err, IG_ERR_USAGE, "'%s' exists: choose another name, or use --force",
                          w->out);
    if (ig_path_is_dir(w->out) && !ig_dir_list(w->out, look_at_entry, &l, err)) return false;
    if (ig_path_is_dir(w->out) && (l.model || !l.anything)) return true;
    return ig_err_set(err, IG_ERR_USAGE, "'%s' exists and is no model folder: it is not replaced",
                      w->out);
}
