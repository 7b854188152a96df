/* SPDX-License-Identifier: Apache-2.0
 * sketch_line — the parsers behind sketch.h, for its reader and its fuzz target. */
#pragma once
#include "base/arena.h"
#include "ingot/sketch.h"

/* The first line; all of it lives in the arena. */
IG_MUST_CHECK bool merge__sketch_head_read(struct ig_slice text, struct ig_arena *arena,
                                           struct ig_sketch_head *out, struct ig_err *err);
/* Another line, of a merge of so many models; its names live in the arena. */
IG_MUST_CHECK bool merge__sketch_line_read(struct ig_slice text, int models, struct ig_arena *arena,
                                           struct ig_sketch_line *out, struct ig_err *err);
