/* SPDX-License-Identifier: Apache-2.0
 * sketch — a merge's notes read back and summed up; broken ones are refused by line. */
#include "ingot/sketch.h"
#include "merge_models.h"

#include <math.h>

static struct ig_err err;
static char warned[512];

static void note(void *user, const char *text)
{
    (void)user;
    snprintf(warned, sizeof warned, "%s", text);
}
static const struct ig_watch watch = {.warn = note};

static void merge_fixtures(const char *out, const char *method)
{
    struct ig_buf recipe = {0};
    const char *fixtures = getenv("INGOT_FIXTURES");
    assert_non_null(fixtures);
    ig_buf_printf(&recipe, "merge_method: %s\nmodels:\n", method);
    const char *const names[] = {"anvil", "ballad", "lantern"};
    for (int i = 0; i < 3; i++)
        ig_buf_printf(&recipe, "- model: %s/models/%s\n", fixtures, names[i]);
    if (strcmp(method, "linear") == 0) ig_buf_text(&recipe, "parameters: {weight: 0.5}\n");
    struct merge_setup setup = {.out = out, .threads = 1, .force = true, .trace = true};
    check_ok(try_merge(recipe.data, &setup, &err), &err);
    ig_buf_release(&recipe);
}

static const struct ig_sketch_cell *cell_of(const struct ig_sketch_summary *s, int layer,
                                            const char *kind)
{
    for (int k = 0; k < s->kind_count; k++)
        if (strcmp(s->kinds[k].name, kind) == 0) return s->cells[(layer + 1) * s->kind_count + k];
    return NULL;
}

/* Sums made here, line by line, must be those of the summary. */
static void sums_are_those_of_the_lines(void **state)
{
    (void)state;
    struct ig_sketch_summary *s;
    struct ig_sketch *sketch;
    struct ig_sketch_line line;
    double shares[3] = {0}, distance = 0;
    int64_t tensors = 0, attention = 0;
    bool more;
    merge_fixtures("fused", "yoyo_fusion");
    check_ok(ig_sketch_sum(scratch("fused"), &watch, &s, &err), &err);
    check_ok(ig_sketch_open(scratch("fused/sketchbook.jsonl"), &sketch, &err), &err);
    check_ok(ig_sketch_next(sketch, &line, &more, &err), &err);
    for (; more; tensors++) {
        double sum = 0, energy = 0;
        assert_int_equal(line.inputs, 3);
        for (int i = 0; i < 3; i++) {
            shares[i] += line.c[i];
            sum += line.c[i];
        }
        for (int i = 0; i < line.directions; i++)
            energy += line.energy[i];
        assert_true(sum > 0.95 && sum < 1.25); /* more than 1 where the length is restored */
        assert_true(fabs(energy - 1) < 1e-12);
        distance += line.measure[IG_SKETCH_DISTANCE];
        attention += line.role == IG_ROLE_ATTENTION;
        check_ok(ig_sketch_next(sketch, &line, &more, &err), &err);
    }
    ig_sketch_close(sketch);
    assert_int_equal(tensors, s->head->tensors);
    assert_int_equal(tensors, s->all.tensors);
    assert_int_equal(attention, s->groups[IG_SKETCH_ALL][IG_ROLE_ATTENTION].tensors);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(ig_sketch_mean(&s->all.share[i]) - shares[i] / (double)tensors) < 1e-12);
    assert_true(fabs(ig_sketch_mean(&s->all.measure[IG_SKETCH_DISTANCE]) -
                     distance / (double)tensors) < 1e-12);
    int64_t parts = 0;
    for (int part = 0; part < IG_SKETCH_ALL; part++)
        parts += s->groups[part][IG_ROLE_COUNT].tensors;
    assert_int_equal(parts, tensors);
    ig_sketch_free(s);
}

/* Figures read off the fixtures' sketchbook by hand. */
static void the_fixtures_have_their_figures(void **state)
{
    (void)state;
    struct ig_sketch_summary *s;
    merge_fixtures("fused", "yoyo_fusion");
    check_ok(ig_sketch_sum(scratch("fused"), &watch, &s, &err), &err);
    assert_int_equal(s->layers, 4);
    assert_int_equal(s->kind_count, 14);
    assert_string_equal(s->kinds[0].name, "embed_tokens");
    assert_string_equal(s->inputs[2], "lantern");
    const struct ig_sketch_cell *q = cell_of(s, 0, "self_attn.q_proj");
    assert_non_null(q);
    assert_true(fabs(ig_sketch_mean(&q->pool.share[0]) - 0.3234752) < 1e-6);
    /* (3 - 0.98129 - 0.98142 - 0.97776) / 3; 15.6357 / 128; 19.0908^2 of the squares' sum */
    assert_true(fabs(ig_sketch_mean(&q->pool.measure[IG_SKETCH_APART]) - 0.0198437) < 1e-6);
    assert_true(fabs(ig_sketch_mean(&q->pool.measure[IG_SKETCH_DISTANCE]) - 0.1221541) < 1e-6);
    assert_true(fabs(ig_sketch_mean(&q->pool.measure[IG_SKETCH_FIRST]) - 0.5584419) < 1e-6);
    assert_string_equal(s->marks[IG_SKETCH_FARTHEST][0].name, "lm_head.weight");
    assert_int_equal(s->marks[IG_SKETCH_FARTHEST][0].input, 2);
    for (int list = 0; list < IG_SKETCH_LISTS; list++)
        for (int i = 1; i < s->mark_count[list]; i++) {
            double a = s->marks[list][i - 1].value, b = s->marks[list][i].value;
            assert_true(list == IG_SKETCH_DISAGREED ? a <= b : a >= b);
        }
    assert_int_equal(s->outside, 0);
    ig_sketch_free(s);
}

static void linear_shares_sum_to_one(void **state)
{
    (void)state;
    struct ig_sketch_summary *s;
    merge_fixtures("mean", "linear");
    check_ok(ig_sketch_sum(scratch("mean"), &watch, &s, &err), &err);
    for (int i = 0; i < (s->layers + 1) * s->kind_count; i++) {
        double sum = 0;
        if (!s->cells[i]) continue;
        for (int k = 0; k < 3; k++)
            sum += ig_sketch_mean(&s->cells[i]->pool.share[k]);
        assert_true(fabs(sum - 1) < 1e-6);
    }
    assert_int_equal(s->all.measure[IG_SKETCH_APART].count, 0); /* linear measures nothing */
    assert_true(isnan(ig_sketch_mean(&s->all.measure[IG_SKETCH_APART])));
    ig_sketch_free(s);
}

/* ---- by hand ---- */

#define HEAD(n)                                                                                    \
    "{\"ingot\":\"1\",\"method\":\"m\",\"recipe\":\"\",\"models\":[{\"model\":\"a/x\","            \
    "\"identity\":\"1\"},{\"model\":\"b/x/\",\"identity\":\"2\"}],\"tensors\":" #n "}\n"
#define T(name, layer, rest)                                                                       \
    "{\"tensor\":\"" name "\",\"shape\":[2,2],\"role\":\"mlp\",\"layer\":" layer rest "}\n"

static bool sum_text(const char *text, struct ig_sketch_summary **s)
{
    *warned = 0;
    scratch_write("s.jsonl", text, strlen(text));
    return ig_sketch_sum(scratch("s.jsonl"), &watch, s, &err);
}

static void experts_share_a_cell(void **state)
{
    (void)state;
    struct ig_sketch_summary *s;
    check_ok(sum_text(HEAD(4) T("model.layers.0.mlp.experts.0.up_proj.weight", "0",
                                ",\"cosine\":0.5,\"c\":[0.25,0.75]")
                          T("model.layers.0.mlp.experts.17.up_proj.weight", "0",
                            ",\"cosine\":0.25,\"c\":[1.5,-0.5]")
                              T("model.layers.0.mlp.experts.2.up_proj.bias", "0",
                                ",\"copied\":\"a/x\"") T("odd", "null", ",\"c\":[1]"),
                      &s),
             &err);
    const struct ig_sketch_cell *cell = cell_of(s, 0, "mlp.experts.*.up_proj");
    assert_non_null(cell);
    assert_int_equal(cell->pool.tensors, 2);
    assert_string_equal(cell->name, "model.layers.0.mlp.experts.17.up_proj.weight");
    assert_true(ig_sketch_mean(&cell->pool.measure[IG_SKETCH_APART]) == 0.625);
    assert_true(cell->pool.share[0].high == 1.5 && cell->pool.share[1].low == -0.5);
    const struct ig_sketch_pool *copy = &cell_of(s, 0, "mlp.experts.*.up_proj.bias")->pool;
    assert_int_equal(copy->copied, 1);
    assert_true(copy->share[0].sum == 1 && copy->share[1].sum == 0);
    assert_int_equal(s->outside, 1);
    assert_string_equal(s->inputs[0], "x#1"); /* two folders of one name */
    assert_int_equal(s->other_inputs, 1);
    assert_non_null(strstr(warned, "another number of inputs"));
    ig_sketch_free(s);
}

static void what_is_not_finite_is_told(void **state)
{
    (void)state;
    struct ig_sketch_summary *s;
    check_ok(sum_text(HEAD(2) T("a", "1", ",\"c\":[null,0.5]") T("b", "1", ",\"c\":[0.5,0.5]"), &s),
             &err);
    assert_true(ig_sketch_mean(&s->all.share[0]) == 0.5);
    assert_int_equal(s->all.share[0].count, 1);
    assert_non_null(strstr(warned, "1 tensors have numbers that are not finite"));
    ig_sketch_free(s);
}

static void broken_lines_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "is empty"},
        {"{}\n", "line 1: not the head of a sketchbook"},
        {"\n", "line 1"},
        {HEAD(1) "{\"tensor\":\n", "line 2: "},
        {HEAD(1) "7\n", "line 2: not a JSON object"},
        {HEAD(1) "{\"shape\":[]}\n", "line 2: 'tensor' is missing"},
        {HEAD(2) T("a", "1", "") "{\"tensor\":\"b\"}\n", "line 3: 'shape' must be"},
        {HEAD(1) "{\"tensor\":\"b\",\"shape\":[-1]}\n", "line 2: 'shape' has an impossible size"},
        {HEAD(1) "{\"tensor\":\"b\",\"shape\":[1],\"role\":\"boss\"}\n", "line 2: 'role'"},
        {HEAD(1) T("a", "-1", ""), "line 2: 'layer' must be"},
        {HEAD(1) T("a", "1", ",\"c\":[1,2,3]"), "line 2: 'c' has 3 numbers for 2 models"},
        {HEAD(1) T("a", "1", ",\"c\":[1,NaN]"), "line 2: "},
        {HEAD(1) T("a", "1", ",\"c\":[1,\"2\"]"), "line 2: 'c' holds something that is no number"},
        {HEAD(1) T("a", "1", ",\"c\":[1,2],\"distance\":[1]"), "line 2: 'distance' has 1 numbers"},
        {HEAD(1) T("a", "1", ",\"c\":[1,2],\"cosine\":[[1,2]]"), "line 2: 'cosine' is 1 x 2"},
        {HEAD(1) T("a", "1", ",\"c\":[1,2],\"w\":[[1]]"), "line 2: 'w' must hold 2 lists"},
        {HEAD(1) T("a", "1", ",\"c\":[1,2],\"w\":[[1],[1,2]]"), "line 2: the lists of 'w' differ"},
        {HEAD(3) T("a", "1", ""), "ends after line 2: 1 of 3 tensors are there"},
        {HEAD(1) T("a", "1", "") T("a", "1", ""), "2 of 1 tensors are there"},
    };
    struct ig_sketch_summary *s;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_fails(sum_text(cases[i].text, &s), &err, IG_ERR_DATA, cases[i].message);
}

static void files_must_belong_together(void **state)
{
    (void)state;
    struct ig_sketch_summary *s;
    merge_fixtures("one", "linear");
    merge_fixtures("two", "yoyo_fusion");
    struct ig_buf text = scratch_read("two/ingot.json");
    scratch_write("one/ingot.json", text.data, text.len);
    check_fails(ig_sketch_sum(scratch("one"), &watch, &s, &err), &err, IG_ERR_DATA,
                "tells of another merge");
    scratch_write("one/ingot.json", "{", 1);
    check_fails(ig_sketch_sum(scratch("one"), &watch, &s, &err), &err, IG_ERR_DATA, "ingot.json");
    check_fails(ig_sketch_sum(scratch(""), &watch, &s, &err), &err, IG_ERR_DATA,
                "no sketchbook.jsonl");
    check_fails(ig_sketch_sum(scratch("nowhere"), &watch, &s, &err), &err, IG_ERR_IO, "nowhere");
    ig_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_are_those_of_the_lines),
                                       cmocka_unit_test(the_fixtures_have_their_figures),
                                       cmocka_unit_test(linear_shares_sum_to_one),
                                       cmocka_unit_test(experts_share_a_cell),
                                       cmocka_unit_test(what_is_not_finite_is_told),
                                       cmocka_unit_test(broken_lines_are_named),
                                       cmocka_unit_test(files_must_belong_together)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
