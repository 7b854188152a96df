/* SPDX-License-Identifier: Apache-2.0
 * watch — how a long job tells its caller about warnings and progress, and asks whether to stop.
 *
 * The library never prints. Both functions may be called from worker threads, one call at a time
 * (the library holds a lock). A NULL watch, or NULL members, mean "nobody listens". */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct ig_progress {
    const char *phase;  /* "merge", "quantize", "prompt", ... */
    const char *unit;   /* what items are when bytes count; NULL: "tensors" */
    int64_t items_done; /* tensors, tokens or items */
    int64_t items_total;
    int64_t bytes_done;  /* bytes read from the inputs */
    int64_t bytes_total; /* 0 when bytes mean nothing here */
    const char *note;    /* what else there is to say, as "piqa acc 0.713", or NULL */
};

struct ig_watch {
    void *user;
    void (*warn)(void *user, const char *text);
    /* False asks the job to stop with IG_ERR_CANCELLED as soon as it can do so safely. */
    bool (*progress)(void *user, const struct ig_progress *progress);
};

/* Formats and sends a warning; fine with NULL. */
void ig_watch_warn(const struct ig_watch *watch, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Most memory that this process has had resident so far; 0: the system does not say. */
uint64_t ig_peak_bytes(void);
