/* SPDX-License-Identifier: Apache-2.0
 * adapter_internal — an extraction: which tensors, how, and what became of them. */
#pragma once
#include "ingot/adapter.h"
#include "merge/merge_internal.h"

#include <pthread.h>

#define ADAPTER_PREFIX "base_model.model."
#define ADAPTER_TUNED  0 /* of the inputs */
#define ADAPTER_BASE   1

enum adapter_part {
    ADAPTER_FACTORS,
    ADAPTER_WHOLE,
    ADAPTER_BIAS, /* of a module that has factors */
    ADAPTER_NONE, /* no weight and no bias */
};

struct adapter_entry {
    enum adapter_part part;
    struct ig_slice module, key, tail;    /* key: the module's last name; tail: ".weight" */
    const struct ig_tensor *tuned, *base; /* base may be NULL of what is saved whole */
    bool turned;                          /* an embedding: its factors are of D^T */
    bool even;                            /* an expert: PEFT stacks them, so all have one rank */
    bool wanted;                          /* saved whole whether it differs or not */
    bool changed, kept;                   /* differs from the base; is in the adapter */
    enum ig_dtype dtype;                  /* of factors */
    int64_t rank;
    double first, energy, kept_energy; /* |base|^2, |D|^2, |B A|^2 */
    uint64_t slot;                     /* where its factors are in the scratch file */
    struct ig_adapter_row row;
};

struct ig_adapter {
    struct ig_adapter_job job;
    struct ig_arena arena;
    struct ig_recipe *recipe;
    struct ig_merge *models; /* both inputs */
    const struct merge_input *in[2];
    struct adapter_entry *entries;
    int64_t count, room;
    struct ig_adapter_row *rows;
    int64_t row_count;
    int64_t rank;               /* of the config: the largest */
    double scale;               /* lora_alpha / rank */
    int scratch;                /* factors as they come, or -1 */
    struct ig_buf scratch_path; /* for messages; it is unlinked */
    uint64_t scratch_bytes, bytes;
    double seconds;
    const struct ig_watch *watch;
    struct ig_progress progress;
    pthread_mutex_t lock; /* for progress */
};

/* False, with CANCELLED, when the watcher asks to stop. */
IG_MUST_CHECK bool adapter__advance(struct ig_adapter *a, int64_t items, int64_t bytes,
                                    struct ig_err *err);

/* ---- adapter_plan.c ---- */

/* Opens both models and makes the list of entries. */
IG_MUST_CHECK bool adapter__plan(struct ig_adapter *a, struct ig_err *err);

/* ---- adapter_factor.c ---- */

/* Compares everything; factors of the matrices go to the scratch file. */
IG_MUST_CHECK bool adapter__factor(struct ig_adapter *a, struct ig_err *err);

/* ---- adapter.c ---- */

/* The rows as a JSON list. */
void adapter__put_rows(const struct ig_adapter *a, struct ig_json_writer *w);

/* ---- adapter_write.c ---- */

/* Which entries are kept, and the largest rank. */
IG_MUST_CHECK bool adapter__choose(struct ig_adapter *a, struct ig_err *err);
IG_MUST_CHECK bool adapter__write(struct ig_adapter *a, struct ig_err *err);
