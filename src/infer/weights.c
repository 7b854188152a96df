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
    int64_t layer; /* < 0: outside the layers */
};

static const struct ig_tensor *find(const struct loader *l, const char *module, const char *part)
{
    char name[NAME_MAX_BYTES];
    if (l->layer >= 0)
        snprintf(name, sizeof name, "model.layers.%lld.%s.%s", (long long)l->layer, module, part);
    else
        snprintf(name, sizeof name, "%s.%s", module, part);
    const struct ig_tensor *tensor = ig_store_find(l->model->store, ig_slice_of(name));
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
    *out = ig_store_map(l->model->store, tensor, l->err);
    return *out != NULL;
}

/* A vector of `count` floats as f32, zeros never. */
static bool load_vector(const struct loader *l, const char *module, const char *part, int64_t count,
                        const float **out)
{
    const struct ig_tensor *t = find(l, module, part);
    if (!t) return false;
    enum ig_packing packing;
    if (!plain_packing(t->dtype, &packing)) return unsupported_dtype(l, t);
    if (t->rank != 1 || t->shape[0] != count) {
        char want[32];
        snprintf(want, sizeof want, "%lld", (long long)count);
        return wrong_shape(l, t, want);
    }
    const void *data;
    float *copy = ig_arena_array(&l->model->arena, (size_t)count, sizeof *copy);
    if (!copy) return ig_err_nomem(l->err);
    if (!map(l, t, &data)) return false;
    ig_convert_to_f32(&l->model->convert, t->dtype, data, copy, count);
    *out = copy;
    return true;
}

static bool packed_matrix(const struct loader *l, const char *module, const struct ig_tensor *t,
                          struct ig_codec codec, struct ig_matrix *w)
{
    /* ig_quant_stored has checked the codes against the scales. */
    const struct ig_tensor *scales = find(l, module, "scales"), *biases = NULL;
    if (!scales) return false;
    w->bits = codec.bits;
    w->group = codec.group_size;
    if (codec.mode == IG_AFFINE) {
        biases = find(l, module, "biases");
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

static bool load_matrix(const struct loader *l, const char *module, int64_t rows, int64_t cols,
                        struct ig_matrix *out)
{
    struct ig_matrix w = {.rows = rows, .cols = cols};
    const struct ig_tensor *t = find(l, module, "weight");
    struct ig_codec codec;
    bool is_scale;
    if (!t || !ig_quant_stored(l->model->store, t, &codec, &is_scale, l->err)) return false;
    char want[64];
    int64_t words = cols; /* in a row, as the file counts them */
    if (codec.bits) words = cols * codec.bits / 32;
    snprintf(want, sizeof want, "%lld x %lld", (long long)rows, (long long)words);
    bool whole = !codec.bits || (cols * codec.bits % 32 == 0 && cols % codec.group_size == 0);
    if (t->rank != 2 || t->shape[0] != rows || t->shape[1] != words || !whole)
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

static bool load_layer(const struct loader *l, struct infer_layer *layer)
{
    const struct ig_model_shape *s = &l->model->shape;
    int64_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const struct {
        const char *module;
        int64_t rows, cols;
        struct ig_matrix *matrix;
        const float **bias;
    } matrices[] = {
        {"self_attn.q_proj", q, s->hidden, &layer->q, &layer->q_bias},
        {"self_attn.k_proj", kv, s->hidden, &layer->k, &layer->k_bias},
        {"self_attn.v_proj", kv, s->hidden, &layer->v, &layer->v_bias},
        {"self_attn.o_proj", s->hidden, q, &layer->o, &layer->o_bias},
        {"mlp.gate_proj", s->intermediate, s->hidden, &layer->gate, NULL},
        {"mlp.up_proj", s->intermediate, s->hidden, &layer->up, NULL},
        {"mlp.down_proj", s->hidden, s->intermediate, &layer->down, NULL},
    };
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        const char *module = matrices[i].module;
        if (!load_matrix(l, module, matrices[i].rows, matrices[i].cols, matrices[i].matrix))
            return false;
        if (s->attention_bias && matrices[i].bias &&
            !load_vector(l, module, "bias", matrices[i].rows, matrices[i].bias))
            return false;
    }
    if (!load_vector(l, "input_layernorm", "weight", s->hidden, &layer->input_norm) ||
        !load_vector(l, "post_attention_layernorm", "weight", s->hidden, &layer->post_norm))
        return false;
    return !s->qk_norm ||
           (load_vector(l, "self_attn.q_norm", "weight", s->head_dim, &layer->q_norm) &&
            load_vector(l, "self_attn.k_norm", "weight", s->head_dim, &layer->k_norm));
}

bool infer__load(struct ig_model *model, struct ig_err *err)
{
    const struct ig_model_shape *s = &model->shape;
    struct loader l = {model, err, -1};
    model->layers = ig_arena_array(&model->arena, (size_t)s->layers, sizeof *model->layers);
    if (!model->layers) return ig_err_nomem(err);
    if (!load_matrix(&l, "model.embed_tokens", s->vocab, s->hidden, &model->embed) ||
        !load_vector(&l, "model.norm", "weight", s->hidden, &model->final_norm))
        return false;
    model->head = model->embed;
    if (!s->tied && !load_matrix(&l, "lm_head", s->vocab, s->hidden, &model->head)) return false;
    for (l.layer = 0; l.layer < s->layers; l.layer++)
        if (!load_layer(&l, &model->layers[l.layer])) return false;
    return true;
}
