/* SPDX-License-Identifier: Apache-2.0
 * fast — a random model that is just large enough for narrow arithmetic: what it scores does not
 * depend on the batch or on the threads, and stays close to exact arithmetic. A prompt's logits are
 * those that it has when all its rows go through the last layer. */
#include "infer/infer_internal.h"
#include "ingot/quant.h"
#include "scratch.h"

#include <math.h>

enum { WIDE = 512, KEYS = 256, VOCAB = 520, LAYERS = 2, TOKENS = 90, TENSORS_MAX = 32 };

static struct ig_tensor tensors[TENSORS_MAX];
static char names[TENSORS_MAX][64];
static int tensor_count;

static void add(const char *name, int64_t rows, int64_t cols)
{
    struct ig_tensor *t = &tensors[tensor_count];
    snprintf(names[tensor_count], sizeof names[0], "model.%s.weight", name);
    t->name = ig_slice_of(names[tensor_count++]);
    t->dtype = IG_BF16;
    t->rank = rows ? 2 : 1;
    t->shape[0] = rows ? rows : cols;
    t->shape[1] = rows ? cols : 0;
    t->elems = (rows ? rows : 1) * cols;
    t->bytes = (size_t)t->elems * 2;
}

static void list_tensors(void)
{
    static const struct {
        const char *name;
        int64_t rows, cols;
    } parts[] = {
        {"self_attn.q_proj", WIDE, WIDE},      {"self_attn.k_proj", KEYS, WIDE},
        {"self_attn.v_proj", KEYS, WIDE},      {"self_attn.o_proj", WIDE, WIDE},
        {"self_attn.q_norm", 0, 64},           {"self_attn.k_norm", 0, 64},
        {"mlp.gate_proj", WIDE, WIDE},         {"mlp.up_proj", WIDE, WIDE},
        {"mlp.down_proj", WIDE, WIDE},         {"input_layernorm", 0, WIDE},
        {"post_attention_layernorm", 0, WIDE},
    };
    add("embed_tokens", VOCAB, WIDE);
    add("norm", 0, WIDE);
    for (int l = 0; l < LAYERS; l++)
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
            char name[48];
            snprintf(name, sizeof name, "layers.%d.%s", l, parts[p].name);
            add(name, parts[p].rows, parts[p].cols);
        }
}

static void make_model(const char *out)
{
    static const char config[] =
        "{\"model_type\": \"qwen3\", \"tie_word_embeddings\": true, \"hidden_size\": 512, "
        "\"intermediate_size\": 512, \"num_hidden_layers\": 2, \"num_attention_heads\": 8, "
        "\"num_key_value_heads\": 4, \"head_dim\": 64, \"vocab_size\": 520, \"rms_norm_eps\": "
        "1e-6, "
        "\"rope_theta\": 10000, \"max_position_embeddings\": 1024, \"eos_token_id\": 1}";
    static uint16_t words[VOCAB * WIDE];
    struct ig_err err = {0};
    struct ig_writer *w;
    uint64_t seed = 7;
    list_tensors();
    struct ig_writer_plan plan = {
        .out = out, .tensors = tensors, .count = tensor_count, .total_parameters = -1};
    check_ok(ig_writer_open(&plan, &w, &err), &err);
    for (int t = 0; t < tensor_count; t++) {
        for (int64_t i = 0; i < tensors[t].elems; i++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            float unit = (float)((int32_t)(seed >> 33) - (1 << 30)) / (float)(1 << 30);
            float value = tensors[t].rank == 1 ? 1.0F + 0.1F * unit : 0.07F * unit;
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            words[i] = (uint16_t)(bits >> 16);
        }
        check_ok(ig_writer_put(w, t, 0, words, tensors[t].bytes, &err), &err);
        check_ok(ig_writer_mark(w, t, &err), &err);
    }
    check_ok(ig_writer_add(w, "config.json", ig_slice_of(config), &err), &err);
    check_ok(ig_writer_finish(w, &err), &err);
    ig_writer_close(w);
}

static void quantize(const char *from, const char *out, int bits)
{
    struct ig_err err = {0};
    struct ig_quant_recipe *recipe;
    struct ig_job_report report;
    struct ig_codec codec = {.mode = IG_AFFINE, .bits = bits, .group_size = 64};
    check_ok(ig_quant_recipe_uniform(codec, &recipe, &err), &err);
    const struct ig_quant_recipe *recipes[] = {recipe};
    struct ig_quant_job job = {.model = from, .out = out, .recipes = recipes, .recipe_count = 1};
    check_ok(ig_quantize(&job, NULL, &report, &err), &err);
    ig_quant_recipe_free(recipe);
}

static int32_t tokens[TOKENS + 1];

/* Log-probabilities of a random text: in one piece, or as 3 + 40 + the rest, with another tree
 * before it. */
static void score(const char *dir, struct ig_model_options how, bool cut, double *out)
{
    struct ig_err err = {0};
    struct ig_model *model;
    struct ig_session *session;
    check_ok(ig_model_open_as(dir, &how, &model, &err), &err);
    check_ok(ig_session_new(model, 0, &session, &err), &err);
    const struct ig_span whole[] = {{tokens, TOKENS, -1}};
    const struct ig_span parts[] = {{tokens + 5, 31, -1},
                                    {tokens, 3, -1},
                                    {tokens + 3, 40, 1},
                                    {tokens + 9, 2, 1},
                                    {tokens + 43, TOKENS - 43, 2}};
    struct ig_target targets[TOKENS];
    struct ig_scored scored[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        targets[i] = (struct ig_target){0, i, tokens[i + 1]};
        if (!cut) continue;
        targets[i].span = i < 3 ? 1 : i < 43 ? 2 : 4;
        targets[i].index = i < 3 ? i : i < 43 ? i - 3 : i - 43;
    }
    check_ok(ig_session_score_spans(session, cut ? parts : whole, cut ? 5 : 1, targets, TOKENS,
                                    scored, &err),
             &err);
    for (int i = 0; i < TOKENS; i++)
        out[i] = scored[i].logprob;
    ig_session_free(session);
    ig_model_close(model);
}

/* Scores of one arithmetic, whatever the threads and the cut. */
static void score_twice(const char *dir, struct ig_model_options how, double *out)
{
    double again[TOKENS];
    how.threads = 1;
    score(dir, how, false, out);
    how.threads = 3;
    score(dir, how, true, again);
    assert_memory_equal(out, again, sizeof again);
}

static double largest_difference(const double *a, const double *b)
{
    double most = 0;
    for (int i = 0; i < TOKENS; i++)
        most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

static void compare(const char *dir, double slack)
{
    double fast[TOKENS], bytes[TOKENS], exact[TOKENS];
    score_twice(dir, (struct ig_model_options){0}, fast);
    score_twice(dir, (struct ig_model_options){.int8_scores = true}, bytes);
    score_twice(dir, (struct ig_model_options){.exact = true}, exact);
    double most = largest_difference(fast, exact), more = largest_difference(bytes, exact);
    if (!(most <= slack)) fail_msg("%s: a log-probability is %.3g off", dir, most);
    if (!(more <= slack)) fail_msg("%s: a log-probability in int8 is %.3g off", dir, more);
}

/* Under IG_KERNELS=ref nothing is fast, and the model takes half a minute. */
static bool only_ref(void)
{
    struct ig_err err = {0};
    enum ig_isa isa;
    return ig_isa_pick(&isa, &err) && isa == IG_ISA_REF;
}

static void fast_scores_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    if (only_ref()) skip();
    char plain[300];
    snprintf(plain, sizeof plain, "%s", scratch("plain"));
    make_model(plain);
    for (int i = 0; i <= TOKENS; i++)
        tokens[i] = (int32_t)(i * 7919 % VOCAB);
    compare(plain, 0.05);
    static const int widths[] = {8, 6, 5, 4, 3, 2};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const char *out = scratch("packed");
        quantize(plain, out, widths[i]);
        compare(out, 0.2);
        struct ig_err err = {0};
        check_ok(ig_dir_remove(out, &err), &err);
    }
}

/* 700 tokens do not fit one batch, as one span or as a tree. */
static void trees_larger_than_a_batch(void **state)
{
    (void)state;
    if (only_ref()) skip();
    enum { LONG = 700 };
    static int32_t text[LONG + 1];
    static double want[LONG];
    static struct ig_target targets[LONG];
    static struct ig_scored got[LONG];
    struct ig_err err = {0};
    struct ig_model *model;
    struct ig_session *session;
    for (int i = 0; i <= LONG; i++)
        text[i] = (int32_t)((i * 7919 + i / 13) % VOCAB);
    const char *dir = scratch("plain");
    check_ok(ig_model_open(dir, 2, &model, &err), &err);
    check_ok(ig_session_new(model, 0, &session, &err), &err);
    check_ok(ig_session_score(session, text, text + 1, LONG, want, NULL, &err), &err);
    const struct ig_span whole[] = {{text, LONG, -1}};
    const struct ig_span parts[] = {{text + 1, 20, -1},  {text, 500, -1},      {text + 3, 100, 1},
                                    {text + 500, 90, 1}, {text + 590, 110, 3}, {text, 7, -1}};
    for (int cut = 0; cut < 2; cut++) {
        for (int i = 0; i < LONG; i++) {
            targets[i] = (struct ig_target){0, i, text[i + 1]};
            if (!cut) continue;
            targets[i].span = i < 500 ? 1 : i < 590 ? 3 : 4;
            targets[i].index = i < 500 ? i : i < 590 ? i - 500 : i - 590;
        }
        check_ok(ig_session_score_spans(session, cut ? parts : whole, cut ? 6 : 1, targets, LONG,
                                        got, &err),
                 &err);
        for (int i = 0; i < LONG; i++)
            assert_true(got[i].logprob == want[i]);
    }
    ig_session_free(session);
    ig_model_close(model);
}

/* ---- the last layer of prompts ---- */

static const float *feed(struct ig_session *s, const int32_t *text, size_t count)
{
    struct ig_err err = {0};
    ig_session_trim(s, 0);
    check_ok(ig_session_feed(s, text, count, &err), &err);
    return ig_session_logits(s);
}

/* The last row's logits after all rows went through all layers. */
static const float *feed_whole(struct ig_session *s, const int32_t *text, size_t count)
{
    struct ig_err err = {0};
    int64_t vocab = s->model->shape.vocab, rows = ((int64_t)count - 1) % s->rows_max;
    float *all = malloc(count * (size_t)vocab * sizeof *all);
    assert_non_null(all);
    ig_session_trim(s, 0);
    check_ok(ig_session_logits_all(s, text, count, all, &err), &err);
    free(all);
    const struct infer_product head = {&s->model->head, NULL, s->logits};
    infer__linear(s, &head, 1, s->normed + rows * s->model->shape.hidden, 1, false);
    return s->logits;
}

/* Experts that several rows share may take another path than those of one: only up to rounding. */
static void check_prompts(const char *dir, float slack)
{
    static const size_t counts[] = {2, 3, 4, 5, 17, 90, 530};
    struct ig_err err = {0};
    struct ig_model *model;
    struct ig_session *a, *b;
    int32_t text[530];
    check_ok(ig_model_open(dir, 2, &model, &err), &err);
    check_ok(ig_session_new(model, 0, &a, &err), &err);
    check_ok(ig_session_new(model, 0, &b, &err), &err);
    const struct ig_model_shape *m = ig_model_shape(model);
    for (int i = 0; i < 530; i++)
        text[i] = (int32_t)((i * 7919 + i / 13) % m->vocab);
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        if (counts[c] > (size_t)m->context) continue;
        const float *got = feed(a, text, counts[c]), *want = feed_whole(b, text, counts[c]);
        for (int64_t i = 0; i < m->vocab; i++)
            if (slack > 0 ? !(fabsf(got[i] - want[i]) <= slack) : got[i] != want[i])
                fail_msg("%s, %zu tokens, logit %d: %.9g, want %.9g", dir, counts[c], (int)i,
                         (double)got[i], (double)want[i]);
        /* and the keys and values are all there */
        check_ok(ig_session_feed(a, text, 1, &err), &err);
        check_ok(ig_session_feed(b, text, 1, &err), &err);
        for (int64_t i = 0; i < m->vocab; i++)
            assert_true(fabsf(a->logits[i] - b->logits[i]) <= slack);
    }
    ig_session_free(a);
    ig_session_free(b);
    ig_model_close(model);
}

static void prompts_are_as_if_all_rows_went_on(void **state)
{
    (void)state;
    static const char *const families[] = {"plain",      "llama",   "qwen2",    "gemma3_text",
                                           "qwen3_next", "mistral", "qwen3_moe"};
    static const int widths[] = {8, 4};
    const char *tests = getenv("INGOT_TESTS");
    char dir[IG_PATH_MAX];
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        snprintf(dir, sizeof dir, "%s/golden/infer/%s", tests ? tests : "tests", families[f]);
        bool experts = strstr(families[f], "moe") || strstr(families[f], "next");
        check_prompts(dir, experts ? 2e-6F : 0);
    }
    if (only_ref()) return;
    check_prompts(scratch("plain"), 0);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        struct ig_err err = {0};
        snprintf(dir, sizeof dir, "%s", scratch("packed"));
        quantize(scratch("plain"), dir, widths[i]);
        check_prompts(dir, 0);
        check_ok(ig_dir_remove(dir, &err), &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_scores_do_not_depend_on_the_batch),
        cmocka_unit_test(trees_larger_than_a_batch), /* of the model that the first one made */
        cmocka_unit_test(prompts_are_as_if_all_rows_went_on), /* and of it too */
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
