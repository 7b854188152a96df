/* SPDX-License-Identifier: Apache-2.0
 * thread — a pool of threads that take numbered tasks from one shared counter.
 *
 * A pool of n threads runs n - 1 of its own and the caller's. Results must not depend on which
 * thread takes which task, nor on n. */
#pragma once
#include "ingot/err.h"
#include <stdint.h>

struct ig_pool;

/* Cores this process may use (affinity respected). */
int ig_core_count(void);
/* count 0: one for each core. NULL on failure. */
IG_MUST_CHECK struct ig_pool *ig_pool_new(int count, struct ig_err *err);
void ig_pool_free(struct ig_pool *pool);
int ig_pool_size(const struct ig_pool *pool);
/* Runs task(user, thread, index, err) for every index in 0 .. count-1, thread in 0 .. size-1;
 * returns when all are done. After a failure no new index is started, and the failure with the
 * lowest index among those that ran is reported. */
IG_MUST_CHECK bool ig_pool_each(struct ig_pool *pool, int64_t count,
                                bool (*task)(void *user, int thread, int64_t index,
                                             struct ig_err *err),
                                void *user, struct ig_err *err);
/* For kernels: run(user, thread, threads) once on every thread, spinning briefly before sleeping,
 * so that a call costs about a microsecond. */
void ig_pool_all(struct ig_pool *pool, void (*run)(void *user, int thread, int threads),
                 void *user);
