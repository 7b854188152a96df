/* SPDX-License-Identifier: Apache-2.0
 * dist_none — a program that was built without MPI. */
#include "dist/dist_internal.h"

#include <stdlib.h>

bool dist__start(struct ig_dist *dist, struct ig_err *err)
{
    (void)dist;
    return ig_err_set(err, IG_ERR_UNSUPPORTED,
                      "several ranks were started, but this ingot was built without MPI: install "
                      "libopenmpi-dev (or mpich) and build again");
}

void dist__stop(void) {}

bool dist__may_hang(const struct ig_dist *dist)
{
    (void)dist;
    return false;
}

void dist__leave(const struct ig_dist *dist)
{
    (void)dist;
    exit(0);
}

void dist__abort(int status)
{
    exit(status);
}

bool dist__exchange(struct ig_dist *dist, const struct dist_word *mine)
{
    dist->words[0] = *mine;
    return true;
}

bool dist__spread(struct ig_dist *dist, void *bytes, int count)
{
    (void)dist, (void)bytes, (void)count;
    return true;
}
