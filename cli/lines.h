/* SPDX-License-Identifier: Apache-2.0
 * lines — JSON lines from a file or stdin. */
#pragma once
#include "ingot/json.h"

/* Calls each(user, object, err) for every line that is not empty; '-' is stdin. Errors name file
 * and line. */
IG_MUST_CHECK bool cli_each_line(const char *path,
                                 bool (*each)(void *user, const struct ig_json *row,
                                              struct ig_err *err),
                                 void *user, struct ig_err *err);
