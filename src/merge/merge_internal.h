/* SPDX-License-Identifier: Apache-2.0
 * merge_internal — what recipe, plan, driver and the files they write share. */
#pragma once
#include "base/arena.h"
#include "base/map.h"
#include "ingot/store.h"
#include "merge/method.h"
#include "tensor/kernels/convert.h"
#include "text/yaml.h"

/* ---- recipe.c ---- */

#define RECIPE_BYTES_MAX ((size_t)16 << 20)

struct recipe_model {
    struct ig_slice path; /* folder+lora, NUL-terminated: by it two are the same */
    const char *folder;   /* or ORG/NAME[@REV] */
    const char *lora;     /* an adapter's, or NULL */
    const struct ig_yaml *node;
};

enum merge_experts { MERGE_EXPERTS_KEEP, MERGE_EXPERTS_SINGLE, MERGE_EXPERTS_FUSED };

/* One row of a slice. */
struct recipe_source {
    int model; /* index into models */
    const struct ig_yaml *node;
    const struct ig_yaml *parameters; /* or NULL */
    const struct ig_yaml *range;      /* NULL: the whole model */
    int64_t first, end;               /* layers of it, when there is a range */
};

/* Consecutive layers of the output; `models:` is one slice of whole models. */
struct recipe_slice {
    const struct ig_yaml *node;
    const struct ig_yaml *parameters; /* or NULL */
    struct recipe_source *sources;    /* in row order; an unlisted base comes last, or first where
                                         the method needs a base */
    int count;
    int base; /* row of the base model, or -1 */
};

struct ig_recipe {
    struct ig_arena arena;
    const char *name; /* of the file, for messages */
    struct ig_slice text;
    struct ig_slice
        title; /* by which other documents call its result; ptr NULL: it is the output */
    const struct ig_yaml *title_at;
    const struct merge_method *method;
    struct recipe_model models[MERGE_MODELS_MAX]; /* all folders, each once */
    int count;
    int base; /* index into models, or -1 */
    struct recipe_slice *slices;
    int slice_count;
    bool made;                        /* by a command, not read from a file */
    bool ranged;                      /* slices have ranges; else there is one slice */
    const struct ig_yaml *parameters; /* or NULL */
    const struct ig_yaml *module_parameters;
    bool has_dtype, has_out_dtype;
    bool stepwise;                      /* numerics: mergekit */
    int64_t seed;                       /* random_seed */
    enum ig_dtype dtype, out_dtype;     /* inputs are rounded to dtype; out_dtype is written */
    struct recipe_expand *expand;       /* or NULL */
    struct recipe_context *context;     /* or NULL */
    struct recipe_moe *moe;             /* dense models as experts; or NULL */
    struct recipe_tokenizer *tokenizer; /* or NULL */
    struct ig_slice chat;               /* a template, or "auto"; ptr NULL: the donor's */
    const struct ig_yaml *chat_at;
    bool extract;                                /* text models out of vision-language ones */
    enum merge_experts experts;                  /* layout of the output */
    int copy_from[MERGE_MODELS_MAX], copy_count; /* copy_missing_from, in the order to try */
};

IG_MUST_CHECK bool merge__check_keys(const struct ig_yaml *map, const char *const *known,
                                     struct ig_err *err);
IG_MUST_CHECK bool merge__need_text(const struct ig_yaml *node, const char *what,
                                    struct ig_err *err);
/* A model reference, as an index into models; a new one joins them. */
IG_MUST_CHECK bool merge__read_reference(struct ig_recipe *r, const struct ig_yaml *node, int *out,
                                         struct ig_err *err);
/* The map's 'parameters' into *out; an absent one leaves it. */
IG_MUST_CHECK bool merge__read_parameters(const struct ig_yaml *map, const struct ig_yaml **out,
                                          struct ig_err *err);

/* ---- reference.c ---- */

IG_MUST_CHECK bool merge__parse_reference(struct ig_arena *arena, const struct ig_yaml *node,
                                          struct recipe_model *out, struct ig_err *err);

/* ---- slices.c ---- */

/* models, slices or modules, and base_model. */
IG_MUST_CHECK bool merge__read_slices(struct ig_recipe *r, const struct ig_yaml *root,
                                      struct ig_err *err);

/* ---- expand.c ---- */

struct merge_entry;
IG_MUST_CHECK bool merge__read_expand(struct ig_recipe *r, const struct ig_yaml *root,
                                      struct ig_err *err);
/* Puts the copies of a layer among the entries, when the recipe asks for them. */
IG_MUST_CHECK bool merge__expand(struct ig_merge *m, struct ig_arena *arena,
                                 struct merge_entry **entries, int64_t *count, struct ig_err *err);

/* ---- moe.c ---- */

struct ig_merge;
bool merge__is_moe(const struct ig_yaml *root);
IG_MUST_CHECK bool merge__read_moe(struct ig_recipe *r, const struct ig_yaml *root,
                                   struct ig_err *err);
/* Gives the base the experts' MLPs and routers. */
IG_MUST_CHECK bool merge__apply_moe(struct ig_merge *m, struct ig_err *err);

/* ---- context.c ---- */

struct ig_merge;
IG_MUST_CHECK bool merge__read_context(struct ig_recipe *r, const struct ig_yaml *root,
                                       struct ig_err *err);
/* Into the text model's part of config.json. */
IG_MUST_CHECK bool merge__set_context(const struct ig_merge *m, struct ig_json *text,
                                      struct ig_arena *arena, struct ig_err *err);
/* A sentence, or nothing when the recipe does not ask for it. */
void merge__describe_context(const struct ig_merge *m, struct ig_buf *out);
void merge__warn_context(const struct ig_merge *m, const struct ig_watch *watch);

/* ---- vocabulary.c, union.c, template.c ---- */

IG_MUST_CHECK bool merge__read_tokenizer(struct ig_recipe *r, const struct ig_yaml *root,
                                         struct ig_err *err);
IG_MUST_CHECK bool merge__read_template(struct ig_recipe *r, const struct ig_yaml *root,
                                        struct ig_err *err);
/* Aligns embeddings and heads to the vocabulary that the recipe asks for, and makes its files. */
IG_MUST_CHECK bool merge__apply_tokenizer(struct ig_merge *m, const struct ig_watch *watch,
                                          struct ig_err *err);
IG_MUST_CHECK bool merge__apply_template(struct ig_merge *m, const struct ig_watch *watch,
                                         struct ig_err *err);
/* The text must live as long as the merge. */
IG_MUST_CHECK bool merge__keep_file(struct ig_merge *m, const char *name, struct ig_slice text,
                                    struct ig_err *err);

/* ---- params.c ---- */

/* Parameters that every method has; the driver's. */
struct merge_common {
    int nonfinite; /* index into refuse, zero */
};
extern const struct ig_opt merge__common_options[];
enum { MERGE_NONFINITE_REFUSE, MERGE_NONFINITE_ZERO };

/* Where a tensor stands for the purpose of filters and gradients. */
struct merge_where {
    int slice;
    struct ig_slice name;                  /* of the output: what shared parameters' filters see */
    const struct ig_tensor *const *inputs; /* K: models' own parameters see these names */
    double t;                              /* place of its layer in its slice, 0..1 */
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

/* A model as the recipe means it. */
struct merge_input {
    struct ig_store *store, *adapter; /* adapter: a LoRA's, or NULL */
    const struct ig_json *config;     /* or NULL */
    const struct ig_tensor **tensors; /* of the store, and views */
    int64_t count;
    struct ig_map by_name; /* name -> index into tensors */
    struct ig_convert_ops convert;
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
    int donor;                      /* whose config.json and other files are taken */
    const struct ig_json *config;   /* as it is to be written, or NULL */
    struct ig_json_doc *generation; /* the donor's generation_config.json, for casts; or NULL */
    struct ig_slice fingerprint;
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
/* A method's memory for a tensor that a thread holds; tensors that need more are split. */
#define MERGE_HELD_MEMORY ((size_t)1 << 20)

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
    unsigned char *scaled; /* the same, times a target's scale */
    unsigned char *recast; /* the same in a cast's dtype */
    float *rows[MERGE_MODELS_MAX];
    float *spare[MERGE_MODELS_MAX + 3];
    float *out;
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
/* The cell's output into w->cell. False when some value is not finite. */
bool merge__map_cell(const struct merge_engine *e, struct merge_worker *w,
                     const struct merge_cell *cell, const void *state);
/* A cell's numbers in another dtype; valid until the next call. */
const void *merge__recast(const struct merge_engine *e, struct merge_worker *w, const void *data,
                          int64_t count, enum ig_dtype from, enum ig_dtype to);
/* A cell's numbers times a factor, rounded again; valid until the next call. */
const void *merge__rescale(const struct merge_engine *e, struct merge_worker *w, const void *data,
                           int64_t count, enum ig_dtype dtype, float scale);
/* How many of an input's values in the cell are NaN or infinite. */
int64_t merge__count_nonfinite(const struct merge_engine *e, struct merge_worker *w,
                               const struct merge_cell *cell, int input);
