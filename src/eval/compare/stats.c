/* SPDX-License-Identifier: Apache-2.0
 * stats — closed forms and exact tests.
 *
 * Wilson 1927; Newcombe 1998, Stat. Med. 17:873 (independent samples, method 10); Tango 1998, Stat.
 * Med. 17:891 (paired); McNemar's mid-p: Fagerland, Lydersen, Laake 2013, BMC Med. Res. Methodol.
 * 13:91; Holm 1979; items needed: Connor 1987, Biometrics 43:207; clusters: Miller 2024,
 * arXiv:2411.00640, and Kish's design effect. Checked by tools/golden/compare_stats.py. */
#include "eval/compare/stats.h"

#include "base/check.h"
#include <math.h>
#include <stdlib.h>

double eval__normal_p(double z)
{
    return erfc(fabs(z) / sqrt(2));
}

struct eval_interval eval__wilson(double share, double n)
{
    double z2 = EVAL_Z95 * EVAL_Z95, centre = (share + z2 / (2 * n)) / (1 + z2 / n);
    double half = EVAL_Z95 / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n));
    return (struct eval_interval){fmax(0, centre - half), fmin(1, centre + half)};
}

struct eval_interval eval__newcombe(double share_a, double n_a, double share_b, double n_b)
{
    struct eval_interval a = eval__wilson(share_a, n_a), b = eval__wilson(share_b, n_b);
    double d = share_b - share_a;
    return (struct eval_interval){d - hypot(share_b - b.low, a.high - share_a),
                                  d + hypot(b.high - share_b, share_a - a.low)};
}

/* ---- Tango ---- */

/* The score of "the difference is d", with the share of lost items that is then most likely. */
static double tango_score(double gained, double lost, double n, double d)
{
    double a = 2 * n, b = -gained - lost + (2 * n - gained + lost) * d, c = -lost * d * (1 - d);
    double root = sqrt(fmax(0, b * b - 4 * a * c));
    /* The larger root; of two forms the one that does not subtract equal numbers. */
    double share = b <= 0 ? (root - b) / (2 * a) : -2 * c / (root + b);
    double variance = n * (2 * share + d * (1 - d)), distance = gained - lost - n * d;
    if (variance <= 0) return distance > 0 ? HUGE_VAL : distance < 0 ? -HUGE_VAL : 0;
    return distance / sqrt(variance);
}

struct eval_interval eval__tango(double gained, double lost, double n)
{
    double d = (gained - lost) / n, ends[2];
    for (int side = 0; side < 2; side++) {
        double inside = d, outside = side ? 1 : -1, want = side ? -EVAL_Z95 : EVAL_Z95;
        for (int i = 0; i < 100; i++) { /* the score falls with d: halve until doubles end */
            double middle = (inside + outside) / 2;
            double score = tango_score(gained, lost, n, middle);
            if (side ? score < want : score > want)
                outside = middle;
            else
                inside = middle;
        }
        ends[side] = inside;
    }
    return (struct eval_interval){ends[0], ends[1]};
}

/* ---- several tests; size of a run ---- */

void eval__holm(double *p, int count)
{
    int left = 0;
    double floor = 0;
    for (int i = 0; i < count; i++)
        left += !isnan(p[i]);
    /* Until all are done, adjusted values are told from others by their sign. */
    for (; left > 0; left--) {
        int least = -1;
        for (int i = 0; i < count; i++)
            if (!isnan(p[i]) && !signbit(p[i]) && (least < 0 || p[i] < p[least])) least = i;
        IG_ASSERT(least >= 0);
        floor = fmax(floor, fmin(1, p[least] * left));
        p[least] = -floor;
    }
    for (int i = 0; i < count; i++)
        p[i] = fabs(p[i]);
}

double eval__items_needed(double difference, double discordant)
{
    double d = fabs(difference), share = fmax(discordant, d);
    double root = EVAL_Z95 * sqrt(share) + EVAL_Z80 * sqrt(fmax(0, share - d * d));
    return ceil(root * root / (d * d));
}

/* ---- clusters ---- */

bool eval__design_effect(const struct eval_clusters *clusters, const double *x, double *out,
                         struct ig_err *err)
{
    double n = (double)clusters->items, g = (double)clusters->count, mean = 0;
    double single = 0, grouped = 0;
    *out = 1;
    if (clusters->count == clusters->items || clusters->count < 2) return true;
    double *sums = calloc((size_t)clusters->count, sizeof *sums);
    if (!sums) return ig_err_nomem(err);
    for (int64_t i = 0; i < clusters->items; i++)
        mean += x[i] / n;
    for (int64_t i = 0; i < clusters->items; i++) {
        single += (x[i] - mean) * (x[i] - mean);
        sums[clusters->ids[i]] += x[i] - mean;
    }
    for (int64_t i = 0; i < clusters->count; i++)
        grouped += sums[i] * sums[i];
    free(sums);
    if (single > 0) *out = fmax(1, grouped * (g / (g - 1)) / (single * (n / (n - 1))));
    return true;
}

/* ---- McNemar ---- */

/* Chances of the sum of `ones` signs, at chances[middle + sum]. */
static void binomial_chances(double *chances, int64_t middle, int64_t ones)
{
    double top = lgamma((double)ones + 1) - (double)ones * log(2);
    for (int64_t k = 0; k <= ones; k++)
        chances[middle + 2 * k - ones] =
            exp(top - lgamma((double)k + 1) - lgamma((double)(ones - k) + 1));
}

/* One more sign, of a cluster that weighs w: half of each chance goes w up, half w down. `reach` is
 * how far the sum got so far. */
static void add_sign(double *chances, double *scratch, int64_t middle, int64_t reach, int64_t w)
{
    for (int64_t s = -reach - w; s <= reach + w; s++)
        scratch[middle + s] = 0;
    for (int64_t s = -reach; s <= reach; s++) {
        scratch[middle + s - w] += chances[middle + s] / 2;
        scratch[middle + s + w] += chances[middle + s] / 2;
    }
    for (int64_t s = -reach - w; s <= reach + w; s++)
        chances[middle + s] = scratch[middle + s];
}

/* p of each |sum| from the far end inwards: twice (what lies beyond, and half of itself). */
static void read_tail(const double *chances, int64_t middle, int64_t observed,
                      struct eval_mcnemar *out)
{
    double beyond = 0;
    out->p = 1;
    out->critical = 0;
    for (int64_t s = middle; s >= 0; s--) {
        double p = 2 * beyond + chances[middle + s];
        if (s > 0 && chances[middle + s] > 0 && p < 0.05) out->critical = s;
        if (s == observed) out->p = fmin(1, p);
        beyond += chances[middle + s];
    }
}

bool eval__mcnemar(const int32_t *sums, int64_t count, struct eval_mcnemar *out, struct ig_err *err)
{
    int64_t middle = 0, ones = 0, observed = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t weight = llabs(sums[i]);
        middle += weight;
        ones += weight == 1;
        observed += sums[i];
    }
    size_t size = 2 * (size_t)middle + 1;
    double *chances = calloc(size, sizeof *chances), *scratch = calloc(size, sizeof *scratch);
    bool ok = (chances && scratch) || ig_err_nomem(err);
    if (ok) {
        int64_t reach = ones;
        binomial_chances(chances, middle, ones);
        for (int64_t i = 0; i < count; i++) {
            int64_t weight = llabs(sums[i]);
            if (weight < 2) continue;
            add_sign(chances, scratch, middle, reach, weight);
            reach += weight;
        }
        read_tail(chances, middle, llabs(observed), out);
    }
    free(chances);
    free(scratch);
    return ok;
}
