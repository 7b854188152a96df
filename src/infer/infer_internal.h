/* SPDX-License-Identifier: Apache-2.0
 * infer_internal — what the files of this room share: the model's weights as matrices, a session's
 * buffers, and the steps of a forward pass. */
#pragma once
#include "base/arena.h"
#include "base/thread.h"
#include "ingot/infer.h"
#include "tensor/kernels/cached.h"
#include "tensor/kernels/convert.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/narrow.h"
#include "tensor/kernels/neural.h"

/* Rows of a prompt that go through the layers together. 512 rows make the unpacking of a block of
 * weights 1 / 512 of its use; more only costs memory. Where experts share the rows, each needs as
 * many: with 8 of 128, 2048 rows are 128 for an expert. */
#define INFER_ROWS     512
#define INFER_ROWS_MAX 2048
/* Up to so many rows matvec, which unpacks for each, is faster than tiles (docs/performance.md). */
#define INFER_MATVEC_ROWS 3
/* Results of one task of a product: rows of W that one thread takes at a time. */
#define INFER_FEATURES 64
/* Columns of W unpacked at a time: 64 x 256 floats stay in the second-level cache. */
#define INFER_DEPTH 256
/* Smaller matrices are multiplied in f32 always: there is little to gain, and the models that tests
 * compare with others stay exact. */
#define INFER_NARROW_COLS 512
#define INFER_NARROW_ROWS 256
/* Keys of one block of attention; blocks start at multiples of it whatever the batch, so that
 * results do not depend on how a prompt is cut. */
#define INFER_KEYS 256

/* One expert's matrix: a part of a stack, of a fused tensor, or a tensor. */
struct infer_expert {
    struct ig_matrix gate, up, down;
};

/* A mixture of experts. */
struct infer_experts {
    struct ig_matrix router;
    struct infer_expert *expert; /* shape.experts of them */
    bool transposed; /* the matrices are [in, out]; gate and up share rows of 2 intermediate */
    struct infer_expert shared; /* shape.shared_intermediate > 0 */
    struct ig_matrix shared_gate;
};

/* Gated DeltaNet in place of attention. */
struct infer_delta {
    struct ig_matrix qkvz, ba, out;
    const float *conv;    /* channels x conv_kernel: the queries' channels, keys', values' */
    const float *dt_bias; /* of each value head; so is log_a */
    const float *log_a;
    const float *norm; /* linear_value_dim */
};

struct infer_layer {
    struct ig_matrix q, k, v, o, gate, up, down;
    const float *input_norm, *post_norm, *q_norm, *k_norm; /* q_norm, k_norm may be NULL */
    const float *after_attention, *after_mlp;       /* norms of what is added to x; may be NULL */
    const float *q_bias, *k_bias, *v_bias, *o_bias; /* may be NULL */
    const float *gate_bias, *up_bias, *down_bias;
    const struct infer_experts *experts; /* NULL: a dense MLP */
    const struct infer_delta *delta;     /* NULL: attention */
    int64_t cache;  /* its number among the layers that attend, or that have a state */
    int64_t window; /* keys that a query sees; INT64_MAX: all */
    bool sliding;
};

struct ig_model {
    struct ig_store *store;
    struct ig_arena arena; /* layers, norms, biases, rope */
    struct ig_pool *pool;
    struct ig_model_shape shape;
    enum ig_isa isa;
    bool exact;                       /* f32 arithmetic throughout */
    bool int8_scores;                 /* int8 where bf16 would be closer */
    bool outgrows;                    /* memory: experts are read from the disk again and again */
    char arithmetic[128];             /* in words */
    int64_t narrow_cols, narrow_rows; /* what narrow arithmetic is for: INFER_NARROW_.. */
    struct ig_matmul_ops matmul;
    struct ig_narrow_ops narrow;
    struct ig_neural_ops neural;
    struct ig_convert_ops convert;
    struct ig_cached_ops cached;
    struct ig_quantize_ops quantize;
    struct infer_layer *layers;
    struct ig_matrix embed, head;
    const float *final_norm;
    const float *rope[2]; /* inverse frequencies, rotary / 2 of them; [1]: of sliding layers */
    int64_t caches;       /* layers that attend */
    int64_t states;       /* layers that have a state */
    float norms_plus;     /* what the stored norm weights lack */
    int32_t *eos;
    size_t eos_count;
};

/* What one thread needs for itself. */
struct infer_lane {
    float *weights;  /* FEATURES x (DEPTH + pad): a block of W, unpacked; or one packed narrow */
    float *results;  /* FEATURES x rows: y^T; narrow: y */
    float *scores;   /* KEYS x lanes */
    float *queries;  /* head_dim x lanes */
    float *mixed;    /* head_dim x lanes */
    float *stats;    /* 3 x lanes: max, sum, rescale */
    int32_t *last;   /* lanes */
    float *heads;    /* max and sum for each head that shares a key head */
    float *unpacked; /* KEYS x head_dim: rows of a cache that are no floats */
    float *delta;    /* a key head's q, k and values after the convolution; and scratch */
};

/* Tokens that lie one after another in the cache. Positions go on from the parent's end. */
struct infer_span {
    int64_t slot, position; /* of the first token */
    int64_t count;
    const struct infer_span *parent; /* NULL: none */
};
/* Rows of a batch: the tokens of a span from `offset` on. */
struct infer_part {
    const struct infer_span *span;
    int64_t offset, row, rows;
    int64_t tile;                   /* attention's first one of this part */
    const struct ig_session *cache; /* whose; NULL: of the session that runs the batch */
};
/* What goes through the layers together. */
struct infer_batch {
    const int32_t *tokens;
    struct infer_part *parts;
    int64_t rows, part_count;
    /* Rows whose results are read, in order; NULL: all. The results stand together: in the last
     * layer other rows end at their keys and values. */
    const int64_t *wanted;
    int64_t wanted_count;
};

/* What ig_session_score_spans was asked for. */
struct infer_tree {
    const struct ig_span *spans;
    const struct ig_target *targets;
    struct ig_scored *out;
    int64_t span_count, target_count;
};

/* As what a cache keeps its rows. */
struct infer_form {
    struct ig_cached as;          /* 32 bits: floats */
    size_t row_bytes;             /* of a token's key, or value, of one head */
    unsigned char *keys, *values; /* [layer][kv head][slots] rows; one mapping */
    size_t bytes;                 /* of both */
};
/* See cache.c. */
struct infer_cache {
    struct ig_cached as; /* these: the form that it has now */
    size_t row_bytes;
    unsigned char *keys, *values;
    size_t bytes;
    struct infer_form other; /* and the one that it has from `start` tokens on, or had before */
    int64_t start;           /* 0: it has one form */
    bool packed;             /* it has been passed */
    int64_t slots;           /* tokens that there is room for */
    int64_t touched;         /* slots below this take memory */
    int64_t window, keep;    /* of one that rotates; else 0 */
    int64_t high;            /* positions below this have been written */
};
/* Of the positions up to a token's own it sees [sink, keep) and those from `from` on. */
struct infer_seen {
    int64_t sink, from;
};

/* Where what goes into each layer is added: layers x hidden. */
struct infer_states {
    double *sums;
    double share; /* of each row; 0: none but the last row, whole */
};

struct ig_session {
    struct ig_model *model;
    const struct infer_states *states; /* while somebody asks for them; or NULL */
    int64_t context, length, rows_max;
    struct infer_cache cache;
    int64_t run_start; /* position of the first token that is fed; -1: it is one alone */
    void *memory;      /* everything below, but the states; NULL: another session's */
    size_t memory_bytes;
    float *x, *normed, *q, *k, *v, *attended, *gate, *up; /* rows_max each */
    const struct infer_batch *batch;                      /* while it goes through the layers */
    int64_t *positions, *slots;                           /* of its rows */
    const struct ig_session **caches;                     /* and whose cache these are in */
    float *angles;    /* 2 x rows_max x rotary: cosines, then sines; the second of sliding layers */
    float *routed;    /* rows_max x experts: the router's logits, then probabilities */
    float *shares;    /* rows_max x experts_used: the weights of the chosen experts */
    int32_t *chosen;  /* and which these are */
    int32_t *entries; /* the same, ordered by expert: row * experts_used + place */
    int32_t *expert_first; /* experts + 2: where each begins among the entries */
    float *wide;           /* rows_max: queries and gates; or q, k, v and z of a DeltaNet */
    float *wide_ba;        /* rows_max x 2 value heads */
    float *state;       /* of all recurrent layers: what s->length tokens have left (recurrent.c) */
    float *marked;      /* the same after mark_length tokens */
    size_t state_bytes; /* of each; one mapping */
    int64_t mark_length;
    float *gathered, *expert_out, *mixed; /* rows_max x hidden */
    float *operand;                       /* rows of x as matvec wants them */
    float *packed;                        /* x in tiles, of f32 or narrow */
    float *logits;                        /* vocab */
    float *partial; /* scoring: max and sum for each row and block of the vocabulary */
    float *wanted;  /* scoring: each target's logit; rows_max targets at a time */
    bool *greedy;
    float *held;              /* scoring: rows_max rows that wait for the head */
    struct infer_lane *lanes; /* one for each thread */
};

/* ---- weights.c ---- */
/* Finds and checks every tensor that the shape asks for. */
IG_MUST_CHECK bool infer__load(struct ig_model *model, struct ig_err *err);

/* ---- fetch.c ---- */
/* Whether the files are larger than the machine's memory. */
bool infer__outgrows(const struct ig_store *store);
/* Of a model that outgrows memory: bytes that are read whole, or not at all. */
void infer__scattered(const void *at, size_t bytes);
/* Asks the system to read an expert, without waiting for it. */
void infer__fetch(const struct infer_expert *expert);

/* ---- linear.c: products over all threads ---- */
struct infer_product {
    const struct ig_matrix *w;
    const float *bias; /* may be NULL */
    float *y;          /* rows x w->rows */
};
#define INFER_PRODUCTS_MAX 64
/* y = x W^T + bias for up to INFER_PRODUCTS_MAX matrices over the same x (rows x cols, dense).
 * exact: by tiles even for few rows, so that a row's result does not depend on how many there are.
 */
void infer__linear(struct ig_session *s, const struct infer_product *products, int count,
                   const float *x, int64_t rows, bool exact);
/* One row of x for each product, all of as many columns. */
void infer__matvecs(struct ig_session *s, const struct infer_product *products,
                    const float *const *x, int count);
/* How a matrix is multiplied: NONE in f32. Scores take bf16 where they can, which is closer to
 * exact, unless the model was opened otherwise; text takes int8, which is faster. */
enum ig_narrow infer__narrow(const struct ig_model *model, const struct ig_matrix *w, bool score);
/* Log-probabilities of up to rows_max targets, without storing a row of logits. */
struct infer_target {
    int32_t row, token;
};
struct infer_scores {
    const struct infer_target *targets;
    struct ig_scored *out;
    int64_t count;
};
void infer__head_scores(struct ig_session *s, const float *x, int64_t rows,
                        const struct infer_scores *scores);

/* ---- cache.c ---- */
/* Takes over the options; sets the context. */
IG_MUST_CHECK bool infer__cache_init(struct ig_session *s, const struct ig_session_options *options,
                                     struct ig_err *err);
/* The memory, once rows_max is known. */
IG_MUST_CHECK bool infer__cache_reserve(struct ig_session *s, struct ig_err *err);
void infer__cache_release(struct ig_session *s);
/* The slot of a position; run: how many positions from there on lie behind one another. */
int64_t infer__slot(const struct infer_cache *c, int64_t position, int64_t *run);
/* Where a row is, from the start of the keys and of the values. layer: of those that attend. */
size_t infer__cache_row(const struct ig_session *s, int64_t layer, int64_t kv, int64_t slot);
void infer__cache_store(const struct ig_session *s, size_t at, const float *k, const float *v);
/* window: of the layer. */
struct infer_seen infer__seen(const struct ig_session *s, int64_t position, int64_t window);
/* So many more tokens are in it. */
void infer__grow(struct ig_session *s, int64_t rows);
/* At the end of a call that has fed tokens: takes the form that it is to have from `start` tokens
 * on. */
void infer__cache_settle(struct ig_session *s);
/* The other form without what it holds, which goes. */
void infer__cache_switch(struct ig_session *s);
/* Whether two sessions keep rows in the same way. */
bool infer__cache_alike(const struct infer_cache *a, const struct infer_cache *b);
/* Whether it may go back to `length` tokens. */
bool infer__cache_holds(const struct ig_session *s, int64_t length);
/* Whether it holds all tokens that it was fed. */
bool infer__cache_whole(const struct ig_session *s);

/* ---- attention.c ---- */
/* Attends the queries of the batch in one layer; q is rows x heads x head_dim. */
void infer__attend(struct ig_session *s, int64_t layer, bool exact);

/* ---- deltanet.c ---- */
/* Floats of one layer's state: its last inputs to the convolution, and a matrix for each value
 * head. */
int64_t infer__delta_floats(const struct ig_model_shape *m);
/* What a recurrent layer gives for s->normed, into s->normed. The batch is one part, which goes on
 * where the state is; at position 0 it starts anew. */
void infer__delta_net(struct ig_session *s, const struct infer_layer *layer, bool exact);

/* ---- recurrent.c ---- */
/* Memory for the states of a model that has some. */
IG_MUST_CHECK bool infer__make_state(struct ig_session *s, struct ig_err *err);
void infer__release_state(struct ig_session *s);
/* Keeps the state as it is after s->length tokens, to come back to. */
void infer__mark(struct ig_session *s);
/* ig_session_score_spans for models with a state, which has one sequence: span after span. */
IG_MUST_CHECK bool infer__score_in_turn(struct ig_session *s, const struct infer_tree *tree,
                                        struct ig_err *err);

/* ---- moe.c ---- */
/* What the batch's experts give for s->normed, into s->mixed. */
void infer__experts(struct ig_session *s, const struct infer_experts *experts, bool exact);

/* ---- forward.c ---- */
/* gate[i] = act(gate[i]) * up[i]. */
void infer__activate(const struct ig_model *model, float *gate, const float *up, int64_t n);
/* Runs rows tokens from position s->length through all layers; leaves x normed, length unchanged.
 */
void infer__forward(struct ig_session *s, const int32_t *tokens, int64_t rows, bool exact);
/* The same when only some rows' results are read, which stand together afterwards. */
struct infer_wanted {
    const int64_t *rows; /* in order */
    int64_t count;
};
void infer__forward_wanted(struct ig_session *s, const int32_t *tokens, int64_t rows,
                           const struct infer_wanted *wanted, bool exact);
/* The same for a batch of parts of spans, whose slots are in the cache's bounds. */
void infer__forward_batch(struct ig_session *s, const struct infer_batch *batch, bool exact);

/* ---- session.c ---- */
/* False, with the error set, unless a logit or log-probability is a finite number. */
IG_MUST_CHECK bool infer__check_finite(double value, struct ig_err *err);
/* Always false: what a rotating cache is not for. */
bool infer__no_scores(struct ig_err *err);
IG_MUST_CHECK bool infer__check_token(const struct ig_session *s, int32_t token,
                                      struct ig_err *err);

/* ---- together.c ---- */
/* Lends `s` the working memory of `from`. */
void infer__share(struct ig_session *s, const struct ig_session *from);
