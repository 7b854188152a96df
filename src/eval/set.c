/* SPDX-License-Identifier: Apache-2.0
 * set — rows to items with their requests, before any model is there. */
#include "eval/yaml_task.h"

#include <stdio.h>
#include <stdlib.h>

#define TASKS_MAX 64

/* Cuts the next name off a comma-separated list. */
static bool next_name(struct ig_slice *rest, struct ig_slice *name)
{
    if (!rest->ptr) return false;
    const char *comma = rest->len ? memchr(rest->ptr, ',', rest->len) : NULL;
    *name = ig_slice_make(rest->ptr, comma ? (size_t)(comma - rest->ptr) : rest->len);
    *rest = comma ? ig_slice_make(comma + 1, rest->len - name->len - 1) : (struct ig_slice){0};
    *name = eval__strip(*name);
    return true;
}

static bool is_yaml(struct ig_slice name)
{
    return ig_slice_ends(name, ".yaml") || ig_slice_ends(name, ".yml");
}

/* A built-in task by its name, or one's own by its file. */
static bool add_task(struct ig_eval_set *set, struct ig_slice name, struct ig_err *err)
{
    struct eval_part part = {0};
    if (set->count == TASKS_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "more than %d tasks", TASKS_MAX);
    if (is_yaml(name)) {
        struct ig_slice path = ig_arena_copy(&set->arena, name);
        if (!path.ptr) return ig_err_nomem(err);
        if (!eval__yaml_open(path.ptr, &part.yaml, err)) return false;
        part.task = &part.yaml->task;
    } else if (!(part.task = eval__task_find(name, err))) {
        return false;
    }
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->parts[i].task->name, part.task->name) == 0) {
            ig_err_set(err, IG_ERR_USAGE, "task '%s' is named twice", part.task->name);
            eval__yaml_free(part.yaml);
            return false;
        }
    set->parts[set->count++] = part;
    return true;
}

static bool pick_tasks(struct ig_eval_set *set, struct ig_err *err)
{
    const char *list = set->job.tasks ? set->job.tasks : "";
    if (strcmp(list, "all") == 0) {
        const char *const *names = ig_eval_task_list();
        for (int n = 0; names[2 * n]; n++)
            if (!add_task(set, ig_slice_of(names[2 * n]), err)) return false;
        return true;
    }
    struct ig_slice rest = ig_slice_of(list), name;
    while (next_name(&rest, &name))
        if (!add_task(set, name, err)) return false;
    return true;
}

/* Copies what outlives the scratch memory into the set. */
static bool keep_item(struct ig_eval_set *set, const struct eval_doc *doc,
                      const struct ig_eval_request *requests, struct ig_eval_item *item,
                      struct ig_err *err)
{
    size_t n = (size_t)doc->count;
    struct ig_eval_request *kept = ig_arena_array(&set->arena, n, sizeof *kept);
    struct ig_slice *choices = ig_arena_array(&set->arena, n, sizeof *choices);
    if (!kept || !choices) return ig_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        bool shared = i > 0 && requests[i].context.ptr == requests[0].context.ptr;
        kept[i].context =
            shared ? kept[0].context : ig_arena_copy(&set->arena, requests[i].context);
        kept[i].continuation = ig_arena_copy(&set->arena, requests[i].continuation);
        choices[i] = ig_arena_copy(&set->arena, doc->choices[i]);
        if (!kept[i].context.ptr || !kept[i].continuation.ptr || !choices[i].ptr)
            return ig_err_nomem(err);
    }
    char gold[16];
    snprintf(gold, sizeof gold, "%d", doc->gold);
    struct ig_slice target = doc->partial ? doc->rest : ig_slice_of(gold);
    item->target = ig_arena_copy(&set->arena, doc->target.ptr ? doc->target : target);
    if (!item->target.ptr) return ig_err_nomem(err);
    item->requests = kept;
    item->choices = choices;
    item->gold = doc->gold;
    item->count = doc->count;
    return true;
}

static bool build_item(struct ig_eval_set *set, struct eval_part *part, struct eval_shots *shots,
                       int64_t index, struct ig_err *err)
{
    struct ig_arena scratch = {0};
    struct ig_eval_item *item = &part->items[index];
    struct ig_eval_request requests[EVAL_CHOICES_MAX];
    struct ig_json *row;
    struct eval_doc doc;
    *item = (struct ig_eval_item){.task = part->task->name,
                                  .doc = index,
                                  .line = part->rows.numbers[index],
                                  .row = part->rows.lines[index]};
    bool ok = eval__rows_read(&part->rows, part->task, index, &scratch, &row, &doc, err);
    struct eval_doc *examples =
        ok ? ig_arena_array(&scratch, (size_t)shots->count + 1, sizeof *examples) : NULL;
    if (ok && !examples) ok = ig_err_nomem(err);
    ok = ok && eval__shots_draw(shots, row, &scratch, examples, err);
    struct eval_question question = {part->task, &doc, examples, shots->count};
    if (ok && (!eval__requests(&set->job, &question, &scratch, requests, err) ||
               !keep_item(set, &doc, requests, item, err)))
        ok = ig_err_within(err, "'%s', line %lld", part->rows.path, (long long)item->line);
    ig_arena_release(&scratch);
    return ok;
}

static bool build_part(struct ig_eval_set *set, struct eval_part *part, struct ig_err *err)
{
    struct eval_shots shots = {0};
    if (!eval__rows_open(set->job.data, part->task, false, &part->rows, err)) return false;
    int64_t limit = set->job.limit;
    part->count = limit && limit < part->rows.count ? limit : part->rows.count;
    part->items = calloc((size_t)part->count, sizeof *part->items);
    if (!part->items) return ig_err_nomem(err);
    part->shots = set->job.shots_own ? part->task->shots : set->job.shots;
    if (!eval__shots_open(&set->job, part->task, part->shots, &shots, err)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < part->count; i++)
        ok = build_item(set, part, &shots, i, err);
    eval__shots_release(&shots);
    return ok;
}

static bool check_job(const struct ig_eval_job *job, struct ig_err *err)
{
    if (job->limit < 0) return ig_err_set(err, IG_ERR_USAGE, "the limit is less than 0");
    if (job->shots < 0 || job->shots > EVAL_SHOTS_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "%lld shots; 0 to %d are possible",
                          (long long)job->shots, EVAL_SHOTS_MAX);
    return true;
}

bool ig_eval_open(const struct ig_eval_job *job, struct ig_eval_set **out, struct ig_err *err)
{
    if (!check_job(job, err)) return false;
    struct ig_eval_set *set = calloc(1, sizeof *set);
    if (!set) return ig_err_nomem(err);
    set->job = *job;
    set->parts = calloc(TASKS_MAX, sizeof *set->parts);
    bool ok = (set->parts || ig_err_nomem(err)) && pick_tasks(set, err);
    for (int i = 0; ok && i < set->count; i++)
        ok = build_part(set, &set->parts[i], err);
    if (!ok) {
        ig_eval_close(set);
        return false;
    }
    *out = set;
    return true;
}

void ig_eval_close(struct ig_eval_set *set)
{
    if (!set) return;
    for (int i = 0; i < set->count; i++) {
        eval__rows_release(&set->parts[i].rows);
        free(set->parts[i].items);
        eval__yaml_free(set->parts[i].yaml);
    }
    free(set->parts);
    ig_arena_release(&set->arena);
    free(set);
}

int ig_eval_task_count(const struct ig_eval_set *set)
{
    return set->count;
}

int64_t ig_eval_item_count(const struct ig_eval_set *set, int task)
{
    return set->parts[task].count;
}

struct ig_eval_item ig_eval_item_at(const struct ig_eval_set *set, int task, int64_t index)
{
    return set->parts[task].items[index];
}
