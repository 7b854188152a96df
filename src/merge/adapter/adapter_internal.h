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
    size_t bytes;                      /* of both factors, at the rank of the plan */
    bool known;                        /* an interrupted run has compared it */
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
    int64_t rank; /* of the config: the largest */
    double scale; /* lora_alpha / rank */
    struct adapter_select *select;
    struct adapter_scratch *scratch; /* NULL: nothing is written */
    uint64_t bytes;                  /* of the adapter; of a plan: at most */
    double seconds;
    const struct ig_watch *watch;
    struct ig_progress progress;
    pthread_mutex_t lock; /* for progress */
};

/* False, with CANCELLED, when the watcher asks to stop. */
IG_MUST_CHECK bool adapter__advance(struct ig_adapter *a, int64_t items, int64_t bytes,
                                    struct ig_err *err);

/* ---- adapter_select.c ---- */

IG_MUST_CHECK bool adapter__select_open(struct ig_adapter *a, struct ig_err *err);
/* Once the entries are listed: whether there are any, and each module that is to be saved. */
IG_MUST_CHECK bool adapter__select_check(const struct ig_adapter *a, struct ig_err *err);
void adapter__select_close(struct ig_adapter *a);
/* Whether the options leave the module in. */
IG_MUST_CHECK bool adapter__wants(const struct ig_adapter *a, struct ig_slice name, bool *yes,
                                  struct ig_err *err);
/* Whether modules of that last name are saved whole. */
bool adapter__saves(const struct ig_adapter *a, struct ig_slice key);

/* ---- adapter_scratch.c ---- */

/* Opens OUT.factors, or goes on with it; entries that it has are known. */
IG_MUST_CHECK bool adapter__scratch_open(struct ig_adapter *a, struct ig_err *err);
/* Bytes of an entry's factors, at that place of them. */
IG_MUST_CHECK bool adapter__scratch_put(struct ig_adapter *a, const struct adapter_entry *e,
                                        size_t at, const void *data, size_t bytes,
                                        struct ig_err *err);
/* The entry has been compared, and all of its factors were put. */
IG_MUST_CHECK bool adapter__scratch_mark(struct ig_adapter *a, const struct adapter_entry *e,
                                         struct ig_err *err);
/* Every entry is marked: from here on it is read. Fills the entries that were known. */
IG_MUST_CHECK bool adapter__scratch_turn(struct ig_adapter *a, struct ig_err *err);
IG_MUST_CHECK bool adapter__scratch_read(const struct ig_adapter *a, const struct adapter_entry *e,
                                         size_t at, void *to, size_t bytes, struct ig_err *err);
/* All of it is in the adapter: removes it. */
IG_MUST_CHECK bool adapter__scratch_remove(struct ig_adapter *a, struct ig_err *err);
void adapter__scratch_close(struct ig_adapter *a);
/* What a run is made of, for its journals. */
IG_MUST_CHECK bool adapter__put_origins(const struct ig_adapter *a, struct ig_buf *out,
                                        struct ig_err *err);

/* ---- adapter_plan.c ---- */

/* Opens both models and makes the list of entries. */
IG_MUST_CHECK bool adapter__plan(struct ig_adapter *a, struct ig_err *err);
/* Takes every entry for changed, for who only wants to see what is taken for what. */
void adapter__expect(struct ig_adapter *a);

/* ---- adapter_factor.c ---- */

/* Compares everything; factors of the matrices go to the scratch folder. */
IG_MUST_CHECK bool adapter__factor(struct ig_adapter *a, struct ig_err *err);

/* ---- adapter.c ---- */

/* The rows as a JSON list. */
void adapter__put_rows(const struct ig_adapter *a, struct ig_json_writer *w);

/* ---- adapter_write.c ---- */

/* Which entries are kept, and the largest rank. */
IG_MUST_CHECK bool adapter__choose(struct ig_adapter *a, struct ig_err *err);
IG_MUST_CHECK bool adapter__write(struct ig_adapter *a, struct ig_err *err);
