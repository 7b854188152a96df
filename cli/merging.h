/* SPDX-License-Identifier: Apache-2.0
 * merging — what the commands share that run a recipe: merge, expand, extract. */
#pragma once
#include "cli.h"
#include "ingot/merge.h"

struct cli_merging {
    const char *quantize;
    bool dry_run, check, trace, resume, force, through_disk;
    int64_t threads, memory;
};
// clang-format off
#define CLI_MERGING(T)                                                                             \
    IG_OPT_TEXT(T, merging.quantize, "quantize", 0, "R[,R..]", NULL,                               \
                "write these quantised forms in the same pass; 'none' is the plain model"),        \
    IG_OPT_FLAG(T, merging.dry_run, "dry-run", 'n',                                                \
                "print the plan, the memory and the disk needed; write nothing"),                  \
    IG_OPT_FLAG(T, merging.check, "check", 0,                                                      \
                "print what of the models does not go together, and which parameters reach what"), \
    IG_OPT_FLAG_ON(T, merging.trace, "trace", 0, "do not write the sketchbook"),                   \
    IG_OPT_FLAG(T, merging.resume, "resume", 0, "go on where an interrupted run stopped"),         \
    IG_OPT_FLAG(T, merging.force, "force", 'f', "replace OUT if it exists"),                       \
    IG_OPT_INT(T, merging.threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),     \
    IG_OPT_SIZE(T, merging.memory, "memory", 0, "SIZE", "0", "working set; 0: chosen")
// clang-format on

IG_MUST_CHECK bool cli_merging_run(const struct cli_merging *args, const struct ig_recipe *recipe,
                                   const char *out, bool json, const struct ig_watch *watch,
                                   struct ig_err *err);
/* The same of a file that may have several documents. */
IG_MUST_CHECK bool cli_merging_run_list(const struct cli_merging *args, struct ig_recipe_list *list,
                                        const char *out, bool json, const struct ig_watch *watch,
                                        struct ig_err *err);
