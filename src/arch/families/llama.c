/* SPDX-License-Identifier: Apache-2.0
 * llama — Llama 2 and 3, Mistral, SmolLM2 and whoever else keeps their names: GQA, SwiGLU, no norms
 * of queries and keys. Mistral's sliding_window, where it is not null, holds for all layers, as in
 * transformers (mlx-lm leaves it out). Order of parts: mlx-lm 0.32.2, models/llama.py. */
#include "arch/arch_internal.h"

static const char *const model_types[] = {"llama", "mistral", NULL};

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

static bool slide_all(const struct ig_json *config, struct ig_model_shape *s, struct ig_err *err)
{
    (void)err;
    const struct ig_json *window = ig_json_get(config, "sliding_window");
    bool mistral = ig_slice_is(ig_json_text(ig_json_get(config, "model_type")), "mistral");
    for (int64_t i = 0; mistral && window && window->type != IG_JSON_NULL && i < s->layers; i++)
        s->layer[i] |= IG_LAYER_SLIDING;
    return true;
}

static bool read_shape(const struct ig_json *config, struct ig_model_shape *out, struct ig_err *err)
{
    static const struct arch_family family = {.context = 2048, .rope_theta = 10000, .rotary = 1};
    return arch__read_decoder(config, &family, out, err) &&
           arch__read_layers(config, IG_LAYER_SLIDING, out, slide_all, err) &&
           arch__read_rope(config, NULL, family.rope_theta, out->context, &out->rope, err);
}

static const char *const dropped[] = {"rotary_emb", NULL};

const struct ig_arch arch__llama = {
    .name = "llama",
    .summary = "Llama, Mistral, SmolLM2",
    .model_types = model_types,
    .runs = true,
    .mlx = true,
    .parts = parts,
    .mlx_dropped = dropped,
    .shape = read_shape,
};
