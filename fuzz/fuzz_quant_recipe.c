/* SPDX-License-Identifier: Apache-2.0
 * A recipe of foreign bytes, and what it decides about a small model. */
#include "fuzz_target.h"
#include "ingot/quant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ig_tensor tensors[] = {
        {{"model.embed_tokens.weight", 25}, IG_BF16, 2, {64, 128}, 8192, 16384, 0, 0},
        {{"model.layers.0.mlp.up_proj.weight", 33}, IG_F16, 2, {64, 96}, 6144, 12288, 0, 0},
        {{"model.layers.11.self_attn.q_proj.weight", 39}, IG_F32, 2, {32, 64}, 2048, 8192, 0, 0},
        {{"model.norm.weight", 17}, IG_F32, 1, {64}, 64, 256, 0, 0},
    };
    struct ig_err err;
    struct ig_quant_recipe *recipe;
    struct ig_cast *cast;
    if (!ig_quant_recipe_parse(ig_slice_make(data, size), "fuzz", &recipe, &err)) return 0;
    const struct ig_cast_plan plan = {
        .recipe = recipe, .tensors = tensors, .count = 4, .out = "/nowhere"};
    if (ig_cast_plan(&plan, &cast, &err)) ig_cast_close(cast);
    ig_quant_recipe_free(recipe);
    return 0;
}
