/* SPDX-License-Identifier: Apache-2.0
 * gates — routers made by running the base model on prompts, against mergekit-moe's
 * (tools/golden/gates_golden.py). */
#include "ingot/infer.h"
#include "merge_models.h"

#include <math.h>
#include <sys/stat.h>

static bool run_model(void *user, const struct ig_states_ask *ask, struct ig_err *err)
{
    const struct ig_model_options options = {.threads = 1, .exact = true};
    struct ig_model *model = NULL;
    struct ig_session *session = NULL;
    bool ok = ig_model_open_as(ask->model, &options, &model, err) &&
              ig_session_new(model, 64, &session, err);
    for (int i = 0; ok && i < ask->count; i++) {
        ig_session_trim(session, 0);
        ok = ig_session_states(session, ask->prompts[i].items, ask->prompts[i].count, ask->mean,
                               ask->out + ask->groups[i] * ask->layers * ask->hidden, err);
    }
    ig_session_free(session);
    ig_model_close(model);
    ++*(int *)user;
    return ok;
}

static const char many[] =
    "- {source_model: M, positive_prompts: [prove that the anvil is heavy, solve], "
    "negative_prompts: [once upon a time there was a miller]}\n"
    "- {source_model: M, positive_prompts: [write a story]}\n"
    "- {source_model: M, positive_prompts: [The old clock, a, It was late in the evening when the "
    "rain came], negative_prompts: [numbers, of all kinds]}\n";
static const char one[] =
    "- {source_model: M, positive_prompts: [prove that the anvil is heavy], negative_prompts: "
    "[once upon a time]}\n"
    "- {source_model: M, positive_prompts: [write a story]}\n"
    "- {source_model: M, positive_prompts: [It was late in the evening], negative_prompts: "
    "[numbers]}\n";

static bool build(const char *model, const char *mode, const char *experts,
                  const struct ig_states_runner *runner, struct ig_err *err)
{
    struct ig_buf text = {0};
    struct ig_recipe *recipe = NULL;
    struct ig_merge *merge = NULL;
    struct ig_job_report report;
    ig_buf_printf(&text, "base_model: M\ngate_mode: %s\ndtype: float32\nexperts:\n%s", mode,
                  experts);
    struct ig_buf full = {0};
    for (const char *p = text.data; *p; p++) {
        if (p[0] == 'M' && (p[-1] == ' ') && (p[1] == ',' || p[1] == '\n'))
            ig_buf_printf(&full, "'%s'", model);
        else
            ig_buf_char(&full, *p);
    }
    bool ok = ig_recipe_parse(ig_buf_view(&full), "recipe", &recipe, err);
    const struct ig_merge_job job = {
        .recipe = recipe, .out = scratch("out"), .threads = 1, .force = true, .states = runner};
    ok = ok && ig_merge_plan(&job, NULL, &merge, err) && ig_merge_run(merge, NULL, &report, err);
    ig_merge_close(merge);
    ig_recipe_free(recipe);
    ig_buf_release(&text);
    ig_buf_release(&full);
    return ok;
}

static void check_mode(const char *model, const char *file, const char *mode, const char *block)
{
    int runs = 0;
    const struct ig_states_runner runner = {&runs, run_model};
    struct ig_err err = {0};
    struct ig_store *want, *got;
    char path[1024];
    bool embed = strcmp(mode, "cheap_embed") == 0;
    check_ok(build(model, mode, strstr(mode, "avg") ? one : many, &runner, &err), &err);
    assert_int_equal(runs, embed ? 0 : 1);
    check_ok(ig_store_open(scratch("out"), &got, &err), &err);
    snprintf(path, sizeof path, "%s/golden/merge/gates/%s.safetensors", getenv("INGOT_TESTS"),
             file);
    check_ok(ig_store_open(path, &want, &err), &err);
    const struct ig_tensor *t = ig_store_at(want, 0);
    float *rows = bytes_of(want, "rows");
    int64_t each = t->shape[1] * t->shape[2];
    for (int64_t l = 0; l < t->shape[0]; l++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%lld.%s.gate.weight", (long long)l, block);
        float *gate = bytes_of(got, name);
        for (int64_t i = 0; i < each; i++)
            if (!(fabs((double)gate[i] - (double)rows[l * each + i]) <= 1e-5))
                fail_msg("%s: %s[%lld]: %.9g, want %.9g", file, name, (long long)i, (double)gate[i],
                         (double)rows[l * each + i]);
        free(gate);
    }
    free(rows);
    ig_store_close(want);
    ig_store_close(got);
}

static void copy_file(const char *from, const char *to)
{
    char buffer[4096];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in && out);
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, in)) > 0;)
        assert_int_equal(fwrite(buffer, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
    fclose(in);
}

static const char *anvil(void)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/models/anvil", getenv("INGOT_FIXTURES"));
    return path;
}

static void as_mergekit_does(void **state)
{
    (void)state;
    static const char *const modes[] = {"hidden", "hidden_avg", "cheap_embed"};
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "tokenizer_config.json"};
    char from[1100], to[1100], llama[1024], name[64];
    snprintf(llama, sizeof llama, "%s", scratch("llama"));
    struct ig_err err = {0};
    check_ok(mkdir(llama, 0777) == 0 || (ig_err_nomem(&err)), &err);
    for (int i = 0; i < 4; i++) {
        snprintf(from, sizeof from, i < 2 ? "%s/golden/merge/gates/llama/%s" : "%s/%s",
                 i < 2 ? getenv("INGOT_TESTS") : anvil(), files[i]);
        snprintf(to, sizeof to, "%s/%s", llama, files[i]);
        copy_file(from, to);
    }
    for (int i = 0; i < 3; i++) {
        check_mode(anvil(), modes[i], modes[i], "mlp");
        snprintf(name, sizeof name, "llama-%s", modes[i]);
        check_mode(llama, name, modes[i], "block_sparse_moe");
    }
    check_mode(anvil(), "hidden", "hidden_last", "mlp");
}

static void what_cannot_be_run_is_refused(void **state)
{
    (void)state;
    int runs = 0;
    const struct ig_states_runner runner = {&runs, run_model};
    struct ig_err err = {0};
    check_fails(build(anvil(), "hidden", many, NULL, &err), &err, IG_ERR_UNSUPPORTED,
                "runs the base model");
    check_fails(
        build(anvil(), "hidden", "- {source_model: M, }\n- {source_model: M, }\n", &runner, &err),
        &err, IG_ERR_DATA, "needs positive_prompts");
    check_fails(build(anvil(), "secret", many, &runner, &err), &err, IG_ERR_DATA, "are known");
    assert_int_equal(runs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_mergekit_does),
        cmocka_unit_test(what_cannot_be_run_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
