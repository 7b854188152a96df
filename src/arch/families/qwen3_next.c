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

const struct ig_arch arch__qwen3_next = {
    .name = "qwen3_next",
    .summary = "Qwen3-Next, gated DeltaNet and mixture of experts",
    .model_types = model_types,
    .mlx = true,
    .parts = parts,
    .mlx_plus_one = plus_one,
    .mlx_moved_axis = moved_axis,
    .mlx_dropped = dropped,
};
