/* SPDX-License-Identifier: Apache-2.0
 * text — JSON, YAML 1.1, UTF-8, globs, options. Expected values are those of Python's json, PyYAML
 * and str.encode. */
#include "base/arena.h"
#include "check.h"
#include "ingot/json.h"
#include "ingot/opt.h"
#include "text/glob.h"
#include "text/utf8.h"
#include "text/yaml.h"

#include <math.h>

static struct ig_arena arena;
static struct ig_err err;

static int release_arena(void **state)
{
    (void)state;
    ig_arena_release(&arena);
    return 0;
}

static void json_round_trips(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a\":[1,2.50,-0,1e400,123456789012345678901234567890],\"b\":{},\"c\":[],\"d\":null}",
        "\"\\u00e9\\ud83d\\ude00 \\\" \\\\ \\n\"",
        " [true,false,null,\"\"] ",
    };
    static const char *const written[] = {
        "{\"a\":[1,2.50,-0,1e400,123456789012345678901234567890],\"b\":{},\"c\":[],\"d\":null}",
        "\"\xC3\xA9\xF0\x9F\x98\x80 \\\" \\\\ \\n\"",
        "[true,false,null,\"\"]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ig_json *root = ig_json_parse(ig_slice_of(texts[i]), &arena, &err);
        check_ok(root != NULL, &err);
        struct ig_buf out = {0};
        ig_json_write(&out, root, 0, false);
        assert_string_equal(out.data, written[i]);
        ig_buf_release(&out);
    }
}

static void json_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "JSON, line 1, column 1"},
        {"{\"a\":1,}", "line 1, column"},
        {"[1]\n]", "line 2, column 2: trailing garbage"},
        {"[01]", "JSON, line 1"},
        {"[\"\xC0\x80\"]", "line 1, column 3: invalid UTF-8"},
        {"{\"a\" 1}", "JSON, line 1"},
        {"// no\n1", "JSON, line 1"},
        {"[\"a\nb\"]", "JSON, line"},
        {"[1", "JSON, line 1, column 3: premature EOF"},
        {"[\v1]", "JSON, line 1, column 2: invalid character"},
        {"[\"\\ud800\"]", "line 1, column 3: half of a surrogate pair"},
        {"[\"\\\\\\udc00\"]", "line 1, column 5: half of a surrogate pair"},
        {"[\"\\ud800\\ud800\"]", "line 1, column 3: half of a surrogate pair"},
        {"{'a':1}", "JSON, line 1"},
        {"NaN", "JSON, line 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_fails(ig_json_parse(ig_slice_of(bad[i].text), &arena, &err) != NULL, &err,
                    IG_ERR_DATA, bad[i].message);
    static char deep[1000];
    memset(deep, '[', sizeof deep - 1);
    check_fails(ig_json_parse(ig_slice_of(deep), &arena, &err) != NULL, &err, IG_ERR_DATA,
                "nested too deeply");
}

static void json_reads_values(void **state)
{
    (void)state;
    struct ig_json *root = ig_json_parse(
        ig_slice_of(
            "{\"i\":9223372036854775807,\"big\":9223372036854775808,\"f\":1.5,\"s\":\"a\\u0000b\","
            "\"t\":true,\"i\":2}"),
        &arena, &err);
    check_ok(root != NULL, &err);
    int64_t i = 0;
    double f = 0;
    bool t = false;
    assert_true(ig_json_int(ig_json_get(root, "i"), &i));
    assert_int_equal(i, 2); /* the last of two, as in Python */
    assert_false(ig_json_int(ig_json_get(root, "big"), &i));
    assert_false(ig_json_int(ig_json_get(root, "f"), &i));
    assert_true(ig_json_real(ig_json_get(root, "f"), &f) && f == 1.5);
    assert_true(ig_json_bool(ig_json_get(root, "t"), &t) && t);
    assert_int_equal(ig_json_text(ig_json_get(root, "s")).len, 3);
    assert_null(ig_json_get(root, "absent"));
    assert_null(ig_json_text(NULL).ptr);
}

static void json_writer_matches_python(void **state)
{
    (void)state;
    struct ig_buf out = {0};
    struct ig_json_writer w = {.out = &out, .indent = 2};
    ig_json_open(&w, '{');
    ig_json_key(&w, "a");
    ig_json_open(&w, '[');
    ig_json_put_int(&w, 1);
    ig_json_put_real(&w, 0.1);
    ig_json_put_real(&w, 3);
    ig_json_put_real(&w, (double)NAN);
    ig_json_close(&w, ']');
    ig_json_key(&w, "e");
    ig_json_open(&w, '{');
    ig_json_close(&w, '}');
    ig_json_close(&w, '}');
    assert_string_equal(
        out.data, "{\n  \"a\": [\n    1,\n    0.1,\n    3.0,\n    null\n  ],\n  \"e\": {}\n}");
    ig_buf_clear(&out);
    ig_json_quote(&out, ig_slice_of("\xF0\x9F\x98\x80\x7F\x01"), true);
    assert_string_equal(out.data, "\"\\ud83d\\ude00\\u007f\\u0001\"");
    ig_buf_release(&out);
}

static void yaml_scalars_are_pyyamls(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ig_yaml_type type;
        double real;
    } cases[] = {
        {"yes", IG_YAML_BOOL, 1},      {"Off", IG_YAML_BOOL, 0},
        {"1e-5", IG_YAML_TEXT, 0},     {"1.0e-5", IG_YAML_REAL, 1e-5},
        {"1.e+3", IG_YAML_REAL, 1000}, {"012", IG_YAML_INT, 10},
        {"0x1F", IG_YAML_INT, 31},     {"1_000", IG_YAML_INT, 1000},
        {"-7", IG_YAML_INT, -7},       {"~", IG_YAML_NULL, 0},
        {"'5'", IG_YAML_TEXT, 0},      {".5", IG_YAML_REAL, 0.5},
        {"1.5e3", IG_YAML_TEXT, 0},    {"-.inf", IG_YAML_REAL, -HUGE_VAL},
        {"y", IG_YAML_TEXT, 0},        {"089", IG_YAML_TEXT, 0},
        {"tRue", IG_YAML_TEXT, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ig_yaml *node = ig_yaml_parse(ig_slice_of(cases[i].text), &arena, &err);
        check_ok(node != NULL, &err);
        if (node->type != cases[i].type) fail_msg("%s: type %d", cases[i].text, (int)node->type);
        if (node->type == IG_YAML_INT || node->type == IG_YAML_REAL)
            assert_true(node->real == cases[i].real);
        if (node->type == IG_YAML_BOOL) assert_int_equal(node->truth, cases[i].real);
    }
}

static void yaml_trees_have_places(void **state)
{
    (void)state;
    const char *text =
        "base: &b {x: 1, y: 2}\nmodels:\n  - model: A\n    <<: *b\n    y: 3\n  - *b\n";
    struct ig_yaml *root = ig_yaml_parse(ig_slice_of(text), &arena, &err);
    check_ok(root != NULL, &err);
    const struct ig_yaml *models = ig_yaml_get(root, "models");
    assert_int_equal(models->count, 2);
    const struct ig_yaml *first = models->items[0];
    assert_int_equal(first->line, 3);
    assert_int_equal(ig_yaml_get(first, "x")->integer, 1);
    assert_int_equal(ig_yaml_get(first, "y")->integer, 3);
    assert_int_equal(ig_yaml_get(models->items[1], "y")->integer, 2);
}

/* Who compares each key with each other one is at this for minutes. */
static void yaml_maps_may_be_large(void **state)
{
    (void)state;
    enum { COUNT = 400000 };
    struct ig_buf text = {0};
    for (int i = 0; i < COUNT; i++)
        ig_buf_printf(&text, "%06d: %d\n", i, i % 10);
    struct ig_yaml *root = ig_yaml_parse(ig_buf_view(&text), &arena, &err);
    check_ok(root != NULL, &err);
    assert_int_equal(root->count, COUNT);
    assert_int_equal(ig_yaml_get(root, "399999")->integer, 9);
    ig_buf_text(&text, "399999: 1\n");
    check_fails(ig_yaml_parse(ig_buf_view(&text), &arena, &err) != NULL, &err, IG_ERR_DATA,
                "line 400001, column 1: key '399999' is here twice");
    ig_buf_release(&text);
}

static void yaml_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "the file is empty"},
        {"a: 1\na: 2\n", "line 2, column 1: key 'a' is here twice"},
        {"a: [1, 2\nb: 3\n", "line 2"},
        {"a: *nowhere\n", "line 1, column 4: alias"},
        {"a: &a [*a]\n", "alias of an anchor that is not complete"},
        {"? [1]\n: 2\n", "a key must be text"},
        {"a: 1\n---\nb: 2\n", "a second document"},
        {"<<: 5\n", "<< needs a map"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_fails(ig_yaml_parse(ig_slice_of(bad[i].text), &arena, &err) != NULL, &err,
                    IG_ERR_DATA, bad[i].message);
    struct ig_buf laughs = {0};
    ig_buf_text(&laughs, "a0: &a0 [x]\n");
    for (int i = 1; i < 9; i++) {
        ig_buf_printf(&laughs, "a%d: &a%d [", i, i);
        for (int j = 0; j < 9; j++)
            ig_buf_printf(&laughs, "*a%d, ", i - 1);
        ig_buf_text(&laughs, "]\n");
    }
    check_fails(ig_yaml_parse(ig_buf_view(&laughs), &arena, &err) != NULL, &err, IG_ERR_DATA,
                "too large, aliases counted");
    ig_buf_release(&laughs);
}

static void utf8_repairs_as_python_does(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\xFFz", "a\xEF\xBF\xBDz"},
        {"\xE2\x82", "\xEF\xBF\xBD"},
        {"\xE2\x28\xA1", "\xEF\xBF\xBD(\xEF\xBF\xBD"},
        {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF0\x9F\x98\x80\xF0\x9F\x98", "\xF0\x9F\x98\x80\xEF\xBF\xBD"},
        {"12345678\xF4\x90\x80\x80", "12345678\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ig_buf out = {0};
        ig_utf8_repair(&out, ig_slice_of(cases[i].in));
        assert_string_equal(out.data, cases[i].out);
        ig_buf_release(&out);
    }
    for (uint32_t code = 0; code < 0x110000; code++) {
        if (code >= 0xD800 && code < 0xE000) continue;
        char bytes[4];
        int n = ig_utf8_put(code, bytes), length;
        assert_int_equal(ig_utf8_next(bytes, bytes + n, &length), code);
        assert_int_equal(length, n);
    }
}

static void glob_matches(void **state)
{
    (void)state;
    assert_true(ig_glob_match("model.layers.*.mlp.*", ig_slice_of("model.layers.3.mlp.up_proj")));
    assert_true(ig_glob_match("*", ig_slice_of("")));
    assert_true(ig_glob_match("a*b*c", ig_slice_of("aXbbXcc")));
    assert_false(ig_glob_match("a?c", ig_slice_of("ac")));
    assert_false(ig_glob_match("*.weight", ig_slice_of("x.weights")));
}

struct args {
    const char *model;
    struct ig_opt_list rest;
    struct ig_opt_texts skip;
    bool force, color;
    int64_t jobs, memory;
    double temp;
    int mode;
};
static const char *const modes[] = {"affine", "mxfp4", NULL};
static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, model, "MODEL", "a model"),
    IG_OPT_ARGS(struct args, rest, "RESULT", "results"),
    IG_OPT_TEXTS(struct args, skip, "skip", 's', "REGEX", "not these"),
    IG_OPT_FLAG(struct args, force, "force", 'f', "replace"),
    IG_OPT_FLAG_ON(struct args, color, "color", 0, "no colours"),
    IG_OPT_INT(struct args, jobs, "jobs", 'j', "N", "0", 0, 64, "threads"),
    IG_OPT_SIZE(struct args, memory, "memory", 0, "SIZE", "256M", "working set"),
    IG_OPT_REAL(struct args, temp, "temp", 0, "T", "0.7", 0, 2, "temperature"),
    IG_OPT_CHOICE(struct args, mode, "mode", 0, modes, "affine", "how"),
    IG_OPT_END,
};

static void options_parse(void **state)
{
    (void)state;
    struct args args = {0};
    const char *const argv[] = {"m", "-fj3", "--memory=2G", "--no-color", "--mode",  "mxfp4",
                                "a", "b",    "-s",          "x,y",        "--skip=z"};
    check_ok(ig_opt_parse(options, 11, argv, &args, &err), &err);
    assert_int_equal(args.skip.count, 2);
    assert_string_equal(args.skip.items[0], "x,y");
    assert_string_equal(args.skip.items[1], "z");
    assert_string_equal(args.model, "m");
    assert_int_equal(args.rest.count, 2);
    assert_string_equal(args.rest.items[1], "b");
    assert_true(args.force && !args.color && args.jobs == 3 && args.mode == 1 && args.temp == 0.7);
    assert_int_equal(args.memory, 2147483648LL);
}

static void options_refuse(void **state)
{
    (void)state;
    static const struct {
        const char *argv[4];
        const char *message;
    } bad[] = {
        {{"m", NULL}, "RESULT is missing"},
        {{NULL}, "MODEL is missing"},
        {{"m", "a", "--forse"}, "unknown option '--forse'; did you mean --force?"},
        {{"m", "a", "--jobs"}, "option --jobs needs a value"},
        {{"m", "a", "-jx"}, "--jobs: 'x' is not a whole number"},
        {{"m", "a", "--temp=3"}, "--temp: 3 is out of range: 0 to 2"},
        {{"m", "a", "--mode=q"}, "--mode: 'q' is unknown; it may be affine, mxfp4"},
        {{"m", "a", "-z"}, "unknown option '-z'"},
        {{"m", "a", "--memory=2X"}, "--memory: '2X' is not a size such as 512M or 2G"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int argc = 0;
        struct args args = {0};
        while (argc < 4 && bad[i].argv[argc])
            argc++;
        check_fails(ig_opt_parse(options, argc, bad[i].argv, &args, &err), &err, IG_ERR_USAGE,
                    bad[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(json_round_trips, release_arena),
        cmocka_unit_test_teardown(json_refuses, release_arena),
        cmocka_unit_test_teardown(json_reads_values, release_arena),
        cmocka_unit_test(json_writer_matches_python),
        cmocka_unit_test_teardown(yaml_scalars_are_pyyamls, release_arena),
        cmocka_unit_test_teardown(yaml_trees_have_places, release_arena),
        cmocka_unit_test_teardown(yaml_maps_may_be_large, release_arena),
        cmocka_unit_test_teardown(yaml_refuses, release_arena),
        cmocka_unit_test(utf8_repairs_as_python_does),
        cmocka_unit_test(glob_matches),
        cmocka_unit_test(options_parse),
        cmocka_unit_test(options_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
