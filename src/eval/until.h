/* SPDX-License-Identifier: Apache-2.0
 * until — when it is clear which of two models is better: a test that may be looked at after every
 * item. */
#pragma once
#include "eval/eval_internal.h"

struct eval_until {        /* zero, but for e = 1: nothing seen */
    int64_t better, worse; /* items that only this model, or only the other, has right */
    double e;
};
/* One item that exactly one of the two has right. True: it is clear. */
bool eval__until_add(struct eval_until *until, bool better);

/* Whether the other run had item `doc` right, in *right. *found false: it does not have the item. A
 * prompt that is not the same is an error. */
IG_MUST_CHECK bool eval__baseline_find(const struct ig_eval_baseline *baseline, int part,
                                       const struct ig_eval_item *item, bool *found, bool *right,
                                       struct ig_err *err);
