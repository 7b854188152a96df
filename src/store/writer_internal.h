/* SPDX-License-Identifier: Apache-2.0
 * writer_internal — an unfinished model folder, as writer.c (tensors) and folder.c (everything else
 * in it, and the end) see it. */
#pragma once
#include "base/map.h"
#include "disk.h"
#include "stage.h"
#include "store_internal.h"

#include <pthread.h>
#include <stdatomic.h>

#define BLOCK_BYTES       ((size_t)16 << 10)   /* of a tensor's digest */
#define STAGE_BYTES_MIN   ((uint64_t)64 << 20) /* smaller models are not worth its threads */
#define STAGE_BUFFERS_MAX 40
#define WRITER_ROOM_EXTRA ((uint64_t)1 << 20) /* the index, the journal, small files */

enum { WRITER_OPEN, WRITER_CLAIMED /* by the journal, not yet checked */, WRITER_DONE };

struct writer_slot {
    atomic_int state;
    struct ig_digest digest;            /* valid when claimed or done */
    struct ig_digest *blocks;           /* of blocks that were put whole; others are zero */
    _Atomic(struct ig_digest *) shared; /* the same, for a reader without the lock */
    char hex[IG_DIGEST_HEX];
};

struct ig_writer {
    struct ig_arena arena;
    struct ig_writer_plan plan; /* with copies of what it points to */
    const char *out;            /* without slashes at its end */
    char partial[IG_PATH_MAX];
    bool owns_partial; /* it is there and ours to remove */
    struct ig_digest plan_digest;
    struct store_shards shards;
    struct writer_slot *slots; /* one for each tensor */
    int *fds;                  /* one for each shard */
    int fd_count;
    struct ig_map by_name;
    int64_t claimed;
    int rank;
    bool whole; /* an earlier run finished OUT and was killed before it could say so */
    struct store_journal journal;
    struct store_stage *stage;  /* or NULL: through the page cache, with a window */
    struct store_window window; /* unless plan.no_sync */
    pthread_mutex_t lock;       /* of the journal, and of slots' blocks while they are made */
};

/* What is still in memory goes to the files. */
IG_MUST_CHECK bool store__flush(struct ig_writer *w, struct ig_err *err);

/* writer_ranks.c: of a run of several ranks. Those beyond the first open what rank 0 has made. */
IG_MUST_CHECK bool store__join(struct ig_writer *w, struct ig_err *err);
/* Takes over what the journals of all other ranks say. */
IG_MUST_CHECK bool store__replay_ranks(struct ig_writer *w, struct ig_err *err);
/* Rank 0: their lines become its own, their journals go. */
IG_MUST_CHECK bool store__close_books(struct ig_writer *w, struct ig_err *err);
/* Removes the journals of all other ranks: of this run, or of one that is gone on with alone. */
IG_MUST_CHECK bool store__forget_ranks(const struct ig_writer *w, struct ig_err *err);
/* Of a journal: the tensor was finished by an earlier run, or another rank. */
bool store__note_finished(void *user, struct ig_slice name, struct ig_digest digest,
                          struct ig_err *err);

/* Whether all outputs of this run were finished by an earlier one, which was killed while it
 * removed their journals. */
IG_MUST_CHECK bool store__is_finished(const struct ig_writer *w, bool *yes, struct ig_err *err);

/* Whether OUT is free, or a model that --force may replace. */
IG_MUST_CHECK bool store__check_replaceable(const struct ig_writer *w, struct ig_err *err);
