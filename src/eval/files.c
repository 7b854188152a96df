/* SPDX-License-Identifier: Apache-2.0
 * files — where a task's rows are, by every name that the Hub and its programs give them.
 *
 * In one place: SPLIT.EXT, or all shards SPLIT-00000-of-00002.EXT; the cache of `datasets` puts the
 * data set's name before it, save_to_disk makes SPLIT/data-00000-of-00001.arrow. Places are in the
 * table below. The first file that is there decides; docs/eval.md lists all. */
#include "base/file.h"
#include "eval/eval_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define SHARDS_MAX 1000
#define STEM_MAX   256

/* %t task, %o owner, %r data set, %c configuration, %C the same or "default", %d "data" for sets
 * that have no configuration; * the only folder. Places with a word that the task has not are left
 * out. */
static const char *const places[] = {
    "%t",
    "%t/%c",
    "%t/data",
    "%r/%c",
    "%r/%d",
    "%o/%r/%c",
    "%o/%r/%d",
    "%o___%r/%C/*/*",                  /* the cache of `datasets` */
    "datasets--%o--%r/snapshots/*/%c", /* the Hub's cache */
    "datasets--%o--%r/snapshots/*/%d",
    "%c", /* a data set's own folder */
    "%d",
};
static const char *const kinds[] = {"jsonl", "parquet", "arrow"};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

struct words {
    struct ig_slice task, owner, set, config;
};

/* "allenai/ai2_arc (ARC-Easy)" */
static struct words words_of(const struct eval_source *source)
{
    struct words w = {.task = ig_slice_of(source->task)};
    struct ig_slice hub = ig_slice_of(source->hub);
    const char *slash = hub.len ? memchr(hub.ptr, '/', hub.len) : NULL;
    if (!slash) return w;
    w.owner = ig_slice_make(hub.ptr, (size_t)(slash - hub.ptr));
    w.set = ig_slice_of(slash + 1);
    const char *bracket = strstr(slash, " (");
    if (!bracket) return w;
    w.set.len = (size_t)(bracket - w.set.ptr);
    w.config = ig_slice_make(bracket + 2, strcspn(bracket + 2, ")"));
    return w;
}

static struct ig_slice word_of(const struct words *w, char letter)
{
    switch (letter) {
    case 't': return w->task;
    case 'o': return w->owner;
    case 'r': return w->set;
    case 'c': return w->config;
    case 'C': return w->config.len ? w->config : ig_slice_of("default");
    default: return ig_slice_of(w->config.len ? "" : "data");
    }
}

/* The pattern with its words filled in; false when the task lacks one, or it does not fit. */
static bool fill(const struct words *w, const char *pattern, char out[IG_PATH_MAX])
{
    size_t n = 0;
    for (const char *p = pattern; *p; p++) {
        struct ig_slice part = *p == '%' ? word_of(w, *++p) : ig_slice_make(p, 1);
        if (part.len == 0 || part.len >= IG_PATH_MAX - n) return false;
        memcpy(out + n, part.ptr, part.len);
        n += part.len;
    }
    out[n] = '\0';
    return true;
}

/* ---- the only folder in a folder ---- */

struct only {
    const char *dir;
    char path[IG_PATH_MAX];
    int count;
    struct ig_err *err;
};

static bool on_entry(void *user, const char *name)
{
    struct only *only = user;
    char path[IG_PATH_MAX];
    if (!ig_path_join(path, only->dir, name, only->err)) return false;
    if (ig_path_is_dir(path) && only->count++ == 0) memcpy(only->path, path, sizeof path);
    return true;
}

static bool only_folder(const char *dir, char out[IG_PATH_MAX], bool *found, struct ig_err *err)
{
    struct only only = {.dir = dir, .err = err};
    *err = (struct ig_err){0};
    if (!ig_dir_list(dir, on_entry, &only, err) || err->code != IG_OK) return false;
    if (only.count > 1)
        return ig_err_set(err, IG_ERR_USAGE,
                          "'%s' has %d folders: give the one that is wanted with --data", dir,
                          only.count);
    *found = only.count == 1;
    if (*found) memcpy(out, only.path, sizeof only.path);
    return true;
}

/* Follows a filled-in pattern from dir; *found when all of it is there. */
static bool follow(const char *dir, char *pattern, char out[IG_PATH_MAX], bool *found,
                   struct ig_err *err)
{
    char here[IG_PATH_MAX];
    *found = true;
    if (!ig_path_join(out, NULL, dir, err)) return false;
    for (char *part = pattern, *end; *found && part; part = end) {
        end = strchr(part, '/');
        if (end) *end++ = '\0';
        memcpy(here, out, sizeof here);
        if (strcmp(part, "*") == 0) {
            if (!only_folder(here, out, found, err)) return false;
        } else {
            if (!ig_path_join(out, here, part, err)) return false;
            *found = ig_path_is_dir(out);
        }
    }
    return true;
}

/* ---- files of one place ---- */

void eval__files_release(struct eval_files *files)
{
    for (int i = 0; i < files->count; i++)
        free(files->paths[i]);
    free(files->paths);
    *files = (struct eval_files){0};
}

bool eval__files_add(struct eval_files *files, const char *path, struct ig_err *err)
{
    char **paths = realloc(files->paths, ((size_t)files->count + 1) * sizeof *paths);
    char *copy = strdup(path);
    if (paths) files->paths = paths;
    if (!paths || !copy) {
        free(copy);
        return ig_err_nomem(err);
    }
    files->paths[files->count++] = copy;
    return true;
}

struct shards {
    const char *stem, *kind;
    int total; /* of the first file that is a shard; 0: none is */
};

static bool on_shard(void *user, const char *name)
{
    struct shards *s = user;
    size_t stem = strlen(s->stem);
    int number, total, used = 0;
    if (strncmp(name, s->stem, stem) != 0) return true;
    if (sscanf(name + stem, "-%5d-of-%5d.%n", &number, &total, &used) != 2 || used == 0 ||
        strcmp(name + stem + used, s->kind) != 0 || total < 1)
        return true;
    s->total = total;
    return false;
}

/* All shards, which must be there. */
static bool add_shards(const char *dir, const struct shards *s, struct eval_files *out,
                       struct ig_err *err)
{
    char path[IG_PATH_MAX], name[STEM_MAX + 64];
    if (s->total > SHARDS_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "'%s' has rows in %d shards, more than %d", dir,
                          s->total, SHARDS_MAX);
    for (int i = 0; i < s->total; i++) {
        snprintf(name, sizeof name, "%s-%05d-of-%05d.%s", s->stem, i, s->total, s->kind);
        if (!ig_path_join(path, dir, name, err)) return false;
        if (!ig_path_exists(path))
            return ig_err_set(err, IG_ERR_DATA,
                              "'%s' has some of the %d shards of '%s', but not '%s'", dir, s->total,
                              s->stem, name);
        if (!eval__files_add(out, path, err)) return false;
    }
    return true;
}

/* STEM.KIND in dir, or its shards. */
static bool find_stem(const char *dir, const char *stem, struct eval_files *out, struct ig_err *err)
{
    char path[IG_PATH_MAX], name[STEM_MAX + 16];
    for (size_t k = 0; k < KIND_COUNT && out->count == 0; k++) {
        struct shards shards = {.stem = stem, .kind = kinds[k]};
        snprintf(name, sizeof name, "%s.%s", stem, kinds[k]);
        if (!ig_path_join(path, dir, name, err)) return false;
        if (ig_path_exists(path)) return eval__files_add(out, path, err);
        if (!ig_dir_list(dir, on_shard, &shards, err) || !add_shards(dir, &shards, out, err))
            return false;
    }
    return true;
}

static bool find_split(const char *dir, const struct words *w, const char *split,
                       struct eval_files *out, struct ig_err *err)
{
    char stem[STEM_MAX], saved[IG_PATH_MAX];
    if (!find_stem(dir, split, out, err)) return false;
    if (out->count || !w->set.len) return true;
    snprintf(stem, sizeof stem, IG_SLICE_FMT "-%.64s", IG_SLICE_ARG(w->set), split);
    if (!find_stem(dir, stem, out, err)) return false;
    if (out->count || !ig_path_join(saved, dir, split, err)) return out->count > 0;
    return !ig_path_is_dir(saved) || find_stem(saved, "data", out, err);
}

bool eval__files_find(const char *dir, const struct eval_source *source, struct eval_files *out,
                      struct ig_err *err)
{
    struct words w = words_of(source);
    char stem[STEM_MAX], pattern[IG_PATH_MAX], place[IG_PATH_MAX];
    bool ok = true, found;
    *out = (struct eval_files){0};
    snprintf(stem, sizeof stem, "%.128s%s%.64s", source->task, *source->suffix ? "." : "",
             source->suffix);
    if (ig_path_is_dir(dir)) ok = find_stem(dir, stem, out, err);
    for (size_t i = 0; ok && out->count == 0 && i < sizeof places / sizeof *places; i++) {
        if (!fill(&w, places[i], pattern)) continue;
        ok = follow(dir, pattern, place, &found, err) &&
             (!found || find_split(place, &w, source->split, out, err));
    }
    if (ok && out->count) return true;
    eval__files_release(out);
    if (!ok) return ig_err_within(err, "rows for task '%s'", source->task);
    return ig_err_set(
        err, IG_ERR_IO,
        "no rows for task '%s': neither '%s.jsonl' nor '%s/%s.jsonl' nor either as "
        ".parquet or .arrow is in '%s' (split %s of %s; docs/eval.md lists all names)",
        source->task, stem, source->task, source->split, dir, source->split, source->hub);
}
