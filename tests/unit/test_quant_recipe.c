/* SPDX-License-Identifier: Apache-2.0
 * quant_recipe — recipes as text, and what they decide about tensors. No file is written. */
#include "base/arena.h"
#include "check.h"
#include "ingot/quant.h"

#include <stdio.h>
#include <stdlib.h>

static void built_in_recipes_parse(void **state)
{
    (void)state;
    const char *const *list = ig_quant_recipe_list();
    int count = 0;
    for (; list[2 * count]; count++) {
        struct ig_err err = {0};
        struct ig_quant_recipe *recipe;
        assert_non_null(list[2 * count + 1]);
        check_ok(ig_quant_recipe_open(list[2 * count], &recipe, &err), &err);
        assert_string_equal(ig_quant_recipe_name(recipe), list[2 * count]);
        ig_quant_recipe_free(recipe);
    }
    assert_int_equal(count, 17);
}

struct bad_recipe {
    const char *text, *message;
};

static void bad_recipes_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct bad_recipe table[] = {
        {"", "recipe 'r'"},
        {"[1]", "line 1, column 1: the recipe must be a map of keys to values"},
        {"bits: 4", "line 1, column 1: the recipe has no name"},
        {"name: a/b", "line 1, column 7: a name has 1 to 63 letters, digits, '.', '_' or '-'"},
        {"name: ..", "a name has 1 to 63"},
        {"name: none", "line 1, column 7: 'none' means no recipe"},
        {"name: a\ngroupsize: 3",
         "line 2, column 1: unknown key 'groupsize' in the recipe; did you "
         "mean 'group_size'?"},
        {"name: a\nbits: 7", "line 2, column 7: affine has no 7 bits (1, 2, 3, 4, 5, 6 and 8)"},
        {"name: a\nbits: nine", "line 2, column 7: bits must be an integer from 1 to 8"},
        {"name: a\ngroup_size: 16",
         "line 2, column 13: affine has no group size 16 (32, 64 and 128)"},
        {"name: a\nmode: mxfp5",
         "line 2, column 7: unknown mode 'mxfp5' (affine, mxfp4, mxfp8, nvfp4)"},
        {"name: a\nmode: mxfp4\nbits: 8",
         "line 3, column 7: mxfp4 has 4 bits in groups of 32, not 8"},
        {"name: a\nsummary: [1]", "line 2, column 10: summary must be text"},
        {"name: a\nrules: {}", "line 2, column 8: rules must be a list of at most 10000 rules"},
        {"name: a\nrules:\n  - 5", "line 3, column 5: a rule must be a map of keys to values"},
        {"name: a\nrules:\n  - {role: head, bits: 8}", "line 3, column 12: unknown role 'head'"},
        {"name: a\nrules:\n  - {role: [], bits: 8}", "line 3, column 12: role is an empty list"},
        {"name: a\nrules:\n  - {role: mlp}",
         "a rule needs bits, group_size or mode, or keep: true"},
        {"name: a\nrules:\n  - {role: norm, bits: 8}",
         "line 3, column 5: norms are never quantised"},
        {"name: a\nrules:\n  - {keep: maybe}", "line 3, column 12: keep must be true or false"},
        {"name: a\nrules:\n  - {keep: true, bits: 3}", "a rule that keeps has no bits"},
        {"name: a\nrules:\n  - {layer: 3, bits: 3}",
         "line 3, column 6: unknown key 'layer' in a rule; "
         "did you mean 'layers'?"},
        {"name: a\nrules:\n  - {layers: {evry: 3}, bits: 3}",
         "line 3, column 15: unknown key 'evry' in "
         "layers; did you mean 'every'?"},
        {"name: a\nrules:\n  - {layers: {every: 0}, bits: 3}", "every must be an integer from 1"},
        {"name: a\nrules:\n  - {layers: {every: 4, phase: 4}, bits: 3}",
         "line 3, column 32: phase 4 is not below every 4"},
        {"name: a\nrules:\n  - {name: [x], bits: 3}", "line 3, column 12: name must be a pattern"},
        {"name: a\nname: b", "key 'name' is here twice"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ig_err err = {0};
        struct ig_quant_recipe *recipe;
        check_fails(ig_quant_recipe_parse(ig_slice_of(table[i].text), "r", &recipe, &err), &err,
                    IG_ERR_DATA, table[i].message);
    }
    struct ig_err err = {0};
    struct ig_quant_recipe *recipe;
    check_fails(
        ig_quant_recipe_open("qx86hi", &recipe, &err), &err, IG_ERR_USAGE,
        "no recipe 'qx86hi': neither a built-in one (see `ingot list recipes`) nor a file; did "
        "you mean 'qx86-hi'?");
    check_fails(ig_quant_recipe_uniform((struct ig_codec){IG_MXFP4, 8, 0}, &recipe, &err), &err,
                IG_ERR_USAGE, "mxfp4 has 4 bits in groups of 32, not 8 in groups of 32");
}

/* ---- plans ---- */

struct model {
    struct ig_arena arena;
    struct ig_tensor tensors[200];
    int64_t count;
    const struct ig_json *config;
};

static void add(struct model *m, const char *name, int rank, int64_t a, int64_t b, int64_t c)
{
    struct ig_tensor *t = &m->tensors[m->count++];
    *t = (struct ig_tensor){.dtype = IG_BF16, .rank = rank, .shape = {a, b, c}};
    t->name = ig_arena_copy(&m->arena, ig_slice_of(name));
    t->elems = a * (rank > 1 ? b : 1) * (rank > 2 ? c : 1);
    t->bytes = (size_t)t->elems * 2;
}

static void add_layer(struct model *m, int layer, const char *name, int64_t rows, int64_t columns)
{
    char text[128];
    snprintf(text, sizeof text, "model.layers.%d.%s.weight", layer, name);
    add(m, text, columns ? 2 : 1, rows, columns, 0);
}

static void make_model(struct model *m, const char *config, int experts)
{
    struct ig_err err = {0};
    *m = (struct model){0};
    m->config = ig_json_parse(ig_slice_of(config), &m->arena, &err);
    check_ok(m->config != NULL, &err);
    for (int i = 5; i >= 0; i--) {
        add_layer(m, i, "mlp.up_proj", 256, 128);
        add_layer(m, i, "self_attn.v_proj", 64, 128);
        add_layer(m, i, "input_layernorm", 128, 0);
        for (int e = 0; e < experts; e++) {
            char name[64];
            snprintf(name, sizeof name, "mlp.experts.%d.down_proj", e);
            add_layer(m, i, name, 128, 64);
        }
        if (experts) add_layer(m, i, "mlp.gate", experts, 128);
    }
    add(m, "lm_head.weight", 2, 512, 128, 0);
    add(m, "model.norm.weight", 1, 128, 0, 0);
    add(m, "model.embed_tokens.weight", 2, 512, 128, 0);
}

static bool plan(const struct model *m, const char *recipe, struct ig_quant_recipe **parsed,
                 struct ig_cast **cast, struct ig_err *err)
{
    check_ok(ig_quant_recipe_parse(ig_slice_of(recipe), "r", parsed, err), err);
    const struct ig_cast_plan wish = {.recipe = *parsed,
                                      .tensors = m->tensors,
                                      .count = m->count,
                                      .config = m->config,
                                      .out = "nowhere"};
    return ig_cast_plan(&wish, cast, err);
}

/* "name:bits ..." of all rows, in order. */
static void table_is(const struct model *m, const char *recipe, const char *want)
{
    struct ig_err err = {0};
    struct ig_quant_recipe *parsed;
    struct ig_cast *cast;
    struct ig_buf text = {0};
    int64_t count;
    check_ok(plan(m, recipe, &parsed, &cast, &err), &err);
    const struct ig_quant_row *rows = ig_cast_rows(cast, &count);
    for (int64_t i = 0; i < count; i++)
        if (rows[i].rule[0])
            ig_buf_printf(&text, "%.*s:%d ", (int)rows[i].module.len, rows[i].module.ptr,
                          rows[i].codec.bits);
    assert_string_equal(text.data, want);
    ig_buf_release(&text);
    ig_cast_close(cast);
    ig_quant_recipe_free(parsed);
}

#define QWEN3 "{\"model_type\":\"qwen3\",\"tie_word_embeddings\":false}"

static void first_match_wins(void **state)
{
    (void)state;
    struct model m;
    make_model(&m, QWEN3, 0);
    table_is(&m, "{name: a, bits: 2, rules: [{role: lm_head, bits: 8}, {role: mlp, keep: true}]}",
             "model.embed_tokens:2 model.layers.0.self_attn.v_proj:2 model.layers.0.mlp.up_proj:0 "
             "model.layers.1.self_attn.v_proj:2 model.layers.1.mlp.up_proj:0 "
             "model.layers.2.self_attn.v_proj:2 model.layers.2.mlp.up_proj:0 "
             "model.layers.3.self_attn.v_proj:2 model.layers.3.mlp.up_proj:0 "
             "model.layers.4.self_attn.v_proj:2 model.layers.4.mlp.up_proj:0 "
             "model.layers.5.self_attn.v_proj:2 model.layers.5.mlp.up_proj:0 lm_head:8 ");
    table_is(
        &m,
        "{name: a, bits: 2, rules: [{name: '*.5.*', bits: 8}, {role: [attention, embed], layers: "
        "{first: 1, last: -2, every: 3, phase: 1}, bits: 6}, {role: embed, bits: 3}]}",
        "model.embed_tokens:3 model.layers.0.self_attn.v_proj:2 model.layers.0.mlp.up_proj:2 "
        "model.layers.1.self_attn.v_proj:6 model.layers.1.mlp.up_proj:2 "
        "model.layers.2.self_attn.v_proj:2 model.layers.2.mlp.up_proj:2 "
        "model.layers.3.self_attn.v_proj:2 model.layers.3.mlp.up_proj:2 "
        "model.layers.4.self_attn.v_proj:6 model.layers.4.mlp.up_proj:2 "
        "model.layers.5.self_attn.v_proj:8 model.layers.5.mlp.up_proj:8 lm_head:2 ");
    ig_arena_release(&m.arena);
    /* Tied: the embedding is the head, and lm_head is not written. */
    make_model(&m, "{\"model_type\":\"qwen3\",\"tie_word_embeddings\":true}", 0);
    table_is(
        &m,
        "{name: a, bits: 4, rules: [{role: lm_head, bits: 8}, {name: '*.layers.*', keep: true}]}",
        "model.embed_tokens:8 model.layers.0.self_attn.v_proj:0 model.layers.0.mlp.up_proj:0 "
        "model.layers.1.self_attn.v_proj:0 model.layers.1.mlp.up_proj:0 "
        "model.layers.2.self_attn.v_proj:0 model.layers.2.mlp.up_proj:0 "
        "model.layers.3.self_attn.v_proj:0 model.layers.3.mlp.up_proj:0 "
        "model.layers.4.self_attn.v_proj:0 model.layers.4.mlp.up_proj:0 "
        "model.layers.5.self_attn.v_proj:0 model.layers.5.mlp.up_proj:0 ");
    ig_arena_release(&m.arena);
}

static void experts_are_stacked(void **state)
{
    (void)state;
    struct model m;
    struct ig_err err = {0};
    struct ig_quant_recipe *recipe;
    struct ig_cast *cast;
    int64_t count;
    make_model(&m, "{\"model_type\":\"qwen3_moe\",\"num_experts\":4}", 4);
    check_ok(plan(&m, "{name: a, bits: 4, rules: [{role: router, bits: 8}]}", &recipe, &cast, &err),
             &err);
    const struct ig_quant_row *rows = ig_cast_rows(cast, &count);
    assert_int_equal(count, 3 + 6 * 5);
    assert_true(ig_slice_is(rows[3].module, "model.layers.0.mlp.gate"));
    assert_int_equal(rows[3].codec.bits, 8);
    assert_true(ig_slice_is(rows[4].module, "model.layers.0.mlp.switch_mlp.down_proj"));
    assert_int_equal(rows[4].elems, 4 * 128 * 64);
    assert_int_equal(rows[4].bytes, 4 * 128 * 64 / 2 + 4 * 128 * 2 * 2);
    ig_cast_close(cast);
    ig_quant_recipe_free(recipe);
    m.tensors[3].name = ig_slice_of("model.layers.5.mlp.experts.9.down_proj.weight");
    check_fails(
        plan(&m, "{name: a}", &recipe, &cast, &err), &err, IG_ERR_DATA,
        "'model.layers.5.mlp.switch_mlp.down_proj.weight': 4 experts are there, 4 are expected, "
        "each once");
    ig_quant_recipe_free(recipe);
    ig_arena_release(&m.arena);
}

struct bad_plan {
    const char *config, *recipe, *message;
    enum ig_code code;
};

static void impossible_plans_are_refused(void **state)
{
    (void)state;
    static const struct bad_plan table[] = {
        {QWEN3, "{name: a, rules: [{name: '*.q_proj', bits: 8}]}",
         "recipe 'a', line 1: the rule '*.q_proj' takes no module of this model", IG_ERR_DATA},
        {"{\"model_type\":\"qwen3\",\"quantization\":{}}", "{name: a}",
         "config.json says that the model is quantised already", IG_ERR_UNSUPPORTED},
        {"{\"model_type\":\"qwen3_moe\",\"num_experts\":8}", "{name: a}", "", IG_OK},
    };
    for (size_t i = 0; i < 2; i++) {
        struct model m;
        struct ig_err err = {0};
        struct ig_quant_recipe *recipe;
        struct ig_cast *cast;
        make_model(&m, table[i].config, 0);
        check_fails(plan(&m, table[i].recipe, &recipe, &cast, &err), &err, table[i].code,
                    table[i].message);
        ig_quant_recipe_free(recipe);
        ig_arena_release(&m.arena);
    }
    struct model m;
    struct ig_err err = {0};
    struct ig_quant_recipe *recipe;
    struct ig_cast *cast;
    make_model(&m, QWEN3, 0);
    add_layer(&m, 0, "mlp.down_proj", 128, 96);
    check_fails(
        plan(&m, "{name: a, bits: 4, rules: [\n{role: mlp, group_size: 64, bits: 6}]}", &recipe,
             &cast, &err),
        &err, IG_ERR_DATA,
        "recipe 'a', by its rule in line 2, wants 'model.layers.0.mlp.down_proj' in groups of 64, "
        "but its rows have 96 elements; give it a rule with another group_size, or keep: true");
    ig_quant_recipe_free(recipe);
    check_ok(ig_quant_recipe_uniform((struct ig_codec){IG_AFFINE, 4, 64}, &recipe, &err), &err);
    const struct ig_cast_plan wish = {.recipe = recipe,
                                      .tensors = m.tensors,
                                      .count = m.count,
                                      .config = m.config,
                                      .out = "nowhere"};
    check_ok(ig_cast_plan(&wish, &cast, &err), &err);
    assert_string_equal(
        ig_cast_warning(cast, 0),
        "'model.layers.0.mlp.down_proj' is kept as it is: rows of 96 in groups of 64");
    assert_null(ig_cast_warning(cast, 1));
    ig_cast_close(cast);
    ig_quant_recipe_free(recipe);
    add_layer(&m, 0, "mlp.surprise", 128, 128);
    check_fails(plan(&m, "{name: a, group_size: 32}", &recipe, &cast, &err), &err,
                IG_ERR_UNSUPPORTED,
                "tensor 'model.layers.0.mlp.surprise.weight' is no part of a qwen3 model");
    ig_quant_recipe_free(recipe);
    m.count--;
    m.tensors[0].dtype = IG_F8_E4M3;
    check_fails(plan(&m, "{name: a, group_size: 32}", &recipe, &cast, &err), &err,
                IG_ERR_UNSUPPORTED, "is F8_E4M3: only F32, F16 and BF16 can be quantised");
    ig_quant_recipe_free(recipe);
    ig_arena_release(&m.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_recipes_parse),
        cmocka_unit_test(bad_recipes_are_refused_with_their_place),
        cmocka_unit_test(first_match_wins),
        cmocka_unit_test(experts_are_stacked),
        cmocka_unit_test(impossible_plans_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
