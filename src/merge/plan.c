/* SPDX-License-Identifier: Apache-2.0
 * plan — from a recipe to what is done with each tensor, before a byte of weights is read.
 *
 * The output has every tensor that any input has: nothing is dropped silently. Tensors are matched
 * by name; ".language_model." is taken out first, so that vision-language and text checkpoints
 * merge. */
#include "merge/merge_internal.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/map.h"
#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>

#define MEMORY_DEFAULT ((int64_t)160 << 20)
#define MEMORY_MIN     ((int64_t)8 << 20)
#define LANGUAGE       ".language_model."
#define LISTED_MAX     4 /* tensors that an error message names */

struct planner {
    struct ig_merge *m;
    const struct ig_watch *watch;
    struct ig_arena arena; /* of the plan only */
    struct ig_map by_name; /* key -> index into entries */
    struct entry *entries;
    int64_t count;
    struct merge_notes notes;
};

struct entry {
    const struct ig_tensor **inputs; /* K */
    const struct ig_tensor *first;   /* the donor's, or the first model's that has it */
    const struct ig_arch *arch;      /* for sorting */
};

/* ---- inputs ---- */

static bool open_store(struct ig_merge *m, int i, struct ig_err *err)
{
    const struct recipe_model *model = &m->recipe->models[i];
    struct ig_err why = {0};
    if (!ig_path_exists(model->path.ptr)) {
        ig_yaml_fail(err, model->node, "model '" IG_SLICE_FMT "' does not exist",
                     IG_SLICE_ARG(model->path));
        return ig_err_within(err, "%s", m->recipe->name);
    }
    if (!ig_store_open(model->path.ptr, &m->stores[i], &why)) {
        ig_yaml_fail(err, model->node, "%s", why.text);
        err->code = why.code;
        return ig_err_within(err, "%s", m->recipe->name);
    }
    const struct ig_json *config = ig_store_config(m->stores[i]);
    if (ig_json_get(config, "quantization") || ig_json_get(config, "quantization_config")) {
        ig_yaml_fail(err, model->node, "model '" IG_SLICE_FMT "' is quantised: dequantise it first",
                     IG_SLICE_ARG(model->path));
        err->code = IG_ERR_UNSUPPORTED;
        return ig_err_within(err, "%s", m->recipe->name);
    }
    m->input_bytes += ig_store_bytes(m->stores[i]);
    return true;
}

/* The name by which tensors of different models are the same. */
static struct ig_slice key_of(struct ig_arena *arena, struct ig_slice name)
{
    const char *at = ig_slice_find(name, ig_slice_of(LANGUAGE));
    if (!at) return name;
    size_t head = (size_t)(at - name.ptr) + 1, skip = strlen(LANGUAGE) - 1;
    char *key = ig_arena_new(arena, name.len);
    if (!key) return (struct ig_slice){0};
    memcpy(key, name.ptr, head);
    memcpy(key + head, name.ptr + head + skip, name.len - head - skip);
    return ig_slice_make(key, name.len - skip);
}

static bool add_tensor(struct planner *p, int model, const struct ig_tensor *t, struct ig_err *err)
{
    struct ig_slice key = key_of(&p->arena, t->name);
    if (!key.ptr) return ig_err_nomem(err);
    int64_t at = ig_map_get(&p->by_name, key, -1);
    if (at < 0) {
        at = p->count++;
        struct entry *e = p->entries + at;
        e->inputs = ig_arena_array(&p->m->arena, (size_t)p->m->recipe->count, sizeof *e->inputs);
        if (!e->inputs) return ig_err_nomem(err);
        e->first = t;
        if (!ig_map_put(&p->by_name, key, at, err)) return false;
    }
    struct entry *e = p->entries + at;
    if (e->inputs[model])
        return ig_err_set(err, IG_ERR_DATA,
                          "model '%s' has both '" IG_SLICE_FMT "' and '" IG_SLICE_FMT "'",
                          ig_store_path(p->m->stores[model]), IG_SLICE_ARG(e->inputs[model]->name),
                          IG_SLICE_ARG(t->name));
    e->inputs[model] = t;
    return true;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return ig_arch_compare(x->arch, x->first->name, y->first->name);
}

/* The union of all tensors, in the order in which the model declares them. The donor comes first,
 * so that its spelling of a name is the output's. */
static bool join_names(struct planner *p, struct ig_err *err)
{
    struct ig_merge *m = p->m;
    size_t total = 0;
    for (int i = 0; i < m->recipe->count; i++)
        total += (size_t)ig_store_count(m->stores[i]);
    p->entries = ig_arena_array(&p->arena, total, sizeof *p->entries);
    if (!p->entries) return ig_err_nomem(err);
    for (int turn = -1; turn < m->recipe->count; turn++) {
        int i = turn < 0 ? m->donor : turn;
        if (turn == m->donor) continue;
        for (int64_t t = 0; t < ig_store_count(m->stores[i]); t++)
            if (!add_tensor(p, i, ig_store_at(m->stores[i], t), err)) return false;
    }
    const struct ig_arch *arch = ig_arch_find(ig_store_config(m->stores[m->donor]));
    for (int64_t i = 0; i < p->count; i++)
        p->entries[i].arch = arch;
    if (p->count > 0) qsort(p->entries, (size_t)p->count, sizeof *p->entries, compare_entries);
    return true;
}

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

static bool is_complete(const struct ig_merge *m, const struct entry *e)
{
    for (int i = 0; i < m->recipe->count; i++)
        if (!e->inputs[i] || !same_shape(e->inputs[i], e->first)) return false;
    return true;
}

static int copy_source(const struct ig_merge *m, const struct entry *e)
{
    for (int i = 0; i < m->recipe->copy_count; i++)
        if (e->inputs[m->recipe->copy_from[i]]) return m->recipe->copy_from[i];
    return -1;
}

/* "'x': not in 'B'" or "'x': 'A' has [4, 8], 'B' has [4, 9]". */
static void describe_misfit(const struct ig_merge *m, const struct entry *e, struct ig_buf *out)
{
    const char *comma = "";
    bool absent = false;
    ig_buf_printf(out, "'" IG_SLICE_FMT "': ", IG_SLICE_ARG(e->first->name));
    for (int i = 0; i < m->recipe->count; i++) {
        if (e->inputs[i]) continue;
        ig_buf_printf(out, "%s'%s'", absent ? ", " : "not in ", ig_store_path(m->stores[i]));
        absent = true;
    }
    for (int i = 0; !absent && i < m->recipe->count; i++) {
        ig_buf_printf(out, "%s'%s' has ", comma, ig_store_path(m->stores[i]));
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
        const struct entry *e = p->entries + i;
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

/* ---- layers ---- */

/* The part of a name before its first all-digit component, and that number; -1 without one. */
static int layer_of(struct ig_slice name, struct ig_slice *prefix)
{
    for (size_t at = 0; at < name.len;) {
        const char *dot = memchr(name.ptr + at, '.', name.len - at);
        size_t end = dot ? (size_t)(dot - name.ptr) : name.len;
        int value = 0;
        bool digits = end > at && end - at <= 6;
        for (size_t i = at; digits && i < end; i++) {
            digits = name.ptr[i] >= '0' && name.ptr[i] <= '9';
            value = value * 10 + (name.ptr[i] - '0');
        }
        if (digits) {
            *prefix = ig_slice_make(name.ptr, at);
            return value;
        }
        at = end + 1;
    }
    return -1;
}

static bool count_layers(const struct planner *p, struct ig_map *last, struct ig_err *err)
{
    struct ig_slice prefix;
    for (int64_t i = 0; i < p->count; i++) {
        int layer = layer_of(p->entries[i].first->name, &prefix);
        if (layer >= 0 && layer > ig_map_get(last, prefix, -1) &&
            !ig_map_put(last, prefix, layer, err))
            return false;
    }
    return true;
}

/* mergekit's t: layer j of n is at j / (n - 1), an only layer at 1, everything outside layers at 0.
 */
static double place_of(struct ig_slice name, const struct ig_map *last)
{
    struct ig_slice prefix;
    int layer = layer_of(name, &prefix);
    if (layer < 0) return 0;
    int64_t n = ig_map_get(last, prefix, 0);
    return n > 0 ? (double)layer / (double)n : 1;
}

/* ---- tasks ---- */

static bool all_float(const struct ig_merge *m, const struct entry *e, struct ig_err *err)
{
    for (int i = 0; i < m->recipe->count; i++) {
        enum ig_dtype dtype = e->inputs[i]->dtype;
        if (ig_dtype_is_float(dtype) && ig_dtype_bytes(dtype) == 1)
            return ig_err_set(err, IG_ERR_UNSUPPORTED,
                              "tensor '" IG_SLICE_FMT
                              "' of model '%s' is %s: float8 weights need their "
                              "scale tensors, which this version does not apply",
                              IG_SLICE_ARG(e->inputs[i]->name), ig_store_path(m->stores[i]),
                              ig_dtype_name(dtype));
    }
    return true;
}

static bool is_mergeable(const struct ig_merge *m, const struct entry *e, bool *out,
                         struct ig_err *err)
{
    int floats = 0;
    for (int i = 0; i < m->recipe->count; i++)
        floats += ig_dtype_is_float(e->inputs[i]->dtype);
    *out = floats == m->recipe->count;
    if (*out) return all_float(m, e, err);
    for (int i = 1; i < m->recipe->count; i++)
        if (e->inputs[i]->dtype != e->inputs[0]->dtype)
            return ig_err_set(err, IG_ERR_DATA,
                              "tensor '" IG_SLICE_FMT "' is %s in '%s' and %s in '%s'",
                              IG_SLICE_ARG(e->first->name), ig_dtype_name(e->inputs[0]->dtype),
                              ig_store_path(m->stores[0]), ig_dtype_name(e->inputs[i]->dtype),
                              ig_store_path(m->stores[i]));
    return true;
}

static bool set_dtype(struct ig_tensor *t, enum ig_dtype dtype, struct ig_err *err)
{
    t->dtype = dtype;
    if (ig_size_mul((size_t)t->elems, ig_dtype_bytes(dtype), &t->bytes)) return true;
    return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' is too large",
                      IG_SLICE_ARG(t->name));
}

static bool resolve(struct planner *p, struct merge_task *task, double t, struct ig_err *err)
{
    struct ig_merge *m = p->m;
    struct merge_resolved resolved;
    struct merge_where where = {task->job.tensor->name, t};
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

/* How a tensor that all inputs have in the same shape is made. */
static bool plan_merge(struct planner *p, const struct entry *e, struct merge_task *task,
                       struct ig_tensor *out, const struct ig_map *last, struct ig_err *err)
{
    const struct ig_merge *m = p->m;
    bool mergeable;
    task->inputs = e->inputs;
    if (!is_mergeable(m, e, &mergeable, err)) return false;
    if (!mergeable) {
        task->action = MERGE_IDENTICAL;
        return true;
    }
    enum ig_dtype dtype = m->recipe->has_out_dtype ? m->recipe->out_dtype : e->inputs[0]->dtype;
    if (!set_dtype(out, dtype, err) || !resolve(p, task, place_of(out->name, last), err))
        return false;
    if (out->elems == 0) {
        task->action = MERGE_COPY;
        return true;
    }
    size_t held = 0;
    for (int i = 0; i < m->recipe->count; i++)
        held += (e->inputs[i]->bytes + 63) / 64 * 64;
    const struct merge_method *method = m->recipe->method;
    bool whole = method->whole_bytes && method->whole_bytes(&task->job) > 0;
    task->action = held <= m->thread_bytes && !whole ? MERGE_HELD : MERGE_SPLIT;
    return true;
}

static bool plan_copy(const struct ig_merge *m, const struct entry *e, struct merge_task *task,
                      struct ig_tensor *out, struct ig_err *err)
{
    task->action = MERGE_COPY;
    task->source = copy_source(m, e);
    task->inputs = e->inputs;
    *out = *e->inputs[task->source];
    out->name = e->first->name;
    if (!ig_dtype_is_float(out->dtype) || !m->recipe->has_out_dtype) return true;
    return set_dtype(out, m->recipe->out_dtype, err);
}

static bool plan_tasks(struct planner *p, struct ig_err *err)
{
    struct ig_merge *m = p->m;
    const struct ig_recipe *r = m->recipe;
    struct ig_map last = {0};
    struct ig_slice *names = ig_arena_array(&m->arena, (size_t)r->count, sizeof *names);
    m->tensors = ig_arena_array(&m->arena, (size_t)p->count, sizeof *m->tensors);
    m->tasks = ig_arena_array(&m->arena, (size_t)p->count, sizeof *m->tasks);
    bool ok = m->tensors && m->tasks && names;
    if (!ok) return ig_err_nomem(err);
    for (int i = 0; i < r->count; i++)
        names[i] = r->models[i].path;
    ok = count_layers(p, &last, err);
    m->count = p->count;
    for (int64_t i = 0; ok && i < p->count; i++) {
        const struct entry *e = p->entries + i;
        struct merge_task *task = m->tasks + i;
        struct ig_tensor *out = m->tensors + i;
        *out = *e->first;
        task->job = (struct merge_case){.tensor = out,
                                        .models = r->count,
                                        .model_names = names,
                                        .base = r->base,
                                        .sign_ref = -1};
        ig_arch_place(e->arch, out->name, &task->job.place);
        ok = is_complete(m, e) ? plan_merge(p, e, task, out, &last, err)
                               : plan_copy(m, e, task, out, err);
        m->output_bytes += out->bytes;
    }
    ig_map_release(&last);
    return ok;
}

/* ---- memory, fingerprint ---- */

static void size_memory(struct ig_merge *m)
{
    const struct merge_method *method = m->recipe->method;
    size_t largest = 0;
    for (int64_t i = 0; i < m->count; i++) {
        const struct merge_task *task = m->tasks + i;
        size_t held = 0;
        for (int k = 0; task->action == MERGE_HELD && k < m->recipe->count; k++)
            held += (task->inputs[k]->bytes + 63) / 64 * 64;
        if (held > largest) largest = held;
        if (task->action != MERGE_SPLIT || !method->whole_bytes) continue;
        size_t whole = (size_t)method->whole_bytes(&task->job);
        if (whole > m->whole_bytes) m->whole_bytes = whole;
    }
    size_t cell = (size_t)m->recipe->count * MERGE_CELL * sizeof(double);
    m->thread_bytes = largest > cell ? largest : cell;
}

/* Of everything that decides the output's bytes: resume refuses another one. */
static bool take_fingerprint(struct ig_merge *m, struct ig_err *err)
{
    struct ig_buf text = {0};
    char hex[IG_DIGEST_HEX];
    ig_buf_printf(&text, "ingot %s\n", INGOT_VERSION);
    ig_buf_slice(&text, m->recipe->text);
    for (int i = 0; i < m->recipe->count; i++)
        ig_buf_printf(&text, "\n%s", ig_store_fingerprint(m->stores[i]));
    bool ok = ig_buf_ok(&text, err);
    if (ok) {
        ig_digest_hex(ig_digest_of(text.data, text.len), hex);
        m->fingerprint = ig_arena_copy(&m->arena, ig_slice_of(hex));
        ok = m->fingerprint.ptr || ig_err_nomem(err);
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
    m->thread_bytes = (size_t)memory / (size_t)m->threads;
    m->donor = r->base >= 0 ? r->base : 0;
    for (int i = 0; i < r->count; i++) {
        if (!open_store(m, i, err)) return false;
        ig_store_warn(m->stores[i], p->watch);
    }
    if (!merge__params_new(r, &m->params, err)) return false;
    if (!join_names(p, err) || !check_complete(p, err) || !plan_tasks(p, err)) return false;
    if (m->count == 0) return ig_err_set(err, IG_ERR_DATA, "the models have no tensors");
    if (!merge__params_check_used(m->params, p->watch, err))
        return ig_err_within(err, "%s", r->name);
    size_memory(m);
    return take_fingerprint(m, err) && merge__outputs_plan(m, err);
}

bool ig_merge_plan(const struct ig_merge_job *job, const struct ig_watch *watch,
                   struct ig_merge **out, struct ig_err *err)
{
    struct ig_merge *m = calloc(1, sizeof *m);
    if (!m) return ig_err_nomem(err);
    m->recipe = job->recipe;
    m->job = *job;
    struct planner p = {.m = m, .watch = watch, .notes = {.watch = watch}};
    bool ok = plan_all(&p, err);
    ig_map_release(&p.by_name);
    ig_arena_release(&p.arena);
    if (!ok) {
        ig_merge_close(m);
        return false;
    }
    *out = m;
    return true;
}

void ig_merge_close(struct ig_merge *m)
{
    if (!m) return;
    merge__outputs_close(m);
    for (int i = 0; i < MERGE_MODELS_MAX; i++)
        if (m->stores[i]) ig_store_close(m->stores[i]);
    merge__params_free(m->params);
    ig_arena_release(&m->arena);
    free(m);
}

void merge__warn_once(struct merge_notes *notes, unsigned bit, const char *text)
{
    if (notes->sent & bit) return;
    notes->sent |= bit;
    ig_watch_warn(notes->watch, "%s", text);
}
