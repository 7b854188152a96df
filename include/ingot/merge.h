/* SPDX-License-Identifier: Apache-2.0
 * merge — several models into one, as a recipe says, in one streaming pass.
 *
 * Use:   ig_recipe_open -> ig_merge_plan (reads headers, checks everything) -> ig_merge_run.
 * A method is reduce, solve, map (src/merge/method.h); the driver owns reading, threads, chunks,
 * rounding, quantising, writing, the journal and the sketchbook.
 * Same recipe, same inputs: same bytes, whatever the threads, the instruction set or a resume. */
#pragma once
#include "ingot/quant.h"
#include "ingot/token.h"

struct ig_recipe;
/* Reads and checks a mergekit YAML file. Errors carry line and column. */
IG_MUST_CHECK bool ig_recipe_open(const char *path, struct ig_recipe **out, struct ig_err *err);
IG_MUST_CHECK bool ig_recipe_parse(struct ig_slice text, const char *name, struct ig_recipe **out,
                                   struct ig_err *err);
/* A file of one document or several, as mergekit-multi takes them: named ones are stages, whose
 * results the others use; the one without a name is the output. */
#define IG_RECIPES_MAX 64
struct ig_recipe_list;
IG_MUST_CHECK bool ig_recipe_list_open(const char *path, struct ig_recipe_list **out,
                                       struct ig_err *err);
IG_MUST_CHECK bool ig_recipe_list_parse(struct ig_slice text, const char *name,
                                        struct ig_recipe_list **out, struct ig_err *err);
void ig_recipe_list_free(struct ig_recipe_list *list);
int ig_recipe_list_count(const struct ig_recipe_list *list);
/* The output's recipe; its stages must have been made. */
const struct ig_recipe *ig_recipe_list_last(const struct ig_recipe_list *list);
/* The recipe by which one layer of a model becomes several copies of it (docs/surgery.md). */
struct ig_expand_ask {
    const char *model;
    int64_t copies;         /* the layer itself is one of them */
    int64_t layer;          /* -1: the last */
    const char *preset;     /* "identity", "constant:S", "ramp:A,B"; or NULL */
    const char *scales;     /* path of a table, YAML or JSON; or NULL */
    int64_t context_length; /* by YaRN; 0: as it is */
};
IG_MUST_CHECK bool ig_recipe_expand(const struct ig_expand_ask *ask, struct ig_recipe **out,
                                    struct ig_err *err);
/* The recipe by which the text model is taken out of a vision-language one. */
IG_MUST_CHECK bool ig_recipe_extract(const char *model, int64_t context_length,
                                     struct ig_recipe **out, struct ig_err *err);
/* The recipe by which a model gets another model's tokenizer (docs/surgery.md). */
struct ig_transplant_ask {
    const char *model, *donor;
    int approximation, weight_scheme, subword_method; /* indices into the lists below */
    int prefix_match, byte_match, spelling;
    bool cosine_similarity;
    int64_t k;
    double new_vocab_noise, new_vocab_scale; /* 0 and 1: none */
};
extern const char *const ig_transplant_methods[], *const ig_transplant_weights[],
                                                      *const ig_transplant_subwords[],
                                                          *const ig_transplant_allow[],
                                                              *const ig_transplant_spellings[];
IG_MUST_CHECK bool ig_recipe_transplant(const struct ig_transplant_ask *ask, struct ig_recipe **out,
                                        struct ig_err *err);
void ig_recipe_free(struct ig_recipe *recipe);

/* Runs a model, for recipes that ask what it thinks of prompts (gate_mode: hidden). This library's
 * engine stands beside merging, not below it: the caller, who has both, brings them together. */
struct ig_states_ask {
    const char *model; /* folder */
    const struct ig_ids *prompts;
    const int *groups; /* the group of each prompt */
    int count;
    bool mean; /* over a prompt's tokens; else its last token's */
    int64_t layers, hidden;
    double *out; /* groups x layers x hidden, zeroed: each prompt is added to its group's */
};
struct ig_states_runner {
    void *user;
    bool (*run)(void *user, const struct ig_states_ask *ask, struct ig_err *err);
};

struct ig_merge_job {
    const struct ig_recipe *recipe;
    const char *out;
    const struct ig_quant_recipe *const *quantize; /* NULL elements: the unquantised model */
    int quantize_count;                            /* 0: the unquantised model into OUT itself */
    int threads;                                   /* 0: one for each core */
    int64_t memory_bytes;                          /* 0: default working set */
    bool trace;                                    /* write the sketchbook into OUT */
    bool resume, force;
    struct ig_dist *dist; /* the ranks that do it together; NULL: this process alone */
    const struct ig_states_runner *states; /* NULL: recipes that need it are refused */
    bool through_disk;                     /* ig_merge_stages: none is made as it is read */
    bool plan_only; /* ig_merge_stages: refuses a stage that has to be on disk */
};

/* Tells each recipe what its stages are. A stage is made as the one that uses it reads it, with the
 * bytes that it would have on disk, where it merges and does nothing else, has one user, and that
 * one reads weights only; else it is made into OUT.stages/NAME now (of the job out, threads, memory
 * and resume count). */
IG_MUST_CHECK bool ig_merge_stages(struct ig_recipe_list *list, const struct ig_merge_job *job,
                                   const struct ig_watch *watch, struct ig_err *err);
/* Removes them. */
IG_MUST_CHECK bool ig_merge_stages_clear(const struct ig_recipe_list *list,
                                         const struct ig_merge_job *job, struct ig_err *err);

struct ig_merge;
/* Opens inputs, resolves every parameter for every tensor, sizes memory and disk. Writes nothing.
 */
IG_MUST_CHECK bool ig_merge_plan(const struct ig_merge_job *job, const struct ig_watch *watch,
                                 struct ig_merge **out, struct ig_err *err);
/* The plan in words (or JSON): tensors, inputs, method, memory and disk needed. */
IG_MUST_CHECK bool ig_merge_describe(const struct ig_merge *merge, bool json, struct ig_buf *out,
                                     struct ig_err *err);
/* The same, and what may be a mistake: configs, tokenizers, templates and types that differ, which
 * parameters reach how many tensors. */
IG_MUST_CHECK bool ig_merge_check(const struct ig_merge *merge, bool json, struct ig_buf *out,
                                  struct ig_err *err);
IG_MUST_CHECK bool ig_merge_run(struct ig_merge *merge, const struct ig_watch *watch,
                                struct ig_job_report *report, struct ig_err *err);
void ig_merge_close(struct ig_merge *merge);

/* Names and summaries of the methods, NULL-terminated pairs. */
const char *const *ig_merge_method_list(void);

/* ---- two models, tensor by tensor ---- */

struct ig_diff_row {
    struct ig_slice name;
    char only;     /* 'a', 'b': the other one lacks it; or 0 */
    bool reshaped; /* both have it, in shapes that differ */
    bool equal;    /* every number, to the bit in f32; false when only or reshaped */
    int64_t elems;
    double relative_l2; /* |A - B| / |A|; NaN, as the others, where either has NaN */
    double cosine, max_abs;
};
struct ig_diff;
/* Reads both. Experts are compared one by one; quantised weights as they are dequantised. */
IG_MUST_CHECK bool ig_diff_open(const char *a, const char *b, int threads,
                                const struct ig_watch *watch, struct ig_diff **out,
                                struct ig_err *err);
const struct ig_diff_row *ig_diff_rows(const struct ig_diff *diff, int64_t *count);
void ig_diff_close(struct ig_diff *diff);
