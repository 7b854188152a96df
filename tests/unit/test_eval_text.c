/* SPDX-License-Identifier: Apache-2.0
 * eval_text — perplexity and KL divergence against transformers in f64 (tools/golden/eval_text.py,
 * tests/golden/eval/text.json), and what must hold of any two models. */
#include "eval/perplexity.h"
#include "scratch.h"

#include <math.h>

#define CONTEXT 64

static struct ig_err err;
static struct ig_model *models[2]; /* anvil, base */
static struct ig_tokenizer *tokenizer;
static char text_path[IG_PATH_MAX], golden_path[IG_PATH_MAX], model_dirs[2][IG_PATH_MAX];

static int open_all(void **state)
{
    static const char *const names[] = {"models/anvil", "models/base"};
    const char *fixtures = getenv("INGOT_FIXTURES"), *tests = getenv("INGOT_TESTS");
    const struct ig_model_options exact = {.threads = 1, .exact = true};
    if (!fixtures || !tests || !ig_path_join(text_path, tests, "golden/eval/text.txt", &err) ||
        !ig_path_join(golden_path, tests, "golden/eval/text.json", &err))
        return -1;
    for (int i = 0; i < 2; i++)
        if (!ig_path_join(model_dirs[i], fixtures, names[i], &err) ||
            !ig_model_open_as(model_dirs[i], &exact, &models[i], &err))
            return -1;
    return ig_tokenizer_open(model_dirs[0], &tokenizer, &err) ? scratch_open(state) : -1;
}

static int close_all(void **state)
{
    ig_tokenizer_close(tokenizer);
    ig_model_close(models[0]);
    ig_model_close(models[1]);
    return scratch_close(state);
}

static void measure(struct ig_text_job job, struct ig_text_result *result)
{
    if (!job.path) job.path = text_path;
    if (!job.context) job.context = CONTEXT;
    job.reference_tokenizer = tokenizer;
    check_ok(ig_eval_text(&job, models[0], tokenizer, result, &err), &err);
}

/* relative to the value, or to 1 where it is smaller */
static void near(const struct ig_json *golden, const char *key, double got, double tolerance)
{
    double want = (double)NAN;
    assert_true(ig_json_real(ig_json_get(golden, key), &want));
    if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
        fail_msg("%s: %.9g, want %.9g", key, got, want);
}

static void values_are_transformers(void **state)
{
    (void)state;
    struct ig_text_result r;
    struct ig_buf text = {0};
    struct ig_arena arena = {0};
    check_ok(ig_file_read(golden_path, 1 << 20, &text, &err), &err);
    const struct ig_json *golden = ig_json_parse(ig_buf_view(&text), &arena, &err);
    check_ok(golden != NULL, &err);
    measure((struct ig_text_job){.reference = models[1], .threads = 2}, &r);
    near(golden, "tokens", (double)r.tokens, 0);
    near(golden, "ppl", r.ppl.value, 1e-6);
    near(golden, "ppl_error", r.ppl.error, 1e-6);
    near(golden, "ln_ppl_ratio", r.ln_ratio.value, 1e-6);
    near(golden, "ln_ppl_ratio_error", r.ln_ratio.error, 1e-6);
    near(golden, "correlation", r.correlation, 1e-6);
    near(golden, "kld", r.kld.value, 1e-5);
    near(golden, "kld_error", r.kld.error, 1e-6);
    near(golden, "delta_p", r.delta_p.value, 1e-6);
    near(golden, "delta_p_error", r.delta_p.error, 1e-6);
    near(golden, "rms_delta_p", r.rms_delta_p.value, 1e-6);
    near(golden, "rms_delta_p_error", r.rms_delta_p.error, 1e-6);
    near(golden, "same_top", r.same_top.value, 1e-12);
    for (int i = 0; i < IG_TEXT_PERCENTS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%g", ig_text_percents[i]);
        near(ig_json_get(golden, "kld_percentiles"), key, r.kld_percentiles[i], 2e-5);
    }
    ig_arena_release(&arena);
    ig_buf_release(&text);
}

static void a_model_is_itself(void **state)
{
    (void)state;
    struct ig_text_result self, alone;
    measure((struct ig_text_job){.reference = models[0], .windows = 3}, &self);
    assert_true(fabs(self.kld.value) < 1e-6 && self.kld.error < 1e-6);
    assert_true(self.same_top.value >= 1 && self.rms_delta_p.value <= 0);
    assert_true(self.ratio.value >= 1 && self.ratio.value <= 1 && self.ratio.error < 1e-6);
    measure((struct ig_text_job){.windows = 3}, &alone);
    assert_false(alone.has_reference);
    assert_int_equal(alone.tokens, self.tokens);
    assert_int_equal(alone.windows, 3);
    assert_true(fabs(alone.nll.value - self.nll.value) < 1e-5);
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    struct ig_text_result one, three;
    memset(&one, 0, sizeof one);
    memset(&three, 0, sizeof three);
    measure((struct ig_text_job){.reference = models[1], .threads = 1, .windows = 2}, &one);
    measure((struct ig_text_job){.reference = models[1], .threads = 3, .windows = 2}, &three);
    assert_memory_equal(&one.kld, &three.kld, sizeof one.kld);
    assert_memory_equal(one.kld_percentiles, three.kld_percentiles, sizeof one.kld_percentiles);
    assert_memory_equal(&one.ppl, &three.ppl, sizeof one.ppl);
}

static void wrong_use_is_told(void **state)
{
    (void)state;
    struct ig_text_result r;
    struct ig_text_job job = {.path = text_path, .context = 4};
    check_fails(ig_eval_text(&job, models[0], tokenizer, &r, &err), &err, IG_ERR_USAGE,
                "a window of 4 tokens is less than 8");
    job.context = 1 << 20;
    check_fails(ig_eval_text(&job, models[0], tokenizer, &r, &err), &err, IG_ERR_DATA,
                "less than one window of 1048576");
    job.path = "nowhere.txt";
    check_fails(ig_eval_text(&job, models[0], tokenizer, &r, &err), &err, IG_ERR_IO, "nowhere.txt");
    struct ig_buf many = {0};
    for (int i = 0; i < 2000; i++)
        ig_buf_printf(&many, "word %d\n", i);
    scratch_write("long.txt", many.data, many.len);
    ig_buf_release(&many);
    job.path = scratch("long.txt");
    job.context = ig_model_shape(models[0])->context + 1;
    check_fails(ig_eval_text(&job, models[0], tokenizer, &r, &err), &err, IG_ERR_USAGE,
                "the model's is");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_transformers),
        cmocka_unit_test(a_model_is_itself),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(wrong_use_is_told),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
