/* SPDX-License-Identifier: Apache-2.0
 * shape — a decoder's numbers out of config.json. Foreign: every number has a range, so that no
 * product of two of them overflows, and what the engine would get wrong is refused by name.
 *
 * transformers 5 moves rope_theta and rope_scaling into rope_parameters; both are read. Defaults
 * are those of transformers' Qwen3Config. YaRN: the factor and betas as in transformers'
 * modeling_rope_utils (mlx-lm agrees on dense models). */
#include "arch/arch_internal.h"

#include <math.h>

#define LAYERS_MAX  4096
#define WIDTH_MAX   (1 << 22) /* hidden, intermediate: the largest published is 53,248 */
#define HEADS_MAX   4096
#define HEAD_MAX    1024
#define VOCAB_MAX   (1 << 24)
#define EXPERTS_MAX 65536
#define CONTEXT_MAX ((int64_t)1 << 31)

/* One integer that config.json holds. */
struct field {
    const char *key;
    int64_t *out;
    int64_t min, max;
    int64_t preset; /* < 0: required */
};

static bool read_int(const struct ig_json *config, const struct field *f, struct ig_err *err)
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

static bool read_real(const struct ig_json *object, const char *key, double preset, double min,
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

static bool read_bool(const struct ig_json *config, const char *key, bool preset, bool *out,
                      struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(config, key);
    *out = preset;
    if (!node || node->type == IG_JSON_NULL || ig_json_bool(node, out)) return true;
    return ig_err_set(err, IG_ERR_DATA, "config.json: '%s' is not true or false", key);
}

/* ---- RoPE ---- */

static bool rope_kind(const struct ig_json *scaling, enum ig_rope *out, struct ig_err *err)
{
    /* As mlx-lm: "type" first, which is what older files say. */
    struct ig_slice type = ig_json_text(ig_json_get(scaling, "type"));
    if (!type.ptr) type = ig_json_text(ig_json_get(scaling, "rope_type"));
    *out = IG_ROPE_PLAIN;
    if (!type.ptr || ig_slice_is(type, "default") || ig_slice_is(type, "mrope")) return true;
    if (ig_slice_is(type, "linear")) {
        *out = IG_ROPE_LINEAR;
    } else if (ig_slice_is(type, "llama3")) {
        *out = IG_ROPE_LLAMA3;
    } else if (ig_slice_is(type, "yarn")) {
        *out = IG_ROPE_YARN;
    } else {
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "config.json: rope type '" IG_SLICE_FMT
                          "' is not supported (linear, llama3 and yarn are)",
                          IG_SLICE_ARG(type));
    }
    return true;
}

/* How much YaRN scales q and k: 0.1 m ln(factor) + 1, or what the file says. */
static bool read_yarn_attention(const struct ig_json *scaling, struct ig_model_shape *s,
                                struct ig_err *err)
{
    double mscale, mscale_all;
    if (!read_real(scaling, "mscale", 0, -1e6, 1e6, &mscale, err) ||
        !read_real(scaling, "mscale_all_dim", 0, -1e6, 1e6, &mscale_all, err))
        return false;
    double log_factor = s->rope_factor > 1 ? log(s->rope_factor) : 0;
    double preset = 0.1 * log_factor + 1;
    if (mscale != 0 && mscale_all != 0)
        preset = (0.1 * mscale * log_factor + 1) / (0.1 * mscale_all * log_factor + 1);
    return read_real(scaling, "attention_factor", preset, 1e-6, 1e6, &s->rope_attention, err);
}

static bool read_rope(const struct ig_json *config, struct ig_model_shape *s, struct ig_err *err)
{
    const struct ig_json *scaling = ig_json_get(config, "rope_scaling");
    const struct ig_json *both = ig_json_get(config, "rope_parameters");
    const struct ig_json *theta_at = ig_json_get(config, "rope_theta") ? config : both;
    if (!scaling || scaling->type == IG_JSON_NULL) scaling = both;
    if (scaling && scaling->type != IG_JSON_OBJECT && scaling->type != IG_JSON_NULL)
        return ig_err_set(err, IG_ERR_DATA, "config.json: 'rope_scaling' is not an object");
    if (ig_json_get(scaling, "full_attention"))
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "config.json: 'rope_parameters' for each layer type are not supported");
    s->rope_original_context = s->context;
    const struct field original = {"original_max_position_embeddings", &s->rope_original_context, 1,
                                   CONTEXT_MAX, s->context};
    s->rope_attention = 1;
    if (!read_real(theta_at, "rope_theta", 10000, 1.0001, 1e15, &s->rope_theta, err) ||
        !rope_kind(scaling, &s->rope, err) ||
        !read_real(scaling, "factor", 1, 1, 1e6, &s->rope_factor, err) ||
        !read_real(scaling, "beta_fast", 32, 1e-3, 1e6, &s->rope_beta_fast, err) ||
        !read_real(scaling, "beta_slow", 1, 1e-3, 1e6, &s->rope_beta_slow, err) ||
        !read_real(scaling, "low_freq_factor", 1, 1e-3, 1e6, &s->rope_low_freq, err) ||
        !read_real(scaling, "high_freq_factor", 4, 1e-3, 1e6, &s->rope_high_freq, err) ||
        !read_int(scaling, &original, err))
        return false;
    if (s->rope == IG_ROPE_PLAIN) s->rope_factor = 1;
    return s->rope != IG_ROPE_YARN || read_yarn_attention(scaling, s, err);
}

/* ---- what the engine does not do ---- */

static bool refuse_others(const struct ig_json *config, struct ig_err *err)
{
    struct ig_slice act = ig_json_text(ig_json_get(config, "hidden_act"));
    if (act.ptr && !ig_slice_is(act, "silu"))
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "config.json: hidden_act '" IG_SLICE_FMT "' is not supported (silu is)",
                          IG_SLICE_ARG(act));
    bool sliding;
    if (!read_bool(config, "use_sliding_window", false, &sliding, err)) return false;
    if (sliding)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "config.json: sliding window attention is not supported");
    const struct ig_json *types = ig_json_get(config, "layer_types");
    for (uint32_t i = 0; types && types->type == IG_JSON_ARRAY && i < types->count; i++)
        if (!ig_slice_is(ig_json_text(&types->items[i]), "full_attention"))
            return ig_err_set(err, IG_ERR_UNSUPPORTED,
                              "config.json: layer_types[%u] is not 'full_attention'", i);
    return true;
}

static bool read_experts(const struct ig_json *config, struct ig_model_shape *s, struct ig_err *err)
{
    /* transformers 5 writes num_local_experts. */
    const char *key = ig_json_get(config, "num_experts") ? "num_experts" : "num_local_experts";
    const struct field fields[] = {
        {key, &s->experts, 1, EXPERTS_MAX, -1},
        {"num_experts_per_tok", &s->experts_used, 1, EXPERTS_MAX, -1},
        {"moe_intermediate_size", &s->moe_intermediate, 1, WIDTH_MAX, -1},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (!read_int(config, &fields[i], err)) return false;
    if (s->experts_used > s->experts)
        return ig_err_set(err, IG_ERR_DATA,
                          "config.json: num_experts_per_tok is %lld of %lld experts",
                          (long long)s->experts_used, (long long)s->experts);
    return true;
}

bool arch__read_qwen3(const struct ig_json *config, bool experts, struct ig_model_shape *out,
                      struct ig_err *err)
{
    struct ig_model_shape s = {.qk_norm = true};
    if (!config || config->type != IG_JSON_OBJECT)
        return ig_err_set(err, IG_ERR_DATA, "config.json is not an object");
    const struct field fields[] = {
        {"num_hidden_layers", &s.layers, 1, LAYERS_MAX, -1},
        {"hidden_size", &s.hidden, 1, WIDTH_MAX, -1},
        {"num_attention_heads", &s.heads, 1, HEADS_MAX, -1},
        {"num_key_value_heads", &s.kv_heads, 1, HEADS_MAX, 0},
        {"head_dim", &s.head_dim, 2, HEAD_MAX, 128},
        {"intermediate_size", &s.intermediate, 1, WIDTH_MAX, experts ? 0 : -1},
        {"vocab_size", &s.vocab, 1, VOCAB_MAX, -1},
        {"max_position_embeddings", &s.context, 1, CONTEXT_MAX, 32768},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (!read_int(config, &fields[i], err)) return false;
    if (s.kv_heads == 0) s.kv_heads = s.heads;
    if (s.heads % s.kv_heads != 0)
        return ig_err_set(err, IG_ERR_DATA,
                          "config.json: %lld attention heads cannot share %lld key-value heads",
                          (long long)s.heads, (long long)s.kv_heads);
    if (s.head_dim % 2 != 0)
        return ig_err_set(err, IG_ERR_DATA, "config.json: 'head_dim' is %lld, an odd number",
                          (long long)s.head_dim);
    if (!read_real(config, "rms_norm_eps", 1e-6, 0, 1, &s.norm_eps, err) ||
        !read_bool(config, "tie_word_embeddings", false, &s.tied, err) ||
        !read_bool(config, "attention_bias", false, &s.attention_bias, err) ||
        !refuse_others(config, err) || !read_rope(config, &s, err))
        return false;
    if (experts && !read_experts(config, &s, err)) return false;
    *out = s;
    return true;
}
