/* SPDX-License-Identifier: Apache-2.0
 * merge_internal — the plan, and what the driver and the files it writes share. */
#pragma once
#include "merge/method.h"
#include "merge/recipe/recipe.h"
#include "merge/sketch/sketchbook.h"
#include "merge/surgery/surgery.h"
#include "merge/views/views.h"
#include "merge/vocabulary/vocabulary.h"

#include <pthread.h>

/* ---- plan.c ---- */

/* ig_merge_plan of what is another merge's input: no tensor is MERGE_HELD. */
IG_MUST_CHECK bool merge__plan_result(const struct ig_merge_job *job, const struct ig_watch *watch,
                                      struct ig_merge **out, struct ig_err *err);

enum merge_action {
    MERGE_COPY,      /* of one model, converted if need be */
    MERGE_IDENTICAL, /* not numbers that merge: must be the same in all inputs, then copied */
    MERGE_HELD,      /* all inputs fit one thread's buffer: read once */
    MERGE_SPLIT,     /* cells that threads share; read once for every round and for the map */
    MERGE_TWIN,      /* written with the tensor that it is a copy of */
};

/* One tensor of the output that a task's values go to. */
struct merge_target {
    int64_t index;
    float scale; /* of the values, once they are rounded */
};

struct merge_task {
    enum merge_action action;
    int rows;                        /* K */
    const int *models;               /* K: which of the recipe's models each row is of */
    const struct ig_tensor **inputs; /* K; those of a copy may be NULL but for source */
    int source;
    const struct merge_target *targets; /* NULL: its own tensor, as it is */
    int target_count;
    int64_t twin; /* of MERGE_TWIN: the task that writes it */
    struct merge_common common;
    struct merge_case job;
    int64_t cell_elems, block_elems; /* of the grid on which it is worked */
};

/* Where a layer of the output is from: what config.json says layer by layer follows. */
struct merge_layer {
    int model;
    int64_t layer;
};

struct merge_output {
    const struct ig_quant_recipe *quantize; /* NULL: not quantised */
    const char *name;                       /* "none" when not quantised */
    const char *path;
    struct ig_cast *cast;      /* or NULL */
    struct ig_tensor *targets; /* the output's tensors in the types that the cast takes; or NULL */
    struct ig_writer *writer;  /* the cast's, or our own; NULL until started */
    struct ig_sink sink;
};

/* A file of the output that is made, in place of the donor's. */
struct merge_file {
    const char *name;
    struct ig_slice text;
};
#define MERGE_FILES_MAX 4

struct ig_merge {
    struct ig_arena arena;
    const struct ig_recipe *recipe;
    struct ig_merge_job job;
    struct merge_input inputs[MERGE_MODELS_MAX]; /* the recipe's models */
    struct ig_store *stores[MERGE_MODELS_MAX];   /* their folders */
    int rows_max;                                /* the largest K */
    struct merge_params *params;
    struct ig_tensor *tensors; /* of the output, in the order in which shards are filled */
    struct merge_task *tasks;  /* the same order */
    int64_t count;
    const struct merge_layer *layers; /* of the output, when slices make it; or NULL */
    int64_t layer_count;
    int64_t vocab_rows;           /* of the output; 0: the recipe asks for no tokenizer */
    const char *tokenizer_folder; /* where its files are, when that is not the donor; or NULL */
    struct merge_file files[MERGE_FILES_MAX];
    int file_count;
    struct transplant *transplant; /* or NULL */
    const struct ig_watch *watch;  /* while it runs, for what takes long when it is read; or NULL */
    pthread_mutex_t *watch_lock;
    int donor;                      /* whose config.json and other files are taken */
    const struct ig_json *config;   /* as it is to be written, or NULL */
    struct ig_json_doc *generation; /* the donor's generation_config.json, for casts; or NULL */
    struct ig_slice origins;        /* see struct ig_writer_plan */
    int threads;
    size_t thread_bytes;                      /* each thread's buffer of inputs */
    size_t whole_bytes;                       /* methods' memory for a tensor that threads share */
    size_t held_bytes;                        /* the same, for one that is one thread's */
    int64_t cell_elems, block_elems, tallies; /* the largest of any task */
    uint64_t input_bytes, output_bytes;
    struct merge_output outputs[IG_OUTPUTS_MAX];
    int output_count;
};

/* Elements in one cell of the grid on which sums are taken and outputs are put: a cell of a few
 * models stays in the second-level cache between its read and the arithmetic. */
#define MERGE_CELL 65536
/* The longest row that a method which wants whole rows may have in a block. */
#define MERGE_ROW_MAX ((int64_t)1 << 20)
/* A method's memory for a tensor that a thread holds, at least, and an eighth of what it holds;
 * tensors that need more are split. */
#define MERGE_HELD_MEMORY ((size_t)1 << 20)

/* ---- join.c: which tensors of the inputs make one of the output ---- */

struct merge_entry {
    struct ig_slice name; /* of the output */
    int slice;
    const struct ig_tensor **inputs; /* K of the slice */
    const struct ig_tensor *first;   /* the donor's, or the first row's that has it */
    const struct ig_arch *arch;      /* for sorting */
    double t;
    int64_t layer;       /* of the output; -1: in none */
    size_t digits, rest; /* where its number stands in the name, and what follows it */
    int64_t group;       /* the same for the copies of one tensor */
    int twin;            /* which copy it is; 0: the tensor itself */
    double scale;        /* of what was merged */
};
/* The name by which tensors of different models are the same; ptr is NULL when memory ran out. */
struct ig_slice merge__key(struct ig_arena *arena, struct ig_slice name);
/* Gives the entry's name another layer's number. */
IG_MUST_CHECK bool merge__renumber(struct ig_arena *arena, struct merge_entry *e, int64_t layer,
                                   struct ig_err *err);
/* In the order in which the model declares its tensors; in the arena. */
IG_MUST_CHECK bool merge__join(struct ig_merge *m, struct ig_arena *arena,
                               struct merge_entry **entries, int64_t *count, struct ig_err *err);

/* ---- outputs.c: the folders to write ---- */

IG_MUST_CHECK bool merge__outputs_plan(struct ig_merge *m, struct ig_err *err);
/* Makes the partial folders; sinks work after this. */
IG_MUST_CHECK bool merge__outputs_start(struct ig_merge *m, struct ig_err *err);
/* ranks.c: the rank of each tensor, to be freed; NULL when there is one rank. */
IG_MUST_CHECK bool merge__share(const struct ig_merge *m, int **owner, struct ig_err *err);
/* Waits for the other ranks: then rank 0 knows what they wrote. */
IG_MUST_CHECK bool merge__outputs_gather(struct ig_merge *m, struct ig_err *err);
/* The path of the first output that an interrupted run did not finish, once started; or NULL. */
const char *merge__unfinished_output(const struct ig_merge *m);
/* Adds config.json and the other files, gives the folders their names. sketchbook.len 0: none. */
IG_MUST_CHECK bool merge__outputs_finish(struct ig_merge *m, struct ig_slice sketchbook,
                                         struct ig_err *err);
void merge__outputs_close(struct ig_merge *m);
uint64_t merge__output_bytes(const struct ig_merge *m, int output);

/* ---- config.c ---- */

/* The text model's part of a config.json: its text_config, or itself. NULL for NULL. */
const struct ig_json *merge__text_config(const struct ig_json *config);
/* Says when the output's layers no longer alternate as the config's numbers say. */
void merge__warn_layers(const struct ig_merge *m, const struct ig_watch *watch);
/* How many layers it says there are; -1: nothing. */
int64_t merge__config_layers(const struct ig_json *config);
/* A copy to edit; its members, by key (NULL: none), are edited in place. */
IG_MUST_CHECK bool merge__config_copy(const struct ig_json *node, struct ig_arena *arena,
                                      struct ig_json **out, struct ig_err *err);
struct ig_json *merge__config_find(const struct ig_json *object, const char *key);
void merge__config_drop(struct ig_json *object, const char *key);
IG_MUST_CHECK bool merge__config_set(struct ig_json *object, const char *key, struct ig_json value,
                                     struct ig_arena *arena, struct ig_err *err);
/* The donor's config.json made true for the output, in the arena; NULL in *out when it has none. */
IG_MUST_CHECK bool merge__make_config(const struct ig_merge *m, struct ig_arena *arena,
                                      const struct ig_json **out, struct ig_err *err);

/* ---- files.c: what is written beside the weights ---- */

void merge__write_card(const struct ig_merge *m, const struct merge_output *output,
                       struct ig_buf *out);
void merge__write_provenance(const struct ig_merge *m, const struct merge_output *output,
                             struct ig_buf *out);
/* First line of the sketchbook: recipe and inputs. */
void merge__write_sketch_head(const struct ig_merge *m, struct ig_buf *out);

/* ---- load.c: from stored bytes to rows, blocks and sums ---- */

/* What one thread works in, allocated once. */
struct merge_worker {
    unsigned char *raw;    /* thread_bytes */
    unsigned char *cell;   /* one cell of output, in its dtype */
    unsigned char *scaled; /* the same, times a target's scale */
    unsigned char *recast; /* the same in a cast's dtype */
    float *rows[MERGE_MODELS_MAX];
    float *spare[MERGE_MODELS_MAX + 3];
    float *out;
    int64_t passed[2 * MERGE_MODELS_MAX]; /* see struct merge_block */
    double (*lanes)[IG_ROWS_LANES];
    uint64_t *tallies;
    void *state;
    void *held;   /* the method's memory for a tensor */
    void *memory; /* that all of these point into */
};

struct merge_engine {
    const struct ig_merge *m;
    struct ig_rows_ops rows;
    struct ig_convert_ops convert;
    struct ig_masks_ops masks;
};

/* A cell of one task: the stored bytes of each input, and which elements they are. */
struct merge_cell {
    const struct merge_task *task;
    const unsigned char *raw[MERGE_MODELS_MAX];
    int64_t index, part, first, count;
    void *memory; /* the method's, or NULL */
};

int64_t merge__cell_count(const struct merge_task *task);
uint64_t merge__worker_bytes(const struct ig_merge *m);
IG_MUST_CHECK bool merge__worker_new(const struct ig_merge *m, struct merge_worker *out,
                                     struct ig_err *err);
void merge__worker_free(struct merge_worker *worker);
/* One round over a cell: sums[0 .. count), and w->tallies. */
void merge__reduce_cell(const struct merge_engine *e, struct merge_worker *w,
                        const struct merge_cell *cell, const void *state, int round, double *sums,
                        int count);
/* The cell's output into w->cell. False when some value is not finite, or not in its dtype. */
bool merge__map_cell(const struct merge_engine *e, struct merge_worker *w,
                     const struct merge_cell *cell, const void *state);
/* A cell's numbers in another dtype; valid until the next call. NULL: they are too large for it. */
const void *merge__recast(const struct merge_engine *e, struct merge_worker *w, const void *data,
                          int64_t count, enum ig_dtype from, enum ig_dtype to, struct ig_err *err);
/* A cell's numbers times a factor, rounded again; valid until the next call. NULL as above. */
const void *merge__rescale(const struct merge_engine *e, struct merge_worker *w, const void *data,
                           int64_t count, enum ig_dtype dtype, float scale, struct ig_err *err);
/* Always false: the values of a tensor are too large for its dtype. */
bool merge__fail_narrow(enum ig_dtype dtype, struct ig_err *err);
/* How many of an input's values in the cell are NaN or infinite. */
int64_t merge__count_nonfinite(const struct merge_engine *e, struct merge_worker *w,
                               const struct merge_cell *cell, int input);

/* ---- cells.c: one cell of a task's grid ---- */

IG_MUST_CHECK bool merge__engine_init(struct merge_engine *e, const struct ig_merge *m,
                                      struct ig_err *err);
/* The method's memory for the task, its tallies, and how many numbers a round adds up. */
size_t merge__memory_of(const struct ig_merge *m, const struct merge_task *task);
int64_t merge__tallies_of(const struct ig_merge *m, const struct merge_task *task);
int merge__sums_of(const struct ig_merge *m, const struct merge_task *task, const void *state,
                   int round);
/* Of `parts` of consecutive cells: part p starts at cell p cells / parts. */
int64_t merge__part_of(const struct ig_merge *m, const struct merge_task *task, int64_t index);
struct merge_cell merge__cell_at(const struct merge_task *task, int64_t index, void *memory);
/* Reads one input's part of the cell to `to`; of all inputs to w->raw. */
IG_MUST_CHECK bool merge__read_input(const struct merge_engine *e, struct merge_cell *cell,
                                     int input, unsigned char *to, struct ig_err *err);
IG_MUST_CHECK bool merge__read_cell(const struct merge_engine *e, const struct merge_worker *w,
                                    struct merge_cell *cell, struct ig_err *err);
/* Of MERGE_COPY and MERGE_IDENTICAL: the source's part, in the output's dtype. */
IG_MUST_CHECK bool merge__copy_cell(const struct merge_engine *e, struct merge_worker *w,
                                    struct merge_cell *cell, const void **out, struct ig_err *err);
/* Something came out infinite or NaN: says which inputs hold such values. Always false. */
bool merge__refuse_nonfinite(const struct merge_engine *e, struct merge_worker *w,
                             const struct merge_task *task, struct ig_err *err);
bool merge__all_finite(const double *sums, int count);
/* ig_err_within of the tensor, unless the message begins with it. Always false. */
bool merge__within_tensor(struct ig_slice name, struct ig_err *err);
