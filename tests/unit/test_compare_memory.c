/* SPDX-License-Identifier: Apache-2.0
 * compare_memory — every allocation of a comparison (read, test, tell, draw) fails once: the call
 * says "out of memory", nothing leaks (ASan looks), and no page gets its name. */
#include "ingot/compare.h"
#include "ingot/report.h"
#include "scratch.h"
#include "starve.h"

static void write_run(const char *name, bool right)
{
    char text[4096], path[128];
    struct ig_err err = {0};
    size_t len = 0;
    for (int i = 0; i < 6; i++)
        len += (size_t)snprintf(
            text + len, sizeof text - len,
            "{\"doc_id\": %d, \"doc\": {\"sentence\": \"a _ %d\", \"option1\": \"A\", \"option2\": "
            "\"B\"}, \"target\": \"0\", \"arguments\": [[\"a\", \" b\"], [\"a\", \" c\"]], "
            "\"filtered_resps\": [[\"%d\", \"False\"], [\"-2\", \"False\"]], \"acc\": %d}\n",
            i, i, right || i % 2 ? -1 : -3, right || i % 2);
    check_ok(ig_dir_make(scratch(name), &err), &err);
    snprintf(path, sizeof path, "%s/samples_winogrande_1.jsonl", name);
    scratch_write(path, text, len);
    snprintf(path, sizeof path, "%s/results_1.json", name);
    len = (size_t)snprintf(text, sizeof text, "{\"model_name\": \"x/%s\", \"n-shot\": {}}", name);
    scratch_write(path, text, len);
}

static bool draw_flip(void *user, const struct ig_compare_flip *flip)
{
    const struct ig_report_choice choice = {flip->contexts[0], flip->choices[0], true, "both"};
    const struct ig_report_item item = {"m",           flip->task,        "lost",  "t", "n",
                                        IG_REPORT_BAD, flip->contexts[0], &choice, 1};
    ig_report_item(user, &item);
    return true;
}

static bool draw(struct ig_comparison *c, struct ig_err *err)
{
    int64_t count;
    struct ig_report *report = ig_report_new("page", err);
    if (!report) return false;
    const struct ig_report_histogram plot = {"a", "b", ig_compare_margins(c, 0, 0, &count),
                                             ig_compare_margins(c, 1, 0, &count), 6};
    ig_report_paragraph(report, c->models[1].profile);
    ig_report_histograms(report, "c", "x", "y", &plot, 1);
    bool ok = ig_compare_flips(c, 1, -1, draw_flip, report, err);
    ig_report_items(report);
    ok = ok && ig_report_write(report, scratch("page.html"), err);
    ig_report_free(report);
    return ok;
}

static bool live(struct ig_err *err)
{
    struct ig_comparison *c;
    struct ig_published *p;
    const char *paths[] = {scratch("a"), scratch("b")};
    const struct ig_compare_job job = {
        .paths = paths, .path_count = 2, .rounds = 20, .threads = 1, .plan = 0.01};
    if (!ig_compare_open(&job, &c, err)) return false;
    bool ok = c->models[1].pairs[0].gained == 3 && c->tasks[0].clusters == 3;
    if (!ok) ig_err_set(err, IG_ERR_BUG, "a failed allocation changed the result");
    ok = ok && draw(c, err);
    ig_compare_close(c);
    if (!ok) return false;
    if (!ig_published_parse(ig_slice_of("model\tpiqa\na\t.5\nb\t.6\n"), NULL, &p, err))
        return false;
    ig_published_close(p);
    return true;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct ig_err err = {0};
    write_run("a", false);
    write_run("b", true);
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
    assert_true(taken > 100);
    assert_true(ig_path_exists(scratch("page.html")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_allocation_may_fail)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
