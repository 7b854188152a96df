/* SPDX-License-Identifier: Apache-2.0
 * merge — the driver: the same bytes for any threads, memory and instruction set, and after kill -9
 * and resume; inputs that do not fit together; inputs at the edge of what is defined. */
#include "merge_models.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>

#define ROWS  300
#define COLS  517
#define KILLS 20

static float big[4][ROWS * COLS], small[4][130];
static const int64_t whole_numbers[3] = {1, 2, 3};

static uint64_t seed = 3;
static float noise(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int64_t)seed / 9.3e18);
}

/* m0 .. m3: a base and finetunes; some tensors large enough to be split at the least memory. */
static int set_up(void **state)
{
    if (scratch_open(state) != 0) return -1;
    for (int i = 0; i < ROWS * COLS; i++) {
        float base = 0.02f * noise();
        for (int m = 0; m < 4; m++)
            big[m][i] = base + 0.002f * (float)(m + 1) * noise();
    }
    for (int i = 0; i < 130; i++)
        for (int m = 0; m < 4; m++)
            small[m][i] = 1 + 0.1f * (float)m * noise();
    for (int m = 0; m < 4; m++) {
        const struct test_tensor list[] = {
            {"model.embed_tokens.weight", IG_F32, 2, {ROWS, COLS}, big[m]},
            {"model.layers.0.mlp.up_proj.weight", IG_F32, 2, {13, 10}, small[m]},
            {"model.layers.1.mlp.up_proj.weight", IG_F32, 2, {10, 13}, small[m]},
            {"model.layers.1.input_layernorm.weight", IG_F32, 1, {129}, small[m]},
            {"model.norm.weight", IG_F32, 1, {1}, small[m]},
            {"model.empty", IG_F32, 2, {0, 4}, small[m]},
            {"position_ids", IG_I64, 1, {3}, whole_numbers},
        };
        write_model((const char *[]){"m0", "m1", "m2", "m3"}[m], list, 7,
                    "{\"model_type\": \"qwen3\", \"torch_dtype\": \"float32\"}");
    }
    return 0;
}

#define THREE "models: [{model: {0}}, {model: {1}}, {model: {2}}]\n"
static const char *const recipes[] = {
    "merge_method: yoyo_fusion\n" THREE "out_dtype: bfloat16\n",
    "merge_method: yoyo_fusion\n" THREE "parameters: {center: coordinate_median}\n",
    "merge_method: yoyo_fusion\n" THREE "parameters: {variant: '2026-01', matrix_boost: true}\n",
    "merge_method: yoyo_fusion\nmodels: [{model: {0}}, {model: {3}}]\n",
    "merge_method: linear\n" THREE "parameters: {weight: [0.5, 1]}\ndtype: bfloat16\n",
    "merge_method: yoyo_fusion\n" THREE "expand: {copies: 3, scales: {up_proj: [1, 0.5, 0]}}\n",
};

static void assert_same_file(const char *a, const char *b)
{
    struct ig_buf x = scratch_read(a), y = scratch_read(b);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    ig_buf_release(&x);
    ig_buf_release(&y);
}

static void bytes_depend_on_nothing_else(void **state)
{
    (void)state;
    struct ig_err err = {0};
    static const int threads[] = {1, 2, 3, 8};
    for (size_t r = 0; r < sizeof recipes / sizeof *recipes; r++) {
        struct merge_setup setup = {.out = "want", .threads = 1, .force = true, .trace = true};
        check_ok(try_merge(recipes[r], &setup, &err), &err);
        for (int i = 0; i < 4 * IG_ISA_COUNT; i++) {
            enum ig_isa isa = (enum ig_isa)(i % IG_ISA_COUNT);
            if (!ig_isa_available(isa)) continue;
            setenv("IG_KERNELS", ig_isa_name(isa), 1);
            /* 8 MiB: with more threads each has less, and large tensors are split */
            setup =
                (struct merge_setup){.out = "got",
                                     .threads = threads[i / IG_ISA_COUNT],
                                     .memory = (i / IG_ISA_COUNT + i) % 2 ? (int64_t)8 << 20 : 0,
                                     .force = true,
                                     .trace = true};
            check_ok(try_merge(recipes[r], &setup, &err), &err);
            unsetenv("IG_KERNELS");
            assert_same_file("want/model.safetensors", "got/model.safetensors");
            assert_same_file("want/sketchbook.jsonl", "got/sketchbook.jsonl");
            assert_same_file("want/ingot.json", "got/ingot.json");
        }
    }
}

/* The child is killed after a random number of tensors or cells. */
struct fuse {
    int left;
};
static bool burn(void *user, const struct ig_progress *progress)
{
    (void)progress;
    struct fuse *fuse = user;
    if (fuse->left-- == 0) raise(SIGKILL);
    return true;
}

static void kill_and_go_on(const char *recipe)
{
    struct ig_err err = {0};
    struct merge_setup whole = {.out = "want", .force = true, .trace = true};
    check_ok(try_merge(recipe, &whole, &err), &err);
    for (int kill = 0; kill < KILLS; kill++) {
        check_ok(ig_dir_remove(scratch("got"), &err), &err);
        bool done = false;
        for (int run = 0; !done && run < 30; run++) {
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                struct fuse fuse = {.left = (kill * 7 + run * 5) % 23};
                struct ig_watch watch = {.user = &fuse, .progress = burn};
                struct merge_setup setup = {.out = "got",
                                            .threads = 1 + kill % 3,
                                            .memory = (int64_t)8 << 20,
                                            .resume = true,
                                            .trace = true,
                                            .watch = &watch};
                _exit(try_merge(recipe, &setup, &err) ? 0 : 1);
            }
            int status;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 1);
            done = WIFEXITED(status);
            assert_true(ig_path_exists(scratch("got")) == done);
        }
        assert_true(done);
        assert_same_file("want/model.safetensors", "got/model.safetensors");
        assert_same_file("want/sketchbook.jsonl", "got/sketchbook.jsonl");
    }
}

static void killed_runs_go_on(void **state)
{
    (void)state;
    kill_and_go_on(recipes[0]);
    kill_and_go_on(recipes[sizeof recipes / sizeof *recipes - 1]);
}

static void assert_fails(const char *recipe, enum ig_code code, const char *text)
{
    struct ig_err err = {0};
    struct merge_setup setup = {.out = "bad", .force = true};
    check_fails(try_merge(recipe, &setup, &err), &err, code, text);
    assert_false(ig_path_exists(scratch("bad")));
}

static void one_tensor_model(const char *name, float a, float b)
{
    const float data[2] = {a, b};
    const struct test_tensor list[] = {{"w", IG_F32, 1, {2}, data}};
    write_model(name, list, 1, NULL);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const int64_t other[3] = {1, 2, 4};
    const struct test_tensor list[] = {{"position_ids", IG_I64, 1, {3}, whole_numbers},
                                       {"w", IG_F32, 1, {4}, small[0]}};
    const struct test_tensor differs[] = {{"position_ids", IG_I64, 1, {3}, other},
                                          {"w", IG_F32, 1, {4}, small[0]}};
    const struct test_tensor shaped[] = {{"position_ids", IG_I64, 1, {3}, whole_numbers},
                                         {"w", IG_F32, 1, {3}, small[0]},
                                         {"extra", IG_F32, 1, {3}, small[0]}};
    write_model("m4", list, 2, NULL);
    write_model("m5", differs, 2, NULL);
    write_model("m6", shaped, 3, NULL);
    const char *head = "merge_method: yoyo_fusion\nmodels: [{model: {4}}, {model: {%c}}]\n%s";
    char recipe[256];
    snprintf(recipe, sizeof recipe, head, '5', "");
    assert_fails(recipe, IG_ERR_DATA, "tensor 'position_ids': I64 values differ");
    snprintf(recipe, sizeof recipe, head, '6', "");
    assert_fails(recipe, IG_ERR_DATA, "'w': '");
    snprintf(recipe, sizeof recipe, head, '6', "copy_missing_from: [{4}, {6}]\n");
    struct ig_store *out = merged(recipe);
    assert_int_equal(ig_store_count(out), 3);
    assert_int_equal(ig_store_find(out, ig_slice_of("w"))->shape[0], 4);
    ig_store_close(out);
}

static void values_that_are_no_numbers(void **state)
{
    (void)state;
    one_tensor_model("m4", 1, NAN);
    one_tensor_model("m5", 2, INFINITY);
    assert_fails("merge_method: yoyo_fusion\nmodels: [{model: {4}}, {model: {5}}]\n", IG_ERR_DATA,
                 "m4' has 1 values that are NaN or infinite");
    assert_fails(
        "merge_method: linear\nmodels: [{model: {4}}, {model: {5}}]\nparameters: {weight: 1}\n",
        IG_ERR_DATA, "has 1 values that are NaN or infinite");
    struct ig_store *out = merged("merge_method: linear\nmodels: [{model: {4}}, {model: {5}}]\n"
                                  "parameters: {weight: 1, nonfinite: zero}\n");
    float *w = bytes_of(out, "w");
    assert_true(w[0] == 1.5f && w[1] == 0);
    free(w);
    ig_store_close(out);
    /* a factor of 1 is a copy, but not of what is asked to go */
    out = merged("merge_method: passthrough\nmodels: [{model: {4}}]\n"
                 "parameters: {nonfinite: zero}\n");
    w = bytes_of(out, "w");
    assert_true(w[0] == 1 && w[1] == 0);
    free(w);
    ig_store_close(out);
}

/* float16 ends at 65504: what is larger must not become an infinity unseen. */
static void what_the_written_type_cannot_hold_is_refused(void **state)
{
    (void)state;
    static const char *const recipes16[] = {
        "merge_method: passthrough\nmodels: [{model: {4}}]\nout_dtype: float16\n",
        "merge_method: linear\nmodels: [{model: {4}}, {model: {5}}]\nparameters: {weight: 1}\n"
        "out_dtype: float16\n",
        "merge_method: passthrough\nmodels: [{model: {5}}]\nparameters: {scale: 1000}\n"
        "out_dtype: float16\n",
    };
    one_tensor_model("m4", 1, 1e6f);
    one_tensor_model("m5", 2, 65504);
    for (size_t i = 0; i < sizeof recipes16 / sizeof *recipes16; i++)
        assert_fails(recipes16[i], IG_ERR_DATA, "too large for float16");
    struct ig_store *out =
        merged("merge_method: passthrough\nmodels: [{model: {5}}]\nout_dtype: float16\n");
    uint16_t *w = bytes_of(out, "w");
    assert_int_equal(w[1], 0x7BFF);
    free(w);
    ig_store_close(out);
}

/* As mergekit: a product that rounds to 0 in float16 leaves its model among those that agree. */
static void sce_counts_who_agrees_before_it_rounds(void **state)
{
    (void)state;
    one_tensor_model("m4", 0, 0);
    one_tensor_model("m5", 0, 1);
    one_tensor_model("m6", 5e-5f, 0.02f);
    one_tensor_model("m7", 2.3e-3f, 0.02f);
    struct ig_store *out = merged("merge_method: sce\nbase_model: {4}\nmodels: [{model: {5}}, "
                                  "{model: {6}}, {model: {7}}]\ndtype: float16\n"
                                  "out_dtype: float32\nnumerics: mergekit\n");
    float *w = bytes_of(out, "w");
    assert_true(w[0] > 1e-3f && w[0] < 1.3e-3f);
    free(w);
    ig_store_close(out);
}

/* With force too: an output would take the place of what it is made of. */
static void an_output_replaces_no_input(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct merge_setup setup = {.out = "m1", .force = true};
    assert_false(try_merge("merge_method: passthrough\nmodels: [{model: {1}}]\n", &setup, &err));
    assert_int_equal(err.code, IG_ERR_USAGE);
    assert_non_null(strstr(err.text, "m1' is an input or holds one"));
    one_tensor_model("m6", 1, 2);
    write_model("m6/inner", (const struct test_tensor[]){{"w", IG_F32, 1, {2}, small[0]}}, 1, "{}");
    setup.out = "m6";
    check_ok(try_merge("merge_method: passthrough\nmodels: [{model: {1}}]\n", &setup, &err), &err);
    one_tensor_model("m6", 1, 2);
    write_model("m6/inner", (const struct test_tensor[]){{"w", IG_F32, 1, {2}, small[0]}}, 1, "{}");
    assert_false(
        try_merge("merge_method: passthrough\nmodels: [{model: {6}/inner}]\n", &setup, &err));
    assert_non_null(strstr(err.text, "m6' is an input or holds one"));
    setup.out = "m6/next";
    check_ok(try_merge("merge_method: passthrough\nmodels: [{model: {6}/inner}]\n", &setup, &err),
             &err);
}

/* Finite in, finite out; zeros give zeros; models that are one give that one. */
static void degenerate_inputs_are_defined(void **state)
{
    (void)state;
    static const char *const parameters[] = {
        "center: geometric_median", "center: coordinate_median", "variant: '2026-01'",
        "{center: anchor, median: midpoint}", "{variant: '2026-01', matrix_boost: true}"};
    static const float pairs[][2][2] = {{{0, 0}, {0, 0}},
                                        {{3, -4}, {3, -4}},
                                        {{0, 0}, {1, 2}},
                                        {{1e-30f, 0}, {0, 1e-30f}},
                                        {{1, 1}, {-1, -1}}};
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
        one_tensor_model("m4", pairs[p][0][0], pairs[p][0][1]);
        one_tensor_model("m5", pairs[p][1][0], pairs[p][1][1]);
        for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
            char recipe[512];
            bool map = parameters[i][0] == '{';
            snprintf(recipe, sizeof recipe,
                     "merge_method: yoyo_fusion\nmodels: [{model: {4}}, {model: "
                     "{5}}]\n%sparameters: %s%s%s\n",
                     strstr(parameters[i], "anchor") ? "base_model: {4}\n" : "", map ? "" : "{",
                     parameters[i], map ? "" : "}");
            struct ig_store *out = merged(recipe);
            float *w = bytes_of(out, "w");
            assert_true(isfinite(w[0]) && isfinite(w[1]));
            if (p == 0) assert_true(w[0] == 0 && w[1] == 0);
            if (p == 1) assert_true(fabsf(w[0] - 3) < 1e-5f && fabsf(w[1] + 4) < 1e-5f);
            free(w);
            ig_store_close(out);
        }
    }
}

static bool stop(void *user, const struct ig_progress *progress)
{
    (void)user;
    return progress->items_done < 2;
}

static void a_stopped_run_leaves_no_model(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_watch watch = {.progress = stop};
    struct merge_setup setup = {.out = "stopped", .threads = 1, .watch = &watch};
    check_fails(try_merge(recipes[0], &setup, &err), &err, IG_ERR_CANCELLED, "stopped");
    assert_false(ig_path_exists(scratch("stopped")));
}

static void vision_language_names_meet_text_names(void **state)
{
    (void)state;
    const struct test_tensor text[] = {{"model.layers.0.w", IG_F32, 1, {4}, small[0]}};
    const struct test_tensor vision[] = {
        {"model.language_model.layers.0.w", IG_F32, 1, {4}, small[1]}};
    write_model("m4", text, 1, NULL);
    write_model("m5", vision, 1, NULL);
    struct ig_store *out =
        merged("merge_method: yoyo_fusion\nmodels: [{model: {4}}, {model: {5}}]\n");
    assert_int_equal(ig_store_count(out), 1);
    assert_non_null(ig_store_find(out, ig_slice_of("model.layers.0.w")));
    ig_store_close(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_depend_on_nothing_else),
        cmocka_unit_test(killed_runs_go_on),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(values_that_are_no_numbers),
        cmocka_unit_test(what_the_written_type_cannot_hold_is_refused),
        cmocka_unit_test(sce_counts_who_agrees_before_it_rounds),
        cmocka_unit_test(an_output_replaces_no_input),
        cmocka_unit_test(degenerate_inputs_are_defined),
        cmocka_unit_test(a_stopped_run_leaves_no_model),
        cmocka_unit_test(vision_language_names_meet_text_names),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_close);
}
