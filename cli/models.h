/* SPDX-License-Identifier: Apache-2.0
 * models — ORG/NAME[@REV] in place of a folder, for every command: what a table calls MODEL (or
 * MODEL|..., or an option whose value is a MODEL) is looked up in the Hub's cache when no such file
 * or folder exists. */
#pragma once
#include "cli.h"

struct cli_models {
    struct ig_buf *paths; /* what the fields point to now */
    size_t count;
    const char **list; /* what an IG_OPT_ARGS field points to now */
};
/* Replaces names by folders in the parsed arguments. Release it after the command, also when this
 * failed. */
IG_MUST_CHECK bool cli_models_find(const struct ig_opt *options, void *args, struct cli_models *out,
                                   struct ig_err *err);
void cli_models_release(struct cli_models *models);
