/* SPDX-License-Identifier: Apache-2.0
 * merge_methods — every method: the same bytes for any threads, memory and instruction set; exact
 * thresholds, equal magnitudes taken by index; random masks by their statistics; inputs at the edge
 * of what is defined; recipes that cannot be meant. Values: test_merge_golden.c. */
#include "merge_models.h"

#include <math.h>

#define ROWS  300
#define COLS  517
#define COUNT (ROWS * COLS) /* three cells */
#define STEP  0x1p-12f      /* deltas are few multiples of it: many magnitudes are equal */

static float big[4][COUNT], small[4][130];

static uint64_t seed = 3;
static float noise(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int64_t)seed / 9.3e18);
}

/* m0: the base; m1 .. m3 finetunes, whose deltas in big are exact and of seven magnitudes. */
static int set_up(void **state)
{
    if (scratch_open(state) != 0) return -1;
    for (int i = 0; i < COUNT; i++) {
        big[0][i] = 64 * STEP * rintf(100 * noise());
        for (int m = 1; m < 4; m++)
            big[m][i] = big[0][i] + STEP * rintf(6 * noise());
    }
    for (int m = 0; m < 4; m++)
        for (int i = 0; i < 130; i++)
            small[m][i] = (m ? small[0][i] : 1) + 0.1f * noise();
    for (int m = 0; m < 4; m++) {
        const struct test_tensor list[] = {
            {"model.embed_tokens.weight", IG_F32, 2, {ROWS, COLS}, big[m]},
            {"model.layers.0.mlp.up_proj.weight", IG_F32, 2, {13, 10}, small[m]},
            {"model.layers.1.mlp.up_proj.weight", IG_F32, 3, {5, 2, 13}, small[m]},
            {"model.layers.1.input_layernorm.weight", IG_F32, 1, {129}, small[m]},
            {"model.norm.weight", IG_F32, 1, {1}, small[m]},
            {"model.empty", IG_F32, 2, {0, 4}, small[m]},
        };
        write_model((const char *[]){"m0", "m1", "m2", "m3"}[m], list, 6, NULL);
    }
    return 0;
}

#define THREE "models: [{model: {1}}, {model: {2}}, {model: {3}}]\n"
#define TWO   "models: [{model: {1}}, {model: {2}}]\n"
#define ONE   "models: [{model: {1}}]\n"
#define BASE  "base_model: {0}\n"
static const char *const recipes[] = {
    "merge_method: nuslerp\n" TWO BASE "parameters: {weight: 0.4}\n",
    "merge_method: nuslerp\n" TWO "parameters: {weight: [0.4, 1], nuslerp_flatten: false}\n",
    "merge_method: nuslerp\n" TWO BASE
    "parameters: {weight: 0.4, nuslerp_flatten: false, nuslerp_row_wise: true}\n",
    "merge_method: multislerp\n" THREE "parameters: {weight: 0.4}\n",
    "merge_method: karcher\n" THREE,
    "merge_method: model_stock\n" THREE BASE,
    "merge_method: model_stock\n" THREE BASE "parameters: {filter_wise: true}\n",
    "merge_method: yoyo_scale\n" THREE BASE,
    "merge_method: task_arithmetic\n" THREE BASE "parameters: {weight: 0.4, lambda: 1.5}\n",
    "merge_method: ties\n" THREE BASE "parameters: {weight: 0.4, density: 0.37, rescale: true}\n",
    "merge_method: ties\n" THREE BASE "parameters: {weight: 0.4, density: 0.7}\nnumerics: "
    "mergekit\ndtype: bfloat16\nout_dtype: float32\n",
    "merge_method: breadcrumbs\n" THREE BASE
    "parameters: {weight: 0.4, density: 0.5, gamma: 0.1, rescale: true}\n",
    "merge_method: breadcrumbs_ties\n" THREE BASE
    "parameters: {weight: 0.4, density: [0.9, 0.2]}\n",
    "merge_method: dare_ties\n" THREE BASE "parameters: {weight: 0.4, density: 0.3}\n",
    "merge_method: della\n" THREE BASE "parameters: {weight: 0.4, density: 0.5}\nrandom_seed: 7\n",
    "merge_method: sce\n" THREE BASE "parameters: {select_topk: 0.4}\n",
    "merge_method: ram\n" THREE BASE,
    "merge_method: ramplus_tl\n" THREE BASE,
    "merge_method: nearswap\n" ONE BASE "parameters: {t: 0.001}\n",
    "merge_method: arcee_fusion\n" ONE BASE,
    "merge_method: passthrough\n" ONE "parameters: {scale: 0.3}\n",
};
#define RECIPES (sizeof recipes / sizeof *recipes)

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
    for (size_t r = 0; r < RECIPES; r++) {
        struct merge_setup setup = {.out = "want", .threads = 1, .force = true, .trace = true};
        check_ok(try_merge(recipes[r], &setup, &err), &err);
        for (int i = 0; i < IG_ISA_COUNT; i++) {
            if (!ig_isa_available((enum ig_isa)i)) continue;
            setenv("IG_KERNELS", ig_isa_name((enum ig_isa)i), 1);
            /* 8 MiB for 8 threads: the large tensor is split */
            setup = (struct merge_setup){.out = "got",
                                         .threads = i == 1 ? 2 : 8,
                                         .memory = (int64_t)8 << 20,
                                         .force = true,
                                         .trace = true};
            check_ok(try_merge(recipes[r], &setup, &err), &err);
            unsetenv("IG_KERNELS");
            assert_same_file("want/model.safetensors", "got/model.safetensors");
            assert_same_file("want/sketchbook.jsonl", "got/sketchbook.jsonl");
        }
    }
}

/* ---- thresholds ---- */

static float *merged_big(const char *recipe)
{
    struct ig_store *out = merged(recipe);
    float *values = bytes_of(out, "model.embed_tokens.weight");
    ig_store_close(out);
    return values;
}

/* Which elements a sort by magnitude, equal ones with the earlier first, keeps. */
static void keep_ranks(int64_t first, int64_t end, bool *keep)
{
    int64_t larger[8] = {0}, seen[8] = {0};
    for (int i = 0; i < COUNT; i++)
        for (int size = 0; size < (int)(fabsf(big[1][i] - big[0][i]) / STEP); size++)
            larger[size]++;
    for (int i = 0; i < COUNT; i++) {
        int size = (int)(fabsf(big[1][i] - big[0][i]) / STEP);
        int64_t rank = COUNT - 1 - (larger[size] + seen[size]++); /* ascending */
        keep[i] = rank >= first && rank < end;
    }
}

static void assert_kept(const char *recipe, int64_t first, int64_t end)
{
    static bool keep[COUNT];
    float *out = merged_big(recipe);
    keep_ranks(first, end, keep);
    for (int i = 0; i < COUNT; i++)
        if (out[i] != (keep[i] ? big[1][i] : big[0][i]))
            fail_msg("element %d: %g of %g and %g", i, (double)out[i], (double)big[0][i],
                     (double)big[1][i]);
    free(out);
}

static void thresholds_are_exact(void **state)
{
    (void)state;
    static const double densities[] = {0.37, 0.9, 0.00001, 0.5};
    char recipe[256];
    for (int i = 0; i < 4; i++) {
        int64_t keep = (int64_t)(densities[i] * COUNT);
        snprintf(recipe, sizeof recipe,
                 "merge_method: ties\n" ONE BASE "parameters: {weight: 1, density: %g}\n",
                 densities[i]);
        assert_kept(recipe, COUNT - keep, COUNT);
        int64_t top = COUNT / 10, bottom = COUNT - keep - top > 0 ? COUNT - keep - top : 0;
        snprintf(recipe, sizeof recipe,
                 "merge_method: breadcrumbs\n" ONE BASE
                 "parameters: {weight: 1, density: %g, gamma: 0.1}\n",
                 densities[i]);
        assert_kept(recipe, bottom, bottom + keep);
    }
    assert_kept("merge_method: ties\n" ONE BASE "parameters: {weight: 1, density: 0}\n", 0, 0);
    assert_kept("merge_method: ties\n" ONE BASE "parameters: {weight: 1, density: 1}\n", 0, COUNT);
}

/* ---- random masks ---- */

static void random_masks_keep_their_share(void **state)
{
    (void)state;
    static const char *const methods[] = {"dare_linear", "dare_ties", "della", "della_linear"};
    char recipe[256];
    for (int i = 0; i < 8; i++) {
        double kept = 0, moved = 0, all = 0, sum = 0;
        snprintf(recipe, sizeof recipe,
                 "merge_method: %s\n" ONE BASE
                 "parameters: {weight: 1, density: 0.3, normalize: false, rescale: %s}\n",
                 methods[i / 2], i % 2 ? "true" : "false");
        float *out = merged_big(recipe);
        for (int e = 0; e < COUNT; e++) {
            double delta = fabs((double)big[1][e] - (double)big[0][e]);
            double got = fabs((double)out[e] - (double)big[0][e]);
            if (delta > 0) kept += got > 0;
            moved += delta > 0;
            all += delta;
            sum += got;
        }
        /* della draws large deltas rather than small ones, and zeros are small */
        double share = i < 4 ? 0.3 : 0.3 + 0.15 * (1 - moved / COUNT);
        if (fabs(kept / moved - share) > 5 * sqrt(0.25 / moved))
            fail_msg("%s: kept %g of %g", recipe, kept, moved);
        if (i % 2 && fabs(sum / all - 1) > 1e-4) fail_msg("%s: %g of %g", recipe, sum, all);
        free(out);
    }
}

static void masks_follow_the_seed(void **state)
{
    (void)state;
    const char *head =
        "merge_method: dare_linear\n" TWO BASE "parameters: {weight: 1, density: 0.5}\n%s";
    char recipe[256];
    float *out[3];
    for (int i = 0; i < 3; i++) {
        snprintf(recipe, sizeof recipe, head,
                 (const char *[]){"", "random_seed: 0\n", "random_seed: 1\n"}[i]);
        out[i] = merged_big(recipe);
    }
    assert_memory_equal(out[0], out[1], COUNT * sizeof(float));
    int64_t differ = 0, both = 0;
    for (int i = 0; i < COUNT; i++)
        differ += out[0][i] != out[2][i];
    assert_true(differ > COUNT / 2);
    for (int i = 0; i < 3; i++)
        free(out[i]);
    /* the two models' masks are independent: a quarter of the elements is kept of both */
    float *mask[2];
    for (int m = 0; m < 2; m++) {
        snprintf(recipe, sizeof recipe,
                 "merge_method: dare_linear\nmodels: [{model: {1}, parameters: {weight: %d}}, "
                 "{model: {2}, parameters: {weight: %d}}]\n" BASE
                 "parameters: {density: 0.5, rescale: false}\n",
                 !m, m);
        mask[m] = merged_big(recipe);
    }
    double pairs = 0;
    for (int i = 0; i < COUNT; i++) {
        if (big[1][i] == big[0][i] || big[2][i] == big[0][i]) continue;
        both += mask[0][i] != big[0][i] && mask[1][i] != big[0][i];
        pairs++;
    }
    assert_true(fabs((double)both / pairs - 0.25) < 5 * sqrt(0.1875 / pairs));
    free(mask[0]);
    free(mask[1]);
}

static void density_1_is_task_arithmetic(void **state)
{
    (void)state;
    static const char *const methods[] = {"task_arithmetic", "dare_linear", "breadcrumbs",
                                          "della_linear"};
    float *want = NULL;
    char recipe[256];
    for (int i = 0; i < 4; i++) {
        snprintf(recipe, sizeof recipe,
                 "merge_method: %s\n" THREE BASE "parameters: {weight: 0.4}\n", methods[i]);
        float *out = merged_big(recipe);
        if (want) assert_memory_equal(want, out, COUNT * sizeof(float));
        if (want) free(out);
        if (!want) want = out;
    }
    free(want);
}

/* ---- the edge ---- */

static void pair_model(const char *name, float a, float b)
{
    const float data[2] = {a, b};
    const struct test_tensor list[] = {{"w", IG_F32, 2, {1, 2}, data}, {"v", IG_F32, 1, {1}, data}};
    write_model(name, list, 2, NULL);
}

/* The recipe with models 1 .. 3 and the base taken from 4 .. 7. */
static void shift_models(const char *recipe, char *out)
{
    for (; *recipe; recipe++, out++) {
        bool model = recipe[0] >= '0' && recipe[0] <= '3' && recipe[1] == '}' && recipe[-1] == '{';
        *out = model ? (char)(*recipe + 4) : *recipe;
    }
    *out = '\0';
}

/* Finite in, finite out; models that are their base give it. */
static void degenerate_inputs_are_defined(void **state)
{
    (void)state;
    static const float cases[][4][2] = {
        {{0, 0}, {0, 0}, {0, 0}, {0, 0}},      {{3, -4}, {3, -4}, {3, -4}, {3, -4}},
        {{0, 0}, {1, 2}, {0, 0}, {0, 0}},      {{1e-30f, 0}, {0, 1e-30f}, {0, 0}, {1e-38f, 1e-38f}},
        {{0.5f, 0}, {1, 1}, {-1, -1}, {2, 2}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (int m = 0; m < 4; m++)
            pair_model((const char *[]){"m4", "m5", "m6", "m7"}[m], cases[c][m][0], cases[c][m][1]);
        for (size_t r = 0; r < RECIPES; r++) {
            char recipe[512];
            shift_models(recipes[r], recipe);
            struct ig_store *out = merged(recipe);
            float *w = bytes_of(out, "w"), *v = bytes_of(out, "v");
            if (!isfinite(w[0]) || !isfinite(w[1]) || !isfinite(v[0]))
                fail_msg("%s case %zu: %g %g %g", recipe, c, (double)w[0], (double)w[1],
                         (double)v[0]);
            bool same = c < 2 && !strstr(recipe, "scale: 0.3");
            if (same &&
                (fabsf(w[0] - cases[c][0][0]) > 1e-5f || fabsf(w[1] - cases[c][0][1]) > 1e-5f))
                fail_msg("%s case %zu: %g %g", recipe, c, (double)w[0], (double)w[1]);
            free(w);
            free(v);
            ig_store_close(out);
        }
    }
}

/* Deltas that cancel: mergekit's divisor is 0. */
static void an_angle_of_no_direction_keeps_the_base(void **state)
{
    (void)state;
    pair_model("m4", 0.5f, -1);
    pair_model("m5", 0.75f, -1.5f);
    pair_model("m6", 0.25f, -0.5f);
    for (int rows = 0; rows < 2; rows++) {
        char recipe[160];
        snprintf(recipe, sizeof recipe,
                 "merge_method: model_stock\nmodels: [{model: {5}}, {model: {6}}]\n"
                 "base_model: {4}\nparameters: {filter_wise: %s}\n",
                 rows ? "true" : "false");
        struct ig_store *out = merged(recipe);
        float *w = bytes_of(out, "w");
        assert_true(w[0] == 0.5f && w[1] == -1);
        free(w);
        ig_store_close(out);
    }
}

static void a_base_alone_stays(void **state)
{
    (void)state;
    static const char *const methods[] = {"task_arithmetic", "ties", "della", "sce", "ram",
                                          "ramplus_tl"};
    char recipe[128];
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        snprintf(recipe, sizeof recipe, "merge_method: %s\nmodels: [{model: {0}}]\n" BASE,
                 methods[i]);
        float *out = merged_big(recipe);
        for (int e = 0; e < COUNT; e++)
            assert_true(out[e] == big[0][e]);
        free(out);
    }
}

static void assert_refused(const char *recipe, const char *text)
{
    struct ig_err err = {0};
    struct merge_setup setup = {.out = "bad", .force = true};
    check_fails(try_merge(recipe, &setup, &err), &err, IG_ERR_DATA, text);
    assert_false(ig_path_exists(scratch("bad")));
}

static void recipes_that_cannot_be_meant(void **state)
{
    (void)state;
    assert_refused("merge_method: ties\n" TWO "parameters: {weight: 1}\n", "needs a base_model");
    assert_refused("merge_method: ties\n" TWO BASE, "needs the parameter 'weight'");
    assert_refused("merge_method: ties\n" TWO BASE "parameters: {weight: 1, gamma: 0.1}\n",
                   "ties has no parameter 'gamma'");
    assert_refused("merge_method: ties\n" TWO BASE "parameters: {weight: 1, density: -0.1}\n",
                   "density -0.1 is below 0");
    assert_refused("merge_method: della\n" TWO BASE
                   "parameters: {weight: 1, density: 0.66, epsilon: 0.35}\n",
                   "must lie between 0 and 1");
    assert_refused("merge_method: nuslerp\n" THREE BASE "parameters: {weight: 1}\n",
                   "nuslerp takes exactly 2 models besides the base; there are 3");
    assert_refused("merge_method: model_stock\n" ONE BASE, "base included; there are 2");
    assert_refused("merge_method: nearswap\n" THREE BASE "parameters: {t: 1}\n",
                   "nearswap takes exactly 2 models, base included; there are 4");
    assert_refused("merge_method: multislerp\nmodels: [{model: {1}, parameters: {weight: 1}}, "
                   "{model: {2}, parameters: {weight: -1}}]\n",
                   "the weights sum to 0");
    assert_refused("merge_method: linear\n" TWO "parameters: {weight: 1}\nnumerics: exact\n",
                   "numerics may be float32 or mergekit");
    assert_refused("merge_method: linear\n" TWO "parameters: {weight: 1}\nrandom_seed: x\n",
                   "random_seed must be a whole number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_depend_on_nothing_else),
        cmocka_unit_test(thresholds_are_exact),
        cmocka_unit_test(random_masks_keep_their_share),
        cmocka_unit_test(masks_follow_the_seed),
        cmocka_unit_test(density_1_is_task_arithmetic),
        cmocka_unit_test(degenerate_inputs_are_defined),
        cmocka_unit_test(an_angle_of_no_direction_keeps_the_base),
        cmocka_unit_test(a_base_alone_stays),
        cmocka_unit_test(recipes_that_cannot_be_meant),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_close);
}
