/* SPDX-License-Identifier: Apache-2.0
 * stages — a recipe of several documents, as mergekit-multi takes them: each has a `name` by which
 * the others may call its result a model; the one without a name is the output.
 *
 * Most stages are views of the one that uses them (views/result.c). The others are merged into
 * OUT.stages/NAME, in the order in which they need each other, and removed when the output is
 * whole. With resume a stage that is there, made by the same text of the same inputs, is not made
 * again. */
#include "merge/merge_internal.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>

struct ig_recipe_list {
    struct ig_recipe *items[IG_RECIPES_MAX]; /* in the order in which they are made; the output last
                                              */
    int count;
};

/* ---- documents ---- */

/* Whether a line begins a new document. */
static bool is_border(const char *line, size_t len)
{
    return len >= 3 && memcmp(line, "---", 3) == 0 &&
           (len == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

/* Directives (%YAML 1.1) are none. */
static bool has_content(struct ig_slice text)
{
    bool comment = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\n') comment = false;
        if (c == '#' || (c == '%' && (i == 0 || text.ptr[i - 1] == '\n'))) comment = true;
        if (!comment && !strchr(" \t\r\n", c)) return true;
    }
    return false;
}

/* Each document by itself, with as many empty lines before it as stood there: places in messages
 * are those of the file. */
static bool add_document(struct ig_recipe_list *list, struct ig_slice text, int line,
                         const char *name, struct ig_err *err)
{
    struct ig_buf padded = {0};
    if (!has_content(text)) return true;
    if (list->count == IG_RECIPES_MAX)
        return ig_err_set(err, IG_ERR_DATA, "%s: more than %d documents", name, IG_RECIPES_MAX);
    for (int i = 0; i < line; i++)
        ig_buf_char(&padded, '\n');
    ig_buf_slice(&padded, text);
    bool ok = ig_buf_ok(&padded, err) &&
              ig_recipe_parse(ig_buf_view(&padded), name, &list->items[list->count], err);
    ig_buf_release(&padded);
    if (!ok) return false;
    struct ig_recipe *r = list->items[list->count++];
    r->text = ig_slice_make(r->text.ptr + line, r->text.len - (size_t)line);
    return true;
}

static bool split(struct ig_recipe_list *list, struct ig_slice text, const char *name,
                  struct ig_err *err)
{
    size_t begin = 0;
    int line = 0, first = 0;
    for (size_t at = 0; at < text.len; line++) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end ? (size_t)(end - text.ptr) - at : text.len - at;
        if (is_border(text.ptr + at, len)) {
            struct ig_slice part = ig_slice_make(text.ptr + begin, at - begin);
            if (!add_document(list, part, first, name, err)) return false;
            begin = at + 3; /* what stands behind the border belongs to the document */
            first = line;
        }
        at += len + 1;
    }
    return add_document(list, ig_slice_make(text.ptr + begin, text.len - begin), first, name, err);
}

/* ---- order ---- */

static bool needs(const struct ig_recipe *r, struct ig_slice title)
{
    for (int i = 0; i < r->count; i++)
        if (ig_slice_equal(r->models[i].path, title)) return true;
    return false;
}

static bool check_titles(const struct ig_recipe_list *list, struct ig_err *err)
{
    int untitled = 0;
    for (int i = 0; i < list->count; i++) {
        const struct ig_recipe *r = list->items[i];
        untitled += !r->title.ptr;
        for (int j = 0; r->title.ptr && j < i; j++)
            if (list->items[j]->title.ptr && ig_slice_equal(list->items[j]->title, r->title)) {
                ig_yaml_fail(err, r->title_at, "two documents are named '" IG_SLICE_FMT "'",
                             IG_SLICE_ARG(r->title));
                return ig_err_within(err, "%s", r->name);
            }
    }
    if (list->count < 2 || untitled == 1) return true;
    return ig_err_set(err, IG_ERR_DATA,
                      "%s: of several documents all but one have a 'name'; %d have none: which is "
                      "the output?",
                      list->items[0]->name, untitled);
}

/* Those that need nothing that is still to come first; the output last. */
static bool order(struct ig_recipe_list *list, struct ig_err *err)
{
    for (int done = 0; done < list->count; done++) {
        int next = -1;
        for (int i = done; i < list->count && next < 0; i++) {
            bool ready = true;
            for (int j = done; j < list->count; j++)
                if (j != i && list->items[j]->title.ptr &&
                    needs(list->items[i], list->items[j]->title))
                    ready = false;
            bool last = !list->items[i]->title.ptr && done + 1 < list->count;
            bool itself = list->items[i]->title.ptr && needs(list->items[i], list->items[i]->title);
            if (ready && !last && !itself) next = i;
        }
        if (next < 0)
            return ig_err_set(err, IG_ERR_DATA, "%s: the documents need each other in a circle",
                              list->items[0]->name);
        struct ig_recipe *found = list->items[next];
        memmove(list->items + done + 1, list->items + done,
                (size_t)(next - done) * sizeof *list->items);
        list->items[done] = found;
    }
    return true;
}

bool ig_recipe_list_parse(struct ig_slice text, const char *name, struct ig_recipe_list **out,
                          struct ig_err *err)
{
    struct ig_recipe_list *list = calloc(1, sizeof *list);
    if (!list) return ig_err_nomem(err);
    if (ig_slice_starts(text, "\xEF\xBB\xBF")) text = ig_slice_make(text.ptr + 3, text.len - 3);
    bool ok = split(list, text, name, err);
    if (ok && list->count == 0) ok = ig_err_set(err, IG_ERR_DATA, "%s: the file is empty", name);
    ok = ok && check_titles(list, err) && order(list, err);
    if (ok) {
        struct ig_recipe *last = list->items[list->count - 1];
        last->text = ig_arena_copy(&last->arena, text); /* what the output tells of: all of it */
        ok = last->text.ptr || ig_err_nomem(err);
    }
    if (!ok) {
        ig_recipe_list_free(list);
        return false;
    }
    *out = list;
    return true;
}

bool ig_recipe_list_open(const char *path, struct ig_recipe_list **out, struct ig_err *err)
{
    struct ig_buf text = {0};
    bool ok = ig_file_read(path, RECIPE_BYTES_MAX, &text, err) &&
              ig_recipe_list_parse(ig_buf_view(&text), path, out, err);
    ig_buf_release(&text);
    return ok;
}

void ig_recipe_list_free(struct ig_recipe_list *list)
{
    for (int i = 0; list && i < list->count; i++)
        ig_recipe_free(list->items[i]);
    free(list);
}

int ig_recipe_list_count(const struct ig_recipe_list *list)
{
    return list->count;
}

const struct ig_recipe *ig_recipe_list_last(const struct ig_recipe_list *list)
{
    return list->items[list->count - 1];
}

/* ---- as it is read, or on disk ---- */

/* Stages that feed each other without a folder between them: each takes a thread's memory, and
 * reads its inputs once more for each round of those that it feeds. */
#define DEPTH_MAX 4

/* Its output's other files are its donor's, its tensors what the method makes. */
static bool merges_only(const struct ig_recipe *r)
{
    return !r->expand && !r->context && !r->moe && !r->tokenizer && !r->transplant && !r->extract &&
           !r->chat.ptr;
}

/* Reads no file of its inputs but weights, and those in order. */
static bool reads_weights_only(const struct ig_recipe *r)
{
    return !r->moe && !r->tokenizer && !r->transplant && !r->extract &&
           r->experts == MERGE_EXPERTS_KEEP;
}

/* Why stage i has to be a folder; NULL: it can be made as it is read. depths: of the stages before
 * it how many are, one in another; its own is set. */
static const char *why_on_disk(const struct ig_recipe_list *list, int i, int *depths)
{
    const struct ig_recipe *r = list->items[i], *user = NULL;
    int users = 0;
    for (int j = 0; j < i; j++)
        if (needs(r, list->items[j]->title) && depths[j] > depths[i]) depths[i] = depths[j];
    for (int j = i + 1; j < list->count; j++) {
        if (!needs(list->items[j], r->title)) continue;
        user = list->items[j];
        users++;
    }
    if (users == 0) return "nothing uses it";
    if (users > 1) return "several documents use it";
    if (!merges_only(r)) return "it does more than merge tensors";
    if (r->method->pooled) return "its method works on whole matrices";
    if (!reads_weights_only(user)) return "what uses it reads more than its weights in order";
    if (depths[i] >= DEPTH_MAX) return "too many stages feed each other";
    return NULL;
}

/* ---- making them ---- */

static bool stage_path(const char *out, struct ig_slice title, char path[IG_PATH_MAX],
                       struct ig_err *err)
{
    char folder[IG_PATH_MAX], name[256];
    struct ig_slice parts = ig_slice_of(out);
    while (parts.len > 1 && parts.ptr[parts.len - 1] == '/')
        parts.len--;
    if (parts.len + sizeof ".stages" > sizeof folder)
        return ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", out);
    memcpy(folder, parts.ptr, parts.len);
    memcpy(folder + parts.len, ".stages", sizeof ".stages");
    if (title.len >= sizeof name) return ig_err_set(err, IG_ERR_DATA, "a name is too long");
    memcpy(name, title.ptr, title.len);
    name[title.len] = '\0';
    return ig_path_join(path, folder, name, err);
}

/* What a stage is made of lies beside it: the recipe alone does not say that its inputs are those
 * of then. */
#define ORIGINS_SUFFIX    ".origins"
#define ORIGINS_BYTES_MAX ((size_t)64 << 20)

static bool origins_path(const char *path, char out[IG_PATH_MAX], struct ig_err *err)
{
    return snprintf(out, IG_PATH_MAX, "%s" ORIGINS_SUFFIX, path) < IG_PATH_MAX ||
           ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", path);
}

/* Whether the folder is whole, and of these origins. */
static bool is_made(const struct ig_merge *m, const char *path)
{
    char file[IG_PATH_MAX];
    struct ig_err ignored;
    struct ig_buf text = {0};
    bool made = ig_path_exists(path) && origins_path(path, file, &ignored) &&
                ig_path_exists(file) && ig_file_read(file, ORIGINS_BYTES_MAX, &text, &ignored) &&
                ig_slice_equal(ig_buf_view(&text), m->origins);
    ig_buf_release(&text);
    return made;
}

/* A folder of other origins goes before the note of the new ones comes. */
static bool begin(const struct ig_merge *m, const char *path, struct ig_err *err)
{
    char file[IG_PATH_MAX];
    if (ig_dist_rank(m->job.dist) > 0) return true;
    return origins_path(path, file, err) && ig_dir_remove(path, err) &&
           ig_file_write(file, m->origins, err);
}

/* Where a later recipe calls a model by the title, the stage is meant: its folder, or, when that is
 * NULL, itself. */
static bool place(struct ig_recipe *r, const struct ig_recipe *stage, const char *folder,
                  struct ig_err *err)
{
    for (int i = 0; i < r->count; i++) {
        if (!ig_slice_equal(r->models[i].path, stage->title)) continue;
        r->models[i].stage = folder ? NULL : stage;
        if (!folder) continue;
        r->models[i].folder = ig_arena_copy(&r->arena, ig_slice_of(folder)).ptr;
        if (!r->models[i].folder) return ig_err_nomem(err);
    }
    return true;
}

static bool make(const struct ig_recipe *r, const struct ig_merge_job *like, const char *path,
                 const struct ig_watch *watch, struct ig_err *err)
{
    struct ig_merge *merge = NULL;
    struct ig_job_report report;
    struct ig_merge_job job = {.recipe = r,
                               .out = path,
                               .threads = like->threads,
                               .memory_bytes = like->memory_bytes,
                               .resume = like->resume,
                               .force = true,
                               .dist = like->dist,
                               .states = like->states};
    bool ok = ig_merge_plan(&job, watch, &merge, err);
    bool made = ok && like->resume && is_made(merge, path);
    ok = ok && ig_dist_tell(like->dist, true, &made, err);
    if (ok && !made)
        ok = ig_dist_meet(like->dist, begin(merge, path, err), err) &&
             ig_merge_run(merge, watch, &report, err);
    ig_merge_close(merge);
    return ok || ig_err_within(err, "stage '" IG_SLICE_FMT "'", IG_SLICE_ARG(r->title));
}

static bool make_on_disk(struct ig_recipe_list *list, int i, const struct ig_merge_job *job,
                         const struct ig_watch *watch, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_recipe *r = list->items[i];
    if (!stage_path(job->out, ig_slice_of(""), path, err)) return false;
    path[strlen(path) - 1] = '\0'; /* the slash */
    if (ig_dist_rank(job->dist) == 0 && !ig_dir_make(path, err)) return false;
    if (!stage_path(job->out, r->title, path, err)) return false;
    if (!make(r, job, path, watch, err)) return false;
    for (int j = i + 1; j < list->count; j++)
        if (!place(list->items[j], r, path, err)) return false;
    return true;
}

bool ig_merge_stages(struct ig_recipe_list *list, const struct ig_merge_job *job,
                     const struct ig_watch *watch, struct ig_err *err)
{
    int depths[IG_RECIPES_MAX] = {0};
    for (int i = 0; i + 1 < list->count; i++) {
        struct ig_recipe *r = list->items[i];
        const char *why = why_on_disk(list, i, depths);
        if (job->through_disk) why = "--through-disk asks for it";
        depths[i] = why ? 0 : depths[i] + 1;
        if (why && job->plan_only)
            return ig_err_set(err, IG_ERR_UNSUPPORTED,
                              "%s: --dry-run and --check write nothing, and stage '" IG_SLICE_FMT
                              "' has to be made on disk: %s",
                              r->name, IG_SLICE_ARG(r->title), why);
        if (why && !make_on_disk(list, i, job, watch, err)) return false;
        for (int j = i + 1; !why && j < list->count; j++)
            if (!place(list->items[j], r, NULL, err)) return false;
    }
    return true;
}

bool ig_merge_stages_clear(const struct ig_recipe_list *list, const struct ig_merge_job *job,
                           struct ig_err *err)
{
    char path[IG_PATH_MAX];
    if (list->count < 2 || ig_dist_rank(job->dist) != 0) return true;
    if (!stage_path(job->out, ig_slice_of(""), path, err)) return false;
    path[strlen(path) - 1] = '\0';
    return ig_dir_remove(path, err);
}
