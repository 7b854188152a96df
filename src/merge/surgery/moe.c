/* SPDX-License-Identifier: Apache-2.0
 * moe — dense models as the experts of one: mergekit-moe's configuration.
 *
 *     base_model: MODEL
 *     gate_mode: hidden (also hidden_last) | hidden_avg | cheap_embed | random | uniform_random
 *     experts: [{source_model: MODEL, positive_prompts: [..], negative_prompts: [..],
 *                noise_scale: S, residual_scale: S}]
 *     shared_experts: [one of the same]
 *     experts_per_token: 2        dtype: NAME        architecture: NAME
 *
 * Everything but the MLPs is the base's. What it becomes: moe_output.c. Routers: gates.c. Random
 * numbers are of a counter: the same whatever the order; normal ones are sums of twelve. */
#include "merge/surgery/moe_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the recipe ---- */

static bool read_scale(const struct ig_yaml *map, const char *key, double *out, struct ig_err *err)
{
    const struct ig_yaml *node = ig_yaml_get(map, key);
    if (!node || node->type == IG_YAML_NULL) return true;
    if (node->type != IG_YAML_LIST && node->type != IG_YAML_MAP && ig_yaml_number(node, out) &&
        isfinite(*out))
        return true;
    return ig_yaml_fail(err, node, "%s is a number", key);
}

static bool read_prompts(const struct ig_yaml *map, const char *key, const struct ig_yaml **out,
                         struct ig_err *err)
{
    const struct ig_yaml *list = ig_yaml_get(map, key);
    if (!list || list->type == IG_YAML_NULL) return true;
    if (list->type != IG_YAML_LIST) return ig_yaml_fail(err, list, "%s is a list of texts", key);
    for (uint32_t i = 0; i < list->count; i++)
        if (!merge__need_text(list->items[i], "a prompt", err)) return false;
    *out = list->count ? list : NULL;
    return true;
}

static bool read_expert(struct ig_recipe *r, const struct ig_yaml *map, struct expert *out,
                        struct ig_err *err)
{
    static const char *const keys[] = {"source_model", "positive_prompts", "negative_prompts",
                                       "noise_scale",  "residual_scale",   NULL};
    if (map->type != IG_YAML_MAP)
        return ig_yaml_fail(err, map, "an expert is {source_model: MODEL, ...}");
    if (!merge__check_keys(map, keys, err)) return false;
    const struct ig_yaml *model = ig_yaml_get(map, "source_model");
    if (!model) return ig_yaml_fail(err, map, "an expert needs 'source_model'");
    *out = (struct expert){.residual = 1};
    if (!merge__read_reference(r, model, &out->model, err) ||
        !read_scale(map, "noise_scale", &out->noise, err) ||
        !read_scale(map, "residual_scale", &out->residual, err) ||
        !read_prompts(map, "positive_prompts", &out->positive, err) ||
        !read_prompts(map, "negative_prompts", &out->negative, err))
        return false;
    return true;
}

static bool read_gate(const struct ig_yaml *root, struct recipe_moe *x, struct ig_err *err)
{
    static const char *const names[] = {"random", "uniform_random", "cheap_embed",
                                        "hidden", "hidden_avg",     "hidden_last"};
    const struct ig_yaml *node = ig_yaml_get(root, "gate_mode");
    x->gate = GATE_HIDDEN; /* mergekit's */
    if (!node) return true;
    for (int i = 0; i < 6; i++)
        if (ig_slice_is(node->text, names[i])) {
            x->gate = i == 5 ? GATE_HIDDEN : (enum gate)i;
            return true;
        }
    return ig_yaml_fail(err, node,
                        "gate_mode '%s': hidden, hidden_avg, hidden_last, cheap_embed, random and "
                        "uniform_random are known",
                        node->text.ptr ? node->text.ptr : "");
}

static bool read_experts(struct ig_recipe *r, const struct ig_yaml *list, struct ig_err *err)
{
    struct recipe_moe *x = r->moe;
    if (list->count == 0 || list->count > EXPERTS_MAX || x->used < 1 || x->used > list->count)
        return ig_yaml_fail(err, list,
                            "1 to %d experts, of which experts_per_token (%lld) are used",
                            EXPERTS_MAX, (long long)x->used);
    for (uint32_t i = 0; i < list->count; i++, x->count++) {
        if (!read_expert(r, list->items[i], x->experts + i, err)) return false;
        if (x->gate > GATE_UNIFORM && !x->experts[i].positive)
            return ig_yaml_fail(err, list->items[i], "this gate_mode needs positive_prompts");
    }
    return true;
}

static bool read_shared(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    struct recipe_moe *x = r->moe;
    const struct ig_yaml *list = ig_yaml_get(root, "shared_experts");
    if (!list || list->type == IG_YAML_NULL) return true;
    if (list->type != IG_YAML_LIST || list->count > 1)
        return ig_yaml_fail(err, list, "shared_experts is a list of one expert");
    if (list->count == 0) return true;
    struct expert *shared = x->experts + x->count;
    x->shared = true;
    if (!read_expert(r, list->items[0], shared, err)) return false;
    x->gated = shared->positive || x->gate <= GATE_UNIFORM;
    if (x->gated || !shared->negative) return true;
    return ig_yaml_fail(err, list->items[0], "negative_prompts without positive_prompts");
}

bool merge__is_moe(const struct ig_yaml *root)
{
    const struct ig_yaml *experts = ig_yaml_get(root, "experts");
    return experts && experts->type == IG_YAML_LIST && !ig_yaml_get(root, "merge_method");
}

bool merge__read_moe(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    static const char *const keys[] = {"base_model",        "experts", "gate_mode",    "dtype",
                                       "shared_experts",    "name",    "architecture", "out_dtype",
                                       "experts_per_token", NULL};
    const struct ig_yaml *base = ig_yaml_get(root, "base_model");
    const struct ig_yaml *experts = ig_yaml_get(root, "experts");
    const struct ig_yaml *used = ig_yaml_get(root, "experts_per_token");
    const struct ig_yaml *architecture = ig_yaml_get(root, "architecture");
    if (!merge__check_keys(root, keys, err)) return false;
    struct recipe_moe *x = r->moe = ig_arena_new(&r->arena, sizeof *x);
    r->slices = ig_arena_new(&r->arena, sizeof *r->slices);
    if (!x || !r->slices) return ig_err_nomem(err);
    struct recipe_source *source = ig_arena_new(&r->arena, sizeof *source);
    if (!source) return ig_err_nomem(err);
    *x = (struct recipe_moe){.at = root, .used = 2};
    if (!base) return ig_yaml_fail(err, root, "the configuration needs 'base_model'");
    if (!read_gate(root, x, err) || !merge__read_reference(r, base, &r->base, err)) return false;
    if (used && used->type == IG_YAML_INT) x->used = used->integer;
    if (architecture && architecture->type != IG_YAML_NULL) {
        if (!merge__need_text(architecture, "architecture", err)) return false;
        x->architecture = architecture->text;
    }
    if (!read_experts(r, experts, err) || !read_shared(r, root, err)) return false;
    *source = (struct recipe_source){.model = r->base, .node = base};
    *r->slices = (struct recipe_slice){.node = base, .sources = source, .count = 1};
    r->slice_count = 1;
    return true;
}

/* ---- random numbers ---- */

static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* In [0, 1). */
static double uniform(uint64_t key, uint64_t at)
{
    return (double)(mix(key ^ mix(at)) >> 11) * 0x1p-53;
}

static double normal(uint64_t key, uint64_t at)
{
    double sum = -6;
    for (uint64_t i = 0; i < 12; i++)
        sum += uniform(key, at * 12 + i);
    return sum;
}

static uint64_t key_of(struct ig_slice name)
{
    uint64_t key = 1469598103934665603u;
    for (size_t i = 0; i < name.len; i++)
        key = (key ^ (unsigned char)name.ptr[i]) * 1099511628211u;
    return key;
}

/* ---- views ---- */

struct borrowed {
    const struct merge_input *in;
    const struct ig_tensor *of;
    double noise, scale;
    uint64_t key;
};

static bool read_borrowed(const struct merge_input *in, const struct merge_view *v, int64_t first,
                          int64_t count, void *to, struct ig_err *err)
{
    const struct borrowed *b = v->own;
    float *out = to;
    (void)in;
    if (v->tensor.dtype != IG_F32) return merge__input_read(b->in, b->of, first, count, to, err);
    if (!merge__input_read_f32(b->in, b->of, first, count, out, err)) return false;
    for (int64_t i = 0; i < count; i++) {
        double noise = b->noise != 0 ? b->noise * normal(b->key, (uint64_t)(first + i)) : 0;
        out[i] = (float)(((double)out[i] + noise) * b->scale);
    }
    return true;
}

struct router {
    enum gate gate;
    const float *rows; /* of this layer; NULL: random ones */
    int64_t hidden;
    uint64_t key;
};

static bool read_router(const struct merge_input *in, const struct merge_view *v, int64_t first,
                        int64_t count, void *to, struct ig_err *err)
{
    const struct router *r = v->own;
    double bound = sqrt(1 / (double)r->hidden);
    float *out = to;
    (void)in;
    (void)err;
    for (int64_t i = 0; i < count; i++) {
        uint64_t at = (uint64_t)(first + i);
        if (r->rows)
            out[i] = r->rows[at];
        else if (r->gate == GATE_RANDOM)
            out[i] = (float)normal(r->key, at);
        else
            out[i] = (float)((2 * uniform(r->key, at) - 1) * bound);
    }
    return true;
}

/* ---- the model ---- */

static int part_of(struct ig_slice name)
{
    static const char *const ends[] = {".mlp.gate_proj.weight", ".mlp.up_proj.weight",
                                       ".mlp.down_proj.weight"};
    for (int i = 0; i < 3; i++)
        if (ig_slice_ends(name, ends[i])) return i;
    return -1;
}

static struct ig_slice expert_name(struct ig_merge *m, const struct moe_output *o,
                                   struct ig_slice like, int part, int expert)
{
    int before = (int)(ig_slice_find(like, ig_slice_of(".mlp.")) - like.ptr);
    if (expert == m->recipe->moe->count)
        return merge__name(&m->arena, "%.*s.%s.%s.%s.weight", before, like.ptr, o->block, o->shared,
                           o->parts[part]);
    return merge__name(&m->arena, "%.*s.%s.experts.%d.%s.weight", before, like.ptr, o->block,
                       expert, o->parts[part]);
}

static bool add_expert(struct ig_merge *m, const struct moe_output *o, const struct ig_tensor *like,
                       int part, int expert, const struct ig_tensor **out, struct ig_err *err)
{
    const struct expert *x = &m->recipe->moe->experts[expert];
    const struct merge_input *in = &m->inputs[x->model];
    const struct ig_tensor *of = merge__input_find(in, like->name);
    bool same = of && of->rank == like->rank;
    for (int d = 0; same && d < of->rank; d++)
        same = of->shape[d] == like->shape[d];
    if (!same || !ig_dtype_is_float(of->dtype))
        return ig_err_set(err, IG_ERR_DATA, "'%s' has no '" IG_SLICE_FMT "' of the base's shape",
                          ig_store_path(in->store), IG_SLICE_ARG(like->name));
    struct ig_slice name = expert_name(m, o, like->name, part, expert);
    struct merge_view *v = merge__view_new(&m->arena, of, name, err);
    struct borrowed *own = ig_arena_new(&m->arena, sizeof *own);
    if (!v || !own) return ig_err_nomem(err);
    *own = (struct borrowed){.in = in,
                             .of = of,
                             .noise = x->noise,
                             .scale = part == 2 ? x->residual : 1,
                             .key = key_of(name)};
    if (own->noise != 0 || own->scale != 1) v->tensor.dtype = IG_F32;
    v->own = own;
    v->read = read_borrowed;
    *out = &v->tensor;
    return merge__view_size(v, err);
}

/* The router of the experts, or the gate of the shared one. */
static bool add_router(struct ig_merge *m, const struct moe_output *o, const struct ig_tensor *like,
                       const float *rows, bool shared, const struct ig_tensor **out,
                       struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    const char *mlp = ig_slice_find(like->name, ig_slice_of(".mlp."));
    struct ig_slice name =
        merge__name(&m->arena, "%.*s.%s.%sgate.weight", (int)(mlp - like->name.ptr), like->name.ptr,
                    o->block, shared ? "shared_expert_" : "");
    struct merge_view *v = merge__view_new(&m->arena, like, name, err);
    struct router *own = ig_arena_new(&m->arena, sizeof *own);
    if (!v || !own) return ig_err_nomem(err);
    if (shared && rows) rows += x->count * like->shape[1];
    *own = (struct router){
        .gate = x->gate, .rows = rows, .hidden = like->shape[1], .key = key_of(name)};
    v->tensor.dtype = IG_F32;
    v->tensor.shape[0] = shared ? 1 : x->count;
    v->own = own;
    v->read = read_router;
    *out = &v->tensor;
    return merge__view_size(v, err);
}

static bool read_zeros(const struct merge_input *in, const struct merge_view *v, int64_t first,
                       int64_t count, void *to, struct ig_err *err)
{
    (void)in, (void)first, (void)err;
    memset(to, 0, (size_t)count * ig_dtype_bytes(v->tensor.dtype));
    return true;
}

/* Qwen2's experts have biases at q, k and v: where a Llama has none they are zeros. */
static bool add_bias(struct ig_merge *m, const struct moe_output *o, const struct merge_input *in,
                     const struct ig_tensor *weight, const struct ig_tensor **out,
                     struct ig_err *err)
{
    static const char *const ends[] = {".q_proj.weight", ".k_proj.weight", ".v_proj.weight"};
    bool projection = false;
    *out = NULL;
    for (int i = 0; i < 3; i++)
        projection = projection || ig_slice_ends(weight->name, ends[i]);
    if (!o->biased || !projection || weight->rank != 2) return true;
    struct ig_slice name =
        merge__name(&m->arena, "%.*s.bias", (int)weight->name.len - 7, weight->name.ptr);
    if (!name.ptr) return ig_err_nomem(err);
    if (merge__input_find(in, name)) return true;
    struct merge_view *v = merge__view_new(&m->arena, weight, name, err);
    if (!v) return false;
    v->tensor.dtype = merge__stored_dtype(weight);
    v->tensor.rank = 1;
    v->read = read_zeros;
    *out = &v->tensor;
    return merge__view_size(v, err);
}

/* What a tensor of the base becomes; list has room for it. */
static bool add_tensor(struct ig_merge *m, const struct moe_output *o, const struct ig_tensor *t,
                       const struct moe_gates *gates, const struct ig_tensor **list, int64_t *count,
                       struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    const struct merge_input *in = &m->inputs[m->recipe->base];
    int part = t->rank == 2 ? part_of(t->name) : -1;
    if (part < 0 && (ig_slice_find(t->name, ig_slice_of(".mlp.")) ||
                     (o->biased && ig_slice_ends(t->name, ".o_proj.bias"))))
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "'" IG_SLICE_FMT "' has no place in a %s model",
                          IG_SLICE_ARG(t->name), o->name);
    if (part < 0) {
        const struct ig_tensor *bias;
        list[(*count)++] = t;
        if (!add_bias(m, o, in, t, &bias, err)) return false;
        if (bias) list[(*count)++] = bias;
        return true;
    }
    for (int e = 0; e < x->count + x->shared; e++)
        if (!add_expert(m, o, t, part, e, &list[(*count)++], err)) return false;
    if (part > 0) return true;
    const float *rows = merge__gates_of(gates, t, moe_rows(x));
    if (!add_router(m, o, t, rows, false, &list[(*count)++], err)) return false;
    return !(x->shared && o->gated) || add_router(m, o, t, rows, true, &list[(*count)++], err);
}

static void warn_same(const struct ig_merge *m, const struct ig_watch *watch)
{
    const struct recipe_moe *x = m->recipe->moe;
    bool same = x->count > 1;
    for (int i = 0; i < x->count; i++)
        same = same && x->experts[i].model == x->experts[0].model && x->experts[i].noise == 0 &&
               x->experts[i].residual == x->experts[0].residual;
    if (same)
        ig_watch_warn(watch, "all experts are one model: until they are trained they say what it "
                             "says");
}

bool merge__apply_moe(struct ig_merge *m, const struct ig_watch *watch, struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    const struct moe_output *o;
    struct moe_gates gates;
    if (!x) return true;
    struct merge_input *in = &m->inputs[m->recipe->base];
    if (!merge__choose_moe(m, &o, err) || !merge__make_gates(m, watch, &gates, err)) return false;
    warn_same(m, watch);
    size_t room = (size_t)in->count * (size_t)(x->count + 3);
    const struct ig_tensor **list = ig_arena_array(&m->arena, room, sizeof *list);
    int64_t count = 0;
    if (!list) return ig_err_nomem(err);
    for (int64_t i = 0; i < in->count; i++)
        if (!add_tensor(m, o, in->tensors[i], &gates, list, &count, err)) return false;
    in->tensors = list;
    in->count = count;
    return merge__input_index(in, err) && merge__moe_config(m, in, o, err);
}
