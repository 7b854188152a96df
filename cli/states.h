/* SPDX-License-Identifier: Apache-2.0
 * states — the engine, for recipes that ask what the base model makes of prompts. */
#pragma once
#include "ingot/merge.h"

/* user: const int64_t *, how many threads (0: one for each core). */
bool cli_run_states(void *user, const struct ig_states_ask *ask, struct ig_err *err);
