/* SPDX-License-Identifier: Apache-2.0
 * dist_internal — what a way of starting ranks provides: dist_mpi.c, or dist_none.c without MPI. */
#pragma once
#include "ingot/dist.h"

#include <stdint.h>

#define DIST_HOST_MAX 64

/* What each rank brings to a meeting. Every exchange between ranks is one of these: the bytes never
 * change, so that another version of the program can be told from a lost message. */
struct dist_word {
    int32_t ok;     /* of who failed: 0 */
    int32_t said;   /* rank 0's counts */
    uint64_t about; /* what the meeting is about, with what must be alike */
    char host[DIST_HOST_MAX];
};

struct ig_dist {
    int rank, size;
    bool other_failed;
    char host[DIST_HOST_MAX];
    struct dist_word *words; /* one for each rank, of the last meeting */
};

IG_MUST_CHECK bool dist__start(struct ig_dist *dist, struct ig_err *err);
void dist__stop(void);
/* Whether stop may never return, as rank 0 knows it; then, after a last meeting of all, in which
 * nobody failed: leave, with status 0. */
bool dist__may_hang(const struct ig_dist *dist);
_Noreturn void dist__leave(const struct ig_dist *dist);
_Noreturn void dist__abort(int status);
/* Waits for all ranks; words are then theirs, in order. Where a rank did not come although this
 * returns, its word is zero. False: who started this rank has gone. */
IG_MUST_CHECK bool dist__exchange(struct ig_dist *dist, const struct dist_word *mine);
/* Rank 0's bytes, to all. */
IG_MUST_CHECK bool dist__spread(struct ig_dist *dist, void *bytes, int count);
