/* SPDX-License-Identifier: Apache-2.0
 * surgery — models that become other models: a layer repeated, its scales, the counts that were
 * published, config.json. */
#include "ingot/infer.h"
#include "merge_models.h"

#include <math.h>

#define HIDDEN 4
#define VOCAB  64

static float weights[8][16];

static struct ig_json_doc *config_of(const char *folder)
{
    struct ig_err err = {0};
    struct ig_json_doc *doc;
    char name[256];
    snprintf(name, sizeof name, "%s/config.json", folder);
    struct ig_buf text = scratch_read(name);
    check_ok(ig_json_doc_new(ig_buf_view(&text), &doc, &err), &err);
    ig_buf_release(&text);
    return doc;
}

/* m0, m1: three layers of a few tensors, f32. */
static int set_up(void **state)
{
    if (scratch_open(state) != 0) return -1;
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 16; j++)
            weights[i][j] = (float)(i + 1) * 0.37f + (float)j * 0.11f;
    for (int m = 0; m < 2; m++) {
        const struct test_tensor list[] = {
            {"model.embed_tokens.weight", IG_F32, 2, {4, HIDDEN}, weights[m]},
            {"model.layers.0.mlp.down_proj.weight", IG_F32, 2, {HIDDEN, 4}, weights[m + 1]},
            {"model.layers.0.self_attn.o_proj.weight", IG_F32, 2, {HIDDEN, 4}, weights[m + 2]},
            {"model.layers.1.mlp.down_proj.weight", IG_F32, 2, {HIDDEN, 4}, weights[m + 3]},
            {"model.layers.1.self_attn.o_proj.weight", IG_F32, 2, {HIDDEN, 4}, weights[m + 4]},
            {"model.layers.2.mlp.down_proj.weight", IG_F32, 2, {HIDDEN, 4}, weights[m + 5]},
            {"model.layers.2.self_attn.o_proj.weight", IG_F32, 2, {HIDDEN, 4}, weights[m + 6]},
            {"model.norm.weight", IG_F32, 1, {HIDDEN}, weights[m]},
        };
        write_model(m ? "m1" : "m0", list, 8,
                    "{\"model_type\": \"qwen3\", \"torch_dtype\": \"float32\", "
                    "\"num_hidden_layers\": 3, \"max_window_layers\": 3, \"mlp_only_layers\": [1], "
                    "\"layer_types\": [\"a\", \"b\", \"c\"]}");
    }
    return 0;
}

static void assert_scaled(const struct ig_store *store, const char *name, const float *want,
                          float scale)
{
    float *got = bytes_of(store, name);
    for (int i = 0; i < 16; i++)
        if (got[i] != want[i] * scale)
            fail_msg("%s[%d]: %g, want %g", name, i, (double)got[i], (double)(want[i] * scale));
    free(got);
}

static void copies_have_their_own_scales(void **state)
{
    (void)state;
    struct ig_store *store = merged("merge_method: passthrough\nmodels: [{model: {0}}]\n"
                                    "expand: {copies: 3, scales: {o_proj: [1, 0.5, 0.25], "
                                    "layers.2.mlp: 2}}\n");
    assert_int_equal(ig_store_count(store), 12);
    assert_scaled(store, "model.layers.1.mlp.down_proj.weight", weights[3], 1);
    assert_scaled(store, "model.layers.2.mlp.down_proj.weight", weights[5], 1);
    assert_scaled(store, "model.layers.2.self_attn.o_proj.weight", weights[6], 1);
    assert_scaled(store, "model.layers.3.mlp.down_proj.weight", weights[5], 2);
    assert_scaled(store, "model.layers.3.self_attn.o_proj.weight", weights[6], 0.5f);
    assert_scaled(store, "model.layers.4.mlp.down_proj.weight", weights[5], 2);
    assert_scaled(store, "model.layers.4.self_attn.o_proj.weight", weights[6], 0.25f);
    ig_store_close(store);
}

static void any_layer_by_rows(void **state)
{
    (void)state;
    struct ig_store *store =
        merged("merge_method: passthrough\nmodels: [{model: {0}}]\n"
               "expand: {copies: 2, layer: 0, scales: [{o_proj: 3}, {o_proj: 0, '*': 5}]}\n");
    assert_int_equal(ig_store_count(store), 10);
    assert_scaled(store, "model.layers.0.self_attn.o_proj.weight", weights[2], 3);
    assert_scaled(store, "model.layers.0.mlp.down_proj.weight", weights[1], 1);
    assert_scaled(store, "model.layers.1.self_attn.o_proj.weight", weights[2], 0);
    assert_scaled(store, "model.layers.1.mlp.down_proj.weight", weights[1], 5);
    assert_scaled(store, "model.layers.3.mlp.down_proj.weight", weights[5], 1);
    ig_store_close(store);
}

static void presets_scale_what_ends_a_block(void **state)
{
    (void)state;
    struct ig_store *store = merged("merge_method: passthrough\nmodels: [{model: {0}}]\n"
                                    "expand: {copies: 4, preset: 'ramp:0.25,0.75'}\n");
    const float want[] = {1, 0.25f, 0.5f, 0.75f};
    for (int c = 0; c < 4; c++) {
        char name[64];
        snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj.weight", 2 + c);
        assert_scaled(store, name, weights[5], want[c]);
    }
    ig_store_close(store);
}

static void config_follows_the_layers(void **state)
{
    (void)state;
    int64_t number;
    ig_store_close(merged("merge_method: passthrough\nslices:\n"
                          "  - sources: [{model: {0}, layer_range: [1, 3]}]\n"
                          "  - sources: [{model: {1}, layer_range: [0, 2]}]\n"
                          "expand: {copies: 2}\n"));
    struct ig_json_doc *doc = config_of("out");
    const struct ig_json *root = ig_json_doc_root(doc);
    assert_true(ig_json_int(ig_json_get(root, "num_hidden_layers"), &number) && number == 5);
    assert_true(ig_json_int(ig_json_get(root, "max_window_layers"), &number) && number == 5);
    struct ig_buf text = {0};
    ig_json_write(&text, ig_json_get(root, "layer_types"), 0, false);
    ig_json_write(&text, ig_json_get(root, "mlp_only_layers"), 0, false);
    assert_string_equal(text.data, "[\"b\",\"c\",\"a\",\"b\",\"b\"][0,3,4]");
    ig_buf_release(&text);
    ig_json_doc_free(doc);
}

static struct ig_buf member_text(const struct ig_json *root, const char *key)
{
    struct ig_buf text = {0};
    ig_json_write(&text, ig_json_get(root, key), 0, false);
    return text;
}

/* What the config says by a period becomes a list; what stands behind the last layer stays there;
 * a head that only one model has makes both untied. */
static void odd_models_stay_true(void **state)
{
    (void)state;
    const float x[4] = {1, 2, 3, 4};
    const struct test_tensor list[] = {
        {"model.embed_tokens.weight", IG_F32, 2, {2, 2}, x},
        {"model.layers.0.mlp.down_proj.weight", IG_F32, 2, {2, 2}, x},
        {"model.layers.1.mlp.down_proj.weight", IG_F32, 2, {2, 2}, x},
        {"model.layers.2.mlp.down_proj.weight", IG_F32, 2, {2, 2}, x},
        {"lm_head.weight", IG_F32, 2, {2, 2}, weights[1]},
    };
    write_model("m5", list, 4,
                "{\"num_hidden_layers\": 2, \"full_attention_interval\": 2, "
                "\"decoder_sparse_step\": 2, \"tie_word_embeddings\": true}");
    write_model("m6", list, 5, "{\"num_hidden_layers\": 2, \"tie_word_embeddings\": false}");
    struct ig_store *out = merged("merge_method: passthrough\nslices:\n"
                                  "  - sources: [{model: {5}, layer_range: [0, 2]}]\n"
                                  "  - sources: [{model: {5}, layer_range: [0, 1]}]\n"
                                  "expand: {copies: 2, layer: 1, scales: {down_proj: 2}}\n");
    assert_int_equal(ig_store_count(out), 6);
    assert_non_null(ig_store_find(out, ig_slice_of("model.layers.4.mlp.down_proj.weight")));
    struct ig_buf types = member_text(ig_store_config(out), "layer_types");
    struct ig_buf dense = member_text(ig_store_config(out), "mlp_only_layers");
    struct ig_buf tied = member_text(ig_store_config(out), "tie_word_embeddings");
    assert_string_equal(types.data, "[\"linear_attention\",\"full_attention\",\"full_attention\","
                                    "\"linear_attention\"]");
    assert_string_equal(dense.data, "[0,3]");
    assert_string_equal(tied.data, "true");
    ig_buf_release(&types);
    ig_buf_release(&dense);
    ig_buf_release(&tied);
    ig_store_close(out);
    out = merged("merge_method: linear\nmodels: [{model: {5}}, {model: {6}}]\n"
                 "parameters: {weight: 0.5}\n");
    float *head = bytes_of(out, "lm_head.weight");
    assert_true(head[1] == (x[1] + weights[1][1]) / 2);
    free(head);
    tied = member_text(ig_store_config(out), "tie_word_embeddings");
    assert_string_equal(tied.data, "false");
    ig_buf_release(&tied);
    ig_store_close(out);
}

/* Merging and expanding at once is merging, then expanding: rounding too. */
static void one_pass_is_two_steps(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct merge_setup setup = {.out = "m2", .force = true};
    const char *both = "merge_method: linear\nmodels: [{model: {0}}, {model: {1}}]\n"
                       "parameters: {weight: [0.3, 0.6]}\nout_dtype: bfloat16\n";
    char text[512];
    check_ok(try_merge(both, &setup, &err), &err);
    setup.out = "two";
    check_ok(try_merge("merge_method: passthrough\nmodels: [{model: {2}}]\n"
                       "expand: {copies: 7, preset: 'constant:0.3'}\n",
                       &setup, &err),
             &err);
    setup.out = "one";
    snprintf(text, sizeof text, "%sexpand: {copies: 7, preset: 'constant:0.3'}\n", both);
    check_ok(try_merge(text, &setup, &err), &err);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "config.json" : "model.safetensors";
        char a[64], b[64];
        snprintf(a, sizeof a, "one/%s", name);
        snprintf(b, sizeof b, "two/%s", name);
        struct ig_buf x = scratch_read(a), y = scratch_read(b);
        assert_int_equal(x.len, y.len);
        assert_memory_equal(x.data, y.data, x.len);
        ig_buf_release(&x);
        ig_buf_release(&y);
    }
}

static void what_cannot_be_expanded_is_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{copies: 0}", "line 3, column 18: copies is a number from 1 to 1000"},
        {"{layer: 1}", "line 3, column 9: expand needs 'copies'"},
        {"{copies: 3, layer: 3}", "line 3, column 28: expand: the merge has 3 layers"},
        {"{copies: 3, scales: {o_proj: [1, 2]}}", "line 3, column 38: 2 scales for 3 copies"},
        {"{copies: 3, scales: [{o_proj: 1}]}", "line 3, column 29: 1 rows for 3 copies"},
        {"{copies: 3, scales: {o_porj: 2}}",
         "line 3, column 30: filter 'o_porj' matches no tensor of layer 2"},
        {"{copies: 3, scales: {o_proj: .nan}}", "line 3, column 38: a scale is a number"},
        {"{copies: 3, preset: 'ramp:1'}", "line 3, column 29: preset 'ramp:1' is not identity"},
        {"{copies: 3, preset: identity, scales: {o_proj: 1}}",
         "line 3, column 47: expand takes a preset or scales, not both"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ig_err err = {0};
        char text[256];
        const struct merge_setup setup = {.out = "bad"};
        snprintf(text, sizeof text,
                 "merge_method: passthrough\nmodels: [{model: {0}}]\nexpand: %s\n", cases[i][0]);
        check_fails(try_merge(text, &setup, &err), &err, IG_ERR_DATA, cases[i][1]);
        assert_false(ig_path_exists(scratch("bad")));
    }
}

/* ---- the published counts, on files that are all header ---- */

struct sparse {
    struct ig_buf header;
    uint64_t bytes;
};

static void add_matrix(struct sparse *s, const char *name, int64_t rows, int64_t cols)
{
    uint64_t end = s->bytes + 2 * (uint64_t)rows * (uint64_t)cols;
    ig_buf_printf(
        &s->header,
        "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%lld,%lld],\"data_offsets\":[%llu,%llu]}",
        s->header.len ? "," : "", name, (long long)rows, (long long)cols,
        (unsigned long long)s->bytes, (unsigned long long)end);
    s->bytes = end;
}

static void add_layer(struct sparse *s, int layer, int64_t hidden, int64_t kv, int64_t inner,
                      int experts)
{
    const struct {
        const char *name;
        int64_t rows, cols;
    } own[] = {{"self_attn.q_proj", 4096, hidden}, {"self_attn.k_proj", kv, hidden},
               {"self_attn.v_proj", kv, hidden},   {"self_attn.o_proj", hidden, 4096},
               {"self_attn.q_norm", 1, 128},       {"self_attn.k_norm", 1, 128},
               {"input_layernorm", 1, hidden},     {"post_attention_layernorm", 1, hidden},
               {"mlp.gate", experts, hidden}};
    char name[128];
    for (int i = 0; i < (experts ? 9 : 8); i++) {
        snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, own[i].name);
        add_matrix(s, name, own[i].rows, own[i].cols);
    }
    for (int e = 0; e < (experts ? experts : 1); e++) {
        char mlp[64];
        snprintf(mlp, sizeof mlp, experts ? "mlp.experts.%d" : "mlp", e);
        snprintf(name, sizeof name, "model.layers.%d.%s.gate_proj.weight", layer, mlp);
        add_matrix(s, name, inner, hidden);
        snprintf(name, sizeof name, "model.layers.%d.%s.up_proj.weight", layer, mlp);
        add_matrix(s, name, inner, hidden);
        snprintf(name, sizeof name, "model.layers.%d.%s.down_proj.weight", layer, mlp);
        add_matrix(s, name, hidden, inner);
    }
}

static void write_sparse(const char *folder, struct sparse *s, const char *config)
{
    struct ig_err err = {0};
    char path[512];
    struct ig_buf whole = {0};
    check_ok(ig_dir_make(scratch(folder), &err), &err);
    uint64_t length = s->header.len + 2;
    ig_buf_append(&whole, &length, 8); /* little-endian, as this machine */
    ig_buf_char(&whole, '{');
    ig_buf_append(&whole, s->header.data, s->header.len);
    ig_buf_char(&whole, '}');
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    scratch_write(path, whole.data, whole.len);
    assert_int_equal(truncate(scratch(path), (off_t)(whole.len + s->bytes)), 0);
    snprintf(path, sizeof path, "%s/config.json", folder);
    scratch_write(path, config, strlen(config));
    ig_buf_release(&whole);
    ig_buf_release(&s->header);
}

static void check_counts(const char *model, int64_t copies, int64_t tensors, int64_t parameters)
{
    struct ig_err err = {0};
    struct ig_recipe *recipe;
    struct ig_merge *merge;
    struct ig_json_doc *doc;
    struct ig_buf text = {0};
    char path[512], out[512];
    int64_t number;
    snprintf(path, sizeof path, "%s", scratch(model));
    snprintf(out, sizeof out, "%s", scratch("never"));
    const struct ig_expand_ask ask = {.model = path, .copies = copies, .layer = -1};
    check_ok(ig_recipe_expand(&ask, &recipe, &err), &err);
    const struct ig_merge_job job = {.recipe = recipe, .out = out};
    check_ok(ig_merge_plan(&job, NULL, &merge, &err), &err);
    check_ok(ig_merge_describe(merge, true, &text, &err), &err);
    check_ok(ig_json_doc_new(ig_buf_view(&text), &doc, &err), &err);
    const struct ig_json *root = ig_json_doc_root(doc);
    assert_true(ig_json_int(ig_json_get(root, "tensors"), &number));
    assert_int_equal(number, tensors);
    assert_true(ig_json_int(ig_json_get(root, "parameters"), &number));
    assert_int_equal(number, parameters);
    ig_json_doc_free(doc);
    ig_buf_release(&text);
    ig_merge_close(merge);
    ig_recipe_free(recipe);
}

/* Qwen3-8B: 36 -> 55 layers, 608 tensors, "12B". Qwen3-30B-A3B: 48 -> 67 layers, 26,334 tensors,
 * 42.371 B; with 5 and 40 copies "33B" and "55B". */
static void counts_are_the_published_ones(void **state)
{
    (void)state;
    struct sparse dense = {0}, moe = {0};
    add_matrix(&dense, "model.embed_tokens.weight", 151936, 4096);
    add_matrix(&dense, "lm_head.weight", 151936, 4096);
    add_matrix(&dense, "model.norm.weight", 1, 4096);
    for (int l = 0; l < 36; l++)
        add_layer(&dense, l, 4096, 1024, 12288, 0);
    write_sparse("dense", &dense, "{\"model_type\": \"qwen3\", \"num_hidden_layers\": 36}");
    add_matrix(&moe, "model.embed_tokens.weight", 151936, 2048);
    add_matrix(&moe, "lm_head.weight", 151936, 2048);
    add_matrix(&moe, "model.norm.weight", 1, 2048);
    for (int l = 0; l < 48; l++)
        add_layer(&moe, l, 2048, 512, 768, 128);
    write_sparse("moe", &moe, "{\"model_type\": \"qwen3_moe\", \"num_hidden_layers\": 48}");
    check_counts("dense", 1, 399, 8190735360);
    check_counts("dense", 20, 608, 11856717568);
    check_counts("moe", 5, 20439, 33024605184);
    check_counts("moe", 20, 26334, 42371414784);
    check_counts("moe", 40, 34194, 54833827584);
}

/* ---- context ---- */

static void check_real(const struct ig_json *object, const char *key, double want)
{
    double got;
    assert_true(ig_json_real(ig_json_get(object, key), &got));
    if (got != want) fail_msg("%s: %g, want %g", key, got, want);
}

static void yarn_is_written_for_every_reader(void **state)
{
    (void)state;
    const float one[4] = {1, 2, 3, 4};
    const struct test_tensor list[] = {{"model.norm.weight", IG_F32, 1, {4}, one}};
    static const char *const configs[] = {
        "{\"model_type\": \"qwen3\", \"max_position_embeddings\": 100, \"rope_theta\": 5e6}",
        "{\"model_type\": \"qwen3_vl\", \"text_config\": {\"max_position_embeddings\": 100, "
        "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5e6, \"mrope_section\": "
        "[1]}}}",
        "{\"model_type\": \"qwen3\", \"max_position_embeddings\": 200, \"rope_theta\": 5e6, "
        "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 2, \"beta_fast\": 9, "
        "\"original_max_position_embeddings\": 100}}",
    };
    for (int i = 0; i < 3; i++) {
        write_model("m5", list, 1, configs[i]);
        ig_store_close(merged("merge_method: passthrough\nmodels: [{model: {5}}]\n"
                              "context: {length: 400, method: yarn}\n"));
        struct ig_json_doc *doc = config_of("out");
        const struct ig_json *root = ig_json_doc_root(doc);
        if (i == 1) root = ig_json_get(root, "text_config");
        check_real(root, "max_position_embeddings", 400);
        check_real(root, "rope_theta", 5e6);
        for (int form = 0; form < 2; form++) {
            const struct ig_json *rope =
                ig_json_get(root, form ? "rope_parameters" : "rope_scaling");
            check_real(rope, "factor", 4);
            check_real(rope, "original_max_position_embeddings", 100);
            assert_true(ig_slice_is(ig_json_text(ig_json_get(rope, "rope_type")), "yarn"));
            assert_null(ig_json_get(rope, "beta_fast"));
            if (form) check_real(rope, "rope_theta", 5e6);
            if (!form) assert_true(ig_slice_is(ig_json_text(ig_json_get(rope, "type")), "yarn"));
        }
        if (i == 1)
            assert_non_null(ig_json_get(ig_json_get(root, "rope_parameters"), "mrope_section"));
        ig_json_doc_free(doc);
    }
    static const char *const bad[][2] = {
        {"{length: 90}", "the model has as many positions already"},
        {"{length: 500, factor: 4}", "the length is more than factor times original"},
        {"{factor: 4}", "line 3, column 10: context needs 'length'"},
        {"{length: 500, method: ntk}", "line 3, column 32: method: 'yarn' is the only one"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ig_err err = {0};
        char text[256];
        const struct merge_setup setup = {.out = "bad"};
        snprintf(text, sizeof text,
                 "merge_method: passthrough\nmodels: [{model: {5}}]\ncontext: %s\n", bad[i][0]);
        check_fails(try_merge(text, &setup, &err), &err, IG_ERR_DATA, bad[i][1]);
    }
}

/* ---- text out of vision ---- */

static struct ig_buf golden_bytes(const char *folder, const char *name)
{
    struct ig_err err = {0};
    struct ig_buf bytes = {0};
    char path[1024];
    snprintf(path, sizeof path, "%s/golden/infer/%s/%s", getenv("INGOT_TESTS"), folder, name);
    check_ok(ig_file_read(path, 1 << 20, &bytes, &err), &err);
    return bytes;
}

/* The text model gives what transformers' vision-language model gave on text (made by
 * tools/golden/logits_families.py), and is read as its text family. */
static void extracted_models_say_the_same(void **state)
{
    (void)state;
    static const char *const folders[] = {"qwen3_vl", "qwen3_vl_moe"};
    for (int f = 0; f < 2; f++) {
        struct ig_err err = {0};
        struct ig_recipe *recipe;
        struct ig_merge *merge;
        struct ig_model *model;
        struct ig_session *session;
        struct ig_job_report report;
        char path[1024], out[1024];
        snprintf(path, sizeof path, "%s/golden/infer/%s", getenv("INGOT_TESTS"), folders[f]);
        snprintf(out, sizeof out, "%s", scratch(folders[f]));
        check_ok(ig_recipe_extract(path, 0, &recipe, &err), &err);
        const struct ig_merge_job job = {.recipe = recipe, .out = out};
        check_ok(ig_merge_plan(&job, NULL, &merge, &err), &err);
        check_ok(ig_merge_run(merge, NULL, &report, &err), &err);
        ig_merge_close(merge);
        ig_recipe_free(recipe);

        struct ig_json_doc *doc = config_of(folders[f]);
        struct ig_slice type = ig_json_text(ig_json_get(ig_json_doc_root(doc), "model_type"));
        assert_true(ig_slice_is(type, f ? "qwen3_moe" : "qwen3"));
        assert_null(ig_json_get(ig_json_doc_root(doc), "vision_config"));
        ig_json_doc_free(doc);

        struct ig_buf ids = golden_bytes(folders[f], "ids.bin");
        struct ig_buf want = golden_bytes(folders[f], "logits.bin");
        const float *logits = (const float *)(const void *)want.data;
        static float got[200 * VOCAB];
        check_ok(ig_model_open(out, 1, &model, &err), &err);
        check_ok(ig_session_new(model, 0, &session, &err), &err);
        check_ok(
            ig_session_logits_all(session, (const int32_t *)(const void *)ids.data, 200, got, &err),
            &err);
        for (int i = 0; i < 200 * VOCAB; i++)
            if (!(fabsf(got[i] - logits[i]) <= 3e-5f))
                fail_msg("%s, logit %d: %.7g, want %.7g", folders[f], i, (double)got[i],
                         (double)logits[i]);
        ig_session_free(session);
        ig_model_close(model);
        ig_buf_release(&ids);
        ig_buf_release(&want);
    }
}

/* ---- recipes/merge ---- */

static bool parse_example(void *user, const char *name)
{
    struct ig_err err = {0};
    struct ig_recipe_list *list;
    char path[1100];
    int *count = user;
    snprintf(path, sizeof path, "%s/../recipes/merge/%s", getenv("INGOT_TESTS"), name);
    check_ok(ig_recipe_list_open(path, &list, &err), &err);
    ig_recipe_list_free(list);
    ++*count;
    return true;
}

static void examples_are_recipes(void **state)
{
    (void)state;
    struct ig_err err = {0};
    char folder[1100];
    int count = 0;
    snprintf(folder, sizeof folder, "%s/../recipes/merge", getenv("INGOT_TESTS"));
    check_ok(ig_dir_list(folder, parse_example, &count, &err), &err);
    assert_true(count >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_have_their_own_scales),
        cmocka_unit_test(any_layer_by_rows),
        cmocka_unit_test(presets_scale_what_ends_a_block),
        cmocka_unit_test(config_follows_the_layers),
        cmocka_unit_test(odd_models_stay_true),
        cmocka_unit_test(one_pass_is_two_steps),
        cmocka_unit_test(what_cannot_be_expanded_is_refused),
        cmocka_unit_test(counts_are_the_published_ones),
        cmocka_unit_test(yarn_is_written_for_every_reader),
        cmocka_unit_test(extracted_models_say_the_same),
        cmocka_unit_test(examples_are_recipes),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_close);
}
