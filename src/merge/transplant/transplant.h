/* SPDX-License-Identifier: Apache-2.0
 * transplant — a model with another model's tokenizer: which token of the donor is which of the
 * model's, and rows for those that the model does not have. What the files of this folder share;
 * the rest of merge/ sees the three functions at the end. */
#pragma once
#include "base/thread.h"
#include "ingot/token.h"
#include "merge/vocabulary/tokens.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/narrow.h"

#include <pthread.h>

/* ---- ask.c: what a recipe asks for ---- */

enum { APPROX_OMP, APPROX_INTERPOLATION, APPROX_SUBWORD, APPROX_MEAN, APPROX_ZERO, APPROX_RANDN };
enum { WEIGHTS_DISTANCE, WEIGHTS_BARYCENTRIC, WEIGHTS_SQUARES };
enum { SUBWORD_MEAN, SUBWORD_SUM, SUBWORD_WEIGHTED, SUBWORD_FIRST_LAST };
enum { ALLOW_NO, ALLOW_YES, ALLOW_EMBED, ALLOW_HEAD };
enum { SPELLING_TEXT, SPELLING_MERGEKIT };

struct recipe_transplant {
    const struct ig_yaml *at;
    int donor; /* the last of the recipe's models; in no slice */
    int approximation, weights, subword, prefix, byte, spelling;
    bool cosine;
    int64_t k;
    double noise, scale;
};

/* ---- spelling.c: tokens by what they stand for ---- */

/* A vocabulary, and of each token its kind (a letter) and what it stands for:
 *     s  a special token: its role, as "eos_token"
 *     t  text, its bytes; with mergekit's spelling what is left of it:
 *     w  what follows the mark of a word's beginning      p  any other token as it is written
 *     b  a byte's token that the vocabulary has as text too */
struct spelled {
    struct vocab vocab;
    struct ig_slice *keys;     /* in the vocabulary's order */
    struct ig_slice *literals; /* of special tokens, when text is compared: as text; else empty */
    struct ig_map by_key;      /* key -> id */
    int64_t rows;              /* largest id + 1, at least the number of tokens */
};
IG_MUST_CHECK bool transplant__spell(const char *folder, int spelling, struct ig_arena *arena,
                                     struct spelled *out, struct ig_err *err);
void transplant__spelled_release(struct spelled *s);
/* The id of a token that stands for the same, below `rows`; -1: none. */
int32_t transplant__same(const struct spelled *s, struct ig_slice key, int64_t rows);
/* A single byte, where one of the vocabularies writes it <0x41> and the other A. */
int32_t transplant__same_byte(const struct spelled *s, struct ig_slice key, int64_t rows);
/* The longest beginning of the token that is one. */
int32_t transplant__same_prefix(const struct spelled *s, struct ig_slice key, int64_t rows);
/* What the model's tokenizer is to split in place of the token. */
bool transplant__text(struct ig_slice key, struct ig_buf *out);

/* ---- pursuit.c: rows as sums of the rows that both models have ---- */

#define TARGETS_MAX 128 /* of a thread at once: their residuals stay in the second-level cache */
#define ATOMS_BLOCK 64
#define PICKS_MAX   4096
#define SPARE       16 /* nearest atoms beyond k, to be measured again in f64 */

/* The donor's rows of tokens that both have, by the donor's id. */
struct atoms {
    int64_t count, width;
    enum ig_dtype dtype; /* bf16 where the donor's rows are; else f32 */
    bool coarse;         /* products for the search are of 8-bit codes */
    unsigned char *rows; /* count x width */
    /* ATOMS_BLOCK of them next to each other, filled up with zeros: for gemm.h in halves of
     * IG_GEMM_COLS, in their type; coarse: for narrow.h */
    unsigned char *panels;
    float *norms, *errors; /* of each: its norm, and what is lost of it in the panels */
    float *most;           /* of each block: the largest norm, the largest error */
    int group;             /* coarse: elements with one scale */
    struct ig_convert_ops convert;
    struct ig_gemm_ops gemm;
    struct ig_narrow_ops narrow;
};
/* count, width and dtype are set: how they are multiplied. */
IG_MUST_CHECK bool transplant__atoms_way(struct atoms *a, bool may_be_coarse, struct ig_err *err);
/* Memory for all of them. */
IG_MUST_CHECK bool transplant__atoms_new(struct atoms *a, struct ig_err *err);
/* The rows of block `index`, count x width, into their place. Safe from many threads. */
IG_MUST_CHECK bool transplant__atoms_put(struct atoms *a, int64_t index, const float *rows,
                                         struct ig_err *err);
void transplant__atoms_release(struct atoms *a);
/* Of that memory. */
size_t transplant__atoms_bytes(const struct atoms *a);
/* The part of a target: which atoms, and how much of each. */
struct picks {
    int32_t *atoms;  /* k for each target */
    double *weights; /* the same */
    int32_t *used;   /* how many of them count */
    int64_t k;
};
/* What one thread works in. */
struct pursuer;
IG_MUST_CHECK bool transplant__pursuer_new(const struct atoms *atoms, int64_t k,
                                           struct pursuer **out, struct ig_err *err);
void transplant__pursuer_free(struct pursuer *p);
/* How many targets it takes at once: fewer where the fits of many atoms need much memory. */
int transplant__targets(int64_t k);
size_t transplant__pursuer_bytes(const struct atoms *atoms, int64_t k);
/* Orthogonal matching pursuit of count targets (x: count x width), at most TARGETS_MAX. */
void transplant__pursue(struct pursuer *p, const float *x, int count, struct picks *out);
/* The k nearest atoms. */
void transplant__neighbours(struct pursuer *p, const float *x, int count,
                            const struct recipe_transplant *ask, struct picks *out);
/* An atom in f32. */
void transplant__atom(const struct atoms *atoms, int64_t index, float *out);
double transplant__dot(const float *a, const float *b, int64_t count);

/* Normal equations, one vector more at a time, by Cholesky's factors. */
struct normal {
    int count;
    double *l, *z; /* l: lower triangle row by row; z = L^-1 b */
};
/* products: with those before it. False, and not added, when it is a sum of those. */
bool transplant__normal_add(struct normal *n, const double *products, double square, double b);
void transplant__normal_solve(const struct normal *n, double *out);

/* each: of target t, its products with the atoms of block `index`. The targets are p->rows. */
typedef void (*transplant_each)(void *user, int t, int64_t index, const float *products);
void transplant__sweep(struct pursuer *p, int count, transplant_each each, void *user);
/* How far a target is from what is multiplied in its place, at most. */
double transplant__lost(const struct atoms *a, const float *x);

struct neighbour {
    double distance; /* or minus the cosine */
    int32_t atom;
};

/* An atom that may have the largest product with a target: at most `most`. */
struct quarry {
    int32_t atom;
    float most;
};
#define QUARRY_MAX 64

struct pursuer {
    const struct atoms *atoms;
    int64_t k, step;       /* step: floats of a panel of targets */
    float *memory;         /* that all of these point into */
    float *rows, *panel;   /* of the targets, or their residuals; of atoms, widened */
    unsigned char *packed; /* the targets as they are multiplied */
    float *products;       /* TARGETS_MAX x ATOMS_BLOCK */
    float *row, *other;
    float *length, *lost, *floor; /* of each target; floor: the largest product is no less */
    struct quarry *quarry;        /* QUARRY_MAX for each target */
    int32_t *counts;              /* of quarry, or of nearest */
    int32_t *nearest, *kept;
    struct neighbour *list;
    double *factors, *z, *weights, *sum;
    float *scores;
};

/* ---- graft.c ---- */

struct graft;
struct transplant {
    struct ig_merge *m;
    const struct recipe_transplant *ask;
    struct ig_arena arena;
    struct spelled model, donor;
    struct ig_tokenizer *tokenizer; /* the model's, for subword; or NULL */
    struct graft *grafts[2];
    int graft_count;
    pthread_mutex_t lock; /* one at a time makes rows, with all threads */
};
