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
    int count;
    struct expert experts[EXPERTS_MAX];
};

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
