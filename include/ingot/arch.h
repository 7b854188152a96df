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

enum ig_rope_kind { IG_ROPE_PLAIN, IG_ROPE_LINEAR, IG_ROPE_LLAMA3, IG_ROPE_YARN };
struct ig_rope {
    enum ig_rope_kind kind;
    double theta, factor;
    int64_t original_context;
    double beta_fast, beta_slow; /* yarn's */
    double low_freq, high_freq;  /* llama3's */
    double attention;            /* of yarn: q and k are scaled by it; 1 elsewhere */
};

#define IG_LAYERS_MAX 1024
/* What a layer is made of, where layers differ. */
enum ig_layer {
    IG_LAYER_EXPERTS = 1, /* a mixture of experts in place of the MLP */
    IG_LAYER_SLIDING = 2, /* attends to the last `window` tokens only */
    IG_LAYER_LINEAR = 4,  /* gated DeltaNet in place of attention */
};

enum ig_activation { IG_SILU, IG_GELU_TANH };

/* The numbers of a decoder-only transformer, read from config.json and checked. */
struct ig_model_shape {
    int64_t layers, hidden, heads, kv_heads, head_dim, intermediate, vocab, context;
    int64_t rotary;               /* elements of a head that RoPE turns: its first ones */
    uint8_t layer[IG_LAYERS_MAX]; /* enum ig_layer, or-ed */
    int64_t window; /* of sliding layers: a token sees itself and window - 1 before it */
    int64_t experts, experts_used, moe_intermediate; /* 0: dense */
    int64_t shared_intermediate;                     /* of the expert that all tokens share; 0 */
    int64_t linear_key_heads, linear_value_heads, linear_key_dim, linear_value_dim, conv_kernel;
    double norm_eps;
    double attention_scale;            /* of q k^T */
    double embed_scale;                /* of the embedding's rows */
    struct ig_rope rope, rope_sliding; /* the latter in sliding layers */
    enum ig_activation activation;
    bool tied; /* the head is the embedding */
    bool qk_norm, qkv_bias, o_bias, mlp_bias;
    bool attention_gate;     /* q_proj makes a gate for each head too */
    bool norms_less_one;     /* norm weights are stored less 1 */
    bool norms_after;        /* of what attention and MLP give, too, before it is added */
    bool experts_normed;     /* the chosen experts' probabilities are made to sum to 1 */
    bool experts_transposed; /* fused experts are stored [expert, in, out] */
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
    bool mlx_rope_plain;            /* mlx-lm ignores what config.json says about scaling RoPE */
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
