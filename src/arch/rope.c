/* SPDX-License-Identifier: Apache-2.0
 * rope — rotary embedding as config.json describes it, in the forms that are about:
 *
 *   transformers 4   rope_theta, and rope_scaling {type or rope_type, factor, ...} or null
 *   transformers 5   rope_parameters {rope_theta, rope_type, factor, ...}
 *   the same         rope_parameters {full_attention: {...}, sliding_attention: {...}}
 *
 * YaRN: factor and betas as in transformers' modeling_rope_utils (mlx-lm agrees on dense models).
 * Interleaved or sectioned "mrope" is plain for text: its three positions are the same. */
#include "arch/arch_internal.h"

#include <math.h>

#define CONTEXT_MAX ((int64_t)1 << 31)

static bool read_kind(const struct ig_json *scaling, enum ig_rope_kind *out, struct ig_err *err)
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
static bool read_yarn_attention(const struct ig_json *scaling, struct ig_rope *rope,
                                struct ig_err *err)
{
    double mscale, mscale_all;
    if (!arch__read_real(scaling, "mscale", 0, -1e6, 1e6, &mscale, err) ||
        !arch__read_real(scaling, "mscale_all_dim", 0, -1e6, 1e6, &mscale_all, err))
        return false;
    double log_factor = rope->factor > 1 ? log(rope->factor) : 0;
    double preset = 0.1 * log_factor + 1;
    if (mscale != 0 && mscale_all != 0)
        preset = (0.1 * mscale * log_factor + 1) / (0.1 * mscale_all * log_factor + 1);
    return arch__read_real(scaling, "attention_factor", preset, 1e-6, 1e6, &rope->attention, err);
}

/* The object that says how RoPE is scaled, and the one that holds rope_theta. */
static bool find_objects(const struct ig_json *config, const char *layer_type,
                         const struct ig_json **scaling, const struct ig_json **theta,
                         struct ig_err *err)
{
    const struct ig_json *both = ig_json_get(config, "rope_parameters");
    if (ig_json_get(both, "full_attention")) {
        if (!layer_type)
            return ig_err_set(
                err, IG_ERR_UNSUPPORTED,
                "config.json: 'rope_parameters' for each layer type are not supported");
        *scaling = *theta = ig_json_get(both, layer_type);
    } else {
        *theta = ig_json_get(config, "rope_theta") ? config : both;
        *scaling = ig_json_get(config, "rope_scaling");
        if (!*scaling || (*scaling)->type == IG_JSON_NULL) *scaling = both;
    }
    if (*scaling && (*scaling)->type != IG_JSON_OBJECT && (*scaling)->type != IG_JSON_NULL)
        return ig_err_set(err, IG_ERR_DATA, "config.json: 'rope_scaling' is not an object");
    return true;
}

bool arch__read_rope(const struct ig_json *config, const char *layer_type, double theta_preset,
                     int64_t context, struct ig_rope *out, struct ig_err *err)
{
    const struct ig_json *scaling = NULL, *theta = NULL;
    struct ig_rope rope = {.attention = 1, .original_context = context};
    const struct arch_field original = {"original_max_position_embeddings", &rope.original_context,
                                        1, CONTEXT_MAX, context};
    if (!find_objects(config, layer_type, &scaling, &theta, err) ||
        !arch__read_real(theta, "rope_theta", theta_preset, 1.0001, 1e15, &rope.theta, err) ||
        !read_kind(scaling, &rope.kind, err) ||
        !arch__read_real(scaling, "factor", 1, 1, 1e6, &rope.factor, err) ||
        !arch__read_real(scaling, "beta_fast", 32, 1e-3, 1e6, &rope.beta_fast, err) ||
        !arch__read_real(scaling, "beta_slow", 1, 1e-3, 1e6, &rope.beta_slow, err) ||
        !arch__read_real(scaling, "low_freq_factor", 1, 1e-3, 1e6, &rope.low_freq, err) ||
        !arch__read_real(scaling, "high_freq_factor", 4, 1e-3, 1e6, &rope.high_freq, err) ||
        !arch__read_int(scaling, &original, err))
        return false;
    if (rope.kind == IG_ROPE_PLAIN) rope.factor = 1;
    if (rope.kind == IG_ROPE_YARN && !read_yarn_attention(scaling, &rope, err)) return false;
    *out = rope;
    return true;
}
