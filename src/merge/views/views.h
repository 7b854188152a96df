/* SPDX-License-Identifier: Apache-2.0
 * views — the tensors of one input as a recipe sees them: those that are stored, and those that
 * are made as they are read: unpacked, scaled, split, joined, adapted. */
#pragma once
#include "base/arena.h"
#include "base/map.h"
#include "ingot/store.h"
#include "tensor/kernels/convert.h"

struct ig_merge;

struct merge_result;
struct merge_task;
struct ig_pool;

/* A model as the recipe means it. */
struct merge_input {
    struct ig_store *store, *adapter; /* adapter: a LoRA's, or NULL */
    struct merge_result *result;      /* of another document, whose donor's the store is; or NULL */
    const struct ig_json *config;     /* or NULL */
    const struct ig_tensor **tensors; /* of the store, and views */
    int64_t count;
    struct ig_map by_name; /* name -> index into tensors */
    struct ig_convert_ops convert;
};

/* ---- input.c: a model's tensors, and views of them ---- */

#define MERGE_VIEW_PART 4096 /* elements that a view converts at once, on the stack */

/* A tensor that is made as it is read. */
struct merge_view {
    struct ig_tensor tensor; /* first; its file is -1 */
    enum ig_dtype like;      /* what it is written as when the recipe does not say */
    bool (*read)(const struct merge_input *in, const struct merge_view *view, int64_t first,
                 int64_t count, void *to, struct ig_err *err);
    const void *own;
};
/* printf into the arena; ptr is NULL when memory ran out. */
struct ig_slice merge__name(struct ig_arena *arena, const char *format, ...) IG_PRINTF(2, 3);
/* With the other tensor's shape and type; set read and own. NULL on failure. */
struct merge_view *merge__view_new(struct ig_arena *arena, const struct ig_tensor *like,
                                   struct ig_slice name, struct ig_err *err);
/* elems and bytes from shape and dtype. */
IG_MUST_CHECK bool merge__view_size(struct merge_view *v, struct ig_err *err);
/* NULL for a tensor of a folder. */
const struct merge_view *merge__view_of(const struct ig_tensor *t);
enum ig_dtype merge__stored_dtype(const struct ig_tensor *t);
/* Elements in the tensor's dtype. Safe from many threads. */
IG_MUST_CHECK bool merge__input_read(const struct merge_input *in, const struct ig_tensor *t,
                                     int64_t first, int64_t count, void *to, struct ig_err *err);
IG_MUST_CHECK bool merge__input_read_f32(const struct merge_input *in, const struct ig_tensor *t,
                                         int64_t first, int64_t count, float *to,
                                         struct ig_err *err);
const struct ig_tensor *merge__input_find(const struct merge_input *in, struct ig_slice name);
/* After tensors have changed. */
IG_MUST_CHECK bool merge__input_index(struct merge_input *in, struct ig_err *err);
/* A folder, or the Hub's. */
IG_MUST_CHECK bool merge__find_folder(const char *path, struct ig_buf *folder, struct ig_err *err);
/* All of the recipe's models. */
IG_MUST_CHECK bool merge__inputs_open(struct ig_merge *m, const struct ig_watch *watch,
                                      struct ig_err *err);
void merge__inputs_close(struct ig_merge *m);
/* The model's folder, or the name of the document whose result it is. */
const char *merge__input_name(const struct ig_merge *m, int model);
/* ig_store_put_origins and ig_store_unchanged of all that it is made of. */
IG_MUST_CHECK bool merge__input_put_origins(const struct merge_input *in, struct ig_buf *out,
                                            struct ig_err *err);
IG_MUST_CHECK bool merge__input_unchanged(const struct merge_input *in, struct ig_err *err);

/* ---- result.c: what another document makes, computed as it is read ---- */

IG_MUST_CHECK bool merge__result_open(struct ig_merge *m, int model, const struct ig_watch *watch,
                                      struct ig_err *err);
void merge__result_close(struct merge_result *result);
/* The merge that makes the input; NULL of a folder. */
const struct ig_merge *merge__result_of(const struct merge_input *in);
/* The memory of all inputs that are results: how much, and taking it. */
uint64_t merge__results_bytes(const struct ig_merge *m);
IG_MUST_CHECK bool merge__results_ready(struct ig_merge *m, struct ig_err *err);
/* Before a task that all threads share: what of its inputs is best solved by all threads, is. */
IG_MUST_CHECK bool merge__results_solve(const struct ig_merge *m, const struct merge_task *task,
                                        struct ig_pool *pool, struct ig_err *err);

/* ---- the views: float8.c, lora.c, extract.c, experts.c ---- */

IG_MUST_CHECK bool merge__apply_packed(struct ig_merge *m, struct merge_input *in,
                                       struct ig_err *err);
IG_MUST_CHECK bool merge__apply_float8(struct ig_merge *m, struct merge_input *in,
                                       struct ig_err *err);
IG_MUST_CHECK bool merge__apply_lora(struct ig_merge *m, struct merge_input *in,
                                     const char *reference, struct ig_err *err);
IG_MUST_CHECK bool merge__apply_extract(struct ig_merge *m, struct merge_input *in,
                                        struct ig_err *err);
/* Warns when the donor's chat template is of no use for text. */
void merge__check_template(const struct ig_merge *m, const struct ig_watch *watch);
/* A head for models that have none, when another has one: their embedding. */
IG_MUST_CHECK bool merge__untie(struct ig_merge *m, struct ig_err *err);
IG_MUST_CHECK bool merge__split_experts(struct ig_merge *m, struct merge_input *in,
                                        struct ig_err *err);
/* One layout of experts for all inputs. */
IG_MUST_CHECK bool merge__unify_experts(struct ig_merge *m, struct ig_err *err);
