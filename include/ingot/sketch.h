/* SPDX-License-Identifier: Apache-2.0
 * sketch — reads what a merge noted of every tensor (docs/formats/sketchbook.md) and sums it up.
 *
 * Use:   ig_sketch_open -> ig_sketch_next .. -> ig_sketch_close, tensor by tensor; or
 *        ig_sketch_sum -> ig_sketch_free, by layer and kind of module.
 * Owns:  a line's names are valid until the next one; a summary owns all it points to.
 * Limits: a line has at most SKETCH_LINE_BYTES_MAX (sketch_read.c). Broken lines, wrong lengths and
 *        missing tensors are data errors that name the line. Numbers that are not finite (null in
 *        the file) become NAN; sums leave them out and the watch is told. */
#pragma once
#include "ingot/arch.h"
#include "ingot/watch.h"
#include <math.h>

#define IG_SKETCH_INPUTS_MAX     64
#define IG_SKETCH_DIRECTIONS_MAX 8 /* the strongest; the last takes in all that follow */

/* What a line says in one number; NAN where its method has no such thing. */
enum ig_sketch_measure {
    IG_SKETCH_APART,     /* 1 - cosine, mean over the pairs of inputs */
    IG_SKETCH_DISTANCE,  /* of the farthest input to the centre; 1: as long as the input itself */
    IG_SKETCH_FIRST,     /* share of the residuals' energy in the strongest direction */
    IG_SKETCH_REJECTED,  /* share of the bisquare weights below 0.5 */
    IG_SKETCH_AGREEMENT, /* mean bisquare weight */
    IG_SKETCH_ENERGY,    /* p, the share of the residuals' energy in the directions kept */
    IG_SKETCH_KEPT,      /* share of the elements left by sparsifying, mean over the inputs */
    IG_SKETCH_MEASURES,
};
/* "apart", "distance", ...: the words of --json. */
const char *ig_sketch_measure_name(enum ig_sketch_measure measure);

struct ig_sketch_model {
    const char *path, *identity;
    const char *label; /* the path's last part; with a number where two are alike */
};
struct ig_sketch_head {
    const char *version, *method, *recipe;
    const struct ig_sketch_model *models;
    int model_count;
    int64_t tensors;
};
struct ig_sketch_line {
    struct ig_slice name, copied, copy_of; /* copied: from which model; empty: it was not */
    int64_t elems;
    enum ig_role role;
    int layer;                      /* -1: none */
    int inputs;                     /* of c; 0: the line has none */
    double c[IG_SKETCH_INPUTS_MAX]; /* shares; they need not sum to 1 */
    double c_center; /* of a coordinate-wise median, in lengths of an input; NAN: none */
    double measure[IG_SKETCH_MEASURES];
    int farthest;                            /* which input has IG_SKETCH_DISTANCE; -1 */
    int directions;                          /* of energy; 0: none, or no residuals */
    double energy[IG_SKETCH_DIRECTIONS_MAX]; /* shares that sum to 1 */
    bool finite;                             /* all numbers were */
};

struct ig_sketch;
IG_MUST_CHECK bool ig_sketch_open(const char *path, struct ig_sketch **out, struct ig_err *err);
const struct ig_sketch_head *ig_sketch_head(const struct ig_sketch *sketch);
/* more false: all tensors were read, as many as the head says. */
IG_MUST_CHECK bool ig_sketch_next(struct ig_sketch *sketch, struct ig_sketch_line *line, bool *more,
                                  struct ig_err *err);
void ig_sketch_close(struct ig_sketch *sketch);

/* ---- sums ---- */

struct ig_sketch_spread {
    double sum, low, high; /* of count finite values */
    int64_t count;
};
static inline double ig_sketch_mean(const struct ig_sketch_spread *s)
{
    return s->count ? s->sum / (double)s->count : (double)NAN;
}
/* Some tensors, each of the same weight whatever its size. */
struct ig_sketch_pool {
    int64_t tensors, copied;
    struct ig_sketch_spread *share, center; /* share: one for each input of the summary */
    struct ig_sketch_spread measure[IG_SKETCH_MEASURES];
    double energy[IG_SKETCH_DIRECTIONS_MAX]; /* sums over energy_count tensors */
    int64_t energy_count;
};
/* What stands at one place of the model: a tensor, or all experts of a layer. */
struct ig_sketch_cell {
    int layer, kind;  /* -1: outside the layers; index of kinds */
    const char *name; /* of many, of the one whose inputs lie farthest apart */
    struct ig_sketch_pool pool;
};
struct ig_sketch_kind {
    const char *name; /* "self_attn.q_proj", "mlp.experts.*.up_proj" */
    enum ig_role role;
    bool layered; /* it is part of layers */
};
enum ig_sketch_part {
    IG_SKETCH_EMBED,
    IG_SKETCH_FIRST_THIRD,
    IG_SKETCH_MIDDLE_THIRD,
    IG_SKETCH_LAST_THIRD,
    IG_SKETCH_HEAD,
    IG_SKETCH_ELSEWHERE,
    IG_SKETCH_ALL,
    IG_SKETCH_PARTS,
};
/* "embedding", "first third", ... */
const char *ig_sketch_part_name(enum ig_sketch_part part);
/* Tensors that stand out, the most remarkable first. */
#define IG_SKETCH_MARKS_MAX 8
enum ig_sketch_list {
    IG_SKETCH_FARTHEST,  /* largest distance to the centre, else inputs farthest apart */
    IG_SKETCH_DISAGREED, /* lowest agreement, under 1 */
    IG_SKETCH_OUTSIDE,   /* shares below 0 or above 1 */
    IG_SKETCH_LISTS,
};
struct ig_sketch_mark {
    const char *name;
    double value;
    int input; /* whose; -1: nobody's */
};
struct ig_sketch_summary {
    const struct ig_sketch_head *head;
    const char *const *inputs; /* what shares are of: the models' labels, or "input 1", .. */
    int input_count;
    int layers;                         /* the largest layer's number, plus 1 */
    const struct ig_sketch_kind *kinds; /* in the order of roles, then as in the file */
    int kind_count;
    const struct ig_sketch_cell *const *cells; /* (layers + 1) x kind_count, the first row outside
                                                  the layers; NULL: no such tensor */
    struct ig_sketch_pool all;
    struct ig_sketch_pool groups[IG_SKETCH_PARTS][IG_ROLE_COUNT + 1]; /* the last role: all */
    struct ig_sketch_mark marks[IG_SKETCH_LISTS][IG_SKETCH_MARKS_MAX];
    int mark_count[IG_SKETCH_LISTS];
    int64_t outside, not_finite, other_inputs; /* tensors; the latter's shares were left out */
    const char *quantize;                      /* of ingot.json; NULL: none */
};
/* out: the folder of a merge, or the sketchbook itself. An ingot.json beside it that tells of
 * another merge is an error. */
IG_MUST_CHECK bool ig_sketch_sum(const char *out, const struct ig_watch *watch,
                                 struct ig_sketch_summary **summary, struct ig_err *err);
void ig_sketch_free(struct ig_sketch_summary *summary);
