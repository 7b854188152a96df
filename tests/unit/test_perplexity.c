/* SPDX-License-Identifier: Apache-2.0
 * perplexity — that of transformers to 1e-4: of the fixture models, as they are and quantised, on a
 * text (tools/golden/perplexity.py, in f64); and of each family's tiny model on its tokens, from
 * the logits that transformers gave (tools/golden/logits_families.py). */
#include "eval/perplexity.h"
#include "ingot/quant.h"
#include "scratch.h"

#include <math.h>

#define TOLERANCE 1e-4 /* relative, or absolute below 1 */
enum { CONTEXT = 64, POSITIONS = 220, VOCAB = 64 };

static struct ig_err err;

static void join(char out[IG_PATH_MAX], const char *variable, const char *name)
{
    check_ok(ig_path_join(out, getenv(variable), name, &err), &err);
}

static void check_ppl(const char *what, const char *recipe, double got, double want)
{
    if (!(fabs(got - want) <= TOLERANCE * fmax(1, want)))
        fail_msg("%s, %s: perplexity %.8g, want %.8g", what, recipe, got, want);
}

/* ---- texts ---- */

static double text_ppl(const char *folder)
{
    struct ig_model *model;
    struct ig_tokenizer *tokenizer;
    struct ig_text_result result;
    char path[IG_PATH_MAX];
    const struct ig_model_options exact = {.threads = 1, .exact = true};
    join(path, "INGOT_TESTS", "golden/eval/passages.txt");
    check_ok(ig_model_open_as(folder, &exact, &model, &err), &err);
    check_ok(ig_tokenizer_open(folder, &tokenizer, &err), &err);
    const struct ig_text_job job = {.path = path, .context = CONTEXT};
    check_ok(ig_eval_text(&job, model, tokenizer, &result, &err), &err);
    ig_tokenizer_close(tokenizer);
    ig_model_close(model);
    return result.ppl.value;
}

static void quantise(const char *folder, const char *recipe, const char *out)
{
    struct ig_quant_recipe *made;
    struct ig_job_report report;
    check_ok(ig_quant_recipe_open(recipe, &made, &err), &err);
    const struct ig_quant_recipe *list[] = {made};
    const struct ig_quant_job job = {.model = folder,
                                     .out = out,
                                     .recipes = list,
                                     .recipe_count = 1,
                                     .threads = 1,
                                     .force = true};
    check_ok(ig_quantize(&job, NULL, &report, &err), &err);
    ig_quant_recipe_free(made);
}

static void fixtures_have_that_of_transformers(void **state)
{
    (void)state;
    struct ig_buf text = {0};
    struct ig_arena arena = {0};
    char path[IG_PATH_MAX], name[64], recipe[32];
    join(path, "INGOT_TESTS", "golden/eval/perplexity.json");
    check_ok(ig_file_read(path, 1 << 20, &text, &err), &err);
    const struct ig_json *rows = ig_json_parse(ig_buf_view(&text), &arena, &err);
    check_ok(rows != NULL, &err);
    assert_int_equal(rows->count, 16);
    for (uint32_t i = 0; i < rows->count; i++) {
        struct ig_slice model = ig_json_text(ig_json_get(&rows->items[i], "model"));
        struct ig_slice how = ig_json_text(ig_json_get(&rows->items[i], "recipe"));
        double want;
        assert_true(ig_json_real(ig_json_get(&rows->items[i], "ppl"), &want));
        snprintf(name, sizeof name, "models/" IG_SLICE_FMT, IG_SLICE_ARG(model));
        snprintf(recipe, sizeof recipe, IG_SLICE_FMT, how.ptr ? (int)how.len : 5,
                 how.ptr ? how.ptr : "plain");
        join(path, "INGOT_FIXTURES", name);
        if (how.ptr) quantise(path, recipe, scratch("q"));
        check_ppl(name, recipe, text_ppl(how.ptr ? scratch("q") : path), want);
    }
    ig_arena_release(&arena);
    ig_buf_release(&text);
}

/* ---- families ---- */

static void read_file(const char *family, const char *file, size_t bytes, void *out)
{
    char name[128], path[IG_PATH_MAX];
    struct ig_buf buf = {0};
    snprintf(name, sizeof name, "golden/infer/%s/%s", family, file);
    join(path, "INGOT_TESTS", name);
    check_ok(ig_file_read(path, 1 << 20, &buf, &err), &err);
    assert_int_equal(buf.len, bytes);
    memcpy(out, buf.data, bytes);
    ig_buf_release(&buf);
}

static double golden_ppl(const float *logits, const int32_t *ids)
{
    double nll = 0;
    for (int i = 0; i + 1 < POSITIONS; i++) {
        double sum = 0;
        for (int v = 0; v < VOCAB; v++)
            sum += exp((double)logits[i * VOCAB + v]);
        nll += log(sum) - (double)logits[i * VOCAB + ids[i + 1]];
    }
    return exp(nll / (POSITIONS - 1));
}

static double session_ppl(const char *family, const int32_t *ids)
{
    struct ig_model *model;
    struct ig_session *session;
    int32_t targets[POSITIONS];
    double logprobs[POSITIONS], nll = 0;
    char name[128], path[IG_PATH_MAX];
    snprintf(name, sizeof name, "golden/infer/%s", family);
    join(path, "INGOT_TESTS", name);
    check_ok(ig_model_open(path, 1, &model, &err), &err);
    check_ok(ig_session_new(model, 0, &session, &err), &err);
    for (int i = 0; i < POSITIONS; i++)
        targets[i] = i + 1 < POSITIONS ? ids[i + 1] : -1;
    check_ok(ig_session_score(session, ids, targets, POSITIONS, logprobs, NULL, &err), &err);
    for (int i = 0; i + 1 < POSITIONS; i++)
        nll -= logprobs[i];
    ig_session_free(session);
    ig_model_close(model);
    return exp(nll / (POSITIONS - 1));
}

static void families_have_that_of_transformers(void **state)
{
    (void)state;
    static const char *const families[] = {"plain",       "mixed",       "llama",     "mistral",
                                           "qwen2",       "qwen3_vl",    "qwen3_moe", "qwen3_next",
                                           "gemma3_text", "qwen3_vl_moe"};
    static float logits[POSITIONS * VOCAB];
    int32_t ids[POSITIONS];
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        read_file(families[f], "ids.bin", sizeof ids, ids);
        read_file(families[f], "logits.bin", sizeof logits, logits);
        check_ppl(families[f], "plain", session_ppl(families[f], ids), golden_ppl(logits, ids));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_have_that_of_transformers),
        cmocka_unit_test(families_have_that_of_transformers),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
