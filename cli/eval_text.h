/* SPDX-License-Identifier: Apache-2.0
 * eval_text — what `ingot eval --perplexity` does. */
#pragma once
#include "cli.h"
#include "ingot/infer.h"

struct eval_text {
    struct ig_opt_list models;
    const char *path, *reference; /* reference may be NULL */
    int64_t context, windows;
    struct ig_model_options how;
    bool json;
};
IG_MUST_CHECK bool eval_text_run(const struct eval_text *asked, const struct ig_watch *watch,
                                 struct ig_err *err);
