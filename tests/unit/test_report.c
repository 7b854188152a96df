/* SPDX-License-Identifier: Apache-2.0
 * report — foreign text stays text, whatever it holds; the page fetches nothing. */
#include "base/file.h"
#include "check.h"
#include "ingot/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct ig_err err;

static const char *const hostile[] = {"</script><script>alert(1)</script>",
                                      "\"><img src=x onerror=alert(1)>",
                                      "<!--",
                                      "]]>",
                                      "' onfocus='alert(1)",
                                      "&lt;b&gt;",
                                      "</details></main>",
                                      "\x1B[31m\x07\x7F",
                                      "\xC2\x85\xFF\xC3"};
#define HOSTILE (sizeof hostile / sizeof *hostile)

static void fill_maps(struct ig_report *r, const char *text)
{
    static const double values[] = {0.25, -1, 3, (double)NAN, 0.5, 1};
    const struct ig_report_fact fact = {text, text};
    const struct ig_report_detail detail = {text, text, &fact, 1};
    int first = ig_report_detail(r, &detail), second = ig_report_detail(r, &detail);
    const int details[] = {first, second, first, second, -1, first};
    const char *const names[] = {text, text, text};
    const struct ig_report_grid grid = {names, names, 2, 3, text, details};
    const struct ig_report_heat heat = {text, text, values, 0, 1, 1, 2};
    const struct ig_report_line_axes axes = {names, 2, 3, text, text, 0, 1};
    const struct ig_report_line line = {text, text, values};
    ig_report_heats(r, text, &grid, &heat, 1);
    ig_report_lines(r, text, &axes, &line, 1);
}

static void fill(struct ig_report *r, const char *text)
{
    const double before[] = {-1, 0, 1, 2}, after[] = {0, 0, 1, 4};
    struct ig_slice slice = ig_slice_of(text);
    const struct ig_report_cell cells[] = {{text, IG_REPORT_PLAIN, false},
                                           {text, IG_REPORT_PLAIN, true},
                                           {text, IG_REPORT_GOOD, false},
                                           {text, IG_REPORT_BEST, true}};
    const struct ig_report_interval interval = {text, text, -1, 0.5, 2, IG_REPORT_BAD};
    const struct ig_report_histogram plot = {text, text, before, after, 4};
    const struct ig_report_choice choice = {slice, slice, true, text};
    const struct ig_report_item item = {text,           text,  text,    text, text,
                                        IG_REPORT_GOOD, slice, &choice, 1};
    ig_report_heading(r, 2, text);
    ig_report_paragraph(r, text);
    ig_report_code(r, text);
    ig_report_list(r, &text, 1);
    ig_report_fold_open(r, text);
    ig_report_fold_close(r);
    ig_report_table(r, text, cells, 2, 2);
    ig_report_intervals(r, text, text, &interval, 1);
    ig_report_histograms(r, text, text, text, &plot, 1);
    ig_report_item(r, &item);
    fill_maps(r, text);
}

/* How often a mark stands in the page. */
static int count(const struct ig_buf *page, const char *mark)
{
    int found = 0;
    for (const char *at = page->data; (at = strstr(at, mark)); at++)
        found++;
    return found;
}

static struct ig_buf page_of(const char *text)
{
    struct ig_buf page = {0};
    struct ig_report *r = ig_report_new(text, &err);
    assert_non_null(r);
    fill(r, text);
    ig_report_items(r);
    check_ok(ig_report_text(r, &page, &err), &err);
    ig_report_free(r);
    return page;
}

/* The page of a hostile text has exactly the markup of the page of a plain one. */
static void foreign_text_is_no_markup(void **state)
{
    (void)state;
    static const char marks[] = "<>\"'";
    struct ig_buf plain = page_of("plain");
    for (size_t i = 0; i < HOSTILE; i++) {
        struct ig_buf page = page_of(hostile[i]);
        for (const char *mark = marks; *mark; mark++) {
            const char text[2] = {*mark, 0};
            if (count(&page, text) != count(&plain, text))
                fail_msg("'%s': %d of %s, want %d", hostile[i], count(&page, text), text,
                         count(&plain, text));
        }
        assert_int_equal(count(&page, "onerror=alert"), i == 1 ? count(&page, "x onerror=") : 0);
        for (size_t k = 0; k < page.len; k++) {
            unsigned char c = (unsigned char)page.data[k];
            assert_true((c >= 0x20 || c == '\n') && c != 0x7F && c != 0xFF);
        }
        ig_buf_release(&page);
    }
    ig_buf_release(&plain);
}

static void nothing_is_fetched(void **state)
{
    (void)state;
    struct ig_buf page = page_of("plain");
    static const char *const marks[] = {"http:", "https:", "src=", "url(", "@import"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        assert_int_equal(count(&page, marks[i]), 0);
    assert_true(count(&page, "href=") > 0);
    assert_int_equal(count(&page, "href="), count(&page, "href=\"#")); /* within the page */
    assert_int_equal(count(&page, "<script>"), 1);
    assert_int_equal(count(&page, "script-src 'sha256-"), 1);
    ig_buf_release(&page);
}

static void odd_numbers_are_drawn(void **state)
{
    (void)state;
    struct ig_buf page = {0};
    struct ig_report *r = ig_report_new("odd", &err);
    const double same[] = {0, 0, 0}, far[] = {1e300, -1e300, 0};
    const struct ig_report_interval rows[] = {{"a", "", 0, 0, 0, IG_REPORT_EVEN},
                                              {"b", "", -1e-9, 0, 1e-9, IG_REPORT_EVEN}};
    const struct ig_report_histogram plots[] = {{"a", "", same, same, 3}, {"b", "", far, same, 3}};
    assert_non_null(r);
    ig_report_intervals(r, "c", "u", rows, 2);
    ig_report_intervals(r, "c", "u", rows, 0);
    ig_report_histograms(r, "c", "x", "y", plots, 2);
    check_ok(ig_report_text(r, &page, &err), &err);
    assert_int_equal(count(&page, "nan"), 0);
    ig_buf_release(&page);
    ig_report_free(r);
}

/* Every cell leads to its numbers; what lies beyond the scale is marked; a hole is none. */
static void maps_lead_to_numbers(void **state)
{
    (void)state;
    struct ig_buf page = page_of("plain");
    assert_int_equal(count(&page, "id=\"c0\""), 1);
    assert_int_equal(count(&page, "id=\"c1\""), 1);
    assert_int_equal(count(&page, "href=\"#c0\""), 3);
    assert_int_equal(count(&page, "href=\"#c1\""), 2);
    assert_int_equal(count(&page, "class=\"hx\""), 2);
    assert_int_equal(count(&page, "class=\"h2\" href=\"#c0\">.25<"), 1);
    assert_int_equal(count(&page, ">\xE2\x88\x92"
                                  "1.00<"),
                     1);
    assert_int_equal(count(&page, "<td></td>"), 1);
    assert_int_equal(count(&page, "nan"), 0);
    ig_buf_release(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_text_is_no_markup), cmocka_unit_test(nothing_is_fetched),
        cmocka_unit_test(maps_lead_to_numbers), cmocka_unit_test(odd_numbers_are_drawn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
