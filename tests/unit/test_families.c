/* SPDX-License-Identifier: Apache-2.0
 * families — tiny random models of each family (tools/golden/logits_families.py), quantised here
 * and then run: against transformers in f32 on the dequantised weights; RoPE as mlx-lm has it;
 * config.json and weights that do not fit. Logits of the plain folders: test_infer.c. */
#include "base/file.h"
#include "check.h"
#include "infer/infer_internal.h"
#include "ingot/quant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { POSITIONS = 220, STRIDE = 4, VOCAB = 64 };
#define TOLERANCE 1e-4F

static const char *const families[] = {"qwen3_moe", "llama",        "mistral",    "qwen2",
                                       "qwen3_vl",  "qwen3_vl_moe", "qwen3_next", "gemma3_text"};
static const char *const recipes[] = {"qx65-hi", "mxfp4"};

static void golden_path(char out[IG_PATH_MAX], const char *family, const char *file)
{
    const char *tests = getenv("INGOT_TESTS");
    snprintf(out, IG_PATH_MAX, "%s/golden/infer/%s%s%s", tests ? tests : "tests", family,
             file ? "/" : "", file ? file : "");
}

static void read_all(const char *path, size_t bytes, void *out)
{
    struct ig_err err = {0};
    struct ig_buf buf = {0};
    check_ok(ig_file_read(path, 1 << 20, &buf, &err), &err);
    assert_int_equal(buf.len, bytes);
    memcpy(out, buf.data, bytes);
    ig_buf_release(&buf);
}

/* Every STRIDE-th row of what the folder's model says about the family's tokens. */
static void compare(const char *dir, const char *family, const char *file, bool rope_as_mlx)
{
    static float got[POSITIONS * VOCAB], want[POSITIONS / STRIDE * VOCAB];
    int32_t tokens[POSITIONS];
    char path[IG_PATH_MAX];
    struct ig_err err = {0};
    struct ig_model *model;
    struct ig_session *session;
    golden_path(path, family, "ids.bin");
    read_all(path, sizeof tokens, tokens);
    golden_path(path, family, file);
    read_all(path, sizeof want, want);
    const struct ig_model_options options = {.threads = 2, .rope_as_mlx = rope_as_mlx};
    check_ok(ig_model_open_as(dir, &options, &model, &err), &err);
    check_ok(ig_session_new(model, 0, &session, &err), &err);
    check_ok(ig_session_logits_all(session, tokens, POSITIONS, got, &err), &err);
    for (int i = 0; i < POSITIONS / STRIDE; i++)
        for (int v = 0; v < VOCAB; v++) {
            float a = got[(i * STRIDE + STRIDE - 1) * VOCAB + v], b = want[i * VOCAB + v];
            if (!(fabsf(a - b) <= TOLERANCE))
                fail_msg("%s, %s: row %d, token %d: %.7g, want %.7g", family, file, i, v, (double)a,
                         (double)b);
        }
    ig_session_free(session);
    ig_model_close(model);
}

static void quantise(const char *dir, const char *recipe, const char *out)
{
    struct ig_err err = {0};
    struct ig_quant_recipe *made;
    struct ig_job_report report;
    check_ok(ig_quant_recipe_open(recipe, &made, &err), &err);
    const struct ig_quant_recipe *list[] = {made};
    const struct ig_quant_job job = {
        .model = dir, .out = out, .recipes = list, .recipe_count = 1, .threads = 1, .force = true};
    check_ok(ig_quantize(&job, NULL, &report, &err), &err);
    ig_quant_recipe_free(made);
}

static void quantised_logits_are_those_of_transformers(void **state)
{
    (void)state;
    char scratch[] = "/tmp/ingot-families-XXXXXX", out[IG_PATH_MAX], dir[IG_PATH_MAX], file[64];
    struct ig_err err = {0};
    assert_non_null(mkdtemp(scratch));
    snprintf(out, sizeof out, "%s/q", scratch);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (size_t r = 0; r < sizeof recipes / sizeof *recipes; r++) {
            golden_path(dir, families[f], NULL);
            quantise(dir, recipes[r], out);
            snprintf(file, sizeof file, "%s.bin", recipes[r]);
            compare(out, families[f], file, false);
        }
    check_ok(ig_dir_remove(scratch, &err), &err);
}

static void rope_can_be_that_of_mlx(void **state)
{
    (void)state;
    char dir[IG_PATH_MAX];
    golden_path(dir, "qwen3_moe", NULL);
    compare(dir, "qwen3_moe", "as-mlx.bin", true);
}

/* Stacks go back to what they were made from, to the bit of the dequantised values. */
static void stacks_are_dequantised(void **state)
{
    (void)state;
    char scratch[] = "/tmp/ingot-families-XXXXXX", q[IG_PATH_MAX], plain[IG_PATH_MAX],
         dir[IG_PATH_MAX];
    struct ig_err err = {0};
    struct ig_job_report report;
    assert_non_null(mkdtemp(scratch));
    snprintf(q, sizeof q, "%s/q", scratch);
    snprintf(plain, sizeof plain, "%s/plain", scratch);
    golden_path(dir, "qwen3_moe", NULL);
    quantise(dir, "qx65-hi", q);
    const struct ig_dequant_job job = {.model = q, .out = plain, .dtype = IG_F32, .threads = 1};
    check_ok(ig_dequantize(&job, NULL, &report, &err), &err);
    compare(plain, "qwen3_moe", "qx65-hi.bin", false);
    check_ok(ig_dir_remove(scratch, &err), &err);
}

/* ---- properties ---- */

struct run {
    struct ig_model *model;
    struct ig_session *session;
    int32_t tokens[POSITIONS];
};

static void run_open(struct run *r, const char *family)
{
    char path[IG_PATH_MAX];
    struct ig_err err = {0};
    golden_path(path, family, "ids.bin");
    read_all(path, sizeof r->tokens, r->tokens);
    golden_path(path, family, NULL);
    check_ok(ig_model_open(path, 2, &r->model, &err), &err);
    check_ok(ig_session_new(r->model, 0, &r->session, &err), &err);
}

static void run_close(struct run *r)
{
    ig_session_free(r->session);
    ig_model_close(r->model);
}

/* Experts that are asked for before they are used: a wish, which changes no number. */
static void experts_are_fetched(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen3_moe", "qwen3_vl_moe"};
    for (int f = 0; f < 2; f++) {
        struct run r;
        struct ig_err err = {0};
        float want[VOCAB];
        run_open(&r, names[f]);
        assert_false(r.model->outgrows);
        for (int outgrows = 0; outgrows < 2; outgrows++) {
            r.model->outgrows = outgrows;
            ig_session_trim(r.session, 0);
            check_ok(ig_session_feed(r.session, r.tokens, 100, &err), &err);
            check_ok(ig_session_feed(r.session, r.tokens + 100, 1, &err), &err);
            if (!outgrows) memcpy(want, ig_session_logits(r.session), sizeof want);
        }
        assert_memory_equal(ig_session_logits(r.session), want, sizeof want);
        const struct ig_tensor *t = ig_store_find(
            r.model->store, ig_slice_of("model.layers.1.mlp.experts.0.up_proj.weight"));
        if (t) infer__scattered(ig_store_map(r.model->store, t, &err), t->bytes);
        run_close(&r);
    }
}

/* Windows slide over several blocks of keys: all at once as token by token, and scores to the bit
 * however they are cut. (Against transformers at 700 positions: 1.1e-5.) */
static void windows_slide_across_blocks(void **state)
{
    (void)state;
    static const char *const names[] = {"mistral", "gemma3_text"};
    enum { LONG = 700 };
    static float all[LONG * VOCAB];
    for (int f = 0; f < 2; f++) {
        struct run r;
        struct ig_err err = {0};
        int32_t tokens[LONG + 1];
        double whole[LONG], parts[LONG];
        run_open(&r, names[f]);
        for (int i = 0; i <= LONG; i++)
            tokens[i] = (r.tokens[i % POSITIONS] + i / POSITIONS * 5) % VOCAB;
        check_ok(ig_session_logits_all(r.session, tokens, LONG, all, &err), &err);
        ig_session_trim(r.session, 0);
        for (int i = 0; i < LONG; i++) {
            check_ok(ig_session_feed(r.session, tokens + i, 1, &err), &err);
            const float *row = ig_session_logits(r.session);
            for (int v = 0; v < VOCAB; v++)
                if (!(fabsf(row[v] - all[i * VOCAB + v]) <= TOLERANCE))
                    fail_msg("%s: row %d, token %d: %.7g, want %.7g", names[f], i, v,
                             (double)row[v], (double)all[i * VOCAB + v]);
        }
        ig_session_trim(r.session, 0);
        check_ok(ig_session_score(r.session, tokens, tokens + 1, LONG, whole, NULL, &err), &err);
        ig_session_trim(r.session, 0);
        static const int cuts[] = {0, 1, 257, 300, 512, 699, LONG};
        for (int c = 0; c < 6; c++)
            check_ok(ig_session_score(r.session, tokens + cuts[c], tokens + cuts[c] + 1,
                                      (size_t)(cuts[c + 1] - cuts[c]), parts + cuts[c], NULL, &err),
                     &err);
        for (int i = 0; i < LONG; i++)
            assert_true(whole[i] == parts[i]);
        run_close(&r);
    }
}

/* A state cannot be cut: the session goes back to the last prompt's end, or to the start. */
static void a_state_goes_back_to_the_prompt(void **state)
{
    (void)state;
    struct run r;
    struct ig_err err = {0};
    float want[VOCAB];
    run_open(&r, "qwen3_next");
    check_ok(ig_session_feed(r.session, r.tokens, 100, &err), &err);
    for (int i = 100; i < 105; i++)
        check_ok(ig_session_feed(r.session, r.tokens + i, 1, &err), &err);
    memcpy(want, ig_session_logits(r.session), sizeof want);
    assert_int_equal(ig_session_trim(r.session, 200), 105);
    for (int times = 0; times < 2; times++) {
        assert_int_equal(ig_session_trim(r.session, 103), 100);
        for (int i = 100; i < 105; i++)
            check_ok(ig_session_feed(r.session, r.tokens + i, 1, &err), &err);
        assert_memory_equal(want, ig_session_logits(r.session), sizeof want);
    }
    assert_int_equal(ig_session_trim(r.session, 99), 0);
    assert_int_equal(ig_session_length(r.session), 0);
    check_ok(ig_session_feed(r.session, r.tokens, 100, &err), &err);
    for (int i = 100; i < 105; i++)
        check_ok(ig_session_feed(r.session, r.tokens + i, 1, &err), &err);
    assert_memory_equal(want, ig_session_logits(r.session), sizeof want);
    run_close(&r);
    /* A cache can be cut anywhere. */
    run_open(&r, "llama");
    check_ok(ig_session_feed(r.session, r.tokens, 100, &err), &err);
    assert_int_equal(ig_session_trim(r.session, 99), 99);
    run_close(&r);
}

/* ---- what does not fit ---- */

struct broken {
    const char *family, *file, *from, *to; /* of the same length */
    enum ig_code code;
    const char *text;
};

static void broken_copy(const struct broken *b, const char *dir)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    for (int i = 0; i < 2; i++) {
        char path[IG_PATH_MAX];
        struct ig_buf bytes = {0};
        struct ig_err err = {0};
        golden_path(path, b->family, files[i]);
        check_ok(ig_file_read(path, 1 << 20, &bytes, &err), &err);
        if (strcmp(files[i], b->file) == 0) {
            char *at = memmem(bytes.data, bytes.len, b->from, strlen(b->from));
            assert_non_null(at);
            assert_int_equal(strlen(b->from), strlen(b->to));
            memcpy(at, b->to, strlen(b->to));
        }
        check_ok(ig_path_join(path, dir, files[i], &err), &err);
        check_ok(ig_file_write(path, ig_buf_view(&bytes), &err), &err);
        ig_buf_release(&bytes);
    }
}

static void what_does_not_fit_is_named(void **state)
{
    (void)state;
    static const struct broken cases[] = {
        {"qwen3_moe", "model.safetensors", "experts.5.up_proj.weight", "experts.9.up_proj.weight",
         IG_ERR_DATA, "tensor 'model.layers.1.mlp.experts.5.up_proj.weight' is missing"},
        {"qwen3_moe", "model.safetensors", "layers.1.mlp.experts.0.gate_proj.weight",
         "layers.1.mlp.experts.0.late_proj.weight", IG_ERR_DATA,
         "tensor 'model.layers.1.mlp.switch_mlp.gate_proj.weight' is missing"},
        {"qwen3_moe", "model.safetensors", "layers.1.mlp.gate.weight", "layers.1.mlp.gale.weight",
         IG_ERR_DATA, "tensor 'model.layers.1.mlp.gate.weight' is missing"},
        {"qwen3_moe", "config.json", "\"num_local_experts\": 6", "\"num_local_experts\": 7",
         IG_ERR_DATA, "'model.layers.1.mlp.gate.weight' is BF16 6 x 64; config.json makes it 7 x"},
        {"qwen3_moe", "config.json", "\"num_experts_per_tok\": 3", "\"num_experts_per_tok\": 9",
         IG_ERR_DATA, "num_experts_per_tok is 9 of 6 experts"},
        {"qwen3_moe", "config.json", "\"moe_intermediate_size\": 32",
         "\"moe_intermediate_size\": 64", IG_ERR_DATA,
         "experts.0.gate_proj.weight' is BF16 32 x 64; config.json makes it 64 x 64"},
        {"qwen3_moe", "config.json", "\"decoder_sparse_step\": 1", "\"decoder_sparse_step\": 0",
         IG_ERR_DATA, "'decoder_sparse_step' is 0, outside 1 to"},
        {"qwen3_moe", "config.json", "\"rope_type\": \"yarn\"", "\"rope_type\": \"barn\"",
         IG_ERR_UNSUPPORTED, "rope type 'barn' is not supported"},
        {"qwen3_vl_moe", "config.json", "\"moe_intermediate_size\": 64",
         "\"moe_intermediate_size\": 32", IG_ERR_DATA,
         "'model.language_model.layers.1.mlp.experts.gate_up_proj' is BF16 3 x 64 x 128; "
         "config.json makes it 3 x 64 x 64"},
        {"qwen2", "model.safetensors", "q_proj.bias", "q_proj.bios", IG_ERR_DATA,
         "tensor 'model.layers.0.self_attn.q_proj.bias' is missing"},
        {"mistral", "config.json", "\"sliding_window\": 37", "\"sliding_window\": -7", IG_ERR_DATA,
         "'sliding_window' is -7, outside 1 to"},
        {"qwen2", "config.json", "\"sliding_attention\"", "\"chunked_attention\"",
         IG_ERR_UNSUPPORTED, "layer_types[1] is 'chunked_attention'"},
        {"qwen3_next", "config.json", "\"linear_num_value_heads\": 4",
         "\"linear_num_value_heads\": 5", IG_ERR_DATA,
         "5 linear value heads cannot share 2 key heads"},
        {"qwen3_next", "config.json", "\"linear_value_head_dim\": 16",
         "\"linear_value_head_dim\": 32", IG_ERR_DATA,
         "'model.layers.0.linear_attn.in_proj_qkvz.weight' is BF16 160 x 64; config.json makes it "
         "288 x 64"},
        {"qwen3_next", "config.json", "\"linear_conv_kernel_dim\": 4",
         "\"linear_conv_kernel_dim\": 3", IG_ERR_DATA,
         "'model.layers.0.linear_attn.conv1d.weight' is BF16 96 x 1 x 4; config.json makes it 96 x "
         "1 x 3"},
        {"qwen3_next", "model.safetensors", "linear_attn.A_log", "linear_attn.B_log", IG_ERR_DATA,
         "tensor 'model.layers.0.linear_attn.A_log' is missing"},
        {"qwen3_next", "model.safetensors", "mlp.shared_expert_gate", "mlp.shared_expert_gale",
         IG_ERR_DATA, "tensor 'model.layers.2.mlp.shared_expert_gate.weight' is missing"},
        {"gemma3_text", "config.json", "\"final_logit_softcapping\": null",
         "\"final_logit_softcapping\": 30.0", IG_ERR_UNSUPPORTED,
         "'final_logit_softcapping' is not supported"},
        {"gemma3_text", "model.safetensors", "0.pre_feedforward_layernorm",
         "0.pro_feedforward_layernorm", IG_ERR_DATA,
         "tensor 'model.layers.0.pre_feedforward_layernorm.weight' is missing"},
        {"llama", "config.json", "\"hidden_act\": \"silu\"", "\"hidden_act\": \"relu\"",
         IG_ERR_UNSUPPORTED, "hidden_act 'relu' is not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char scratch[] = "/tmp/ingot-families-XXXXXX";
        struct ig_err err = {0}, ignored = {0};
        struct ig_model *model;
        assert_non_null(mkdtemp(scratch));
        broken_copy(&cases[i], scratch);
        bool opened = ig_model_open(scratch, 1, &model, &err);
        check_ok(ig_dir_remove(scratch, &ignored), &ignored);
        if (!opened && (!strstr(err.text, cases[i].text) || err.code != cases[i].code))
            fail_msg("case %zu: code %d, '%s'", i, (int)err.code, err.text);
        assert_false(opened);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantised_logits_are_those_of_transformers),
        cmocka_unit_test(rope_can_be_that_of_mlx),
        cmocka_unit_test(stacks_are_dequantised),
        cmocka_unit_test(experts_are_fetched),
        cmocka_unit_test(windows_slide_across_blocks),
        cmocka_unit_test(a_state_goes_back_to_the_prompt),
        cmocka_unit_test(what_does_not_fit_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
