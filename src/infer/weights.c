/* SPDX-License-Identifier: Apache-2.0
 * weights — every tensor that the shape asks for, found by name, checked, mapped in place. Matrices
 * are used as the file has them; norms and biases, small, become f32 copies. */
#include "infer/infer_internal.h"

#include "ingot/quant.h"

#include <stdio.h>

#define NAME_MAX_BYTES 256

struct loader {
    struct ig_model *model;
    struct ig_err *err;
    const char *prefix; /* of what is not the head: "model." */
    int64_t layer;      /* < 0: outside the layers */
    bool lazy;          /* not read ahead: of experts few are used */
};

/* The tensor `module` + `part` of the layer, or of the root; NULL when there is none, with the name
 * that was looked for. */
static const struct ig_tensor *look(const struct loader *l, const char *module, const char *part,
                                    char name[NAME_MAX_BYTES])
{
    if (l->layer >= 0)
        snprintf(name, NAME_MAX_BYTES, "%slayers.%lld.%s%s", l->prefix, (long long)l->layer, module,
                 part);
    else
        snprintf(name, NAME_MAX_BYTES, "%s%s%s", l->prefix, module, part);
    return ig_store_find(l->model->store, ig_slice_of(name));
}

static bool has(const struct loader *l, const char *module, const char *part)
{
    char name[NAME_MAX_BYTES];
    return look(l, module, part, name) != NULL;
}

static const struct ig_tensor *find(const struct loader *l, const char *module, const char *part)
{
    char name[NAME_MAX_BYTES];
    const struct ig_tensor *tensor = look(l, module, part, name);
    if (!tensor) ig_err_set(l->err, IG_ERR_DATA, "tensor '%s' is missing", name);
    return tensor;
}

static bool wrong_shape(const struct loader *l, const struct ig_tensor *t, const char *want)
{
    char have[IG_RANK_MAX * 24] = "";
    size_t at = 0;
    for (int i = 0; i < t->rank; i++)
        at += (size_t)snprintf(have + at, sizeof have - at, i ? " x %lld" : "%lld",
                               (long long)t->shape[i]);
    return ig_err_set(l->err, IG_ERR_DATA,
                      "tensor '" IG_SLICE_FMT "' is %s %s; config.json makes it %s",
                      IG_SLICE_ARG(t->name), ig_dtype_name(t->dtype), have, want);
}

static bool unsupported_dtype(const struct loader *l, const struct ig_tensor *t)
{
    return ig_err_set(l->err, IG_ERR_UNSUPPORTED,
                      "tensor '" IG_SLICE_FMT
                      "' is %s; the engine runs F32, F16, BF16 and MLX's packed weights",
                      IG_SLICE_ARG(t->name), ig_dtype_name(t->dtype));
}

static bool plain_packing(enum ig_dtype dtype, enum ig_packing *out)
{
    if (dtype != IG_F32 && dtype != IG_F16 && dtype != IG_BF16) return false;
    *out = dtype == IG_F32 ? IG_PACK_F32 : dtype == IG_F16 ? IG_PACK_F16 : IG_PACK_BF16;
    return true;
}

static bool map(const struct loader *l, const struct ig_tensor *tensor, const void **out)
{
    *out = (l->lazy ? ig_store_map_lazily : ig_store_map)(l->model->store, tensor, l->err);
    if (*out && l->lazy && l->model->outgrows) infer__scattered(*out, tensor->bytes);
    return *out != NULL;
}

/* Any tensor of `count` floats as f32. */
static bool load_floats(const struct loader *l, const struct ig_tensor *t, float plus, float **out)
{
    enum ig_packing packing;
    if (!plain_packing(t->dtype, &packing)) return unsupported_dtype(l, t);
    const void *data;
    float *copy = ig_arena_array(&l->model->arena, (size_t)t->elems, sizeof *copy);
    if (!copy) return ig_err_nomem(l->err);
    if (!map(l, t, &data)) return false;
    ig_convert_to_f32(&l->model->convert, t->dtype, data, copy, t->elems);
    for (int64_t i = 0; i < t->elems && plus != 0; i++)
        copy[i] += plus;
    *out = copy;
    return true;
}

static bool load_vector(const struct loader *l, const char *module, const char *part, int64_t count,
                        float plus, const float **out)
{
    const struct ig_tensor *t = find(l, module, part);
    if (!t) return false;
    if (t->rank != 1 || t->shape[0] != count) {
        char want[32];
        snprintf(want, sizeof want, "%lld", (long long)count);
        return wrong_shape(l, t, want);
    }
    float *copy = NULL;
    if (!load_floats(l, t, plus, &copy)) return false;
    *out = copy;
    return true;
}

static bool load_norm(const struct loader *l, const char *module, int64_t count, const float **out)
{
    return load_vector(l, module, ".weight", count, l->model->norms_plus, out);
}

static bool packed_matrix(const struct loader *l, const char *module, const struct ig_tensor *t,
                          struct ig_codec codec, struct ig_matrix *w)
{
    /* ig_quant_stored has checked the codes against the scales. */
    const struct ig_tensor *scales = find(l, module, ".scales"), *biases = NULL;
    if (!scales) return false;
    w->bits = codec.bits;
    w->group = codec.group_size;
    if (codec.mode == IG_AFFINE) {
        biases = find(l, module, ".biases");
        if (!biases) return false;
        enum ig_packing packing;
        if (!plain_packing(scales->dtype, &packing)) return unsupported_dtype(l, scales);
        if (codec.bits == 1 || codec.bits == 7)
            return ig_err_set(l->err, IG_ERR_UNSUPPORTED,
                              "tensor '" IG_SLICE_FMT "' has %d-bit codes; 2, 3, 4, 5, 6 and 8 run",
                              IG_SLICE_ARG(t->name), codec.bits);
        if (biases->dtype != scales->dtype || biases->elems != scales->elems)
            return ig_err_set(l->err, IG_ERR_DATA,
                              "tensor '" IG_SLICE_FMT "' is not like the scales beside it",
                              IG_SLICE_ARG(biases->name));
        w->packing = IG_PACK_AFFINE;
        w->scale_dtype = scales->dtype;
    } else {
        if (scales->dtype != IG_U8) return unsupported_dtype(l, scales);
        w->packing = codec.mode == IG_MXFP8 ? IG_PACK_FP8 : IG_PACK_FP4;
    }
    return map(l, t, &w->data) && map(l, scales, &w->scales) &&
           (!biases || map(l, biases, &w->biases));
}

/* A matrix, or a stack of them (experts > 0), of which *out is the first. */
static bool load_stack(const struct loader *l, const char *module, int64_t experts, int64_t rows,
                       int64_t cols, struct ig_matrix *out)
{
    struct ig_matrix w = {.rows = rows, .cols = cols};
    const struct ig_tensor *t = find(l, module, ".weight");
    struct ig_codec codec;
    bool is_scale;
    if (!t || !ig_quant_stored(l->model->store, t, &codec, &is_scale, l->err)) return false;
    char want[96];
    int64_t words = cols; /* in a row, as the file counts them */
    if (codec.bits) words = cols * codec.bits / 32;
    if (experts)
        snprintf(want, sizeof want, "%lld x %lld x %lld", (long long)experts, (long long)rows,
                 (long long)words);
    else
        snprintf(want, sizeof want, "%lld x %lld", (long long)rows, (long long)words);
    bool whole = !codec.bits || (cols * codec.bits % 32 == 0 && cols % codec.group_size == 0);
    int first = experts ? 1 : 0;
    if (t->rank != first + 2 || (experts && t->shape[0] != experts) || t->shape[first] != rows ||
        t->shape[first + 1] != words || !whole)
        return wrong_shape(l, t, want);
    if (codec.bits) {
        if (!packed_matrix(l, module, t, codec, &w)) return false;
    } else {
        if (!plain_packing(t->dtype, &w.packing)) return unsupported_dtype(l, t);
        if (!map(l, t, &w.data)) return false;
    }
    *out = w;
    return true;
}

static bool load_matrix(const struct loader *l, const char *module, int64_t rows, int64_t cols,
                        struct ig_matrix *out)
{
    return load_stack(l, module, 0, rows, cols, out);
}

/* ---- experts ---- */

/* Number `index` of a stack whose first matrix is w. */
static struct ig_matrix stack_at(const struct ig_matrix *w, int64_t index)
{
    struct ig_matrix at = *w;
    size_t rows = (size_t)(index * w->rows), scale = 1;
    if (w->packing == IG_PACK_AFFINE) scale = ig_dtype_bytes(w->scale_dtype);
    at.data = (const char *)w->data + rows * ig_matmul_row_bytes(w);
    if (w->scales) scale *= (size_t)(w->cols / w->group);
    if (w->scales) at.scales = (const char *)w->scales + rows * scale;
    if (w->biases) at.biases = (const char *)w->biases + rows * scale;
    return at;
}

/* mlx: mlp.switch_mlp.up_proj.weight [experts, out, in]. */
static bool load_stacked(const struct loader *l, struct infer_experts *e)
{
    const struct ig_model_shape *s = &l->model->shape;
    int64_t inner = s->moe_intermediate;
    struct ig_matrix gate, up, down;
    if (!load_stack(l, "mlp.switch_mlp.gate_proj", s->experts, inner, s->hidden, &gate) ||
        !load_stack(l, "mlp.switch_mlp.up_proj", s->experts, inner, s->hidden, &up) ||
        !load_stack(l, "mlp.switch_mlp.down_proj", s->experts, s->hidden, inner, &down))
        return false;
    for (int64_t i = 0; i < s->experts; i++)
        e->expert[i] =
            (struct infer_expert){stack_at(&gate, i), stack_at(&up, i), stack_at(&down, i)};
    return true;
}

/* transformers: mlp.experts.7.up_proj.weight [out, in]. */
static bool load_single(const struct loader *l, struct infer_experts *e)
{
    const struct ig_model_shape *s = &l->model->shape;
    int64_t inner = s->moe_intermediate;
    char module[64];
    for (int64_t i = 0; i < s->experts; i++) {
        int at = snprintf(module, sizeof module, "mlp.experts.%lld.", (long long)i);
        char *part = module + at;
        size_t room = sizeof module - (size_t)at;
        snprintf(part, room, "gate_proj");
        if (!load_matrix(l, module, inner, s->hidden, &e->expert[i].gate)) return false;
        snprintf(part, room, "up_proj");
        if (!load_matrix(l, module, inner, s->hidden, &e->expert[i].up)) return false;
        snprintf(part, room, "down_proj");
        if (!load_matrix(l, module, s->hidden, inner, &e->expert[i].down)) return false;
    }
    return true;
}

/* A fused tensor, [experts, out, in] or [experts, in, out]: which of both, *transposed says, and
 * decides where both fit. */
static bool load_fused(const struct loader *l, const char *name, int64_t out, int64_t in,
                       bool *transposed, struct ig_matrix *w)
{
    const struct ig_tensor *t = find(l, name, "");
    if (!t) return false;
    int64_t experts = l->model->shape.experts;
    bool plain = t->rank == 3 && t->shape[0] == experts && t->shape[1] == out && t->shape[2] == in;
    bool turned = t->rank == 3 && t->shape[0] == experts && t->shape[1] == in && t->shape[2] == out;
    if (!plain && !turned) {
        char want[96];
        snprintf(want, sizeof want, "%lld x %lld x %lld", (long long)experts,
                 (long long)(*transposed ? in : out), (long long)(*transposed ? out : in));
        return wrong_shape(l, t, want);
    }
    if (plain != turned) *transposed = turned;
    *w = (struct ig_matrix){.rows = out, .cols = in};
    if (!plain_packing(t->dtype, &w->packing)) return unsupported_dtype(l, t);
    return map(l, t, &w->data);
}

/* transformers 5 in memory, and Qwen3-VL's files: mlp.experts.gate_up_proj, gate first. */
static bool load_all_fused(const struct loader *l, struct infer_experts *e)
{
    const struct ig_model_shape *s = &l->model->shape;
    int64_t inner = s->moe_intermediate;
    struct ig_matrix both, down;
    bool down_turned;
    e->transposed = s->experts_transposed;
    if (!load_fused(l, "mlp.experts.gate_up_proj", 2 * inner, s->hidden, &e->transposed, &both))
        return false;
    down_turned = e->transposed;
    if (!load_fused(l, "mlp.experts.down_proj", s->hidden, inner, &down_turned, &down))
        return false;
    if (down_turned != e->transposed)
        return ig_err_set(l->err, IG_ERR_DATA,
                          "layer %lld: of 'mlp.experts' one of gate_up_proj and down_proj is "
                          "transposed, the other is not",
                          (long long)l->layer);
    size_t element = ig_dtype_bytes(both.packing == IG_PACK_F32   ? IG_F32
                                    : both.packing == IG_PACK_F16 ? IG_F16
                                                                  : IG_BF16);
    int64_t half = e->transposed ? inner : inner * s->hidden; /* from gate to up, in elements */
    for (int64_t i = 0; i < s->experts; i++) {
        struct ig_matrix gate = stack_at(&both, i), up;
        gate.rows = inner;
        up = gate;
        up.data = (const char *)gate.data + (size_t)half * element;
        e->expert[i] = (struct infer_expert){gate, up, stack_at(&down, i)};
    }
    return true;
}

static bool load_experts(const struct loader *l, struct infer_layer *layer)
{
    const struct ig_model_shape *s = &l->model->shape;
    struct infer_experts *e = ig_arena_new(&l->model->arena, sizeof *e);
    if (!e) return ig_err_nomem(l->err);
    e->expert = ig_arena_array(&l->model->arena, (size_t)s->experts, sizeof *e->expert);
    if (!e->expert) return ig_err_nomem(l->err);
    layer->experts = e;
    if (!load_matrix(l, "mlp.gate", s->experts, s->hidden, &e->router)) return false;
    e->router.exact = true; /* it decides; there is little of it */
    struct loader lazy = *l;
    lazy.lazy = true;
    bool ok = has(l, "mlp.experts.gate_up_proj", "")         ? load_all_fused(&lazy, e)
              : has(l, "mlp.experts.0.gate_proj", ".weight") ? load_single(&lazy, e)
                                                             : load_stacked(&lazy, e);
    int64_t shared = s->shared_intermediate;
    if (!ok || !shared) return ok;
    return load_matrix(l, "mlp.shared_expert.gate_proj", shared, s->hidden, &e->shared.gate) &&
           load_matrix(l, "mlp.shared_expert.up_proj", shared, s->hidden, &e->shared.up) &&
           load_matrix(l, "mlp.shared_expert.down_proj", s->hidden, shared, &e->shared.down) &&
           load_matrix(l, "mlp.shared_expert_gate", 1, s->hidden, &e->shared_gate);
}

/* ---- layers ---- */

/* A module of a layer, with or without a bias. */
struct linear {
    const char *module;
    int64_t rows, cols;
    struct ig_matrix *matrix;
    const float **bias; /* NULL: none */
};

static bool load_linears(const struct loader *l, const struct linear *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!load_matrix(l, list[i].module, list[i].rows, list[i].cols, list[i].matrix))
            return false;
        if (list[i].bias && !load_vector(l, list[i].module, ".bias", list[i].rows, 0, list[i].bias))
            return false;
    }
    return true;
}

static bool load_attention(const struct loader *l, struct infer_layer *layer)
{
    const struct ig_model_shape *s = &l->model->shape;
    int64_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    bool bias = s->qkv_bias;
    const struct linear list[] = {
        {"self_attn.q_proj", s->attention_gate ? 2 * q : q, s->hidden, &layer->q,
         bias ? &layer->q_bias : NULL},
        {"self_attn.k_proj", kv, s->hidden, &layer->k, bias ? &layer->k_bias : NULL},
        {"self_attn.v_proj", kv, s->hidden, &layer->v, bias ? &layer->v_bias : NULL},
        {"self_attn.o_proj", s->hidden, q, &layer->o, s->o_bias ? &layer->o_bias : NULL},
    };
    if (!load_linears(l, list, sizeof list / sizeof *list)) return false;
    return !s->qk_norm || (load_norm(l, "self_attn.q_norm", s->head_dim, &layer->q_norm) &&
                           load_norm(l, "self_attn.k_norm", s->head_dim, &layer->k_norm));
}

/* The filters of a convolution over time: transformers has [channels, 1, taps], mlx [channels,
 * taps, 1]; the bytes are the same. */
static bool load_conv(const struct loader *l, int64_t channels, const float **out)
{
    int64_t taps = l->model->shape.conv_kernel;
    const struct ig_tensor *t = find(l, "linear_attn.conv1d", ".weight");
    if (!t) return false;
    if (t->rank != 3 || t->shape[0] != channels || t->elems != channels * taps ||
        (t->shape[1] != taps && t->shape[2] != taps)) {
        char want[96];
        snprintf(want, sizeof want, "%lld x 1 x %lld", (long long)channels, (long long)taps);
        return wrong_shape(l, t, want);
    }
    float *copy = NULL;
    if (!load_floats(l, t, 0, &copy)) return false;
    *out = copy;
    return true;
}

static bool load_delta(const struct loader *l, struct infer_layer *layer)
{
    const struct ig_model_shape *s = &l->model->shape;
    int64_t keys = s->linear_key_heads * s->linear_key_dim, heads = s->linear_value_heads;
    int64_t values = heads * s->linear_value_dim;
    struct infer_delta *d = ig_arena_new(&l->model->arena, sizeof *d);
    if (!d) return ig_err_nomem(l->err);
    layer->delta = d;
    return load_matrix(l, "linear_attn.in_proj_qkvz", 2 * (keys + values), s->hidden, &d->qkvz) &&
           load_matrix(l, "linear_attn.in_proj_ba", 2 * heads, s->hidden, &d->ba) &&
           load_matrix(l, "linear_attn.out_proj", s->hidden, values, &d->out) &&
           load_conv(l, 2 * keys + values, &d->conv) &&
           load_vector(l, "linear_attn.dt_bias", "", heads, 0, &d->dt_bias) &&
           load_vector(l, "linear_attn.A_log", "", heads, 0, &d->log_a) &&
           load_vector(l, "linear_attn.norm", ".weight", s->linear_value_dim, 0, &d->norm);
}

static bool load_mlp(const struct loader *l, struct infer_layer *layer)
{
    const struct ig_model_shape *s = &l->model->shape;
    bool bias = s->mlp_bias;
    const struct linear list[] = {
        {"mlp.gate_proj", s->intermediate, s->hidden, &layer->gate,
         bias ? &layer->gate_bias : NULL},
        {"mlp.up_proj", s->intermediate, s->hidden, &layer->up, bias ? &layer->up_bias : NULL},
        {"mlp.down_proj", s->hidden, s->intermediate, &layer->down,
         bias ? &layer->down_bias : NULL},
    };
    return load_linears(l, list, sizeof list / sizeof *list);
}

static bool load_layer(const struct loader *l, struct infer_layer *layer)
{
    const struct ig_model_shape *s = &l->model->shape;
    unsigned kind = s->layer[l->layer];
    layer->sliding = kind & IG_LAYER_SLIDING;
    layer->window = layer->sliding ? s->window : INT64_MAX;
    bool linear = kind & IG_LAYER_LINEAR;
    layer->cache = linear ? l->model->states++ : l->model->caches++;
    if (!(linear ? load_delta(l, layer) : load_attention(l, layer))) return false;
    if (!(kind & IG_LAYER_EXPERTS ? load_experts(l, layer) : load_mlp(l, layer))) return false;
    if (!load_norm(l, "input_layernorm", s->hidden, &layer->input_norm)) return false;
    if (!s->norms_after)
        return load_norm(l, "post_attention_layernorm", s->hidden, &layer->post_norm);
    return load_norm(l, "post_attention_layernorm", s->hidden, &layer->after_attention) &&
           load_norm(l, "pre_feedforward_layernorm", s->hidden, &layer->post_norm) &&
           load_norm(l, "post_feedforward_layernorm", s->hidden, &layer->after_mlp);
}

/* Where the text model's tensors are, and the head beside it: a text model's, transformers' and
 * mlx-lm's names in a vision model. */
static const char *find_prefix(const struct ig_store *store, const char **head)
{
    static const char *const prefixes[][2] = {{"model.", ""},
                                              {"model.language_model.", ""},
                                              {"language_model.model.", "language_model."}};
    for (int i = 2; i >= 0; i--) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i][0]);
        *head = prefixes[i][1];
        if (i == 0 || ig_store_find(store, ig_slice_of(name))) return prefixes[i][0];
    }
    return prefixes[0][0];
}

/* mlx-lm adds 1 to Qwen3-Next's norms when it turns the filters of its convolutions: files that
 * have one have the other. */
static bool norms_are_whole(const struct loader *l)
{
    struct loader at = *l;
    char name[NAME_MAX_BYTES];
    for (at.layer = 0; at.layer < l->model->shape.layers; at.layer++) {
        const struct ig_tensor *t = look(&at, "linear_attn.conv1d", ".weight", name);
        if (t) return t->rank == 3 && t->shape[2] == 1;
    }
    return false;
}

bool infer__load(struct ig_model *model, struct ig_err *err)
{
    const struct ig_model_shape *s = &model->shape;
    const char *head_prefix;
    struct loader l = {.model = model, .err = err, .layer = -1};
    l.prefix = find_prefix(model->store, &head_prefix);
    struct loader root = l;
    root.prefix = head_prefix;
    if (s->norms_less_one && !norms_are_whole(&l)) model->norms_plus = 1;
    model->layers = ig_arena_array(&model->arena, (size_t)s->layers, sizeof *model->layers);
    if (!model->layers) return ig_err_nomem(err);
    if (!load_matrix(&l, "embed_tokens", s->vocab, s->hidden, &model->embed) ||
        !load_norm(&l, "norm", s->hidden, &model->final_norm))
        return false;
    model->head = model->embed;
    if (!s->tied && !load_matrix(&root, "lm_head", s->vocab, s->hidden, &model->head)) return false;
    for (l.layer = 0; l.layer < s->layers; l.layer++)
        if (!load_layer(&l, &model->layers[l.layer])) return false;
    return true;
}
