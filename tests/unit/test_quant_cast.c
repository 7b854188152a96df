/* SPDX-License-Identifier: Apache-2.0
 * quant_cast — folders cast and cast back: the same bytes by any number of threads, on every path,
 * alone or with others, at once or after an interruption. That the bytes are mlx-lm's is checked by
 * tools/golden/mlx_parity.py where mlx-lm is; one such folder's digests are kept here. */
#include "base/digest.h"
#include "base/map.h"
#include "ingot/quant.h"
#include "scratch.h"

static const char *const recipe_names[] = {"qx86x-hi", "q4", "mxfp4"};
static struct ig_quant_recipe *recipes[3];
static char model[512];

static int open_all(void **state)
{
    struct ig_err err = {0};
    const char *fixtures = getenv("INGOT_FIXTURES");
    snprintf(model, sizeof model, "%s/models/ballad", fixtures ? fixtures : "fixtures");
    for (int i = 0; i < 3; i++)
        if (!ig_quant_recipe_open(recipe_names[i], &recipes[i], &err)) return -1;
    return scratch_open(state);
}

static int close_all(void **state)
{
    for (int i = 0; i < 3; i++)
        ig_quant_recipe_free(recipes[i]);
    return scratch_close(state);
}

static struct ig_quant_job job_of(const char *out, int first, int count)
{
    static char paths[4][1024];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s", scratch(out));
    return (struct ig_quant_job){
        .model = model,
        .out = path,
        .recipes = (const struct ig_quant_recipe *const *)(recipes + first),
        .recipe_count = count,
        .threads = 2,
    };
}

static void cast(const struct ig_quant_job *job)
{
    struct ig_err err = {0};
    struct ig_job_report report;
    check_ok(ig_quantize(job, NULL, &report, &err), &err);
    assert_int_equal(report.output_count, job->recipe_count);
    assert_true(report.output_bytes > 0 && report.outputs[0].bits_per_weight > 4);
}

/* All files of two folders are equal. */
struct comparison {
    const char *a, *b;
    int files;
};

static bool same_file(void *user, const char *name)
{
    struct comparison *c = user;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", c->a, name);
    struct ig_buf a = scratch_read(path);
    snprintf(path, sizeof path, "%s/%s", c->b, name);
    struct ig_buf b = scratch_read(path);
    if (a.len != b.len || memcmp(a.data, b.data, a.len) != 0) fail_msg("%s/%s differs", c->b, name);
    ig_buf_release(&a);
    ig_buf_release(&b);
    c->files++;
    return true;
}

static void same_folders(const char *a, const char *b)
{
    struct ig_err err = {0};
    struct comparison c = {a, b, 0};
    check_ok(ig_dir_list(scratch(a), same_file, &c, &err), &err);
    assert_true(c.files >= 7);
}

static void threads_and_paths_do_not_matter(void **state)
{
    (void)state;
    for (int r = 0; r < 3; r++) {
        char first[64], other[64];
        snprintf(first, sizeof first, "one-%s", recipe_names[r]);
        struct ig_quant_job job = job_of(first, r, 1);
        job.threads = 1;
        cast(&job);
        for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
            if (!ig_isa_available((enum ig_isa)isa)) continue;
            setenv("IG_KERNELS", ig_isa_name((enum ig_isa)isa), 1);
            snprintf(other, sizeof other, "isa%d-%s", isa, recipe_names[r]);
            job = job_of(other, r, 1);
            job.threads = 1 + 3 * isa;
            cast(&job);
            unsetenv("IG_KERNELS");
            same_folders(first, other);
        }
    }
}

static void several_at_once_are_as_each_alone(void **state)
{
    (void)state;
    struct ig_quant_job job = job_of("many", 0, 3);
    cast(&job);
    for (int r = 0; r < 3; r++) {
        char one[64], among[64];
        snprintf(one, sizeof one, "one-%s", recipe_names[r]);
        snprintf(among, sizeof among, "many/%s", recipe_names[r]);
        same_folders(one, among);
    }
}

struct patience {
    int left;
};

static bool lose_patience(void *user, const struct ig_progress *progress)
{
    struct patience *p = user;
    assert_string_equal(progress->phase, "quantize");
    assert_true(progress->bytes_done <= progress->bytes_total);
    return p->left-- > 0;
}

static void interrupted_runs_resume_to_the_same_bytes(void **state)
{
    (void)state;
    for (int stop = 1; stop < 48; stop += 9) {
        char name[64];
        struct ig_err err = {0};
        struct ig_job_report report;
        struct patience patience = {stop};
        const struct ig_watch watch = {&patience, NULL, lose_patience};
        snprintf(name, sizeof name, "stop%d", stop);
        struct ig_quant_job job = job_of(name, 0, 3);
        check_fails(ig_quantize(&job, &watch, &report, &err), &err, IG_ERR_CANCELLED, "stopped");
        char final[80];
        snprintf(final, sizeof final, "%s/q4", name);
        assert_false(ig_path_exists(scratch(final)));
        job.resume = true;
        cast(&job);
        for (int r = 0; r < 3; r++) {
            char one[64], resumed[160];
            snprintf(one, sizeof one, "one-%s", recipe_names[r]);
            snprintf(resumed, sizeof resumed, "%s/%s", name, recipe_names[r]);
            same_folders(one, resumed);
        }
    }
}

static void bad_jobs_are_refused(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_job_report report;
    struct ig_quant_job job = job_of("one-q4", 1, 1);
    check_fails(ig_quantize(&job, NULL, &report, &err), &err, IG_ERR_USAGE, "exists");
    job.recipe_count = 17;
    check_fails(ig_quantize(&job, NULL, &report, &err), &err, IG_ERR_USAGE,
                "1 to 16 recipes at a time, not 17");
    const struct ig_quant_recipe *twice[] = {recipes[1], recipes[1]};
    job = job_of("twice", 1, 2);
    job.recipes = twice;
    check_fails(ig_quantize(&job, NULL, &report, &err), &err, IG_ERR_USAGE,
                "two recipes are called 'q4'");
    job = job_of("dtype", 1, 1);
    job.cast_dtype = true;
    job.dtype = IG_F64;
    check_fails(ig_quantize(&job, NULL, &report, &err), &err, IG_ERR_USAGE,
                "cannot cast to float64");
    job = job_of("again", 1, 1);
    job.model = scratch("one-q4");
    check_fails(ig_quantize(&job, NULL, &report, &err), &err, IG_ERR_UNSUPPORTED,
                "quantised already");
    const struct ig_dequant_job back = {model, scratch("plain"), IG_BF16, 1, false, false};
    check_fails(ig_dequantize(&back, NULL, &report, &err), &err, IG_ERR_USAGE,
                "is not quantised: its config.json has no 'quantization'");
    assert_false(ig_path_exists(scratch("twice")));
    assert_false(ig_path_exists(scratch("again.partial")));
}

/* mlx-lm 0.32.2 with mlx 0.32.4 gives these digests for the same folder (tools/golden/mlx_parity.py
 * --models fixtures/models/ballad; XXH3-128 of the files). */
static void folders_are_mlx_lms(void **state)
{
    (void)state;
    static const char *const want[][2] = {
        {"one-qx86x-hi/model.safetensors", "f55cb01609275e64b56318b5bbe8ff46"},
        {"one-qx86x-hi/config.json", "69e65e70cd8598206379fab592e3615e"},
        {"one-q4/model.safetensors", "2dadb2c822fdf7380c9f310dedaa0b68"},
        {"one-q4/model.safetensors.index.json", "c29381046efa8e01debf3a5e8197f51b"},
        {"one-mxfp4/model.safetensors", "8e6c428967efbd10290fb83074816009"},
        {"one-mxfp4/config.json", "0e37fb5ee3ecb1cca1c3b9359a2ccc6a"},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        char hex[IG_DIGEST_HEX];
        struct ig_buf file = scratch_read(want[i][0]);
        ig_digest_hex(ig_digest_of(file.data, file.len), hex);
        if (strcmp(hex, want[i][1]) != 0) fail_msg("%s: %s, not %s", want[i][0], hex, want[i][1]);
        ig_buf_release(&file);
    }
}

/* Decoded mxfp4 numbers are codes of a scale: cast and decoded again they are themselves. */
static void back_and_forth_is_stable(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_job_report report;
    struct ig_dequant_job back = {scratch("one-mxfp4"), scratch("plain"), IG_BF16, 2, false, false};
    check_ok(ig_dequantize(&back, NULL, &report, &err), &err);
    assert_int_equal(report.outputs[0].bytes, report.output_bytes);
    struct ig_quant_job job = job_of("forth", 2, 1);
    job.model = scratch("plain");
    cast(&job);
    back = (struct ig_dequant_job){scratch("forth"), scratch("back"), IG_BF16, 3, false, false};
    check_ok(ig_dequantize(&back, NULL, &report, &err), &err);
    same_folders("plain", "back");
}

static void config_numbers_are_pythons(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_quant_job job = job_of("odd-out", 1, 1);
    struct ig_buf tensors = {0};
    static const char config[] =
        "{\"z\":1E-6,\"a\":-0,\"b\":123456789012345678901234567890,\"c\":1e999,\"d\":0.10,\"e\":"
        "1e16,"
        "\"f\":[1.0,{}],\"d\":12345.678e-9,\"vision_config\":{},\"_name_or_path\":\"x\","
        "\"g\":\"\\u00e9\",\"model_type\":\"odd\",\"h\":1e15,\"i\":-2.5e-5}";
    static const char header[] =
        "{\"x.weight\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}";
    uint64_t length = sizeof header - 1;
    check_ok(ig_dir_make(scratch("odd"), &err), &err);
    ig_buf_append(&tensors, &length, 8);
    ig_buf_text(&tensors, header);
    ig_buf_append(&tensors, "\0\0\0\0", 4);
    scratch_write("odd/model.safetensors", tensors.data, tensors.len);
    scratch_write("odd/config.json", config, sizeof config - 1);
    scratch_write("odd/generation_config.json", "{\"eos_token_id\":[7]}", 20);
    job.model = scratch("odd");
    struct ig_job_report report;
    check_ok(ig_quantize(&job, NULL, &report, &err), &err);
    struct ig_buf got = scratch_read("odd-out/config.json");
    static const char want[] =
        "{\n    \"a\": 0,\n    \"b\": 123456789012345678901234567890,\n    \"c\": {\n"
        "        \"__float__\": \"Infinity\"\n    },\n    \"d\": 1.2345678e-05,\n"
        "    \"e\": 1e+16,\n    \"eos_token_id\": [\n        7\n    ],\n    \"f\": [\n        "
        "1.0,\n"
        "        {}\n    ],\n    \"g\": \"\\u00e9\",\n    \"h\": 1000000000000000.0,\n"
        "    \"i\": -2.5e-05,\n    \"model_type\": \"odd\",\n    \"quantization\": {";
    if (strncmp(got.data, want, sizeof want - 1) != 0) fail_msg("%s", got.data);
    assert_non_null(strstr(got.data, "\"z\": 1e-06\n}"));
    ig_buf_release(&got);
    ig_buf_release(&tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_paths_do_not_matter), /* makes the folders of those below */
        cmocka_unit_test(folders_are_mlx_lms),
        cmocka_unit_test(several_at_once_are_as_each_alone),
        cmocka_unit_test(interrupted_runs_resume_to_the_same_bytes),
        cmocka_unit_test(bad_jobs_are_refused),
        cmocka_unit_test(back_and_forth_is_stable),
        cmocka_unit_test(config_numbers_are_pythons),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
