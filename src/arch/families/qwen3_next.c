/* SPDX-License-Identifier: Apache-2.0
 * qwen3_next — three layers of gated DeltaNet, then one of gated attention; experts everywhere.
 * Order of parts, and what mlx-lm changes on the way in: its models/qwen3_next.py (0.32.2),
 * `sanitize`. Norms that are stored less 1 get it back in the checkpoint's own type;
 * linear_attn.norm is plain. */
#include "arch/arch_internal.h"

static const char *const model_types[] = {"qwen3_next", NULL};

// clang-format off
static const struct ig_arch_part parts[] = {
    {"linear_attn.conv1d",           IG_ROLE_OTHER,     false},
    {"linear_attn.in_proj_qkvz",     IG_ROLE_ATTENTION, true},
    {"linear_attn.in_proj_ba",       IG_ROLE_ATTENTION, true},
    {"linear_attn.dt_bias",          IG_ROLE_OTHER,     false},
    {"linear_attn.A_log",            IG_ROLE_OTHER,     false},
    {"linear_attn.norm",             IG_ROLE_NORM,      false},
    {"linear_attn.out_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.q_proj",             IG_ROLE_ATTENTION, true},
    {"self_attn.k_proj",             IG_ROLE_ATTENTION, true},
    {"self_attn.v_proj",             IG_ROLE_ATTENTION, true},
    {"self_attn.o_proj",             IG_ROLE_ATTENTION, true},
    {"self_attn.q_norm",             IG_ROLE_NORM,      false},
    {"self_attn.k_norm",             IG_ROLE_NORM,      false},
    {"input_layernorm",              IG_ROLE_NORM,      false},
    {"post_attention_layernorm",     IG_ROLE_NORM,      false},
    {"mlp.gate",                     IG_ROLE_ROUTER,    true},
    {"mlp.switch_mlp.gate_proj",     IG_ROLE_MLP,       true},
    {"mlp.switch_mlp.up_proj",       IG_ROLE_MLP,       true},
    {"mlp.switch_mlp.down_proj",     IG_ROLE_MLP,       true},
    {"mlp.experts.#.gate_proj",      IG_ROLE_MLP,       true},
    {"mlp.experts.#.up_proj",        IG_ROLE_MLP,       true},
    {"mlp.experts.#.down_proj",      IG_ROLE_MLP,       true},
    {"mlp.shared_expert.gate_proj",  IG_ROLE_MLP,       true},
    {"mlp.shared_expert.down_proj",  IG_ROLE_MLP,       true},
    {"mlp.shared_expert.up_proj",    IG_ROLE_MLP,       true},
    {"mlp.shared_expert_gate",       IG_ROLE_ROUTER,    true},
    {"mlp.gate_proj",                IG_ROLE_MLP,       true}, /* of layers in mlp_only_layers */
    {"mlp.down_proj",                IG_ROLE_MLP,       true},
    {"mlp.up_proj",                  IG_ROLE_MLP,       true},
    {NULL,                           IG_ROLE_OTHER,     false},
};
// clang-format on

static const char *const plus_one[] = {"input_layernorm",
                                       "post_attention_layernorm",
                                       "self_attn.q_norm",
                                       "self_attn.k_norm",
                                       "norm",
                                       NULL};
static const char *const moved_axis[] = {"linear_attn.conv1d", NULL};
static const char *const dropped[] = {"mtp", NULL};

/* Every full_attention_interval-th layer attends. */
static bool layer_rule(const struct ig_json *config, struct ig_model_shape *s, struct ig_err *err)
{
    int64_t interval;
    const struct arch_field field = {"full_attention_interval", &interval, 1, IG_LAYERS_MAX, 4};
    if (!arch__read_int(config, &field, err)) return false;
    for (int64_t i = 0; i < s->layers; i++)
        if ((i + 1) % interval) s->layer[i] |= IG_LAYER_LINEAR;
    return true;
}

static bool read_linear(const struct ig_json *config, struct ig_model_shape *s, struct ig_err *err)
{
    const struct arch_field fields[] = {
        {"linear_num_key_heads", &s->linear_key_heads, 1, ARCH_HEADS_MAX, 16},
        {"linear_num_value_heads", &s->linear_value_heads, 1, ARCH_HEADS_MAX, 32},
        {"linear_key_head_dim", &s->linear_key_dim, 1, ARCH_HEAD_MAX, 128},
        {"linear_value_head_dim", &s->linear_value_dim, 1, ARCH_HEAD_MAX, 128},
        {"linear_conv_kernel_dim", &s->conv_kernel, 2, 64, 4},
        {"shared_expert_intermediate_size", &s->shared_intermediate, 1, ARCH_WIDTH_MAX, 512},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!arch__read_int(config, &fields[i], err)) return false;
    if (s->linear_value_heads % s->linear_key_heads == 0) return true;
    return ig_err_set(err, IG_ERR_DATA,
                      "config.json: %lld linear value heads cannot share %lld key heads",
                      (long long)s->linear_value_heads, (long long)s->linear_key_heads);
}

static bool read_shape(const struct ig_json *config, struct ig_model_shape *out, struct ig_err *err)
{
    static const struct arch_family family = {.head_dim = 256,
                                              .context = 32768,
                                              .rope_theta = 10000,
                                              .rotary = 0.25,
                                              .qk_norm = true,
                                              .experts = true,
                                              .experts_normed = true};
    if (!arch__read_decoder(config, &family, out, err) ||
        !arch__read_layers(config, IG_LAYER_LINEAR, out, layer_rule, err) ||
        !arch__read_rope(config, NULL, family.rope_theta, out->context, &out->rope, err) ||
        !read_linear(config, out, err))
        return false;
    out->attention_gate = true;
    out->norms_less_one = true;
    return true;
}

const struct ig_arch arch__qwen3_next = {
    .name = "qwen3_next",
    .summary = "Qwen3-Next, gated DeltaNet and mixture of experts",
    .model_types = model_types,
    .runs = true,
    .mlx = true,
    .parts = parts,
    .mlx_plus_one = plus_one,
    .mlx_moved_axis = moved_axis,
    .mlx_dropped = dropped,
    .shape = read_shape,
};
