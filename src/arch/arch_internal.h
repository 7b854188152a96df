/* SPDX-License-Identifier: Apache-2.0
 * arch room: what families share. */
#pragma once
#include "ingot/arch.h"

/* How a family's config.json differs from the others': what holds where a key is absent. */
struct arch_family {
    int64_t heads, kv_heads, vocab; /* 0: config.json has to say; kv_heads: as many as heads */
    int64_t head_dim;               /* 0: hidden_size / num_attention_heads */
    int64_t context;                /* max_position_embeddings */
    double rope_theta;
    double rotary; /* partial_rotary_factor */
    bool tied;
    bool qk_norm;
    bool qkv_bias; /* always; else attention_bias says, for q, k, v and o */
    bool experts;
    bool experts_normed;        /* norm_topk_prob */
    const char *activation_key; /* NULL: hidden_act */
};

/* One integer that config.json holds. */
struct arch_field {
    const char *key;
    int64_t *out;
    int64_t min, max;
    int64_t preset; /* < 0: required */
};
#define ARCH_WIDTH_MAX (1 << 22) /* hidden, intermediate: the largest published is 53,248 */
#define ARCH_HEADS_MAX 4096
#define ARCH_HEAD_MAX  1024

/* The object that describes the text model: config.json's text_config, or all of it. */
const struct ig_json *arch__text_config(const struct ig_json *config);
/* Everything but the kinds of layers that only some families have. */
IG_MUST_CHECK bool arch__read_decoder(const struct ig_json *config,
                                      const struct arch_family *family, struct ig_model_shape *out,
                                      struct ig_err *err);
IG_MUST_CHECK bool arch__read_int(const struct ig_json *config, const struct arch_field *f,
                                  struct ig_err *err);
IG_MUST_CHECK bool arch__read_real(const struct ig_json *object, const char *key, double preset,
                                   double min, double max, double *out, struct ig_err *err);
IG_MUST_CHECK bool arch__read_bool(const struct ig_json *config, const char *key, bool preset,
                                   bool *out, struct ig_err *err);
/* What holds without layer_types: sets kinds of layers. */
typedef bool arch_layer_rule(const struct ig_json *config, struct ig_model_shape *s,
                             struct ig_err *err);
/* layer_types, whose kinds (enum ig_layer, or-ed) are allowed; else the rule. sliding_window, where
 * a layer slides. */
IG_MUST_CHECK bool arch__read_layers(const struct ig_json *config, unsigned allowed,
                                     struct ig_model_shape *s, arch_layer_rule *rule,
                                     struct ig_err *err);
/* Decoder, layers and RoPE as Qwen's configurations say them. */
IG_MUST_CHECK bool arch__read_qwen(const struct ig_json *root, const struct arch_family *family,
                                   struct ig_model_shape *out, struct ig_err *err);

/* Gemma 3's text model. */
IG_MUST_CHECK bool arch__read_gemma3(const struct ig_json *root, struct ig_model_shape *out,
                                     struct ig_err *err);

/* ---- rope.c ---- */
/* rope_scaling or rope_parameters, in the forms of transformers 4 and 5. layer_type: the member of
 * rope_parameters that counts where it has one for each; NULL: refuses that form. */
IG_MUST_CHECK bool arch__read_rope(const struct ig_json *config, const char *layer_type,
                                   double theta, int64_t context, struct ig_rope *out,
                                   struct ig_err *err);
