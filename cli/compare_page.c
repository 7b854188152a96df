/* SPDX-License-Identifier: Apache-2.0
 * compare_page — a comparison as an HTML page: eval's structs into report's. */
#include "cli.h"
#include "compare.h"
#include "ingot/report.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#define FLIPS_SHOWN_MAX 250 /* of one model and task on the page */

struct page {
    const struct ig_comparison *c;
    struct cli_cells cells;
    int model, task; /* whose flips are being read */
    int64_t shown, hidden;
};

/* ---- scores ---- */

static void put_scores(struct page *page)
{
    const struct ig_comparison *c = page->c;
    char head[32];
    cli_cells_put(&page->cells, IG_REPORT_PLAIN, false, "model");
    for (int t = 0; t < c->task_count; t++)
        cli_cells_put(&page->cells, IG_REPORT_PLAIN, true, c->tasks[t].name);
    snprintf(head, sizeof head, "mean of %d", c->mean_tasks);
    cli_cells_put(&page->cells, IG_REPORT_PLAIN, true, head);
    for (int i = 0; i < c->model_count; i++) {
        const struct ig_compare_model *m = &c->models[i];
        cli_cells_put(&page->cells, IG_REPORT_PLAIN, false, m->name);
        for (int t = 0; t < c->task_count; t++) {
            double best = cli_compare_best(c, t), value = m->scores[t].value;
            bool is_best = c->model_count > 1 && m->scores[t].items && value == best;
            cli_cells_number(&page->cells, is_best ? IG_REPORT_BEST : IG_REPORT_PLAIN, "%.3f",
                             m->scores[t].items ? value : (double)NAN);
        }
        bool is_best = c->model_count > 1 && m->mean.value == cli_compare_best(c, -1);
        cli_cells_number(&page->cells, is_best ? IG_REPORT_BEST : IG_REPORT_PLAIN, "%.3f",
                         m->mean.value);
    }
    cli_cells_table(&page->cells,
                    "Share of right answers. A star marks the best of a column, which is no test.",
                    c->task_count + 2);
}

/* ---- one model ---- */

static void put_intervals(struct page *page, int model)
{
    const struct ig_comparison *c = page->c;
    const struct ig_compare_model *m = &c->models[model];
    struct ig_report_interval *rows = calloc((size_t)c->task_count + 1, sizeof *rows);
    int count = 0;
    for (int t = 0; rows && t < c->task_count; t++) {
        const struct ig_compare_pair *p = &m->pairs[t];
        if (p->verdict == IG_VERDICT_NONE) continue;
        rows[count++] = (struct ig_report_interval){
            c->tasks[t].name,
            cli_cells_text(&page->cells, "%+.1f (%+.1f to %+.1f)", 100 * p->difference,
                           100 * p->low, 100 * p->high),
            100 * p->low,
            100 * p->difference,
            100 * p->high,
            cli_cells_tone(p->verdict)};
    }
    if (rows && c->mean_tasks > 1)
        rows[count++] = (struct ig_report_interval){
            cli_cells_text(&page->cells, "mean of %d", c->mean_tasks),
            cli_cells_text(&page->cells, "%+.1f (%+.1f to %+.1f)", 100 * m->mean.difference,
                           100 * m->mean.low, 100 * m->mean.high),
            100 * m->mean.low,
            100 * m->mean.difference,
            100 * m->mean.high,
            cli_cells_tone(m->mean.verdict)};
    const char *caption = cli_cells_text(
        &page->cells,
        "Difference to %s in points, with 95 %% intervals. Triangle: holds after Holm's "
        "adjustment; disc: not distinguishable.",
        c->models[c->baseline].name);
    page->cells.failed = page->cells.failed || !rows;
    if (!page->cells.failed)
        ig_report_intervals(page->cells.report, caption, "points", rows, count);
    free(rows);
    cli_cells_forget(&page->cells);
}

/* Which way gold answers moved, when that holds. */
static void put_margin_cell(struct page *page, const struct ig_compare_pair *p)
{
    char text[48], number[16];
    bool moved = p->has_margin && p->margin_p_holm<0.05, up = p->margin_change> 0;
    cli_compare_p(p->margin_p_holm, number);
    snprintf(text, sizeof text, "%s (p %s%s)",
             !moved ? "no shift found"
             : up   ? "up"
                    : "down",
             *number == '<' ? "" : "= ", number);
    cli_cells_put(&page->cells,
                  !moved ? IG_REPORT_EVEN
                  : up   ? IG_REPORT_GOOD
                         : IG_REPORT_BAD,
                  false, p->has_margin ? text : "none in the files");
}

static void put_pairs(struct page *page, int model)
{
    static const char *const heads[] = {"task",   "verdict", "items",    "lost",
                                        "gained", "p",       "p (Holm)", "margins (Holm)"};
    const struct ig_comparison *c = page->c;
    char number[16];
    for (int i = 0; i < 8; i++)
        cli_cells_put(&page->cells, IG_REPORT_PLAIN, i > 1 && i < 7, heads[i]);
    if (c->plan > 0) cli_cells_put(&page->cells, IG_REPORT_PLAIN, true, "items needed");
    for (int t = 0; t < c->task_count; t++) {
        const struct ig_compare_pair *p = &c->models[model].pairs[t];
        struct ig_buf words = {0};
        if (p->verdict == IG_VERDICT_NONE) continue;
        ig_compare_verdict(c, model, t, &words);
        cli_cells_put(&page->cells, IG_REPORT_PLAIN, false, c->tasks[t].name);
        cli_cells_put(&page->cells, cli_cells_tone(p->verdict), false,
                      words.data ? words.data : "");
        cli_cells_number(&page->cells, IG_REPORT_PLAIN, "%.0f", (double)c->tasks[t].items);
        cli_cells_number(&page->cells, IG_REPORT_PLAIN, "%.0f", (double)p->lost);
        cli_cells_number(&page->cells, IG_REPORT_PLAIN, "%.0f", (double)p->gained);
        cli_cells_put(&page->cells, IG_REPORT_PLAIN, true, cli_compare_p(p->p, number));
        cli_cells_put(&page->cells, IG_REPORT_PLAIN, true, cli_compare_p(p->p_holm, number));
        put_margin_cell(page, p);
        if (c->plan > 0) cli_cells_number(&page->cells, IG_REPORT_PLAIN, "%.0f", p->planned);
        ig_buf_release(&words);
    }
    cli_cells_table(&page->cells, "The tests behind the plot", c->plan > 0 ? 9 : 8);
}

static void put_margins(struct page *page, int model)
{
    const struct ig_comparison *c = page->c;
    struct ig_report_histogram *plots = calloc((size_t)c->task_count + 1, sizeof *plots);
    int count = 0;
    for (int t = 0; plots && t < c->task_count; t++) {
        int64_t items;
        const struct ig_compare_pair *p = &c->models[model].pairs[t];
        if (p->verdict == IG_VERDICT_NONE || !p->has_margin) continue;
        plots[count++] = (struct ig_report_histogram){
            .label = c->tasks[t].name,
            .note = cli_cells_text(&page->cells, "mean change %+.3f", p->margin_change),
            .before = ig_compare_margins(c, c->baseline, t, &items),
            .after = ig_compare_margins(c, model, t, &items),
            .count = items};
    }
    page->cells.failed = page->cells.failed || !plots;
    if (!page->cells.failed)
        ig_report_histograms(page->cells.report,
                             "Gold margins: the right answer's score less the best other's. Right "
                             "of 0 an item counts as right.",
                             c->models[c->baseline].name, c->models[model].name, plots, count);
    free(plots);
    cli_cells_forget(&page->cells);
}

/* ---- flips ---- */

static const char *picked_by(const struct page *page, const struct ig_compare_flip *flip,
                             int choice)
{
    bool here = flip->pick == choice, base = flip->pick_base == choice;
    return here && base ? "both"
           : here       ? page->c->models[flip->model].name
           : base       ? page->c->models[page->c->baseline].name
                        : "";
}

static bool put_flip(void *user, const struct ig_compare_flip *flip)
{
    struct page *page = user;
    struct ig_report_choice choices[IG_COMPARE_CHOICES_MAX];
    bool shared = flip->count > 0;
    if (page->shown == FLIPS_SHOWN_MAX) {
        page->hidden++;
        return true;
    }
    page->shown++;
    for (int i = 1; i < flip->count; i++)
        shared = shared && ig_slice_equal(flip->contexts[i], flip->contexts[0]);
    for (int i = 0; i < flip->count; i++)
        choices[i] =
            (struct ig_report_choice){shared ? (struct ig_slice){NULL, 0} : flip->contexts[i],
                                      flip->choices[i], i == flip->gold, picked_by(page, flip, i)};
    struct ig_report_item item = {
        .model = page->c->models[flip->model].name,
        .task = flip->task,
        .side = flip->gained ? "gained" : "lost",
        .title = cli_cells_text(&page->cells, "%s %s %s #%lld", page->c->models[flip->model].name,
                                flip->gained ? "gained" : "lost", flip->task, (long long)flip->doc),
        .note = flip->has_margin ? cli_cells_text(&page->cells, "margin %+.3f, was %+.3f",
                                                  flip->margin, flip->margin_base)
                                 : "",
        .tone = flip->gained ? IG_REPORT_GOOD : IG_REPORT_BAD,
        .context = shared ? flip->contexts[0] : (struct ig_slice){NULL, 0},
        .choices = choices,
        .count = flip->count};
    if (!page->cells.failed) ig_report_item(page->cells.report, &item);
    cli_cells_forget(&page->cells);
    return !page->cells.failed;
}

static bool put_flips(struct page *page, struct ig_err *err)
{
    const struct ig_comparison *c = page->c;
    int64_t hidden = 0;
    for (page->model = 0; page->model < c->model_count; page->model++) {
        for (int t = 0; page->model != c->baseline && t < c->task_count; t++) {
            page->shown = page->hidden = 0;
            if (!ig_compare_flips(c, page->model, t, put_flip, page, err)) return false;
            hidden += page->hidden;
        }
    }
    ig_report_heading(page->cells.report, 2, "Items that changed side");
    const char *note =
        hidden
            ? cli_cells_text(&page->cells,
                             "Of each model and task the first %d are here; %lld more are listed "
                             "by ingot compare --flips.",
                             FLIPS_SHOWN_MAX, (long long)hidden)
            : NULL;
    if (note) ig_report_paragraph(page->cells.report, note);
    cli_cells_forget(&page->cells);
    ig_report_items(page->cells.report);
    return true;
}

/* ---- the page ---- */

static void put_profile(struct page *page, const char *profile)
{
    if (!*profile) return;
    char *text =
        cli_cells_text(&page->cells, "%c%s.", toupper((unsigned char)*profile), profile + 1);
    if (text) ig_report_paragraph(page->cells.report, text);
    cli_cells_forget(&page->cells);
}

static void put_title(struct page *page, int model)
{
    const struct ig_comparison *c = page->c;
    char *text = cli_cells_text(&page->cells, "%s against %s", c->models[model].name,
                                c->models[c->baseline].name);
    if (text) ig_report_heading(page->cells.report, 2, text);
    cli_cells_forget(&page->cells);
}

static void put_intro(struct page *page)
{
    const struct ig_comparison *c = page->c;
    char *text = cli_cells_text(
        &page->cells,
        "%d models on %d task%s, item by item against %s. Differences are tested with McNemar's "
        "exact "
        "test (mid-p), adjusted over the tasks (Holm); the mean by a stratified paired bootstrap "
        "(%lld rounds, seed %llu). Items that belong together count as one.",
        c->model_count, c->task_count, c->task_count == 1 ? "" : "s", c->models[c->baseline].name,
        (long long)c->rounds, (unsigned long long)c->seed);
    if (text) ig_report_paragraph(page->cells.report, text);
    cli_cells_forget(&page->cells);
}

bool cli_compare_page(const struct ig_comparison *c, const char *path, struct ig_err *err)
{
    struct page page = {.c = c,
                        .cells.report = ig_report_new("Comparison of evaluation results", err)};
    struct ig_report *report = page.cells.report;
    if (!report) return false;
    put_intro(&page);
    put_scores(&page);
    ig_report_list(report, c->notes, c->note_count);
    for (int i = 0; i < c->model_count; i++) {
        if (i == c->baseline) continue;
        put_title(&page, i);
        put_profile(&page, c->models[i].profile);
        put_intervals(&page, i);
        put_pairs(&page, i);
        put_margins(&page, i);
    }
    bool ok = c->model_count < 2 || put_flips(&page, err);
    if (ok && page.cells.failed) ok = ig_err_nomem(err);
    ok = ok && ig_report_write(report, path, err);
    cli_cells_release(&page.cells);
    ig_report_free(report);
    return ok;
}
