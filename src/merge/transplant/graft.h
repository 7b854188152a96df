/* SPDX-License-Identifier: Apache-2.0
 * graft — one matrix of the output, with a row for each of the donor's tokens. */
#pragma once
#include "merge/merge_internal.h"
#include "merge/methods/random.h"
#include "merge/transplant/transplant.h"

/* Where a row of the output is from: the model's row; nothing; or new token SOURCE_FRESH - it. */
#define SOURCE_ZERO  (-1)
#define SOURCE_FRESH (-2)

struct graft {
    struct transplant *t;
    const struct merge_input *model, *donor;
    const struct ig_tensor *own, *from; /* from: the donor's, or NULL where none is needed */
    bool head;
    int64_t width, from_width, rows, k, block;
    int32_t *source; /* by row */
    struct {
        int32_t donor, model; /* rows */
    } * shared;               /* tokens that both have, by the donor's id */
    struct {
        int32_t id;
        struct ig_slice key;
    } * fresh; /* tokens that are new, by id */
    int64_t shared_count, fresh_count, done;
    int64_t zeroed;     /* new tokens whose rows are zeros */
    struct atoms atoms; /* read at first use */
    float *mean;        /* of the model's rows; or NULL */
    uint64_t stream;    /* of random numbers */
    struct {
        int64_t block;
        float *rows;
    } kept[2];
    int next;
};

bool transplant__needs_donor(const struct recipe_transplant *ask);
IG_MUST_CHECK bool transplant__read(const struct merge_input *in, const struct merge_view *view,
                                    int64_t first, int64_t count, void *to, struct ig_err *err);
void transplant__graft_free(struct graft *g);

/* ---- simple.c: rows without the donor's numbers ---- */

/* Standard normal numbers of a counter. */
double transplant__normal(uint64_t stream, uint64_t at);
/* New tokens first .. first + count. */
IG_MUST_CHECK bool transplant__simple(struct graft *g, int64_t first, int count, float *to,
                                      struct ig_err *err);
/* What is the same for all of them: before any is made. */
IG_MUST_CHECK bool transplant__simple_open(struct graft *g, struct ig_err *err);
