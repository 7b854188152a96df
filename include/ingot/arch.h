/* SPDX-License-Identifier: Apache-2.0
 * arch — what a model family is: its config keys, and what each tensor is for. No arithmetic.
 *
 * One file for each family in src/arch/families/. A folder whose family is unknown can still be
 * merged and quantised: roles then come from the generic rules (role by name, layer by number). */
#pragma once
#include "ingot/json.h"
#include "ingot/tensor.h"

enum ig_role {
    IG_ROLE_OTHER, /* conv1d, A_log, dt_bias, vision towers: never quantised */
    IG_ROLE_EMBED,
    IG_ROLE_LM_HEAD,
    IG_ROLE_ATTENTION, /* q, k, v, o; and the projections of linear attention */
    IG_ROLE_MLP,       /* dense MLP, experts, shared expert */
    IG_ROLE_ROUTER,    /* mlp.gate, shared_expert_gate */
    IG_ROLE_NORM,
    IG_ROLE_COUNT,
};

struct ig_place {
    enum ig_role role;
    int layer;              /* -1: none */
    int expert;             /* -1: none; of mlp.experts.7.up_proj: 7 */
    bool linear;            /* the .weight of a Linear, an Embedding or an expert stack */
    struct ig_slice prefix; /* what stands before the first name that matters: "model." */
    struct ig_slice
        module;           /* the name without its last component: "model.layers.0.mlp.down_proj" */
    struct ig_slice part; /* the module within its layer, or within the root: "mlp.down_proj" */
    bool known;           /* the family's list has it; true for all of a family without a list */
};

enum ig_rope { IG_ROPE_PLAIN, IG_ROPE_LINEAR, IG_ROPE_LLAMA3, IG_ROPE_YARN };

/* The numbers of a decoder-only transformer, read from config.json and checked. */
struct ig_model_shape {
    int64_t layers, hidden, heads, kv_heads, head_dim, intermediate, vocab, context;
    int64_t experts, experts_used, moe_intermediate; /* 0: dense */
    double norm_eps, rope_theta, rope_factor;
    int64_t rope_original_context;
    double rope_beta_fast, rope_beta_slow;
    double rope_low_freq, rope_high_freq; /* llama3's */
    double rope_attention;                /* of yarn: q and k are scaled by it; 1 elsewhere */
    enum ig_rope rope;
    bool tied; /* the head is the embedding */
    bool qk_norm, attention_bias;
};

/* A module, or a bare parameter, of one layer or of the root. '#' stands for digits. */
struct ig_arch_part {
    const char *module; /* "self_attn.q_proj"; NULL ends the list */
    enum ig_role role;
    bool linear;
};

struct ig_arch {
    const char *name; /* "qwen3" */
    const char *summary;
    const char *const *model_types; /* config.json's model_type, NULL-terminated */
    bool runs;                      /* the engine can run it */
    bool mlx;                       /* how mlx-lm wants these tensors is known: names, and below */
    /* What a layer holds, in the order in which mlx-lm declares it (it decides how shards are
     * filled). NULL: unknown, roles by the generic rules, order by name. */
    const struct ig_arch_part *parts;
    /* What mlx-lm changes when it reads a checkpoint with single experts (it stacks those), as
     * NULL-terminated lists of modules, or NULL: adds 1 to the weight; turns [C,1,K] to [C,K,1];
     * leaves out everything below. */
    const char *const *mlx_plus_one, *const *mlx_moved_axis, *const *mlx_dropped;
    /* Reads and checks config.json; NULL for families that only merge and quantise. */
    bool (*shape)(const struct ig_json *config, struct ig_model_shape *out, struct ig_err *err);
};

/* By config.json's model_type; the generic one when unknown or config is NULL. Never NULL. */
const struct ig_arch *ig_arch_find(const struct ig_json *config);
/* All families, NULL-terminated. */
const struct ig_arch *const *ig_arch_all(void);
/* What the tensor of that name is for. The place borrows name. */
void ig_arch_place(const struct ig_arch *arch, struct ig_slice name, struct ig_place *out);
/* Orders tensor names as the model declares them: embed, layers 0.., norm, lm_head. <0, 0, >0. */
int ig_arch_compare(const struct ig_arch *arch, struct ig_slice a, struct ig_slice b);
const char *ig_role_name(enum ig_role role);
bool ig_role_find(struct ig_slice name, enum ig_role *out);
