/* SPDX-License-Identifier: Apache-2.0
 * gemma3_text — Gemma 3: norms stored less 1, before and after attention and MLP; five layers with
 * a sliding window and a RoPE of their own, then one that sees everything; GELU; an embedding that
 * is scaled by sqrt(hidden_size), and is the head. Order of parts: mlx-lm 0.32.2,
 * models/gemma3_text.py. */
#include "arch/arch_internal.h"

#include <math.h>

static const char *const model_types[] = {"gemma3_text", NULL};

// clang-format off
static const struct ig_arch_part parts[] = {
    {"self_attn.q_proj",           IG_ROLE_ATTENTION, true},
    {"self_attn.k_proj",           IG_ROLE_ATTENTION, true},
    {"self_attn.v_proj",           IG_ROLE_ATTENTION, true},
    {"self_attn.o_proj",           IG_ROLE_ATTENTION, true},
    {"self_attn.q_norm",           IG_ROLE_NORM,      false},
    {"self_attn.k_norm",           IG_ROLE_NORM,      false},
    {"mlp.gate_proj",              IG_ROLE_MLP,       true},
    {"mlp.down_proj",              IG_ROLE_MLP,       true},
    {"mlp.up_proj",                IG_ROLE_MLP,       true},
    {"input_layernorm",            IG_ROLE_NORM,      false},
    {"post_attention_layernorm",   IG_ROLE_NORM,      false},
    {"pre_feedforward_layernorm",  IG_ROLE_NORM,      false},
    {"post_feedforward_layernorm", IG_ROLE_NORM,      false},
    {NULL,                         IG_ROLE_OTHER,     false},
};
// clang-format on

/* Every sliding_window_pattern-th layer sees everything. */
static bool layer_rule(const struct ig_json *config, struct ig_model_shape *s, struct ig_err *err)
{
    int64_t pattern;
    const struct arch_field field = {"sliding_window_pattern", &pattern, 1, IG_LAYERS_MAX, 6};
    if (!arch__read_int(config, &field, err)) return false;
    for (int64_t i = 0; i < s->layers; i++)
        if ((i + 1) % pattern) s->layer[i] |= IG_LAYER_SLIDING;
    return true;
}

/* transformers 4 has rope_local_base_freq beside rope_theta, never scaled. */
static bool read_ropes(const struct ig_json *config, struct ig_model_shape *s, struct ig_err *err)
{
    if (!arch__read_rope(config, "full_attention", 1e6, s->context, &s->rope, err)) return false;
    const struct ig_json *both = ig_json_get(config, "rope_parameters");
    if (ig_json_get(both, "sliding_attention"))
        return arch__read_rope(config, "sliding_attention", 1e4, s->context, &s->rope_sliding, err);
    s->rope_sliding = (struct ig_rope){.factor = 1, .attention = 1};
    return arch__read_real(config, "rope_local_base_freq", 1e4, 1.0001, 1e15,
                           &s->rope_sliding.theta, err);
}

static bool refuse(const struct ig_json *config, struct ig_err *err)
{
    static const char *const caps[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    for (int i = 0; i < 2; i++) {
        const struct ig_json *cap = ig_json_get(config, caps[i]);
        if (cap && cap->type != IG_JSON_NULL)
            return ig_err_set(err, IG_ERR_UNSUPPORTED, "config.json: '%s' is not supported",
                              caps[i]);
    }
    bool both_ways;
    if (!arch__read_bool(config, "use_bidirectional_attention", false, &both_ways, err))
        return false;
    return !both_ways || ig_err_set(err, IG_ERR_UNSUPPORTED,
                                    "config.json: bidirectional attention is not supported");
}

bool arch__read_gemma3(const struct ig_json *root, struct ig_model_shape *out, struct ig_err *err)
{
    static const struct arch_family family = {.heads = 8,
                                              .kv_heads = 4,
                                              .vocab = 262208,
                                              .head_dim = 256,
                                              .context = 131072,
                                              .rotary = 1,
                                              .tied = true,
                                              .qk_norm = true,
                                              .activation_key = "hidden_activation"};
    const struct ig_json *config = arch__text_config(root);
    double scalar;
    if (!arch__read_decoder(root, &family, out, err) ||
        !arch__read_layers(config, IG_LAYER_SLIDING, out, layer_rule, err) ||
        !read_ropes(config, out, err) || !refuse(config, err) ||
        !arch__read_real(config, "query_pre_attn_scalar", 256, 1e-3, 1e6, &scalar, err))
        return false;
    if (!ig_json_get(config, "hidden_activation")) out->activation = IG_GELU_TANH;
    out->attention_scale = 1 / sqrt(scalar);
    out->embed_scale = sqrt((double)out->hidden);
    out->norms_less_one = true;
    out->norms_after = true;
    return true;
}

const struct ig_arch arch__gemma3_text = {
    .name = "gemma3_text",
    .summary = "Gemma 3, text",
    .model_types = model_types,
    .runs = true,
    .mlx = true,
    .parts = parts,
    .shape = arch__read_gemma3,
};
