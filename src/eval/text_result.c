/* SPDX-License-Identifier: Apache-2.0
 * text_result — what llama-perplexity reports, from each token's values.
 *
 *     error of a mean   sqrt((mean of squares - square of mean) / (n - 1))
 *     error of exp(m)   exp(m) times the error of m
 *     error of a - b    sqrt(ea^2 + eb^2 - 2 cov / (n - 1)): the tokens are the same
 *     error of sqrt(m)  error of m / (2 sqrt(m)) */
#include "eval/perplexity.h"

#include <math.h>
#include <stdlib.h>

const double ig_text_percents[IG_TEXT_PERCENTS] = {0, 0.1, 1, 5, 10, 50, 90, 95, 99, 99.9, 100};

struct sums {
    double one, square;
};

static void add(struct sums *s, double value)
{
    s->one += value;
    s->square += value * value;
}

static struct ig_estimate mean_of(struct sums s, int64_t n)
{
    double mean = s.one / (double)n, var = s.square / (double)n - mean * mean;
    return (struct ig_estimate){mean, n > 1 && var > 0 ? sqrt(var / (double)(n - 1)) : 0};
}

static struct ig_estimate exp_of(struct ig_estimate e)
{
    double value = exp(e.value);
    return (struct ig_estimate){value, value * e.error};
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two values that stand around it; the list is sorted. */
static double percentile(const double *values, int64_t n, double percent)
{
    double at = percent / 100 * (double)(n - 1);
    int64_t i = (int64_t)at, next = i + 1 < n ? i + 1 : n - 1;
    double part = at - (double)i;
    return (1 - part) * values[i] + part * values[next];
}

static void diverge(const struct eval_token *tokens, int64_t n, double *klds,
                    struct ig_text_result *r)
{
    struct sums nll = {0}, base = {0}, kld = {0}, dp = {0}, square = {0};
    double both = 0;
    int64_t same = 0;
    for (int64_t i = 0; i < n; i++) {
        double p = exp(-tokens[i].nll) - exp(-tokens[i].nll_base);
        add(&nll, tokens[i].nll);
        add(&base, tokens[i].nll_base);
        add(&kld, tokens[i].kld);
        add(&dp, p);
        add(&square, p * p);
        both += tokens[i].nll * tokens[i].nll_base;
        same += tokens[i].same_top;
        klds[i] = tokens[i].kld;
    }
    struct ig_estimate mine = mean_of(nll, n), theirs = mean_of(base, n);
    double cov = n > 1 ? (both / (double)n - mine.value * theirs.value) / (double)(n - 1) : 0;
    double var = mine.error * mine.error + theirs.error * theirs.error - 2 * cov;
    double product = mine.error * theirs.error, share = (double)same / (double)n;
    r->has_reference = true;
    r->reference_ppl = exp_of(theirs);
    r->ln_ratio = (struct ig_estimate){mine.value - theirs.value, var > 0 ? sqrt(var) : 0};
    r->ratio = exp_of(r->ln_ratio);
    r->correlation = product > 0 ? cov / product : 1;
    r->kld = mean_of(kld, n);
    r->delta_p = mean_of(dp, n);
    struct ig_estimate mse = mean_of(square, n);
    double rms = sqrt(mse.value);
    r->rms_delta_p = (struct ig_estimate){rms, rms > 0 ? mse.error / (2 * rms) : 0};
    r->same_top =
        (struct ig_estimate){share, n > 1 ? sqrt(share * (1 - share) / (double)(n - 1)) : 0};
    qsort(klds, (size_t)n, sizeof *klds, by_value);
    for (int i = 0; i < IG_TEXT_PERCENTS; i++)
        r->kld_percentiles[i] = percentile(klds, n, ig_text_percents[i]);
}

bool eval__text_result(const struct eval_token *tokens, int64_t count, bool has_reference,
                       struct ig_text_result *out, struct ig_err *err)
{
    struct ig_text_result r = {.tokens = count};
    struct sums nll = {0};
    for (int64_t i = 0; i < count; i++)
        add(&nll, tokens[i].nll);
    r.nll = mean_of(nll, count);
    r.ppl = exp_of(r.nll);
    if (has_reference) {
        double *klds = calloc((size_t)count + 1, sizeof *klds);
        if (!klds) return ig_err_nomem(err);
        diverge(tokens, count, klds, &r);
        free(klds);
    }
    *out = r;
    return true;
}
