/* SPDX-License-Identifier: Apache-2.0
 * qwen3_vl_moe — Qwen3-VL with experts: the text model is Qwen3's with experts, its names as in
 * qwen3_vl.c. Experts are fused, gate first, and stored [expert, in, out]. Their probabilities
 * always sum to 1. */
#include "arch/arch_internal.h"

static const char *const model_types[] = {"qwen3_vl_moe", "qwen3_vl_moe_text", NULL};

static bool read_shape(const struct ig_json *config, struct ig_model_shape *out, struct ig_err *err)
{
    static const struct arch_family family = {.context = 128000,
                                              .rope_theta = 500000,
                                              .rotary = 1,
                                              .qk_norm = true,
                                              .experts = true,
                                              .experts_normed = true};
    if (!arch__read_qwen(config, &family, out, err)) return false;
    out->experts_transposed = true;
    return true;
}

const struct ig_arch arch__qwen3_vl_moe = {
    .name = "qwen3_vl_moe",
    .summary = "Qwen3-VL, mixture of experts: the text model",
    .model_types = model_types,
    .runs = true,
    .mlx_rope_plain = true,
    .shape = read_shape,
};
