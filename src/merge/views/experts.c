/* SPDX-License-Identifier: Apache-2.0
 * experts — the layouts of a mixture of experts, each as a view of another.
 *
 *     single:      mlp.experts.E.{gate,up}_proj.weight [inner, hidden], down_proj [hidden, inner]
 *     fused:       mlp.experts.gate_up_proj [E, 2 inner, hidden], down_proj [E, hidden, inner]
 *     transposed:  the same [E, hidden, 2 inner] and [E, inner, hidden]; Qwen3-VL's files
 *     stacked:     mlp.switch_mlp.{gate,up,down}_proj.weight [E, out, in]; mlx-lm's. Read only
 *
 * Gate rows stand before up rows. The output has the layout of the donor, or what the recipe's
 * `experts` says. */
#include "merge/merge_internal.h"

#include <stdio.h>

#define GATE_UP ".experts.gate_up_proj"
#define DOWN    ".experts.down_proj"

/* ---- views ---- */

/* A run of another tensor's elements. */
struct cut {
    const struct ig_tensor *of;
    int64_t first;
};

static bool read_cut(const struct merge_input *in, const struct merge_view *v, int64_t first,
                     int64_t count, void *to, struct ig_err *err)
{
    const struct cut *c = v->own;
    return merge__input_read(in, c->of, c->first + first, count, to, err);
}

/* Columns of a matrix, as rows. */
struct turned {
    const struct ig_tensor *of;
    int64_t first;            /* element where the first column begins */
    int64_t stride;           /* elements from one row of it to the next */
    const unsigned char *map; /* of `of`, or NULL */
};

/* Rows [row, row + rows) of the view, columns 0 .. cols, are segments of the other's rows. */
static bool read_turned(const struct merge_input *in, const struct merge_view *v, int64_t first,
                        int64_t count, void *to, struct ig_err *err)
{
    const struct turned *t = v->own;
    size_t size = ig_dtype_bytes(v->tensor.dtype);
    int64_t cols = v->tensor.shape[1];
    unsigned char *out = to, one[sizeof(double)];
    for (int64_t r = first / cols; r * cols < first + count; r++) {
        int64_t begin = r * cols < first ? first : r * cols;
        int64_t end = (r + 1) * cols < first + count ? (r + 1) * cols : first + count;
        for (int64_t i = begin; i < end; i++) {
            int64_t at = t->first + (i - r * cols) * t->stride + r;
            const unsigned char *from = one;
            if (t->map)
                from = t->map + (size_t)at * size;
            else if (!merge__input_read(in, t->of, at, 1, one, err))
                return false;
            memcpy(out + (size_t)(i - first) * size, from, size);
        }
    }
    return true;
}

/* Tensors one after the other. */
struct stack {
    const struct ig_tensor **parts;
    int64_t part_elems; /* of each two that stand together: gate and up, or down alone */
};

static bool read_stack(const struct merge_input *in, const struct merge_view *v, int64_t first,
                       int64_t count, void *to, struct ig_err *err)
{
    const struct stack *s = v->own;
    size_t size = ig_dtype_bytes(v->tensor.dtype);
    unsigned char *out = to;
    while (count > 0) {
        int64_t part = first / s->part_elems, at = first % s->part_elems;
        int64_t n = s->part_elems - at < count ? s->part_elems - at : count;
        if (!merge__input_read(in, s->parts[part], at, n, out, err)) return false;
        out += (size_t)n * size;
        first += n;
        count -= n;
    }
    return true;
}

/* ---- what there is ---- */

enum layout { LAYOUT_NONE, LAYOUT_SINGLE, LAYOUT_FUSED, LAYOUT_STACKED };

static int stacked_part(struct ig_slice name);

static enum layout layout_of(const struct merge_input *in)
{
    for (int64_t i = 0; i < in->count; i++) {
        const struct ig_tensor *t = in->tensors[i];
        if (t->rank == 3 && (ig_slice_ends(t->name, GATE_UP) || ig_slice_ends(t->name, DOWN)))
            return LAYOUT_FUSED;
        if (t->rank == 3 && stacked_part(t->name) >= 0) return LAYOUT_STACKED;
        if (ig_slice_ends(t->name, ".experts.0.up_proj.weight")) return LAYOUT_SINGLE;
    }
    return LAYOUT_NONE;
}

/* Whether a fused tensor is stored [expert, in, out]. The config's hidden size says, or, when all
 * sides are equal, the family. */
static bool is_transposed(const struct merge_input *in, const struct ig_tensor *t, bool gate)
{
    int64_t hidden = 0;
    struct ig_slice type = ig_json_text(ig_json_get(in->config, "model_type"));
    bool vision = ig_slice_find(type, ig_slice_of("_vl")) != NULL;
    if (!ig_json_int(ig_json_get(merge__text_config(in->config), "hidden_size"), &hidden))
        return vision;
    int64_t out = t->shape[gate ? 2 : 1], into = t->shape[gate ? 1 : 2];
    if (out == into) return vision;
    return gate ? into == hidden : into == hidden;
}

/* ---- fused to single ---- */

static struct merge_view *new_expert(struct ig_merge *m, struct merge_input *in,
                                     const struct ig_tensor *t, bool transposed, int64_t expert,
                                     int part, struct ig_err *err)
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    bool gate = part < 2;
    int64_t a = t->shape[1], b = t->shape[2];
    size_t head = t->name.len - strlen(gate ? GATE_UP : DOWN);
    struct merge_view *v =
        merge__view_new(&m->arena, t,
                        merge__name(&m->arena, "%.*s.experts.%lld.%s.weight", (int)head,
                                    t->name.ptr, (long long)expert, names[part]),
                        err);
    if (!v) return NULL;
    int64_t inner = gate ? (transposed ? b : a) / 2 : 0;
    v->tensor.rank = 2;
    v->tensor.shape[0] = transposed ? (gate ? inner : b) : (gate ? inner : a);
    v->tensor.shape[1] = transposed ? a : b;
    int64_t first = expert * a * b;
    if (!merge__view_size(v, err)) return NULL;
    if (transposed) {
        struct turned *own = ig_arena_new(&m->arena, sizeof *own);
        if (!own) return ig_err_nomem(err), NULL;
        if (in->result) { /* each element would be a cell to make */
            ig_err_set(err, IG_ERR_UNSUPPORTED,
                       "tensor '" IG_SLICE_FMT "' lies across its experts' rows, and a stage is "
                       "made row by row: --through-disk makes it first",
                       IG_SLICE_ARG(t->name));
            return NULL;
        }
        *own = (struct turned){.of = t, .first = first + (part == 1 ? inner : 0), .stride = b};
        if (t->file >= 0 && !(own->map = ig_store_map(in->store, t, err))) return NULL;
        v->own = own;
        v->read = read_turned;
    } else {
        struct cut *own = ig_arena_new(&m->arena, sizeof *own);
        if (!own) return ig_err_nomem(err), NULL;
        *own = (struct cut){.of = t, .first = first + (part == 1 ? inner * b : 0)};
        v->own = own;
        v->read = read_cut;
    }
    return v;
}

#define STACKED ".switch_mlp."

/* mlx-lm's stack of one matrix: which of the three; -1: it is none. */
static int stacked_part(struct ig_slice name)
{
    static const char *const ends[] = {STACKED "gate_proj.weight", STACKED "up_proj.weight",
                                       STACKED "down_proj.weight"};
    for (int i = 0; i < 3; i++)
        if (ig_slice_ends(name, ends[i])) return i;
    return -1;
}

static bool split_stacked(struct ig_merge *m, const struct ig_tensor *t,
                          const struct ig_tensor **list, int64_t *count, struct ig_err *err)
{
    const char *at = ig_slice_find(t->name, ig_slice_of(STACKED));
    int head = (int)(at - t->name.ptr);
    int tail = (int)(t->name.len - (size_t)head - strlen(STACKED));
    for (int64_t e = 0; e < t->shape[0]; e++) {
        struct merge_view *v =
            merge__view_new(&m->arena, t,
                            merge__name(&m->arena, "%.*s.experts.%lld.%.*s", head, t->name.ptr,
                                        (long long)e, tail, at + strlen(STACKED)),
                            err);
        struct cut *own = ig_arena_new(&m->arena, sizeof *own);
        if (!v || !own) return ig_err_nomem(err);
        *own = (struct cut){.of = t, .first = e * t->shape[1] * t->shape[2]};
        v->tensor.rank = 2;
        v->tensor.shape[0] = t->shape[1];
        v->tensor.shape[1] = t->shape[2];
        v->own = own;
        v->read = read_cut;
        if (!merge__view_size(v, err)) return false;
        list[(*count)++] = &v->tensor;
    }
    return true;
}

static bool is_fused(const struct ig_tensor *t, bool *gate)
{
    *gate = ig_slice_ends(t->name, GATE_UP);
    return t->rank == 3 && (*gate || ig_slice_ends(t->name, DOWN));
}

bool merge__split_experts(struct ig_merge *m, struct merge_input *in, struct ig_err *err)
{
    int64_t room = 0, count = 0;
    bool gate;
    for (int64_t i = 0; i < in->count; i++) {
        const struct ig_tensor *t = in->tensors[i];
        if (is_fused(t, &gate))
            room += t->shape[0] * (gate ? 2 : 1);
        else
            room += t->rank == 3 && stacked_part(t->name) >= 0 ? t->shape[0] : 1;
    }
    const struct ig_tensor **list = ig_arena_array(&m->arena, (size_t)room, sizeof *list);
    if (!list) return ig_err_nomem(err);
    for (int64_t i = 0; i < in->count; i++) {
        const struct ig_tensor *t = in->tensors[i];
        if (t->rank == 3 && stacked_part(t->name) >= 0) {
            if (!split_stacked(m, t, list, &count, err)) return false;
            continue;
        }
        if (!is_fused(t, &gate)) {
            list[count++] = t;
            continue;
        }
        bool transposed = is_transposed(in, t, gate);
        if (gate && t->shape[transposed ? 2 : 1] % 2 != 0)
            return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' does not halve",
                              IG_SLICE_ARG(t->name));
        for (int64_t e = 0; e < t->shape[0]; e++) {
            for (int part = gate ? 0 : 2; part < (gate ? 2 : 3); part++) {
                struct merge_view *v = new_expert(m, in, t, transposed, e, part, err);
                if (!v) return false;
                list[count++] = &v->tensor;
            }
        }
    }
    in->tensors = list;
    in->count = count;
    return merge__input_index(in, err);
}

/* ---- single to fused ---- */

/* "PREFIX.experts.0.up_proj.weight": the length of PREFIX, or 0. */
static size_t expert_prefix(struct ig_slice name, const char *suffix)
{
    return ig_slice_ends(name, suffix) ? name.len - strlen(suffix) : 0;
}

static bool is_single(struct ig_slice name)
{
    const char *at = ig_slice_find(name, ig_slice_of(".experts."));
    if (!at || !ig_slice_ends(name, "_proj.weight")) return false;
    char digit = at[strlen(".experts.")];
    return digit >= '0' && digit <= '9';
}

static bool fail_part(struct ig_slice name, struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_DATA,
                      "experts cannot be fused: '" IG_SLICE_FMT "' is missing or of another form",
                      IG_SLICE_ARG(name));
}

/* gate: gate and up in turn; else down. */
static const struct ig_tensor *stack_of(struct ig_merge *m, const struct merge_input *in,
                                        struct ig_slice prefix, int64_t experts, bool gate,
                                        struct ig_err *err)
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    int64_t turns = gate ? 2 : 1, count = experts * turns;
    struct stack *own = ig_arena_new(&m->arena, sizeof *own);
    if (own) own->parts = ig_arena_array(&m->arena, (size_t)count, sizeof *own->parts);
    if (!own || !own->parts) return ig_err_nomem(err), NULL;
    for (int64_t i = 0; i < count; i++) {
        struct ig_slice name =
            merge__name(&m->arena, "%.*s.experts.%lld.%s.weight", (int)prefix.len, prefix.ptr,
                        (long long)(i / turns), names[gate ? i % 2 : 2]);
        const struct ig_tensor *t = merge__input_find(in, name);
        const struct ig_tensor *like = i ? own->parts[0] : t;
        if (!t || t->rank != 2 || t->shape[0] != like->shape[0] || t->shape[1] != like->shape[1] ||
            t->dtype != like->dtype)
            return fail_part(name, err), NULL;
        own->parts[i] = t;
    }
    own->part_elems = own->parts[0]->elems;
    if (own->part_elems == 0) return fail_part(own->parts[0]->name, err), NULL;
    struct merge_view *v = merge__view_new(
        &m->arena, own->parts[0],
        merge__name(&m->arena, "%.*s%s", (int)prefix.len, prefix.ptr, gate ? GATE_UP : DOWN), err);
    if (!v) return NULL;
    v->tensor.rank = 3;
    v->tensor.shape[2] = v->tensor.shape[1];
    v->tensor.shape[1] = v->tensor.shape[0] * turns;
    v->tensor.shape[0] = experts;
    v->own = own;
    v->read = read_stack;
    return merge__view_size(v, err) ? &v->tensor : NULL;
}

static int64_t count_experts(const struct merge_input *in, struct ig_slice prefix)
{
    char name[1024];
    int64_t experts = 0;
    for (;; experts++) {
        int n = snprintf(name, sizeof name, "%.*s.experts.%lld.up_proj.weight", (int)prefix.len,
                         prefix.ptr, (long long)experts);
        if (n < 0 || (size_t)n >= sizeof name) return experts;
        if (!merge__input_find(in, ig_slice_make(name, (size_t)n))) return experts;
    }
}

static bool fuse_experts(struct ig_merge *m, struct merge_input *in, struct ig_err *err)
{
    const struct ig_tensor **list = ig_arena_array(&m->arena, (size_t)in->count, sizeof *list);
    int64_t count = 0;
    if (!list) return ig_err_nomem(err);
    for (int64_t i = 0; i < in->count; i++) {
        const struct ig_tensor *t = in->tensors[i];
        if (!is_single(t->name)) {
            list[count++] = t;
            continue;
        }
        size_t head = expert_prefix(t->name, ".experts.0.up_proj.weight");
        bool gate = head > 0;
        if (!gate) head = expert_prefix(t->name, ".experts.0.down_proj.weight");
        if (!head) continue; /* part of a stack */
        struct ig_slice prefix = ig_slice_make(t->name.ptr, head);
        list[count] = stack_of(m, in, prefix, count_experts(in, prefix), gate, err);
        if (!list[count++]) return false;
    }
    in->tensors = list;
    in->count = count;
    return merge__input_index(in, err);
}

bool merge__unify_experts(struct ig_merge *m, struct ig_err *err)
{
    enum layout want = layout_of(&m->inputs[m->donor]);
    if (want == LAYOUT_STACKED) want = LAYOUT_SINGLE; /* it is of quantised folders only */
    if (m->recipe->experts != MERGE_EXPERTS_KEEP)
        want = m->recipe->experts == MERGE_EXPERTS_SINGLE ? LAYOUT_SINGLE : LAYOUT_FUSED;
    for (int i = 0; i < merge__slice_models(m->recipe); i++) {
        enum layout have = layout_of(&m->inputs[i]);
        if (have == LAYOUT_NONE || want == LAYOUT_NONE || have == want) continue;
        bool ok = have == LAYOUT_SINGLE || merge__split_experts(m, &m->inputs[i], err);
        if (ok && want == LAYOUT_FUSED) ok = fuse_experts(m, &m->inputs[i], err);
        if (!ok) return ig_err_within(err, "model '%s'", merge__input_name(m, i));
    }
    return true;
}
