/* SPDX-License-Identifier: Apache-2.0
 * driver — streams the inputs through the method into the sinks.
 *
 * Small tensors are one task each: a thread reads all inputs once, cell by cell, and keeps them for
 * the map. Large tensors are cut into cells that all threads share, and are read once for each
 * round and for the map (the page cache has them). Sums are taken cell by cell and added in the
 * order of cells in both cases, so that which case it was does not show in the bytes. */
#include "merge/merge_internal.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct run {
    struct merge_engine e;
    struct ig_merge *m;
    const struct ig_watch *watch;
    struct ig_pool *pool;
    struct merge_worker *workers; /* one for each thread */
    int worker_count;
    struct merge_sketch *sketch; /* or NULL */
    pthread_mutex_t lock;        /* for progress */
    struct ig_progress progress;
    /* of the tensor that is split now */
    int64_t index;
    void *state;
    void *memory; /* the method's */
    double *sums; /* cells x count */
    int round, count;
    int64_t parts;
    int64_t first_task; /* of the group of small tensors */
    int *owner;         /* of each tensor, its rank; NULL: there is one rank */
};

static bool is_mine(const struct run *run, int64_t index)
{
    return !run->owner || run->owner[index] == ig_dist_rank(run->m->job.dist);
}

/* ---- progress, errors ---- */

static bool advance(struct run *run, int64_t items, uint64_t bytes, struct ig_err *err)
{
    bool go = true;
    pthread_mutex_lock(&run->lock);
    run->progress.items_done += items;
    run->progress.bytes_done += (int64_t)bytes;
    if (run->watch && run->watch->progress)
        go = run->watch->progress(run->watch->user, &run->progress);
    pthread_mutex_unlock(&run->lock);
    return go || ig_err_set(err, IG_ERR_CANCELLED,
                            "stopped; what is finished is kept, and --resume goes on");
}

static uint64_t input_bytes(const struct merge_task *task)
{
    uint64_t bytes = 0;
    for (int i = 0; task->action != MERGE_TWIN && i < task->rows; i++)
        if (task->inputs[i]) bytes += task->inputs[i]->bytes;
    return bytes;
}

static bool within(const struct run *run, int64_t index, struct ig_err *err)
{
    if (err->code == IG_ERR_CANCELLED) return false;
    if (strncmp(err->text, "stage '", 7) == 0) return false; /* of another document */
    return merge__within_tensor(run->m->tensors[index].name, err);
}

static void clear_tallies(const struct run *run, int64_t count)
{
    for (int i = 0; count && i < run->worker_count; i++)
        memset(run->workers[i].tallies, 0, (size_t)count * sizeof(uint64_t));
}

/* ---- where a task's values go ---- */

static int target_count(const struct run *run, int64_t index)
{
    const struct merge_task *task = &run->m->tasks[index];
    return task->targets ? task->target_count : 1;
}

static struct merge_target target_at(const struct run *run, int64_t index, int i)
{
    const struct merge_task *task = &run->m->tasks[index];
    return task->targets ? task->targets[i] : (struct merge_target){index, 1};
}

static bool sinks_want(const struct run *run, int64_t index)
{
    for (int i = 0; i < run->m->output_count; i++)
        if (run->m->outputs[i].sink.wants(run->m->outputs[i].sink.self, index)) return true;
    return false;
}

static bool is_wanted(const struct run *run, int64_t index)
{
    for (int i = 0; i < target_count(run, index); i++)
        if (sinks_want(run, target_at(run, index, i).index)) return true;
    return false;
}

static bool is_traced(const struct run *run, int64_t index)
{
    for (int i = 0; run->sketch && i < target_count(run, index); i++)
        if (!merge__sketch_has(run->sketch, target_at(run, index, i).index)) return false;
    return true;
}

/* Hands a chunk, in the output's dtype, to every sink that wants it. A cast may take another type:
 * the same rounding, one after the other, as when the steps are run one by one. */
static bool put_one(const struct run *run, struct merge_worker *w, int64_t index,
                    const struct merge_cell *cell, const void *data, struct ig_err *err)
{
    const struct ig_tensor *t = &run->m->tensors[index];
    for (int i = 0; i < run->m->output_count; i++) {
        const struct merge_output *o = &run->m->outputs[i];
        const void *chunk = data;
        if (!o->sink.wants(o->sink.self, index)) continue;
        if (o->targets && o->targets[index].dtype != t->dtype)
            chunk = merge__recast(&run->e, w, data, cell->count, t->dtype, o->targets[index].dtype,
                                  err);
        if (!chunk || !o->sink.put(o->sink.self, index, cell->first, cell->count, chunk, err))
            return false;
    }
    return true;
}

static bool put(const struct run *run, struct merge_worker *w, int64_t index,
                const struct merge_cell *cell, const void *data, struct ig_err *err)
{
    enum ig_dtype dtype = run->m->tensors[index].dtype;
    for (int i = 0; i < target_count(run, index); i++) {
        struct merge_target to = target_at(run, index, i);
        if (!sinks_want(run, to.index)) continue;
        const void *own = data;
        if (to.scale != 1)
            own = merge__rescale(&run->e, w, data, cell->count, dtype, to.scale, err);
        if (!own || !put_one(run, w, to.index, cell, own, err)) return false;
    }
    return true;
}

/* The tensor is whole: its line in the sketchbook first, then the journals. */
static bool finish_one(const struct run *run, int64_t index, const void *state, struct ig_err *err)
{
    if (run->sketch && !merge__sketch_has(run->sketch, index) &&
        !merge__sketch_add(run->sketch, index, state, err))
        return false;
    for (int i = 0; i < run->m->output_count; i++) {
        const struct ig_sink *sink = &run->m->outputs[i].sink;
        if (sink->wants(sink->self, index) && !sink->done(sink->self, index, err)) return false;
    }
    return true;
}

static bool finish_tensor(const struct run *run, int64_t index, const void *state,
                          struct ig_err *err)
{
    for (int i = 0; i < target_count(run, index); i++)
        if (!finish_one(run, target_at(run, index, i).index, state, err)) return false;
    return true;
}

/* ---- small tensors ---- */

static size_t held_bytes(const struct ig_tensor *t)
{
    return (t->bytes + 63) / 64 * 64;
}

/* Points the cell at the held inputs, and reads them there the first time. */
static bool hold_cell(const struct run *run, const struct merge_worker *w, struct merge_cell *cell,
                      bool read, struct ig_err *err)
{
    unsigned char *base = w->raw;
    for (int i = 0; i < cell->task->rows; i++) {
        const struct ig_tensor *t = cell->task->inputs[i];
        cell->raw[i] = base + (size_t)cell->first * ig_dtype_bytes(t->dtype);
        base += held_bytes(t);
        if (read &&
            !merge__read_input(&run->e, cell, i, (unsigned char *)(uintptr_t)cell->raw[i], err))
            return false;
    }
    return true;
}

static bool reduce_held(const struct run *run, struct merge_worker *w,
                        const struct merge_task *task, bool *read, struct ig_err *err)
{
    double total[IG_ROWS_PAIRS(MERGE_MODELS_MAX + 1)], part[IG_ROWS_PAIRS(MERGE_MODELS_MAX + 1)];
    const struct merge_method *method = run->m->recipe->method;
    const struct merge_totals totals = {
        .sums = total, .tallies = w->tallies, .memory = w->held, .cells = merge__cell_count(task)};
    int count;
    for (int round = 0; (count = merge__sums_of(run->m, task, w->state, round)) >= 0; round++) {
        memset(total, 0, (size_t)count * sizeof *total);
        if (run->m->tallies)
            memset(w->tallies, 0, (size_t)merge__tallies_of(run->m, task) * sizeof(uint64_t));
        for (int64_t c = 0; c < merge__cell_count(task); c++) {
            struct merge_cell cell = merge__cell_at(task, c, w->held);
            cell.part = merge__part_of(run->m, task, c);
            if (!hold_cell(run, w, &cell, !*read, err)) return false;
            merge__reduce_cell(&run->e, w, &cell, w->state, round, part, count);
            for (int i = 0; i < count; i++)
                total[i] += part[i];
        }
        *read = true;
        if (!merge__all_finite(total, count)) return merge__refuse_nonfinite(&run->e, w, task, err);
        if (!method->solve(&task->job, w->state, round, &totals, err)) return false;
    }
    return true;
}

static bool merge_held(const struct run *run, struct merge_worker *w, int64_t index,
                       struct ig_err *err)
{
    const struct merge_task *task = &run->m->tasks[index];
    bool read = false;
    memset(w->state, 0, run->m->recipe->method->state_bytes);
    if (run->m->held_bytes) memset(w->held, 0, merge__memory_of(run->m, task));
    if (!reduce_held(run, w, task, &read, err)) return false;
    if (is_wanted(run, index)) {
        for (int64_t c = 0; c < merge__cell_count(task); c++) {
            struct merge_cell cell = merge__cell_at(task, c, w->held);
            if (!hold_cell(run, w, &cell, !read, err)) return false;
            if (!merge__map_cell(&run->e, w, &cell, w->state))
                return merge__refuse_nonfinite(&run->e, w, task, err);
            if (!put(run, w, index, &cell, w->cell, err)) return false;
        }
    }
    return finish_tensor(run, index, w->state, err);
}

/* One model's tensor, in the output's dtype; of MERGE_IDENTICAL, once all models agree on it. */
static bool copy_tensor(const struct run *run, struct merge_worker *w, int64_t index,
                        struct ig_err *err)
{
    const struct merge_task *task = &run->m->tasks[index];
    for (int64_t c = 0; c < merge__cell_count(task); c++) {
        struct merge_cell cell = merge__cell_at(task, c, NULL);
        const void *data;
        if (!merge__copy_cell(&run->e, w, &cell, &data, err)) return false;
        if (!put(run, w, index, &cell, data, err)) return false;
    }
    return finish_tensor(run, index, NULL, err);
}

static bool run_small(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct run *run = user;
    struct merge_worker *w = &run->workers[thread];
    index += run->first_task;
    const struct merge_task *task = &run->m->tasks[index];
    bool ok = true;
    if (!is_mine(run, index)) return true;
    if (task->action == MERGE_TWIN) return advance(run, 1, 0, err);
    if (!is_traced(run, index) || is_wanted(run, index))
        ok = task->action == MERGE_HELD ? merge_held(run, w, index, err)
                                        : copy_tensor(run, w, index, err);
    if (!ok) return within(run, index, err);
    return advance(run, 1, input_bytes(task), err);
}

/* ---- large tensors ---- */

static bool reduce_one(struct run *run, struct merge_worker *w, int64_t index, struct ig_err *err)
{
    struct merge_cell cell = merge__cell_at(&run->m->tasks[run->index], index, run->memory);
    cell.part = merge__part_of(run->m, cell.task, index);
    if (!merge__read_cell(&run->e, w, &cell, err)) return within(run, run->index, err);
    merge__reduce_cell(&run->e, w, &cell, run->state, run->round, run->sums + index * run->count,
                       run->count);
    uint64_t bytes = 0;
    for (int i = 0; run->round == 0 && i < cell.task->rows; i++)
        bytes += (uint64_t)cell.count * ig_dtype_bytes(cell.task->inputs[i]->dtype);
    return advance(run, 0, bytes, err);
}

static bool reduce_split(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct run *run = user;
    int64_t cells = merge__cell_count(&run->m->tasks[run->index]);
    for (int64_t c = index * cells / run->parts; c < (index + 1) * cells / run->parts; c++)
        if (!reduce_one(run, &run->workers[thread], c, err)) return false;
    return true;
}

static bool map_split(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct run *run = user;
    struct merge_worker *w = &run->workers[thread];
    const struct merge_task *task = &run->m->tasks[run->index];
    struct merge_cell cell = merge__cell_at(task, index, run->memory);
    bool ok = merge__read_cell(&run->e, w, &cell, err);
    if (ok && !merge__map_cell(&run->e, w, &cell, run->state))
        ok = merge__refuse_nonfinite(&run->e, w, task, err);
    ok = ok && put(run, w, run->index, &cell, w->cell, err);
    return ok ? advance(run, 0, 0, err) : within(run, run->index, err);
}

static bool solve_split(struct run *run, const struct merge_task *task, int64_t cells,
                        struct ig_err *err)
{
    double total[IG_ROWS_PAIRS(MERGE_MODELS_MAX + 1)] = {0};
    for (int64_t c = 0; c < cells; c++)
        for (int i = 0; i < run->count; i++)
            total[i] += run->sums[c * run->count + i];
    if (!merge__all_finite(total, run->count))
        return merge__refuse_nonfinite(&run->e, &run->workers[0], task, err);
    uint64_t *tallies = run->workers[0].tallies;
    for (int w = 1; w < run->worker_count; w++)
        for (int64_t i = 0; i < merge__tallies_of(run->m, task); i++)
            tallies[i] += run->workers[w].tallies[i];
    const struct merge_totals totals = {total, tallies, run->memory, cells, run->pool};
    return run->m->recipe->method->solve(&task->job, run->state, run->round, &totals, err);
}

static bool run_split(struct run *run, int64_t index, struct ig_err *err)
{
    const struct merge_task *task = &run->m->tasks[index];
    const struct merge_method *method = run->m->recipe->method;
    int64_t cells = merge__cell_count(task);
    uint64_t bytes = input_bytes(task);
    if (!is_mine(run, index)) return true;
    if (is_traced(run, index) && !is_wanted(run, index)) return advance(run, 1, bytes, err);
    run->index = index;
    memset(run->state, 0, method->state_bytes);
    if (run->memory) memset(run->memory, 0, merge__memory_of(run->m, task));
    run->parts = method->parts ? method->parts(&task->job, cells) : 0;
    if (run->parts <= 0) run->parts = cells;
    run->round = 0;
    if (!merge__results_solve(run->m, task, run->pool, err)) return within(run, index, err);
    while ((run->count = merge__sums_of(run->m, task, run->state, run->round)) >= 0) {
        clear_tallies(run, merge__tallies_of(run->m, task));
        if (!ig_pool_each(run->pool, run->parts, reduce_split, run, err)) return false;
        if (!solve_split(run, task, cells, err)) return within(run, index, err);
        run->round++;
    }
    if (is_wanted(run, index) && !ig_pool_each(run->pool, cells, map_split, run, err)) return false;
    if (!finish_tensor(run, index, run->state, err)) return within(run, index, err);
    return advance(run, 1, run->round ? 0 : bytes, err);
}

/* ---- the whole ---- */

static bool run_all(struct run *run, struct ig_err *err)
{
    const struct ig_merge *m = run->m;
    for (int64_t i = 0, end; i < m->count; i = end) {
        for (end = i; end < m->count && m->tasks[end].action != MERGE_SPLIT;)
            end++;
        run->first_task = i;
        if (end > i && !ig_pool_each(run->pool, end - i, run_small, run, err)) return false;
        if (end == m->count) break;
        if (!run_split(run, end++, err)) return false;
    }
    return true;
}

/* All memory of the run, before the first byte is read. */
static bool prepare(struct run *run, struct ig_err *err)
{
    const struct ig_merge *m = run->m;
    int64_t cells = 0;
    if (!merge__engine_init(&run->e, m, err)) return false;
    if (!merge__share(m, &run->owner, err)) return false;
    for (int64_t i = 0; i < m->count; i++) {
        if (!is_mine(run, i)) continue;
        run->progress.items_total++;
        run->progress.bytes_total += (int64_t)input_bytes(&m->tasks[i]);
        if (m->tasks[i].action == MERGE_SPLIT && merge__cell_count(&m->tasks[i]) > cells)
            cells = merge__cell_count(&m->tasks[i]);
    }
    run->progress.phase = "merge";
    run->pool = ig_pool_new(m->threads, err);
    if (!run->pool) return false;
    run->workers = calloc((size_t)m->threads, sizeof *run->workers);
    run->state = calloc(1, m->recipe->method->state_bytes + 1);
    run->sums =
        calloc((size_t)cells * IG_ROWS_PAIRS((size_t)m->rows_max + 1) + 1, sizeof *run->sums);
    if (!run->workers || !run->state || !run->sums) return ig_err_nomem(err);
    if (m->whole_bytes) {
        run->memory = aligned_alloc(64, (m->whole_bytes + 63) / 64 * 64);
        if (!run->memory) return ig_err_nomem(err);
    }
    for (int i = 0; i < m->threads; i++, run->worker_count++)
        if (!merge__worker_new(m, &run->workers[i], err)) return false;
    return merge__results_ready(run->m, err);
}

static void release(struct run *run)
{
    for (int i = 0; i < run->worker_count; i++)
        merge__worker_free(&run->workers[i]);
    free(run->workers);
    free(run->state);
    free(run->sums);
    free(run->memory);
    free(run->owner);
    ig_pool_free(run->pool);
    merge__sketch_close(run->sketch);
    pthread_mutex_destroy(&run->lock);
}

static void fill_report(const struct ig_merge *m, double start, struct ig_job_report *report)
{
    *report = (struct ig_job_report){.tensors = m->count,
                                     .input_bytes = m->input_bytes,
                                     .peak_bytes = ig_peak_bytes(),
                                     .seconds = ig_clock_seconds() - start,
                                     .output_count = m->output_count};
    int64_t elems = 0;
    for (int64_t i = 0; i < m->count; i++)
        elems += m->tensors[i].elems;
    for (int i = 0; i < m->output_count; i++) {
        const struct merge_output *o = &m->outputs[i];
        struct ig_output_report *to = &report->outputs[i];
        snprintf(to->recipe, sizeof to->recipe, "%s", o->name);
        snprintf(to->path, sizeof to->path, "%s", o->path);
        to->bytes = merge__output_bytes(m, i);
        to->bits_per_weight = elems ? 8.0 * (double)m->output_bytes / (double)elems : 0;
        if (o->cast) to->bits_per_weight = ig_cast_bits_per_weight(o->cast);
        report->output_bytes += to->bytes;
    }
}

bool ig_merge_run(struct ig_merge *m, const struct ig_watch *watch, struct ig_job_report *report,
                  struct ig_err *err)
{
    struct run run = {.m = m, .watch = watch, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct ig_buf sketchbook = {.len_max = (size_t)4 << 30};
    double start = ig_clock_seconds();
    m->watch = watch;
    m->watch_lock = &run.lock;
    bool ok = prepare(&run, err) && merge__outputs_start(m, err);
    if (ok && m->job.trace) ok = merge__sketch_open(m, &run.sketch, err);
    ok = ok && run_all(&run, err);
    if (ok && run.sketch && run.owner) ok = merge__sketch_sync(run.sketch, err);
    ok = ok && merge__outputs_gather(m, err);
    if (ok && run.sketch && ig_dist_rank(m->job.dist) == 0)
        ok = merge__sketch_take(run.sketch, &sketchbook, err);
    ok = ok && merge__outputs_finish(m, ig_buf_view(&sketchbook), err);
    if (ok) fill_report(m, start, report);
    ig_buf_release(&sketchbook);
    release(&run);
    return ok;
}
