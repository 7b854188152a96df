/* SPDX-License-Identifier: Apache-2.0
 * stages — documents that feed each other: made as they are read they have the bytes that they have
 * through the disk, whatever the methods and threads; nothing of them is on disk; what goes wrong
 * in one names it; every allocation may fail. */
#include "base/file.h"
#include "ingot/store.h"
#include "merge_models.h"
#include "starve.h"

#include <math.h>

#define ROWS 300
#define COLS 400 /* two cells; of three models more than an eighth of 8 MiB */

static float wide[4][ROWS * COLS], vector[4][48];

static void write_models(void)
{
    uint32_t seed = 1;
    for (int m = 0; m < 4; m++) {
        for (int i = 0; i < ROWS * COLS; i++) {
            seed = seed * 1664525u + 1013904223u;
            float noise = (float)(seed >> 8) / 16777216.0F - 0.5F;
            noise = (float)(int)(noise * 64) / 64; /* of few values: cuts go through equal ones */
            wide[m][i] = m == 0 ? noise : wide[0][i] + 0.125F * (float)m * noise;
            if (i < 48) vector[m][i] = wide[m][i] + 1;
        }
        char name[8];
        snprintf(name, sizeof name, "m%d", m);
        const struct test_tensor list[] = {{"wide.weight", IG_F32, 2, {ROWS, COLS}, wide[m]},
                                           {"a.weight", IG_F32, 2, {8, 6}, vector[m]},
                                           {"b.weight", IG_F32, 1, {48}, vector[m]}};
        write_model(name, list, 3, "{\"model_type\": \"llama\", \"torch_dtype\": \"float32\"}");
    }
}

/* %s: a model among others. */
static const char *const bodies[] = {
    "linear\nmodels: [{model: %s}, {model: {1}}]\nparameters: {weight: [0.4, 1]}\n",
    "slerp\nbase_model: {1}\nmodels: [{model: %s}]\nparameters: {t: 0.3}\n",
    "nuslerp\nbase_model: %s\nmodels: [{model: {1}}, {model: {2}}]\n"
    "parameters: {weight: 0.4, nuslerp_flatten: false, nuslerp_row_wise: true}\n",
    "nuslerp\nmodels: [{model: {1}}, {model: %s}]\nparameters: {weight: 0.4}\n",
    "multislerp\nmodels: [{model: %s}, {model: {1}}, {model: {2}}]\nparameters: {weight: 0.4}\n",
    "karcher\nmodels: [{model: %s}, {model: {1}}]\n",
    "model_stock\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n"
    "parameters: {filter_wise: true}\n",
    "yoyo_scale\nbase_model: %s\nmodels: [{model: {1}}, {model: {2}}]\n",
    "yoyo_fusion\nmodels: [{model: %s}, {model: {1}}]\n",
    "task_arithmetic\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n"
    "parameters: {weight: 0.4}\n",
    "ties\nbase_model: {1}\nmodels: [{model: {2}}, {model: %s}]\n"
    "parameters: {weight: 0.4, density: 0.37}\n",
    "breadcrumbs\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n"
    "parameters: {weight: 0.4, density: 0.5, gamma: 0.1}\n",
    "breadcrumbs_ties\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n"
    "parameters: {weight: 0.4, density: 0.5}\n",
    "dare_linear\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n"
    "parameters: {weight: 0.4, density: 0.3}\n",
    "dare_ties\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n"
    "parameters: {weight: 0.4, density: 0.3}\nrandom_seed: 7\n",
    "della\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n"
    "parameters: {weight: 0.4, density: 0.5}\n",
    "della_linear\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n"
    "parameters: {weight: 0.4, density: 0.5}\n",
    "sce\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\nparameters: {select_topk: 0.4}\n",
    "ram\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n",
    "ramplus_tl\nbase_model: {1}\nmodels: [{model: %s}, {model: {2}}]\n",
    "nearswap\nbase_model: {1}\nmodels: [{model: %s}]\nparameters: {t: 0.01}\n",
    "arcee_fusion\nbase_model: {1}\nmodels: [{model: %s}]\n",
    "passthrough\nmodels: [{model: %s}]\nparameters: {scale: 0.3}\n",
    "passthrough\nmodels: [{model: %s}]\n", /* copied */
};
#define BODIES (sizeof bodies / sizeof *bodies)

/* The body with its model's name; {N} become SCRATCH/mN. */
static void add_body(struct ig_buf *out, const char *body, const char *model)
{
    ig_buf_text(out, "merge_method: ");
    for (const char *p = body; *p; p++) {
        if (p[0] == '%') {
            if (model[0] == '{')
                ig_buf_printf(out, "%s/m%c", scratch_dir, model[1]);
            else
                ig_buf_text(out, model);
            p++;
        } else if (p[0] == '{' && p[1] >= '0' && p[1] <= '9') {
            ig_buf_printf(out, "%s/m%c", scratch_dir, p[1]);
            p += 2;
        } else {
            ig_buf_char(out, *p);
        }
    }
}

/* A file of documents, the innermost last: each takes the next one's result. */
static struct ig_recipe_list *chain(const char *const *list, int count, const char *inner)
{
    static const char *const names[] = {"zero", "one", "two", "three", "four", "five", "six"};
    struct ig_err err = {0};
    struct ig_buf text = {0};
    struct ig_recipe_list *out;
    for (int i = 0; i < count; i++) {
        if (i) ig_buf_printf(&text, "---\nname: %s\n%s", names[i], i % 2 ? inner : "");
        add_body(&text, list[i], i + 1 < count ? names[i + 1] : "{0}");
    }
    check_ok(ig_recipe_list_parse(ig_buf_view(&text), "recipe", &out, &err), &err);
    ig_buf_release(&text);
    return out;
}

static bool staged; /* whether a folder of stages was there while it ran */

static bool look(void *user, const struct ig_progress *progress)
{
    (void)user;
    (void)progress;
    staged = staged || ig_path_exists(scratch("got.stages"));
    return true;
}

static bool run(struct ig_recipe_list *list, const char *out, int threads, bool through_disk,
                struct ig_err *err)
{
    char path[1024];
    struct ig_merge *merge = NULL;
    struct ig_job_report report;
    const struct ig_watch watch = {.progress = look};
    snprintf(path, sizeof path, "%s", scratch(out));
    struct ig_merge_job job = {.out = path,
                               .threads = threads,
                               .memory_bytes = (int64_t)8 << 20,
                               .force = true,
                               .through_disk = through_disk};
    bool ok = ig_merge_stages(list, &job, &watch, err);
    job.recipe = ig_recipe_list_last(list);
    ok = ok && ig_merge_plan(&job, &watch, &merge, err) &&
         ig_merge_run(merge, &watch, &report, err) && ig_merge_stages_clear(list, &job, err);
    ig_merge_close(merge);
    return ok;
}

static void assert_same_file(const char *a, const char *b)
{
    struct ig_buf x = scratch_read(a), y = scratch_read(b);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    ig_buf_release(&x);
    ig_buf_release(&y);
}

static void assert_same(const char *const *bodies_of, int count, const char *inner, bool on_disk)
{
    static const int threads[] = {1, 2, 8}; /* 8: the wide tensor is split */
    struct ig_err err = {0};
    struct ig_recipe_list *list = chain(bodies_of, count, inner);
    check_ok(run(list, "want", 2, true, &err), &err);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        staged = false;
        check_ok(run(list, "got", threads[i], false, &err), &err);
        assert_int_equal(staged, on_disk);
        assert_same_file("want/model.safetensors", "got/model.safetensors");
        assert_same_file("want/config.json", "got/config.json");
    }
    ig_recipe_list_free(list);
}

static bool is_pooled(const char *body)
{
    return strncmp(body, "yoyo_fusion", 11) == 0;
}

/* Each method under one of several rounds (karcher: a tensor that is split is mapped in each) and
 * over one of several rounds. */
static void bytes_are_those_through_the_disk(void **state)
{
    (void)state;
    for (size_t i = 0; i < BODIES; i++) {
        const char *const inner[] = {bodies[5], bodies[i]};
        const char *const outer[] = {bodies[i], bodies[10]};
        assert_same(inner, 2, i % 2 ? "" : "out_dtype: bfloat16\n", is_pooled(bodies[i]));
        assert_same(outer, 2, i % 2 ? "out_dtype: float16\n" : "", false);
    }
}

/* Four stages are one in another; the fifth is a folder. */
static void chains_have_an_end(void **state)
{
    (void)state;
    const char *const list[] = {bodies[1], bodies[10], bodies[0], bodies[5], bodies[1], bodies[0]};
    assert_same(list, 5, "out_dtype: bfloat16\n", false);
    assert_same(list, 6, "out_dtype: bfloat16\n", true);
}

/* A model that two documents use, and one that is asked for more than its weights. */
static void others_go_through_the_disk(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_buf text = {0};
    struct ig_recipe_list *list;
    ig_buf_printf(&text, "merge_method: linear\nmodels: [{model: one}, {model: two}]\n"
                         "parameters: {weight: 1}\n---\nname: one\nmerge_method: passthrough\n"
                         "models: [{model: two}]\n---\nname: two\n");
    add_body(&text, bodies[0], "{0}");
    check_ok(ig_recipe_list_parse(ig_buf_view(&text), "recipe", &list, &err), &err);
    const struct ig_merge_job job = {.out = "x", .plan_only = true};
    assert_false(ig_merge_stages(list, &job, NULL, &err));
    assert_non_null(strstr(err.text, "stage 'two' has to be made on disk: several documents use"));
    staged = false;
    check_ok(run(list, "got", 2, false, &err), &err);
    assert_true(staged);
    ig_recipe_list_free(list);
    ig_buf_release(&text);
}

static void errors_name_the_stage(void **state)
{
    (void)state;
    struct ig_err err = {0};
    const char *const list[] = {bodies[1], bodies[0]};
    struct ig_recipe_list *documents = chain(list, 2, "");
    float kept = wide[0][77000];
    wide[0][77000] = NAN;
    const struct test_tensor bad[] = {{"wide.weight", IG_F32, 2, {ROWS, COLS}, wide[0]},
                                      {"a.weight", IG_F32, 2, {8, 6}, vector[0]},
                                      {"b.weight", IG_F32, 1, {48}, vector[0]}};
    write_model("m0", bad, 3, "{\"model_type\": \"llama\"}");
    for (int threads = 1; threads <= 8; threads *= 8) {
        assert_false(run(documents, "bad", threads, false, &err));
        assert_int_equal(err.code, IG_ERR_DATA);
        if (strncmp(err.text, "stage 'one': tensor 'wide.weight': model '", 42) != 0)
            fail_msg("%s", err.text);
    }
    write_model("m0", bad, 2, "{\"model_type\": \"llama\"}");
    assert_false(run(documents, "bad", 1, false, &err));
    if (strncmp(err.text, "stage 'one': the models differ in 1 tensors", 43) != 0)
        fail_msg("%s", err.text);
    assert_false(ig_path_exists(scratch("bad")));
    wide[0][77000] = kept;
    write_model("m0", bad, 3, "{\"model_type\": \"llama\", \"torch_dtype\": \"float32\"}");
    ig_recipe_list_free(documents);
}

/* Experts that lie across the rows that are asked for would be made cell by cell for each. */
static void turned_experts_are_refused(void **state)
{
    (void)state;
    struct ig_err err = {0};
    const char *config = "{\"model_type\": \"qwen3_moe\", \"hidden_size\": 6}";
    const struct test_tensor single[] = {
        {"model.layers.0.mlp.experts.0.gate_proj.weight", IG_F32, 2, {4, 6}, vector[0]},
        {"model.layers.0.mlp.experts.0.up_proj.weight", IG_F32, 2, {4, 6}, vector[1]},
        {"model.layers.0.mlp.experts.0.down_proj.weight", IG_F32, 2, {6, 4}, vector[2]},
    };
    const struct test_tensor across[] = {
        {"model.layers.0.mlp.experts.gate_up_proj", IG_F32, 3, {1, 6, 8}, vector[0]},
        {"model.layers.0.mlp.experts.down_proj", IG_F32, 3, {1, 4, 6}, vector[1]},
    };
    write_model("m5", single, 3, config);
    write_model("m6", across, 2, config);
    struct ig_buf text = {0};
    struct ig_recipe_list *list;
    ig_buf_printf(&text,
                  "merge_method: linear\nmodels: [{model: %s/m5}, {model: one}]\n"
                  "parameters: {weight: 1}\n---\nname: one\nmerge_method: passthrough\n"
                  "models: [{model: %s/m6}]\nparameters: {scale: 0.5}\n",
                  scratch_dir, scratch_dir);
    check_ok(ig_recipe_list_parse(ig_buf_view(&text), "recipe", &list, &err), &err);
    assert_false(run(list, "bad", 1, false, &err));
    assert_int_equal(err.code, IG_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "model 'one': tensor 'model.layers.0.mlp.experts."));
    assert_non_null(strstr(err.text, "--through-disk makes it first"));
    check_ok(run(list, "got", 1, true, &err), &err);
    ig_recipe_list_free(list);
    ig_buf_release(&text);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct ig_err err = {0};
    const char *const list[] = {bodies[1], bodies[10], bodies[5]};
    struct ig_recipe_list *documents = chain(list, 3, "");
    check_ok(run(documents, "want", 1, true, &err), &err);
    for (long allowed = 0;; allowed++) {
        taken = 0;
        budget = allowed;
        bool ok = run(documents, "got", 1, false, &err);
        bool all = taken <= allowed;
        budget = -1;
        assert_true(allowed < 5000);
        if (ok) assert_same_file("want/model.safetensors", "got/model.safetensors");
        if (!ok && err.code != IG_ERR_NOMEM) fail_msg("%ld allowed: %s", allowed, err.text);
        if (ok && all) break;
    }
    ig_recipe_list_free(documents);
}

static int open_models(void **state)
{
    int failed = scratch_open(state);
    if (!failed) write_models();
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_through_the_disk),
        cmocka_unit_test(chains_have_an_end),
        cmocka_unit_test(others_go_through_the_disk),
        cmocka_unit_test(errors_name_the_stage),
        cmocka_unit_test(turned_experts_are_refused),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, open_models, scratch_close);
}
