/* SPDX-License-Identifier: Apache-2.0
 * place — where things are: huggingface_hub's variables and its cache (2.4.0: constants.py,
 * file_download.py).
 *
 *     CACHE/models--ORG--NAME/refs/main                    the commit, 40 hex digits
 *                            /snapshots/COMMIT/config.json -> ../../blobs/ETAG
 *                            /blobs/ETAG                   SHA-256, or git's SHA-1 of small files
 *          /datasets--ORG--NAME/...
 * A snapshot is what a program opens; it has a link for each file that was downloaded. */
#include "hub/hub_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define REF_BYTES_MAX 256

/* ---- names ---- */

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

static bool is_name_part(struct ig_slice part)
{
    if (part.len == 0) return false;
    for (size_t i = 0; i < part.len; i++)
        if (!is_name_byte(part.ptr[i])) return false;
    char first = part.ptr[0], last = part.ptr[part.len - 1];
    return first != '-' && first != '.' && last != '-' && last != '.';
}

/* validate_repo_id: one slash, no "--" and no "..", not NAME.git. */
static bool is_repo(struct ig_slice text)
{
    const char *slash = memchr(text.ptr, '/', text.len);
    if (!slash || text.len > HUB_NAME_MAX) return false;
    size_t org = (size_t)(slash - text.ptr);
    return is_name_part(ig_slice_make(text.ptr, org)) &&
           is_name_part(ig_slice_make(slash + 1, text.len - org - 1)) &&
           !ig_slice_find(text, ig_slice_of("--")) && !ig_slice_find(text, ig_slice_of("..")) &&
           !ig_slice_ends(text, ".git");
}

/* It becomes a path below refs/. */
static bool is_revision(struct ig_slice text)
{
    if (text.len == 0 || text.len > HUB_REVISION_MAX || text.ptr[0] == '/') return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= ' ' || c == 0x7F || c == '\\') return false;
        if (c == '.' && (i == 0 || text.ptr[i - 1] == '/' || text.ptr[i - 1] == '.')) return false;
        if (c == '/' && (i + 1 == text.len || text.ptr[i - 1] == '/')) return false;
    }
    return true;
}

static size_t repo_length(const char *text)
{
    return strcspn(text, "@");
}

bool ig_hub_is_name(const char *text)
{
    size_t len = repo_length(text);
    return is_repo(ig_slice_make(text, len)) &&
           (text[len] == '\0' || is_revision(ig_slice_of(text + len + 1)));
}

bool hub__id_read(enum ig_hub_kind kind, const char *text, struct hub_id *out, struct ig_err *err)
{
    if (!ig_hub_is_name(text))
        return ig_err_set(err, IG_ERR_USAGE,
                          "'%.200s' is no name on the Hub: it has the form ORG/NAME or "
                          "ORG/NAME@REVISION",
                          text);
    size_t len = repo_length(text);
    out->kind = kind;
    memcpy(out->repo, text, len);
    out->repo[len] = '\0';
    snprintf(out->revision, sizeof out->revision, "%s", text[len] ? text + len + 1 : "main");
    return true;
}

bool hub__is_hex(struct ig_slice text, size_t len)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return false;
    }
    return text.len == len;
}

bool hub__is_commit(const char *text)
{
    return hub__is_hex(ig_slice_of(text), 40);
}

/* ---- environment ---- */

const char *hub__variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_true(const char *value)
{
    static const char *const words[] = {"1", "ON", "YES", "TRUE"};
    for (size_t i = 0; value && i < sizeof words / sizeof *words; i++)
        if (strcasecmp(value, words[i]) == 0) return true;
    return false;
}

bool hub__is_offline(void)
{
    const char *hub = hub__variable("HF_HUB_OFFLINE");
    return is_true(hub ? hub : getenv("TRANSFORMERS_OFFLINE"));
}

/* A leading ~, $NAME and ${NAME}; what is not set stays as it is, as Python's expandvars has it. */
bool hub__expand(const char *text, char out[IG_PATH_MAX], struct ig_err *err)
{
    struct ig_buf path = {.len_max = IG_PATH_MAX};
    const char *home = getenv("HOME");
    if (*text == '~' && (text[1] == '/' || text[1] == '\0') && home) {
        ig_buf_text(&path, home);
        text++;
    }
    while (*text) {
        char name[64];
        bool braced = text[0] == '$' && text[1] == '{';
        const char *first = text + (braced ? 2 : 1);
        size_t len = 0;
        while (*text == '$' && (is_name_byte(first[len]) && first[len] != '-' && first[len] != '.'))
            len++;
        bool whole = len && len < sizeof name && (!braced || first[len] == '}');
        snprintf(name, sizeof name, "%.*s", whole ? (int)len : 0, first);
        const char *value = whole ? getenv(name) : NULL;
        if (value) {
            ig_buf_text(&path, value);
            text = first + len + braced;
        } else {
            ig_buf_char(&path, *text++);
        }
    }
    bool ok = ig_buf_ok(&path, err);
    if (ok) snprintf(out, IG_PATH_MAX, "%s", path.data ? path.data : "");
    ig_buf_release(&path);
    return ok;
}

bool hub__home(const char *name, char out[IG_PATH_MAX], struct ig_err *err)
{
    char home[IG_PATH_MAX];
    const char *set = hub__variable("HF_HOME"), *xdg = hub__variable("XDG_CACHE_HOME");
    if (set) return hub__expand(set, home, err) && ig_path_join(out, home, name, err);
    return hub__expand(xdg ? xdg : "~/.cache", home, err) &&
           ig_path_join(out, home, "huggingface", err) &&
           snprintf(home, sizeof home, "%s", out) > 0 && ig_path_join(out, home, name, err);
}

bool hub__cache(char out[IG_PATH_MAX], struct ig_err *err)
{
    const char *set = hub__variable("HF_HUB_CACHE");
    if (!set) set = hub__variable("HUGGINGFACE_HUB_CACHE");
    return set ? hub__expand(set, out, err) : hub__home("hub", out, err);
}

/* ---- folders ---- */

void hub__folder_name(const struct hub_id *id, char out[HUB_NAME_MAX + 32])
{
    size_t org = strcspn(id->repo, "/");
    snprintf(out, HUB_NAME_MAX + 32, "%s--%.*s--%s",
             id->kind == IG_HUB_MODEL ? "models" : "datasets", (int)org, id->repo,
             id->repo + org + 1);
}

bool hub__repo_folder(const struct hub_id *id, char out[IG_PATH_MAX], struct ig_err *err)
{
    char cache[IG_PATH_MAX], name[HUB_NAME_MAX + 32];
    hub__folder_name(id, name);
    return hub__cache(cache, err) && ig_path_join(out, cache, name, err);
}

bool hub__cached_commit(const struct hub_id *id, const char *folder, char out[41],
                        struct ig_err *err)
{
    char name[HUB_REVISION_MAX + 8], path[IG_PATH_MAX];
    out[0] = '\0';
    if (hub__is_commit(id->revision)) {
        memcpy(out, id->revision, 41);
        return true;
    }
    snprintf(name, sizeof name, "refs/%s", id->revision);
    if (!ig_path_join(path, folder, name, err)) return false;
    if (!ig_path_exists(path)) return true;
    struct ig_buf text = {0};
    if (!ig_file_read(path, REF_BYTES_MAX, &text, err)) return false;
    size_t len = text.len;
    while (len && (text.data[len - 1] == '\n' || text.data[len - 1] == ' '))
        len--;
    bool ok = hub__is_hex(ig_slice_make(text.data, len), 40);
    if (ok) {
        memcpy(out, text.data, 40);
        out[40] = '\0';
    } else {
        ig_err_set(err, IG_ERR_DATA, "'%s' holds no commit: remove it and pull again", path);
    }
    ig_buf_release(&text);
    return ok;
}

bool hub__make_folders(const char *path, struct ig_err *err)
{
    char part[IG_PATH_MAX];
    size_t len = strlen(path);
    if (ig_path_is_dir(path)) return true;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (!ig_dir_make(part, err)) return false;
    }
    return true;
}

/* ---- finding ---- */

static bool find(enum ig_hub_kind kind, const char *name, struct ig_buf *out, struct ig_err *err)
{
    struct hub_id id;
    char folder[IG_PATH_MAX], cache[IG_PATH_MAX], commit[41], snapshots[IG_PATH_MAX];
    const char *prefix = kind == IG_HUB_DATASET ? "datasets/" : "";
    if (!hub__id_read(kind, name, &id, err) || !hub__cache(cache, err) ||
        !hub__repo_folder(&id, folder, err))
        return false;
    if (!ig_path_is_dir(folder))
        return ig_err_set(
            err, IG_ERR_IO, "'%s' is %s in the Hub's cache (%s): `ingot pull %s%s` gets it", name,
            kind == IG_HUB_MODEL ? "neither a folder here nor" : "not", cache, prefix, name);
    if (!hub__cached_commit(&id, folder, commit, err) ||
        !ig_path_join(snapshots, folder, "snapshots/", err))
        return false;
    ig_buf_clear(out);
    ig_buf_printf(out, "%s%s", snapshots, commit);
    if (!ig_buf_ok(out, err)) return false;
    if (commit[0] && ig_path_is_dir(out->data)) return true;
    return ig_err_set(err, IG_ERR_IO,
                      "the Hub's cache (%s) has '%s', but not its revision '%s' as a whole: "
                      "`ingot pull %s%s` gets it",
                      cache, id.repo, id.revision, prefix, name);
}

bool ig_hub_find_dataset(const char *name, struct ig_buf *out, struct ig_err *err)
{
    return find(IG_HUB_DATASET, name, out, err);
}

bool ig_hub_find_model(const char *path_or_name, struct ig_buf *out, struct ig_err *err)
{
    if (!ig_path_exists(path_or_name) && ig_hub_is_name(path_or_name))
        return find(IG_HUB_MODEL, path_or_name, out, err);
    ig_buf_clear(out);
    ig_buf_text(out, path_or_name);
    return ig_buf_ok(out, err);
}

/* .../models--ORG--NAME/snapshots/COMMIT, with or without a slash at the end. */
bool ig_hub_name_of(const char *path, struct ig_buf *out)
{
    static const char middle[] = "/snapshots/";
    const char *at = strstr(path, middle), *next;
    while (at && (next = strstr(at + 1, middle)))
        at = next;
    if (!at) return false;
    size_t rest = strcspn(at + sizeof middle - 1, "/");
    if (!hub__is_hex(ig_slice_make(at + sizeof middle - 1, rest), 40)) return false;
    const char *first = at;
    while (first > path && first[-1] != '/')
        first--;
    struct ig_slice name = ig_slice_make(first, (size_t)(at - first));
    const char *kinds[] = {"models--", "datasets--"};
    for (int i = 0; i < 2; i++) {
        if (!ig_slice_starts(name, kinds[i])) continue;
        size_t skip = strlen(kinds[i]);
        struct ig_slice both = ig_slice_make(name.ptr + skip, name.len - skip);
        const char *dash = ig_slice_find(both, ig_slice_of("--"));
        if (!dash) return false;
        ig_buf_clear(out);
        ig_buf_append(out, both.ptr, (size_t)(dash - both.ptr));
        ig_buf_char(out, '/');
        ig_buf_append(out, dash + 2, both.len - (size_t)(dash + 2 - both.ptr));
        return !out->failed;
    }
    return false;
}
