/* SPDX-License-Identifier: Apache-2.0
 * gemma3 — Gemma 3 with a vision tower: the text model is in text_config, its tensors below
 * model.language_model (transformers) or language_model.model (mlx). The engine runs that; the
 * vision tower is not read. */
#include "arch/arch_internal.h"

static const char *const model_types[] = {"gemma3", NULL};

const struct ig_arch arch__gemma3 = {
    .name = "gemma3",
    .summary = "Gemma 3 with vision: the text model",
    .model_types = model_types,
    .runs = true,
    .shape = arch__read_gemma3,
};
