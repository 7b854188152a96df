/* SPDX-License-Identifier: Apache-2.0
 * span — methods whose output lies in the span of their vectors: a Gram matrix, coefficients, a
 * linear combination.
 *
 * The vectors are the models; where there is a base that is an origin (row 0), the models' deltas
 * from it. Inner products are taken of {x_1, x_2 - x_1, ...} and put together here in f64, so that
 * near-equal models keep their digits.
 *
 * A method's state starts with struct merge_span, and its table names merge__span_rows, _sums,
 * _reduce and _map. */
#pragma once
#include "merge/method.h"

struct merge_span {
    int n;                                            /* vectors */
    double gram[MERGE_MODELS_MAX * MERGE_MODELS_MAX]; /* n x n */
    double c[MERGE_MODELS_MAX];                       /* the output, in vectors (plus the base) */
    float row_c[MERGE_MODELS_MAX];                    /* the same, in rows */
};

enum merge_rows merge__span_rows(const struct merge_case *job, const void *state, int round);
int merge__span_sums(const struct merge_case *job, const void *state, int round);
void merge__span_reduce(const struct merge_block *block, const void *state, int round,
                        double (*sums)[IG_ROWS_LANES]);
void merge__span_map(const struct merge_block *block, const void *state, float *out);

/* From the sums to n and gram. */
void merge__span_gram(const struct merge_case *job, const double *pairs, struct merge_span *span);
/* c to row_c. */
void merge__span_finish(const struct merge_case *job, struct merge_span *span);
/* The sums of a block that is a whole row; pairs as merge__span_gram takes them. */
void merge__span_block(const struct merge_block *block, double *pairs);
/* Norms and cosines of the vectors, and c, as members of a sketchbook line. */
void merge__span_trace(const struct merge_span *span, struct ig_json_writer *w);
