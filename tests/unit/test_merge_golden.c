/* SPDX-License-Identifier: Apache-2.0
 * merge_golden — what YOYO-Fusion's own program and mergekit make of the same inputs
 * (tools/golden/merge_golden.py): relative L2 within each case's bound. */
#include "merge_models.h"
#include "tensor/kernels/convert.h"

#include <math.h>

#define MODELS_MAX 6
#define LIST_MAX   64

struct golden {
    struct ig_store *store;
    struct ig_json_doc *doc;
};

static const char *golden_path(const char *name, const char *suffix)
{
    static char path[2][1024];
    static int turn;
    char *out = path[turn++ % 2];
    snprintf(out, sizeof path[0], "%s/golden/merge/%s%s", getenv("INGOT_TESTS"), name, suffix);
    return out;
}

static void write_input(const struct golden *g, int model)
{
    struct test_tensor list[LIST_MAX];
    char prefix[16], names[LIST_MAX][128], folder[8];
    int count = 0;
    snprintf(prefix, sizeof prefix, "in.%d.", model);
    snprintf(folder, sizeof folder, "m%d", model);
    for (int64_t i = 0; i < ig_store_count(g->store); i++) {
        const struct ig_tensor *t = ig_store_at(g->store, i);
        if (!ig_slice_starts(t->name, prefix)) continue;
        snprintf(names[count], sizeof names[0], "%.*s", IG_SLICE_ARG(t->name));
        list[count] = (struct test_tensor){.name = names[count] + strlen(prefix),
                                           .dtype = t->dtype,
                                           .rank = t->rank,
                                           .data = bytes_of(g->store, names[count])};
        memcpy(list[count].shape, t->shape, sizeof list[count].shape);
        count++;
    }
    if (count) write_model(folder, list, count, "{\"model_type\": \"qwen3\"}");
    for (int i = 0; i < count; i++)
        free((void *)(uintptr_t)list[i].data);
}

static struct golden open_golden(const char *name)
{
    struct ig_err err = {0};
    struct ig_buf text = {0};
    struct golden g;
    check_ok(ig_store_open(golden_path(name, ".safetensors"), &g.store, &err), &err);
    check_ok(ig_file_read(golden_path(name, ".json"), 1 << 20, &text, &err), &err);
    check_ok(ig_json_doc_new(ig_buf_view(&text), &g.doc, &err), &err);
    ig_buf_release(&text);
    for (int m = 0; m < MODELS_MAX; m++)
        write_input(&g, m);
    return g;
}

/* The tensor's values; free them. */
static float *floats_of(const struct ig_store *store, const char *name)
{
    struct ig_convert_ops ops;
    const struct ig_tensor *t = ig_store_find(store, ig_slice_of(name));
    void *bytes = bytes_of(store, name);
    float *out = malloc((size_t)t->elems * sizeof *out + 1);
    ig_convert_ref(&ops);
    ig_convert_to_f32(&ops, t->dtype, bytes, out, t->elems);
    free(bytes);
    return out;
}

static void compare(const struct golden *g, const struct ig_store *out,
                    const struct ig_tensor *want, const char *name, double bound)
{
    char key[160];
    snprintf(key, sizeof key, "%.*s", IG_SLICE_ARG(want->name));
    float *expected = floats_of(g->store, key), *got = floats_of(out, name);
    double apart = 0, size = 0;
    for (int64_t i = 0; i < want->elems; i++) {
        double d = (double)expected[i] - (double)got[i];
        apart += d * d;
        size += (double)expected[i] * (double)expected[i];
    }
    if (!(sqrt(apart) <= bound * sqrt(size)))
        fail_msg("%s: %.3g relative, at most %.3g", key, sqrt(apart / size), bound);
    free(expected);
    free(got);
}

static void run_cases(const char *name)
{
    struct golden g = open_golden(name);
    const struct ig_json *cases = ig_json_get(ig_json_doc_root(g.doc), "cases");
    assert_true(cases && cases->count > 0);
    for (uint32_t c = 0; c < cases->count; c++) {
        char prefix[16], recipe[4096];
        double bound;
        int compared = 0;
        struct ig_slice text = ig_json_text(ig_json_get(&cases->items[c], "recipe"));
        assert_true(ig_json_real(ig_json_get(&cases->items[c], "bound"), &bound));
        snprintf(recipe, sizeof recipe, "%.*s", (int)text.len, text.ptr);
        struct ig_store *out = merged(recipe);
        snprintf(prefix, sizeof prefix, "out.%u.", c);
        for (int64_t i = 0; i < ig_store_count(g.store); i++) {
            const struct ig_tensor *t = ig_store_at(g.store, i);
            char key[160];
            if (!ig_slice_starts(t->name, prefix)) continue;
            snprintf(key, sizeof key, "%.*s", IG_SLICE_ARG(t->name));
            compare(&g, out, t, key + strlen(prefix), bound);
            compared++;
        }
        assert_int_equal(compared, ig_store_count(out));
        ig_store_close(out);
    }
    ig_json_doc_free(g.doc);
    ig_store_close(g.store);
}

static void yoyo_agrees_with_the_author(void **state)
{
    (void)state;
    run_cases("yoyo");
}

static void linear_and_slerp_agree_with_mergekit(void **state)
{
    (void)state;
    run_cases("mergekit");
}

static void geometry_agrees_with_mergekit(void **state)
{
    (void)state;
    run_cases("geometry");
}

static void task_vectors_agree_with_mergekit(void **state)
{
    (void)state;
    run_cases("tasks");
}

static void steps_round_as_mergekit_does(void **state)
{
    (void)state;
    run_cases("stepwise");
}

static void yoyo_scale_agrees_with_the_author(void **state)
{
    (void)state;
    run_cases("yoyo_scale");
}

static void slices_agree_with_mergekit(void **state)
{
    (void)state;
    run_cases("slices");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yoyo_agrees_with_the_author),
        cmocka_unit_test(linear_and_slerp_agree_with_mergekit),
        cmocka_unit_test(geometry_agrees_with_mergekit),
        cmocka_unit_test(task_vectors_agree_with_mergekit),
        cmocka_unit_test(steps_round_as_mergekit_does),
        cmocka_unit_test(yoyo_scale_agrees_with_the_author),
        cmocka_unit_test(slices_agree_with_mergekit),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
