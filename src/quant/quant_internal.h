/* SPDX-License-Identifier: Apache-2.0
 * quant room: recipes as parsed, casts as planned. */
#pragma once
#include "base/arena.h"
#include "base/map.h"
#include "ingot/quant.h"
#include "ingot/store.h"
#include "tensor/codecs/codec.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- recipes (recipe.c) ---- */

#define QUANT_NAME_MAX 63

struct quant_rule {
    unsigned roles;   /* bit i: role i; 0: any */
    const char *name; /* glob of the module's path; NULL: any */
    bool has_layers;
    int64_t first, last, every, phase; /* first, last < 0: from the end */
    struct ig_codec codec;             /* bits 0: keep */
    int line;
    const char *text; /* the rule in one line, for tables */
};

struct ig_quant_recipe {
    struct ig_arena arena;
    char name[QUANT_NAME_MAX + 1];
    struct ig_slice text;
    struct ig_codec base; /* what no rule takes */
    struct quant_rule *rules;
    int rule_count;
    bool uniform; /* made of --mode: what a shape forbids is kept, not refused */
};

/* A built-in recipe; the table is made from recipes/ by tools/embed_recipes.py. */
struct quant_builtin {
    const char *name;
    const char *text;
    size_t bytes;
};
extern const struct quant_builtin quant__builtins[]; /* ends with a NULL name */
extern const char *const quant__builtin_list[];      /* pairs of name and summary, NULL */

/* A module that asks what it is to become. */
struct quant_subject {
    struct ig_slice module;
    enum ig_role role;
    int layer;
    bool is_head; /* the matrix that makes logits: lm_head, or the embedding when tied */
    int layer_count;
};
/* The first rule that takes it, or NULL: the recipe's base. */
const struct quant_rule *quant__pick(const struct ig_quant_recipe *recipe,
                                     const struct quant_subject *subject);
/* Whether that rule alone would take it: rules that take nothing are mistakes. */
bool quant__rule_takes(const struct quant_rule *rule, const struct quant_subject *subject);

/* ---- casts (plan.c, cast.c) ---- */

enum quant_change { QUANT_SAME, QUANT_PLUS_ONE, QUANT_DROP };

/* Where a source tensor goes. */
struct quant_source {
    int64_t module;     /* index in modules; < 0: dropped */
    int64_t elem_first; /* its place in a stack */
    enum ig_dtype dtype;
    enum quant_change change;
};

/* What is written under one name: one tensor, or codes, scales and biases. */
struct quant_module {
    struct ig_slice name;   /* of the (weight) tensor */
    struct ig_tensor plain; /* as it would be unquantised */
    struct ig_codec codec;
    bool is_linear;
    int64_t tensor; /* its first one in the writer's plan */
    int part_count; /* 1, 2, 3 */
    int64_t source_count;
    atomic_llong sources_left;
    struct ig_coder coder;
};

struct quant_scratch;

struct ig_cast {
    struct ig_arena arena;
    struct ig_cast_plan plan;
    const struct ig_arch *arch;
    struct quant_source *sources;
    struct quant_module *modules; /* in the model's order */
    struct ig_quant_row *rows;    /* one for each module */
    int64_t module_count;
    struct ig_tensor *tensors; /* of the writer */
    int64_t tensor_count;
    int64_t parameters;
    uint64_t bytes;
    bool mixed; /* config.json names every module, as mlx-lm does for mixed recipes */
    struct ig_buf origins;
    const char *warnings[8];
    int warning_count;
    struct ig_writer *writer;
    pthread_mutex_t lock; /* of scratch */
    struct quant_scratch *scratch;
};

/* Fills arch, sources, modules, rows and tensors from cast->plan. */
IG_MUST_CHECK bool quant__plan(struct ig_cast *cast, struct ig_err *err);
void quant__warn(struct ig_cast *cast, const char *format, ...) IG_PRINTF(2, 3);

/* One cast's share of a chunk: codes in scratch, and where they belong. */
struct quant_share {
    struct ig_cast *cast;
    const struct quant_module *module;
    struct quant_scratch *scratch;
    struct ig_packed_bytes bytes, at;
    struct ig_packed to;
};

/* A chunk of one source tensor on its way to several casts, which were all planned for the same
 * tensors: fed in pieces that stay in the cache, written in one go. */
struct quant_batch {
    int64_t index, first, elems, fed;
    struct ig_cast *plain[IG_OUTPUTS_MAX]; /* casts that keep it as it is */
    struct quant_share shares[IG_OUTPUTS_MAX];
    int plain_count, share_count;
};
IG_MUST_CHECK bool quant__batch_open(struct quant_batch *batch, struct ig_cast *const *casts,
                                     int count, struct ig_err *err);
/* The next elems of it; all but the last piece are multiples of CODEC_ALIGN. */
IG_MUST_CHECK bool quant__batch_feed(struct quant_batch *batch, const void *data, int64_t elems,
                                     struct ig_err *err);
/* All has been fed: write. */
IG_MUST_CHECK bool quant__batch_write(struct quant_batch *batch, struct ig_err *err);
/* In any case. */
void quant__batch_close(struct quant_batch *batch);

/* ---- fused.c ---- */

/* A stack of experts that is a part of a tensor of a folder. */
struct quant_fused {
    struct ig_tensor tensor; /* as a stack: [experts, rows, cols] */
    const void *map;         /* of the folder's */
    size_t size;             /* of an element */
    int64_t rows, cols;
    int64_t row_step, col_step, expert_step, first; /* where elements are in it */
};
/* How many stacks a tensor makes; 0: it is none of fused experts. */
int quant__fused_parts(const struct ig_tensor *t);
IG_MUST_CHECK bool quant__fused_open(struct ig_store *store, const struct ig_tensor *t, int part,
                                     struct ig_arena *arena, struct quant_fused *out,
                                     struct ig_err *err);
/* elems of the stack, from the first one on. */
void quant__fused_read(const struct quant_fused *f, int64_t first, int64_t elems, void *out);

/* ---- config.c ---- */

/* config.json as mlx-lm writes it: of a cast, or (cast NULL) of plain tensors of that dtype.
 * generation may be NULL. */
IG_MUST_CHECK bool quant__config(const struct ig_json *config, const struct ig_json *generation,
                                 const struct ig_cast *cast, enum ig_dtype dtype,
                                 struct ig_buf *out, struct ig_err *err);
/* generation_config.json of a folder; *out is NULL when there is none, or a broken one (mlx-lm
 * ignores it; here with a warning). */
IG_MUST_CHECK bool quant__generation(const char *model, const struct ig_watch *watch,
                                     struct ig_json_doc **out, struct ig_err *err);
void quant__output(struct ig_output_report *out, const char *recipe, const char *path,
                   uint64_t bytes, double bits_per_weight);
/* README.md: front matter as mlx-lm's, and how the folder was made. */
void quant__card(const struct ig_cast *cast, struct ig_buf *out);
