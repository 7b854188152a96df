/* SPDX-License-Identifier: Apache-2.0
 * plan — from a recipe to what is done with each tensor, before a byte of weights is read.
 *
 * join.c has found which tensors belong together; here: whether they fit, how each is made, and the
 * memory that takes. */
#include "merge/merge_internal.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>

#define MEMORY_DEFAULT ((int64_t)160 << 20)
#define MEMORY_MIN     ((int64_t)8 << 20)
#define LISTED_MAX     4 /* tensors that an error message names */

struct planner {
    struct ig_merge *m;
    const struct ig_watch *watch;
    struct ig_arena arena; /* of the plan only */
    struct merge_entry *entries;
    int64_t count;
    const int *const *models; /* for each slice, which of the recipe's models each row is of */
    const struct ig_slice *const *names; /* and what the recipe calls them */
    struct merge_notes notes;
    bool as_result; /* it is to be another merge's input */
};

/* ---- what does not fit together ---- */

static void print_shape(struct ig_buf *out, const struct ig_tensor *t)
{
    ig_buf_char(out, '[');
    for (int d = 0; d < t->rank; d++)
        ig_buf_printf(out, "%s%lld", d ? ", " : "", (long long)t->shape[d]);
    ig_buf_char(out, ']');
}

static bool same_shape(const struct ig_tensor *a, const struct ig_tensor *b)
{
    if (a->rank != b->rank) return false;
    for (int d = 0; d < a->rank; d++)
        if (a->shape[d] != b->shape[d]) return false;
    return true;
}

static int rows_of(const struct ig_merge *m, const struct merge_entry *e)
{
    return m->recipe->slices[e->slice].count;
}

static const char *model_of(const struct ig_merge *m, const struct merge_entry *e, int row)
{
    return merge__input_name(m, m->recipe->slices[e->slice].sources[row].model);
}

static bool is_complete(const struct ig_merge *m, const struct merge_entry *e)
{
    for (int i = 0; i < rows_of(m, e); i++)
        if (!e->inputs[i] || !same_shape(e->inputs[i], e->first)) return false;
    return true;
}

/* The row to copy from, as copy_missing_from says; -1: none. */
static int copy_source(const struct ig_merge *m, const struct merge_entry *e)
{
    const struct recipe_slice *slice = m->recipe->slices + e->slice;
    for (int i = 0; i < m->recipe->copy_count; i++)
        for (int row = 0; row < slice->count; row++)
            if (e->inputs[row] && slice->sources[row].model == m->recipe->copy_from[i]) return row;
    return -1;
}

/* "'x': not in 'B'" or "'x': 'A' has [4, 8], 'B' has [4, 9]". */
static void describe_misfit(const struct ig_merge *m, const struct merge_entry *e,
                            struct ig_buf *out)
{
    const char *comma = "";
    bool absent = false;
    ig_buf_printf(out, "'" IG_SLICE_FMT "': ", IG_SLICE_ARG(e->name));
    for (int i = 0; i < rows_of(m, e); i++) {
        if (e->inputs[i]) continue;
        ig_buf_printf(out, "%s'%s'", absent ? ", " : "not in ", model_of(m, e, i));
        absent = true;
    }
    for (int i = 0; !absent && i < rows_of(m, e); i++) {
        ig_buf_printf(out, "%s'%s' has ", comma, model_of(m, e, i));
        print_shape(out, e->inputs[i]);
        comma = ", ";
    }
}

static bool check_complete(struct planner *p, struct ig_err *err)
{
    const struct ig_merge *m = p->m;
    struct ig_buf text = {0};
    int64_t bad = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const struct merge_entry *e = p->entries + i;
        if (is_complete(m, e) || copy_source(m, e) >= 0) continue;
        if (bad++ >= LISTED_MAX) continue;
        if (bad > 1) ig_buf_text(&text, "; ");
        describe_misfit(m, e, &text);
    }
    if (bad > LISTED_MAX) ig_buf_printf(&text, "; and %lld more", (long long)(bad - LISTED_MAX));
    if (bad > 0)
        ig_err_set(
            err, IG_ERR_DATA,
            "the models differ in %lld tensors (copy_missing_from: MODEL would copy them): %s",
            (long long)bad, text.data ? text.data : "");
    ig_buf_release(&text);
    return bad == 0;
}

/* ---- tasks ---- */

static bool all_float(const struct ig_merge *m, const struct merge_entry *e, struct ig_err *err)
{
    for (int i = 0; i < rows_of(m, e); i++) {
        enum ig_dtype dtype = e->inputs[i]->dtype;
        if (ig_dtype_is_float(dtype) && ig_dtype_bytes(dtype) == 1)
            return ig_err_set(
                err, IG_ERR_UNSUPPORTED,
                "tensor '" IG_SLICE_FMT "' of model '%s' is %s, and has no scale tensor",
                IG_SLICE_ARG(e->inputs[i]->name), model_of(m, e, i), ig_dtype_name(dtype));
    }
    return true;
}

static bool is_mergeable(const struct ig_merge *m, const struct merge_entry *e, bool *out,
                         struct ig_err *err)
{
    int floats = 0;
    for (int i = 0; i < rows_of(m, e); i++)
        floats += ig_dtype_is_float(e->inputs[i]->dtype);
    *out = floats == rows_of(m, e);
    if (*out) return all_float(m, e, err);
    for (int i = 1; i < rows_of(m, e); i++)
        if (e->inputs[i]->dtype != e->inputs[0]->dtype)
            return ig_err_set(
                err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' is %s in '%s' and %s in '%s'",
                IG_SLICE_ARG(e->name), ig_dtype_name(e->inputs[0]->dtype), model_of(m, e, 0),
                ig_dtype_name(e->inputs[i]->dtype), model_of(m, e, i));
    return true;
}

static bool set_dtype(struct ig_tensor *t, enum ig_dtype dtype, struct ig_err *err)
{
    t->dtype = dtype;
    if (ig_size_mul((size_t)t->elems, ig_dtype_bytes(dtype), &t->bytes)) return true;
    return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' is too large",
                      IG_SLICE_ARG(t->name));
}

/* The type that mergekit computes in: the recipe's dtype, or the one that holds all inputs' types.
 */
static enum ig_dtype common_dtype(const struct ig_recipe *r, const struct merge_task *task)
{
    if (r->has_dtype) return r->dtype;
    enum ig_dtype dtype = task->inputs[0]->dtype;
    for (int i = 1; i < task->rows; i++)
        if (task->inputs[i]->dtype != dtype) return IG_F32;
    return dtype == IG_F64 ? IG_F32 : dtype;
}

static bool set_numerics(struct planner *p, struct merge_task *task, struct ig_err *err)
{
    const struct ig_recipe *r = p->m->recipe;
    if (r->stepwise) task->job.numerics = common_dtype(r, task);
    if (r->method->random) {
        struct ig_digest digest =
            ig_digest_of(task->job.tensor->name.ptr, task->job.tensor->name.len);
        task->job.seed = digest.low ^ ((uint64_t)r->seed * 0x9E3779B97F4A7C15u);
    }
    if (task->job.numerics == IG_F32 || r->method->stepwise) return true;
    return ig_err_set(err, IG_ERR_UNSUPPORTED,
                      "%s: numerics: mergekit of %s in %s cannot be reproduced; it can with dtype: "
                      "float32",
                      r->name, r->method->name, ig_dtype_name(task->job.numerics));
}

static bool resolve(struct planner *p, const struct merge_entry *e, struct merge_task *task,
                    struct ig_err *err)
{
    struct ig_merge *m = p->m;
    struct merge_resolved resolved;
    const struct merge_where where = {.slice = e->slice,
                                      .name = e->name,
                                      .inputs = (const struct ig_tensor *const *)e->inputs,
                                      .t = e->t};
    bool ok = merge__params_resolve(m->params, &where, &resolved, err);
    if (ok) {
        task->common = resolved.common;
        task->job.options = resolved.options;
        task->job.model_options = resolved.model_options;
        const struct merge_method *method = m->recipe->method;
        if (!method->check || method->check(&task->job, &p->notes, err)) return true;
        ig_err_within(err, "tensor '" IG_SLICE_FMT "'", IG_SLICE_ARG(task->job.tensor->name));
        if (err->code == IG_ERR_USAGE)
            err->code = IG_ERR_DATA; /* the recipe's fault, not the command's */
    }
    return ig_err_within(err, "%s", m->recipe->name);
}

/* Cells and blocks; of whole rows where the method wants them. */
static bool plan_grid(const struct ig_merge *m, struct merge_task *task, struct ig_err *err)
{
    const struct merge_method *method = m->recipe->method;
    int64_t row = method->row ? method->row(&task->job) : 0;
    if (row <= 0) return true;
    if (row > MERGE_ROW_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "tensor '" IG_SLICE_FMT "' has rows of %lld elements; %s works on whole "
                          "rows, of at most %lld",
                          IG_SLICE_ARG(task->job.tensor->name), (long long)row, method->name,
                          (long long)MERGE_ROW_MAX);
    task->block_elems = row;
    task->cell_elems = row < MERGE_CELL ? MERGE_CELL / row * row : row;
    return true;
}

/* How a tensor that all inputs have in the same shape is made. */
static bool plan_merge(struct planner *p, const struct merge_entry *e, struct merge_task *task,
                       struct ig_tensor *out, struct ig_err *err)
{
    const struct ig_merge *m = p->m;
    bool mergeable;
    task->inputs = e->inputs;
    if (!is_mergeable(m, e, &mergeable, err)) return false;
    if (!mergeable) {
        task->action = MERGE_IDENTICAL;
        return true;
    }
    enum ig_dtype dtype =
        m->recipe->has_out_dtype ? m->recipe->out_dtype : merge__stored_dtype(e->inputs[0]);
    if (!set_dtype(out, dtype, err) || !set_numerics(p, task, err) || !resolve(p, e, task, err))
        return false;
    const struct merge_method *method = m->recipe->method;
    bool changes = m->recipe->has_dtype && m->recipe->dtype != dtype; /* before it is written */
    changes = changes || task->common.nonfinite == MERGE_NONFINITE_ZERO;
    if (out->elems == 0 || (method->copies && !changes && method->copies(&task->job))) {
        task->action = MERGE_COPY;
        return true;
    }
    size_t held = 0;
    for (int i = 0; i < rows_of(m, e); i++)
        held += (e->inputs[i]->bytes + 63) / 64 * 64;
    if (!plan_grid(m, task, err)) return false;
    size_t memory = merge__memory_of(m, task);
    size_t most = held / 8 > MERGE_HELD_MEMORY ? held / 8 : MERGE_HELD_MEMORY;
    bool small = memory <= (method->pooled ? 0 : most);
    task->action = held <= m->thread_bytes && small ? MERGE_HELD : MERGE_SPLIT;
    return true;
}

static bool plan_copy(const struct ig_merge *m, const struct merge_entry *e,
                      struct merge_task *task, struct ig_tensor *out, struct ig_err *err)
{
    task->action = MERGE_COPY;
    task->source = copy_source(m, e);
    task->inputs = e->inputs;
    *out = *e->inputs[task->source];
    out->name = e->name;
    if (!ig_dtype_is_float(out->dtype)) return true;
    return set_dtype(out,
                     m->recipe->has_out_dtype ? m->recipe->out_dtype
                                              : merge__stored_dtype(e->inputs[task->source]),
                     err);
}

/* What the rows of every slice are. */
static bool list_rows(struct planner *p, struct ig_err *err)
{
    struct ig_merge *m = p->m;
    const struct ig_recipe *r = m->recipe;
    const int **models = ig_arena_array(&p->arena, (size_t)r->slice_count, sizeof *models);
    const struct ig_slice **names =
        ig_arena_array(&p->arena, (size_t)r->slice_count, sizeof *names);
    if (!models || !names) return ig_err_nomem(err);
    for (int i = 0; i < r->slice_count; i++) {
        const struct recipe_slice *slice = r->slices + i;
        int *own = ig_arena_array(&m->arena, (size_t)slice->count, sizeof *own);
        struct ig_slice *called = ig_arena_array(&m->arena, (size_t)slice->count, sizeof *called);
        if (!own || !called) return ig_err_nomem(err);
        for (int row = 0; row < slice->count; row++) {
            own[row] = slice->sources[row].model;
            called[row] = r->models[own[row]].path;
        }
        models[i] = own;
        names[i] = called;
        if (slice->count > m->rows_max) m->rows_max = slice->count;
    }
    p->models = models;
    p->names = names;
    return true;
}

static bool plan_task(struct planner *p, const struct merge_entry *e, struct merge_task *task,
                      struct ig_tensor *out, struct ig_err *err)
{
    const struct ig_merge *m = p->m;
    const struct recipe_slice *slice = m->recipe->slices + e->slice;
    *out = *e->first;
    out->name = e->name;
    task->rows = slice->count;
    task->models = p->models[e->slice];
    task->job = (struct merge_case){.method = m->recipe->method,
                                    .tensor = out,
                                    .models = slice->count,
                                    .model_names = p->names[e->slice],
                                    .base = slice->base,
                                    .sign_ref = -1,
                                    .numerics = IG_F32};
    task->cell_elems = MERGE_CELL;
    task->block_elems = IG_ROWS_BLOCK;
    ig_arch_place(e->arch, out->name, &task->job.place);
    return is_complete(m, e) ? plan_merge(p, e, task, out, err) : plan_copy(m, e, task, out, err);
}

/* The copies of tensor `parent`, which are all in the same group. */
static bool plan_copies(struct planner *p, int64_t parent, const int64_t *members, int64_t count,
                        struct ig_err *err)
{
    struct ig_merge *m = p->m;
    struct merge_target *targets = ig_arena_array(&m->arena, (size_t)count, sizeof *targets);
    if (!targets) return ig_err_nomem(err);
    for (int64_t i = 0; i < count; i++) {
        const struct merge_entry *e = p->entries + members[i];
        bool scales = ig_dtype_is_float(m->tensors[parent].dtype);
        targets[i] = (struct merge_target){members[i], scales ? (float)e->scale : 1};
        if (members[i] == parent) continue;
        m->tensors[members[i]] = m->tensors[parent];
        m->tensors[members[i]].name = e->name;
        struct merge_task *twin = m->tasks + members[i];
        *twin = m->tasks[parent];
        twin->action = MERGE_TWIN;
        twin->twin = parent;
        twin->job.tensor = m->tensors + members[i];
        ig_arch_place(e->arch, e->name, &twin->job.place);
    }
    m->tasks[parent].targets = targets;
    m->tasks[parent].target_count = (int)count;
    return true;
}

static bool plan_twins(struct planner *p, struct ig_err *err)
{
    int64_t copies = 0;
    for (int64_t i = 0; i < p->count; i++)
        if (p->entries[i].twin >= copies) copies = p->entries[i].twin + 1;
    /* by group and copy; -1 where there is none */
    int64_t *members =
        ig_arena_array(&p->arena, (size_t)p->count * (size_t)copies, sizeof *members);
    if (!members) return ig_err_nomem(err);
    memset(members, -1, (size_t)p->count * (size_t)copies * sizeof *members);
    for (int64_t i = 0; i < p->count; i++)
        members[p->entries[i].group * copies + p->entries[i].twin] = i;
    for (int64_t g = 0; g < p->count; g++) {
        const int64_t *own = members + g * copies;
        bool scaled = own[0] >= 0 && p->entries[own[0]].scale != 1;
        int64_t count = 1;
        while (count < copies && own[count] >= 0)
            count++;
        if (own[0] >= 0 && (count > 1 || scaled) && !plan_copies(p, own[0], own, count, err))
            return false;
    }
    return true;
}

static bool plan_tasks(struct planner *p, struct ig_err *err)
{
    struct ig_merge *m = p->m;
    m->tensors = ig_arena_array(&m->arena, (size_t)p->count, sizeof *m->tensors);
    m->tasks = ig_arena_array(&m->arena, (size_t)p->count, sizeof *m->tasks);
    if (!m->tensors || !m->tasks) return ig_err_nomem(err);
    m->count = p->count;
    for (int64_t i = 0; i < p->count; i++)
        if (p->entries[i].twin == 0 &&
            !plan_task(p, p->entries + i, m->tasks + i, m->tensors + i, err))
            return false;
    if (m->recipe->expand && !plan_twins(p, err)) return false;
    for (int64_t i = 0; i < p->count; i++)
        m->output_bytes += m->tensors[i].bytes;
    return true;
}

/* ---- memory, fingerprint ---- */

static void size_memory(struct ig_merge *m)
{
    size_t largest = 0;
    for (int64_t i = 0; i < m->count; i++) {
        const struct merge_task *task = m->tasks + i;
        size_t held = 0, *most = task->action == MERGE_HELD ? &m->held_bytes : &m->whole_bytes;
        for (int k = 0; task->action == MERGE_HELD && k < task->rows; k++)
            held += (task->inputs[k]->bytes + 63) / 64 * 64;
        if (held > largest) largest = held;
        if (task->cell_elems > m->cell_elems) m->cell_elems = task->cell_elems;
        if (task->block_elems > m->block_elems) m->block_elems = task->block_elems;
        if (task->action != MERGE_SPLIT && task->action != MERGE_HELD) continue;
        size_t memory = merge__memory_of(m, task);
        if (memory > *most) *most = memory;
        int64_t tallies = merge__tallies_of(m, task);
        if (tallies > m->tallies) m->tallies = tallies;
    }
    if (m->block_elems < IG_ROWS_BLOCK)
        m->block_elems = IG_ROWS_BLOCK; /* changes of type take these */
    m->block_elems = (m->block_elems + 15) / 16 * 16;
    size_t cell = (size_t)(m->rows_max * m->cell_elems) * sizeof(double);
    m->thread_bytes = largest > cell ? largest : cell;
}

/* Everything that decides the output's bytes: resume refuses another one, and says what it is. */
static bool list_origins(struct ig_merge *m, struct ig_err *err)
{
    struct ig_buf text = {0};
    struct ig_slice recipe = m->recipe->text;
    char hex[IG_DIGEST_HEX];
    ig_digest_hex(ig_digest_of(recipe.ptr, recipe.len), hex);
    ig_buf_printf(&text, "ingot's version\t%s\nthe recipe\t%s\n", INGOT_VERSION, hex);
    bool ok = true;
    for (int i = 0; ok && i < m->recipe->count; i++)
        ok = merge__input_put_origins(&m->inputs[i], &text, err);
    if (ok && m->tokenizer_folder) ok = ig_folder_put_origins(m->tokenizer_folder, &text, err);
    if (ok) {
        m->origins = ig_arena_copy(&m->arena, ig_buf_view(&text));
        ok = m->origins.ptr || ig_err_nomem(err);
    }
    ig_buf_release(&text);
    return ok;
}

static bool plan_all(struct planner *p, struct ig_err *err)
{
    struct ig_merge *m = p->m;
    const struct ig_recipe *r = m->recipe;
    int64_t memory = m->job.memory_bytes ? m->job.memory_bytes : MEMORY_DEFAULT;
    if (memory < MEMORY_MIN)
        return ig_err_set(err, IG_ERR_USAGE, "the working set must be at least %lld MiB",
                          (long long)(MEMORY_MIN >> 20));
    if (m->job.threads < 0 || m->job.threads > 1024)
        return ig_err_set(err, IG_ERR_USAGE, "threads must be 0 to 1024");
    m->threads = m->job.threads ? m->job.threads : ig_core_count();
    /* a result has no tensor to itself: cell by cell is how it is asked for */
    m->thread_bytes = p->as_result ? 0 : (size_t)memory / (size_t)m->threads;
    m->donor = r->base >= 0 ? r->base : r->slices[0].sources[0].model;
    if (!merge__inputs_open(m, p->watch, err)) return false;
    if (!merge__apply_tokenizer(m, p->watch, err) || !merge__apply_template(m, p->watch, err))
        return ig_err_within(err, "%s", r->name);
    if (!merge__apply_transplant(m, p->watch, err)) return false;
    if (!merge__params_new(r, &m->params, err)) return false;
    if (!list_rows(p, err) || !merge__join(m, &p->arena, &p->entries, &p->count, err) ||
        !check_complete(p, err) || !plan_tasks(p, err))
        return false;
    if (m->count == 0) return ig_err_set(err, IG_ERR_DATA, "the models have no tensors");
    if (!merge__params_check_used(m->params, p->watch, err))
        return ig_err_within(err, "%s", r->name);
    merge__check_template(m, p->watch);
    size_memory(m);
    if (!list_origins(m, err) || !merge__outputs_plan(m, err)) return false;
    merge__warn_context(m, p->watch);
    merge__warn_layers(m, p->watch);
    return true;
}

static bool plan(const struct ig_merge_job *job, bool as_result, const struct ig_watch *watch,
                 struct ig_merge **out, struct ig_err *err)
{
    struct ig_merge *m = calloc(1, sizeof *m);
    if (!m) return ig_err_nomem(err);
    m->recipe = job->recipe;
    m->job = *job;
    struct planner p = {.m = m, .watch = watch, .notes = {.watch = watch}, .as_result = as_result};
    bool ok = plan_all(&p, err);
    ig_arena_release(&p.arena);
    if (!ok) {
        ig_merge_close(m);
        return false;
    }
    *out = m;
    return true;
}

bool ig_merge_plan(const struct ig_merge_job *job, const struct ig_watch *watch,
                   struct ig_merge **out, struct ig_err *err)
{
    return plan(job, false, watch, out, err);
}

/* A result may have results for inputs: stages.c caps how deep that goes. */
bool merge__plan_result(const struct ig_merge_job *job, const struct ig_watch *watch,
                        struct ig_merge **out, struct ig_err *err)
{
    return plan(job, true, watch, out, err);
}

void ig_merge_close(struct ig_merge *m)
{
    if (!m) return;
    merge__outputs_close(m);
    merge__inputs_close(m);
    merge__params_free(m->params);
    merge__transplant_free(m->transplant);
    ig_arena_release(&m->arena);
    free(m);
}

void merge__warn_once(struct merge_notes *notes, unsigned bit, const char *text)
{
    if (notes->sent & bit) return;
    notes->sent |= bit;
    ig_watch_warn(notes->watch, "%s", text);
}
