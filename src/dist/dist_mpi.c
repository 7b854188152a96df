/* SPDX-License-Identifier: Apache-2.0
 * dist_mpi — ranks by MPI (OpenMPI, MPICH). The only file that includes mpi.h. */
#include "dist/dist_internal.h"

#include <mpi.h>

bool dist__start(struct ig_dist *dist, struct ig_err *err)
{
    int given;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS)
        return ig_err_set(err, IG_ERR_IO, "MPI does not start");
    MPI_Comm_rank(MPI_COMM_WORLD, &dist->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &dist->size);
    if (given >= MPI_THREAD_FUNNELED) return true;
    MPI_Finalize();
    return ig_err_set(err, IG_ERR_UNSUPPORTED, "this MPI does not allow threads");
}

void dist__stop(void)
{
    MPI_Finalize();
}

void dist__abort(int status)
{
    MPI_Abort(MPI_COMM_WORLD, status);
    __builtin_unreachable();
}

bool dist__all(bool ok)
{
    /* Counted, not and-ed: MPICH over UCX may return from a meeting to which a killed rank did not
     * come, with what the others said so far. */
    int mine = ok, all = 0, size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    return all == size;
}
