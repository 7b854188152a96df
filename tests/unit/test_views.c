/* SPDX-License-Identifier: Apache-2.0
 * views — models whose tensors are made as they are read: a LoRA on a model as peft merges it,
 * float8 with its scales as torch reads it (tools/golden/views_golden.py), experts in one layout
 * or the other. */
#include "merge_models.h"

#include <math.h>

static const char *views(const char *name)
{
    static char paths[4][1024];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/golden/merge/views/%s", getenv("INGOT_TESTS"), name);
    return path;
}

/* Every tensor of the golden file is in the output, within the bound, and none else is. */
static void compare(const struct ig_store *out, const char *golden, double bound)
{
    struct ig_err err = {0};
    struct ig_store *want;
    check_ok(ig_store_open(views(golden), &want, &err), &err);
    assert_int_equal(ig_store_count(out), ig_store_count(want));
    for (int64_t i = 0; i < ig_store_count(want); i++) {
        const struct ig_tensor *t = ig_store_at(want, i);
        char name[256];
        snprintf(name, sizeof name, "%.*s", IG_SLICE_ARG(t->name));
        float *a = bytes_of(want, name), *b = bytes_of(out, name);
        assert_int_equal(ig_store_find(out, t->name)->dtype, IG_F32);
        for (int64_t j = 0; j < t->elems; j++)
            if (!(fabs((double)a[j] - (double)b[j]) <= bound))
                fail_msg("%s: %s[%lld]: %.9g, want %.9g", golden, name, (long long)j, (double)b[j],
                         (double)a[j]);
        free(a);
        free(b);
    }
    ig_store_close(want);
}

static void loras_are_merged_as_peft_does(void **state)
{
    (void)state;
    static const char *const names[] = {"plain", "rslora", "pattern"};
    static const char *const forms[] = {"'%s+%s'", "{model: {path: '%s'}, lora: '%s'}",
                                        "{model: '%s', lora: {path: '%s'}}"};
    for (int i = 0; i < 3; i++) {
        char reference[2100], text[2300], golden[64];
        snprintf(reference, sizeof reference, forms[i], views("base"), views(names[i]));
        snprintf(text, sizeof text, "merge_method: passthrough\nmodels: [{model: %s}]\n",
                 reference);
        snprintf(golden, sizeof golden, "%s.safetensors", names[i]);
        struct ig_store *out = merged(text);
        compare(out, golden, 3e-7);
        ig_store_close(out);
    }
}

static void float8_is_multiplied_by_its_scales(void **state)
{
    (void)state;
    char text[2048];
    snprintf(text, sizeof text,
             "merge_method: passthrough\nmodels: [{model: '%s'}]\nout_dtype: float32\n",
             views("float8"));
    struct ig_store *out = merged(text);
    compare(out, "float8.safetensors", 0);
    assert_null(ig_json_get(ig_store_config(out), "quantization_config"));
    ig_store_close(out);
    snprintf(text, sizeof text,
             "merge_method: linear\nmodels: [{model: '%s'}]\n"
             "parameters: {weight: 1}\n",
             views("float8"));
    out = merged(text); /* not said: the config's type */
    const struct ig_tensor *t =
        ig_store_find(out, ig_slice_of("model.layers.0.mlp.up_proj.weight"));
    assert_int_equal(t->dtype, IG_BF16);
    ig_store_close(out);
}

/* ---- experts ---- */

#define HIDDEN 6
#define INNER  4

static float gate[2][INNER * HIDDEN], up[2][INNER * HIDDEN], down[2][HIDDEN * INNER];
static float fused[2][2 * INNER * HIDDEN], fused_down[2][HIDDEN * INNER];
static float turned[2][HIDDEN * 2 * INNER], turned_down[2][INNER * HIDDEN];

static void fill_experts(void)
{
    for (int e = 0; e < 2; e++) {
        for (int i = 0; i < INNER * HIDDEN; i++) {
            gate[e][i] = (float)(100 * e + i);
            up[e][i] = (float)(1000 + 100 * e + i);
            down[e][i] = (float)(-100 * e - i);
            fused[e][i] = gate[e][i];
            fused[e][INNER * HIDDEN + i] = up[e][i];
            fused_down[e][i] = down[e][i];
        }
        for (int r = 0; r < INNER; r++) {
            for (int c = 0; c < HIDDEN; c++) {
                turned[e][c * 2 * INNER + r] = gate[e][r * HIDDEN + c];
                turned[e][c * 2 * INNER + INNER + r] = up[e][r * HIDDEN + c];
                turned_down[e][r * HIDDEN + c] = down[e][c * INNER + r];
            }
        }
    }
}

/* m0: single, m1: fused, m2: fused and transposed. */
static int set_up(void **state)
{
    if (scratch_open(state) != 0) return -1;
    fill_experts();
    const char *config = "{\"model_type\": \"qwen3_moe\", \"hidden_size\": 6}";
    const struct test_tensor single[] = {
        {"model.layers.0.mlp.experts.0.gate_proj.weight", IG_F32, 2, {INNER, HIDDEN}, gate[0]},
        {"model.layers.0.mlp.experts.0.up_proj.weight", IG_F32, 2, {INNER, HIDDEN}, up[0]},
        {"model.layers.0.mlp.experts.0.down_proj.weight", IG_F32, 2, {HIDDEN, INNER}, down[0]},
        {"model.layers.0.mlp.experts.1.gate_proj.weight", IG_F32, 2, {INNER, HIDDEN}, gate[1]},
        {"model.layers.0.mlp.experts.1.up_proj.weight", IG_F32, 2, {INNER, HIDDEN}, up[1]},
        {"model.layers.0.mlp.experts.1.down_proj.weight", IG_F32, 2, {HIDDEN, INNER}, down[1]},
    };
    const struct test_tensor stacked[] = {
        {"model.layers.0.mlp.experts.gate_up_proj", IG_F32, 3, {2, 2 * INNER, HIDDEN}, fused},
        {"model.layers.0.mlp.experts.down_proj", IG_F32, 3, {2, HIDDEN, INNER}, fused_down},
    };
    const struct test_tensor across[] = {
        {"model.layers.0.mlp.experts.gate_up_proj", IG_F32, 3, {2, HIDDEN, 2 * INNER}, turned},
        {"model.layers.0.mlp.experts.down_proj", IG_F32, 3, {2, INNER, HIDDEN}, turned_down},
    };
    write_model("m0", single, 6, config);
    write_model("m1", stacked, 2, config);
    write_model("m2", across, 2, config);
    return 0;
}

static void check_tensor(const struct ig_store *out, const char *name, const float *want, int count)
{
    float *got = bytes_of(out, name);
    for (int i = 0; i < count; i++)
        if (got[i] != want[i])
            fail_msg("%s[%d]: %g, want %g", name, i, (double)got[i], (double)want[i]);
    free(got);
}

/* The mean of all three is each of them: every element lies where it should. */
static void experts_of_any_layout_meet(void **state)
{
    (void)state;
    struct ig_store *out = merged("merge_method: linear\nmodels: [{model: {0}}, {model: {1}}, "
                                  "{model: {2}}]\nparameters: {weight: 1, normalize: false}\n");
    float want[INNER * HIDDEN];
    assert_int_equal(ig_store_count(out), 6);
    for (int i = 0; i < INNER * HIDDEN; i++)
        want[i] = 3 * up[1][i];
    check_tensor(out, "model.layers.0.mlp.experts.1.up_proj.weight", want, INNER * HIDDEN);
    for (int i = 0; i < INNER * HIDDEN; i++)
        want[i] = 3 * down[1][i];
    check_tensor(out, "model.layers.0.mlp.experts.1.down_proj.weight", want, INNER * HIDDEN);
    ig_store_close(out);
    out = merged("merge_method: passthrough\nmodels: [{model: {2}}]\nexperts: single\n");
    assert_int_equal(ig_store_count(out), 6);
    check_tensor(out, "model.layers.0.mlp.experts.1.gate_proj.weight", gate[1], INNER * HIDDEN);
    check_tensor(out, "model.layers.0.mlp.experts.0.down_proj.weight", down[0], INNER * HIDDEN);
    ig_store_close(out);
    out = merged("merge_method: passthrough\nmodels: [{model: {0}}]\nexperts: fused\n");
    assert_int_equal(ig_store_count(out), 2);
    check_tensor(out, "model.layers.0.mlp.experts.gate_up_proj", fused[0], 4 * INNER * HIDDEN);
    check_tensor(out, "model.layers.0.mlp.experts.down_proj", fused_down[0], 2 * INNER * HIDDEN);
    ig_store_close(out);
}

/* ---- what is refused ---- */

static void bad_references_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{0}+", "line 2, column 18: '"},
        {"{0}+a+b", "is not PATH[@REVISION][+LORA]"},
        {"a@b@c", "is not PATH[@REVISION][+LORA]"},
        {"nowhere", "line 2, column 18: model 'nowhere' does not exist"},
        {"{0}+nowhere", "LoRA 'nowhere': model 'nowhere' does not exist"},
        {"{0}+{1}", "adapter_config.json"},
        {"{model: {path: a, rev: b}}", "unknown key 'rev'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ig_err err = {0};
        char text[256];
        const struct merge_setup setup = {.out = "bad"};
        snprintf(text, sizeof text, "merge_method: passthrough\nmodels: [{model: %s}]\n",
                 cases[i][0]);
        assert_false(try_merge(text, &setup, &err));
        if (!strstr(err.text, cases[i][1])) fail_msg("got '%s', want '%s'", err.text, cases[i][1]);
        assert_false(ig_path_exists(scratch("bad")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loras_are_merged_as_peft_does),
        cmocka_unit_test(float8_is_multiplied_by_its_scales),
        cmocka_unit_test(experts_of_any_layout_meet),
        cmocka_unit_test(bad_references_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_close);
}
