/* SPDX-License-Identifier: Apache-2.0
 * engine_internal — the engine and its slots: engine.c, slots.c. */
#pragma once
#include "serve/serve_internal.h"

/* A session, and the ids of what it holds. */
struct serve_slot {
    struct ig_session *session;
    int32_t *ids;          /* context of them */
    struct serve_job *job; /* NULL: idle; what it holds may be gone on from */
    uint64_t used;         /* when it was last taken: a count of jobs */
    size_t bytes;          /* that its job may come to need */
};

struct serve_engine {
    struct ig_model *model;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* for the engine's thread: a job, or the end */
    bool started, stopping;
    double request_seconds;
    int64_t context, queue_max;
    bool rotates;      /* caches do */
    bool pieces_count; /* what a token sees depends on how its prompt is cut: always alike */
    size_t bytes_max;  /* of all caches; 0: no limit */
    struct serve_slot *slots;
    size_t slot_count;
    size_t turn; /* the slot whose prompt comes next */
    struct serve_job *first, **last;
    int64_t waiting, running;
    size_t cache_bytes; /* that caches take, at the start of this round */
    float *logits;      /* slot_count x vocab */
    struct ig_choice top[SERVE_TOP_MAX];
    struct serve_stats stats;
};

/* An idle slot for a prompt, which then holds the longest beginning of it that could be had; NULL:
 * all are busy, or have the memory that it may need. */
struct serve_slot *serve__slot_take(struct serve_engine *engine, struct serve_job *job);
