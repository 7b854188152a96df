/* SPDX-License-Identifier: Apache-2.0
 * store — a model directory as one list of named tensors, and the way to write one.
 *
 * Reading: ig_store_open -> ig_store_find / ig_store_at -> ig_store_read or ig_store_map -> close.
 * Writing: ig_writer_open(plan) -> put bytes at known places from any thread -> mark each finished
 *          tensor -> ig_writer_finish. Until then everything is in OUT.partial.
 * Owns:    names and tensors handed out are views, valid until close.
 * Threads: reading, put and mark are safe from many threads; open, finish and close are not.
 * Format:  docs/formats/safetensors.md. */
#pragma once
#include "ingot/dist.h"
#include "ingot/json.h"
#include "ingot/tensor.h"
#include "ingot/watch.h"

struct ig_store;

/* Opens DIR (a Hugging Face model folder: safetensors with or without an index, config.json), or a
 * single .safetensors file. Reads headers only, checks all of them. */
IG_MUST_CHECK bool ig_store_open(const char *path, struct ig_store **out, struct ig_err *err);
void ig_store_close(struct ig_store *store);
int64_t ig_store_count(const struct ig_store *store);
/* Tensors sorted by name. */
const struct ig_tensor *ig_store_at(const struct ig_store *store, int64_t index);
/* Find by exact name, or NULL: absence is not an error. */
const struct ig_tensor *ig_store_find(const struct ig_store *store, struct ig_slice name);
/* The folder as given (of a single file: the file). */
const char *ig_store_path(const struct ig_store *store);
/* File name of a shard ("model-00001-of-00002.safetensors"), for messages and inspect. */
const char *ig_store_file(const struct ig_store *store, int file);
int ig_store_file_count(const struct ig_store *store);
/* config.json, or NULL when the folder has none. */
const struct ig_json *ig_store_config(const struct ig_store *store);
/* Sum of all tensors' bytes. */
uint64_t ig_store_bytes(const struct ig_store *store);
/* A digest, as hex, over the shards' names, sizes and headers and config.json: the same wherever
 * the model is copied to. For ingot.json. */
const char *ig_store_identity(const struct ig_store *store);
/* What a run that reads the model is made of, for ig_writer_plan.origins: appends a line "PATH,
 * tab, WHAT" for each of its files; weights by size, modification time and header, config.json,
 * tokenizer and the like by content. */
IG_MUST_CHECK bool ig_store_put_origins(const struct ig_store *store, struct ig_buf *out,
                                        struct ig_err *err);
/* The same of a folder whose weights are not read. */
IG_MUST_CHECK bool ig_folder_put_origins(const char *dir, struct ig_buf *out, struct ig_err *err);
/* Odd things that were found, one per call; NULL when there are no more. */
const char *ig_store_warning(const struct ig_store *store, int index);
/* Sends all of them. */
void ig_store_warn(const struct ig_store *store, const struct ig_watch *watch);

/* Copies bytes [first, first + bytes) of a tensor to out (pread: does not grow resident memory). */
IG_MUST_CHECK bool ig_store_read(const struct ig_store *store, const struct ig_tensor *tensor,
                                 size_t first, size_t bytes, void *out, struct ig_err *err);
/* Whether the files still have the sizes and modification times of when they were opened: asked
 * before a result is believed. */
IG_MUST_CHECK bool ig_store_unchanged(const struct ig_store *store, struct ig_err *err);
/* Refuses an output in whose place the store's own files lie: replacing it would lose them. */
IG_MUST_CHECK bool ig_store_check_output(const struct ig_store *store, const char *out,
                                         struct ig_err *err);
/* The tensor's bytes in place, mapped on first use; may be unaligned. For engines that read the
 * same weights again and again. NULL on failure. */
IG_MUST_CHECK const void *ig_store_map(struct ig_store *store, const struct ig_tensor *tensor,
                                       struct ig_err *err);
/* The same without asking the system to read it ahead: for parts of which few are used, such as
 * experts. */
IG_MUST_CHECK const void *ig_store_map_lazily(struct ig_store *store,
                                              const struct ig_tensor *tensor, struct ig_err *err);

/* ---- sink: where a stream of tensors goes (a writer, a quantiser, a digest) ---- */

/* A producer calls put for consecutive or scattered chunks of tensor `index` of the plan it was
 * made for, from many threads, each chunk starting at a multiple of IG_CHUNK_ALIGN elements, in the
 * plan's dtype; then done once, after all puts of that tensor have returned. */
#define IG_CHUNK_ALIGN 128
struct ig_sink {
    void *self;
    /* False when an earlier, interrupted run finished this tensor: the producer skips it. */
    bool (*wants)(void *self, int64_t index);
    bool (*put)(void *self, int64_t index, int64_t elem_first, int64_t elems, const void *data,
                struct ig_err *err);
    bool (*done)(void *self, int64_t index, struct ig_err *err);
};

/* ---- writer ---- */

enum ig_layout {
    IG_LAYOUT_HF,  /* as safetensors' own: header padded to 8, wide types first, metadata pt */
    IG_LAYOUT_MLX, /* as mlx's: no padding, sorted header, metadata mlx, its payload order */
};

#define IG_SHARD_BYTES_MAX ((uint64_t)5 << 30)    /* mlx-lm's limit */
#define IG_SHARD_BYTES_HF  ((uint64_t)5000000000) /* "5GB" as huggingface_hub reads it */

struct ig_writer_plan {
    const char *out;                 /* final folder; must not exist unless force */
    const struct ig_tensor *tensors; /* name, dtype, shape; file and offset are ignored. In the
                                        order in which shards are filled */
    int64_t count;
    enum ig_layout layout;
    const char *file;         /* everything into one file of this name, at most 47 bytes; NULL:
                                 shards of model.safetensors */
    uint64_t shard_bytes_max; /* 0: as the layout's peer; a larger tensor gets its own shard */
    int64_t total_parameters; /* for the index's metadata; < 0: leave out */
    bool index_always;        /* write the index for one shard too (mlx-lm does) */
    struct ig_slice origins;  /* lines "NAME, tab, WHAT" of recipe and inputs: resume refuses
                                 other ones, and says the NAME of the first that differs */
    bool resume;              /* go on with OUT.partial if it is there */
    bool keep_journal;        /* one of several outputs: when it is finished, its journal stays
                                 beside it, so that a resumed run knows it, until forget */
    bool force;               /* replace an existing OUT, at the end, by rename */
    struct ig_dist *dist;     /* the ranks that write OUT together; NULL: this process alone */
    bool no_sync;             /* do not wait for the disk: after a power failure OUT may hold
                                 zeros (a killed process loses nothing) */
};

struct ig_writer;
/* Checks the disk's room, makes OUT.partial, preallocates all shards, writes their headers. */
IG_MUST_CHECK bool ig_writer_open(const struct ig_writer_plan *plan, struct ig_writer **out,
                                  struct ig_err *err);
/* Whether an earlier run finished all of OUT, and was killed before it could say so: there is
 * nothing left to write; add, carry and finish do nothing. */
bool ig_writer_is_whole(const struct ig_writer *writer);
/* Whether an earlier run finished this tensor (its digest is checked against its bytes). */
bool ig_writer_has(const struct ig_writer *writer, int64_t index);
IG_MUST_CHECK bool ig_writer_put(struct ig_writer *writer, int64_t index, size_t byte_first,
                                 const void *data, size_t bytes, struct ig_err *err);
/* All bytes of the tensor have been put: digest it, journal it. */
IG_MUST_CHECK bool ig_writer_mark(struct ig_writer *writer, int64_t index, struct ig_err *err);
/* Adds a small file (config.json, README.md, ...) to the folder. */
IG_MUST_CHECK bool ig_writer_add(struct ig_writer *writer, const char *name, struct ig_slice bytes,
                                 struct ig_err *err);
/* The tensor's digest as hex (valid after mark), for ingot.json. */
const char *ig_writer_digest(const struct ig_writer *writer, int64_t index);
/* Bytes of all files, known once open. */
uint64_t ig_writer_bytes(const struct ig_writer *writer);
/* This rank has marked its tensors: waits for the others; then rank 0 knows all digests. With one
 * rank it does nothing. */
IG_MUST_CHECK bool ig_writer_gather(struct ig_writer *writer, struct ig_err *err);
/* Every tensor is marked: sync, write the index, rename to the final name, drop the journal. */
IG_MUST_CHECK bool ig_writer_finish(struct ig_writer *writer, struct ig_err *err);
/* All outputs of a run, folders in one folder, are finished: removes the journals that keep_journal
 * left. Does nothing for a single one. */
IG_MUST_CHECK bool ig_writers_forget(struct ig_writer *const *writers, int count,
                                     struct ig_err *err);
/* Takes an output back that is whole and whose journal was kept: both go. A kill on the way leaves
 * what a resumed run goes on with, or nothing of it. */
IG_MUST_CHECK bool ig_writer_discard(struct ig_writer *writer, struct ig_err *err);
/* Whether a run that makes OUT was interrupted, before it was whole or before it could say so. */
bool ig_writer_left(const char *out);
/* What only rank 0 does: add, carry, and finish do nothing on the others. */
bool ig_writer_is_first(const struct ig_writer *writer);
/* Without finish: leaves OUT.partial and its journal for --resume. Accepts NULL. */
void ig_writer_close(struct ig_writer *writer);
/* A sink that stores tensors as they come; plan order = sink index. */
struct ig_sink ig_writer_sink(struct ig_writer *writer);
/* Carries every other file of a model folder over (tokenizer, templates, generation_config, merges,
 * licence ...): all regular files but weights, indices, config.json, README.md and hidden ones. */
IG_MUST_CHECK bool ig_writer_carry(struct ig_writer *writer, const char *model_dir,
                                   struct ig_err *err);
/* The same without the files of these names (NULL-terminated). */
IG_MUST_CHECK bool ig_writer_carry_but(struct ig_writer *writer, const char *model_dir,
                                       const char *const *names, struct ig_err *err);
