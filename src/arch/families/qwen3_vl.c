/* SPDX-License-Identifier: Apache-2.0
 * qwen3_vl — Qwen3-VL, dense: the text model is Qwen3, in text_config and below
 * model.language_model (transformers) or language_model.model (mlx). The engine runs that; the
 * vision tower is not read. */
#include "arch/arch_internal.h"

static const char *const model_types[] = {"qwen3_vl", "qwen3_vl_text", NULL};

static bool read_shape(const struct ig_json *config, struct ig_model_shape *out, struct ig_err *err)
{
    static const struct arch_family family = {
        .head_dim = 128, .context = 128000, .rope_theta = 500000, .rotary = 1, .qk_norm = true};
    return arch__read_qwen(config, &family, out, err);
}

const struct ig_arch arch__qwen3_vl = {
    .name = "qwen3_vl",
    .summary = "Qwen3-VL, dense: the text model",
    .model_types = model_types,
    .runs = true,
    .shape = read_shape,
};
