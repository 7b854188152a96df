/* SPDX-License-Identifier: Apache-2.0
 * shape — a decoder's numbers out of config.json. Foreign: every number has a range, so that no
 * product of two of them overflows, and what the engine would get wrong is refused by name.
 *
 * Defaults are those of transformers' configuration classes, which families state. */
#include "arch/arch_internal.h"

#include <math.h>

#define VOCAB_MAX   (1 << 24)
#define EXPERTS_MAX 65536
#define CONTEXT_MAX ((int64_t)1 << 31)

bool arch__read_int(const struct ig_json *config, const struct arch_field *f, struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(config, f->key);
    if (!node || node->type == IG_JSON_NULL) {
        if (f->preset < 0) return ig_err_set(err, IG_ERR_DATA, "config.json has no '%s'", f->key);
        *f->out = f->preset;
        return true;
    }
    int64_t value;
    if (!ig_json_int(node, &value))
        return ig_err_set(err, IG_ERR_DATA, "config.json: '%s' is not an integer", f->key);
    if (value < f->min || value > f->max)
        return ig_err_set(err, IG_ERR_DATA, "config.json: '%s' is %lld, outside %lld to %lld",
                          f->key, (long long)value, (long long)f->min, (long long)f->max);
    *f->out = value;
    return true;
}

bool arch__read_real(const struct ig_json *object, const char *key, double preset, double min,
                     double max, double *out, struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(object, key);
    *out = preset;
    if (!node || node->type == IG_JSON_NULL) return true;
    if (!ig_json_real(node, out) || !(*out >= min && *out <= max))
        return ig_err_set(err, IG_ERR_DATA, "config.json: '%s' is not a number from %g to %g", key,
                          min, max);
    return true;
}

bool arch__read_bool(const struct ig_json *config, const char *key, bool preset, bool *out,
                     struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(config, key);
    *out = preset;
    if (!node || node->type == IG_JSON_NULL || ig_json_bool(node, out)) return true;
    return ig_err_set(err, IG_ERR_DATA, "config.json: '%s' is not true or false", key);
}

const struct ig_json *arch__text_config(const struct ig_json *config)
{
    const struct ig_json *text = ig_json_get(config, "text_config");
    return text && text->type == IG_JSON_OBJECT ? text : config;
}

/* ---- what layers are made of ---- */

static bool read_layer_types(const struct ig_json *config, unsigned allowed,
                             struct ig_model_shape *s, bool *listed, struct ig_err *err)
{
    const struct ig_json *types = ig_json_get(config, "layer_types");
    *listed = types && types->type == IG_JSON_ARRAY;
    if (!*listed) return true;
    if (types->count < s->layers)
        return ig_err_set(err, IG_ERR_DATA, "config.json: 'layer_types' has %u of %lld layers",
                          types->count, (long long)s->layers);
    for (int64_t i = 0; i < s->layers; i++) {
        struct ig_slice type = ig_json_text(&types->items[i]);
        unsigned kind = ig_slice_is(type, "full_attention")      ? 0
                        : ig_slice_is(type, "sliding_attention") ? IG_LAYER_SLIDING
                        : ig_slice_is(type, "linear_attention")  ? IG_LAYER_LINEAR
                                                                 : ~0U;
        if (kind & ~allowed)
            return ig_err_set(err, IG_ERR_UNSUPPORTED,
                              "config.json: layer_types[%lld] is '" IG_SLICE_FMT
                              "', which this family does not have",
                              (long long)i, IG_SLICE_ARG(type));
        s->layer[i] |= (uint8_t)kind;
    }
    return true;
}

bool arch__read_layers(const struct ig_json *config, unsigned allowed, struct ig_model_shape *s,
                       arch_layer_rule *rule, struct ig_err *err)
{
    bool listed, sliding = false;
    if (!read_layer_types(config, allowed, s, &listed, err)) return false;
    if (!listed && rule && !rule(config, s, err)) return false;
    for (int64_t i = 0; i < s->layers; i++)
        sliding = sliding || (s->layer[i] & IG_LAYER_SLIDING);
    const struct arch_field window = {"sliding_window", &s->window, 1, CONTEXT_MAX, -1};
    return !sliding || arch__read_int(config, &window, err);
}

/* use_sliding_window: from layer max_window_layers on. */
static bool qwen_rule(const struct ig_json *config, struct ig_model_shape *s, struct ig_err *err)
{
    bool sliding;
    int64_t first;
    const struct arch_field from = {"max_window_layers", &first, 0, IG_LAYERS_MAX,
                                    s->experts ? 0 : 28};
    if (!arch__read_bool(config, "use_sliding_window", false, &sliding, err) ||
        !arch__read_int(config, &from, err))
        return false;
    if (s->experts) first = 0; /* as transformers: all of them */
    for (int64_t i = first; sliding && i < s->layers; i++)
        s->layer[i] |= IG_LAYER_SLIDING;
    return true;
}

/* Experts in every decoder_sparse_step-th layer, but for those of mlp_only_layers. */
static bool place_experts(const struct ig_json *config, struct ig_model_shape *s,
                          struct ig_err *err)
{
    int64_t step;
    const struct arch_field sparse = {"decoder_sparse_step", &step, 1, IG_LAYERS_MAX, 1};
    if (!arch__read_int(config, &sparse, err)) return false;
    for (int64_t i = 0; i < s->layers; i++)
        if ((i + 1) % step == 0) s->layer[i] |= IG_LAYER_EXPERTS;
    const struct ig_json *dense = ig_json_get(config, "mlp_only_layers");
    for (uint32_t i = 0; dense && dense->type == IG_JSON_ARRAY && i < dense->count; i++) {
        int64_t layer;
        if (!ig_json_int(&dense->items[i], &layer))
            return ig_err_set(err, IG_ERR_DATA,
                              "config.json: mlp_only_layers[%u] is not an integer", i);
        if (layer >= 0 && layer < s->layers) s->layer[layer] &= (uint8_t)~IG_LAYER_EXPERTS;
    }
    return true;
}

static bool read_experts(const struct ig_json *config, const struct arch_family *family,
                         struct ig_model_shape *s, struct ig_err *err)
{
    /* transformers 5 writes num_local_experts. */
    const char *key = ig_json_get(config, "num_experts") ? "num_experts" : "num_local_experts";
    const struct arch_field fields[] = {
        {key, &s->experts, 1, EXPERTS_MAX, -1},
        {"num_experts_per_tok", &s->experts_used, 1, EXPERTS_MAX, -1},
        {"moe_intermediate_size", &s->moe_intermediate, 1, ARCH_WIDTH_MAX, -1},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (!arch__read_int(config, &fields[i], err)) return false;
    if (s->experts_used > s->experts)
        return ig_err_set(err, IG_ERR_DATA,
                          "config.json: num_experts_per_tok is %lld of %lld experts",
                          (long long)s->experts_used, (long long)s->experts);
    return arch__read_bool(config, "norm_topk_prob", family->experts_normed, &s->experts_normed,
                           err) &&
           place_experts(config, s, err);
}

/* ---- what all have ---- */

static bool read_activation(const struct ig_json *config, const char *key, struct ig_model_shape *s,
                            struct ig_err *err)
{
    if (!key) key = "hidden_act";
    struct ig_slice act = ig_json_text(ig_json_get(config, key));
    if (!act.ptr || ig_slice_is(act, "silu")) {
        s->activation = IG_SILU;
    } else if (ig_slice_is(act, "gelu_pytorch_tanh")) {
        s->activation = IG_GELU_TANH;
    } else {
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "config.json: %s '" IG_SLICE_FMT
                          "' is not supported (silu and gelu_pytorch_tanh are)",
                          key, IG_SLICE_ARG(act));
    }
    return true;
}

static bool read_numbers(const struct ig_json *config, const struct arch_family *family,
                         struct ig_model_shape *s, struct ig_err *err)
{
    const struct arch_field fields[] = {
        {"num_hidden_layers", &s->layers, 1, IG_LAYERS_MAX, -1},
        {"hidden_size", &s->hidden, 1, ARCH_WIDTH_MAX, -1},
        {"num_attention_heads", &s->heads, 1, ARCH_HEADS_MAX, family->heads ? family->heads : -1},
        {"num_key_value_heads", &s->kv_heads, 1, ARCH_HEADS_MAX, family->kv_heads},
        {"head_dim", &s->head_dim, 2, ARCH_HEAD_MAX, family->head_dim},
        {"intermediate_size", &s->intermediate, 1, ARCH_WIDTH_MAX, family->experts ? 0 : -1},
        {"vocab_size", &s->vocab, 1, VOCAB_MAX, family->vocab ? family->vocab : -1},
        {"max_position_embeddings", &s->context, 1, CONTEXT_MAX, family->context},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (!arch__read_int(config, &fields[i], err)) return false;
    if (s->kv_heads == 0) s->kv_heads = s->heads;
    if (s->head_dim == 0) s->head_dim = s->hidden / s->heads;
    if (s->heads % s->kv_heads != 0)
        return ig_err_set(err, IG_ERR_DATA,
                          "config.json: %lld attention heads cannot share %lld key-value heads",
                          (long long)s->heads, (long long)s->kv_heads);
    if (s->head_dim % 2 != 0 || s->head_dim < 2 || s->head_dim > ARCH_HEAD_MAX)
        return ig_err_set(err, IG_ERR_DATA, "config.json: 'head_dim' is %lld, %s",
                          (long long)s->head_dim,
                          s->head_dim % 2 ? "an odd number" : "out of range");
    return true;
}

static bool read_rotary(const struct ig_json *config, const struct arch_family *family,
                        struct ig_model_shape *s, struct ig_err *err)
{
    const struct ig_json *at = ig_json_get(config, "partial_rotary_factor")
                                   ? config
                                   : ig_json_get(config, "rope_parameters");
    double factor;
    if (!arch__read_real(at, "partial_rotary_factor", family->rotary, 0, 1, &factor, err))
        return false;
    s->rotary = (int64_t)((double)s->head_dim * factor);
    if (s->rotary >= 2 && s->rotary % 2 == 0) return true;
    return ig_err_set(err, IG_ERR_DATA,
                      "config.json: 'partial_rotary_factor' %g of heads of %lld is no even number",
                      factor, (long long)s->head_dim);
}

/* A vision model says it in the outer object; transformers 4 in both. */
static bool read_tied(const struct ig_json *config, bool preset, bool *out, struct ig_err *err)
{
    const struct ig_json *text = arch__text_config(config);
    const struct ig_json *at = ig_json_get(config, "tie_word_embeddings") ? config : text;
    return arch__read_bool(at, "tie_word_embeddings", preset, out, err);
}

bool arch__read_decoder(const struct ig_json *root, const struct arch_family *family,
                        struct ig_model_shape *out, struct ig_err *err)
{
    if (!root || root->type != IG_JSON_OBJECT)
        return ig_err_set(err, IG_ERR_DATA, "config.json is not an object");
    const struct ig_json *config = arch__text_config(root);
    struct ig_model_shape *s = out;
    bool bias;
    memset(s, 0, sizeof *s);
    s->qk_norm = family->qk_norm;
    s->embed_scale = 1;
    if (!read_numbers(config, family, s, err) ||
        !arch__read_real(config, "rms_norm_eps", 1e-6, 0, 1, &s->norm_eps, err) ||
        !read_tied(root, family->tied, &s->tied, err) ||
        !arch__read_bool(config, "attention_bias", false, &bias, err) ||
        !arch__read_bool(config, "mlp_bias", false, &s->mlp_bias, err) ||
        !read_activation(config, family->activation_key, s, err) ||
        !read_rotary(config, family, s, err))
        return false;
    s->o_bias = bias;
    s->qkv_bias = bias || family->qkv_bias;
    s->attention_scale = 1 / sqrt((double)s->head_dim);
    return !family->experts || read_experts(config, family, s, err);
}

bool arch__read_qwen(const struct ig_json *root, const struct arch_family *family,
                     struct ig_model_shape *out, struct ig_err *err)
{
    const struct ig_json *config = arch__text_config(root);
    return arch__read_decoder(root, family, out, err) &&
           arch__read_layers(config, IG_LAYER_SLIDING, out, qwen_rule, err) &&
           arch__read_rope(config, NULL, family->rope_theta, out->context, &out->rope, err);
}
