/* SPDX-License-Identifier: Apache-2.0
 * compare_folder — which files make a run: results_TIME.json and samples_TASK_TIME.jsonl.
 *
 * A folder that has such files is one model; else each folder in it that has them is one. Of
 * several runs of a task the latest counts (TIME sorts as text). */
#include "eval/compare/compare_internal.h"

#include "base/file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NAMES_MAX (1 << 16) /* files of one folder: some thousand runs */

struct names {
    struct ig_arena *arena;
    const char **items;
    int count, room;
    bool too_many, failed;
};

static bool add_name(void *user, const char *name)
{
    struct names *n = user;
    n->too_many = n->count == NAMES_MAX;
    if (n->too_many) return false;
    if (n->count == n->room) {
        int room = n->room ? 2 * n->room : 256;
        const char **items = ig_arena_array(n->arena, (size_t)room, sizeof *items);
        n->failed = !items;
        if (!items) return false;
        if (n->count) memcpy(items, n->items, (size_t)n->count * sizeof *items);
        n->items = items;
        n->room = room;
    }
    n->items[n->count] = ig_arena_copy(n->arena, ig_slice_of(name)).ptr;
    n->failed = !n->items[n->count];
    n->count += !n->failed;
    return !n->failed;
}

static bool list_names(const char *path, struct ig_arena *arena, struct names *out,
                       struct ig_err *err)
{
    *out = (struct names){.arena = arena};
    if (!ig_dir_list(path, add_name, out, err)) return false;
    if (out->too_many)
        return ig_err_set(err, IG_ERR_DATA,
                          "'%s' has more than %d files: name the folders of the models in it, or "
                          "move old runs elsewhere",
                          path, NAMES_MAX);
    return !out->failed || ig_err_nomem(err);
}

static bool is_samples(const char *name)
{
    struct ig_slice s = ig_slice_of(name);
    return ig_slice_starts(s, "samples_") && ig_slice_ends(s, ".jsonl") &&
           strrchr(name, '_') > name + 7;
}
static bool is_results(const char *name)
{
    struct ig_slice s = ig_slice_of(name);
    return ig_slice_starts(s, "results_") && ig_slice_ends(s, ".json") &&
           strrchr(name, '_') == name + 7; /* so of one time there is one */
}

/* The text between the last "_" and the ending. */
static struct ig_slice time_of(const char *name)
{
    const char *last = strrchr(name, '_') + 1, *dot = strrchr(last, '.');
    return ig_slice_make(last, (size_t)(dot - last));
}

/* Cuts the next word off a list, without the blanks around it; {NULL, 0} at its end. */
static struct ig_slice next_word(const char **list)
{
    *list += strspn(*list, ", ");
    struct ig_slice word = {*list, strcspn(*list, ",")};
    *list += word.len;
    while (word.len && word.ptr[word.len - 1] == ' ')
        word.len--;
    return word.len ? word : (struct ig_slice){0};
}

static bool wanted(struct ig_slice task, const char *list)
{
    for (struct ig_slice word; (word = next_word(&list)).ptr;)
        if (ig_slice_equal(word, task)) return true;
    return false;
}

/* ---- what results_TIME.json says ---- */

static void copy_text(char *out, size_t size, struct ig_slice text)
{
    size_t n = text.len < size ? text.len : size - 1;
    if (n) memcpy(out, text.ptr, n);
    out[n] = 0;
}

static bool take_results(struct compare *c, struct compare_run *run, struct compare_part *part,
                         const struct ig_json *root, struct ig_err *err)
{
    const struct ig_json *shots = ig_json_get(ig_json_get(root, "n-shot"), part->task);
    const struct ig_json *version = ig_json_get(ig_json_get(root, "versions"), part->task);
    const struct ig_json *style = ig_json_get(ig_json_get(root, "ingot"), "style");
    const struct ig_json *summary = ig_json_get(ig_json_get(root, "results"), part->task);
    struct ig_slice name = ig_json_text(ig_json_get(root, "model_name"));
    struct ig_buf text = {0};
    if (!ig_json_int(shots, &part->shots)) part->shots = -1;
    if (version && (version->type == IG_JSON_NUMBER || version->type == IG_JSON_STRING))
        copy_text(part->version, sizeof part->version, version->text);
    copy_text(part->style, sizeof part->style, ig_json_text(style));
    if (name.len && !run->full_name.len) run->full_name = ig_arena_copy(&c->arena, name);
    if (!summary) return true;
    ig_json_write(&text, summary, 0, false);
    if (ig_buf_ok(&text, err)) part->summary = ig_arena_copy(&c->arena, ig_buf_view(&text));
    ig_buf_release(&text);
    return part->summary.ptr || ig_err_nomem(err);
}

static bool read_results(const char *path, struct ig_json_doc **out, struct ig_err *err)
{
    struct ig_buf text = {0};
    bool ok = ig_file_read(path, COMPARE_RESULTS_BYTES_MAX, &text, err) &&
              (ig_json_doc_new(ig_buf_view(&text), out, err) || ig_err_within(err, "'%s'", path));
    ig_buf_release(&text);
    return ok;
}

/* ---- one model ---- */

static struct compare_part *part_of(struct compare_run *run, struct ig_slice task)
{
    for (int i = 0; i < run->count; i++)
        if (ig_slice_is(task, run->parts[i].task)) return &run->parts[i];
    return NULL;
}

/* Names come sorted, so a later time replaces an earlier one. */
static bool add_samples(struct compare *c, struct compare_run *run, const char *dir,
                        const char *name, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_slice task = ig_slice_make(name + 8, (size_t)(strrchr(name, '_') - name) - 8);
    struct compare_part *part = part_of(run, task);
    if (!ig_path_join(path, dir, name, err)) return false;
    if (part) {
        if (!eval__note(c, err, "%s: %s was run more than once; the latest counts", dir,
                        part->task))
            return false;
    } else {
        if (run->count == COMPARE_TASKS_MAX)
            return ig_err_set(err, IG_ERR_DATA, "'%s' has more than %d tasks", dir,
                              COMPARE_TASKS_MAX);
        part = &run->parts[run->count++];
        part->shots = -1;
        part->task = eval__clean_copy(&c->arena, task);
    }
    part->path = ig_arena_copy(&c->arena, ig_slice_of(path)).ptr;
    return (part->task && part->path) || ig_err_nomem(err);
}

/* One file of results is in memory at a time: those of many tasks are large. */
static bool find_results(struct compare *c, struct compare_run *run, const char *dir,
                         const struct names *names, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    bool ok = true;
    for (int k = 0; ok && k < names->count; k++) {
        struct ig_json_doc *doc = NULL;
        if (!is_results(names->items[k])) continue;
        for (int i = 0; ok && i < run->count; i++) {
            struct compare_part *part = &run->parts[i];
            struct ig_slice time = time_of(strrchr(part->path, '/') + 1);
            if (!ig_slice_equal(time, time_of(names->items[k]))) continue;
            if (!doc)
                ok = ig_path_join(path, dir, names->items[k], err) && read_results(path, &doc, err);
            ok = ok && take_results(c, run, part, ig_json_doc_root(doc), err);
        }
        ig_json_doc_free(doc);
    }
    return ok;
}

/* time {NULL, 0}: any. Adds nothing where there are no samples. */
static bool add_run(struct compare *c, const char *dir, const char *tasks, struct ig_slice time,
                    struct ig_err *err)
{
    struct ig_arena scratch = {0};
    struct names names;
    struct compare_run run = {0};
    bool ok = list_names(dir, &scratch, &names, err);
    run.parts = ok ? ig_arena_array(&c->arena, COMPARE_TASKS_MAX, sizeof *run.parts) : NULL;
    run.path = ok ? ig_arena_copy(&c->arena, ig_slice_of(dir)).ptr : NULL;
    ok = ok && ((run.parts && run.path) || ig_err_nomem(err));
    for (int i = 0; ok && i < names.count; i++) {
        const char *name = names.items[i];
        if (!is_samples(name) || (time.ptr && !ig_slice_equal(time, time_of(name)))) continue;
        struct ig_slice task = ig_slice_make(name + 8, (size_t)(strrchr(name, '_') - name) - 8);
        if (!tasks || wanted(task, tasks)) ok = add_samples(c, &run, dir, name, err);
    }
    if (ok && run.count) {
        if (c->run_count == c->run_room)
            ok = ig_err_set(err, IG_ERR_USAGE, "more than %d models", c->run_room);
        else
            c->runs[c->run_count++] = run; /* from here on close releases it */
        if (ok) ok = find_results(c, &c->runs[c->run_count - 1], dir, &names, err);
    }
    ig_arena_release(&scratch);
    return ok;
}

static bool add_below(struct compare *c, const char *dir, const char *tasks, bool *summary,
                      struct ig_err *err)
{
    struct ig_arena scratch = {0};
    struct names names;
    char path[IG_PATH_MAX];
    bool ok = list_names(dir, &scratch, &names, err);
    *summary = false;
    for (int i = 0; ok && i < names.count; i++) {
        *summary = *summary || is_results(names.items[i]);
        ok = ig_path_join(path, dir, names.items[i], err);
        if (ok && ig_path_is_dir(path)) ok = add_run(c, path, tasks, (struct ig_slice){0}, err);
    }
    ig_arena_release(&scratch);
    return ok;
}

/* A trailing slash would make the folder's name empty. */
static bool trimmed(char out[IG_PATH_MAX], const char *path, struct ig_err *err)
{
    if (!ig_path_join(out, NULL, path, err)) return false;
    for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--)
        out[n - 1] = 0;
    return true;
}

bool eval__runs_find(struct compare *c, const char *path, const char *tasks, struct ig_err *err)
{
    char dir[IG_PATH_MAX];
    int before = c->run_count;
    bool summary = false;
    struct ig_slice time = {0};
    if (!trimmed(dir, path, err)) return false;
    if (!ig_path_exists(dir)) return ig_err_set(err, IG_ERR_IO, "no such folder: '%s'", path);
    if (!ig_path_is_dir(dir)) {
        char *slash = strrchr(dir, '/');
        const char *name = slash ? slash + 1 : dir;
        if (!is_results(name))
            return ig_err_set(err, IG_ERR_USAGE, "'%s' is neither a folder nor a results_TIME.json",
                              path);
        time = ig_arena_copy(&c->arena, time_of(name));
        if (!time.ptr) return ig_err_nomem(err);
        if (slash)
            *slash = 0;
        else
            strcpy(dir, ".");
    }
    if (!add_run(c, dir, tasks, time, err)) return false;
    if (c->run_count == before && !time.ptr && !add_below(c, dir, tasks, &summary, err))
        return false;
    if (c->run_count > before) return true;
    if (summary || time.ptr)
        return ig_err_set(err, IG_ERR_DATA,
                          "'%s' has results but no samples%s: run with --log_samples (lm_eval), or "
                          "compare the numbers alone with --table",
                          path, tasks ? " of these tasks" : "");
    return ig_err_set(err, IG_ERR_DATA,
                      "no samples_TASK_TIME.jsonl%s in '%s' or in the folders in it: made with "
                      "--output DIR (ingot eval) or --output_path DIR --log_samples (lm_eval)?",
                      tasks ? " of these tasks" : "", path);
}

bool eval__tasks_exist(const struct compare *c, const char *tasks, struct ig_err *err)
{
    for (struct ig_slice word; tasks && (word = next_word(&tasks)).ptr;) {
        bool found = false;
        for (int i = 0; i < c->run_count && !found; i++)
            found = part_of(&c->runs[i], word) != NULL;
        if (!found)
            return ig_err_set(err, IG_ERR_USAGE, "no run has samples of task '" IG_SLICE_FMT "'",
                              IG_SLICE_ARG(word));
    }
    return true;
}

void eval__runs_release(struct compare *c)
{
    for (int i = 0; i < c->run_count; i++)
        for (int k = 0; k < c->runs[i].count; k++)
            free(c->runs[i].parts[k].items);
}

/* ---- names ---- */

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash && slash[1] ? slash + 1 : name;
}

/* step 0: the last part of the model's name; 1: all of it; 2: the run's folder. */
static const char *name_at(struct compare *c, const struct compare_run *run, int step)
{
    char full[IG_PATH_MAX];
    if (step == 2 || !run->full_name.len) {
        const char *name = step ? run->path : last_part(run->path);
        return eval__clean_copy(&c->arena, ig_slice_of(name));
    }
    copy_text(full, sizeof full, run->full_name);
    for (size_t n = strlen(full); n > 1 && full[n - 1] == '/'; n--)
        full[n - 1] = 0;
    return eval__clean_copy(&c->arena, ig_slice_of(step ? full : last_part(full)));
}

static bool all_differ(const struct compare *c, int *twin)
{
    for (int i = 0; i < c->run_count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(c->runs[i].name, c->runs[k].name) == 0) {
                *twin = i;
                return false;
            }
    return true;
}

bool eval__runs_name(struct compare *c, struct ig_err *err)
{
    int twin = 0;
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < c->run_count; i++)
            if (!(c->runs[i].name = name_at(c, &c->runs[i], step))) return ig_err_nomem(err);
        if (all_differ(c, &twin)) return true;
    }
    return ig_err_set(err, IG_ERR_USAGE, "'%s' is given twice", c->runs[twin].path);
}
