/* SPDX-License-Identifier: Apache-2.0
 * adapter — LoRAs taken out of finetuned models, against mergekit-extract-lora's
 * (tools/golden/lora_golden.py), against the finetuned model itself, and of models that do not go
 * together. */
#include "ingot/adapter.h"
#include "merge_models.h"
#include "tensor/kernels/convert.h"

#include <math.h>

static const char *golden(const char *name)
{
    static char paths[4][1024];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/golden/adapter/%s", getenv("INGOT_TESTS"), name);
    return path;
}

static float *floats_of(const struct ig_store *store, const char *name, int64_t *rows)
{
    const struct ig_tensor *t = ig_store_find(store, ig_slice_of(name));
    struct ig_convert_ops ops;
    if (!t) fail_msg("no tensor '%s'", name);
    void *bytes = bytes_of(store, name);
    float *out = malloc((size_t)t->elems * sizeof *out + 1);
    ig_convert_ref(&ops);
    ig_convert_to_f32(&ops, t->dtype, bytes, out, t->elems);
    free(bytes);
    *rows = t->shape[0];
    return out;
}

/* B A of a pair; free it. */
static double *product(const struct ig_store *store, const char *first, const char *second,
                       int64_t *elems)
{
    int64_t rank, rows;
    float *a = floats_of(store, first, &rank), *b = floats_of(store, second, &rows);
    int64_t cols = ig_store_find(store, ig_slice_of(first))->shape[1];
    double *out = calloc((size_t)(rows * cols), sizeof *out);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < rank; k++)
            for (int64_t c = 0; c < cols; c++)
                out[r * cols + c] += (double)b[r * rank + k] * (double)a[k * cols + c];
    free(a), free(b);
    *elems = rows * cols;
    return out;
}

/* Whether the second name is the first with `from` made `to`, once. */
static bool replace(const char *name, const char *from, const char *to, char out[256])
{
    const char *at = strstr(name, from);
    if (!at) return false;
    snprintf(out, 256, "%.*s%s%s", (int)(at - name), name, to, at + strlen(from));
    return true;
}

static void compare_tensor(const struct ig_store *want, const struct ig_store *got,
                           const struct ig_tensor *t, double bound)
{
    char name[256], other[256];
    snprintf(name, sizeof name, "%.*s", IG_SLICE_ARG(t->name));
    /* mergekit's name for a bias is one that PEFT does not load */
    if (replace(name, "lora_B.bias", "base_layer.bias", other)) {
        assert_non_null(ig_store_find(got, ig_slice_of(other)));
        return;
    }
    const struct ig_tensor *g = ig_store_find(got, t->name);
    if (!g) fail_msg("'%s' is missing", name);
    assert_int_equal(g->dtype, t->dtype);
    assert_int_equal(g->rank, t->rank);
    for (int i = 0; i < t->rank; i++)
        assert_int_equal(g->shape[i], t->shape[i]);
    if (replace(name, "lora_A", "lora_B", other) ||
        replace(name, "embedding_A", "embedding_B", other)) {
        int64_t elems;
        double *x = product(want, name, other, &elems), *y = product(got, name, other, &elems);
        double all = 0, apart = 0;
        for (int64_t i = 0; i < elems; i++)
            all += x[i] * x[i], apart += (x[i] - y[i]) * (x[i] - y[i]);
        if (!(sqrt(apart) <= bound * sqrt(all)))
            fail_msg("%s: %g apart, of %g", name, sqrt(apart), sqrt(all));
        free(x), free(y);
    } else if (!strstr(name, "lora_")) {
        void *x = bytes_of(want, name), *y = bytes_of(got, name);
        assert_memory_equal(x, y, t->bytes);
        free(x), free(y);
    }
}

static int64_t config_rank(const char *folder, char patterns[512])
{
    char path[1100], text[4096];
    int64_t rank = 0;
    struct ig_err err = {0};
    struct ig_json_doc *doc;
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    check_ok(ig_json_doc_new(ig_slice_make(text, n), &doc, &err), &err);
    const struct ig_json *root = ig_json_doc_root(doc), *map = ig_json_get(root, "rank_pattern");
    assert_true(ig_json_int(ig_json_get(root, "r"), &rank));
    double alpha = 0;
    assert_true(ig_json_real(ig_json_get(root, "lora_alpha"), &alpha) && alpha == (double)rank);
    patterns[0] = '\0';
    for (uint32_t i = 0; i < map->count; i++) {
        size_t at = strlen(patterns);
        snprintf(patterns + at, 512 - at, IG_SLICE_FMT " " IG_SLICE_FMT "\n",
                 IG_SLICE_ARG(map->items[i].key), IG_SLICE_ARG(map->items[i].text));
    }
    ig_json_doc_free(doc);
    return rank;
}

static void check_case(const char *kind, const char *name, struct ig_adapter_job job, double bound)
{
    struct ig_err err = {0};
    struct ig_adapter *adapter;
    struct ig_store *want, *got;
    char path[256], tuned[1024], base[1024], folder[1024], ours[512], theirs[512];
    snprintf(path, sizeof path, "%s/tuned", kind);
    snprintf(tuned, sizeof tuned, "%s", golden(path));
    snprintf(path, sizeof path, "%s/base", kind);
    snprintf(base, sizeof base, "%s", golden(path));
    snprintf(path, sizeof path, "%s/%s", kind, name);
    snprintf(folder, sizeof folder, "%s", golden(path));
    job.tuned = tuned;
    job.base = base;
    job.out = scratch("adapter");
    job.force = true;
    check_ok(ig_adapter_extract(&job, NULL, &adapter, &err), &err);
    ig_adapter_close(adapter);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", scratch("adapter"));
    check_ok(ig_store_open(path, &got, &err), &err);
    snprintf(folder, sizeof folder, "%s/adapter_model.safetensors",
             (snprintf(path, sizeof path, "%s/%s", kind, name), golden(path)));
    check_ok(ig_store_open(folder, &want, &err), &err);
    assert_int_equal(ig_store_count(got), ig_store_count(want));
    for (int64_t i = 0; i < ig_store_count(want); i++)
        compare_tensor(want, got, ig_store_at(want, i), bound);
    assert_int_equal(config_rank(golden(path), theirs), config_rank(scratch("adapter"), ours));
    /* theirs is in the order of another list */
    assert_int_equal(strlen(ours), strlen(theirs));
    ig_store_close(want);
    ig_store_close(got);
}

static void as_mergekit_does(void **state)
{
    (void)state;
    check_case("qwen3", "plain", (struct ig_adapter_job){.rank = 6}, 2e-6);
    check_case("qwen3", "epsilon",
               (struct ig_adapter_job){.rank = 9, .epsilon = 0.09, .together = true}, 2e-6);
    check_case(
        "qwen3", "some",
        (struct ig_adapter_job){
            .rank = 3, .include = "self_attn", .exclude = "k_proj", .skip = true, .save = "v_proj"},
        2e-6);
    static const char *const in[] = {"self_attn"}, *const out[] = {"embed_tokens", "lm_head",
                                                                   "k_proj"};
    check_case("qwen3", "some",
               (struct ig_adapter_job){.rank = 3,
                                       .include_regex = {in, 1},
                                       .exclude_regex = {out, 3},
                                       .skip = true,
                                       .save = "v_proj"},
               2e-6);
    check_case("llama", "plain", (struct ig_adapter_job){.rank = 4}, 2e-6);
    check_case("llama", "embed", (struct ig_adapter_job){.rank = 5, .embed = true, .skip = true},
               2e-6);
    /* bf16: mergekit rounds the difference, ours is rounded in the factors only */
    check_case("qwen2", "plain", (struct ig_adapter_job){.rank = 16}, 8e-3);
}

/* base + adapter, beside the finetuned model: what is apart is what the report says is not kept. */
static void check_round_trip(const char *kind, struct ig_adapter_job job, double bound)
{
    struct ig_err err = {0};
    struct ig_adapter *adapter;
    struct ig_diff *diff;
    char path[64], tuned[1024], base[1024], text[2400];
    int64_t count, rows, found = 0;
    snprintf(path, sizeof path, "%s/tuned", kind);
    snprintf(tuned, sizeof tuned, "%s", golden(path));
    snprintf(path, sizeof path, "%s/base", kind);
    snprintf(base, sizeof base, "%s", golden(path));
    job.tuned = tuned;
    job.base = base;
    job.out = scratch("adapter");
    job.force = true;
    job.has_dtype = true;
    job.dtype = IG_F32;
    check_ok(ig_adapter_extract(&job, NULL, &adapter, &err), &err);
    snprintf(text, sizeof text,
             "merge_method: passthrough\nmodels: [{model: '%s+%s'}]\nout_dtype: float32\n", base,
             scratch("adapter"));
    ig_store_close(merged(text));
    const struct ig_adapter_row *row = ig_adapter_rows(adapter, &rows);
    check_ok(ig_diff_open(tuned, scratch("out"), 1, NULL, &diff, &err), &err);
    const struct ig_diff_row *apart = ig_diff_rows(diff, &count);
    struct ig_diff *whole;
    check_ok(ig_diff_open(tuned, base, 1, NULL, &whole, &err), &err);
    const struct ig_diff_row *before = ig_diff_rows(whole, &count);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < count; j++) {
            if (apart[j].name.len != row[i].module.len + 7 ||
                memcmp(apart[j].name.ptr, row[i].module.ptr, row[i].module.len) != 0)
                continue;
            double ratio = apart[j].relative_l2 / before[j].relative_l2, left = 1 - row[i].kept;
            if (row[i].kind != IG_ADAPTER_LORA) left = 0;
            found++;
            if (!(fabs(ratio - sqrt(left > 0 ? left : 0)) <= bound))
                fail_msg("%s: " IG_SLICE_FMT ": %g left, want %g", kind,
                         IG_SLICE_ARG(row[i].module), ratio, sqrt(left));
        }
    assert_true(found >= 9);
    ig_diff_close(diff);
    ig_diff_close(whole);
    ig_adapter_close(adapter);
}

static void what_is_left_is_what_the_report_says(void **state)
{
    (void)state;
    check_round_trip("qwen3", (struct ig_adapter_job){.rank = 4}, 1e-5);
    check_round_trip("qwen3", (struct ig_adapter_job){.rank = 16, .alpha = 40}, 1e-5);
    check_round_trip("qwen3", (struct ig_adapter_job){.rank = 5, .together = true, .embed = true},
                     1e-5);
    check_round_trip("llama", (struct ig_adapter_job){.rank = 20}, 1e-5);
    check_round_trip("llama", (struct ig_adapter_job){.rank = 6, .embed = true}, 1e-5);
    check_round_trip("qwen2", (struct ig_adapter_job){.rank = 16}, 1e-4);
}

static void models_that_do_not_go_together(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_adapter *adapter;
    static const float x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    float broken[12];
    memcpy(broken, x, sizeof x);
    broken[5] = NAN;
    const struct test_tensor a[] = {{"a.q_proj.weight", IG_F32, 2, {3, 4}, x}};
    const struct test_tensor b[] = {{"a.q_proj.weight", IG_F32, 2, {4, 3}, x}};
    const struct test_tensor c[] = {{"a.q_proj.weight", IG_F32, 2, {3, 4}, broken}};
    const struct test_tensor d[] = {{"a.k_proj.weight", IG_F32, 2, {3, 4}, x}};
    write_model("a", a, 1, "{}");
    write_model("same", a, 1, "{}");
    write_model("b", b, 1, "{}");
    write_model("c", c, 1, "{}");
    write_model("d", d, 1, "{}");
    char tuned[1024], base[1024], out[1024];
    struct ig_adapter_job job = {.tuned = tuned, .base = base, .out = out};
    snprintf(tuned, sizeof tuned, "%s", scratch("a"));
    snprintf(out, sizeof out, "%s", scratch("none"));
    snprintf(base, sizeof base, "%s", scratch("b"));
    check_fails(ig_adapter_extract(&job, NULL, &adapter, &err), &err, IG_ERR_DATA, "another shape");
    snprintf(base, sizeof base, "%s", scratch("c"));
    check_fails(ig_adapter_extract(&job, NULL, &adapter, &err), &err, IG_ERR_DATA, "not finite");
    snprintf(base, sizeof base, "%s", scratch("d"));
    check_fails(ig_adapter_extract(&job, NULL, &adapter, &err), &err, IG_ERR_DATA, "is not in");
    snprintf(base, sizeof base, "%s", scratch("same"));
    check_fails(ig_adapter_extract(&job, NULL, &adapter, &err), &err, IG_ERR_DATA, "the same");
    snprintf(base, sizeof base, "%s", tuned);
    check_fails(ig_adapter_extract(&job, NULL, &adapter, &err), &err, IG_ERR_USAGE, "its own base");
    job.include = "q_(proj|x)";
    check_fails(ig_adapter_extract(&job, NULL, &adapter, &err), &err, IG_ERR_USAGE, "regular");
    struct ig_store *store;
    assert_false(ig_store_open(out, &store, &err)); /* nothing was left behind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_mergekit_does),
        cmocka_unit_test(what_is_left_is_what_the_report_says),
        cmocka_unit_test(models_that_do_not_go_together),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
