/* SPDX-License-Identifier: Apache-2.0
 * qwen2 — Qwen2 and Qwen2.5, dense: as Llama, with biases on queries, keys and values.
 * Order of parts: mlx-lm 0.32.2, models/qwen2.py. */
#include "arch/arch_internal.h"

static const char *const model_types[] = {"qwen2", NULL};

// clang-format off
static const struct ig_arch_part parts[] = {
    {"self_attn.q_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.k_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.v_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.o_proj",         IG_ROLE_ATTENTION, true},
    {"mlp.gate_proj",            IG_ROLE_MLP,       true},
    {"mlp.down_proj",            IG_ROLE_MLP,       true},
    {"mlp.up_proj",              IG_ROLE_MLP,       true},
    {"input_layernorm",          IG_ROLE_NORM,      false},
    {"post_attention_layernorm", IG_ROLE_NORM,      false},
    {NULL,                       IG_ROLE_OTHER,     false},
};
// clang-format on

static bool read_shape(const struct ig_json *config, struct ig_model_shape *out, struct ig_err *err)
{
    static const struct arch_family family = {
        .context = 32768, .rope_theta = 10000, .rotary = 1, .qkv_bias = true};
    return arch__read_qwen(config, &family, out, err);
}

static const char *const dropped[] = {"rotary_emb", NULL};

const struct ig_arch arch__qwen2 = {
    .name = "qwen2",
    .summary = "Qwen2 and Qwen2.5, dense",
    .model_types = model_types,
    .runs = true,
    .mlx = true,
    .parts = parts,
    .mlx_dropped = dropped,
    .shape = read_shape,
};
