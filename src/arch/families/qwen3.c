/* SPDX-License-Identifier: Apache-2.0
 * qwen3 — dense Qwen3: GQA with RMS-normed queries and keys (before RoPE), SwiGLU, no biases.
 * Order of parts: mlx-lm 0.32.2, models/qwen3.py, as each __init__ assigns them (gate, down, up).
 */
#include "arch/arch_internal.h"

static const char *const model_types[] = {"qwen3", NULL};

// clang-format off
static const struct ig_arch_part parts[] = {
    {"self_attn.q_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.k_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.v_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.o_proj",         IG_ROLE_ATTENTION, true},
    {"self_attn.q_norm",         IG_ROLE_NORM,      false},
    {"self_attn.k_norm",         IG_ROLE_NORM,      false},
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
        .head_dim = 128, .context = 32768, .rope_theta = 10000, .rotary = 1, .qk_norm = true};
    return arch__read_qwen(config, &family, out, err);
}

const struct ig_arch arch__qwen3 = {
    .name = "qwen3",
    .summary = "Qwen3, dense",
    .model_types = model_types,
    .runs = true,
    .mlx = true,
    .parts = parts,
    .shape = read_shape,
};
