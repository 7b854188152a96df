/* SPDX-License-Identifier: Apache-2.0
 * chat_log — what has been said: a list of messages as JSON text, "[{..},{..}" without its end. */
#pragma once
#include "ingot/buf.h"

/* Makes TEXT the system message; empty: none. */
IG_MUST_CHECK bool chat_log_set_system(struct ig_buf *messages, struct ig_slice text,
                                       struct ig_err *err);
/* A JSON list of {"role", "content"}; or an object with "messages". */
IG_MUST_CHECK bool chat_log_load(struct ig_buf *messages, const char *path, struct ig_err *err);
IG_MUST_CHECK bool chat_log_save(const struct ig_buf *messages, const char *path,
                                 struct ig_err *err);
