/* SPDX-License-Identifier: Apache-2.0
 * sketch_memory — every allocation of a sketchbook's summary (read, sum up, draw) fails once: the
 * call says "out of memory", nothing leaks (ASan looks), and no page gets its name. */
#include "ingot/report.h"
#include "ingot/sketch.h"
#include "scratch.h"
#include "starve.h"

static void write_sketch(void)
{
    struct ig_buf text = {0};
    ig_buf_text(&text,
                "{\"ingot\":\"1\",\"method\":\"m\",\"recipe\":\"r\",\"models\":[{\"model\":\"a/x\","
                "\"identity\":\"1\"},{\"model\":\"b/x\",\"identity\":\"2\"}],\"tensors\":9}\n");
    for (int i = 0; i < 9; i++)
        ig_buf_printf(
            &text,
            "{\"tensor\":\"model.layers.%d.mlp.experts.%d.up_proj.weight\",\"shape\":[2,2],"
            "\"role\":\"mlp\",\"layer\":%d,\"cosine\":0.%d,\"c\":[1.5,-0.5],\"distance\":"
            "[1,0.%d],\"singular\":[2,1],\"w\":[[0.%d],[1]]}\n",
            i / 3, i, i / 3, i + 1, i + 1, i + 1);
    scratch_write("sketchbook.jsonl", text.data, text.len);
    ig_buf_release(&text);
}

static bool draw(const struct ig_sketch_summary *s, struct ig_err *err)
{
    struct ig_report *report = ig_report_new("page", err);
    if (!report) return false;
    const struct ig_report_fact fact = {"a", "b"};
    const struct ig_report_detail detail = {s->cells[1]->name, "t", &fact, 1};
    const int details[] = {ig_report_detail(report, &detail)};
    const char *const names[] = {s->kinds[0].name};
    const double value = ig_sketch_mean(&s->all.share[0]);
    const struct ig_report_grid grid = {names, names, 1, 1, "layer", details};
    const struct ig_report_heat heat = {s->inputs[0], "", &value, 0, 1, 1, 2};
    const struct ig_report_line_axes axes = {names, 1, 1, "0", "1", 0, 1};
    const struct ig_report_line line = {"a", "b", &value};
    ig_report_code(report, s->head->recipe);
    ig_report_heats(report, "c", &grid, &heat, 1);
    ig_report_lines(report, "c", &axes, &line, 1);
    bool ok = ig_report_write(report, scratch("page.html"), err);
    ig_report_free(report);
    return ok;
}

static bool live(struct ig_err *err)
{
    struct ig_sketch_summary *s;
    if (!ig_sketch_sum(scratch_dir, NULL, &s, err)) return false;
    bool ok = s->layers == 3 && s->kind_count == 1 && s->cells[1]->pool.tensors == 3 &&
              s->outside == 9 && s->mark_count[IG_SKETCH_FARTHEST] == IG_SKETCH_MARKS_MAX;
    if (!ok) ig_err_set(err, IG_ERR_BUG, "a failed allocation changed the result");
    ok = ok && draw(s, err);
    ig_sketch_free(s);
    return ok;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct ig_err err = {0};
    write_sketch();
    for (long allowed = 0;; allowed++) {
        unlink(scratch("page.html"));
        taken = 0;
        budget = allowed;
        bool ok = live(&err);
        budget = -1;
        assert_true(allowed < 5000);
        if (ok) break;
        if (err.code != IG_ERR_NOMEM) fail_msg("%ld allowed: %s", allowed, err.text);
    }
    assert_true(taken > 50);
    assert_true(ig_path_exists(scratch("page.html")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_allocation_may_fail)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
