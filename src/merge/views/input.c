/* SPDX-License-Identifier: Apache-2.0
 * input — a model as a recipe means it: the tensors of its folder, and views of them.
 *
 * A view is a tensor that is made as it is read: float8 times its scales, a weight with a LoRA on
 * it, an expert cut out of a stack. Views read from tensors, which may be views themselves; nothing
 * of them is on disk, and a read takes no memory but the stack. */
#include "merge/merge_internal.h"

#include "base/file.h"
#include "ingot/hub.h"

#include <stdarg.h>
#include <stdio.h>

struct ig_slice merge__name(struct ig_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *text = n < 0 ? NULL : ig_arena_new(arena, (size_t)n + 1);
    if (text) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return ig_slice_make(text, text ? (size_t)n : 0);
}

struct merge_view *merge__view_new(struct ig_arena *arena, const struct ig_tensor *like,
                                   struct ig_slice name, struct ig_err *err)
{
    struct merge_view *v = ig_arena_new(arena, sizeof *v);
    if (!v || !name.ptr) {
        ig_err_nomem(err);
        return NULL;
    }
    v->tensor = *like;
    v->tensor.name = name;
    v->tensor.file = -1;
    v->like = merge__stored_dtype(like);
    return v;
}

bool merge__view_size(struct merge_view *v, struct ig_err *err)
{
    struct ig_tensor *t = &v->tensor;
    t->elems = 1;
    for (int d = 0; d < t->rank; d++)
        if (t->shape[d] < 0 || __builtin_mul_overflow(t->elems, t->shape[d], &t->elems))
            return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' is too large",
                              IG_SLICE_ARG(t->name));
    if (__builtin_mul_overflow((size_t)t->elems, ig_dtype_bytes(t->dtype), &t->bytes))
        return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' is too large",
                          IG_SLICE_ARG(t->name));
    return true;
}

const struct merge_view *merge__view_of(const struct ig_tensor *t)
{
    return t->file < 0 ? (const struct merge_view *)(const void *)t : NULL;
}

enum ig_dtype merge__stored_dtype(const struct ig_tensor *t)
{
    const struct merge_view *v = merge__view_of(t);
    return v ? v->like : t->dtype;
}

bool merge__input_read(const struct merge_input *in, const struct ig_tensor *t, int64_t first,
                       int64_t count, void *to, struct ig_err *err)
{
    const struct merge_view *v = merge__view_of(t);
    size_t size = ig_dtype_bytes(t->dtype);
    if (v) return v->read(in, v, first, count, to, err);
    return ig_store_read(in->store, t, (size_t)first * size, (size_t)count * size, to, err);
}

bool merge__input_read_f32(const struct merge_input *in, const struct ig_tensor *t, int64_t first,
                           int64_t count, float *to, struct ig_err *err)
{
    unsigned char part[MERGE_VIEW_PART * sizeof(double)];
    if (t->dtype == IG_F32) return merge__input_read(in, t, first, count, to, err);
    for (int64_t at = 0; at < count; at += MERGE_VIEW_PART) {
        int64_t n = count - at < MERGE_VIEW_PART ? count - at : MERGE_VIEW_PART;
        if (!merge__input_read(in, t, first + at, n, part, err)) return false;
        ig_convert_to_f32(&in->convert, t->dtype, part, to + at, n);
    }
    return true;
}

const struct ig_tensor *merge__input_find(const struct merge_input *in, struct ig_slice name)
{
    int64_t at = ig_map_get(&in->by_name, name, -1);
    return at < 0 ? NULL : in->tensors[at];
}

bool merge__input_index(struct merge_input *in, struct ig_err *err)
{
    ig_map_release(&in->by_name);
    in->by_name = (struct ig_map){0};
    for (int64_t i = 0; i < in->count; i++)
        if (!ig_map_put(&in->by_name, in->tensors[i]->name, i, err)) return false;
    return true;
}

/* ---- opening ---- */

static bool list_tensors(struct ig_merge *m, struct merge_input *in, struct ig_err *err)
{
    in->count = ig_store_count(in->store);
    in->tensors = ig_arena_array(&m->arena, (size_t)in->count, sizeof *in->tensors);
    if (!in->tensors) return ig_err_nomem(err);
    for (int64_t i = 0; i < in->count; i++)
        in->tensors[i] = ig_store_at(in->store, i);
    return merge__input_index(in, err);
}

bool merge__find_folder(const char *path, struct ig_buf *folder, struct ig_err *err)
{
    if (!ig_path_exists(path) && !ig_hub_is_name(path))
        return ig_err_set(err, IG_ERR_IO, "model '%s' does not exist", path);
    return ig_hub_find_model(path, folder, err);
}

static bool open_all(struct ig_merge *m, int i, struct ig_err *err)
{
    const struct recipe_model *model = &m->recipe->models[i];
    struct merge_input *in = &m->inputs[i];
    struct ig_buf folder = {0};
    enum ig_isa isa;
    bool ok = ig_isa_pick(&isa, err) && merge__find_folder(model->folder, &folder, err) &&
              ig_store_open(folder.data, &in->store, err);
    ig_buf_release(&folder);
    if (!ok) return false;
    IG_OPS_FILL(convert, &in->convert, isa);
    m->stores[i] = in->store;
    in->config = ig_store_config(in->store);
    m->input_bytes += ig_store_bytes(in->store);
    return list_tensors(m, in, err) && merge__apply_packed(m, in, err) &&
           merge__apply_float8(m, in, err) &&
           (!model->lora || merge__apply_lora(m, in, model->lora, err)) &&
           (!m->recipe->extract || merge__apply_extract(m, in, err));
}

bool merge__inputs_open(struct ig_merge *m, const struct ig_watch *watch, struct ig_err *err)
{
    for (int i = 0; i < m->recipe->count; i++) {
        struct ig_err why = {0};
        if (m->recipe->models[i].stage) {
            if (!merge__result_open(m, i, watch, err)) return false;
            continue;
        }
        if (open_all(m, i, &why)) {
            ig_store_warn(m->stores[i], watch);
            continue;
        }
        if (m->recipe->made) {
            *err = why;
            return false;
        }
        ig_yaml_fail(err, m->recipe->models[i].node, "%s", why.text);
        err->code = why.code;
        return ig_err_within(err, "%s", m->recipe->name);
    }
    return merge__apply_moe(m, watch, err) && merge__unify_experts(m, err) && merge__untie(m, err);
}

void merge__inputs_close(struct ig_merge *m)
{
    for (int i = 0; i < MERGE_MODELS_MAX; i++) {
        ig_map_release(&m->inputs[i].by_name);
        if (m->inputs[i].result)
            merge__result_close(m->inputs[i].result);
        else if (m->inputs[i].store)
            ig_store_close(m->inputs[i].store);
        if (m->inputs[i].adapter) ig_store_close(m->inputs[i].adapter);
    }
}

const char *merge__input_name(const struct ig_merge *m, int model)
{
    if (m->inputs[model].result) return m->recipe->models[model].path.ptr;
    return ig_store_path(m->stores[model]);
}

bool merge__input_put_origins(const struct merge_input *in, struct ig_buf *out, struct ig_err *err)
{
    const struct ig_merge *inner = merge__result_of(in);
    if (inner) ig_buf_slice(out, inner->origins);
    return inner || (ig_store_put_origins(in->store, out, err) &&
                     (!in->adapter || ig_store_put_origins(in->adapter, out, err)));
}

bool merge__input_unchanged(const struct merge_input *in, /* NOLINT(misc-no-recursion) */
                            struct ig_err *err)
{
    const struct ig_merge *inner = merge__result_of(in);
    for (int i = 0; inner && i < inner->recipe->count; i++)
        if (!merge__input_unchanged(&inner->inputs[i], err)) return false;
    return inner || (ig_store_unchanged(in->store, err) &&
                     (!in->adapter || ig_store_unchanged(in->adapter, err)));
}
