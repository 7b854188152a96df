/* SPDX-License-Identifier: Apache-2.0
 * recipes — a comma-separated list of quantisation recipes on the command line. */
#pragma once
#include "ingot/quant.h"

struct cli_recipes {
    struct ig_quant_recipe *items[IG_OUTPUTS_MAX]; /* NULL: 'none' */
    int count;
};
/* list NULL: none at all. allow_none: the word 'none' stands for the unquantised model. */
IG_MUST_CHECK bool cli_recipes_open(const char *list, bool allow_none, struct cli_recipes *out,
                                    struct ig_err *err);
const struct ig_quant_recipe *const *cli_recipes_view(const struct cli_recipes *recipes);
void cli_recipes_release(struct cli_recipes *recipes);
