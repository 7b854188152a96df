/* SPDX-License-Identifier: Apache-2.0
 * multislerp — a barycentre on the sphere, as mergekit has it: to the tangent space at the weighted
 * mean direction, there the weighted mean, and back. Vectors are the models, or their deltas from a
 * base.
 *
 *     u_i = x_i / (|x_i| + eps);  m = sum w_i u_i, normalised
 *     r = sum w_i (u_i - <u_i,m> m);  n = |r| + eps
 *     out = (cos n m + sin n / n r) sum w_i |x_i|
 *
 * m is itself the weighted sum, so that r is 0 but for rounding: the output is m, scaled. It is
 * computed all the same, in f64 on the Gram matrix. */
#include "merge/methods/algebra.h"
#include "merge/methods/span.h"

#include <math.h>

struct options {
    bool normalize_weights;
    double eps;
};
struct model_options {
    double weight;
};

static const struct ig_opt options[] = {
    IG_OPT_FLAG_ON(struct options, normalize_weights, "normalize_weights", 0,
                   "divide the weights by their sum"),
    IG_OPT_REAL(struct options, eps, "eps", 0, "EPS", "1e-8", 0, 1, "keeps divisions defined"),
    IG_OPT_END,
};
static const struct ig_opt model_options[] = {
    IG_OPT_REAL(struct model_options, weight, "weight", 0, "W", NULL, 0, 0, "the model's share"),
    IG_OPT_END,
};
static const char *const required[] = {"weight", NULL};

/* The weights of the vectors. Their sum, before it is divided by. */
static double weights_of(const struct merge_case *job, double *w)
{
    const struct options *o = job->options;
    int skip = job->base >= 0, n = job->models - skip;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        const struct model_options *own = merge__model_option(job, sizeof *own, i + skip);
        w[i] = own->weight;
        sum += w[i];
    }
    for (int i = 0; o->normalize_weights && i < n; i++)
        w[i] /= sum;
    return sum;
}

static bool check(struct merge_case *job, struct merge_notes *notes, struct ig_err *err)
{
    (void)notes;
    double w[MERGE_MODELS_MAX], sum = weights_of(job, w);
    const struct options *o = job->options;
    if (!o->normalize_weights || fabs(sum) >= 1e-12) return true;
    return ig_err_set(err, IG_ERR_USAGE,
                      "the weights sum to 0: nothing to divide by (normalize_weights: false)");
}

static bool solve(const struct merge_case *job, void *state, int round,
                  const struct merge_totals *totals, struct ig_err *err)
{
    (void)round, (void)err;
    struct merge_span *s = state;
    const struct options *o = job->options;
    double w[MERGE_MODELS_MAX], m[MERGE_MODELS_MAX], r[MERGE_MODELS_MAX], scale[MERGE_MODELS_MAX];
    double length = 0, dots = 0;
    merge__span_gram(job, totals->sums, s);
    weights_of(job, w);
    int n = s->n;
    for (int i = 0; i < n; i++) {
        double norm = sqrt(fmax(0, s->gram[i * n + i]));
        scale[i] = 1 / (norm + o->eps);
        m[i] = w[i] * scale[i];
        length += w[i] * norm;
    }
    double mean = sqrt(fmax(0, merge__form(s->gram, m, n)));
    for (int i = 0; i < n; i++)
        s->c[i] = w[i];
    /* A single model comes back as it is. Directions that cancel, or models that are 0, give the
     * weighted sum; mergekit does that for two models and refuses more. */
    if (n == 1) s->c[0] = 1;
    if (n == 1 || mean < o->eps) {
        merge__span_finish(job, s);
        return true;
    }
    for (int i = 0; i < n; i++)
        m[i] /= mean;
    for (int i = 0; i < n; i++) {
        double dot = 0;
        for (int j = 0; j < n; j++)
            dot += s->gram[i * n + j] * m[j];
        dots += w[i] * dot * scale[i];
    }
    for (int i = 0; i < n; i++)
        r[i] = w[i] * scale[i] - dots * m[i];
    double angle = sqrt(fmax(0, merge__form(s->gram, r, n))) + o->eps;
    double sine = angle > 0 ? sin(angle) / angle : 1;
    for (int i = 0; i < n; i++)
        s->c[i] = (cos(angle) * m[i] + sine * r[i]) * length;
    merge__span_finish(job, s);
    return true;
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    (void)job;
    merge__span_trace(state, w);
}

const struct merge_method merge__multislerp = {
    .name = "multislerp",
    .summary = "a weighted mean of directions on the sphere",
    .source = "mergekit 0.1.5, multislerp",
    .options = options,
    .options_bytes = sizeof(struct options),
    .model_options = model_options,
    .model_options_bytes = sizeof(struct model_options),
    .required = required,
    .models_min = 1,
    .models_max = MERGE_MODELS_MAX - 1,
    .base = MERGE_BASE_OPTIONAL,
    .state_bytes = sizeof(struct merge_span),
    .check = check,
    .rows = merge__span_rows,
    .sums = merge__span_sums,
    .reduce = merge__span_reduce,
    .solve = solve,
    .map = merge__span_map,
    .trace = trace,
};
