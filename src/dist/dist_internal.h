/* SPDX-License-Identifier: Apache-2.0
 * dist_internal — what a way of starting ranks provides: dist_mpi.c, or dist_none.c without MPI. */
#pragma once
#include "ingot/dist.h"

struct ig_dist {
    int rank, size;
};

IG_MUST_CHECK bool dist__start(struct ig_dist *dist, struct ig_err *err);
void dist__stop(void);
_Noreturn void dist__abort(int status);
/* Whether all ranks said ok. */
bool dist__all(bool ok);
