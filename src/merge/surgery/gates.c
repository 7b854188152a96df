/* SPDX-License-Identifier: Apache-2.0
 * gates — what routers are made of: how the base model sees each expert's prompts, as mergekit-moe
 * has it. A row is the unit vector of
 *
 *   cheap_embed   the unit vector of the summed embeddings of all tokens, less that of the negative
 *                 prompts; the same in every layer
 *   hidden        the mean over prompts of the last token's hidden state, as it goes into the
 * layer, less that of the negative prompts; hidden_avg: of the mean over a prompt's tokens
 *
 * A prompt has the tokenizer's BOS before it and nothing else: no template. mergekit runs the model
 * in bf16, in batches that are padded on the left, and averages over the padding too (hidden_avg,
 * prompts of different lengths); here it is run in f32, prompt by prompt. */
#include "merge/surgery/moe_internal.h"

#include "ingot/token.h"
#include "tensor/spectral/svd.h"

#include <math.h>
#include <stdlib.h>

#define CONDITION 5.0 /* mergekit warns of routers beyond it */
#define TINY      1e-8

struct prompts {
    struct ig_tokenizer *tokenizer;
    struct ig_ids *ids;
    int *groups; /* expert i's: 2 i, its negative ones: 2 i + 1 */
    int count;
    int sizes[2 * (EXPERTS_MAX + 1)];
};

static bool add_prompts(struct prompts *p, const struct ig_yaml *list, int group,
                        struct ig_err *err)
{
    struct ig_slice bos = ig_tokenizer_named(p->tokenizer, "bos");
    for (uint32_t i = 0; list && i < list->count; i++) {
        struct ig_buf text = {0};
        ig_buf_slice(&text, bos);
        ig_buf_slice(&text, list->items[i]->text);
        p->groups[p->count] = group;
        p->sizes[group]++;
        bool ok = ig_buf_ok(&text, err) && ig_tokenizer_encode(p->tokenizer, ig_buf_view(&text),
                                                               false, &p->ids[p->count++], err);
        ig_buf_release(&text);
        if (!ok) return false;
        if (p->ids[p->count - 1].count == 0)
            return ig_yaml_fail(err, list->items[i], "a prompt of no tokens");
    }
    return true;
}

static bool read_prompts(const struct ig_merge *m, struct prompts *p, struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    size_t count = 1;
    for (int i = 0; i < moe_rows(x); i++) {
        count += x->experts[i].positive ? x->experts[i].positive->count : 0;
        count += x->experts[i].negative ? x->experts[i].negative->count : 0;
    }
    p->ids = calloc(count, sizeof *p->ids);
    p->groups = calloc(count, sizeof *p->groups);
    if (!p->ids || !p->groups) return ig_err_nomem(err);
    if (!ig_tokenizer_open(ig_store_path(m->stores[m->recipe->base]), &p->tokenizer, err))
        return false;
    for (int i = 0; i < moe_rows(x); i++)
        if (!add_prompts(p, x->experts[i].positive, 2 * i, err) ||
            !add_prompts(p, x->experts[i].negative, 2 * i + 1, err))
            return false;
    return true;
}

static void release_prompts(struct prompts *p)
{
    for (int i = 0; i < p->count; i++)
        ig_ids_release(&p->ids[i]);
    free(p->ids);
    free(p->groups);
    ig_tokenizer_close(p->tokenizer);
}

/* ---- what the model sees: sums for each group and layer ---- */

static const struct ig_tensor *find_embedding(const struct merge_input *in)
{
    const struct ig_arch *arch = ig_arch_find(in->config);
    for (int64_t i = 0; i < in->count; i++) {
        struct ig_place place;
        ig_arch_place(arch, in->tensors[i]->name, &place);
        if (place.role == IG_ROLE_EMBED && in->tensors[i]->rank == 2) return in->tensors[i];
    }
    return NULL;
}

static double length_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
        sum += x[j] * x[j];
    return sqrt(sum) > TINY ? sqrt(sum) : TINY;
}

static bool sum_embeddings(const struct ig_merge *m, const struct prompts *p,
                           const struct ig_tensor *table, double *sums, struct ig_err *err)
{
    int64_t hidden = table->shape[1];
    const struct merge_input *in = &m->inputs[m->recipe->base];
    float *row = malloc((size_t)hidden * sizeof *row + 1);
    bool ok = row || ig_err_nomem(err);
    for (int i = 0; ok && i < p->count; i++)
        for (size_t k = 0; ok && k < p->ids[i].count; k++) {
            double *sum = sums + p->groups[i] * hidden;
            int32_t id = p->ids[i].items[k];
            ok = id < table->shape[0]
                     ? merge__input_read_f32(in, table, id * hidden, hidden, row, err)
                     : ig_err_set(err, IG_ERR_DATA, "a token has no row in the embedding");
            for (int64_t j = 0; ok && j < hidden; j++)
                sum[j] += (double)row[j];
        }
    free(row);
    for (int g = 0; ok && g < 2 * moe_rows(m->recipe->moe); g++) {
        double length = length_of(sums + g * hidden, hidden);
        for (int64_t j = 0; j < hidden; j++)
            sums[g * hidden + j] /= length;
    }
    return ok;
}

static bool run_model(const struct ig_merge *m, const struct prompts *p, const struct moe_gates *g,
                      double *sums, struct ig_err *err)
{
    const struct recipe_model *model = &m->recipe->models[m->recipe->base];
    const struct ig_states_ask ask = {.model = ig_store_path(m->stores[m->recipe->base]),
                                      .prompts = p->ids,
                                      .groups = p->groups,
                                      .count = p->count,
                                      .mean = m->recipe->moe->gate == GATE_HIDDEN_MEAN,
                                      .layers = g->layers,
                                      .hidden = g->hidden,
                                      .out = sums};
    if (!m->job.states || model->lora)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "gate_mode hidden runs the base model, which %s",
                          model->lora ? "has a LoRA on it: merge that first"
                                      : "this program does not do here");
    if (!m->job.states->run(m->job.states->user, &ask, err))
        return ig_err_within(err, "gate_mode hidden");
    int64_t each = g->layers * g->hidden;
    for (int i = 0; i < 2 * moe_rows(m->recipe->moe); i++)
        for (int64_t j = 0; j < each && p->sizes[i]; j++)
            sums[i * each + j] /= p->sizes[i];
    return true;
}

/* ---- rows ---- */

/* As mergekit does: routers whose rows are nearly the same send everything to one expert. */
static bool warn_degenerate(const struct moe_gates *g, int experts, const struct ig_watch *watch,
                            struct ig_err *err)
{
    struct ig_buf layers = {0};
    int64_t count = g->layers ? g->layers : 1, bad = 0;
    size_t bytes = ig_svd_bytes(experts, g->hidden, experts);
    void *memory = bytes ? aligned_alloc(64, bytes) : NULL;
    bool ok = memory || ig_err_nomem(err);
    for (int64_t l = 0; ok && l < count; l++) {
        struct ig_svd x;
        ok = ig_svd_find(g->rows + l * experts * g->hidden, experts, g->hidden, experts, memory, &x,
                         err);
        if (!ok || (experts <= g->hidden && x.sigma[0] <= CONDITION * x.sigma[experts - 1]))
            continue;
        ig_buf_printf(&layers, bad++ ? ", %lld" : "%lld", (long long)l);
    }
    if (ok && bad == count)
        ig_watch_warn(watch, "the routers of all layers have rows that are nearly the same: the "
                             "prompts may be too similar, and some experts hardly used");
    else if (ok && bad)
        ig_watch_warn(watch,
                      "the routers of layers %s have rows that are nearly the same: the prompts "
                      "may be too similar, and some experts hardly used",
                      layers.data ? layers.data : "");
    ig_buf_release(&layers);
    free(memory);
    return ok;
}

/* sums: [expert][positive, negative][layer][hidden]; rows: [layer][expert][hidden]. */
static void make_rows(double *sums, int experts, int64_t layers, int64_t hidden, float *rows)
{
    for (int e = 0; e < experts; e++)
        for (int64_t l = 0; l < layers; l++) {
            double *x = sums + (2 * e * layers + l) * hidden;
            const double *less = x + layers * hidden;
            for (int64_t j = 0; j < hidden; j++)
                x[j] -= less[j];
            double length = length_of(x, hidden);
            for (int64_t j = 0; j < hidden; j++)
                rows[(l * experts + e) * hidden + j] = (float)(x[j] / length);
        }
}

static bool measure(const struct ig_merge *m, const struct ig_tensor *table, struct moe_gates *g,
                    struct ig_err *err)
{
    if (!table) return ig_err_set(err, IG_ERR_DATA, "the base model has no embedding");
    g->hidden = table->shape[1];
    g->layers = 0;
    if (m->recipe->moe->gate == GATE_EMBED) return true;
    g->layers = merge__config_layers(m->inputs[m->recipe->base].config);
    if (g->layers > 0 && g->layers <= IG_LAYERS_MAX) return true;
    return ig_err_set(err, IG_ERR_DATA, "the base model's config.json says no number of layers");
}

bool merge__make_gates(struct ig_merge *m, const struct ig_watch *watch, struct moe_gates *out,
                       struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    const struct ig_tensor *table = find_embedding(&m->inputs[m->recipe->base]);
    struct prompts p = {0};
    *out = (struct moe_gates){0};
    if (x->gate <= GATE_UNIFORM) return true;
    if (!measure(m, table, out, err)) return false;
    size_t layers = out->layers ? (size_t)out->layers : 1, hidden = (size_t)out->hidden;
    size_t each = layers * hidden, experts = (size_t)moe_rows(x); /* both bounded by the file's */
    double *sums = calloc(2 * experts * each + 1, sizeof *sums);
    float *rows = ig_arena_array(&m->arena, experts * each, sizeof *rows);
    bool ok = ((sums && rows) || ig_err_nomem(err)) && read_prompts(m, &p, err);
    if (ok)
        ok = out->layers ? run_model(m, &p, out, sums, err)
                         : sum_embeddings(m, &p, table, sums, err);
    release_prompts(&p);
    if (ok) {
        make_rows(sums, moe_rows(x), (int64_t)layers, out->hidden, rows);
        out->rows = rows;
        ok = warn_degenerate(out, moe_rows(x), watch, err);
    }
    free(sums);
    return ok;
}

const float *merge__gates_of(const struct moe_gates *gates, const struct ig_tensor *like,
                             int experts)
{
    struct ig_place place;
    if (!gates->rows || !gates->layers) return gates->rows;
    ig_arch_place(ig_arch_find(NULL), like->name, &place);
    if (place.layer < 0 || place.layer >= gates->layers) return NULL;
    return gates->rows + place.layer * experts * gates->hidden;
}
