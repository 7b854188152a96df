/* SPDX-License-Identifier: Apache-2.0
 * sample — from logits to a token, as mlx-lm 0.32 does: biases and penalties, then logprobs at
 * temperature 1; top-p, min-p, XTC and top-k choose candidates on those, in this order; the draw is
 * from softmax(logprobs / temperature) over the candidates.
 *
 * Candidates come off a heap, largest first (ties: the lower id), so that only as many are ordered
 * as are kept. The draw is a hash of seed and position: the same seed repeats the same text,
 * however it was cut into calls. */
#include "infer/infer_internal.h"

#include <math.h>
#include <stdlib.h>

/* splitmix64's finaliser (Steele, Lea and Flood 2014), of a counter: a number in [0, 1). */
static double draw(uint64_t seed, uint64_t counter)
{
    uint64_t z = seed * 0xD1342543DE82EF95U + (counter + 1) * 0x9E3779B97F4A7C15U;
    for (int round = 0; round < 2; round++) {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        z ^= z >> 31;
    }
    return (double)(z >> 11) * 0x1p-53;
}

#define XTC_STREAM 0x9E6C63D0876A9A47U /* XTC's draws are not those of the tokens */

struct ig_sampler {
    const struct ig_model *model;
    struct ig_sampling how; /* its lists are owned */
    double log_sum;         /* of the last pick's logits */
    int32_t *picks;         /* vocab: candidates */
    float *weights;         /* vocab: probabilities */
    int32_t *history;       /* the last tokens: 2 windows, so that it moves down now and then */
    size_t history_count, window;
};

#define LEFT_OUT (-1e30F) /* as a logit: its exponential is 0 */

/* ---- life ---- */

bool ig_sampling_check(const struct ig_sampling *how, struct ig_err *err)
{
    const struct {
        const char *name;
        double value, min, max;
    } ranges[] = {
        {"the temperature", how->temperature, 0, 1e6},
        {"top-p", how->top_p, 0, 1},
        {"min-p", how->min_p, 0, 1},
        {"the repetition penalty", how->repetition_penalty, 1e-6, 1e6},
        {"the presence penalty", how->presence_penalty, -1e6, 1e6},
        {"the frequency penalty", how->frequency_penalty, -1e6, 1e6},
        {"the probability of XTC", how->xtc_probability, 0, 1},
        {"the threshold of XTC", how->xtc_threshold, 0, 0.5}, /* above, one token at most passes */
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (!(ranges[i].value >= ranges[i].min && ranges[i].value <= ranges[i].max))
            return ig_err_set(err, IG_ERR_USAGE, "%s is %g; it must be from %g to %g",
                              ranges[i].name, ranges[i].value, ranges[i].min, ranges[i].max);
    if (how->top_k < 0)
        return ig_err_set(err, IG_ERR_USAGE, "top-k is %lld; it must be 0 or more",
                          (long long)how->top_k);
    return true;
}

static bool penalises(const struct ig_sampling *how)
{
    return how->repetition_window > 0 &&
           (how->repetition_penalty != 1.0 || how->presence_penalty != 0.0 ||
            how->frequency_penalty != 0.0);
}

static void *copy_of(const void *items, size_t count, size_t size)
{
    void *copy = calloc(count ? count : 1, size);
    if (copy && count) memcpy(copy, items, count * size);
    return copy;
}

bool ig_sampler_new(const struct ig_model *model, const struct ig_sampling *how,
                    struct ig_sampler **out, struct ig_err *err)
{
    if (!ig_sampling_check(how, err)) return false;
    size_t vocab = (size_t)model->shape.vocab;
    struct ig_sampler *s = calloc(1, sizeof *s);
    if (!s) return ig_err_nomem(err);
    s->model = model;
    s->how = *how;
    if (penalises(how)) {
        int64_t window = how->repetition_window, context = model->shape.context;
        s->window = (size_t)(window < context ? window : context);
    }
    s->picks = calloc(vocab, sizeof *s->picks);
    s->weights = calloc(vocab, sizeof *s->weights);
    s->history = calloc(2 * s->window + 1, sizeof *s->history);
    s->how.biases = copy_of(how->biases, how->bias_count, sizeof *how->biases);
    s->how.xtc_spared = copy_of(how->xtc_spared, how->xtc_spared_count, sizeof *how->xtc_spared);
    if (s->picks && s->weights && s->history && s->how.biases && s->how.xtc_spared) {
        *out = s;
        return true;
    }
    ig_sampler_free(s);
    return ig_err_nomem(err);
}

void ig_sampler_free(struct ig_sampler *sampler)
{
    if (!sampler) return;
    free(sampler->picks);
    free(sampler->weights);
    free(sampler->history);
    free((void *)(uintptr_t)sampler->how.biases);
    free((void *)(uintptr_t)sampler->how.xtc_spared);
    free(sampler);
}

void ig_sampler_note(struct ig_sampler *sampler, const int32_t *tokens, size_t count)
{
    size_t window = sampler->window;
    for (size_t i = count > window ? count - window : 0; i < count; i++) {
        if (sampler->history_count == 2 * window) {
            memmove(sampler->history, sampler->history + window, window * sizeof *tokens);
            sampler->history_count = window;
        }
        sampler->history[sampler->history_count++] = tokens[i];
    }
}

/* ---- biases and penalties ---- */

static void penalise(struct ig_sampler *s, float *logits)
{
    const struct ig_sampling *how = &s->how;
    int32_t vocab = (int32_t)s->model->shape.vocab;
    for (size_t i = 0; i < how->bias_count; i++)
        if (how->biases[i].token >= 0 && how->biases[i].token < vocab)
            logits[how->biases[i].token] += how->biases[i].add;
    size_t window = s->window < s->history_count ? s->window : s->history_count;
    const int32_t *recent = s->history + s->history_count - window;
    float penalty = (float)how->repetition_penalty, each = (float)how->frequency_penalty;
    /* From a copy, so that a token is penalised once, however often it occurs. */
    for (size_t i = 0; i < window; i++)
        s->weights[recent[i]] = logits[recent[i]];
    for (size_t i = 0; i < window; i++) {
        float logit = s->weights[recent[i]];
        logit = logit > 0 ? logit / penalty : logit * penalty;
        logits[recent[i]] = logit - (float)how->presence_penalty;
    }
    for (size_t i = 0; i < window; i++)
        logits[recent[i]] -= each;
}

/* ---- candidates: a heap of token ids, the likeliest on top ---- */

struct heap {
    const float *logits;
    int32_t *ids;
    int64_t count;
};

static bool above(const struct heap *h, int32_t a, int32_t b)
{
    float x = h->logits[a], y = h->logits[b];
    return x > y || (x == y && a < b);
}

static void sift(struct heap *h, int64_t at)
{
    int32_t id = h->ids[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count && above(h, h->ids[child + 1], h->ids[child])) child++;
        if (!above(h, h->ids[child], id)) break;
        h->ids[at] = h->ids[child];
        at = child;
    }
    h->ids[at] = id;
}

/* Moves the top to the end of ids, behind the heap. */
static int32_t pop(struct heap *h)
{
    int32_t top = h->ids[0];
    h->ids[0] = h->ids[--h->count];
    h->ids[h->count] = top;
    if (h->count > 0) sift(h, 0);
    return top;
}

/* How many of the likeliest tokens may be drawn, of those with a logit of at least `least`; they
 * end up behind the heap, the likeliest last. mass: what they hold together. */
static int64_t choose(struct heap *h, const struct ig_sampling *how, double log_sum, double least,
                      double *mass)
{
    int64_t vocab = h->count, kept = 0;
    double last = 0.0;
    for (int64_t i = 0; i < vocab; i++)
        h->ids[i] = (int32_t)i;
    for (int64_t i = vocab / 2; i-- > 0;)
        sift(h, i);
    *mass = 0.0;
    if (how->min_p > 0) least = fmax(least, (double)h->logits[h->ids[0]] + log(how->min_p));
    while (h->count > 0) {
        double logit = (double)h->logits[h->ids[0]];
        if (kept > 0 && logit < least) break;
        if (how->top_k > 0 && kept >= how->top_k) break;
        /* Of equal ones top-p takes all, as mlx-lm does. */
        if (kept > 0 && how->top_p > 0 && how->top_p < 1 && *mass >= how->top_p && logit < last)
            break;
        *mass += exp(logit - log_sum);
        last = logit;
        pop(h);
        kept++;
    }
    return kept;
}

static bool cuts(const struct ig_sampling *how)
{
    return how->min_p > 0 || (how->top_p > 0 && how->top_p < 1);
}

static bool spared(const struct ig_sampling *how, int32_t token)
{
    for (size_t i = 0; i < how->xtc_spared_count; i++)
        if (how->xtc_spared[i] == token) return true;
    return false;
}

/* Leaves out what XTC leaves out of the tokens that top-p and min-p keep. The least logit of those
 * then stands for both. */
static double exclude(struct ig_sampler *s, float *logits)
{
    const struct ig_sampling all = {.top_p = s->how.top_p, .min_p = s->how.min_p};
    int64_t vocab = s->model->shape.vocab;
    double mass = 1.0, least = (double)-INFINITY;
    if (cuts(&all)) {
        struct heap heap = {logits, s->picks, vocab};
        choose(&heap, &all, s->log_sum, least, &mass);
        least = (double)logits[s->picks[heap.count]];
    }
    double threshold = log(s->how.xtc_threshold * mass) + s->log_sum;
    float lowest = INFINITY; /* of those above the threshold */
    for (int64_t i = 0; i < vocab; i++) {
        double logit = (double)logits[i];
        if (logit > threshold && logit >= least && logits[i] < lowest) lowest = logits[i];
    }
    for (int64_t i = 0; i < vocab; i++)
        if (logits[i] > lowest && !spared(&s->how, (int32_t)i)) logits[i] = LEFT_OUT;
    return least;
}

static int32_t pick(const struct heap *h, int64_t kept, double temperature, double u)
{
    const int32_t *ids = h->ids + h->count; /* the likeliest is the last */
    double top = (double)h->logits[ids[kept - 1]], sum = 0.0;
    for (int64_t i = kept; i-- > 0;)
        sum += exp(((double)h->logits[ids[i]] - top) / temperature);
    double left = u * sum;
    for (int64_t i = kept; i-- > 0;) {
        left -= exp(((double)h->logits[ids[i]] - top) / temperature);
        if (left < 0) return ids[i];
    }
    return ids[kept - 1];
}

/* Every token may be drawn: no order is needed. */
static int32_t pick_any(struct ig_sampler *s, const float *logits, double u)
{
    int64_t vocab = s->model->shape.vocab;
    float factor = (float)(1.0 / s->how.temperature);
    float top = s->model->neural.max(logits, vocab);
    for (int64_t i = 0; i < vocab; i++)
        s->weights[i] = (logits[i] - top) * factor;
    s->model->neural.exp_sum(s->weights, vocab, 0.0F);
    double sum = 0.0;
    for (int64_t i = 0; i < vocab; i++)
        sum += (double)s->weights[i];
    double left = u * sum;
    int32_t last = 0;
    for (int64_t i = 0; i < vocab; i++) {
        if (s->weights[i] == 0.0F) continue;
        last = (int32_t)i;
        left -= (double)s->weights[i];
        if (left < 0) break;
    }
    return last;
}

static int32_t draw_token(struct ig_sampler *s, float *logits, int64_t position)
{
    struct ig_sampling how = s->how;
    double least = (double)-INFINITY, mass, u = draw(how.seed, (uint64_t)position);
    if (how.xtc_probability > 0 &&
        draw(how.seed ^ XTC_STREAM, (uint64_t)position) <= how.xtc_probability) {
        least = exclude(s, logits);
        how.min_p = how.top_p = 0;
    }
    if (!cuts(&how) && how.top_k <= 0 && least == (double)-INFINITY) return pick_any(s, logits, u);
    struct heap heap = {logits, s->picks, s->model->shape.vocab};
    int64_t kept = choose(&heap, &how, s->log_sum, least, &mass);
    return pick(&heap, kept, how.temperature, u);
}

/* The `count` likeliest, the likeliest first; ties: the lower id. */
static void find_top(const struct ig_sampler *s, const float *logits, struct ig_choice *top,
                     size_t count)
{
    size_t found = 0;
    for (int64_t i = 0; i < s->model->shape.vocab && count > 0; i++) {
        float logprob = (float)((double)logits[i] - s->log_sum);
        if (found == count && !(logprob > top[count - 1].logprob)) continue;
        size_t at = found < count ? found++ : count - 1;
        for (; at > 0 && logprob > top[at - 1].logprob; at--)
            top[at] = top[at - 1];
        top[at] = (struct ig_choice){(int32_t)i, logprob};
    }
}

int32_t ig_sampler_pick(struct ig_sampler *sampler, float *logits, int64_t position,
                        struct ig_choice *top_choices, size_t top_count, double *logprob)
{
    struct ig_sampler *s = sampler;
    int64_t vocab = s->model->shape.vocab;
    penalise(s, logits);
    float top = s->model->neural.max(logits, vocab);
    int32_t token = 0;
    while (token < vocab - 1 && logits[token] != top)
        token++;
    memcpy(s->weights, logits, (size_t)vocab * sizeof *s->weights);
    s->log_sum = (double)top + log((double)s->model->neural.exp_sum(s->weights, vocab, top));
    find_top(s, logits, top_choices, top_count);
    if (s->how.temperature > 0) token = draw_token(s, logits, position);
    *logprob = (double)logits[token] - s->log_sum;
    ig_sampler_note(s, &token, 1);
    return token;
}
