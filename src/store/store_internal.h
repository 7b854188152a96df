/* SPDX-License-Identifier: Apache-2.0
 * store_internal — what the room's own files share. Format: docs/formats/safetensors.md. */
#pragma once
#include "base/arena.h"
#include "base/digest.h"
#include "base/file.h"
#include "ingot/store.h"

#include <time.h>

#define STORE_LENGTH_BYTES     8                     /* the u64 that a file starts with */
#define STORE_HEADER_BYTES_MAX ((uint64_t)100000000) /* MAX_HEADER_SIZE of the official package */
#define STORE_INDEX_BYTES_MAX  ((size_t)256 << 20)   /* 70 bytes a tensor: 3.8 million tensors */
#define STORE_CONFIG_BYTES_MAX ((size_t)16 << 20)
#define STORE_FILES_MAX        4096
#define STORE_INDEX_NAME       "model.safetensors.index.json"
#define STORE_CONFIG_NAME      "config.json"
#define STORE_SINGLE_NAME      "model.safetensors"
#define STORE_SUFFIX           ".safetensors"
#define JOURNAL_NAME           "ingot.journal"

/* ---- safetensors.c: one header ---- */

/* The header's length out of a file's first bytes (count of them, at most 8 are looked at). */
IG_MUST_CHECK bool store__header_length(const unsigned char *first, uint64_t file_bytes,
                                        uint64_t *out, struct ig_err *err);
/* Checks and reads the JSON of a header. Tensors come sorted by name, their offsets counted from
 * the start of the file, names and array in the arena; ig_tensor.file is left 0. */
IG_MUST_CHECK bool store__header_parse(struct ig_slice json, uint64_t file_bytes,
                                       struct ig_arena *arena, struct ig_tensor **tensors,
                                       int64_t *count, struct ig_err *err);
int store__compare_names(const void *a, const void *b); /* of struct ig_tensor, for qsort */

/* ---- store_index.c: which files a folder's model is in ---- */

struct store_files {
    struct ig_slice *names; /* NUL-terminated, sorted, in the arena */
    int count;
    const struct ig_json *map; /* its weight_map: tensor -> file name; NULL without an index */
    const char *warning;       /* or NULL */
};
IG_MUST_CHECK bool store__find_files(const char *dir, struct ig_arena *arena,
                                     struct store_files *out, struct ig_err *err);

/* ---- shards.c: where each tensor of an output goes ---- */

struct store_place {
    int shard;
    uint64_t offset; /* from the start of the shard's file */
    size_t bytes;
};
struct store_shard {
    char name[48];
    struct ig_slice header; /* with its 8 bytes of length */
    uint64_t bytes;         /* of the whole file */
    int64_t first, count;   /* of the plan's tensors */
};
struct store_shards {
    struct store_place *places; /* one for each tensor of the plan */
    struct store_shard *shards;
    int count;
    uint64_t data_bytes; /* sum of all tensors */
};
IG_MUST_CHECK bool store__shards_plan(const struct ig_writer_plan *plan, struct ig_arena *arena,
                                      struct store_shards *out, struct ig_err *err);
/* model.safetensors.index.json, as the layout's peer writes it. */
IG_MUST_CHECK bool store__shards_index(const struct ig_writer_plan *plan,
                                       const struct store_shards *shards, struct ig_buf *out,
                                       struct ig_err *err);

/* ---- origins.c: what a run is made of ---- */

struct store_mark { /* what a file of weights is known by; in store.c */
    uint64_t bytes;
    struct timespec changed;
    struct ig_digest header;
};
/* The folder that the files are in. */
const char *store__file_mark(const struct ig_store *store, int file, struct store_mark *out);
void store__origins_feed(struct ig_digest_state *state, struct ig_slice origins);
/* The label of the first line that differs; false when none does, or when it has no label. */
bool store__origins_differ(struct ig_slice before, struct ig_slice now, struct ig_slice *label);

/* ---- mlx_order.c ---- */

/* order[i] is the index of the i-th name in the iteration order of libstdc++'s
 * unordered_map<string, ...> after inserting the names one by one. Names are distinct. */
IG_MUST_CHECK bool store__mlx_order(const struct ig_slice *names, int64_t count, int64_t *order,
                                    struct ig_err *err);

/* ---- journal.c: which tensors of OUT.partial are whole ---- */

struct store_journal {
    int fd;     /* -1: closed */
    int dir_fd; /* -1: closed. Holds the lock that keeps a second writer out. */
    char path[IG_PATH_MAX];
    char aside[IG_PATH_MAX]; /* DIR.journal: where it waits while DIR gets its final name */
};
/* One finished tensor as the journal says. */
typedef bool store__journal_each(void *user, struct ig_slice name, struct ig_digest digest,
                                 struct ig_err *err);
/* Says where the journal of the folder dir is; of rank 1 and on: its own, ingot.journal.RANK. */
IG_MUST_CHECK bool store__journal_name(struct store_journal *journal, const char *dir, int rank,
                                       struct ig_err *err);
/* Locks the folder (patient: waits two seconds for it), tells whether it has a journal. One that
 * was set aside by a run that was killed before the folder was renamed comes back, if the folder is
 * `occupied`; else it is stale and goes.
 */
IG_MUST_CHECK bool store__journal_open(struct store_journal *journal, const char *dir, bool patient,
                                       bool occupied, bool *exists, struct ig_err *err);
/* Moves it out of the folder, which is whole. It stays until it is forgotten, so that a kill at any
 * moment leaves either a folder that can be gone on with or a whole one that is known to be. */
IG_MUST_CHECK bool store__journal_set_aside(struct store_journal *journal, struct ig_err *err);
IG_MUST_CHECK bool store__journal_forget(const struct store_journal *journal, struct ig_err *err);
/* Opens the journal's file, making it if need be. */
IG_MUST_CHECK bool store__journal_create(struct store_journal *journal, struct ig_err *err);
/* Empties it and writes its first line, which names the plan, and those of the origins. */
IG_MUST_CHECK bool store__journal_start(struct store_journal *journal, struct ig_digest plan,
                                        struct ig_slice origins, struct ig_err *err);
/* The origins that it was started with, whatever its plan is; what it says up to a damaged line. */
IG_MUST_CHECK bool store__journal_origins(const struct store_journal *journal, struct ig_buf *out,
                                          struct ig_err *err);
/* Calls each for every whole line; a torn or damaged one and all after it are cut off. same_plan is
 * false when the first line names another plan: then nothing else is read. */
IG_MUST_CHECK bool store__journal_replay(struct store_journal *journal, struct ig_digest plan,
                                         store__journal_each *each, void *user, bool *same_plan,
                                         struct ig_err *err);
/* The same of one that is set aside; nothing is cut. */
IG_MUST_CHECK bool store__journal_replay_aside(const struct store_journal *journal,
                                               struct ig_digest plan, store__journal_each *each,
                                               void *user, bool *same_plan, struct ig_err *err);
IG_MUST_CHECK bool store__journal_add(struct store_journal *journal, struct ig_slice name,
                                      struct ig_digest digest, struct ig_err *err);
/* Whether it has a line of a tensor, or cannot be read. */
bool store__journal_has_tensors(const struct store_journal *journal);
void store__journal_close(struct store_journal *journal);
