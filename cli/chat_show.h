/* SPDX-License-Identifier: Apache-2.0
 * chat_show — a reply on the terminal: thoughts are one dim line that moves and then says how many
 * there were; content streams. Elsewhere the text as it comes, thoughts and all. */
#pragma once
#include "ingot/reply.h"

struct chat_show {
    bool terminal; /* stdout is one */
    bool colours;
    int columns;
    struct ig_reply_text parts;
    struct ig_buf thoughts; /* of the last reply */
    bool folded;            /* a line of thoughts is drawn */
    double started;
    const bool *thinks;
};

/* thinks: where it will stand, once text comes, whether the prompt has begun a thought. */
void chat_show_begin(struct chat_show *show, const bool *thinks);
/* For talk's show. */
void chat_show_text(void *user, struct ig_slice fresh);
void chat_show_end(struct chat_show *show);
void chat_show_release(struct chat_show *show);
