/* SPDX-License-Identifier: Apache-2.0
 * meter — many connections, one watch: its functions are called by one thread at a time. */
#include "base/clock.h"
#include "hub/hub_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define TELL_SECONDS 0.05

void hub__meter_init(struct hub_meter *meter, const struct ig_watch *watch)
{
    *meter = (struct hub_meter){.watch = watch};
    pthread_mutex_init(&meter->lock, NULL);
}

void hub__meter_release(struct hub_meter *meter)
{
    pthread_mutex_destroy(&meter->lock);
}

bool hub__meter_tick(struct hub_meter *meter)
{
    if (atomic_load(&meter->stop)) return false;
    if (!meter->watch || !meter->watch->progress) return true;
    if (pthread_mutex_trylock(&meter->lock) != 0) return true;
    double now = ig_clock_seconds();
    bool go = true;
    if (now - meter->told >= TELL_SECONDS) {
        struct ig_progress progress = {.phase = "pull",
                                       .unit = "files",
                                       .items_done = atomic_load(&meter->files_done),
                                       .items_total = meter->files_total,
                                       .bytes_done = atomic_load(&meter->bytes_done),
                                       .bytes_total = meter->bytes_total};
        meter->told = now;
        go = meter->watch->progress(meter->watch->user, &progress);
    }
    if (!go) atomic_store(&meter->stop, true);
    pthread_mutex_unlock(&meter->lock);
    return go;
}

void hub__meter_warn(struct hub_meter *meter, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&meter->lock);
    ig_watch_warn(meter->watch, "%s", text);
    pthread_mutex_unlock(&meter->lock);
}

bool hub__stopped(struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_CANCELLED,
                      "interrupted: the same command goes on where this one stopped");
}

bool hub__meter_wait(struct hub_meter *meter, double seconds, struct ig_err *err)
{
    double end = ig_clock_seconds() + seconds, left;
    while ((left = end - ig_clock_seconds()) > 0) {
        if (!hub__meter_tick(meter)) return hub__stopped(err);
        double part = left < TELL_SECONDS ? left : TELL_SECONDS;
        nanosleep(&(struct timespec){.tv_nsec = (long)(part * 1e9)}, NULL);
    }
    return hub__meter_tick(meter) || hub__stopped(err);
}
