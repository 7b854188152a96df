/* SPDX-License-Identifier: Apache-2.0
 * recipe — a merge recipe as it was read, and the parameters that it gives each tensor. */
#pragma once
#include "base/arena.h"
#include "ingot/merge.h"
#include "merge/method.h"
#include "text/yaml.h"

/* ---- recipe.c ---- */

#define RECIPE_BYTES_MAX ((size_t)16 << 20)

struct recipe_model {
    struct ig_slice path;          /* folder+lora, NUL-terminated: by it two are the same */
    const char *folder;            /* or ORG/NAME[@REV] */
    const char *lora;              /* an adapter's, or NULL */
    const struct ig_recipe *stage; /* instead of a folder: the document that makes it; or NULL */
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
    bool stepwise;                        /* numerics: mergekit */
    int64_t seed;                         /* random_seed */
    enum ig_dtype dtype, out_dtype;       /* inputs are rounded to dtype; out_dtype is written */
    struct recipe_expand *expand;         /* or NULL */
    struct recipe_context *context;       /* or NULL */
    struct recipe_moe *moe;               /* dense models as experts; or NULL */
    struct recipe_tokenizer *tokenizer;   /* or NULL */
    struct recipe_transplant *transplant; /* or NULL; its donor is the last model, in no slice */
    struct ig_slice chat;                 /* a template, or "auto"; ptr NULL: the donor's */
    const struct ig_yaml *chat_at;
    bool extract;                                /* text models out of vision-language ones */
    enum merge_experts experts;                  /* layout of the output */
    int copy_from[MERGE_MODELS_MAX], copy_count; /* copy_missing_from, in the order to try */
};

/* How many of the models have a part in slices. */
static inline int merge__slice_models(const struct ig_recipe *r)
{
    return r->transplant ? r->count - 1 : r->count;
}
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
