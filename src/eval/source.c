/* SPDX-License-Identifier: Apache-2.0
 * source — a task's data set on the Hub, and its rows in the Hub's cache. */
#include "eval/eval_internal.h"
#include "ingot/hub.h"

#include <stdio.h>

/* Tables say "aps/super_glue (boolq)". */
static void cut_source(const char *hub, char dataset[IG_EVAL_SOURCE_MAX],
                       char config[IG_EVAL_SOURCE_MAX])
{
    size_t len = strcspn(hub, " "), open = len + strspn(hub + len, " (");
    snprintf(dataset, IG_EVAL_SOURCE_MAX, "%.*s", (int)len, hub);
    snprintf(config, IG_EVAL_SOURCE_MAX, "%.*s", (int)strcspn(hub + open, ")"), hub + open);
}

bool ig_eval_task_source(struct ig_slice task, char dataset[IG_EVAL_SOURCE_MAX],
                         char config[IG_EVAL_SOURCE_MAX], struct ig_err *err)
{
    const struct eval_task *t = eval__task_find(task, err);
    if (!t) return false;
    cut_source(t->hub, dataset, config);
    return true;
}

bool eval__source_find(const struct eval_source *source, struct eval_files *out, struct ig_err *err)
{
    char dataset[IG_EVAL_SOURCE_MAX], config[IG_EVAL_SOURCE_MAX];
    struct ig_buf snapshot = {0};
    cut_source(source->hub ? source->hub : "", dataset, config);
    bool ok = ig_hub_find_dataset(dataset, &snapshot, err) &&
              eval__files_find(snapshot.data, source, out, err);
    ig_buf_release(&snapshot);
    return ok || ig_err_within(err, "rows for task '%s'", source->task);
}

static bool has_rows(struct ig_slice name)
{
    struct ig_err ignored;
    struct eval_files files;
    if (ig_slice_ends(name, ".yaml") || ig_slice_ends(name, ".yml")) return true; /* says itself */
    const struct eval_task *task = eval__task_find(name, &ignored);
    if (!task) return false;
    const struct eval_source source = {
        .task = task->name, .hub = task->hub, .split = task->split, .suffix = ""};
    if (!eval__source_find(&source, &files, &ignored)) return false;
    eval__files_release(&files);
    return true;
}

bool ig_eval_has_data(const char *tasks)
{
    if (strcmp(tasks, "all") == 0) {
        for (const char *const *t = ig_eval_task_list(); *t; t += 2)
            if (!has_rows(ig_slice_of(*t))) return false;
        return true;
    }
    for (size_t len; *tasks; tasks += len + (tasks[len] == ',')) {
        len = strcspn(tasks, ",");
        if (len && !has_rows(eval__strip(ig_slice_make(tasks, len)))) return false;
    }
    return true;
}
