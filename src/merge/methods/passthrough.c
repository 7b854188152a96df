/* SPDX-License-Identifier: Apache-2.0
 * passthrough — one model as it is, or times `scale`: what slices are stacked with.
 *
 * In a residual block the layer adds o_proj(...) and then down_proj(...) to the stream, so with
 * `scale: [{filter: o_proj, value: s}, {filter: down_proj, value: s}, {value: 1.0}]` a repeated
 * layer contributes s times; at 0 it does nothing. */
#include "merge/method.h"

struct model_options {
    double scale;
};

static const struct ig_opt model_options[] = {
    IG_OPT_REAL(struct model_options, scale, "scale", 0, "S", "1", 0, 0, "factor of the tensor"),
    IG_OPT_END,
};

static double scale_of(const struct merge_case *job)
{
    const struct model_options *own = merge__model_option(job, sizeof *own, 0);
    return own->scale;
}

static bool copies(const struct merge_case *job)
{
    return scale_of(job) == 1;
}

static void map(const struct merge_block *block, const void *state, float *out)
{
    (void)state;
    float c = (float)scale_of(block->job);
    block->ops->combine(block->rows, &c, 1, block->count, out);
    merge__round(block, out);
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    (void)state;
    ig_json_add_real(w, "scale", scale_of(job));
}

const struct merge_method merge__passthrough = {
    .name = "passthrough",
    .summary = "one model's tensors, as they are or scaled",
    .source = "mergekit 0.1.5, passthrough",
    .model_options = model_options,
    .model_options_bytes = sizeof(struct model_options),
    .models_min = 1,
    .models_max = 1,
    .base = MERGE_BASE_INPUT,
    .stepwise = true,
    .copies = copies,
    .map = map,
    .trace = trace,
};
