/* SPDX-License-Identifier: Apache-2.0
 * compare — reads the runs, sees that they may be compared, and computes. The tests: stats.h; what
 * the numbers mean: docs/compare.md. */
#include "eval/compare/compare_internal.h"

#include "eval/compare/stats.h"
#include "ingot/opt.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 10000 /* of resampling, unless the job says otherwise */

/* ---- reading ---- */

struct reader {
    struct compare_part **parts;
};

static bool read_one(void *user, int thread, int64_t index, struct ig_err *err)
{
    (void)thread;
    return eval__samples_read(((struct reader *)user)->parts[index], err);
}

static bool read_all(struct compare *c, struct ig_pool *pool, struct ig_err *err)
{
    struct reader reader = {0};
    int64_t count = 0;
    for (int i = 0; i < c->run_count; i++)
        count += c->runs[i].count;
    reader.parts = calloc((size_t)count + 1, sizeof(struct compare_part *));
    if (!reader.parts) return ig_err_nomem(err);
    count = 0;
    for (int i = 0; i < c->run_count; i++)
        for (int k = 0; k < c->runs[i].count; k++)
            reader.parts[count++] = &c->runs[i].parts[k];
    bool ok = ig_pool_each(pool, count, read_one, &reader, err);
    free(reader.parts);
    return ok;
}

static int64_t right_of(const struct compare_part *part)
{
    int64_t right = 0;
    for (int64_t i = 0; i < part->count; i++)
        right += part->items[i].right;
    return right;
}

/* The summary and the samples must be of the same run: half an item is rounding. */
static bool check_summary(const struct compare_part *part, struct ig_err *err)
{
    char key[160];
    double said, have = (double)right_of(part) / (double)part->count;
    struct ig_arena arena = {0};
    if (!part->summary.ptr) return true;
    const struct ig_json *summary = ig_json_parse(part->summary, &arena, err);
    snprintf(key, sizeof key, "%s,%s", part->metric.name, part->filter[0] ? part->filter : "none");
    bool told = ig_json_real(ig_json_get(summary, key), &said);
    ig_arena_release(&arena);
    if (!summary) return false;
    if (!told || fabs(said - have) < 0.5 / (double)part->count) return true;
    return ig_err_set(err, IG_ERR_DATA,
                      "'%s' gives %s %.4f, its results_TIME.json says %.4f: not the same run, or "
                      "not the whole of it",
                      part->path, part->metric.name, have, said);
}

static int part_order(const void *a, const void *b)
{
    return strcmp(((const struct compare_part *)a)->task, ((const struct compare_part *)b)->task);
}

/* ---- the grid of runs and tasks ---- */

static int find_task(const struct compare *c, const char *name)
{
    for (int t = 0; t < c->shown.task_count; t++)
        if (strcmp(c->tasks[t].name, name) == 0) return t;
    return -1;
}

static int task_order(const void *a, const void *b)
{
    return strcmp(((const struct ig_compare_task *)a)->name,
                  ((const struct ig_compare_task *)b)->name);
}

static bool gather_tasks(struct compare *c, struct ig_err *err)
{
    int room = 0;
    for (int i = 0; i < c->run_count; i++)
        room += c->runs[i].count;
    c->tasks = ig_arena_array(&c->arena, (size_t)room + 1, sizeof *c->tasks);
    if (!c->tasks) return ig_err_nomem(err);
    for (int i = 0; i < c->run_count; i++) {
        struct compare_run *run = &c->runs[i];
        qsort(run->parts, (size_t)run->count, sizeof *run->parts, part_order);
        for (int k = 0; k < run->count; k++)
            if (find_task(c, run->parts[k].task) < 0)
                c->tasks[c->shown.task_count++].name = run->parts[k].task;
    }
    qsort(c->tasks, (size_t)c->shown.task_count, sizeof *c->tasks, task_order);
    size_t cells = (size_t)c->run_count * (size_t)c->shown.task_count + 1;
    c->grid = ig_arena_array(&c->arena, cells, sizeof *c->grid);
    c->margins = ig_arena_array(&c->arena, cells, sizeof *c->margins);
    c->ids = ig_arena_array(&c->arena, (size_t)c->shown.task_count + 1, sizeof *c->ids);
    if (!c->grid || !c->margins || !c->ids) return ig_err_nomem(err);
    for (int i = 0; i < c->run_count; i++)
        for (int k = 0; k < c->runs[i].count; k++) {
            int t = find_task(c, c->runs[i].parts[k].task);
            c->grid[i * c->shown.task_count + t] = &c->runs[i].parts[k];
        }
    return true;
}

static const struct compare_part *cell(const struct compare *c, int run, int task)
{
    return c->grid[run * c->shown.task_count + task];
}

static bool keep_margins(struct compare *c, int run, int task, struct ig_err *err)
{
    const struct compare_part *part = cell(c, run, task);
    for (int64_t i = 0; i < part->count; i++)
        if (!part->items[i].has_margin) return true;
    double *margins = ig_arena_array(&c->arena, (size_t)part->count, sizeof *margins);
    if (!margins) return ig_err_nomem(err);
    for (int64_t i = 0; i < part->count; i++)
        margins[i] = part->items[i].margin;
    c->margins[run * c->shown.task_count + task] = margins;
    return true;
}

static bool in_mean(const struct compare *c, int task)
{
    for (int i = 0; i < c->run_count; i++)
        if (!cell(c, i, task)) return false;
    return true;
}

static bool open_cell(struct compare *c, int first, int run, int task, struct ig_err *err)
{
    const struct compare_part *part = cell(c, run, task);
    if (!part)
        return eval__note(c, err, "%s was not run on %s", c->runs[run].name, c->tasks[task].name);
    if (!keep_margins(c, run, task, err)) return false;
    return run == first ||
           eval__parts_match(&c->runs[first], cell(c, first, task), &c->runs[run], part, err);
}

/* A task's own figures; and whether all runs of it had the same items as the baseline's, or as the
 * first that has it. */
static bool open_task(struct compare *c, int task, struct ig_err *err)
{
    static const char *const words[] = {NULL, "article", "source", "twin pair"};
    struct ig_compare_task *t = &c->tasks[task];
    int first = c->shown.baseline;
    for (int i = 0; i < c->run_count && !cell(c, first, task); i++)
        first = i;
    const struct compare_part *part = cell(c, first, task);
    t->metric = part->metric.name;
    t->items = part->count;
    t->shots = part->shots;
    if (!eval__clusters(part, &c->arena, &c->ids[task], &t->clusters, err)) return false;
    if (t->clusters < t->items) t->cluster_word = words[part->cluster];
    if (part->other_filters &&
        !eval__note(c, err, "%s: only the answers of filter '%s' are compared", t->name,
                    part->filter))
        return false;
    for (int i = 0; i < c->run_count; i++)
        if (!open_cell(c, first, i, task, err)) return false;
    c->shown.mean_tasks += in_mean(c, task);
    return true;
}

static bool find_baseline(struct compare *c, const char *wish, struct ig_err *err)
{
    const char *names[COMPARE_MODELS_MAX + 1] = {NULL};
    for (int i = 0; wish && i < c->run_count; i++) {
        const struct compare_run *run = &c->runs[i];
        names[i] = run->name;
        if (strcmp(run->name, wish) == 0 || strcmp(run->path, wish) == 0 ||
            ig_slice_is(run->full_name, wish)) {
            c->shown.baseline = i;
            return true;
        }
    }
    if (!wish) return true;
    const char *near = ig_opt_nearest(ig_slice_of(wish), names);
    return ig_err_set(err, IG_ERR_USAGE, "no model '%s' to compare with; there is %s%s%s", wish,
                      near ? near : names[0], near || c->run_count < 2 ? "" : ", ",
                      near || c->run_count < 2 ? "" : names[1]);
}

/* ---- one model on one task ---- */

static bool score(struct compare *c, int run, int task, struct ig_compare_score *out,
                  struct ig_err *err)
{
    const struct compare_part *part = cell(c, run, task);
    if (!part) return true;
    struct eval_clusters clusters = {c->ids[task], part->count, c->tasks[task].clusters};
    double n = (double)part->count, design;
    double *x = calloc((size_t)part->count + 1, sizeof *x);
    if (!x) return ig_err_nomem(err);
    for (int64_t i = 0; i < part->count; i++)
        x[i] = part->items[i].right;
    bool ok = eval__design_effect(&clusters, x, &design, err);
    free(x);
    if (!ok) return false;
    out->items = part->count;
    out->right = right_of(part);
    out->value = (double)out->right / n;
    out->error = n > 1 ? sqrt(design * out->value * (1 - out->value) / (n - 1)) : (double)NAN;
    return true;
}

struct pairing { /* a model and the baseline on one task, summed over clusters */
    int32_t *sums, *sizes;
    double *changes; /* of margins */
    int64_t clusters;
};

static void pairing_release(struct pairing *p)
{
    free(p->sums);
    free(p->sizes);
    free(p->changes);
    *p = (struct pairing){0};
}

/* single: the differences of items, items of them. */
static bool pair_up(const struct compare *c, int run, int task, struct pairing *p, double *single,
                    struct ig_err *err)
{
    const struct compare_part *a = cell(c, c->shown.baseline, task), *b = cell(c, run, task);
    int cells = c->shown.task_count;
    const double *from = c->margins[c->shown.baseline * cells + task];
    const double *to = c->margins[run * cells + task];
    p->clusters = c->tasks[task].clusters;
    p->sums = calloc((size_t)p->clusters + 1, sizeof *p->sums);
    p->sizes = calloc((size_t)p->clusters + 1, sizeof *p->sizes);
    if (from && to) p->changes = calloc((size_t)p->clusters + 1, sizeof *p->changes);
    if (!p->sums || !p->sizes || (from && to && !p->changes)) {
        pairing_release(p);
        return ig_err_nomem(err);
    }
    for (int64_t i = 0; i < a->count; i++) {
        int32_t id = c->ids[task][i];
        int change = (int)b->items[i].right - (int)a->items[i].right;
        single[i] = change;
        p->sums[id] += change;
        p->sizes[id]++;
        if (p->changes) p->changes[id] += to[i] - from[i];
    }
    return true;
}

static void count_flips(const double *single, int64_t n, struct ig_compare_pair *out)
{
    for (int64_t i = 0; i < n; i++) {
        out->gained += single[i] > 0;
        out->lost += single[i] < 0;
    }
    out->difference = (double)(out->gained - out->lost) / (double)n;
}

static bool test_pair(struct compare *c, int task, const struct pairing *p, const double *single,
                      struct ig_pool *pool, struct ig_compare_pair *out, struct ig_err *err)
{
    int64_t items = c->tasks[task].items;
    double n = (double)items;
    struct eval_clusters clusters = {c->ids[task], items, p->clusters};
    struct eval_mcnemar mcnemar;
    count_flips(single, items, out);
    if (!eval__design_effect(&clusters, single, &out->design, err) ||
        !eval__mcnemar(p->sums, p->clusters, &mcnemar, err))
        return false;
    struct eval_interval interval = eval__tango((double)out->gained / out->design,
                                                (double)out->lost / out->design, n / out->design);
    out->low = interval.low;
    out->high = interval.high;
    out->p = mcnemar.p;
    out->detectable = mcnemar.critical ? (double)mcnemar.critical / n : (double)NAN;
    out->planned = (double)NAN;
    if (c->shown.plan > 0)
        out->planned = ceil(
            out->design * eval__items_needed(c->shown.plan, (double)(out->gained + out->lost) / n));
    out->margin_p = (double)NAN;
    if (!p->changes) return true;
    out->has_margin = true;
    for (int64_t i = 0; i < p->clusters; i++)
        out->margin_change += p->changes[i] / n;
    return eval__sign_flip(p->changes, p->clusters, c->shown.rounds, c->shown.seed, pool,
                           &out->margin_p, err);
}

/* ---- one model ---- */

static void adjust(struct ig_compare_pair *pairs, int count, double *scratch)
{
    for (int t = 0; t < count; t++)
        scratch[t] = pairs[t].verdict == IG_VERDICT_NONE ? (double)NAN : pairs[t].p;
    eval__holm(scratch, count);
    for (int t = 0; t < count; t++) {
        pairs[t].p_holm = scratch[t];
        if (pairs[t].verdict != IG_VERDICT_NONE && scratch[t] < 0.05)
            pairs[t].verdict = pairs[t].difference > 0 ? IG_VERDICT_BETTER : IG_VERDICT_WORSE;
    }
    for (int t = 0; t < count; t++)
        scratch[t] = pairs[t].has_margin ? pairs[t].margin_p : (double)NAN;
    eval__holm(scratch, count);
    for (int t = 0; t < count; t++)
        pairs[t].margin_p_holm = scratch[t];
}

/* Where few items differ, what is drawn from them is too sure of itself (from none: certain). So
 * the interval is at least what the tasks' own intervals make of the mean (Zou and Donner 2008),
 * and p is no smaller than what that interval, as a normal one, says of 0. */
static void widen(const struct compare *c, int run, struct eval_resampled *r)
{
    double difference = 0, below = 0, above = 0, tasks = c->shown.mean_tasks;
    for (int t = 0; t < c->shown.task_count; t++) {
        const struct ig_compare_pair *p = &c->models[run].pairs[t];
        if (!in_mean(c, t)) continue;
        difference += p->difference / tasks;
        below += (p->difference - p->low) * (p->difference - p->low);
        above += (p->high - p->difference) * (p->high - p->difference);
    }
    r->interval.low = fmin(r->interval.low, difference - sqrt(below) / tasks);
    r->interval.high = fmax(r->interval.high, difference + sqrt(above) / tasks);
    double half = sqrt(difference > 0 ? below : above) / tasks; /* the half that faces 0 */
    if (half > 0) r->p = fmax(r->p, eval__normal_p(EVAL_Z95 * difference / half));
}

static bool compare_mean(struct compare *c, int run, const struct pairing *pairings,
                         struct ig_pool *pool, struct ig_err *err)
{
    struct ig_compare_mean *mean = &c->models[run].mean;
    struct eval_resampled resampled;
    struct eval_stratum *strata = calloc((size_t)c->shown.task_count + 1, sizeof *strata);
    int count = 0;
    if (!strata) return ig_err_nomem(err);
    for (int t = 0; t < c->shown.task_count; t++) {
        if (!in_mean(c, t)) continue;
        strata[count++] = (struct eval_stratum){pairings[t].sums, pairings[t].sizes,
                                                pairings[t].clusters, c->tasks[t].items};
        mean->difference += c->models[run].pairs[t].difference / c->shown.mean_tasks;
    }
    bool ok = count == 0 ||
              eval__bootstrap(strata, count, c->shown.rounds, c->shown.seed, pool, &resampled, err);
    free(strata);
    if (!ok || count == 0) return ok;
    widen(c, run, &resampled);
    mean->low = resampled.interval.low;
    mean->high = resampled.interval.high;
    mean->error = resampled.error;
    mean->p = resampled.p;
    bool apart = mean->p < 0.05 && (mean->low > 0 || mean->high < 0);
    mean->verdict = !apart                 ? IG_VERDICT_SAME
                    : mean->difference > 0 ? IG_VERDICT_BETTER
                                           : IG_VERDICT_WORSE;
    return true;
}

static bool compare_tasks(struct compare *c, int run, struct ig_compare_pair *pairs,
                          struct pairing *pairings, struct ig_pool *pool, struct ig_err *err)
{
    int64_t most = 0;
    bool ok = true;
    for (int t = 0; t < c->shown.task_count; t++)
        most = c->tasks[t].items > most ? c->tasks[t].items : most;
    double *single = calloc((size_t)most + 1, sizeof *single);
    if (!single) return ig_err_nomem(err);
    for (int t = 0; ok && t < c->shown.task_count; t++) {
        if (!cell(c, run, t) || !cell(c, c->shown.baseline, t)) continue;
        pairs[t].verdict = IG_VERDICT_SAME;
        ok = pair_up(c, run, t, &pairings[t], single, err) &&
             test_pair(c, t, &pairings[t], single, pool, &pairs[t], err);
    }
    free(single);
    return ok;
}

static bool compare_model(struct compare *c, int run, struct ig_pool *pool, struct ig_err *err)
{
    int count = c->shown.task_count;
    struct ig_compare_model *model = &c->models[run];
    struct ig_compare_score *scores = ig_arena_array(&c->arena, (size_t)count, sizeof *scores);
    struct ig_compare_pair *pairs = ig_arena_array(&c->arena, (size_t)count, sizeof *pairs);
    double *scratch = ig_arena_array(&c->arena, (size_t)count, sizeof *scratch);
    struct pairing *pairings = calloc((size_t)count + 1, sizeof *pairings);
    bool ok = (scores && pairs && scratch && pairings) || ig_err_nomem(err);
    *model = (struct ig_compare_model){.name = c->runs[run].name,
                                       .path = c->runs[run].path,
                                       .scores = scores,
                                       .pairs = pairs,
                                       .profile = ""};
    model->mean.value = c->shown.mean_tasks ? 0 : (double)NAN;
    for (int t = 0; ok && t < count; t++) {
        ok = score(c, run, t, &scores[t], err);
        if (ok && in_mean(c, t)) model->mean.value += scores[t].value / c->shown.mean_tasks;
    }
    if (ok && run != c->shown.baseline) {
        ok = compare_tasks(c, run, pairs, pairings, pool, err);
        if (ok) adjust(pairs, count, scratch);
        ok = ok && compare_mean(c, run, pairings, pool, err);
    }
    for (int t = 0; pairings && t < count; t++)
        pairing_release(&pairings[t]);
    free(pairings);
    return ok;
}

/* ---- all ---- */

static bool open_runs(struct compare *c, const struct ig_compare_job *job, struct ig_pool *pool,
                      struct ig_err *err)
{
    c->run_room = COMPARE_MODELS_MAX;
    c->runs = ig_arena_array(&c->arena, COMPARE_MODELS_MAX, sizeof *c->runs);
    c->models = ig_arena_array(&c->arena, COMPARE_MODELS_MAX, sizeof *c->models);
    if (!c->runs || !c->models) return ig_err_nomem(err);
    for (size_t i = 0; i < job->path_count; i++)
        if (!eval__runs_find(c, job->paths[i], job->tasks, err)) return false;
    if (!eval__tasks_exist(c, job->tasks, err) || !eval__runs_name(c, err) ||
        !find_baseline(c, job->baseline, err) || !read_all(c, pool, err))
        return false;
    for (int i = 0; i < c->run_count; i++)
        for (int k = 0; k < c->runs[i].count; k++)
            if (!check_summary(&c->runs[i].parts[k], err)) return false;
    return gather_tasks(c, err);
}

static bool compute(struct compare *c, struct ig_pool *pool, struct ig_err *err)
{
    for (int t = 0; t < c->shown.task_count; t++)
        if (!open_task(c, t, err)) return false;
    for (int i = 0; i < c->run_count; i++)
        if (!compare_model(c, i, pool, err)) return false;
    c->shown.tasks = c->tasks;
    c->shown.models = c->models;
    c->shown.model_count = c->run_count;
    if (!eval__profiles(c, err)) return false;
    c->shown.notes = c->notes;
    return true;
}

bool ig_compare_open(const struct ig_compare_job *job, struct ig_comparison **out,
                     struct ig_err *err)
{
    struct compare *c = calloc(1, sizeof *c);
    struct ig_pool *pool = c ? ig_pool_new(job->threads, err) : NULL;
    if (!c) return ig_err_nomem(err);
    c->shown.rounds = job->rounds ? job->rounds : ROUNDS;
    c->shown.seed = job->seed;
    c->shown.plan = job->plan;
    bool ok = pool && open_runs(c, job, pool, err) && compute(c, pool, err);
    ig_pool_free(pool);
    if (!ok) {
        ig_compare_close(&c->shown);
        return false;
    }
    *out = &c->shown;
    return true;
}

void ig_compare_close(struct ig_comparison *comparison)
{
    if (!comparison) return;
    struct compare *c = (struct compare *)comparison; /* `shown` is its first member */
    eval__runs_release(c);
    ig_arena_release(&c->arena);
    free(c->notes);
    free(c);
}

const double *ig_compare_margins(const struct ig_comparison *comparison, int model, int task,
                                 int64_t *count)
{
    const struct compare *c = (const struct compare *)comparison;
    *count = comparison->tasks[task].items;
    return c->margins[model * comparison->task_count + task];
}
