/* SPDX-License-Identifier: Apache-2.0
 * dist_mpi — ranks by MPI (OpenMPI, MPICH). The only file that includes mpi.h.
 *
 * No call that waits: MPI's own waiting takes a whole core, which on a shared machine is one that
 * another rank could use, and never looks whether the starter is still there. */
#include "dist/dist_internal.h"

#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START_SECONDS 120
#define LEAVE_SECONDS 10
#define NAP_NS_MAX    5000000L /* between looks; the first ones come sooner */

static pid_t starter;

static void give_up(int signal_number)
{
    static const char text[] = "ingot: MPI does not start: a rank has gone, or cannot be reached\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(1);
    signal(signal_number, SIG_DFL);
    alarm(1); /* dies of it when this returns: hydra takes notice of that, not of a status */
}

bool dist__start(struct ig_dist *dist, struct ig_err *err)
{
    int given, length;
    char host[MPI_MAX_PROCESSOR_NAME + 1] = "";
    starter = getppid();
    signal(SIGALRM, give_up); /* under hydra ranks wait forever for one that was killed before */
    alarm(START_SECONDS);
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS)
        return ig_err_set(err, IG_ERR_IO, "MPI does not start");
    alarm(0);
    signal(SIGALRM, SIG_DFL);
    MPI_Comm_rank(MPI_COMM_WORLD, &dist->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &dist->size);
    MPI_Get_processor_name(host, &length);
    memcpy(dist->host, host, sizeof dist->host - 1);
    if (given >= MPI_THREAD_FUNNELED) return true;
    MPI_Finalize();
    return ig_err_set(err, IG_ERR_UNSUPPORTED, "this MPI does not allow threads");
}

void dist__stop(void)
{
    MPI_Finalize();
}

/* MPICH over UCX (4.0.2 over 1.13.1, say) cannot be trusted to end among machines: in MPI_Finalize
 * one rank waits in a barrier of the starter's, where it no longer answers, while another still
 * waits for its answer, forever. Slurm would take the way around it for a failure. */
bool dist__may_hang(const struct ig_dist *dist)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length;
    if (!getenv("HYDI_CONTROL_FD")) return false; /* hydra gives it to rank 0 */
    MPI_Get_library_version(version, &length);
    if (!strstr(version, "ch4:ucx")) return false;
    for (int r = 1; r < dist->size; r++)
        if (strcmp(dist->words[r].host, dist->words[0].host) != 0) return true;
    return false;
}

void dist__abort(int status)
{
    MPI_Abort(MPI_COMM_WORLD, status);
    __builtin_unreachable();
}

void dist__leave(const struct ig_dist *dist)
{
    /* Rank 0 lets the starter end the others, with 0; MPICH would say so on stderr. */
    if (dist->rank == 0 && freopen("/dev/null", "w", stderr)) dist__abort(0);
    sleep(LEAVE_SECONDS);
    _exit(0);
}

/* Whether the starter outlived the exchange. */
static bool await(MPI_Request *request)
{
    int done = 0;
    for (long nap = 1000; MPI_Test(request, &done, MPI_STATUS_IGNORE), !done;) {
        if (getppid() != starter) return false;
        nanosleep(&(struct timespec){.tv_nsec = nap}, NULL);
        if (nap < NAP_NS_MAX) nap += nap / 4;
    }
    return true;
}

bool dist__exchange(struct ig_dist *dist, const struct dist_word *mine)
{
    MPI_Request request;
    /* MPICH over UCX may return from a meeting to which a killed rank did not come. */
    memset(dist->words, 0, (size_t)dist->size * sizeof *mine);
    MPI_Iallgather(mine, (int)sizeof *mine, MPI_BYTE, dist->words, (int)sizeof *mine, MPI_BYTE,
                   MPI_COMM_WORLD, &request);
    return await(&request);
}

bool dist__spread(struct ig_dist *dist, void *bytes, int count)
{
    MPI_Request request;
    (void)dist;
    MPI_Ibcast(bytes, count, MPI_BYTE, 0, MPI_COMM_WORLD, &request);
    return await(&request);
}
