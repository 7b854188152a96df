/* SPDX-License-Identifier: Apache-2.0
 * merge_internal — what recipe, plan, driver and the files they write share. */
#pragma once
#include "base/arena.h"
#include "ingot/store.h"
#include "merge/method.h"
#include "tensor/kernels/convert.h"
#include "text/yaml.h"

/* ---- recipe.c ---- */

struct recipe_model {
    struct ig_slice path; /* NUL-terminated */
    const struct ig_yaml *node;
    const struct ig_yaml *parameters; /* or NULL */
};

struct ig_recipe {
    struct ig_arena arena;
    const char *name; /* of the file, for messages */
    struct ig_slice text;
    const struct merge_method *method;
    struct recipe_model models[MERGE_MODELS_MAX]; /* in row order; an unlisted base comes last, or
                                                     first where the method needs a base */
    int count;
    int base;                         /* its index, or -1 */
    const struct ig_yaml *parameters; /* or NULL */
    bool has_dtype, has_out_dtype;
    enum ig_dtype dtype, out_dtype; /* inputs are rounded to dtype; out_dtype is written */
    int copy_from[MERGE_MODELS_MAX], copy_count; /* copy_missing_from, in the order to try */
};

/* ---- params.c ---- */

/* Parameters that every method has; the driver's. */
struct merge_common {
    int nonfinite; /* index into refuse, zero */
};
extern const struct ig_opt merge__common_options[];
enum { MERGE_NONFINITE_REFUSE, MERGE_NONFINITE_ZERO };

/* Where a tensor stands for the purpose of filters and gradients. */
struct merge_where {
    struct ig_slice name;
    double t; /* place of its layer among its siblings, 0..1 */
};

/* Remembers which filters matched, to complain about those that never did. */
struct merge_params;
IG_MUST_CHECK bool merge__params_new(const struct ig_recipe *recipe, struct merge_params **out,
                                     struct ig_err *err);
/* Fills the method's struct, the driver's, and each model's, all in the arena of the params. */
struct merge_resolved {
    struct merge_common common;
    void *options;
    unsigned char *model_options;
};
IG_MUST_CHECK bool merge__params_resolve(struct merge_params *params,
                                         const struct merge_where *where,
                                         struct merge_resolved *out, struct ig_err *err);
/* Every filter must have matched some tensor. */
IG_MUST_CHECK bool merge__params_check_used(const struct merge_params *params,
                                            const struct ig_watch *watch, struct ig_err *err);
void merge__params_free(struct merge_params *params);

/* ---- plan.c ---- */

enum merge_action {
    MERGE_COPY,      /* of one model, converted if need be */
    MERGE_IDENTICAL, /* not numbers that merge: must be the same in all inputs, then copied */
    MERGE_HELD,      /* all inputs fit one thread's buffer: read once */
    MERGE_SPLIT,     /* cells that threads share; read once for every round and for the map */
};

struct merge_task {
    enum merge_action action;
    const struct ig_tensor **inputs; /* K; those of a copy may be NULL but for source */
    int source;
    struct merge_common common;
    struct merge_case job;
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

struct ig_merge {
    struct ig_arena arena;
    const struct ig_recipe *recipe;
    struct ig_merge_job job;
    struct ig_store *stores[MERGE_MODELS_MAX];
    struct merge_params *params;
    struct ig_tensor *tensors; /* of the output, in the order in which shards are filled */
    struct merge_task *tasks;  /* the same order */
    int64_t count;
    int donor;                      /* whose config.json and other files are taken */
    const struct ig_json *config;   /* as it is to be written, or NULL */
    struct ig_json_doc *generation; /* the donor's generation_config.json, for casts; or NULL */
    struct ig_slice fingerprint;
    int threads;
    size_t thread_bytes; /* each thread's buffer of inputs */
    size_t whole_bytes;  /* one buffer for the job */
    uint64_t input_bytes, output_bytes;
    struct merge_output outputs[IG_OUTPUTS_MAX];
    int output_count;
};

/* Elements in one cell of the grid on which sums are taken and outputs are put: a cell of a few
 * models stays in the second-level cache between its read and the arithmetic. */
#define MERGE_CELL 65536

/* ---- outputs.c: the folders to write ---- */

IG_MUST_CHECK bool merge__outputs_plan(struct ig_merge *m, struct ig_err *err);
/* Makes the partial folders; sinks work after this. */
IG_MUST_CHECK bool merge__outputs_start(struct ig_merge *m, struct ig_err *err);
/* The path of the first output that an interrupted run did not finish, once started; or NULL. */
const char *merge__unfinished_output(const struct ig_merge *m);
/* Adds config.json and the other files, gives the folders their names. sketchbook.len 0: none. */
IG_MUST_CHECK bool merge__outputs_finish(struct ig_merge *m, struct ig_slice sketchbook,
                                         struct ig_err *err);
void merge__outputs_close(struct ig_merge *m);
uint64_t merge__output_bytes(const struct ig_merge *m, int output);

/* ---- files.c: what is written beside the weights ---- */

/* The donor's config.json with the output's dtype, in the arena; NULL in *out when it has none. */
IG_MUST_CHECK bool merge__make_config(const struct ig_merge *m, struct ig_arena *arena,
                                      const struct ig_json **out, struct ig_err *err);
void merge__write_card(const struct ig_merge *m, const struct merge_output *output,
                       struct ig_buf *out);
void merge__write_provenance(const struct ig_merge *m, const struct merge_output *output,
                             struct ig_buf *out);
/* First line of the sketchbook: recipe and inputs. */
void merge__write_sketch_head(const struct ig_merge *m, struct ig_buf *out);

/* ---- sketchbook.c: lines as tensors are finished, put in order at the end ---- */

struct merge_sketch;
/* Goes on with the lines of an interrupted run. NULL when all outputs are finished. */
IG_MUST_CHECK bool merge__sketch_open(const struct ig_merge *m, struct merge_sketch **out,
                                      struct ig_err *err);
bool merge__sketch_has(const struct merge_sketch *sketch, int64_t index);
/* Safe from many threads. state: NULL when the tensor was copied. */
IG_MUST_CHECK bool merge__sketch_add(struct merge_sketch *sketch, int64_t index, const void *state,
                                     struct ig_err *err);
/* All lines in the order of the tensors; removes the working file. */
IG_MUST_CHECK bool merge__sketch_take(struct merge_sketch *sketch, struct ig_buf *out,
                                      struct ig_err *err);
void merge__sketch_close(struct merge_sketch *sketch);

/* ---- load.c: from stored bytes to rows, blocks and sums ---- */

/* What one thread works in, allocated once. */
struct merge_worker {
    unsigned char *raw;    /* thread_bytes */
    unsigned char *cell;   /* one cell of output, in its dtype */
    unsigned char *recast; /* the same in a cast's dtype */
    float *rows[MERGE_MODELS_MAX];
    float *spare[MERGE_MODELS_MAX + 1];
    float *out;
    double (*lanes)[IG_ROWS_LANES];
    void *state;
    void *memory; /* that all of these point into */
};

struct merge_engine {
    const struct ig_merge *m;
    struct ig_rows_ops rows;
    struct ig_convert_ops convert;
};

/* A cell of one task: the stored bytes of each input, and which elements they are. */
struct merge_cell {
    const struct merge_task *task;
    const unsigned char *raw[MERGE_MODELS_MAX];
    int64_t first, count;
    float *whole; /* of the tensor, or NULL */
};

uint64_t merge__worker_bytes(const struct ig_merge *m);
IG_MUST_CHECK bool merge__worker_new(const struct ig_merge *m, struct merge_worker *out,
                                     struct ig_err *err);
void merge__worker_free(struct merge_worker *worker);
/* One round over a cell: sums[0 .. count). */
void merge__reduce_cell(const struct merge_engine *e, struct merge_worker *w,
                        const struct merge_cell *cell, const void *state, int round, double *sums,
                        int count);
/* The cell's output into w->cell. False when some value is not finite. */
bool merge__map_cell(const struct merge_engine *e, struct merge_worker *w,
                     const struct merge_cell *cell, const void *state);
/* A cell's numbers in another dtype; valid until the next call. */
const void *merge__recast(const struct merge_engine *e, struct merge_worker *w, const void *data,
                          int64_t count, enum ig_dtype from, enum ig_dtype to);
/* How many of an input's values in the cell are NaN or infinite. */
int64_t merge__count_nonfinite(const struct merge_engine *e, struct merge_worker *w,
                               const struct merge_cell *cell, int input);
