/* SPDX-License-Identifier: Apache-2.0
 * listing — the Hub's answer about a revision, and which of its files are wanted.
 *
 *     GET /api/models/ORG/NAME/revision/REV?blobs=true
 *     {"sha": COMMIT, "siblings": [{"rfilename": PATH, "size": N, "blobId": SHA-1 of git,
 *                                   "lfs": {"sha256": .., "size": N, "pointerSize": n}}, ..], ..}
 * The server is not trusted: a path becomes a name below a folder of ours. */
#include "hub/hub_internal.h"
#include "ingot/json.h"

#include <fnmatch.h>
#include <stdlib.h>

#define PART_MAX 255 /* a name in a folder, on every common file system */

static bool is_part(struct ig_slice part)
{
    if (part.len == 0 || part.len > PART_MAX) return false;
    if (ig_slice_is(part, ".") || ig_slice_is(part, "..")) return false;
    bool drive =
        part.len > 1 && part.ptr[1] == ':'; /* as huggingface_hub: also meant for Windows */
    return !drive;
}

bool hub__is_path(struct ig_slice path)
{
    if (path.len == 0 || path.len > HUB_PATH_MAX) return false;
    for (size_t i = 0; i < path.len; i++) {
        unsigned char c = (unsigned char)path.ptr[i];
        if (c < ' ' || c == 0x7F || c == '\\') return false;
    }
    for (size_t first = 0, i = 0; i <= path.len; i++) {
        if (i < path.len && path.ptr[i] != '/') continue;
        if (!is_part(ig_slice_make(path.ptr + first, i - first))) return false;
        first = i + 1;
    }
    return true;
}

static bool read_size(const struct ig_json *node, uint64_t *out)
{
    int64_t size;
    if (!ig_json_int(node, &size) || size < 0) return false;
    *out = (uint64_t)size;
    return true;
}

static void copy_hex(char out[HUB_HEX_MAX], struct ig_slice text)
{
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
}

static bool read_file(const struct ig_json *node, struct hub_file *out, struct ig_err *err)
{
    out->path = ig_json_text(ig_json_get(node, "rfilename"));
    if (!hub__is_path(out->path)) {
        struct ig_buf shown = {.len_max = 256};
        ig_json_quote(&shown, ig_slice_make(out->path.ptr, out->path.len > 64 ? 64 : out->path.len),
                      true);
        ig_err_set(err, IG_ERR_DATA, "the repository has a file with the name %s: refused",
                   shown.data ? shown.data : "");
        ig_buf_release(&shown);
        return false;
    }
    const struct ig_json *lfs = ig_json_get(node, "lfs");
    struct ig_slice blob = ig_json_text(ig_json_get(node, "blobId"));
    struct ig_slice sha = ig_json_text(ig_json_get(lfs, "sha256"));
    bool sized = read_size(ig_json_get(node, "size"), &out->bytes);
    if (hub__is_hex(blob, 40)) copy_hex(out->git, blob);
    if (lfs && lfs->type == IG_JSON_OBJECT) {
        out->is_lfs = true;
        if (!hub__is_hex(sha, 64) || !read_size(ig_json_get(lfs, "size"), &out->bytes))
            return ig_err_set(err, IG_ERR_DATA,
                              "file '" IG_SLICE_FMT "' is listed without its digest or size",
                              IG_SLICE_ARG(out->path));
        copy_hex(out->digest, sha);
    } else if (sized && out->git[0]) {
        copy_hex(out->digest, ig_slice_of(out->git));
    }
    return true; /* without a digest: asked for by HEAD when the file is wanted */
}

static int by_path(const void *a, const void *b)
{
    return ig_slice_compare(((const struct hub_file *)a)->path, ((const struct hub_file *)b)->path);
}

bool hub__listing_read(struct ig_slice text, struct ig_arena *arena, struct hub_listing *out,
                       struct ig_err *err)
{
    const struct ig_json *root = ig_json_parse(text, arena, err);
    if (!root) return false;
    struct ig_slice sha = ig_json_text(ig_json_get(root, "sha"));
    const struct ig_json *list = ig_json_get(root, "siblings");
    if (!hub__is_hex(sha, 40) || !list || list->type != IG_JSON_ARRAY)
        return ig_err_set(err, IG_ERR_DATA, "no 'sha' and 'siblings' in it: not the Hub's?");
    if (list->count >= HUB_FILES_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "the repository has %u files; from %d on the Hub's list may be cut",
                          list->count, HUB_FILES_MAX);
    struct hub_file *files = ig_arena_array(arena, list->count, sizeof *files);
    if (!files) return ig_err_nomem(err);
    for (uint32_t i = 0; i < list->count; i++)
        if (!read_file(&list->items[i], &files[i], err)) return false;
    qsort(files, list->count, sizeof *files, by_path);
    for (uint32_t i = 1; i < list->count; i++)
        if (ig_slice_equal(files[i - 1].path, files[i].path))
            return ig_err_set(err, IG_ERR_DATA, "file '" IG_SLICE_FMT "' is listed twice",
                              IG_SLICE_ARG(files[i].path));
    memcpy(out->commit, sha.ptr, 40);
    out->commit[40] = '\0';
    out->files = files;
    out->count = list->count;
    return true;
}

/* Whether one of the globs, split by commas, matches. As huggingface_hub: * also matches '/', and
 * FOLDER/ means all in it. */
static bool matches(const char *globs, const char *path)
{
    while (*globs) {
        size_t len = strcspn(globs, ",");
        char glob[HUB_PATH_MAX + 2];
        if (len && len < HUB_PATH_MAX) {
            memcpy(glob, globs, len);
            glob[len] = '\0';
            if (glob[len - 1] == '/') memcpy(glob + len, "*", 2);
            if (fnmatch(glob, path, FNM_NOESCAPE) == 0) return true;
        }
        globs += len;
        globs += *globs == ',';
    }
    return false;
}

int64_t hub__listing_select(struct hub_listing *listing, const char *include, const char *exclude)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < listing->count; i++) {
        const char *path = listing->files[i].path.ptr; /* the arena's copies end in NUL */
        listing->files[i].wanted =
            (!include || matches(include, path)) && !(exclude && matches(exclude, path));
        kept += listing->files[i].wanted;
    }
    return kept;
}
