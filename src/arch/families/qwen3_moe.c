/* SPDX-License-Identifier: Apache-2.0
 * qwen3_moe — Qwen3 with a mixture of experts in place of the MLP of most layers.
 * On disk one matrix for each expert (mlp.experts.7.up_proj); mlx-lm stacks them into
 * mlp.switch_mlp.up_proj [experts, out, in]. Order of parts: mlx-lm 0.32.2, models/qwen3_moe.py. */
#include "arch/arch_internal.h"

static const char *const model_types[] = {"qwen3_moe", NULL};

// clang-format off
static const struct ig_arch_part parts[] = {
    {"self_attn.q_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.k_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.v_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.o_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.q_norm",         IG_ROLE_NORM,      false},
    {"self_attn.k_norm",         IG_ROLE_NORM,      false},
    {"input_layernorm",          IG_ROLE_NORM,      false},
    {"post_attention_layernorm", IG_ROLE_NORM,      false},
    {"mlp.gate",                 IG_ROLE_ROUTER,    true},
    {"mlp.switch_mlp.gate_proj", IG_ROLE_MLP,       true},
    {"mlp.switch_mlp.up_proj",   IG_ROLE_MLP,       true},
    {"mlp.switch_mlp.down_proj", IG_ROLE_MLP,       true},
    {"mlp.experts.#.gate_proj",  IG_ROLE_MLP,       true},
    {"mlp.experts.#.up_proj",    IG_ROLE_MLP,       true},
    {"mlp.experts.#.down_proj",  IG_ROLE_MLP,       true},
    {"mlp.gate_proj",            IG_ROLE_MLP,       true}, /* of layers in mlp_only_layers */
    {"mlp.down_proj",            IG_ROLE_MLP,       true},
    {"mlp.up_proj",              IG_ROLE_MLP,       true},
    {NULL,                       IG_ROLE_OTHER,     false},
};
// clang-format on

static bool read_shape(const struct ig_json *config, struct ig_model_shape *out, struct ig_err *err)
{
    static const struct arch_family family = {
        .context = 32768, .rope_theta = 10000, .rotary = 1, .qk_norm = true, .experts = true};
    return arch__read_qwen(config, &family, out, err);
}

const struct ig_arch arch__qwen3_moe = {
    .name = "qwen3_moe",
    .summary = "Qwen3, mixture of experts",
    .model_types = model_types,
    .runs = true,
    .mlx_rope_plain = true,
    .mlx = true,
    .parts = parts,
    .shape = read_shape,
};
