/* SPDX-License-Identifier: Apache-2.0
 * task_options — the eight task-vector methods: their parameters, checks and sketchbook lines. */
#include "merge/methods/task.h"

#include <math.h>

// clang-format off
#define O struct task_options
#define M struct task_model_options
#define LAMBDA IG_OPT_REAL(O, lambda, "lambda", 0, "L", "1", 0, 0, "factor of what is added to the base")
#define INT8   IG_OPT_FLAG(O, int8_mask, "int8_mask", 0, "mergekit's way to save memory; of no effect")
#define NORMALIZE_HELP "divide by the sum of the weights that take part"
#define RESCALE_HELP   "give what is kept the sum of magnitudes of the whole delta"
#define NORMALIZE IG_OPT_FLAG(O, normalize, "normalize", 0, NORMALIZE_HELP)
#define NORMALIZE_ON IG_OPT_FLAG_ON(O, normalize, "normalize", 0, NORMALIZE_HELP)
#define RESCALE IG_OPT_FLAG(O, rescale, "rescale", 0, RESCALE_HELP)
#define RESCALE_ON IG_OPT_FLAG_ON(O, rescale, "rescale", 0, RESCALE_HELP)
static const struct ig_opt plain[] = {LAMBDA, NORMALIZE, RESCALE, INT8, IG_OPT_END};
static const struct ig_opt normalized[] = {LAMBDA, NORMALIZE_ON, RESCALE, INT8, IG_OPT_END};
static const struct ig_opt rescaled[] = {LAMBDA, NORMALIZE, RESCALE_ON, INT8, IG_OPT_END};
static const struct ig_opt both[] = {LAMBDA, NORMALIZE_ON, RESCALE_ON, INT8, IG_OPT_END};

#define WEIGHT  IG_OPT_REAL(M, weight, "weight", 0, "W", NULL, 0, 0, "factor of the model's delta")
#define DENSITY IG_OPT_REAL(M, density, "density", 0, "D", "1", 0, 0, "share of the delta that is kept; 1: all")
#define GAMMA   IG_OPT_REAL(M, gamma, "gamma", 0, "G", "0.01", 0, 1, "share of the largest that is left out")
#define EPSILON IG_OPT_REAL(M, epsilon, "epsilon", 0, "E", "0.15", 0, 1, "how far the density goes up and down with the rank")
static const struct ig_opt of_model[] = {WEIGHT, DENSITY, IG_OPT_END};
static const struct ig_opt of_breadcrumbs[] = {WEIGHT, DENSITY, GAMMA, IG_OPT_END};
static const struct ig_opt of_della[] = {WEIGHT, DENSITY, EPSILON, IG_OPT_END};
// clang-format on
static const char *const required[] = {"weight", NULL};

enum { NOTE_SUM = 1, NOTE_DENSITY = 2 };

static bool check_model(const struct merge_case *job, int m, struct ig_err *err)
{
    const struct task_model_options *own = task__own(job, m);
    if (own->density < 0)
        return ig_err_set(err, IG_ERR_USAGE, "density %g is below 0", own->density);
    if (task__variant(job)->sparsify != TASK_RANKED || own->density >= 1 || own->density <= 0)
        return true;
    if (own->density - own->epsilon > 0 && own->density + own->epsilon < 1) return true;
    return ig_err_set(err, IG_ERR_USAGE,
                      "density %g and epsilon %g: density - epsilon and density + epsilon must lie "
                      "between 0 and 1",
                      own->density, own->epsilon);
}

static bool check(struct merge_case *job, struct merge_notes *notes, struct ig_err *err)
{
    const struct task_options *o = job->options;
    double sum = 0;
    bool ignored = false;
    for (int m = 1; m < job->models; m++) {
        if (!check_model(job, m, err)) return false;
        sum += task__own(job, m)->weight;
        ignored = ignored ||
                  (task__own(job, m)->density < 1 && task__variant(job)->sparsify == TASK_WHOLE);
    }
    if (o->normalize && job->models > 1 && fabs(sum) < 1e-8 && !task__variant(job)->consensus)
        merge__warn_once(notes, NOTE_SUM,
                         "the weights sum to 0: as in mergekit, nothing is divided by them");
    if (ignored) merge__warn_once(notes, NOTE_DENSITY, "task_arithmetic does not use density");
    return true;
}

/* ---- the sketchbook ---- */

static void put_weights(const struct merge_case *job, struct ig_json_writer *w)
{
    double weights[MERGE_MODELS_MAX];
    for (int m = 1; m < job->models; m++)
        weights[m - 1] = task__own(job, m)->weight;
    merge__put_reals(w, "weight", weights, job->models - 1);
}

static double magnitude_at(const struct merge_cut *cut)
{
    if (cut->split) return (double)merge__magnitude_of_key(cut->tie);
    return cut->past_all ? (double)INFINITY : (double)merge__magnitude_of_key(cut->least);
}

/* For each model the least magnitude that is kept and the least that no longer is, and how many
 * elements that leaves. Null where the whole delta is kept. */
static void put_cuts(const struct merge_case *job, const struct task_state *s,
                     struct ig_json_writer *w)
{
    ig_json_key(w, "kept");
    ig_json_open(w, '[');
    for (int m = 1; m < job->models; m++) {
        int64_t first = 0, end = job->tensor->elems;
        if (task__is_cut(job, m)) task__kept_ranks(job, m, &first, &end);
        ig_json_put_int(w, end - first);
    }
    ig_json_close(w, ']');
    for (int c = 0; c < 2; c++) {
        if (c && task__variant(job)->sparsify != TASK_MIDDLE) continue;
        ig_json_key(w, c ? "upper_threshold" : "threshold");
        ig_json_open(w, '[');
        for (int m = 1; m < job->models; m++) {
            double at = task__is_cut(job, m) ? magnitude_at(&s->cuts[m - 1][c]) : (double)INFINITY;
            if (isfinite(at))
                ig_json_put_real(w, at);
            else
                ig_json_put_null(w);
        }
        ig_json_close(w, ']');
    }
}

static void trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    const struct task_state *s = state;
    const struct task_options *o = job->options;
    enum task_sparsify kind = task__variant(job)->sparsify;
    double kept[MERGE_MODELS_MAX];
    put_weights(job, w);
    ig_json_add_real(w, "lambda", o->lambda);
    if (kind == TASK_LARGEST || kind == TASK_MIDDLE) put_cuts(job, s, w);
    if (!o->rescale || kind == TASK_WHOLE) return;
    for (int i = 0; i < job->models - 1; i++)
        kept[i] = s->all[i] > 0 ? s->kept[i] / s->all[i] : 1;
    merge__put_reals(w, "kept_magnitude", kept, job->models - 1);
    merge__put_reals(w, "scale", s->scale, job->models - 1);
}

/* ---- the eight ---- */

#define METHOD(word, kind, agreeing, shared, own, text, paper, ...)                                \
    static const struct task_variant word##_variant = {kind, agreeing};                            \
    const struct merge_method merge__##word = {.name = #word,                                      \
                                               .summary = text,                                    \
                                               .source = "mergekit 0.1.5, " #word "; " paper,      \
                                               .variant = &word##_variant,                         \
                                               .options = shared,                                  \
                                               .options_bytes = sizeof(struct task_options),       \
                                               .model_options = own,                               \
                                               .model_options_bytes =                              \
                                                   sizeof(struct task_model_options),              \
                                               .required = required,                               \
                                               .models_min = 1,                                    \
                                               .models_max = MERGE_MODELS_MAX - 1,                 \
                                               .base = MERGE_BASE_REQUIRED,                        \
                                               .stepwise = true,                                   \
                                               .state_bytes = sizeof(struct task_state),           \
                                               .check = check,                                     \
                                               .memory_bytes = task__memory_bytes,                 \
                                               .row = task__row,                                   \
                                               .tallies = task__tallies,                           \
                                               .rows = task__rows,                                 \
                                               .sums = task__sums,                                 \
                                               .reduce = task__reduce,                             \
                                               .solve = task__solve,                               \
                                               .map = task__map,                                   \
                                               .trace = trace,                                     \
                                               __VA_ARGS__}

METHOD(task_arithmetic, TASK_WHOLE, false, plain, of_model,
       "the base plus a weighted sum of the models' deltas", "arXiv 2212.04089");
METHOD(ties, TASK_LARGEST, true, normalized, of_model,
       "the largest deltas, those of the sign that prevails", "arXiv 2306.01708");
METHOD(dare_linear, TASK_RANDOM, false, rescaled, of_model,
       "deltas dropped at random, the rest scaled up", "arXiv 2311.03099", .random = true);
METHOD(dare_ties, TASK_RANDOM, true, rescaled, of_model,
       "deltas dropped at random, those of the sign that prevails", "arXiv 2311.03099",
       .random = true);
METHOD(breadcrumbs, TASK_MIDDLE, false, plain, of_breadcrumbs,
       "large deltas without the very largest", "arXiv 2312.06795");
METHOD(breadcrumbs_ties, TASK_MIDDLE, true, plain, of_breadcrumbs,
       "large deltas without the very largest, of the sign that prevails", "arXiv 2312.06795");
METHOD(della, TASK_RANKED, true, both, of_della,
       "deltas dropped at random by rank, those of the sign that prevails", "arXiv 2406.11617",
       .random = true);
METHOD(della_linear, TASK_RANKED, false, rescaled, of_della,
       "deltas dropped at random by rank, the rest scaled up", "arXiv 2406.11617", .random = true);
