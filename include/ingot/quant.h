/* SPDX-License-Identifier: Apache-2.0
 * quant — cast a model to MLX's quantised formats, by recipe, in one streaming pass; and back.
 *
 * A recipe is data (recipes/NAME.yaml): rules from role, name and layer to a codec, first match
 * wins. Codecs are bit-exact to mx.quantize on CPU; docs/formats/mlx.md draws their bytes,
 * docs/qx.md says what the recipes mean. Use:   ig_quantize for a folder. Another producer of
 * tensors: ig_cast_plan -> ig_cast_start -> its sink -> ig_cast_finish; ig_cast_close in any case.
 * Threads: a cast's sink is safe from many threads. */
#pragma once
#include "ingot/arch.h"
#include "ingot/store.h"

struct ig_quant_recipe;
/* By name of a built-in recipe ("qx86-hi"), or a path to a YAML file. */
IG_MUST_CHECK bool ig_quant_recipe_open(const char *name_or_path, struct ig_quant_recipe **out,
                                        struct ig_err *err);
/* name: what messages call the text. */
IG_MUST_CHECK bool ig_quant_recipe_parse(struct ig_slice text, const char *name,
                                         struct ig_quant_recipe **out, struct ig_err *err);
/* One codec for everything that can be quantised, as mlx_lm.convert -q does; what its shape forbids
 * stays as it is. bits or group_size 0: the mode's default. */
IG_MUST_CHECK bool ig_quant_recipe_uniform(struct ig_codec codec, struct ig_quant_recipe **out,
                                           struct ig_err *err);
const char *ig_quant_recipe_name(const struct ig_quant_recipe *recipe);
/* The YAML it was made from. */
struct ig_slice ig_quant_recipe_text(const struct ig_quant_recipe *recipe);
void ig_quant_recipe_free(struct ig_quant_recipe *recipe);
/* Names and summaries of the built-in recipes, NULL-terminated pairs. */
const char *const *ig_quant_recipe_list(void);

/* One row of the table that --dry-run prints: a module, or a tensor that is kept. */
struct ig_quant_row {
    struct ig_slice module; /* as in the output: "model.layers.0.mlp.switch_mlp.up_proj" */
    enum ig_role role;
    int layer;
    enum ig_dtype dtype; /* of the source */
    struct ig_codec codec;
    int64_t elems;
    uint64_t bytes;   /* as stored, scales and biases included */
    const char *rule; /* what decided, in the recipe's words; "" for what is never quantised */
};

/* What is to be written, decided before a byte is read. */
struct ig_cast_plan {
    const struct ig_quant_recipe *recipe; /* borrowed until close */
    const struct ig_tensor *tensors;      /* of the bf16, f16 or f32 source, in any order; copied */
    int64_t count;
    const struct ig_json *config;     /* the source's config.json; borrowed until finish */
    const struct ig_json *generation; /* its generation_config.json, whose eos wins; or NULL */
    enum ig_rounding rounding;
    const char *out;
    struct ig_slice origins; /* of what the tensors are made from: see struct ig_writer_plan */
    bool resume, force;
    struct ig_dist *dist; /* see struct ig_writer_plan */
    bool keep_journal;    /* one of several outputs: see struct ig_writer_plan */
    bool has_card;        /* the caller adds a README.md of its own */
};
/* The type that a tensor is cast to before it is quantised, as mlx_lm.convert decides: the config's
 * torch_dtype, else its text_config's dtype; what cannot be quantised becomes bf16. */
enum ig_dtype ig_quant_target(const struct ig_json *config, enum ig_dtype source);
struct ig_cast;
/* Plans without writing: rows and totals are available, the sink is not. */
IG_MUST_CHECK bool ig_cast_plan(const struct ig_cast_plan *plan, struct ig_cast **out,
                                struct ig_err *err);
/* Makes the output folder; after this the sink takes tensors by their index in plan->tensors. */
IG_MUST_CHECK bool ig_cast_start(struct ig_cast *cast, struct ig_err *err);
struct ig_sink ig_cast_sink(struct ig_cast *cast);
/* Which of the cast's modules a tensor of the plan goes to, or -1: what is stacked has to come from
 * one rank. */
int64_t ig_cast_module(const struct ig_cast *cast, int64_t tensor);
/* The folder's writer, to add and carry files to. */
struct ig_writer *ig_cast_writer(struct ig_cast *cast);
/* Writes config.json and README.md and finishes the folder. */
IG_MUST_CHECK bool ig_cast_finish(struct ig_cast *cast, struct ig_err *err);
/* Accepts NULL. Without finish, an unfinished folder stays for resume. */
void ig_cast_close(struct ig_cast *cast);
const struct ig_quant_row *ig_cast_rows(const struct ig_cast *cast, int64_t *count);
/* Bytes of all tensors as stored, and per weight, in bits. */
uint64_t ig_cast_bytes(const struct ig_cast *cast);
double ig_cast_bits_per_weight(const struct ig_cast *cast);
/* Things worth saying about the plan, one per call; NULL when there are no more. */
const char *ig_cast_warning(const struct ig_cast *cast, int index);

#define IG_OUTPUTS_MAX 16

struct ig_quant_job {
    const char *model, *out;
    const struct ig_quant_recipe *const *recipes;
    int recipe_count; /* 1: OUT itself; up to IG_OUTPUTS_MAX: OUT/NAME each */
    bool cast_dtype;  /* first cast floats to `dtype`; else to what config.json says, if it does */
    enum ig_dtype dtype;
    enum ig_rounding rounding;
    int threads; /* 0: one for each core */
    bool resume, force;
    struct ig_dist *dist; /* the ranks that do it together; NULL: this process alone */
};
struct ig_output_report { /* one element of "outputs" in --json */
    char recipe[64];
    char path[1024];
    uint64_t bytes;
    double bits_per_weight;
};
struct ig_job_report {
    int64_t tensors;
    uint64_t input_bytes, output_bytes, peak_bytes; /* peak resident memory of the process */
    double seconds;
    struct ig_output_report outputs[IG_OUTPUTS_MAX];
    int output_count;
};
/* Plans the job's recipe number `index` without writing, for --dry-run. Close the cast. */
IG_MUST_CHECK bool ig_quantize_plan(const struct ig_quant_job *job, int index, struct ig_cast **out,
                                    struct ig_err *err);
/* Streams MODEL once, writes every recipe's folder. */
IG_MUST_CHECK bool ig_quantize(const struct ig_quant_job *job, const struct ig_watch *watch,
                               struct ig_job_report *report, struct ig_err *err);
struct ig_dequant_job {
    const char *model, *out;
    enum ig_dtype dtype; /* of the weights written */
    int threads;         /* 0: one for each core */
    bool resume, force;
};
/* Quantised folder back to plain weights, as mlx_lm.convert -d. */
IG_MUST_CHECK bool ig_dequantize(const struct ig_dequant_job *job, const struct ig_watch *watch,
                                 struct ig_job_report *report, struct ig_err *err);

/* How a tensor of a folder is stored: the codec when it is the packed weight of a quantised module
 * (bits 0 when it is not), and whether it is the scales or biases of one. The folder's config.json
 * decides (its quantization map, by module path, else the map's own bits, group_size and mode);
 * shapes that contradict it are a data error. */
IG_MUST_CHECK bool ig_quant_stored(const struct ig_store *store, const struct ig_tensor *tensor,
                                   struct ig_codec *codec, bool *is_scale, struct ig_err *err);
