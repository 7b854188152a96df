/* SPDX-License-Identifier: Apache-2.0
 * lines — lines of text, or of JSON, from a file or stdin. */
#pragma once
#include "ingot/json.h"

/* Calls each(user, line, err) for every line that is not empty, without its end; '-' is stdin.
 * Errors name file and line. */
IG_MUST_CHECK bool cli_each_text_line(const char *path,
                                      bool (*each)(void *user, struct ig_slice line,
                                                   struct ig_err *err),
                                      void *user, struct ig_err *err);
/* Calls each(user, object, err) for every line that is not empty; the same with JSON. */
IG_MUST_CHECK bool cli_each_line(const char *path,
                                 bool (*each)(void *user, const struct ig_json *row,
                                              struct ig_err *err),
                                 void *user, struct ig_err *err);
