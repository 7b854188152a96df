/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "fuzz_target.h"
#include "text/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_err err;
    struct ig_arena arena = {0};
    double number;
    const struct ig_yaml *root = ig_yaml_parse(ig_slice_make(data, size), &arena, &err);
    if (root && root->type == IG_YAML_TEXT) (void)ig_yaml_number(root, &number);
    ig_arena_release(&arena);
    return 0;
}
