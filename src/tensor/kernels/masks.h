/* SPDX-License-Identifier: Apache-2.0
 * masks — choosing among the elements of a row by magnitude, by chance, or by sign: what
 * task-vector merges are made of.
 *
 * The loops are written once, in masks_loops.h, and compiled for each instruction set: they are
 * element by element, or sums in 16 fixed lanes (rows.h), so that the bits are the same. keep is
 * all ones for an element that is kept, else 0. Rows need no padding but where it says so. */
#pragma once
#include "tensor/cpu.h"

#define IG_MASKS_LANES  8
#define IG_MASKS_LISTED 32

struct ig_masks_ops {
    /* The bits without the sign: keys in the order of magnitudes. */
    void (*magnitudes)(const float *row, int64_t count, uint32_t *keys);
    /* Of the keys whose upper half is bucket: tallies[lower half]++. */
    void (*tally)(const uint32_t *keys, int64_t count, uint32_t bucket, uint64_t *tallies);
    /* Keys from least on. */
    void (*above)(const uint32_t *keys, int64_t count, uint32_t least, uint32_t *keep);
    /* Keys from least on that are under most. */
    void (*between)(const uint32_t *keys, int64_t count, uint32_t least, uint32_t most,
                    uint32_t *keep);
    /* How many keys are this one. */
    int64_t (*equal)(const uint32_t *keys, int64_t count, uint32_t key);
    /* Numbers of a stream under least, one for each element from the first on (random.h). */
    void (*draw)(uint64_t stream, uint64_t first, int64_t count, uint64_t least, uint32_t *keep);
    /* The same numbers themselves. */
    void (*numbers)(uint64_t stream, uint64_t first, int64_t count, uint32_t *out);
    /* out = (key - floor) >> shift, 0 for keys under floor; less than 2^16. */
    void (*buckets)(const uint32_t *keys, int64_t count, uint32_t floor, int shift, uint16_t *out);
    /* Of buckets' counts start[b], how many are in earlier buckets (one more at its end), and
     * limits[b]: the upper halves of the bounds (base + rank step) >> 24 of the bucket's first
     * rank, and, shifted by 16, of its last. */
    void (*bounds)(const uint32_t *counts, int64_t buckets, uint64_t base, uint64_t step,
                   uint32_t *start, uint32_t *limits);
    /* keep = all ones for a number surely under the bounds of its bucket, 0 for one surely not,
     * else
     * 1. Returns how many 1, and lists them, unless they are more than IG_MASKS_LISTED. */
    int64_t (*judge)(const uint32_t *numbers, const uint16_t *buckets, const uint32_t *limits,
                     int64_t count, uint32_t *keep, uint32_t *list);
    /* Keys under keys[at], and those like it that come before it. */
    int64_t (*rank)(const uint32_t *keys, int64_t count, int64_t at);
    /* The largest key; 0 of none. */
    uint32_t (*largest)(const uint32_t *keys, int64_t count);
    /* A bit for each element of keep, and back. count: a multiple of 8. */
    void (*pack)(const uint32_t *keep, int64_t count, uint8_t *bits);
    void (*unpack)(const uint8_t *bits, int64_t count, uint32_t *keep);
    /* out = factor times what is kept of row; keep NULL: all. out may be row. */
    void (*scale)(const float *row, const uint32_t *keep, float factor, int64_t count, float *out);
    /* Sums of magnitudes, of all and of what is kept. count: a multiple of 16. */
    void (*sizes)(const float *row, const uint32_t *keep, int64_t count, double *all, double *kept);
    /* out += row. */
    void (*add)(const float *row, int64_t count, float *out);
    /* Where row has the sign of sum (+ for 0; a zero has none): mixed += row, weights += weight. */
    void (*agree)(const float *sum, const float *row, float weight, int64_t count, float *mixed,
                  float *weights);
    /* row /= divisors, those that are 0 taken for 1. */
    void (*divide)(const float *divisors, int64_t count, float *row);
    /* row /= divisors, those under least taken for least. */
    void (*divide_least)(const float *divisors, float least, int64_t count, float *row);
    /* Over the rows: their variance (of a population). scratch, out: not rows. */
    void (*variance)(const float *const *rows, int n, int64_t count, float *scratch, float *out);
    /* counts += 1 where the row's magnitude is over epsilon. */
    void (*count_over)(const float *row, float epsilon, int64_t count, float *counts);
    /* Of the elements over epsilon, how many have a count over 1, and how many of 1. */
    void (*shares)(const float *row, const float *counts, float epsilon, int64_t count,
                   int64_t *shared, int64_t *unique);
    /* out = what is over epsilon of row, over its count. */
    void (*average)(const float *row, const float *counts, float epsilon, int64_t count,
                    float *out);
    /* row *= factor where the count is 1. */
    void (*boost)(const float *counts, float factor, int64_t count, float *row);
    /* out = base + w delta; w = t / |delta| between 0 and 1, the magnitude at least `least`. */
    void (*approach)(const float *base, const float *delta, float t, float least, int64_t count,
                     float *out);
    /* Keys in the order of the values themselves, negative ones too. */
    void (*value_keys)(const float *values, int64_t count, uint32_t *keys);
    /* out = e^(row - top), top being no less than any of the row; the sum, in 8 lanes. */
    void (*exponentials)(const float *row, float top, int64_t count, double *out, double *sums);
    /* sums += p ln(p / q), in 8 lanes, p and q being `of` and `to` times their factor, plus eps.
     * of is not what it was afterwards. */
    void (*divergence)(double *of, const double *to, const double factors[2], double eps,
                       int64_t count, double *sums);
    /* out = |b - a| factor, 0 for -0. */
    void (*apart)(const float *a, const float *b, float factor, int64_t count, float *out);
    /* out = b where the value is at least `least`, else a. */
    void (*choose)(const float *values, float least, const float *a, const float *b, int64_t count,
                   float *out);
};

void ig_masks_ref(struct ig_masks_ops *ops);
void ig_masks_avx2(struct ig_masks_ops *ops);
void ig_masks_avx512(struct ig_masks_ops *ops);
void ig_masks_neon(struct ig_masks_ops *ops);
