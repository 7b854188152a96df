/* SPDX-License-Identifier: Apache-2.0
 * sketchbook — what happened inside a merge, a line a tensor, as it is written and kept. */
#pragma once
#include "ingot/buf.h"
#include "ingot/err.h"

#include <stdint.h>

struct ig_merge;

/* ---- sketchbook.c: lines as tensors are finished, put in order at the end ---- */

struct merge_sketch;
/* Goes on with the lines of an interrupted run. NULL when all outputs are finished. */
IG_MUST_CHECK bool merge__sketch_open(const struct ig_merge *m, struct merge_sketch **out,
                                      struct ig_err *err);
bool merge__sketch_has(const struct merge_sketch *sketch, int64_t index);
/* Safe from many threads. state: NULL when the tensor was copied. */
IG_MUST_CHECK bool merge__sketch_add(struct merge_sketch *sketch, int64_t index, const void *state,
                                     struct ig_err *err);
/* Before another rank reads what this one has written. */
IG_MUST_CHECK bool merge__sketch_sync(const struct merge_sketch *sketch, struct ig_err *err);
/* All lines in the order of the tensors; removes the working file. */
IG_MUST_CHECK bool merge__sketch_take(struct merge_sketch *sketch, struct ig_buf *out,
                                      struct ig_err *err);
void merge__sketch_close(struct merge_sketch *sketch);
