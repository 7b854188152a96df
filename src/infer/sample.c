/* SPDX-License-Identifier: Apache-2.0
 * sample — from logits to a token, as mlx-lm 0.32 does: the repetition penalty, then logprobs at
 * temperature 1; top-p, min-p and top-k choose candidates on those, in this order; the draw is from
 * softmax(logprobs / temperature) over the candidates.
 *
 * Candidates come off a heap, largest first (ties: the lower id), so that only as many are ordered
 * as are kept. The draw is a hash of seed and position: the same seed repeats the same text,
 * however it was cut into calls. */
#include "infer/infer_internal.h"

#include <math.h>

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

static void penalise(struct ig_session *s, const struct ig_sampling *how, const int32_t *history,
                     size_t count)
{
    if (how->repetition_penalty == 1.0 || how->repetition_window <= 0) return;
    size_t window = (size_t)how->repetition_window < count ? (size_t)how->repetition_window : count;
    const int32_t *recent = history + count - window;
    float penalty = (float)how->repetition_penalty;
    /* From a copy, so that a token is penalised once, however often it occurs. */
    for (size_t i = 0; i < window; i++)
        s->weights[recent[i]] = s->logits[recent[i]];
    for (size_t i = 0; i < window; i++) {
        float logit = s->weights[recent[i]];
        s->logits[recent[i]] = logit > 0 ? logit / penalty : logit * penalty;
    }
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

/* How many of the likeliest tokens may be drawn; they end up behind the heap, the likeliest last.
 */
static int64_t choose(struct heap *h, const struct ig_sampling *how, double log_sum)
{
    int64_t vocab = h->count, kept = 0;
    double mass = 0.0, least = (double)-INFINITY;
    for (int64_t i = vocab / 2; i-- > 0;)
        sift(h, i);
    if (how->min_p > 0) least = (double)h->logits[h->ids[0]] + log(how->min_p);
    while (h->count > 0) {
        double logit = (double)h->logits[h->ids[0]];
        if (kept > 0 && logit < least) break;
        if (how->top_k > 0 && kept >= how->top_k) break;
        if (kept > 0 && how->top_p > 0 && how->top_p < 1 && mass >= how->top_p) break;
        mass += exp(logit - log_sum);
        pop(h);
        kept++;
    }
    return kept;
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
static int32_t pick_any(struct ig_session *s, double temperature, float top, double u)
{
    int64_t vocab = s->model->shape.vocab;
    float factor = (float)(1.0 / temperature);
    for (int64_t i = 0; i < vocab; i++)
        s->weights[i] = (s->logits[i] - top) * factor;
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

int32_t infer__sample(struct ig_session *s, const struct ig_sampling *how, const int32_t *history,
                      size_t history_count, double *logprob)
{
    int64_t vocab = s->model->shape.vocab;
    penalise(s, how, history, history_count);
    float top = s->model->neural.max(s->logits, vocab);
    int32_t token = 0;
    while (s->logits[token] != top)
        token++;
    memcpy(s->weights, s->logits, (size_t)vocab * sizeof *s->weights);
    double log_sum = (double)top + log((double)s->model->neural.exp_sum(s->weights, vocab, top));
    if (how->temperature > 0) {
        double u = draw(how->seed, (uint64_t)s->length);
        bool filtered = how->top_k > 0 || how->min_p > 0 || (how->top_p > 0 && how->top_p < 1);
        if (filtered) {
            struct heap heap = {s->logits, s->picks, vocab};
            for (int64_t i = 0; i < vocab; i++)
                s->picks[i] = (int32_t)i;
            int64_t kept = choose(&heap, how, log_sum);
            token = pick(&heap, kept, how->temperature, u);
        } else {
            token = pick_any(s, how->temperature, top, u);
        }
    }
    *logprob = (double)s->logits[token] - log_sum;
    return token;
}
