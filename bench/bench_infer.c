/* SPDX-License-Identifier: Apache-2.0
 * bench infer — tokens a second of a model folder: a prompt, decoding after it, scoring one text,
 * and scoring a list of short ones; and the time from opening it to the first token.
 *
 *     bench_infer MODEL [PROMPT_TOKENS [NEW_TOKENS [ROUNDS [THREADS [exact|fast [BITS]]]]]]
 *
 * 512, 64, 5, one for each core, fast arithmetic and a cache of 32 bits unless told. With one
 * thread the rate is also given for each second of processor time: what a quiet machine would do,
 * however busy this one is.
 *
 * One JSON line a case with the median and the fastest round. Tokens are random. Decoding's bytes
 * are those of all weights: what has to be read for a token of a dense model. "read" is its limit:
 * all threads read the same bytes in place and add them up, each its part of every tensor. */
#include "base/clock.h"
#include "base/thread.h"
#include "ingot/infer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS_MAX = 99, SHORT_TEXTS = 16, SHORT_TOKENS = 64 };

struct bench {
    struct ig_session *session;
    struct ig_store *store;
    struct ig_pool *pool;
    const char *model;
    int64_t prompt, fresh;
    int32_t *tokens, *targets;
    double *logprobs;
    double bytes;
    int rounds, threads;
    bool exact;
    int bits;
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void report(const struct bench *b, const char *name, int64_t tokens, double *seconds,
                   double *cpu)
{
    qsort(seconds, (size_t)b->rounds, sizeof *seconds, compare);
    qsort(cpu, (size_t)b->rounds, sizeof *cpu, compare);
    double median = seconds[b->rounds / 2];
    printf("{\"case\": \"%s\", \"model\": \"%s\", \"tokens\": %lld, \"threads\": %d, "
           "\"tokens_per_s\": %.2f, \"tokens_per_s_max\": %.2f",
           name, b->model, (long long)tokens, b->threads, (double)tokens / median,
           (double)tokens / seconds[0]);
    if (b->bytes > 0) printf(", \"GB_per_s\": %.2f", b->bytes * (double)tokens / median / 1e9);
    if (b->threads == 1) printf(", \"tokens_per_cpu_s\": %.2f", (double)tokens / cpu[0]);
    printf("}\n");
    fflush(stdout);
}

static bool run_prompt(struct bench *b, struct ig_err *err)
{
    ig_session_trim(b->session, 0);
    return ig_session_feed(b->session, b->tokens, (size_t)b->prompt, err);
}

static bool run_decode(struct bench *b, struct ig_err *err)
{
    ig_session_trim(b->session, 0);
    for (int64_t i = 0; i < b->fresh; i++)
        if (!ig_session_feed(b->session, b->tokens + i, 1, err)) return false;
    return true;
}

/* After a prompt, which is there already. */
static bool run_decode_deep(struct bench *b, struct ig_err *err)
{
    ig_session_trim(b->session, b->prompt);
    for (int64_t i = 0; i < b->fresh; i++)
        if (!ig_session_feed(b->session, b->tokens + i, 1, err)) return false;
    return true;
}

static bool run_score(struct bench *b, struct ig_err *err)
{
    ig_session_trim(b->session, 0);
    return ig_session_score(b->session, b->tokens, b->targets, (size_t)b->prompt, b->logprobs, NULL,
                            err);
}

/* Texts of SHORT_TOKENS, each scored at its last token, as llama-batched-bench has prompts. */
static bool run_spans(struct bench *b, struct ig_err *err)
{
    struct ig_span spans[SHORT_TEXTS];
    struct ig_target targets[SHORT_TEXTS];
    struct ig_scored scored[SHORT_TEXTS];
    for (int i = 0; i < SHORT_TEXTS; i++) {
        spans[i] = (struct ig_span){b->tokens + SHORT_TOKENS / 2 * i, SHORT_TOKENS, -1};
        targets[i] = (struct ig_target){i, SHORT_TOKENS - 1, b->tokens[i]};
    }
    return ig_session_score_spans(b->session, spans, SHORT_TEXTS, targets, SHORT_TEXTS, scored,
                                  err);
}

struct part {
    const unsigned char *data;
    size_t bytes;
    _Atomic uint64_t sum; /* so that nothing is left out */
};

/* Built for AVX2 where there is x86: narrower loads are slower than the memory. */
#if defined(__x86_64__)
#define WIDE __attribute__((target("avx2")))
#else
#define WIDE
#endif
typedef uint64_t words __attribute__((vector_size(32)));

/* 256 bytes a turn, fetched ahead as the engine does it: without that reading is a tenth slower. */
WIDE static void read_part(void *user, int thread, int threads)
{
    struct part *part = user;
    size_t turns = part->bytes / 256, first = turns * (size_t)thread / (size_t)threads;
    size_t end = turns * (size_t)(thread + 1) / (size_t)threads;
    words sums[8] = {0};
    for (size_t i = first; i < end; i++) {
        const unsigned char *p = part->data + 256 * i;
        for (int j = 0; j < 8; j++) {
            words word;
            memcpy(&word, p + 32 * j, sizeof word);
            if (j % 2 == 0) __builtin_prefetch(p + 8192 + 32 * j);
            sums[j] += word;
        }
    }
    for (int j = 0; j < 32; j++)
        part->sum += sums[j / 4][j % 4];
}

static bool run_read(struct bench *b, struct ig_err *err)
{
    for (int64_t i = 0; i < ig_store_count(b->store); i++) {
        const struct ig_tensor *tensor = ig_store_at(b->store, i);
        struct part part = {.data = ig_store_map_lazily(b->store, tensor, err),
                            .bytes = tensor->bytes};
        if (!part.data) return false;
        ig_pool_all(b->pool, read_part, &part);
    }
    return true;
}

static bool measure(struct bench *b, const char *name, int64_t tokens,
                    bool (*run)(struct bench *b, struct ig_err *err), struct ig_err *err)
{
    double seconds[ROUNDS_MAX], cpu[ROUNDS_MAX];
    if (tokens <= 0) return true;
    if (!run(b, err)) return false;
    for (int i = 0; i < b->rounds; i++) {
        double start = ig_clock_seconds(), used = cpu_seconds();
        if (!run(b, err)) return false;
        seconds[i] = ig_clock_seconds() - start;
        cpu[i] = cpu_seconds() - used;
    }
    report(b, name, tokens, seconds, cpu);
    return true;
}

static bool bench_model(struct bench *b, struct ig_err *err)
{
    struct ig_model *model = NULL;
    struct ig_model_options options = {.threads = b->threads, .exact = b->exact};
    const struct ig_session_options cache = {.bits = b->bits};
    double start = ig_clock_seconds();
    static const int32_t first[16] = {0};
    bool ok = ig_model_open_as(b->model, &options, &model, err) &&
              ig_session_new_as(model, &cache, &b->session, err) &&
              ig_session_feed(b->session, first, 16, err);
    if (ok)
        printf("{\"case\": \"first token\", \"model\": \"%s\", \"seconds\": %.3f, "
               "\"arithmetic\": \"%s\"}\n",
               b->model, ig_clock_seconds() - start, ig_model_arithmetic(model));
    ok = ok && ig_store_open(b->model, &b->store, err) &&
         (b->pool = ig_pool_new(b->threads, err)) != NULL;
    int64_t count = SHORT_TEXTS * SHORT_TOKENS;
    if (b->prompt > count) count = b->prompt;
    if (b->fresh > count) count = b->fresh;
    b->tokens = calloc((size_t)count + 1, sizeof *b->tokens);
    b->targets = calloc((size_t)count + 1, sizeof *b->targets);
    b->logprobs = calloc((size_t)count + 1, sizeof *b->logprobs);
    if (ok && (!b->tokens || !b->targets || !b->logprobs)) ok = ig_err_nomem(err);
    uint32_t seed = 1;
    for (int64_t i = 0; ok && i <= count; i++) {
        seed = seed * 1664525 + 1013904223;
        b->tokens[i] = (int32_t)(seed % (uint32_t)ig_model_shape(model)->vocab);
        b->targets[i] = i % 8 ? -1 : b->tokens[i];
    }
    ok = ok && measure(b, "prompt", b->prompt, run_prompt, err);
    if (ok) b->bytes = (double)ig_store_bytes(b->store);
    ok = ok && measure(b, "read", b->fresh > 0, run_read, err);
    ok = ok && measure(b, "decode", b->fresh, run_decode, err);
    b->bytes = 0;
    ok = ok && run_prompt(b, err) && measure(b, "decode after it", b->fresh, run_decode_deep, err);
    ok = ok && measure(b, "score", b->prompt, run_score, err);
    int64_t tokens = SHORT_TEXTS * SHORT_TOKENS;
    ok = ok && measure(b, "batch", b->prompt > 0 ? tokens : 0, run_spans, err);
    free(b->tokens), free(b->targets), free(b->logprobs);
    ig_session_free(b->session);
    ig_model_close(model);
    ig_store_close(b->store);
    ig_pool_free(b->pool);
    return ok;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(
            stderr,
            "usage: %s MODEL [PROMPT_TOKENS [NEW_TOKENS [ROUNDS [THREADS [exact|fast [BITS]]]]]]\n",
            argv[0]);
        return 2;
    }
    struct ig_err err = {0};
    struct bench b = {.model = argv[1], .prompt = 512, .fresh = 64, .rounds = 5};
    if (argc > 2) b.prompt = atoll(argv[2]);
    if (argc > 3) b.fresh = atoll(argv[3]);
    if (argc > 4) b.rounds = atoi(argv[4]);
    b.exact = argc > 6 && strcmp(argv[6], "exact") == 0;
    b.bits = argc > 7 ? atoi(argv[7]) : 32;
    b.threads = argc > 5 ? atoi(argv[5]) : ig_core_count();
    if (b.rounds < 1 || b.rounds > ROUNDS_MAX) b.rounds = 5;
    if (bench_model(&b, &err)) return 0;
    fprintf(stderr, "%s\n", err.text);
    return 1;
}
