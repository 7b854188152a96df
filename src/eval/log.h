/* SPDX-License-Identifier: Apache-2.0
 * log — scored items beside the results: what of it the files of this room share. */
#pragma once
#include "base/digest.h"
#include "base/map.h"
#include "ingot/eval.h"

#define EVAL_LOG_NAME "items.log"

/* Opens and locks FOLDER/items.log, or makes it. Of several ranks: one after rank 0 reads that, and
 * writes items.log.RANK; so rank 0 opens first. */
IG_MUST_CHECK bool eval__log_open(const char *folder, int rank, struct ig_eval_log **out,
                                  struct ig_err *err);
/* A rank beyond the first: nothing more is added; rank 0 may read it, and remove it. */
IG_MUST_CHECK bool eval__log_hand_over(struct ig_eval_log *log, struct ig_err *err);
/* Takes over what other ranks, of this run or a killed one, have written, and removes it. */
IG_MUST_CHECK bool eval__log_gather(struct ig_eval_log *log, struct ig_err *err);
void eval__log_close(struct ig_eval_log *log); /* accepts NULL */
/* The values of an item that was scored before: count of each. False: it was not. */
bool eval__log_find(const struct ig_eval_log *log, const char key[IG_DIGEST_HEX], int count,
                    double *logprobs, bool *greedy);
IG_MUST_CHECK bool eval__log_add(struct ig_eval_log *log, const char key[IG_DIGEST_HEX], int count,
                                 const double *logprobs, const bool *greedy, struct ig_err *err);
/* Of a log's bytes: KEY to the place of its values, and how many bytes are whole lines. */
IG_MUST_CHECK bool eval__log_read(struct ig_slice text, struct ig_map *items, size_t *whole,
                                  struct ig_err *err);
/* Reads the values of one item; false when they are not count of them. */
bool eval__log_values(struct ig_slice values, int count, double *logprobs, bool *greedy);
