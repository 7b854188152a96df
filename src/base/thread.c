/* SPDX-License-Identifier: Apache-2.0
 * thread — a call publishes a job under a new generation number and wakes the workers; each runs it
 * once and counts down. Workers spin for SPIN_ROUNDS before they sleep: an engine issues hundreds
 * of short jobs a token, and a futex wake costs tens of microseconds. */
#include "base/thread.h"

#include "base/check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define SPIN_ROUNDS 2000 /* about 20 to 80 us of pause instructions */
#define POOL_MAX    1024

struct ig_pool {
    int size;
    pthread_t *threads; /* size - 1 of them */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_uint generation;
    atomic_int busy; /* workers that have not finished the current job */
    atomic_bool stop;
    void (*run)(void *user, int thread, int threads);
    void *user;
};

struct worker_start {
    struct ig_pool *pool;
    int thread;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* as long as x86's pause; yield is over at once */
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

int ig_core_count(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

static unsigned wait_for_job(struct ig_pool *pool, unsigned seen)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen) return now;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    unsigned now;
    while ((now = atomic_load(&pool->generation)) == seen)
        pthread_cond_wait(&pool->wake, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return now;
}

static void *worker(void *arg)
{
    struct worker_start start = *(struct worker_start *)arg;
    free(arg);
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_job(start.pool, seen);
        if (atomic_load(&start.pool->stop)) return NULL;
        start.pool->run(start.pool->user, start.thread, start.pool->size);
        atomic_fetch_sub_explicit(&start.pool->busy, 1, memory_order_release);
    }
}

static void publish(struct ig_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

static bool start_worker(struct ig_pool *pool, int thread)
{
    struct worker_start *start = malloc(sizeof(*start));
    if (!start) return false;
    *start = (struct worker_start){pool, thread};
    if (pthread_create(&pool->threads[thread - 1], NULL, worker, start) == 0) return true;
    free(start);
    return false;
}

struct ig_pool *ig_pool_new(int count, struct ig_err *err)
{
    if (count <= 0) count = ig_core_count();
    if (count > POOL_MAX) count = POOL_MAX;
    struct ig_pool *pool = calloc(1, sizeof(*pool));
    if (!pool) {
        ig_err_nomem(err);
        return NULL;
    }
    pool->size = 1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = calloc((size_t)count, sizeof(*pool->threads));
    if (!pool->threads) {
        ig_err_nomem(err);
        ig_pool_free(pool);
        return NULL;
    }
    for (int i = 1; i < count; i++) {
        if (!start_worker(pool, i)) {
            ig_err_set(err, IG_ERR_NOMEM, "cannot start %d threads", count);
            ig_pool_free(pool);
            return NULL;
        }
        pool->size++;
    }
    return pool;
}

void ig_pool_free(struct ig_pool *pool)
{
    if (!pool) return;
    atomic_store(&pool->stop, true);
    publish(pool);
    for (int i = 1; i < pool->size; i++)
        pthread_join(pool->threads[i - 1], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

int ig_pool_size(const struct ig_pool *pool)
{
    return pool->size;
}

void ig_pool_all(struct ig_pool *pool, void (*run)(void *user, int thread, int threads), void *user)
{
    if (pool->size > 1) {
        pool->run = run;
        pool->user = user;
        atomic_store(&pool->busy, pool->size - 1);
        publish(pool);
    }
    run(user, 0, pool->size);
    for (int i = 0; atomic_load_explicit(&pool->busy, memory_order_acquire) != 0; i++) {
        relax();
        if (i % SPIN_ROUNDS == SPIN_ROUNDS - 1) sched_yield();
    }
}

struct each_job {
    bool (*task)(void *user, int thread, int64_t index, struct ig_err *err);
    void *user;
    int64_t count;
    atomic_llong next;
    atomic_bool failed;
    pthread_mutex_t lock;
    int64_t failed_index; /* guarded by lock, like err */
    struct ig_err err;
};

static void run_tasks(void *arg, int thread, int threads)
{
    (void)threads;
    struct each_job *job = arg;
    while (!atomic_load(&job->failed)) {
        int64_t index = atomic_fetch_add(&job->next, 1);
        if (index >= job->count) return;
        struct ig_err err = {0};
        if (job->task(job->user, thread, index, &err)) continue;
        pthread_mutex_lock(&job->lock);
        if (!atomic_load(&job->failed) || index < job->failed_index) {
            job->failed_index = index;
            job->err = err;
        }
        atomic_store(&job->failed, true);
        pthread_mutex_unlock(&job->lock);
    }
}

bool ig_pool_each(struct ig_pool *pool, int64_t count,
                  bool (*task)(void *user, int thread, int64_t index, struct ig_err *err),
                  void *user, struct ig_err *err)
{
    struct each_job job = {.task = task, .user = user, .count = count};
    pthread_mutex_init(&job.lock, NULL);
    ig_pool_all(pool, run_tasks, &job);
    pthread_mutex_destroy(&job.lock);
    if (!atomic_load(&job.failed)) return true;
    IG_ASSERT(job.err.code != IG_OK);
    *err = job.err;
    return false;
}
