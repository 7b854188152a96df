/* SPDX-License-Identifier: Apache-2.0
 * cut — where a rank falls among the values of a whole tensor, exactly, without sorting it.
 *
 * A value has a 32-bit key; a round tallies the upper 16 bits of all keys, another the lower 16 of
 * those in the bucket where the rank falls, and the key at the rank is known. Of equal keys the
 * earlier element counts as the larger one, so that a cut through equal keys is by index: a third
 * round counts them cell by cell. */
#pragma once
#include "merge/method.h"

#define MERGE_CUT_TALLIES 65536

struct merge_cut {
    int64_t below;      /* elements under the cut; the rest are above it */
    uint32_t bucket;    /* upper half of the key at the cut */
    int64_t rest;       /* elements of the bucket that are under the cut */
    uint32_t least;     /* keys from here on are above; nothing is when past_all */
    bool past_all;      /* the cut is above all elements */
    bool split;         /* equal keys lie on both sides: */
    uint32_t tie;       /* the key */
    int64_t ties_above; /* the first so many of them are above */
};

/* The value, or magnitude, whose key it is (masks.value_keys, masks.magnitudes). */
float merge__magnitude_of_key(uint32_t key);
float merge__value_of_key(uint32_t key);

/* First round: MERGE_CUT_TALLIES for all cuts of the same keys. */
void merge__cut_tally_high(const uint32_t *keys, int64_t count, uint64_t *tallies);
/* below is set; the tensor has elems elements. */
void merge__cut_find_high(struct merge_cut *cut, int64_t elems, const uint64_t *tallies);
/* Second round: MERGE_CUT_TALLIES for each cut. */
void merge__cut_tally_low(const struct ig_masks_ops *masks, const struct merge_cut *cut,
                          const uint32_t *keys, int64_t count, uint64_t *tallies);
void merge__cut_find_low(struct merge_cut *cut, const uint64_t *tallies);
/* Third round, when the cut is split: masks.equal of the tie, cell by cell. From counts for each
 * cell, `step` apart, to how many there are in the cells before. */
void merge__cut_sum_ties(int64_t *counts, int64_t cells, int step);
/* keep[i] is set to all ones where the element is above the cut, else to 0. ties: how many equal
 * keys came before; advanced. */
void merge__cut_above(const struct ig_masks_ops *masks, const struct merge_cut *cut,
                      const uint32_t *keys, int64_t count, int64_t *ties, uint32_t *keep);
