/* SPDX-License-Identifier: Apache-2.0
 * published_page — published tables as an HTML page: what they allow one to conclude. */
#include "cli.h"
#include "compare.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

struct page {
    const struct ig_published *p;
    struct cli_cells cells;
};

/* ---- the numbers ---- */

static void put_values(struct page *page, const char *table)
{
    const struct ig_published *p = page->p;
    struct cli_cells *c = &page->cells;
    double *bests = cli_published_best(p, table);
    c->failed = c->failed || !bests;
    cli_cells_put(c, IG_REPORT_PLAIN, false, "model");
    for (int t = 0; t < p->task_count; t++)
        cli_cells_put(c, IG_REPORT_PLAIN, true, p->tasks[t]);
    cli_cells_put(c, IG_REPORT_PLAIN, true, "mean");
    for (int i = -1; bests && (i = cli_published_next(p, table, i)) < p->row_count;) {
        const struct ig_published_row *row = &p->rows[i];
        cli_cells_put(c, IG_REPORT_PLAIN, false, row->model);
        for (int t = 0; t < p->task_count; t++) {
            const struct ig_published_value *v = &row->values[t];
            bool best = v->present && v->value == bests[t];
            char text[48];
            snprintf(text, sizeof text, "%.*f%s", v->digits, v->value, v->impossible ? "?" : "");
            cli_cells_put(c, best ? IG_REPORT_BEST : IG_REPORT_PLAIN, true,
                          v->present ? text : "\xE2\x80\x93");
        }
        cli_cells_number(c, row->mean == bests[p->task_count] ? IG_REPORT_BEST : IG_REPORT_PLAIN,
                         "%.4f", row->mean);
    }
    cli_cells_table(c, "As published. A star marks the best of a column, which is no test.",
                    p->task_count + 2);
    free(bests);
}

static void put_impossible(struct page *page, const char *table)
{
    const struct ig_published *p = page->p;
    for (int i = -1; (i = cli_published_next(p, table, i)) < p->row_count;)
        for (int t = 0; t < p->task_count; t++) {
            const struct ig_published_value *v = &p->rows[i].values[t];
            if (!v->impossible) continue;
            char *text = cli_cells_text(
                &page->cells,
                "? %s, %s: no number of right items of %lld gives %.*f. Not all items were used, "
                "or the number is mistyped.",
                p->rows[i].model, p->tasks[t], (long long)p->items[t], v->digits, v->value);
            if (text) ig_report_paragraph(page->cells.report, text);
        }
    cli_cells_forget(&page->cells);
}

/* ---- one row against its baseline ---- */

static struct ig_report_interval interval(struct page *page, const char *label,
                                          const struct ig_published_pair *pair)
{
    double low = 100 * pair->low, middle = 100 * pair->difference, high = 100 * pair->high;
    return (struct ig_report_interval){
        .label = label,
        .text = cli_cells_text(&page->cells, "%+.1f (%+.1f to %+.1f)", middle, low, high),
        .low = low,
        .middle = middle,
        .high = high,
        .tone = cli_cells_tone(pair->verdict)};
}

static void put_plot(struct page *page, const char *caption, struct ig_report_interval *rows,
                     int count)
{
    if (!caption) page->cells.failed = true;
    if (!page->cells.failed)
        ig_report_intervals(page->cells.report, caption, "points", rows, count);
    cli_cells_forget(&page->cells);
}

static void put_intervals(struct page *page, const struct ig_published_row *row,
                          struct ig_report_interval *rows)
{
    const struct ig_published *p = page->p;
    int count = 0;
    for (int t = 0; t < p->task_count; t++)
        if (row->pairs[t].verdict != IG_VERDICT_NONE)
            rows[count++] = interval(page, p->tasks[t], &row->pairs[t]);
    if (row->mean_pair.verdict != IG_VERDICT_NONE && p->task_count > 1)
        rows[count++] = interval(page, "mean", &row->mean_pair);
    put_plot(page,
             cli_cells_text(&page->cells,
                            "Difference to %s in points, with 95 %% intervals of two independent "
                            "samples. Triangle: holds after Holm's adjustment; disc: cannot be "
                            "told.",
                            p->rows[row->baseline].model),
             rows, count);
}

static void put_pair(struct page *page, const char *name, int64_t items,
                     const struct ig_published_pair *pair)
{
    struct cli_cells *c = &page->cells;
    double share = ig_published_share(pair);
    bool same = pair->verdict == IG_VERDICT_SAME;
    char p[16], most[32] = "";
    if (same && share > 0) snprintf(most, sizeof most, "up to %.0f %%", 100 * share);
    cli_cells_put(c, IG_REPORT_PLAIN, false, name);
    cli_cells_put(c, cli_cells_tone(pair->verdict), false, cli_published_word(pair->verdict));
    cli_cells_number(c, IG_REPORT_PLAIN, "%.0f", (double)items);
    cli_cells_put(c, IG_REPORT_PLAIN, true, cli_compare_p(pair->p_holm, p));
    cli_cells_put(c, IG_REPORT_PLAIN, true, !same ? "" : share > 0 ? most : "never");
    for (int i = 0; i < 3; i++)
        cli_cells_number(c, IG_REPORT_PLAIN, "%.1f", 100 * pair->paired[i]);
}

static void put_pairs(struct page *page, const struct ig_published_row *row)
{
    static const char *const heads[] = {"task", "verdict", "items", "p (Holm)", "found if paired",
                                        "3 %",  "6 %",     "12 %"};
    const struct ig_published *p = page->p;
    int64_t items = 0;
    for (int i = 0; i < 8; i++)
        cli_cells_put(&page->cells, IG_REPORT_PLAIN, i > 1, heads[i]);
    for (int t = 0; t < p->task_count; t++) {
        items += p->items[t];
        if (row->pairs[t].verdict != IG_VERDICT_NONE)
            put_pair(page, p->tasks[t], p->items[t], &row->pairs[t]);
    }
    if (row->mean_pair.verdict != IG_VERDICT_NONE && p->task_count > 1)
        put_pair(page, "mean", items, &row->mean_pair);
    cli_cells_table(&page->cells, "What can be told, and what pairing would find", 8);
}

static void put_row(struct page *page, int index, struct ig_report_interval *rows)
{
    const struct ig_published *p = page->p;
    const struct ig_published_row *row = &p->rows[index];
    struct ig_buf words = {0};
    ig_published_profile(p, index, &words);
    char *title =
        cli_cells_text(&page->cells, "%s against %s", row->model, p->rows[row->baseline].model);
    char *said = cli_cells_text(&page->cells, "%c%s.",
                                words.len ? toupper((unsigned char)words.data[0]) : 'N',
                                words.len ? words.data + 1 : "o task in common");
    if (title) ig_report_heading(page->cells.report, 3, title);
    if (said) ig_report_paragraph(page->cells.report, said);
    bool told = words.len > 0;
    ig_buf_release(&words);
    cli_cells_forget(&page->cells);
    if (!told) return;
    put_intervals(page, row, rows);
    put_pairs(page, row);
}

/* ---- one task ---- */

static void put_task(struct page *page, const char *table, int task,
                     struct ig_report_interval *rows)
{
    const struct ig_published *p = page->p;
    int count = 0, base = 0;
    for (int i = -1; (i = cli_published_next(p, table, i)) < p->row_count;) {
        const struct ig_published_row *row = &p->rows[i];
        const struct ig_published_pair *pair = task < 0 ? &row->mean_pair : &row->pairs[task];
        if (row->baseline == i || pair->verdict == IG_VERDICT_NONE) continue;
        base = row->baseline;
        rows[count++] = interval(page, row->model, pair);
    }
    if (count)
        put_plot(page,
                 cli_cells_text(&page->cells, "%s: difference to %s",
                                task < 0 ? "mean" : p->tasks[task], p->rows[base].model),
                 rows, count);
}

static void put_tasks(struct page *page, const char *table, struct ig_report_interval *rows)
{
    ig_report_fold_open(page->cells.report, "The same intervals, task by task");
    for (int t = 0; t < page->p->task_count; t++)
        put_task(page, table, t, rows);
    if (page->p->task_count > 1) put_task(page, table, -1, rows);
    ig_report_fold_close(page->cells.report);
}

/* ---- the page ---- */

static void put_table(struct page *page, const char *table, struct ig_report_interval *rows)
{
    const struct ig_published *p = page->p;
    int compared = 0;
    if (*table) ig_report_heading(page->cells.report, 2, table);
    put_values(page, table);
    put_impossible(page, table);
    for (int i = -1; (i = cli_published_next(p, table, i)) < p->row_count;) {
        if (p->rows[i].baseline == i) continue;
        put_row(page, i, rows);
        compared++;
    }
    if (compared > 1) put_tasks(page, table, rows);
}

static void put_intro(struct page *page)
{
    struct ig_report *r = page->cells.report;
    ig_report_paragraph(
        r, "Without the answers item by item nothing can be paired, so these intervals are those "
           "of two independent samples of the full test sets (tasks: Newcombe; mean: normal), and "
           "p is adjusted over the tasks (Holm). The models answered the same items, so the truth "
           "is narrower, but by how much only the items tell.");
    ig_report_paragraph(
        r,
        "Found if paired: up to how many of a hundred items may change side for the difference "
        "to show when the same runs are compared item by item. 3 %, 6 %, 12 %: the least "
        "difference, in points, that would show if that share of them changed side. Both are of a "
        "task by itself, before Holm's adjustment.");
}

bool cli_published_page(const struct ig_published *p, const char *path, struct ig_err *err)
{
    struct page page = {.p = p,
                        .cells.report = ig_report_new("Comparison of published numbers", err)};
    struct ig_report *report = page.cells.report;
    if (!report) return false;
    int most = (p->row_count > p->task_count ? p->row_count : p->task_count) + 1;
    struct ig_report_interval *rows = calloc((size_t)most, sizeof *rows);
    page.cells.failed = !rows;
    put_intro(&page);
    for (int i = 0; rows && i < p->row_count; i++)
        if (cli_published_leads(p, i)) put_table(&page, p->rows[i].table, rows);
    bool ok = page.cells.failed ? ig_err_nomem(err) : ig_report_write(report, path, err);
    free(rows);
    cli_cells_release(&page.cells);
    ig_report_free(report);
    return ok;
}
