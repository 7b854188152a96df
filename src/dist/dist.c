/* SPDX-License-Identifier: Apache-2.0
 * dist — see ingot/dist.h. How many ranks there are stands in the environment that their starter
 * made: MPI is only woken when there are several, because that takes a tenth of a second. */
#include "dist/dist_internal.h"

#include <stdlib.h>
#include <string.h>

/* OpenMPI, MPICH and what speaks PMI, Slurm's srun. */
static const char *const size_names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE"};

static int announced_size(void)
{
    for (size_t i = 0; i < sizeof size_names / sizeof *size_names; i++) {
        const char *text = getenv(size_names[i]);
        if (text && atoi(text) > 0) return atoi(text);
    }
    /* srun without --mpi also sets SLURM_NTASKS in a shell that starts one process. */
    const char *tasks = getenv("SLURM_NTASKS"), *step = getenv("SLURM_STEP_NUM_TASKS");
    return tasks && step && atoi(step) > 1 ? atoi(step) : 1;
}

bool ig_dist_open(struct ig_dist **out, struct ig_err *err)
{
    *out = NULL;
    if (announced_size() == 1) return true;
    struct ig_dist *dist = calloc(1, sizeof(*dist));
    if (!dist) return ig_err_nomem(err);
    if (!dist__start(dist, err)) {
        free(dist);
        return false;
    }
    if (dist->size == 1) { /* each would do all of the work, into the same folder */
        ig_err_set(err, IG_ERR_USAGE,
                   "%d ranks were started, but not by the MPI that this ingot was built with: take "
                   "its mpirun, or build with -Dmpi_package=mpich (or ompi-c)",
                   announced_size());
        dist__stop();
        free(dist);
        return false;
    }
    if (dist->size > IG_RANKS_MAX) {
        ig_err_set(err, IG_ERR_USAGE, "%d ranks; at most %d are supported", dist->size,
                   IG_RANKS_MAX);
        dist__stop();
        free(dist);
        return false;
    }
    *out = dist;
    return true;
}

void ig_dist_close(struct ig_dist *dist)
{
    if (!dist) return;
    dist__stop();
    free(dist);
}

void ig_dist_abort(struct ig_dist *dist, int status)
{
    if (dist) dist__abort(status);
    exit(status);
}

int ig_dist_rank(const struct ig_dist *dist)
{
    return dist ? dist->rank : 0;
}

int ig_dist_size(const struct ig_dist *dist)
{
    return dist ? dist->size : 1;
}

bool ig_dist_meet(struct ig_dist *dist, bool ok, struct ig_err *err)
{
    if (!dist || dist->size == 1) return ok;
    bool all = dist__all(ok);
    if (ok && !all) ig_err_set(err, IG_ERR_CANCELLED, "another rank has failed; it says why");
    return all;
}

/* ---- sharing */

struct piece {
    uint64_t bytes;
    int64_t first; /* the lowest of its members */
    int64_t group;
};

static int larger_first(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x->first > y->first) - (x->first < y->first);
}

static int least_loaded(const uint64_t *load, int size)
{
    int least = 0;
    for (int r = 1; r < size; r++)
        if (load[r] < load[least]) least = r;
    return least;
}

bool ig_dist_share(const struct ig_dist *dist, const uint64_t *bytes, const int64_t *group,
                   int64_t count, int *owner, struct ig_err *err)
{
    int size = ig_dist_size(dist);
    uint64_t load[IG_RANKS_MAX] = {0};
    memset(owner, 0, (size_t)count * sizeof(*owner));
    if (size == 1) return true;
    struct piece *pieces = calloc((size_t)count + 1, sizeof(*pieces));
    int *rank_of = calloc((size_t)count + 1, sizeof(*rank_of));
    bool ok = (pieces && rank_of) || ig_err_nomem(err);
    for (int64_t i = 0; ok && i < count; i++)
        pieces[i] = (struct piece){0, INT64_MAX, i};
    for (int64_t i = 0; ok && i < count; i++) {
        struct piece *p = &pieces[group ? group[i] : i];
        p->bytes += bytes[i] + 1; /* the smallest is not free */
        if (i < p->first) p->first = i;
    }
    if (ok) qsort(pieces, (size_t)count, sizeof(*pieces), larger_first);
    for (int64_t i = 0; ok && i < count; i++) {
        int rank = least_loaded(load, size);
        load[rank] += pieces[i].bytes;
        rank_of[pieces[i].group] = rank;
    }
    for (int64_t i = 0; ok && i < count; i++)
        owner[i] = rank_of[group ? group[i] : i];
    free(pieces);
    free(rank_of);
    return ok;
}
