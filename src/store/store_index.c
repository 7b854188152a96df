/* SPDX-License-Identifier: Apache-2.0
 * store_index — which files hold a folder's model. As transformers looks: model.safetensors, else
 * the files that model.safetensors.index.json names; then, as mlx-lm does without an index, all
 * model*.safetensors; and last, any *.safetensors. */
#include "base/map.h"
#include "store_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool add_name(struct store_files *files, struct ig_slice name, struct ig_arena *arena,
                     struct ig_err *err)
{
    if (files->count == STORE_FILES_MAX)
        return ig_err_set(err, IG_ERR_DATA, "more than %d safetensors files", STORE_FILES_MAX);
    if (!files->names) files->names = ig_arena_array(arena, STORE_FILES_MAX, sizeof(*files->names));
    struct ig_slice copy = files->names ? ig_arena_copy(arena, name) : (struct ig_slice){0};
    if (!copy.ptr) return ig_err_nomem(err);
    files->names[files->count++] = copy;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return ig_slice_compare(*(const struct ig_slice *)a, *(const struct ig_slice *)b);
}

/* A file of the folder itself, so that an index cannot lead out of it. */
static bool is_plain_name(struct ig_slice name)
{
    return name.len > 0 && name.len < 256 && name.ptr[0] != '.' &&
           !memchr(name.ptr, '/', name.len) && !memchr(name.ptr, '\0', name.len);
}

/* The distinct files of a weight_map. */
static bool collect_mapped(const struct ig_json *map, struct ig_arena *arena,
                           struct store_files *files, struct ig_err *err)
{
    bool ok = false;
    struct ig_map seen = {0};
    struct ig_slice last = {0};
    for (uint32_t i = 0; i < map->count; i++) {
        const struct ig_json *item = &map->items[i];
        struct ig_slice file = ig_json_text(item);
        if (ig_slice_equal(file, last) && last.ptr) continue;
        if (!file.ptr || !is_plain_name(file)) {
            ig_err_set(err, IG_ERR_DATA,
                       "weight_map: tensor '" IG_SLICE_FMT "' has no plain file name",
                       IG_SLICE_ARG(item->key));
            goto done;
        }
        last = file;
        if (ig_map_get(&seen, file, -1) >= 0) continue;
        if (!ig_map_put(&seen, file, i, err) || !add_name(files, file, arena, err)) goto done;
    }
    if (files->count) qsort(files->names, (size_t)files->count, sizeof(*files->names), by_name);
    ok = true;
done:
    ig_map_release(&seen);
    return ok;
}

static bool read_index(const char *path, struct ig_arena *arena, struct store_files *files,
                       struct ig_err *err)
{
    bool ok = false;
    struct ig_buf text = {0};
    if (!ig_file_read(path, STORE_INDEX_BYTES_MAX, &text, err)) goto done;
    const struct ig_json *root = ig_json_parse(ig_buf_view(&text), arena, err);
    if (!root) goto within;
    const struct ig_json *map = ig_json_get(root, "weight_map");
    if (!map || map->type != IG_JSON_OBJECT || map->count == 0) {
        ig_err_set(err, IG_ERR_DATA, "no weight_map that names a tensor");
        goto within;
    }
    if (!collect_mapped(map, arena, files, err)) goto within;
    files->map = map;
    ok = true;
    goto done;
within:
    ig_err_within(err, "'%s'", STORE_INDEX_NAME);
done:
    ig_buf_release(&text);
    return ok;
}

struct listing {
    struct ig_arena *arena;
    struct store_files *files;
    const char *prefix;
    struct ig_err *err;
    bool failed;
};

static bool take_entry(void *user, const char *name)
{
    struct listing *l = user;
    struct ig_slice text = ig_slice_of(name);
    if (!ig_slice_starts(text, l->prefix) || !ig_slice_ends(text, STORE_SUFFIX) || *name == '.')
        return true;
    l->failed = !add_name(l->files, text, l->arena, l->err);
    return !l->failed;
}

static bool list_files(const char *dir, const char *prefix, struct ig_arena *arena,
                       struct store_files *files, struct ig_err *err)
{
    struct listing l = {.arena = arena, .files = files, .prefix = prefix, .err = err};
    return ig_dir_list(dir, take_entry, &l, err) && !l.failed;
}

/* "model-00002-of-00003.safetensors": its number and the count; false for other names. */
static bool shard_number(const char *name, int *number, int *count)
{
    const char *dash = strrchr(name, '-');
    if (!dash || dash - name < 9) return false;
    int end = 0;
    const char *from = dash - 9; /* "-00002-of-00003": five digits on both sides */
    return sscanf(from, "-%5d-of-%5d%n", number, count, &end) == 2 &&
           strcmp(from + end, STORE_SUFFIX) == 0;
}

/* Without an index the names themselves say whether a shard is missing. */
static bool check_series(const struct store_files *files, struct ig_err *err)
{
    int number, count, found = 0;
    if (files->count == 0 || !shard_number(files->names[0].ptr, &number, &count)) return true;
    for (int i = 0; i < files->count; i++) {
        int n, c;
        if (!shard_number(files->names[i].ptr, &n, &c) || c != count) return true; /* mixed names */
        found++;
        if (n != found)
            return ig_err_set(err, IG_ERR_DATA,
                              "shard %d of %d is missing before '%s': download it again", found,
                              count, files->names[i].ptr);
    }
    if (found < count)
        return ig_err_set(err, IG_ERR_DATA,
                          "shard %d of %d is missing after '%s': download it again", found + 1,
                          count, files->names[files->count - 1].ptr);
    return true;
}

static bool names_file(const struct store_files *files, const char *name)
{
    for (int i = 0; i < files->count; i++)
        if (ig_slice_is(files->names[i], name)) return true;
    return false;
}

bool store__find_files(const char *dir, struct ig_arena *arena, struct store_files *out,
                       struct ig_err *err)
{
    char index[IG_PATH_MAX], single[IG_PATH_MAX];
    struct store_files files = {0};
    if (!ig_path_join(index, dir, STORE_INDEX_NAME, err) ||
        !ig_path_join(single, dir, STORE_SINGLE_NAME, err))
        return false;
    bool has_single = ig_path_exists(single);
    if (ig_path_exists(index) && !read_index(index, arena, &files, err)) return false;
    if (has_single && files.map && !names_file(&files, STORE_SINGLE_NAME)) {
        files.warning = "'" STORE_INDEX_NAME "' does not name '" STORE_SINGLE_NAME
                        "', which is there: the index is ignored";
        files.map = NULL;
        files.count = 0;
    }
    if (!files.map && has_single && !add_name(&files, ig_slice_of(STORE_SINGLE_NAME), arena, err))
        return false;
    if (files.count == 0 && !list_files(dir, "model", arena, &files, err)) return false;
    if (files.count == 0 && !list_files(dir, "", arena, &files, err)) return false;
    if (files.count == 0)
        return ig_err_set(err, IG_ERR_DATA,
                          "no *.safetensors file in it (.bin, .pt and .gguf are not read)");
    if (!files.map && !check_series(&files, err)) return false;
    *out = files;
    return true;
}
