/* SPDX-License-Identifier: Apache-2.0
 * arch room: what families share. */
#pragma once
#include "ingot/arch.h"

/* The families that are Qwen3-like: config.json's keys are the same but for the experts'. */
IG_MUST_CHECK bool arch__read_qwen3(const struct ig_json *config, bool experts,
                                    struct ig_model_shape *out, struct ig_err *err);
