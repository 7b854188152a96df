/* SPDX-License-Identifier: Apache-2.0
 * reply — what the text of a model's reply means, as it comes: thoughts, content, calls of tools,
 * up to a stop string. Text that may become a stop string or a tag is held back until it is known.
 *
 * Use:   zero-initialise, set the first members; push text; read what has come; clear; release. */
#pragma once
#include "ingot/buf.h"

struct ig_tool_call {
    struct ig_buf name, arguments; /* arguments: JSON's text */
};
struct ig_reply_text {
    /* the caller's */
    const struct ig_slice *stops; /* none of them empty */
    size_t stop_count;
    bool plain;    /* no thoughts and calls are looked for */
    bool tools;    /* calls are looked for */
    bool thinks;   /* the prompt has begun a thought */
    bool one_call; /* the text ends with its first call */
    /* what has come since these were last cleared */
    struct ig_buf content, reasoning;
    struct ig_tool_call *calls;
    size_t call_count;
    /* state */
    bool stopped;            /* by a stop string, or one_call; nothing more comes */
    size_t passed;           /* bytes that are past the search for stop strings */
    struct ig_buf held, mid; /* waiting for either search */
    int stage;
    bool skip_space;
};
/* Takes text; last: there is no more. */
void ig_reply_text_push(struct ig_reply_text *text, struct ig_slice fresh, bool last);
/* Forgets what has come, for the next piece. */
void ig_reply_text_clear(struct ig_reply_text *text);
void ig_reply_text_release(struct ig_reply_text *text);
/* "name" and "arguments" of what stands between the tags of a call: Qwen's JSON, or the XML of
 * Qwen3-Coder. */
bool ig_tool_call_read(struct ig_slice body, struct ig_tool_call *out);
void ig_tool_call_release(struct ig_tool_call *call);
