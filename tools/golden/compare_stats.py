#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Statistics of `ingot compare`, computed by other means: scipy, statsmodels, and full enumeration.

    compare_stats.py > tests/golden/eval/compare_stats.jsonl

Tango's interval is found here by maximising the likelihood numerically (scipy), not by the closed form. Made with
scipy 1.17.1, statsmodels 0.15.0, numpy 2.4.6, CPython 3.11.
"""
import itertools
import json

import numpy as np
import statsmodels.api as sm
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

Z = stats.norm.ppf(0.975)
random = np.random.default_rng(20)


def put(**row):
    print(json.dumps(row, separators=(",", ":")))


def tango_score(b, c, n, d):
    """(b - c)/n against d, in standard errors under the most likely table with that difference."""
    def minus_loglik(q):  # q: share of lost items; q + d: of gained ones
        rest = 1 - 2 * q - d
        terms = [(b, q + d), (c, q), (n - b - c, rest)]
        if any(p < 0 for _, p in terms):
            return np.inf
        return -sum(k * np.log(max(p, 1e-300)) for k, p in terms if k > 0)
    low, high = max(0, -d), (1 - d) / 2
    q = optimize.minimize_scalar(minus_loglik, bounds=(low, high), method="bounded", options={"xatol": 1e-14}).x
    q = min((low, q, high), key=minus_loglik)
    distance, variance = b - c - n * d, n * (2 * q + d * (1 - d))
    return distance / np.sqrt(max(variance, 1e-30)) if distance else 0.0


def tango(b, c, n):
    d, edge = (b - c) / n, 1 - 1e-9
    low = -1 if d <= -edge else optimize.brentq(lambda x: tango_score(b, c, n, x) - Z, -edge, d, xtol=1e-13)
    high = 1 if d >= edge else optimize.brentq(lambda x: tango_score(b, c, n, x) + Z, d, edge, xtol=1e-13)
    return low, high


def mcnemar(sums):
    """All signs of the clusters' sums: mid-p, and the smallest sum that is significant."""
    weights = [abs(s) for s in sums if s]
    totals = {0: 1}
    for w in weights:
        new = {}
        for total, ways in totals.items():
            for sign in (w, -w):
                new[total + sign] = new.get(total + sign, 0) + ways
        totals = new
    everything = 2 ** len(weights)

    def p(t):
        beyond = sum(ways for total, ways in totals.items() if abs(total) > t)
        at = sum(ways for total, ways in totals.items() if abs(total) == t)
        return (beyond + (at / 2 if t else at)) / everything
    significant = [t for t in sorted(totals) if t > 0 and p(t) < 0.05]
    return min(1, p(abs(sum(sums)))), significant[0] if significant else 0


for k, n in [(0, 10), (3, 10), (217, 500), (500, 500), (6930, 10042)]:
    low, high = proportion_confint(k, n, method="wilson")
    put(kind="wilson", share=k / n, n=n, low=low, high=high)
for a, b, n in [(0, 0, 20), (3, 9, 20), (212, 217, 500), (1340, 1639, 2376), (500, 500, 500), (1, 499, 500)]:
    low, high = confint_proportions_2indep(b, n, a, n, method="newcomb", compare="diff")
    put(kind="newcombe", a=a / n, b=b / n, n=n, low=low, high=high)
for b, c, n in [(0, 0, 50), (1, 0, 30), (0, 7, 240), (8, 3, 40), (12, 9, 500), (300, 240, 10042), (50, 0, 50), (20, 10, 30),
                (79, 0, 240), (25.5, 12.75, 300.5)]:
    low, high = tango(b, c, n)
    put(kind="tango", gained=b, lost=c, n=n, low=low, high=high)

cases = [[1] * b + [-1] * c for b, c in [(0, 0), (1, 0), (5, 0), (4, 0), (9, 3), (12, 12), (80, 51), (300, 240)]]
cases += [random.integers(-3, 4, size).tolist() for size in (5, 12, 40, 200)] + [[7, 1, 1], [0, 0, 5], [-4, 2, 2, 2, 0, 1]]
for sums in cases:
    p, critical = mcnemar(sums)
    if all(abs(s) == 1 for s in sums) and sums:  # single items: the textbook's form
        b, n = sums.count(1), len(sums)
        k = min(b, n - b)
        textbook = min(1, 2 * stats.binom.cdf(k, n, 0.5) - stats.binom.pmf(k, n, 0.5))
        assert abs(textbook - p) < 1e-10, (textbook, p)
    put(kind="mcnemar", sums=sums, p=p, critical=critical)

for p in [[0.01, 0.04, 0.03, 0.005], [0.5], [0.2, 0.2, 0.9, 0.0001, 0.04, 0.04, 1.0], [1.0, 1.0]]:
    put(kind="holm", p=p, adjusted=multipletests(p, method="holm")[1].tolist())

for items, groups in [(30, 10), (200, 40), (300, 290)]:
    ids = np.sort(np.concatenate([np.arange(groups), random.integers(0, groups, items - groups)]))
    x = random.integers(-1, 2, groups)[ids] * (random.random(items) < 0.7)
    plain = sm.OLS(x, np.ones(items)).fit()
    grouped = sm.OLS(x, np.ones(items)).fit(cov_type="cluster", cov_kwds={"groups": ids})
    put(kind="design", ids=ids.tolist(), x=x.tolist(), effect=max(1, (grouped.bse[0] / plain.bse[0]) ** 2))

for size in (3, 8, 12):
    x = np.round(random.normal(0.4, 1, size), 3)
    test = stats.permutation_test((x,), np.sum, permutation_type="samples", n_resamples=np.inf)
    exact = np.mean([abs(np.dot(s, x)) >= abs(x.sum()) - 1e-12 for s in itertools.product((1, -1), repeat=size)])
    assert abs(test.pvalue - exact) < 1e-12
    put(kind="flip", x=x.tolist(), p=float(exact), exact=True)
x = np.round(random.normal(0.08, 1, 400), 3)
test = stats.permutation_test((x,), np.sum, permutation_type="samples", n_resamples=200000, random_state=random)
put(kind="flip", x=x.tolist(), p=test.pvalue, exact=False)

strata = []
for clusters, rate in [(60, 0.2), (150, 0.1), (40, 0.4)]:
    sizes = random.integers(1, 4, clusters)
    strata.append({"sums": [int(random.integers(-s, s + 1)) if random.random() < rate else 0 for s in sizes], "sizes": sizes.tolist()})
rounds = 400000
means = np.zeros(rounds)
for s in strata:
    sums, sizes, done = np.array(s["sums"]), np.array(s["sizes"]), 0
    while done < rounds:
        drawn = random.integers(0, len(sums), (20000, len(sums)))
        means[done:done + 20000] += sums[drawn].sum(1) / sizes[drawn].sum(1) / len(strata)
        done += 20000
low, high = np.quantile(means, [0.025, 0.975])
below, above = np.mean(means < 0) + np.mean(means == 0) / 2, np.mean(means > 0) + np.mean(means == 0) / 2
put(kind="bootstrap", strata=strata, low=low, high=high, error=means.std(ddof=1), p=min(1, 2 * min(below, above)))
