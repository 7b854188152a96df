/* SPDX-License-Identifier: Apache-2.0
 * moe_internal — a configuration of experts, and their routers' rows. */
#pragma once
#include "merge/merge_internal.h"

#define EXPERTS_MAX 64

enum gate { GATE_RANDOM, GATE_UNIFORM, GATE_EMBED, GATE_HIDDEN, GATE_HIDDEN_MEAN };

struct expert {
    int model;
    double noise, residual;                    /* 0, 1: none */
    const struct ig_yaml *positive, *negative; /* lists, or NULL */
};

struct recipe_moe {
    const struct ig_yaml *at;
    enum gate gate;
    int64_t used;
    struct ig_slice architecture; /* as the recipe has it; empty: chosen */
    int count;                    /* of the experts that a router chooses from */
    bool shared;                  /* one more, for every token: experts[count] */
    bool gated;                   /* it has a router's row too: how much it counts */
    struct expert experts[EXPERTS_MAX + 1];
};

/* The experts that have a row. */
static inline int moe_rows(const struct recipe_moe *x)
{
    return x->count + x->gated;
}

/* ---- gates.c ---- */

/* Rows of routers: experts x hidden, one after the other. */
struct moe_gates {
    const float *rows; /* NULL: random ones */
    int64_t layers;    /* that have their own; 0: all have the same */
    int64_t hidden;
};
IG_MUST_CHECK bool merge__make_gates(struct ig_merge *m, const struct ig_watch *watch,
                                     struct moe_gates *out, struct ig_err *err);
/* Those of the layer of that tensor, or NULL. */
const float *merge__gates_of(const struct moe_gates *gates, const struct ig_tensor *like,
                             int experts);

/* ---- moe_output.c ---- */

/* A model of experts that a dense one becomes. */
struct moe_output {
    const char *name; /* mergekit's, what `architecture` is the beginning of */
    const char *dense[4], *type, *class;
    const char *block, *parts[3]; /* of gate_proj, up_proj, down_proj */
    const char *shared;           /* the block of the shared expert; NULL: there is none */
    bool needs_shared, gated;     /* the shared one has a gate */
    bool biased; /* q, k and v have biases, which are zeros where the base has none */
};
/* What the recipe and the base's model_type make, as mergekit chooses. */
IG_MUST_CHECK bool merge__choose_moe(const struct ig_merge *m, const struct moe_output **out,
                                     struct ig_err *err);
/* The base's config.json as that of the output. */
IG_MUST_CHECK bool merge__moe_config(struct ig_merge *m, struct merge_input *in,
                                     const struct moe_output *o, struct ig_err *err);
