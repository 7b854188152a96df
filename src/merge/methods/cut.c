/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/methods/cut.h"

#define SIGN 0x80000000u

float merge__magnitude_of_key(uint32_t key)
{
    float value;
    memcpy(&value, &key, sizeof value);
    return value;
}

float merge__value_of_key(uint32_t key)
{
    return merge__magnitude_of_key(key & SIGN ? key & ~SIGN : ~key);
}

void merge__cut_tally_high(const uint32_t *keys, int64_t count, uint64_t *tallies)
{
    for (int64_t i = 0; i < count; i++)
        tallies[keys[i] >> 16]++;
}

/* The tally in which the rank falls; *rest becomes the rank within it. */
static uint32_t find(const uint64_t *tallies, int64_t *rest)
{
    uint32_t at = 0;
    while (at + 1 < MERGE_CUT_TALLIES && *rest >= (int64_t)tallies[at])
        *rest -= (int64_t)tallies[at++];
    return at;
}

void merge__cut_find_high(struct merge_cut *cut, int64_t elems, const uint64_t *tallies)
{
    cut->past_all = cut->below >= elems;
    cut->rest = cut->below;
    cut->bucket = find(tallies, &cut->rest);
}

void merge__cut_tally_low(const struct ig_masks_ops *masks, const struct merge_cut *cut,
                          const uint32_t *keys, int64_t count, uint64_t *tallies)
{
    if (!cut->past_all && cut->below > 0) masks->tally(keys, count, cut->bucket, tallies);
}

void merge__cut_find_low(struct merge_cut *cut, const uint64_t *tallies)
{
    cut->least = 0;
    cut->split = false;
    if (cut->past_all || cut->below <= 0) return;
    int64_t rest = cut->rest;
    uint32_t low = find(tallies, &rest);
    cut->least = cut->bucket << 16 | low;
    if (rest <= 0) return;
    cut->split = true;
    cut->tie = cut->least;
    cut->ties_above = (int64_t)tallies[low] - rest;
    cut->past_all = cut->least == UINT32_MAX; /* a NaN: never of finite values */
    cut->least++;
}

void merge__cut_sum_ties(int64_t *counts, int64_t cells, int step)
{
    int64_t before = 0;
    for (int64_t c = 0; c < cells; c++) {
        int64_t here = counts[c * step];
        counts[c * step] = before;
        before += here;
    }
}

void merge__cut_above(const struct ig_masks_ops *masks, const struct merge_cut *cut,
                      const uint32_t *keys, int64_t count, int64_t *ties, uint32_t *keep)
{
    if (cut->past_all && !cut->split) {
        memset(keep, 0, (size_t)count * sizeof *keep);
        return;
    }
    int64_t here = cut->split ? masks->equal(keys, count, cut->tie) : 0, before = *ties;
    *ties += here;
    bool all = here > 0 && *ties <= cut->ties_above; /* the block's are all above */
    masks->above(keys, count, all ? cut->tie : cut->least, keep);
    if (here == 0 || all || before >= cut->ties_above) return;
    for (int64_t i = 0; i < count; i++) {
        if (keys[i] != cut->tie) continue;
        if (before++ < cut->ties_above) keep[i] = UINT32_MAX;
    }
}
