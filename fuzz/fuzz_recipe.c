/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_target.h"
#include "ingot/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_err err;
    struct ig_recipe_list *list;
    if (ig_recipe_list_parse(ig_slice_make(data, size), "fuzz", &list, &err))
        ig_recipe_list_free(list);
    return 0;
}
