/* SPDX-License-Identifier: Apache-2.0
 * dist — the processes of one run on one or many machines, as mpirun or srun starts them.
 *
 * Use:   ig_dist_open -> pass it in a job -> ig_dist_close. NULL stands for one process alone.
 * Ranks share nothing but the folder that they write to, and meet now and then. Which rank does
 * what is decided by the plan alone (ig_dist_share), so that results do not depend on their number.
 * Threads: only the thread that opened it may call. */
#pragma once
#include "ingot/err.h"
#include "ingot/slice.h"
#include <stdint.h>

struct ig_dist;

#define IG_RANKS_MAX 1024

/* *out is NULL when this process was started alone. A run of several ranks by a program that was
 * built without MPI is refused: each would do all of the work, into the same folder. */
IG_MUST_CHECK bool ig_dist_open(struct ig_dist **out, struct ig_err *err);
/* Waits for the other ranks. Accepts NULL. */
void ig_dist_close(struct ig_dist *dist);
/* Ends all ranks of the run, this process with the status. NULL: only this one. */
_Noreturn void ig_dist_abort(struct ig_dist *dist, int status);
/* Before abort: where it is another rank that has failed, leaves it the time to say why. */
void ig_dist_defer(const struct ig_dist *dist);
int ig_dist_rank(const struct ig_dist *dist);         /* from 0; of NULL 0 */
int ig_dist_size(const struct ig_dist *dist);         /* of NULL 1 */
const char *ig_dist_host(const struct ig_dist *dist); /* the machine's name; of NULL "" */
/* All ranks meet. False, on all of them, when ok was false on any: err is set where it was true. */
IG_MUST_CHECK bool ig_dist_meet(struct ig_dist *dist, bool ok, struct ig_err *err);
/* The same; then *said is what rank 0 brought: what follows from files is for one to decide. */
IG_MUST_CHECK bool ig_dist_tell(struct ig_dist *dist, bool ok, bool *said, struct ig_err *err);
/* The same; and all must bring the same lines "NAME, tab, WHAT" (another NAME may stand for the
 * same WHAT). Where they do not, one rank says which NAME it is. */
IG_MUST_CHECK bool ig_dist_agree(struct ig_dist *dist, bool ok, struct ig_slice lines,
                                 struct ig_err *err);
/* The same; and the folder, which rank 0 can write, must be one and the same for all: rank 0 puts
 * IG_DIST_MARK there for a moment. */
IG_MUST_CHECK bool ig_dist_sees(struct ig_dist *dist, bool ok, const char *folder,
                                struct ig_err *err);
#define IG_DIST_MARK "ingot.ranks"
/* Deals `count` pieces of work to the ranks: owner[i] is the rank of piece i. Large pieces first,
 * each to the rank with the least so far; pieces of equal group (0 .. groups-1) stay together.
 * group NULL: each on its own. */
IG_MUST_CHECK bool ig_dist_share(const struct ig_dist *dist, const uint64_t *bytes,
                                 const int64_t *group, int64_t count, int *owner,
                                 struct ig_err *err);
