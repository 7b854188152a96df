/* SPDX-License-Identifier: Apache-2.0
 * method — a merge method is reduce, solve, map; the driver owns everything else.
 *
 * For each output tensor and each round r while sums(r) >= 0:
 *     reduce  adds up sums(r) numbers over the tensor, and counts in tallies, block by block, from
 *             the K input rows;
 *     solve   turns them into the method's state.
 * Then map writes the output from the rows and the state, block by block. Blocks are on a fixed
 * grid and are added in a fixed order, so the bytes do not depend on threads or on the instruction
 * set. Tallies are whole numbers, which may be added in any order.
 *
 * A method may ask for blocks that are whole rows of the tensor (row), and for memory of its own
 * for each tensor (memory_bytes), which it lays out as it likes: by cell, by row, by column.
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
#include "tensor/kernels/convert.h"
#include "tensor/kernels/masks.h"
#include "tensor/kernels/rows.h"

#define MERGE_MODELS_MAX 64

enum merge_rows { MERGE_ROWS_PLAIN, MERGE_ROWS_DELTA };
#define MERGE_ROUND_MAP (-1)
enum merge_base {
    MERGE_BASE_INPUT,    /* the base is an input like the others; -1 when the recipe names none */
    MERGE_BASE_OPTIONAL, /* not an input but an origin: row 0 when the recipe names one */
    MERGE_BASE_REQUIRED, /* the same, and the recipe must */
};

/* One tensor that is to be made, with its parameters resolved. */
struct merge_case {
    const struct merge_method *method;
    const struct ig_tensor *tensor; /* of the output: name, shape, elems */
    struct ig_place place;
    int models;                         /* K */
    const struct ig_slice *model_names; /* as the recipe writes them, in row order */
    int base;                           /* row of the base model; -1: the recipe has none */
    const void *options;                /* the method's struct, filled from its table */
    const unsigned char *model_options; /* K of the method's structs for one model, in row order */
    int sign_ref;                       /* check may set it: rows are aligned to this one; -1 */
    enum ig_dtype numerics; /* the type to which mergekit would round after every step; IG_F32 when
                               it would not, or was not asked for */
    uint64_t seed;          /* of random methods: the recipe's random_seed and the tensor's name */
};

struct merge_block {
    const struct merge_case *job;
    const struct ig_rows_ops *ops;
    const struct ig_convert_ops *convert;
    const struct ig_masks_ops *masks;
    const float *const *rows; /* K */
    float *const *spare;      /* K + 3 rows of scratch, each right behind the one before it */
    int64_t count;            /* padded to a multiple of 16 */
    int64_t elems;            /* that really are in it */
    int64_t first;            /* the first one's index in the tensor */
    int64_t part;             /* of a reduction (parts) */
    int64_t cell;             /* the cell that the block is in; one thread takes a cell's blocks in
                                 order */
    void *memory;             /* of memory_bytes, or NULL; a map changes nothing in it, so that a
                                 cell can be mapped again */
    int64_t *passed;          /* of this thread: 2 K numbers, 0 at each cell's first block */
    uint64_t *tallies;        /* of this thread; NULL in a map */
};

/* What a round over the tensor found. */
struct merge_totals {
    const double *sums;
    const uint64_t *tallies;
    void *memory;
    int64_t cells;
    struct ig_pool *pool; /* NULL when the tensor is one thread's; never for a pooled method */
};

/* Sends each warning once in a job, however many tensors it concerns. */
struct merge_notes {
    const struct ig_watch *watch;
    unsigned sent;
};
void merge__warn_once(struct merge_notes *notes, unsigned bit, const char *text);

struct merge_method {
    const char *name, *summary;
    const char *source;  /* where the method is from */
    const void *variant; /* what tells methods of one file apart */
    const struct ig_opt *options;
    size_t options_bytes;
    const struct ig_opt *model_options; /* each model's own parameters; NULL: none */
    size_t model_options_bytes;
    const char *const *required; /* parameters without a default, NULL-terminated; or NULL */
    const char *const *lists;   /* parameters whose YAML list is a value, not a gradient; or NULL */
    int models_min, models_max; /* base included, unless it is optional */
    enum merge_base base;
    bool random;   /* uses the seed */
    bool stepwise; /* rounds after every step when job->numerics says so */
    bool pooled;   /* solve of a tensor with memory wants the pool */
    size_t state_bytes;

    /* Checks parameters against each other, before a byte is read. May be NULL. */
    bool (*check)(struct merge_case *job, struct merge_notes *notes, struct ig_err *err);
    /* Whether the output is the first row as it is stored: copied, not computed. May be NULL. */
    bool (*copies)(const struct merge_case *job);
    /* Bytes of memory for the tensor, which has that many cells. Zeroed. NULL: none. */
    int64_t (*memory_bytes)(const struct merge_case *job, int64_t cells);
    /* Elements of a row, when every block has to be a whole one; 0: any block will do. May be NULL.
     */
    int64_t (*row)(const struct merge_case *job);
    /* Into how many parts of consecutive cells a reduction falls, each one thread's from its first
     * block to its last; 0: a part is a cell. May be NULL. */
    int64_t (*parts)(const struct merge_case *job, int64_t cells);
    /* The most tallies that any round counts. NULL: none. */
    int64_t (*tallies)(const struct merge_case *job);
    /* What the rows of a round, or of the map, are. NULL: plain always. */
    enum merge_rows (*rows)(const struct merge_case *job, const void *state, int round);
    /* How many numbers the round adds up; -1: no such round. NULL: none at all. */
    int (*sums)(const struct merge_case *job, const void *state, int round);
    void (*reduce)(const struct merge_block *block, const void *state, int round,
                   double (*sums)[IG_ROWS_LANES]);
    bool (*solve)(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err);
    /* out may be one of the spare rows' neighbours, never a row. */
    void (*map)(const struct merge_block *block, const void *state, float *out);
    /* Members of the sketchbook's line. May be NULL. */
    void (*trace)(const struct merge_case *job, const void *state, struct ig_json_writer *w);
};

/* By name, or NULL. */
const struct merge_method *merge__method_find(struct ig_slice name);
/* All of them, NULL-terminated. */
extern const struct merge_method *const merge__methods[];

/* Where job->numerics rounds, so do these; else they change nothing. */
void merge__round(const struct merge_block *block, float *row);
float merge__round_one(enum ig_dtype numerics, float value);

/* Eight lanes to their sum, in the order that every sum takes. */
static inline double merge__lane_sum(const double *l)
{
    return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

/* Members of a sketchbook line. */
void merge__put_reals(struct ig_json_writer *w, const char *key, const double *values, int count);

/* The elements of a tensor's rows: the last dimension; of a vector or scalar, all of it. */
static inline int64_t merge__row_elems(const struct ig_tensor *t)
{
    return t->rank > 1 ? t->shape[t->rank - 1] : t->elems;
}

static inline const void *merge__model_option(const struct merge_case *job, size_t bytes, int row)
{
    return job->model_options + (size_t)row * bytes;
}
