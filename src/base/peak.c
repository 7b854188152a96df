/* SPDX-License-Identifier: Apache-2.0
 * peak — see watch.h. Linux's ru_maxrss begins with what the parent had when it forked: a program
 * that a large one starts would show that. VmHWM begins with the program. */
#include "base/port.h"
#include "ingot/watch.h"

#include <stdio.h>
#include <sys/resource.h>

static uint64_t from_status(void)
{
    char line[256];
    unsigned long long kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "re");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu kB", &kilobytes) == 1) break;
    fclose(f);
    return (uint64_t)kilobytes * 1024;
}

uint64_t ig_peak_bytes(void)
{
    struct rusage use;
    uint64_t peak = from_status();
    if (peak) return peak;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (uint64_t)use.ru_maxrss * PORT_RSS_UNIT : 0;
}
