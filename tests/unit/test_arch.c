/* SPDX-License-Identifier: Apache-2.0
 * arch — roles and order of tensor names, and numbers out of config.json. */
#include "base/arena.h"
#include "check.h"
#include "ingot/arch.h"

#include <stdio.h>
#include <stdlib.h>

static const struct ig_arch *arch_named(const char *name)
{
    for (int i = 0; ig_arch_all()[i]; i++)
        if (strcmp(ig_arch_all()[i]->name, name) == 0) return ig_arch_all()[i];
    return NULL;
}

static void registry_is_sound(void **state)
{
    (void)state;
    const struct ig_arch *const *all = ig_arch_all();
    for (int i = 0; all[i]; i++) {
        assert_true(all[i]->name && all[i]->summary && all[i]->model_types);
        assert_ptr_equal(arch_named(all[i]->name), all[i]);
        assert_true(!all[i]->runs || all[i]->shape);
    }
    assert_ptr_equal(ig_arch_find(NULL), arch_named("generic"));
    for (int i = 0; i < IG_ROLE_COUNT; i++) {
        enum ig_role role;
        assert_true(ig_role_find(ig_slice_of(ig_role_name((enum ig_role)i)), &role));
        assert_int_equal(role, i);
    }
}

struct expected_place {
    const char *arch, *name;
    enum ig_role role;
    int layer, expert;
    bool linear;
};

static void places_are_as_expected(void **state)
{
    (void)state;
    static const struct expected_place table[] = {
        {"qwen3", "model.embed_tokens.weight", IG_ROLE_EMBED, -1, -1, true},
        {"qwen3", "lm_head.weight", IG_ROLE_LM_HEAD, -1, -1, true},
        {"qwen3", "model.norm.weight", IG_ROLE_NORM, -1, -1, false},
        {"qwen3", "model.layers.17.self_attn.v_proj.weight", IG_ROLE_ATTENTION, 17, -1, true},
        {"qwen3", "model.layers.17.self_attn.v_proj.scales", IG_ROLE_ATTENTION, 17, -1, false},
        {"qwen3", "model.layers.0.self_attn.q_norm.weight", IG_ROLE_NORM, 0, -1, false},
        {"qwen3", "model.layers.3.mlp.down_proj.weight", IG_ROLE_MLP, 3, -1, true},
        {"qwen3", "model.layers.3.mlp.gate.weight", IG_ROLE_OTHER, 3, -1, false},
        {"qwen3", "model.language_model.layers.3.mlp.up_proj.weight", IG_ROLE_MLP, 3, -1, true},
        {"qwen3_moe", "model.layers.2.mlp.experts.127.down_proj.weight", IG_ROLE_MLP, 2, 127, true},
        {"qwen3_moe", "model.layers.2.mlp.switch_mlp.down_proj.weight", IG_ROLE_MLP, 2, -1, true},
        {"qwen3_moe", "model.layers.2.mlp.gate.weight", IG_ROLE_ROUTER, 2, -1, true},
        {"qwen3_next", "model.layers.2.linear_attn.A_log", IG_ROLE_OTHER, 2, -1, false},
        {"qwen3_next", "model.layers.2.linear_attn.conv1d.weight", IG_ROLE_OTHER, 2, -1, false},
        {"qwen3_next", "model.layers.2.linear_attn.in_proj_ba.weight", IG_ROLE_ATTENTION, 2, -1,
         true},
        {"qwen3_next", "model.layers.2.mlp.shared_expert_gate.weight", IG_ROLE_ROUTER, 2, -1, true},
        {"generic", "transformer.wte.weight", IG_ROLE_EMBED, -1, -1, true},
        {"generic", "transformer.h.4.attn.c_attn.weight", IG_ROLE_ATTENTION, 4, -1, true},
        {"generic", "transformer.h.4.ln_1.weight", IG_ROLE_NORM, 4, -1, false},
        {"generic", "model.layers.4.block_sparse_moe.experts.3.w1.weight", IG_ROLE_MLP, 4, 3, true},
        {"generic", "model.layers.4.block_sparse_moe.gate.weight", IG_ROLE_ROUTER, 4, -1, true},
        {"generic", "model.visual.blocks.0.mlp.fc1.weight", IG_ROLE_OTHER, -1, -1, false},
        {"generic", "x", IG_ROLE_OTHER, -1, -1, false},
        {"generic", "", IG_ROLE_OTHER, -1, -1, false},
        {"qwen3", "model.layers.99999999999.mlp.up_proj.weight", IG_ROLE_OTHER, -1, -1, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ig_place place;
        ig_arch_place(arch_named(table[i].arch), ig_slice_of(table[i].name), &place);
        if (place.role != table[i].role || place.layer != table[i].layer ||
            place.expert != table[i].expert || place.linear != table[i].linear)
            fail_msg("%s: role %s, layer %d, expert %d, linear %d", table[i].name,
                     ig_role_name(place.role), place.layer, place.expert, place.linear);
    }
    struct ig_place place;
    ig_arch_place(arch_named("qwen3"), ig_slice_of("model.layers.1.mlp.up_proj.weight"), &place);
    assert_true(ig_slice_is(place.module, "model.layers.1.mlp.up_proj"));
    assert_true(ig_slice_is(place.prefix, "model."));
}

static const struct ig_arch *order_arch;
static int by_order(const void *a, const void *b)
{
    return ig_arch_compare(order_arch, ig_slice_of(*(const char *const *)a),
                           ig_slice_of(*(const char *const *)b));
}

static void order_is_the_models(void **state)
{
    (void)state;
    static const char *const want[] = {
        "model.embed_tokens.weight",
        "model.embed_tokens.scales",
        "model.embed_tokens.biases",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.o_proj.weight",
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.surprise.weight",
        "model.layers.2.mlp.gate_proj.weight",
        "model.layers.10.mlp.gate_proj.weight",
        "model.norm.weight",
        "lm_head.weight",
        "lm_head.scales",
        "something.else",
    };
    enum { COUNT = sizeof want / sizeof want[0] };
    const char *got[COUNT];
    order_arch = arch_named("qwen3");
    for (int round = 0; round < 20; round++) {
        memcpy(got, want, sizeof got);
        srand((unsigned)round);
        for (int i = COUNT - 1; i > 0; i--) {
            int j = rand() % (i + 1);
            const char *t = got[i];
            got[i] = got[j];
            got[j] = t;
        }
        qsort(got, COUNT, sizeof got[0], by_order);
        for (int i = 0; i < COUNT; i++)
            assert_string_equal(got[i], want[i]);
    }
    order_arch = arch_named("generic");
    assert_true(ig_arch_compare(order_arch, ig_slice_of("h.9.attn.c_attn.weight"),
                                ig_slice_of("h.10.attn.c_attn.weight")) < 0);
    const char *const mixed[] = {"9.weight", "10.weight", "1a.weight"}; /* one order for all */
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            assert_int_equal(by_order(&mixed[i], &mixed[j]) < 0, i < j);
}

static bool read_shape(const char *arch, const char *json, struct ig_model_shape *out,
                       struct ig_err *err)
{
    struct ig_arena arena = {0};
    struct ig_json *config = ig_json_parse(ig_slice_of(json), &arena, err);
    check_ok(config != NULL, err);
    bool ok = arch_named(arch)->shape(config, out, err);
    ig_arena_release(&arena);
    return ok;
}

#define DENSE                                                                                      \
    "\"model_type\":\"qwen3\",\"num_hidden_layers\":4,\"hidden_size\":64,\"num_attention_heads\":" \
    "8,"                                                                                           \
    "\"num_key_value_heads\":2,\"intermediate_size\":96,\"vocab_size\":512,\"hidden_act\":"        \
    "\"silu\""

static void shape_reads_both_forms_of_rope(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model_shape s;
    check_ok(read_shape("qwen3",
                        "{" DENSE ",\"head_dim\":16,\"rope_theta\":1000000,"
                        "\"rope_scaling\":null,\"tie_word_embeddings\":true,\"rms_norm_eps\":1e-06,"
                        "\"max_position_embeddings\":40960}",
                        &s, &err),
             &err);
    assert_int_equal(s.layers, 4);
    assert_int_equal(s.head_dim, 16);
    assert_int_equal(s.kv_heads, 2);
    assert_int_equal(s.rope.kind, IG_ROPE_PLAIN);
    assert_true(s.rope.theta == 1e6 && s.tied && s.norm_eps == 1e-6 && s.qk_norm);
    check_ok(read_shape("qwen3",
                        "{" DENSE ",\"rope_parameters\":{\"rope_theta\":5e6,"
                        "\"rope_type\":\"yarn\",\"factor\":4.0,"
                        "\"original_max_position_embeddings\":32768}}",
                        &s, &err),
             &err);
    assert_int_equal(s.rope.kind, IG_ROPE_YARN);
    assert_int_equal(s.rope.original_context, 32768);
    assert_int_equal(s.head_dim, 128);
    assert_true(s.rope.theta == 5e6 && s.rope.factor == 4 && s.rope.beta_fast == 32);
    assert_true(s.rope.attention > 1.138629 && s.rope.attention < 1.13863);
    check_ok(read_shape("qwen3_moe",
                        "{" DENSE ",\"num_local_experts\":128,\"num_experts_per_tok\":8,"
                        "\"moe_intermediate_size\":768}",
                        &s, &err),
             &err);
    assert_int_equal(s.experts, 128);
}

/* What published files of transformers 4 look like: text_config, few keys, the rest by default. */
static void shape_knows_what_files_leave_out(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model_shape s;
    check_ok(read_shape("gemma3",
                        "{\"model_type\":\"gemma3\",\"text_config\":{\"hidden_size\":2560,"
                        "\"intermediate_size\":10240,\"num_hidden_layers\":34,\"rope_scaling\":{"
                        "\"factor\":8.0,\"rope_type\":\"linear\"},\"sliding_window\":1024}}",
                        &s, &err),
             &err);
    assert_int_equal(s.heads, 8);
    assert_int_equal(s.vocab, 262208);
    assert_int_equal(s.window, 1024);
    assert_int_equal(s.layer[4], IG_LAYER_SLIDING);
    assert_int_equal(s.layer[5], 0);
    assert_int_equal(s.activation, IG_GELU_TANH);
    assert_true(s.tied && s.rope.theta == 1e6 && s.rope.factor == 8);
    assert_true(s.rope_sliding.theta == 1e4 && s.rope_sliding.kind == IG_ROPE_PLAIN);
    check_ok(read_shape("qwen3_vl",
                        "{\"model_type\":\"qwen3_vl\",\"tie_word_embeddings\":true,"
                        "\"text_config\":{" DENSE ",\"rope_theta\":5e6,\"rope_scaling\":{"
                        "\"mrope_interleaved\":true,\"mrope_section\":[24,20,20],"
                        "\"rope_type\":\"default\"}}}",
                        &s, &err),
             &err);
    assert_true(s.tied && s.rope.kind == IG_ROPE_PLAIN && s.rope.theta == 5e6);
    check_ok(read_shape("qwen3_next",
                        "{" DENSE ",\"num_experts\":8,\"num_experts_per_tok\":2,"
                        "\"moe_intermediate_size\":32,\"partial_rotary_factor\":0.25,"
                        "\"head_dim\":256,\"full_attention_interval\":2}",
                        &s, &err),
             &err);
    assert_int_equal(s.rotary, 64);
    assert_int_equal(s.layer[0], IG_LAYER_LINEAR | IG_LAYER_EXPERTS);
    assert_int_equal(s.layer[1], IG_LAYER_EXPERTS);
    assert_int_equal(s.linear_value_heads, 32);
}

struct bad_config {
    const char *json, *message;
    enum ig_code code;
};

static void shape_refuses_bad_configs(void **state)
{
    (void)state;
    static const struct bad_config table[] = {
        {"{}", "config.json has no 'num_hidden_layers'", IG_ERR_DATA},
        {"[]", "config.json is not an object", IG_ERR_DATA},
        {"{\"num_hidden_layers\":\"4\"}", "'num_hidden_layers' is not an integer", IG_ERR_DATA},
        {"{\"num_hidden_layers\":-4}", "'num_hidden_layers' is -4, outside 1 to 1024", IG_ERR_DATA},
        {"{\"num_hidden_layers\":1e300}", "'num_hidden_layers' is not an integer", IG_ERR_DATA},
        {"{" DENSE ",\"num_key_value_heads\":3}", "8 attention heads cannot share 3", IG_ERR_DATA},
        {"{" DENSE ",\"head_dim\":15}", "'head_dim' is 15, an odd number", IG_ERR_DATA},
        {"{" DENSE ",\"rms_norm_eps\":-1}", "'rms_norm_eps' is not a number from 0 to 1",
         IG_ERR_DATA},
        {"{" DENSE ",\"rope_theta\":0}", "'rope_theta' is not a number from", IG_ERR_DATA},
        {"{" DENSE ",\"tie_word_embeddings\":1}", "is not true or false", IG_ERR_DATA},
        {"{" DENSE ",\"hidden_act\":\"gelu\"}", "hidden_act 'gelu' is not supported",
         IG_ERR_UNSUPPORTED},
        {"{" DENSE ",\"use_sliding_window\":true,\"max_window_layers\":2}",
         "config.json has no 'sliding_window'", IG_ERR_DATA},
        {"{" DENSE ",\"partial_rotary_factor\":0.01}", "'partial_rotary_factor' 0.01 of heads of",
         IG_ERR_DATA},
        {"{" DENSE ",\"layer_types\":[\"full_attention\",\"full_attention\","
         "\"linear_attention\",\"full_attention\"]}",
         "layer_types[2] is 'linear_attention', which this family does not have",
         IG_ERR_UNSUPPORTED},
        {"{" DENSE ",\"rope_scaling\":{\"rope_type\":\"longrope\"}}",
         "rope type 'longrope' is not supported", IG_ERR_UNSUPPORTED},
        {"{" DENSE ",\"rope_scaling\":[1]}", "'rope_scaling' is not an object", IG_ERR_DATA},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ig_err err = {0};
        struct ig_model_shape s;
        check_fails(read_shape("qwen3", table[i].json, &s, &err), &err, table[i].code,
                    table[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_is_sound),
        cmocka_unit_test(places_are_as_expected),
        cmocka_unit_test(order_is_the_models),
        cmocka_unit_test(shape_reads_both_forms_of_rope),
        cmocka_unit_test(shape_knows_what_files_leave_out),
        cmocka_unit_test(shape_refuses_bad_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
