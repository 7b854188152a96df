/* SPDX-License-Identifier: Apache-2.0
 * method — a merge method is reduce, solve, map; the driver owns everything else.
 *
 * For each output tensor and each round r while sums(r) >= 0:
 *     reduce  adds up sums(r) numbers over the tensor, block by block, from the K input rows;
 *     solve   turns them into the method's state.
 * Then map writes the output from the rows and the state, block by block. Blocks are on a fixed
 * grid and are added in a fixed order, so the bytes do not depend on threads or on the instruction
 * set.
 *
 * Rows are f32, aligned, padded with zeros to a multiple of 16 elements (kernels/rows.h). A method
 * with MERGE_ROWS_DELTA gets x_1, x_2 - x_1, ..., x_K - x_1: finetunes of one base differ by
 * little, and in that basis their inner products keep their digits.
 *
 * Adding one: methods/NAME.c with `const struct merge_method merge__NAME`, and the word NAME in
 * meson.build. Everything but solve and trace must be safe from many threads. */
#pragma once
#include "base/thread.h"
#include "ingot/arch.h"
#include "ingot/json.h"
#include "ingot/merge.h"
#include "ingot/opt.h"
#include "tensor/kernels/rows.h"

#define MERGE_MODELS_MAX 64

enum merge_rows { MERGE_ROWS_PLAIN, MERGE_ROWS_DELTA };
#define MERGE_ROUND_MAP (-1)
enum merge_base { MERGE_BASE_INPUT, MERGE_BASE_REQUIRED };

/* One tensor that is to be made, with its parameters resolved. */
struct merge_case {
    const struct ig_tensor *tensor; /* of the output: name, shape, elems */
    struct ig_place place;
    int models;                         /* K */
    const struct ig_slice *model_names; /* as the recipe writes them, in row order */
    int base;                           /* row of the base model; -1: the recipe has none */
    const void *options;                /* the method's struct, filled from its table */
    const unsigned char *model_options; /* K of the method's structs for one model, in row order */
    int sign_ref;                       /* check may set it: rows are aligned to this one; -1 */
};

struct merge_block {
    const struct merge_case *job;
    const struct ig_rows_ops *ops;
    const float *const *rows; /* K */
    float *const *spare;      /* K + 1 rows of scratch */
    int64_t count;            /* padded to a multiple of 16 */
    float *whole;        /* this block's part of the whole-tensor buffer, or NULL; not padded */
    int64_t whole_count; /* elements that really are in it */
};

/* Sends each warning once in a job, however many tensors it concerns. */
struct merge_notes {
    const struct ig_watch *watch;
    unsigned sent;
};
void merge__warn_once(struct merge_notes *notes, unsigned bit, const char *text);

struct merge_method {
    const char *name, *summary;
    const char *source; /* where the method is from */
    const struct ig_opt *options;
    size_t options_bytes;
    const struct ig_opt *model_options; /* each model's own parameters; NULL: none */
    size_t model_options_bytes;
    const char *const *required; /* parameters without a default, NULL-terminated; or NULL */
    const char *const *lists;   /* parameters whose YAML list is a value, not a gradient; or NULL */
    int models_min, models_max; /* base included */
    enum merge_base base;       /* REQUIRED: and it is row 0 */
    size_t state_bytes;

    /* Checks parameters against each other, before a byte is read. May be NULL. */
    bool (*check)(struct merge_case *job, struct merge_notes *notes, struct ig_err *err);
    /* Bytes of memory for the whole tensor (elems f32 first), 0: none. May be NULL. */
    int64_t (*whole_bytes)(const struct merge_case *job);
    /* What the rows of a round, or of the map, are. NULL: plain always. */
    enum merge_rows (*rows)(const struct merge_case *job, const void *state, int round);
    /* How many numbers the round adds up; -1: no such round. NULL: none at all. */
    int (*sums)(const struct merge_case *job, const void *state, int round);
    void (*reduce)(const struct merge_block *block, const void *state, int round,
                   double (*sums)[IG_ROWS_LANES]);
    /* whole: the buffer of whole_bytes, or NULL. pool is NULL inside a task. */
    bool (*solve)(const struct merge_case *job, void *state, int round, const double *sums,
                  float *whole, struct ig_pool *pool, struct ig_err *err);
    /* out may be one of the spare rows' neighbours, never a row. */
    void (*map)(const struct merge_block *block, const void *state, float *out);
    /* Members of the sketchbook's line. May be NULL. */
    void (*trace)(const struct merge_case *job, const void *state, struct ig_json_writer *w);
};

/* By name, or NULL. */
const struct merge_method *merge__method_find(struct ig_slice name);
/* All of them, NULL-terminated. */
extern const struct merge_method *const merge__methods[];

static inline const void *merge__model_option(const struct merge_case *job, size_t bytes, int row)
{
    return job->model_options + (size_t)row * bytes;
}
