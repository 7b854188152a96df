/* SPDX-License-Identifier: Apache-2.0
 * moe — dense models as the experts of one: mergekit-moe's configuration.
 *
 *     base_model: MODEL
 *     gate_mode: hidden (also hidden_last) | hidden_avg | cheap_embed | random | uniform_random
 *     experts: [{source_model: MODEL, positive_prompts: [..], negative_prompts: [..],
 *                noise_scale: S, residual_scale: S}]
 *     experts_per_token: 2        dtype: NAME
 *
 * Everything but the MLPs is the base's. Qwen3 becomes Qwen3-MoE, Llama and Mistral become Mixtral.
 * Routers: gates.c. Random numbers are of a counter: the same whatever the order; normal ones are
 * sums of twelve. */
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
    if (r->moe->gate <= GATE_UNIFORM || out->positive) return true;
    return ig_yaml_fail(err, map, "this gate_mode needs positive_prompts");
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

static bool refuse_shared(const struct ig_yaml *root, struct ig_err *err)
{
    const struct ig_yaml *shared = ig_yaml_get(root, "shared_experts");
    if (!shared || shared->type == IG_YAML_NULL ||
        (shared->type == IG_YAML_LIST && shared->count == 0))
        return true;
    ig_yaml_fail(err, shared, "shared_experts are not supported");
    err->code = IG_ERR_UNSUPPORTED;
    return false;
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
    if (!merge__check_keys(root, keys, err) || !refuse_shared(root, err)) return false;
    struct recipe_moe *x = r->moe = ig_arena_new(&r->arena, sizeof *x);
    r->slices = ig_arena_new(&r->arena, sizeof *r->slices);
    if (!x || !r->slices) return ig_err_nomem(err);
    struct recipe_source *source = ig_arena_new(&r->arena, sizeof *source);
    if (!source) return ig_err_nomem(err);
    *x = (struct recipe_moe){.at = root, .used = 2};
    if (!base) return ig_yaml_fail(err, root, "the configuration needs 'base_model'");
    if (!read_gate(root, x, err) || !merge__read_reference(r, base, &r->base, err)) return false;
    if (used && used->type == IG_YAML_INT) x->used = used->integer;
    if (experts->count == 0 || experts->count > EXPERTS_MAX || x->used < 1 ||
        x->used > experts->count)
        return ig_yaml_fail(err, experts,
                            "1 to %d experts, of which experts_per_token (%lld) are used",
                            EXPERTS_MAX, (long long)x->used);
    for (uint32_t i = 0; i < experts->count; i++, x->count++)
        if (!read_expert(r, experts->items[i], x->experts + i, err)) return false;
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

struct family {
    const char *dense, *moe, *class;
    const char *block, *parts[3]; /* of gate_proj, up_proj, down_proj */
};
static const struct family families[] = {
    {"qwen3", "qwen3_moe", "Qwen3MoeForCausalLM", "mlp", {"gate_proj", "up_proj", "down_proj"}},
    {"llama", "mixtral", "MixtralForCausalLM", "block_sparse_moe", {"w1", "w3", "w2"}},
    {"mistral", "mixtral", "MixtralForCausalLM", "block_sparse_moe", {"w1", "w3", "w2"}},
    {NULL, NULL, NULL, NULL, {NULL, NULL, NULL}},
};

static int part_of(struct ig_slice name)
{
    static const char *const ends[] = {".mlp.gate_proj.weight", ".mlp.up_proj.weight",
                                       ".mlp.down_proj.weight"};
    for (int i = 0; i < 3; i++)
        if (ig_slice_ends(name, ends[i])) return i;
    return -1;
}

static bool add_expert(struct ig_merge *m, const struct family *f, const struct ig_tensor *like,
                       int part, int expert, const struct ig_tensor **out, struct ig_err *err)
{
    const struct expert *x = &m->recipe->moe->experts[expert];
    const char *mlp = ig_slice_find(like->name, ig_slice_of(".mlp."));
    const struct merge_input *in = &m->inputs[x->model];
    const struct ig_tensor *of = merge__input_find(in, like->name);
    bool same = of && of->rank == like->rank;
    for (int d = 0; same && d < of->rank; d++)
        same = of->shape[d] == like->shape[d];
    if (!same || !ig_dtype_is_float(of->dtype))
        return ig_err_set(err, IG_ERR_DATA, "'%s' has no '" IG_SLICE_FMT "' of the base's shape",
                          ig_store_path(in->store), IG_SLICE_ARG(like->name));
    struct ig_slice name =
        merge__name(&m->arena, "%.*s.%s.experts.%d.%s.weight", (int)(mlp - like->name.ptr),
                    like->name.ptr, f->block, expert, f->parts[part]);
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

static bool add_router(struct ig_merge *m, const struct family *f, const struct ig_tensor *like,
                       const struct moe_gates *gates, const struct ig_tensor **out,
                       struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    const float *rows = merge__gates_of(gates, like, x->count);
    const char *mlp = ig_slice_find(like->name, ig_slice_of(".mlp."));
    struct ig_slice name = merge__name(&m->arena, "%.*s.%s.gate.weight",
                                       (int)(mlp - like->name.ptr), like->name.ptr, f->block);
    struct merge_view *v = merge__view_new(&m->arena, like, name, err);
    struct router *own = ig_arena_new(&m->arena, sizeof *own);
    if (!v || !own) return ig_err_nomem(err);
    *own = (struct router){
        .gate = x->gate, .rows = rows, .hidden = like->shape[1], .key = key_of(name)};
    v->tensor.dtype = IG_F32;
    v->tensor.shape[0] = x->count;
    v->own = own;
    v->read = read_router;
    *out = &v->tensor;
    return merge__view_size(v, err);
}

static bool set_number(struct ig_json *config, const char *key, int64_t value, struct ig_merge *m,
                       struct ig_err *err)
{
    struct ig_slice text = merge__name(&m->arena, "%lld", (long long)value);
    const struct ig_json number = {.type = IG_JSON_NUMBER, .text = text};
    return text.ptr ? merge__config_set(config, key, number, &m->arena, err) : ig_err_nomem(err);
}

static bool make_config(struct ig_merge *m, struct merge_input *in, const struct family *f,
                        struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    struct ig_json *config, *class = ig_arena_new(&m->arena, sizeof *class);
    int64_t inner = 0;
    if (!class) return ig_err_nomem(err);
    if (!merge__config_copy(in->config, &m->arena, &config, err)) return false;
    bool qwen = strcmp(f->moe, "qwen3_moe") == 0;
    *class = (struct ig_json){.type = IG_JSON_STRING, .text = ig_slice_of(f->class)};
    const struct ig_json list = {.type = IG_JSON_ARRAY, .count = 1, .items = class};
    const struct ig_json type = {.type = IG_JSON_STRING, .text = ig_slice_of(f->moe)};
    const struct ig_json yes = {.type = IG_JSON_TRUE}, none = {.type = IG_JSON_NULL};
    const struct ig_json empty = {.type = IG_JSON_ARRAY};
    ig_json_int(ig_json_get(config, "intermediate_size"), &inner);
    bool ok = merge__config_set(config, "architectures", list, &m->arena, err) &&
              merge__config_set(config, "model_type", type, &m->arena, err) &&
              set_number(config, qwen ? "num_experts" : "num_local_experts", x->count, m, err) &&
              set_number(config, "num_experts_per_tok", x->used, m, err);
    if (ok && qwen)
        ok = set_number(config, "decoder_sparse_step", 1, m, err) &&
             set_number(config, "moe_intermediate_size", inner, m, err) &&
             merge__config_set(config, "norm_topk_prob", yes, &m->arena, err) &&
             merge__config_set(config, "mlp_only_layers", empty, &m->arena, err);
    if (ok && !qwen) ok = merge__config_set(config, "sliding_window", none, &m->arena, err);
    in->config = config;
    return ok;
}

bool merge__apply_moe(struct ig_merge *m, const struct ig_watch *watch, struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    const struct family *f = families;
    struct moe_gates gates;
    if (!x) return true;
    struct merge_input *in = &m->inputs[m->recipe->base];
    struct ig_slice type = ig_json_text(ig_json_get(in->config, "model_type"));
    while (f->dense && !ig_slice_is(type, f->dense))
        f++;
    if (!f->dense)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "a '" IG_SLICE_FMT "' model cannot be made of experts; qwen3, llama and "
                          "mistral can",
                          IG_SLICE_ARG(type));
    if (!merge__make_gates(m, watch, &gates, err)) return false;
    size_t room = (size_t)in->count * (size_t)(x->count + 1);
    const struct ig_tensor **list = ig_arena_array(&m->arena, room, sizeof *list);
    int64_t count = 0;
    if (!list) return ig_err_nomem(err);
    for (int64_t i = 0; i < in->count; i++) {
        const struct ig_tensor *t = in->tensors[i];
        int part = t->rank == 2 ? part_of(t->name) : -1;
        if (part < 0 && ig_slice_find(t->name, ig_slice_of(".mlp.")))
            return ig_err_set(err, IG_ERR_UNSUPPORTED, "'" IG_SLICE_FMT "' has no place in experts",
                              IG_SLICE_ARG(t->name));
        if (part < 0) list[count++] = t;
        for (int e = 0; part >= 0 && e < x->count; e++)
            if (!add_expert(m, f, t, part, e, &list[count++], err)) return false;
        if (part == 0 && !add_router(m, f, t, &gates, &list[count++], err)) return false;
    }
    in->tensors = list;
    in->count = count;
    return merge__input_index(in, err) && make_config(m, in, f, err);
}
