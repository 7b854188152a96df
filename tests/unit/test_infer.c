/* SPDX-License-Identifier: Apache-2.0
 * infer — tiny random Qwen3 models against transformers in f32 (tools/golden/logits_qwen3.py):
 * plain (bf16, YaRN, biases, tied), mixed (every codec of MLX in one folder), and of the other
 * families (tools/golden/logits_families.py); on every instruction set. */
#include "base/file.h"
#include "base/thread.h"
#include "check.h"
#include "ingot/infer.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { POSITIONS = 220, PROMPT = 150, NEW = 40, VOCAB = 64 };
#define TOLERANCE 1e-4 /* what is asked for; 1e-5 is what is seen */

static const char *const folders[] = {"plain",      "mixed",      "qwen3_moe", "llama",
                                      "mistral",    "qwen2",      "qwen3_vl",  "qwen3_vl_moe",
                                      "qwen3_next", "gemma3_text"};

struct golden {
    char dir[IG_PATH_MAX];
    struct ig_buf ids, logits, greedy;
    const int32_t *tokens, *text;
    const float *want;
};

static void read_golden(struct golden *g, const char *name)
{
    struct ig_err err = {0};
    const char *tests = getenv("INGOT_TESTS");
    memset(g, 0, sizeof *g);
    snprintf(g->dir, sizeof g->dir, "%s/golden/infer/%s", tests ? tests : "tests", name);
    char path[IG_PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/ids.bin", g->dir);
    check_ok(ig_file_read(path, 1 << 20, &g->ids, &err), &err);
    snprintf(path, sizeof path, "%s/logits.bin", g->dir);
    check_ok(ig_file_read(path, 1 << 20, &g->logits, &err), &err);
    snprintf(path, sizeof path, "%s/greedy.bin", g->dir);
    check_ok(ig_file_read(path, 1 << 20, &g->greedy, &err), &err);
    assert_int_equal(g->ids.len, POSITIONS * sizeof(int32_t));
    assert_int_equal(g->logits.len, POSITIONS * VOCAB * sizeof(float));
    assert_int_equal(g->greedy.len, NEW * sizeof(int32_t));
    g->tokens = (const int32_t *)(const void *)g->ids.data;
    g->text = (const int32_t *)(const void *)g->greedy.data;
    g->want = (const float *)(const void *)g->logits.data;
}

static void golden_release(struct golden *g)
{
    ig_buf_release(&g->ids);
    ig_buf_release(&g->logits);
    ig_buf_release(&g->greedy);
}

/* A model and a session of it. */
struct run {
    struct ig_model *model;
    struct ig_session *session;
};

static void run_open(struct run *r, const char *dir, int threads)
{
    struct ig_err err = {0};
    check_ok(ig_model_open(dir, threads, &r->model, &err), &err);
    check_ok(ig_session_new(r->model, 0, &r->session, &err), &err);
}

static void run_close(struct run *r)
{
    ig_session_free(r->session);
    ig_model_close(r->model);
}

/* For every folder and instruction set. */
static void each(void (*check)(const struct golden *g, struct run *r))
{
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        setenv("IG_KERNELS", ig_isa_name((enum ig_isa)isa), 1);
        for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
            struct golden g;
            struct run r;
            read_golden(&g, folders[f]);
            run_open(&r, g.dir, 2);
            check(&g, &r);
            run_close(&r);
            golden_release(&g);
        }
    }
    unsetenv("IG_KERNELS");
}

static void check_row(const char *what, const float *got, const float *want, int row)
{
    for (int i = 0; i < VOCAB; i++)
        if (!(fabsf(got[i] - want[i]) <= (float)TOLERANCE))
            fail_msg("%s, row %d, token %d: %.7g, want %.7g", what, row, i, (double)got[i],
                     (double)want[i]);
}

static void compare_logits(const struct golden *g, struct run *r)
{
    struct ig_err err = {0};
    static float got[POSITIONS * VOCAB];
    check_ok(ig_session_logits_all(r->session, g->tokens, 200, got, &err), &err);
    for (int i = 0; i < 200; i++)
        check_row("prompt", got + i * VOCAB, g->want + i * VOCAB, i);
    for (int i = 200; i < POSITIONS; i++) { /* and go on from the cache: 1, 2, 3 tokens at a time */
        int step = 1 + i % 3;
        if (i + step > POSITIONS) step = 1;
        check_ok(ig_session_feed(r->session, g->tokens + i, (size_t)step, &err), &err);
        i += step - 1;
        check_row("continued", ig_session_logits(r->session), g->want + i * VOCAB, i);
    }
    assert_int_equal(ig_session_length(r->session), POSITIONS);
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    each(compare_logits);
}

static void compare_scores(const struct golden *g, struct run *r)
{
    struct ig_err err = {0};
    int32_t targets[POSITIONS];
    double whole[POSITIONS], parts[POSITIONS];
    bool best[POSITIONS];
    for (int i = 0; i < POSITIONS; i++)
        targets[i] = i % 3 == 1 || i + 1 == POSITIONS ? -1 : g->tokens[i + 1];
    check_ok(ig_session_score(r->session, g->tokens, targets, POSITIONS, whole, best, &err), &err);
    for (int i = 0; i < POSITIONS; i++) {
        if (targets[i] < 0) continue;
        const float *row = g->want + i * VOCAB;
        double sum = 0, top = (double)-INFINITY;
        for (int v = 0; v < VOCAB; v++) {
            sum += exp((double)row[v]);
            top = fmax(top, (double)row[v]);
        }
        double want = (double)row[targets[i]] - log(sum);
        if (!(fabs(whole[i] - want) <= TOLERANCE))
            fail_msg("row %d: %.9g, want %.9g", i, whole[i], want);
        assert_int_equal(best[i], (double)row[targets[i]] == top);
    }
    /* However the sequence is cut, and whatever was there before: the same numbers to the bit. */
    static const int cuts[] = {0, 1, 3, 60, 61, 130, 219, POSITIONS};
    ig_session_trim(r->session, 0);
    for (int c = 0; c + 1 < (int)(sizeof cuts / sizeof *cuts); c++) {
        int at = cuts[c], count = cuts[c + 1] - at;
        check_ok(ig_session_score(r->session, g->tokens + at, targets + at, (size_t)count,
                                  parts + at, NULL, &err),
                 &err);
    }
    for (int i = 0; i < POSITIONS; i++)
        if (targets[i] >= 0) assert_true(whole[i] == parts[i]);
}

static void scores_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    each(compare_scores);
}

struct heard {
    int32_t tokens[2 * NEW];
    double logprobs[2 * NEW];
    int count, stop_at; /* stop_at 0: never */
};

static bool hear(void *user, int32_t token, double logprob)
{
    struct heard *h = user;
    assert_true(h->count < 2 * NEW);
    h->tokens[h->count] = token;
    h->logprobs[h->count++] = logprob;
    return h->count != h->stop_at;
}

static struct ig_generate_report generate(struct run *r, const struct golden *g,
                                          struct ig_sampling how, bool ignore_eos, struct heard *h)
{
    struct ig_err err = {0};
    struct ig_generate_report report;
    ig_session_trim(r->session, 0);
    h->count = 0;
    const struct ig_generate_job job = {.prompt = g->tokens,
                                        .prompt_count = PROMPT,
                                        .tokens_max = NEW,
                                        .sampling = how,
                                        .ignore_eos = ignore_eos,
                                        .on_token = hear,
                                        .user = h};
    check_ok(ig_generate(r->session, &job, &report, &err), &err);
    assert_int_equal(report.tokens, h->count);
    assert_int_equal(report.prompt_tokens, PROMPT);
    return report;
}

static const struct ig_sampling greedy = {.top_p = 1, .repetition_penalty = 1};

static void compare_greedy(const struct golden *g, struct run *r)
{
    struct heard h = {0};
    generate(r, g, greedy, true, &h);
    assert_int_equal(h.count, NEW);
    assert_memory_equal(h.tokens, g->text, sizeof(int32_t) * NEW);
    /* Up to the first stop token. */
    size_t count;
    const int32_t *eos = ig_model_eos(r->model, &count);
    int until = 0;
    for (bool stop = false; !stop && until < NEW; until += !stop)
        for (size_t i = 0; i < count; i++)
            if (g->text[until] == eos[i]) stop = true;
    struct ig_generate_report report = generate(r, g, greedy, false, &h);
    assert_int_equal(h.count, until);
    assert_int_equal(report.stopped, until < NEW);
    h.stop_at = 2;
    generate(r, g, greedy, true, &h);
    assert_int_equal(h.count, 2);
}

static void greedy_text_is_that_of_transformers(void **state)
{
    (void)state;
    each(compare_greedy);
}

static void stop_tokens_are_a_number_or_a_list(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++) {
        struct golden g;
        struct run r;
        size_t count;
        read_golden(&g, folders[f]);
        run_open(&r, g.dir, 1);
        const int32_t *eos = ig_model_eos(r.model, &count);
        assert_int_equal(count, f + 1);
        assert_int_equal(eos[0], 3);
        if (f == 1) assert_int_equal(eos[1], 5);
        run_close(&r);
        golden_release(&g);
    }
}

/* ---- memory ---- */

/* Under a sanitizer malloc is its own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNT_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNT_ALLOCATIONS 0
#endif
#endif
#if !defined(COUNT_ALLOCATIONS) && defined(__GLIBC__)
#define COUNT_ALLOCATIONS 1
#endif

#if defined(COUNT_ALLOCATIONS) && COUNT_ALLOCATIONS
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
static atomic_int allocations;

void *malloc(size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, bytes);
}
void *realloc(void *old, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(old, bytes);
}

static void count_allocations(const struct golden *g, struct run *r)
{
    struct ig_err err = {0};
    struct heard h = {0};
    static float got[VOCAB * 32];
    double logprobs[32];
    int before = atomic_load(&allocations);
    check_ok(ig_session_feed(r->session, g->tokens, 100, &err), &err);
    for (int i = 100; i < 120; i++)
        check_ok(ig_session_feed(r->session, g->tokens + i, 1, &err), &err);
    check_ok(ig_session_score(r->session, g->tokens, g->tokens + 1, 32, logprobs, NULL, &err),
             &err);
    check_ok(ig_session_logits_all(r->session, g->tokens, 32, got, &err), &err);
    assert_int_equal(atomic_load(&allocations), before);
    struct ig_sampling how = greedy;
    how.temperature = 0.7;
    how.top_p = 0.9;
    generate(r, g, how, true, &h);
    assert_true(h.count > 6);
    assert_int_equal(atomic_load(&allocations), before + 6); /* the sampler, once */
    /* And the counter counts. */
    void *volatile kept = malloc((size_t)h.count); /* volatile: clang drops what nobody looks at */
    free(kept);
    assert_true(atomic_load(&allocations) > before);
}

static void nothing_is_allocated_for_a_token(void **state)
{
    (void)state;
    each(count_allocations);
}
#else
static void nothing_is_allocated_for_a_token(void **state)
{
    (void)state;
    skip();
}
#endif

/* ---- sampling ---- */

static void sampling_repeats_and_filters(void **state)
{
    (void)state;
    struct golden g;
    struct run r;
    struct heard a = {0}, b = {0};
    read_golden(&g, "plain");
    run_open(&r, g.dir, 2);
    struct ig_sampling how = greedy;
    how.temperature = 1;
    how.seed = 5;
    generate(&r, &g, how, true, &a);
    generate(&r, &g, how, true, &b);
    assert_memory_equal(a.tokens, b.tokens, sizeof a.tokens);
    how.seed = 6;
    generate(&r, &g, how, true, &b);
    assert_true(memcmp(a.tokens, b.tokens, sizeof a.tokens) != 0);
    /* Each of these leaves only the likeliest. */
    how.top_k = 1;
    generate(&r, &g, how, true, &b);
    assert_memory_equal(b.tokens, g.text, sizeof(int32_t) * NEW);
    how.top_k = 0;
    how.top_p = 1e-9;
    generate(&r, &g, how, true, &b);
    assert_memory_equal(b.tokens, g.text, sizeof(int32_t) * NEW);
    how.top_p = 1;
    how.min_p = 1;
    generate(&r, &g, how, true, &b);
    assert_memory_equal(b.tokens, g.text, sizeof(int32_t) * NEW);
    run_close(&r);
    golden_release(&g);
}

/* Counts of 4000 first tokens against the probabilities that the filters leave. */
static void draws_follow_the_probabilities(void **state)
{
    (void)state;
    enum { DRAWS = 4000 };
    struct golden g;
    struct run r;
    struct ig_err err = {0};
    read_golden(&g, "plain");
    run_open(&r, g.dir, 1);
    for (int filtered = 0; filtered < 2; filtered++) {
        int counts[VOCAB] = {0};
        double p[VOCAB], sum = 0;
        const float *row = g.want + 9 * VOCAB;
        for (int i = 0; i < VOCAB; i++) {
            int higher = 0;
            for (int j = 0; j < VOCAB; j++)
                higher += row[j] > row[i];
            p[i] = filtered && higher >= 8 ? 0 : exp((double)row[i] / 1.5);
            sum += p[i];
        }
        for (int n = 0; n < DRAWS; n++) {
            struct heard h = {0};
            struct ig_generate_report report;
            const struct ig_generate_job job = {.prompt = g.tokens + 9,
                                                .prompt_count = 1,
                                                .tokens_max = 1,
                                                .sampling = {.temperature = 1.5,
                                                             .top_p = 1,
                                                             .top_k = filtered ? 8 : 0,
                                                             .repetition_penalty = 1,
                                                             .seed = (uint64_t)n},
                                                .ignore_eos = true,
                                                .on_token = hear,
                                                .user = &h};
            ig_session_trim(r.session, 0);
            check_ok(ig_session_feed(r.session, g.tokens, 9, &err), &err);
            check_ok(ig_generate(r.session, &job, &report, &err), &err);
            counts[h.tokens[0]]++;
        }
        double chi = 0;
        for (int i = 0; i < VOCAB; i++) {
            double want = p[i] / sum * DRAWS;
            if (want == 0) assert_int_equal(counts[i], 0);
            if (want > 0) chi += (counts[i] - want) * (counts[i] - want) / want;
        }
        assert_true(chi < (filtered ? 30 : 130)); /* 7 or 63 degrees of freedom; p below 1e-4 */
    }
    run_close(&r);
    golden_release(&g);
}

static void repetition_is_penalised_once_for_each_token(void **state)
{
    (void)state;
    struct golden g;
    struct run r;
    struct heard plain = {0}, heavy = {0};
    read_golden(&g, "plain");
    run_open(&r, g.dir, 1);
    generate(&r, &g, greedy, true, &plain);
    struct ig_sampling how = greedy;
    how.repetition_penalty = 1e6; /* nothing comes back within the window */
    how.repetition_window = 12;
    generate(&r, &g, how, true, &heavy);
    for (int i = 0; i < NEW; i++)
        for (int j = i + 1; j < NEW && j <= i + 12; j++)
            assert_int_not_equal(heavy.tokens[i], heavy.tokens[j]);
    run_close(&r);
    golden_release(&g);
}

/* ---- bad input ---- */

static void requests_that_cannot_be_met(void **state)
{
    (void)state;
    struct golden g;
    struct run r;
    struct ig_err err = {0};
    struct ig_session *small;
    read_golden(&g, "plain");
    run_open(&r, g.dir, 1);
    check_fails(ig_session_new(r.model, 257, &small, &err), &err, IG_ERR_USAGE,
                "a context of 257 tokens was asked for; the model's is 256");
    check_ok(ig_session_new(r.model, 100, &small, &err), &err);
    check_fails(ig_session_feed(small, g.tokens, 101, &err), &err, IG_ERR_DATA,
                "the prompt has 101 tokens, the session's context is 100");
    struct ig_err whole = {0};
    check_fails(ig_session_feed(r.session, g.tokens, 257, &whole), &whole, IG_ERR_DATA,
                "the prompt has 257 tokens, the model's context is 256");
    check_ok(ig_session_feed(small, g.tokens, 99, &err), &err);
    check_fails(ig_session_feed(small, g.tokens, 2, &err), &err, IG_ERR_DATA,
                "99 tokens and 2 more do not fit the context of 100");
    int32_t bad = 64;
    check_fails(ig_session_feed(small, &bad, 1, &err), &err, IG_ERR_DATA,
                "token 64 is outside the model's vocabulary of 64");
    assert_int_equal(ig_session_length(small), 99);
    /* Generation that reaches the end of the context ends there. */
    struct ig_generate_report report;
    struct ig_generate_job job = {.prompt = g.tokens,
                                  .prompt_count = 1,
                                  .tokens_max = 50,
                                  .sampling = greedy,
                                  .ignore_eos = true};
    check_ok(ig_generate(small, &job, &report, &err), &err);
    assert_int_equal(report.tokens, 1);
    assert_false(report.stopped);
    job.prompt_count = 0;
    check_fails(ig_generate(small, &job, &report, &err), &err, IG_ERR_USAGE,
                "the prompt has no tokens");
    job.prompt_count = 1;
    job.sampling.temperature = -1;
    check_fails(ig_generate(small, &job, &report, &err), &err, IG_ERR_USAGE,
                "the temperature is -1");
    ig_session_free(small);
    run_close(&r);
    golden_release(&g);
}

/* A copy of a golden folder in which `from` in a file is replaced by `to` of the same length. */
static void broken_copy(const char *name, const char *file, const char *from, const char *to,
                        char dir[IG_PATH_MAX])
{
    static const char *const files[] = {"config.json", "model.safetensors",
                                        "generation_config.json"};
    struct golden g;
    struct ig_err err = {0};
    read_golden(&g, name);
    snprintf(dir, IG_PATH_MAX, "/tmp/ingot-infer-XXXXXX");
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 3; i++) {
        char path[IG_PATH_MAX];
        struct ig_buf bytes = {0};
        check_ok(ig_path_join(path, g.dir, files[i], &err), &err);
        check_ok(ig_file_read(path, 1 << 20, &bytes, &err), &err);
        char *at = memmem(bytes.data, bytes.len, from, strlen(from));
        if (strcmp(files[i], file) == 0) {
            assert_non_null(at);
            assert_int_equal(strlen(from), strlen(to));
            memcpy(at, to, strlen(to));
        }
        check_ok(ig_path_join(path, dir, files[i], &err), &err);
        check_ok(ig_file_write(path, ig_buf_view(&bytes), &err), &err);
        ig_buf_release(&bytes);
    }
    golden_release(&g);
}

static void broken_models_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *model, *file, *from, *to;
        enum ig_code code;
        const char *text;
    } cases[] = {
        {"plain", "config.json", "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2",
         IG_ERR_DATA, "config.json: 'layer_types' has 1 of 2 layers"},
        {"plain", "config.json", "\"intermediate_size\": 64", "\"intermediate_size\": 96",
         IG_ERR_DATA,
         "tensor 'model.layers.0.mlp.gate_proj.weight' is BF16 64 x 64; config.json makes it 96 x "
         "64"},
        {"plain", "config.json", "\"head_dim\": 16", "\"head_dim\": 32", IG_ERR_DATA,
         "'model.layers.0.self_attn.q_proj.weight' is BF16 64 x 64; config.json makes it 128 x 64"},
        {"plain", "config.json", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\":false",
         IG_ERR_DATA, "tensor 'lm_head.weight' is missing"},
        {"plain", "config.json", "\"model_type\": \"qwen3\"", "\"model_type\": \"gpt_2\"",
         IG_ERR_UNSUPPORTED, "the engine cannot run model_type 'gpt_2' yet"},
        {"plain", "generation_config.json", "\"eos_token_id\": 3", "\"eos_token_id\":-3",
         IG_ERR_DATA, "generation_config.json: 'eos_token_id' is not a token id or a list of them"},
        {"mixed", "model.safetensors", "lm_head.biases", "lm_head.biasez", IG_ERR_DATA,
         "tensor 'lm_head.biases' is missing"},
        {"mixed", "model.safetensors", "lm_head.scales", "lm_head.scalez", IG_ERR_DATA,
         "tensor 'lm_head.weight' is U32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ig_err err = {0};
        struct ig_model *model;
        char dir[IG_PATH_MAX];
        broken_copy(cases[i].model, cases[i].file, cases[i].from, cases[i].to, dir);
        bool opened = ig_model_open(dir, 1, &model, &err);
        struct ig_err ignored = {0};
        check_ok(ig_dir_remove(dir, &ignored), &ignored);
        if (!opened && (!strstr(err.text, cases[i].text) || err.code != cases[i].code))
            fail_msg("case %zu: code %d, '%s'", i, (int)err.code, err.text);
        assert_false(opened);
    }
}

static void weights_that_are_not_numbers_are_reported(void **state)
{
    (void)state;
    struct ig_err err = {0};
    char dir[IG_PATH_MAX], path[IG_PATH_MAX];
    broken_copy("plain", "config.json", "qwen3", "qwen3", dir);
    struct ig_buf bytes = {0};
    check_ok(ig_path_join(path, dir, "model.safetensors", &err), &err);
    check_ok(ig_file_read(path, 1 << 20, &bytes, &err), &err);
    for (size_t i = bytes.len - 64; i < bytes.len; i++)
        bytes.data[i] = (char)0xFF; /* NaN in bf16 */
    check_ok(ig_file_write(path, ig_buf_view(&bytes), &err), &err);
    ig_buf_release(&bytes);
    struct run r;
    struct golden g;
    read_golden(&g, "plain");
    run_open(&r, dir, 1);
    double logprob;
    check_fails(ig_session_feed(r.session, g.tokens, 10, &err), &err, IG_ERR_DATA,
                "the model's logits are not finite numbers");
    check_fails(ig_session_score(r.session, g.tokens, g.tokens + 1, 1, &logprob, NULL, &err), &err,
                IG_ERR_DATA, "the model's logits are not finite numbers");
    assert_int_equal(ig_session_length(r.session), 0);
    check_ok(ig_dir_remove(dir, &err), &err);
    run_close(&r);
    golden_release(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(scores_do_not_depend_on_the_batch),
        cmocka_unit_test(greedy_text_is_that_of_transformers),
        cmocka_unit_test(stop_tokens_are_a_number_or_a_list),
        cmocka_unit_test(nothing_is_allocated_for_a_token),
        cmocka_unit_test(sampling_repeats_and_filters),
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(repetition_is_penalised_once_for_each_token),
        cmocka_unit_test(requests_that_cannot_be_met),
        cmocka_unit_test(broken_models_are_named),
        cmocka_unit_test(weights_that_are_not_numbers_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
