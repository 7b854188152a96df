/* SPDX-License-Identifier: Apache-2.0
 * glob — `*` any run, `?` one byte; nothing else is special. Linear in practice: one backtrack
 * point. */
#pragma once
#include "ingot/slice.h"

bool ig_glob_match(const char *pattern, struct ig_slice text);
