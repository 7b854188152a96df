/* SPDX-License-Identifier: Apache-2.0
 * chat_input — what is typed: on a terminal with editing and history, else as it comes. */
#pragma once
#include "ingot/buf.h"

enum chat_input {
    CHAT_INPUT_TEXT,
    CHAT_INPUT_NONE, /* an empty line, or Ctrl-C */
    CHAT_INPUT_END
};

/* Before the first thread is started. */
void chat_input_begin(void);
/* Reads what is said next. A line that ends in a backslash goes on in the next one; after a line
 * that is "/multi" all lines up to "/end" belong together. */
enum chat_input chat_input_read(bool terminal, struct ig_buf *out);
/* Frees the line that the editor keeps. */
void chat_input_end(void);
