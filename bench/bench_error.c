/* SPDX-License-Identifier: Apache-2.0
 * bench error — what fast arithmetic costs: its distributions against those of exact arithmetic.
 *
 *     bench_error MODEL [TOKENS [SEED]]
 *
 * One text of TOKENS (64) tokens drawn by the model itself (temperature 1, exact arithmetic): what
 * it is likely to see. A JSON line for scores and one for text: the mean and largest KL divergence
 * of a position, how often both find the same token likeliest, and the mean and largest change of a
 * drawn token's log-probability. Then the same of exact arithmetic with a cache of 16, 8 and 4
 * bits. Small matrices are multiplied fast too here, which the engine never does: so that small
 * trained models can be measured. */
#include "infer/infer_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS_MAX = 500 };

struct side {
    struct ig_model *model;
    struct ig_session *session;
    float *logits;
};

struct text {
    int32_t tokens[TOKENS_MAX + 1];
    int64_t count;
};

static bool keep(void *user, int32_t token, double logprob)
{
    struct text *text = user;
    (void)logprob;
    text->tokens[text->count++] = token;
    return true;
}

static bool draw_text(struct side *side, int64_t count, uint64_t seed, struct text *text,
                      struct ig_err *err)
{
    struct ig_generate_report report;
    text->tokens[0] = (int32_t)(seed % (uint64_t)ig_model_shape(side->model)->vocab);
    text->count = 1;
    struct ig_generate_job job = {.prompt = text->tokens,
                                  .prompt_count = 1,
                                  .tokens_max = count - 1,
                                  .sampling = {.temperature = 1, .top_p = 1, .seed = seed},
                                  .ignore_eos = true,
                                  .on_token = keep,
                                  .user = text};
    job.sampling.repetition_penalty = 1;
    return ig_generate(side->session, &job, &report, err);
}

static bool open_side(struct side *side, const char *path, bool exact, int bits, int64_t count,
                      struct ig_err *err)
{
    struct ig_model_options options = {.exact = exact};
    const struct ig_session_options cache = {.bits = bits};
    if (!ig_model_open_as(path, &options, &side->model, err)) return false;
    side->model->narrow_cols = side->model->narrow_rows = 0;
    size_t floats = (size_t)count * (size_t)ig_model_shape(side->model)->vocab;
    side->logits = calloc(floats, sizeof *side->logits);
    if (!side->logits) return ig_err_nomem(err);
    return ig_session_new_as(side->model, &cache, &side->session, err);
}

static void close_side(struct side *side)
{
    ig_session_free(side->session);
    ig_model_close(side->model);
    free(side->logits);
}

static int64_t likeliest(const float *row, int64_t vocab)
{
    int64_t best = 0;
    for (int64_t i = 1; i < vocab; i++)
        if (row[i] > row[best]) best = i;
    return best;
}

static double log_sum(const float *row, int64_t vocab)
{
    double top = (double)row[likeliest(row, vocab)], sum = 0;
    for (int64_t i = 0; i < vocab; i++)
        sum += exp((double)row[i] - top);
    return top + log(sum);
}

/* All logits, by the way that scores go, or text. */
static void run(struct side *side, const struct text *text, bool score)
{
    const struct ig_model *m = side->model;
    for (int64_t done = 0, rows; done < text->count; done += rows) {
        struct ig_session *s = side->session;
        s->length = done;
        rows = text->count - done < s->rows_max ? text->count - done : s->rows_max;
        infer__forward(s, text->tokens + done, rows, score);
        struct infer_product head = {&m->head, NULL, side->logits + done * m->shape.vocab};
        infer__linear(s, &head, 1, s->normed, rows, score);
    }
}

static void compare(const struct side *exact, const struct side *fast, const struct text *text,
                    const char *path, const char *what)
{
    int64_t vocab = ig_model_shape(exact->model)->vocab, same = 0, rows = text->count - 1;
    double mean = 0, most = 0, moved = 0, moved_most = 0;
    for (int64_t r = 0; r < rows; r++) {
        const float *p = exact->logits + r * vocab, *q = fast->logits + r * vocab;
        double p_sum = log_sum(p, vocab), q_sum = log_sum(q, vocab), kl = 0;
        for (int64_t i = 0; i < vocab; i++) {
            double lp = (double)p[i] - p_sum, lq = (double)q[i] - q_sum;
            kl += exp(lp) * (lp - lq);
        }
        int32_t next = text->tokens[r + 1];
        double change = fabs((double)p[next] - p_sum - ((double)q[next] - q_sum));
        mean += kl / (double)rows;
        moved += change / (double)rows;
        if (kl > most) most = kl;
        if (change > moved_most) moved_most = change;
        same += likeliest(p, vocab) == likeliest(q, vocab);
    }
    printf("{\"case\": \"error of %s\", \"model\": \"%s\", \"positions\": %lld, \"kl_mean\": %.3g, "
           "\"kl_max\": %.3g, \"same_top\": %.4f, \"logprob_mean\": %.3g, \"logprob_max\": %.3g}\n",
           what, path, (long long)rows, mean, most, (double)same / (double)rows, moved, moved_most);
}

int main(int argc, char **argv)
{
    struct ig_err err = {0};
    static struct text text;
    struct side exact = {0}, fast = {0};
    int64_t count = argc > 2 ? atoll(argv[2]) : 64;
    if (argc < 2 || count < 2 || count > TOKENS_MAX) {
        fprintf(stderr, "usage: %s MODEL [TOKENS [SEED]]\n", argv[0]);
        return 2;
    }
    bool ok = open_side(&exact, argv[1], true, 32, count, &err) &&
              open_side(&fast, argv[1], false, 32, count, &err) &&
              draw_text(&exact, count, argc > 3 ? (uint64_t)atoll(argv[3]) : 1, &text, &err);
    if (ok) run(&exact, &text, true);
    for (int score = 1; ok && score >= 0; score--) {
        run(&fast, &text, score);
        compare(&exact, &fast, &text, argv[1], score ? "scores" : "text");
    }
    for (int bits = 16; ok && bits >= 4; bits /= 2) {
        char what[32];
        struct side small = {0};
        snprintf(what, sizeof what, "a cache of %d bits", bits);
        ok = open_side(&small, argv[1], true, bits, count, &err);
        if (ok) run(&small, &text, true);
        if (ok) compare(&exact, &small, &text, argv[1], what);
        close_side(&small);
    }
    if (!ok) fprintf(stderr, "%s\n", err.text);
    close_side(&exact);
    close_side(&fast);
    return ok ? 0 : 1;
}
