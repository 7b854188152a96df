/* SPDX-License-Identifier: Apache-2.0
 * stats — what can be said of two models' right and wrong answers to the same items.
 *
 * Items that belong together (rows about one article, twin sentences) are one cluster, and the
 * cluster is what is drawn and flipped; without clusters each item is its own. Nothing here reads
 * files; every result is the same on every machine, for any number of threads. Sources: stats.c. */
#pragma once
#include "base/thread.h"

#define EVAL_Z95 1.959963984540054  /* normal quantile at 0.975 */
#define EVAL_Z80 0.8416212335729143 /* at 0.8: found four times in five */

struct eval_interval {
    double low, high;
};

/* ---- stats.c ---- */
/* Two-sided p of a standard normal value. */
double eval__normal_p(double z);
/* Wilson's interval of a proportion. n > 0. */
struct eval_interval eval__wilson(double share, double n);
/* Newcombe's interval (method 10) of share_b - share_a, of two independent samples. */
struct eval_interval eval__newcombe(double share_a, double n_a, double share_b, double n_b);
/* Tango's score interval of (gained - lost) / n in paired data. Counts may be fractions: divided by
 * the design effect they make the interval as wide as the clusters ask for. */
struct eval_interval eval__tango(double gained, double lost, double n);
/* Adjusts p-values for being several (Holm 1979), in place. NAN ones are not counted. */
void eval__holm(double *p, int count);
/* Items that find a true difference in four runs of five, at this share of discordant items. */
double eval__items_needed(double difference, double discordant);

/* Sums of one number over each cluster, and how many items it has. */
struct eval_clusters {
    const int32_t *ids; /* of each item, 0 .. count - 1 */
    int64_t items, count;
};
/* How much wider clusters make the variance of the mean of x; at least 1. */
IG_MUST_CHECK bool eval__design_effect(const struct eval_clusters *clusters, const double *x,
                                       double *out, struct ig_err *err);
struct eval_mcnemar {
    double p;         /* mid-p, two-sided */
    int64_t critical; /* the smallest |gained - lost| that these items could show at 5 %; 0: none */
};
/* McNemar's exact test with the cluster as unit: each sum changes its sign with probability 1/2.
 * Of single items that is the binomial test. sums: gained - lost of each cluster. */
IG_MUST_CHECK bool eval__mcnemar(const int32_t *sums, int64_t count, struct eval_mcnemar *out,
                                 struct ig_err *err);

/* ---- stats_resample.c ---- */
struct eval_stratum {     /* one task */
    const int32_t *sums;  /* gained - lost of each cluster */
    const int32_t *sizes; /* items of each cluster */
    int64_t count, items;
};
struct eval_resampled {
    struct eval_interval interval; /* 2.5 and 97.5 % points of the drawn means */
    double error;                  /* their standard deviation */
    double p;                      /* twice the share of drawn means on the far side of 0 */
};
/* The mean over tasks of the differences: clusters drawn with replacement inside each task.
 * Not a sign-flip test: gains on one task and losses on another do not cancel in that one's null.
 */
IG_MUST_CHECK bool eval__bootstrap(const struct eval_stratum *strata, int count, int64_t rounds,
                                   uint64_t seed, struct ig_pool *pool, struct eval_resampled *out,
                                   struct ig_err *err);
/* Two-sided p of the sum of x under random signs: all of them up to 2^20, else `rounds` drawn. */
IG_MUST_CHECK bool eval__sign_flip(const double *x, int64_t count, int64_t rounds, uint64_t seed,
                                   struct ig_pool *pool, double *p, struct ig_err *err);
