/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <sys/resource.h>
#include <time.h>

#include "base/port.h"

double ig_clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

uint64_t ig_peak_bytes(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (uint64_t)use.ru_maxrss * PORT_RSS_UNIT : 0;
}
