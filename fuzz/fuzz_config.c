/* SPDX-License-Identifier: Apache-2.0
 * config.json of a model: whatever every family makes of it has to be in its bounds. */
#include "base/arena.h"
#include "base/check.h"
#include "fuzz_target.h"
#include "ingot/arch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_err err;
    struct ig_arena arena = {0};
    const struct ig_json *config = ig_json_parse(ig_slice_make(data, size), &arena, &err);
    for (const struct ig_arch *const *arch = ig_arch_all(); config && *arch; arch++) {
        struct ig_model_shape s;
        if (!(*arch)->shape || !(*arch)->shape(config, &s, &err)) continue;
        IG_ASSERT(s.layers > 0 && s.layers <= IG_LAYERS_MAX && s.heads > 0 && s.kv_heads > 0);
        IG_ASSERT(s.heads % s.kv_heads == 0 && s.head_dim % 2 == 0 && s.rotary <= s.head_dim);
        IG_ASSERT(s.experts_used <= s.experts);
        for (int64_t i = 0; i < s.layers; i++) {
            IG_ASSERT(!(s.layer[i] & IG_LAYER_SLIDING) || s.window > 0);
            IG_ASSERT(!(s.layer[i] & IG_LAYER_EXPERTS) || s.experts > 0);
            IG_ASSERT(!(s.layer[i] & IG_LAYER_LINEAR) || s.conv_kernel > 1);
        }
    }
    ig_arena_release(&arena);
    return 0;
}
