/* SPDX-License-Identifier: Apache-2.0
 * linear — the weighted mean: out = sum w_k x_k / sum w_k. One pass, no reduction. */
#include "merge/method.h"

#include <math.h>

struct options {
    bool normalize;
};
struct model_options {
    double weight;
};

static const struct ig_opt options[] = {
    IG_OPT_FLAG_ON(struct options, normalize, "normalize", 0, "divide by the sum of the weights"),
    IG_OPT_END,
};
static const struct ig_opt model_options[] = {
    IG_OPT_REAL(struct model_options, weight, "weight", 0, "W", NULL, 0, 0, "the model's share"),
    IG_OPT_END,
};
static const char *const required[] = {"weight", NULL};

static double weight_of(const struct merge_case *job, int row)
{
    const struct model_options *own = merge__model_option(job, sizeof *own, row);
    return own->weight;
}

static double divisor(const struct merge_case *job)
{
    const struct options *o = job->options;
    double sum = 0;
    for (int i = 0; i < job->models; i++)
        sum += weight_of(job, i);
    return o->normalize ? sum : 1;
}

static bool check(struct merge_case *job, struct merge_notes *notes, struct ig_err *err)
{
    (void)notes;
    if (fabs(divisor(job)) >= 1e-12) return true;
    return ig_err_set(err, IG_ERR_USAGE,
                      "the weights sum to 0: nothing to divide by (normalize: false sums without)");
}

static void map(const struct merge_block *block, const void *state, float *out)
{
    (void)state;
    float c[MERGE_MODELS_MAX];
    const struct options *o = block->job->options;
    /* mergekit adds up first, in f32, and then divides. */
    bool later = block->job->numerics != IG_F32;
    double sum = divisor(block->job);
    for (int i = 0; i < block->job->models; i++)
        c[i] = (float)(weight_of(block->job, i) / (later ? 1 : sum));
    block->ops->combine(block->rows, c, block->job->models, block->count, out);
    float rounded = 0;
    for (int i = 0; i < block->job->models; i++)
        rounded += c[i];
    for (int64_t i = 0; later && o->normalize && i < block->count; i++)
        out[i] /= rounded;
    merge__round(block, out);
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    (void)state;
    ig_json_key(w, "c");
    ig_json_open(w, '[');
    for (int i = 0; i < job->models; i++)
        ig_json_put_real(w, weight_of(job, i) / divisor(job));
    ig_json_close(w, ']');
}

const struct merge_method merge__linear = {
    .name = "linear",
    .summary = "weighted mean of the models",
    .source = "mergekit 0.1.5, linear",
    .options = options,
    .options_bytes = sizeof(struct options),
    .model_options = model_options,
    .model_options_bytes = sizeof(struct model_options),
    .required = required,
    .models_min = 1,
    .models_max = MERGE_MODELS_MAX,
    .base = MERGE_BASE_INPUT,
    .stepwise = true,
    .check = check,
    .map = map,
    .trace = trace,
};
