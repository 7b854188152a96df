/* SPDX-License-Identifier: Apache-2.0
 * cells — what is done with one cell of a task's grid, whoever asks for it: the driver, or the
 * recipe of another document whose input this merge is (views/result.c). */
#include "merge/merge_internal.h"

#include <math.h>
#include <stdio.h>

bool merge__engine_init(struct merge_engine *e, const struct ig_merge *m, struct ig_err *err)
{
    enum ig_isa isa;
    if (!ig_isa_pick(&isa, err)) return false;
    IG_OPS_FILL(rows, &e->rows, isa);
    IG_OPS_FILL(convert, &e->convert, isa);
    IG_OPS_FILL(masks, &e->masks, isa);
    e->m = m;
    return true;
}

/* ---- what the method says of a task ---- */

size_t merge__memory_of(const struct ig_merge *m, const struct merge_task *task)
{
    const struct merge_method *method = m->recipe->method;
    if (!method->memory_bytes) return 0;
    return (size_t)method->memory_bytes(&task->job, merge__cell_count(task));
}

int64_t merge__tallies_of(const struct ig_merge *m, const struct merge_task *task)
{
    const struct merge_method *method = m->recipe->method;
    return method->tallies ? method->tallies(&task->job) : 0;
}

int merge__sums_of(const struct ig_merge *m, const struct merge_task *task, const void *state,
                   int round)
{
    const struct merge_method *method = m->recipe->method;
    return method->sums ? method->sums(&task->job, state, round) : -1;
}

int64_t merge__part_of(const struct ig_merge *m, const struct merge_task *task, int64_t index)
{
    const struct merge_method *method = m->recipe->method;
    int64_t cells = merge__cell_count(task);
    int64_t parts = method->parts ? method->parts(&task->job, cells) : 0;
    return parts > 0 ? ((index + 1) * parts - 1) / cells : index;
}

/* ---- cells ---- */

struct merge_cell merge__cell_at(const struct merge_task *task, int64_t index, void *memory)
{
    int64_t first = index * task->cell_elems, rest = task->job.tensor->elems - first;
    return (struct merge_cell){.task = task,
                               .index = index,
                               .first = first,
                               .count = rest < task->cell_elems ? rest : task->cell_elems,
                               .memory = memory};
}

bool merge__read_input(const struct merge_engine *e, struct merge_cell *cell, int input,
                       unsigned char *to, struct ig_err *err)
{
    const struct ig_tensor *t = cell->task->inputs[input];
    cell->raw[input] = to;
    return merge__input_read(&e->m->inputs[cell->task->models[input]], t, cell->first, cell->count,
                             to, err);
}

bool merge__read_cell(const struct merge_engine *e, const struct merge_worker *w,
                      struct merge_cell *cell, struct ig_err *err)
{
    for (int i = 0; i < cell->task->rows; i++)
        if (!merge__read_input(e, cell, i, w->raw + (size_t)(i * e->m->cell_elems) * sizeof(double),
                               err))
            return false;
    return true;
}

bool merge__copy_cell(const struct merge_engine *e, struct merge_worker *w, struct merge_cell *cell,
                      const void **out, struct ig_err *err)
{
    const struct merge_task *task = cell->task;
    const struct ig_tensor *from = task->inputs[task->source], *to = task->job.tensor;
    unsigned char *other = w->raw + (size_t)task->cell_elems * sizeof(double);
    size_t bytes = (size_t)cell->count * ig_dtype_bytes(from->dtype);
    if (!merge__read_input(e, cell, task->source, w->raw, err)) return false;
    for (int i = 1; task->action == MERGE_IDENTICAL && i < task->rows; i++) {
        if (!merge__read_input(e, cell, i, other, err)) return false;
        if (memcmp(w->raw, other, bytes) != 0)
            return ig_err_set(err, IG_ERR_DATA, "%s values differ between '%s' and '%s'",
                              ig_dtype_name(from->dtype), merge__input_name(e->m, task->models[0]),
                              merge__input_name(e->m, task->models[i]));
    }
    *out = w->raw;
    if (from->dtype == to->dtype) return true;
    const void *data = merge__recast(e, w, w->raw, cell->count, from->dtype, to->dtype, err);
    if (!data) return false;
    memcpy(w->cell, data, (size_t)cell->count * ig_dtype_bytes(to->dtype));
    *out = w->cell; /* a cast may recast it once more */
    return true;
}

/* ---- values that are not numbers ---- */

bool merge__refuse_nonfinite(const struct merge_engine *e, struct merge_worker *w,
                             const struct merge_task *task, struct ig_err *err)
{
    for (int i = 0; i < task->rows; i++) {
        int64_t bad = 0;
        for (int64_t c = 0; c < merge__cell_count(task); c++) {
            struct merge_cell cell = merge__cell_at(task, c, NULL);
            if (!merge__read_input(e, &cell, i, w->raw, err)) return false;
            bad += merge__count_nonfinite(e, w, &cell, i);
        }
        if (bad > 0)
            return ig_err_set(
                err, IG_ERR_DATA,
                "model '%s' has %lld values that are NaN or infinite (nonfinite: zero takes "
                "them for 0)",
                merge__input_name(e->m, task->models[i]), (long long)bad);
    }
    return task->job.tensor->dtype == IG_F16
               ? merge__fail_narrow(IG_F16, err)
               : ig_err_set(err, IG_ERR_DATA, "its values are too large for 32-bit arithmetic");
}

bool merge__all_finite(const double *sums, int count)
{
    for (int i = 0; i < count; i++)
        if (!isfinite(sums[i])) return false;
    return true;
}

bool merge__within_tensor(struct ig_slice name, struct ig_err *err)
{
    char place[IG_ERR_TEXT_MAX];
    int n = snprintf(place, sizeof place, "tensor '" IG_SLICE_FMT "'", IG_SLICE_ARG(name));
    if (n > 0 && strncmp(err->text, place, (size_t)n) == 0)
        return false; /* the input's, so named */
    return ig_err_within(err, "%s", place);
}
