/* SPDX-License-Identifier: Apache-2.0
 * store — a model folder opened for reading: all headers checked, tensors in one sorted list. */
#include "base/check.h"
#include "base/map.h"
#include "store_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/port.h"

#define WARNINGS_MAX 4

struct store_file {
    const char *name;
    int fd;
    uint64_t bytes;
    struct timespec changed; /* when it was opened */
    struct ig_digest header;
    char *mapping; /* NULL until asked for; guarded by ig_store.lock */
};

struct ig_store {
    struct ig_arena arena; /* paths, names, tensors, config */
    const char *path;
    const char *dir; /* that the files are in */
    struct store_file *files;
    int file_count;
    struct ig_tensor *tensors;
    int64_t count;
    uint64_t bytes;
    struct ig_map by_name;
    const struct ig_json *config;
    const char *warnings[WARNINGS_MAX];
    int warning_count;
    char identity[IG_DIGEST_HEX]; /* of names, sizes, headers and config.json */
    pthread_mutex_t lock;
};

/* What exists only while a store is being opened. */
struct opening {
    struct ig_store *store;
    struct ig_arena arena; /* the index */
    struct ig_digest_state *identity;
    struct store_files found;
    struct ig_tensor *parts[STORE_FILES_MAX];
    int64_t part_counts[STORE_FILES_MAX];
};

static const char *copy_text(struct ig_arena *arena, const char *text)
{
    return ig_arena_copy(arena, ig_slice_of(text)).ptr;
}

static bool file_path(const struct ig_store *store, int file, char out[IG_PATH_MAX],
                      struct ig_err *err)
{
    return ig_path_join(out, store->dir, store->files[file].name, err);
}

static void feed_u64(struct ig_digest_state *state, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    ig_digest_feed(state, bytes, sizeof bytes);
}

static void feed_text(struct ig_digest_state *state, struct ig_slice text)
{
    feed_u64(state, text.len);
    ig_digest_feed(state, text.ptr, text.len);
}

static bool open_file(struct opening *o, int index, const char *path, struct ig_err *err)
{
    struct store_file *file = &o->store->files[index];
    struct stat st;
    file->fd = ig_file_open(path, err);
    if (file->fd < 0) return false;
    if (fstat(file->fd, &st) != 0) return ig_err_errno(err, errno, "cannot stat '%s'", path);
    file->bytes = (uint64_t)st.st_size;
    file->changed = st.st_mtim;
    feed_text(o->identity, ig_slice_of(file->name));
    feed_u64(o->identity, file->bytes);
    return true;
}

static bool read_header(struct opening *o, int index, struct ig_err *err)
{
    struct ig_store *store = o->store;
    struct store_file *file = &store->files[index];
    char path[IG_PATH_MAX], *text = NULL;
    unsigned char first[STORE_LENGTH_BYTES];
    uint64_t length;
    bool ok = false;
    if (!file_path(store, index, path, err) || !open_file(o, index, path, err)) return false;
    size_t have = file->bytes < sizeof first ? 0 : sizeof first;
    if (!ig_file_pread(file->fd, path, 0, first, have, err)) return false;
    if (!store__header_length(first, file->bytes, &length, err)) goto done;
    text = malloc(length + 1);
    if (!text) {
        ig_err_nomem(err);
        goto done;
    }
    if (!ig_file_pread(file->fd, path, STORE_LENGTH_BYTES, text, length, err)) {
        free(text); /* the message has the file's name */
        return false;
    }
    feed_text(o->identity, ig_slice_make(text, length));
    file->header = ig_digest_of(text, length);
    ok = store__header_parse(ig_slice_make(text, length), file->bytes, &store->arena,
                             &o->parts[index], &o->part_counts[index], err);
done:
    free(text);
    if (!ok) ig_err_within(err, "'%s'", file->name);
    return ok;
}

static bool list_one_file(struct opening *o, const char *path, struct ig_err *err)
{
    struct ig_store *store = o->store;
    const char *slash = strrchr(path, '/');
    struct ig_slice dir = ig_slice_make(path, slash ? (size_t)(slash - path) + 1 : 0);
    store->dir = ig_arena_copy(&store->arena, dir).ptr;
    store->files = ig_arena_array(&store->arena, 1, sizeof(*store->files));
    const char *name = copy_text(&store->arena, slash ? slash + 1 : path);
    if (!store->dir || !store->files || !name) return ig_err_nomem(err);
    store->files[0] = (struct store_file){.name = name, .fd = -1};
    store->file_count = 1;
    return true;
}

static bool list_folder(struct opening *o, const char *path, struct ig_err *err)
{
    struct ig_store *store = o->store;
    if (!store__find_files(path, &o->arena, &o->found, err)) return false;
    store->dir = store->path;
    store->files = ig_arena_array(&store->arena, (size_t)o->found.count, sizeof(*store->files));
    if (!store->files) return ig_err_nomem(err);
    for (int i = 0; i < o->found.count; i++) {
        const char *name = ig_arena_copy(&store->arena, o->found.names[i]).ptr;
        if (!name) return ig_err_nomem(err);
        store->files[i] = (struct store_file){.name = name, .fd = -1};
        store->file_count = i + 1;
    }
    if (o->found.warning) store->warnings[store->warning_count++] = o->found.warning;
    return true;
}

static bool check_shards_exist(const struct ig_store *store, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    for (int i = 0; i < store->file_count; i++) {
        if (!file_path(store, i, path, err)) return false;
        if (!ig_path_exists(path))
            return ig_err_set(err, IG_ERR_DATA,
                              "shard '%s' named by the index is missing: download it again",
                              store->files[i].name);
    }
    return true;
}

static bool map_index(const struct ig_json *index, struct ig_map *out, struct ig_err *err)
{
    for (uint32_t i = 0; index && i < index->count; i++)
        if (!ig_map_put(out, index->items[i].key, i, err)) return false;
    return true;
}

/* Of a name in two shards the index knows the right one; without an index nobody does. */
static bool drop_doubles(struct opening *o, struct ig_err *err)
{
    struct ig_store *store = o->store;
    int64_t kept = 0;
    struct ig_map wanted = {0}; /* made for the first such name: models have none */
    bool ok = false;
    for (int64_t i = 0; i < store->count; i++) {
        struct ig_tensor *t = &store->tensors[i];
        if (kept == 0 || !ig_slice_equal(store->tensors[kept - 1].name, t->name)) {
            store->tensors[kept++] = *t;
            continue;
        }
        struct ig_tensor *other = &store->tensors[kept - 1];
        if (wanted.count == 0 && !map_index(o->found.map, &wanted, err)) goto done;
        int64_t m = ig_map_get(&wanted, t->name, -1);
        if (m < 0) {
            ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' is in '%s' and in '%s'",
                       IG_SLICE_ARG(t->name), store->files[other->file].name,
                       store->files[t->file].name);
            goto done;
        }
        if (ig_slice_is(ig_json_text(&o->found.map->items[m]), store->files[t->file].name))
            *other = *t;
    }
    store->count = kept;
    ok = true;
done:
    ig_map_release(&wanted);
    return ok;
}

/* One sorted list out of the shards' lists. */
static bool join_parts(struct opening *o, struct ig_err *err)
{
    struct ig_store *store = o->store;
    for (int f = 0; f < store->file_count; f++)
        store->count += o->part_counts[f];
    store->tensors = store->file_count == 1 ? o->parts[0]
                                            : ig_arena_array(&store->arena, (size_t)store->count,
                                                             sizeof(*store->tensors));
    if (!store->tensors) return ig_err_nomem(err);
    int64_t n = 0;
    for (int f = 0; f < store->file_count && store->file_count > 1; f++) {
        for (int64_t i = 0; i < o->part_counts[f]; i++) {
            store->tensors[n] = o->parts[f][i];
            store->tensors[n++].file = f;
        }
    }
    if (store->file_count > 1) {
        qsort(store->tensors, (size_t)store->count, sizeof(*store->tensors), store__compare_names);
        if (!drop_doubles(o, err)) return false;
    }
    for (int64_t i = 0; i < store->count; i++) {
        if (!ig_map_put(&store->by_name, store->tensors[i].name, i, err)) return false;
        store->bytes += store->tensors[i].bytes;
    }
    return true;
}

/* Every tensor that the index names is where it says; those it does not name are told about. */
static bool check_index(struct opening *o, struct ig_err *err)
{
    struct ig_store *store = o->store;
    const struct ig_json *map = o->found.map;
    if (!map) return true;
    for (uint32_t i = 0; i < map->count; i++) {
        const struct ig_json *item = &map->items[i];
        const struct ig_tensor *t = ig_store_find(store, item->key);
        if (t && ig_slice_is(ig_json_text(item), store->files[t->file].name)) continue;
        ig_err_set(err, IG_ERR_DATA,
                   "the index says tensor '" IG_SLICE_FMT "' is in '" IG_SLICE_FMT "', ",
                   IG_SLICE_ARG(item->key), IG_SLICE_ARG(ig_json_text(item)));
        size_t len = strlen(err->text);
        snprintf(err->text + len, sizeof err->text - len,
                 t ? "but it is in '%s'" : "but it is not%s", t ? store->files[t->file].name : "");
        return false;
    }
    /* Equal counts and every entry found: the same names, unless the index says one twice. */
    if ((int64_t)map->count >= store->count) return true;
    char text[96];
    snprintf(text, sizeof text,
             "%" PRId64 " tensors of the shards are not in the index; they are read too",
             store->count - (int64_t)map->count);
    store->warnings[store->warning_count] = copy_text(&store->arena, text);
    if (!store->warnings[store->warning_count]) return ig_err_nomem(err);
    store->warning_count++;
    return true;
}

static bool read_config(struct opening *o, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    if (!ig_path_join(path, o->store->dir, STORE_CONFIG_NAME, err)) return false;
    if (!ig_path_exists(path)) return true;
    bool ok = ig_file_read(path, STORE_CONFIG_BYTES_MAX, &text, err);
    if (ok) {
        feed_text(o->identity, ig_buf_view(&text));
        o->store->config = ig_json_parse(ig_buf_view(&text), &o->store->arena, err);
        ok = o->store->config != NULL;
        if (!ok) ig_err_within(err, "'" STORE_CONFIG_NAME "'");
    }
    ig_buf_release(&text);
    return ok;
}

static bool open_all(struct opening *o, const char *path, struct ig_err *err)
{
    struct ig_store *store = o->store;
    store->path = copy_text(&store->arena, path);
    if (!store->path) return ig_err_nomem(err);
    if (!ig_path_exists(path)) return ig_err_set(err, IG_ERR_IO, "no such file or folder");
    bool folder = ig_path_is_dir(path);
    if (!(folder ? list_folder(o, path, err) : list_one_file(o, path, err))) return false;
    if (o->found.map && !check_shards_exist(store, err)) return false;
    for (int f = 0; f < store->file_count; f++)
        if (!read_header(o, f, err)) return false;
    if (!join_parts(o, err) || !check_index(o, err)) return false;
    if (folder && !read_config(o, err)) return false;
    ig_digest_hex(ig_digest_end(o->identity), store->identity);
    return true;
}

bool ig_store_open(const char *path, struct ig_store **out, struct ig_err *err)
{
    bool ok = false;
    struct opening *o = calloc(1, sizeof(*o));
    struct ig_store *store = calloc(1, sizeof(*store));
    if (store) pthread_mutex_init(&store->lock, NULL);
    struct ig_digest_state *identity = ig_digest_new();
    if (!o || !store || !identity) {
        ig_err_nomem(err);
        goto done;
    }
    o->store = store;
    o->identity = identity;
    if (!open_all(o, path, err)) {
        ig_err_within(err, "cannot open model '%s'", path);
        goto done;
    }
    *out = store;
    store = NULL;
    ok = true;
done:
    if (o) ig_arena_release(&o->arena);
    free(o);
    ig_digest_free(identity);
    ig_store_close(store);
    return ok;
}

void ig_store_close(struct ig_store *store)
{
    if (!store) return;
    for (int f = 0; f < store->file_count; f++) {
        if (store->files[f].mapping) munmap(store->files[f].mapping, store->files[f].bytes);
        if (store->files[f].fd >= 0) close(store->files[f].fd);
    }
    ig_map_release(&store->by_name);
    pthread_mutex_destroy(&store->lock);
    ig_arena_release(&store->arena);
    free(store);
}

int64_t ig_store_count(const struct ig_store *store)
{
    return store->count;
}

const struct ig_tensor *ig_store_at(const struct ig_store *store, int64_t index)
{
    IG_ASSERT(index >= 0 && index < store->count);
    return &store->tensors[index];
}

const struct ig_tensor *ig_store_find(const struct ig_store *store, struct ig_slice name)
{
    int64_t index = ig_map_get(&store->by_name, name, -1);
    return index < 0 ? NULL : &store->tensors[index];
}

const char *ig_store_path(const struct ig_store *store)
{
    return store->path;
}

const char *ig_store_file(const struct ig_store *store, int file)
{
    IG_ASSERT(file >= 0 && file < store->file_count);
    return store->files[file].name;
}

int ig_store_file_count(const struct ig_store *store)
{
    return store->file_count;
}

const struct ig_json *ig_store_config(const struct ig_store *store)
{
    return store->config;
}

uint64_t ig_store_bytes(const struct ig_store *store)
{
    return store->bytes;
}

const char *ig_store_identity(const struct ig_store *store)
{
    return store->identity;
}

const char *store__file_mark(const struct ig_store *store, int file, struct store_mark *out)
{
    const struct store_file *f = &store->files[file];
    *out = (struct store_mark){f->bytes, f->changed, f->header};
    return store->dir;
}

const char *ig_store_warning(const struct ig_store *store, int index)
{
    return index >= 0 && index < store->warning_count ? store->warnings[index] : NULL;
}

void ig_store_warn(const struct ig_store *store, const struct ig_watch *watch)
{
    for (int i = 0; i < store->warning_count; i++)
        ig_watch_warn(watch, "model '%s': %s", store->path, store->warnings[i]);
}

bool ig_store_read(const struct ig_store *store, const struct ig_tensor *tensor, size_t first,
                   size_t bytes, void *out, struct ig_err *err)
{
    IG_ASSERT(first <= tensor->bytes && bytes <= tensor->bytes - first);
    char path[IG_PATH_MAX];
    if (!file_path(store, tensor->file, path, err)) return false;
    if (ig_file_pread(store->files[tensor->file].fd, path, tensor->offset + first, out, bytes, err))
        return true;
    return ig_err_within(err, "tensor '" IG_SLICE_FMT "'", IG_SLICE_ARG(tensor->name));
}

bool ig_store_check_output(const struct ig_store *store, const char *out, struct ig_err *err)
{
    return !ig_path_is_in(ig_store_path(store), out) ||
           ig_err_set(err, IG_ERR_USAGE, "'%s' is an input or holds one: choose another output",
                      out);
}

bool ig_store_unchanged(const struct ig_store *store, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct stat st;
    for (int f = 0; f < store->file_count; f++) {
        const struct store_file *file = &store->files[f];
        if (!file_path(store, f, path, err)) return false;
        if (fstat(file->fd, &st) != 0) return ig_err_errno(err, errno, "cannot stat '%s'", path);
        if ((uint64_t)st.st_size == file->bytes && st.st_mtim.tv_sec == file->changed.tv_sec &&
            st.st_mtim.tv_nsec == file->changed.tv_nsec)
            continue;
        return ig_err_set(err, IG_ERR_DATA,
                          "'%s' has changed while it was read: what was made of it is of no use",
                          path);
    }
    return true;
}

/* Asks for the pages behind a tensor in the background: an engine is going to read all of them. */
static void prefetch(const char *bytes, size_t count)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t skew = (uintptr_t)bytes % page;
    if (count) madvise((void *)((uintptr_t)bytes - skew), count + skew, MADV_WILLNEED);
}

const void *ig_store_map_lazily(struct ig_store *store, const struct ig_tensor *tensor,
                                struct ig_err *err)
{
    struct store_file *file = &store->files[tensor->file];
    pthread_mutex_lock(&store->lock);
    if (!file->mapping) {
        void *mapping = mmap(NULL, file->bytes, PROT_READ, MAP_SHARED, file->fd, 0);
        if (mapping != MAP_FAILED)
            file->mapping = mapping;
        else
            ig_err_errno(err, errno, "cannot map '%s/%s'", store->dir, file->name);
    }
    char *mapping = file->mapping;
    pthread_mutex_unlock(&store->lock);
    return mapping ? mapping + tensor->offset : NULL;
}

const void *ig_store_map(struct ig_store *store, const struct ig_tensor *tensor, struct ig_err *err)
{
    const char *bytes = ig_store_map_lazily(store, tensor, err);
    if (bytes) prefetch(bytes, tensor->bytes);
    return bytes;
}
