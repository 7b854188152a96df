/* SPDX-License-Identifier: Apache-2.0
 * sketch_page — a merge's summary as an HTML page: merge's structs into report's. */
#include "cli.h"
#include "ingot/report.h"
#include "sketch.h"

#include <stdarg.h>
#include <stdlib.h>

#define CENTER    IG_SKETCH_INPUTS_MAX
#define FACTS_MAX (IG_SKETCH_INPUTS_MAX + IG_SKETCH_MEASURES + 8)

/* Texts live until the page is written. */
struct page {
    const struct ig_sketch_summary *s;
    struct ig_report *report;
    char **texts;
    int count, room;
    int *columns; /* kinds that are part of layers */
    int column_count;
    struct ig_report_grid grid;
    bool failed;
};

static const char *keep(struct page *page, char *text)
{
    if (page->count == page->room) {
        int room = page->room ? page->room * 2 : 64;
        char **texts = realloc(page->texts, (size_t)room * sizeof *texts);
        if (!texts) {
            free(text);
            text = NULL;
        } else {
            page->texts = texts;
            page->room = room;
        }
    }
    if (!text) {
        page->failed = true;
        return "";
    }
    page->texts[page->count++] = text;
    return text;
}

static const char *format(struct page *page, const char *pattern, ...) IG_PRINTF(2, 3);
static const char *format(struct page *page, const char *pattern, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, pattern);
    if (vasprintf(&text, pattern, args) < 0) text = NULL;
    va_end(args);
    return keep(page, text);
}

static void *new_array(struct page *page, size_t count, size_t size)
{
    void *array = calloc(count + 1, size);
    if (!array) page->failed = true;
    return array;
}

static const char *number(struct page *page, double value)
{
    char text[24];
    return format(page, "%s", cli_sketch_number(value, text));
}

/* ---- a cell's numbers ---- */

static const char *measure_title(enum ig_sketch_measure measure)
{
    static const char *const titles[] = {"1 \xE2\x88\x92 cosine of the inputs",
                                         "Distance to the centre",
                                         "Energy in the first direction",
                                         "Rejected",
                                         "Agreement",
                                         "Energy kept",
                                         "Elements kept"};
    return titles[measure];
}

static const char *spread_text(struct page *page, const struct ig_sketch_spread *s)
{
    char mean[24], low[24], high[24];
    cli_sketch_number(ig_sketch_mean(s), mean);
    if (s->count < 2) return format(page, "%s", mean);
    return format(page, "%s (%s to %s)", mean, cli_sketch_number(s->low, low),
                  cli_sketch_number(s->high, high));
}

static void add_fact(struct page *page, struct ig_report_detail *detail,
                     struct ig_report_fact *facts, const char *name,
                     const struct ig_sketch_spread *spread)
{
    if (!spread->count || detail->count == FACTS_MAX) return;
    facts[detail->count++] = (struct ig_report_fact){name, spread_text(page, spread)};
}

static int put_detail(struct page *page, const struct ig_sketch_cell *cell)
{
    const struct ig_sketch_summary *s = page->s;
    const struct ig_sketch_pool *p = &cell->pool;
    struct ig_report_fact facts[FACTS_MAX];
    struct ig_buf words = {0}, spectrum = {0};
    cli_sketch_words(s, cell, &words);
    struct ig_report_detail detail = {
        .title = cell->name, .text = words.data ? words.data : "", .facts = facts};
    if (p->tensors > 1)
        detail.title = format(page, "layer %d, %lld x %s", cell->layer, (long long)p->tensors,
                              s->kinds[cell->kind].name);
    for (int i = 0; i < s->input_count; i++)
        add_fact(page, &detail, facts, format(page, "Share of %s", s->inputs[i]), &p->share[i]);
    add_fact(page, &detail, facts, "Share of the centre", &p->center);
    for (int m = 0; m < IG_SKETCH_MEASURES; m++)
        add_fact(page, &detail, facts, measure_title((enum ig_sketch_measure)m), &p->measure[m]);
    for (int i = 0; i < IG_SKETCH_DIRECTIONS_MAX && p->energy[i] > 0; i++)
        ig_buf_printf(&spectrum, "%s%.3f", i ? ", " : "", p->energy[i] / (double)p->energy_count);
    if (spectrum.len && detail.count < FACTS_MAX)
        facts[detail.count++] = (struct ig_report_fact){"Energy by direction", spectrum.data};
    if (p->tensors > 1 && p->measure[IG_SKETCH_APART].count && detail.count < FACTS_MAX)
        facts[detail.count++] = (struct ig_report_fact){"Inputs farthest apart in", cell->name};
    page->failed = page->failed || words.failed || spectrum.failed;
    int id = ig_report_detail(page->report, &detail);
    ig_buf_release(&words);
    ig_buf_release(&spectrum);
    return id;
}

static const struct ig_sketch_cell *cell_at(const struct page *page, int layer, int column)
{
    return page->s->cells[(layer + 1) * page->s->kind_count + page->columns[column]];
}

static void make_grid(struct page *page)
{
    const struct ig_sketch_summary *s = page->s;
    page->columns = new_array(page, (size_t)s->kind_count, sizeof *page->columns);
    for (int k = 0; page->columns && k < s->kind_count; k++)
        if (s->kinds[k].layered) page->columns[page->column_count++] = k;
    size_t cells = (size_t)s->layers * (size_t)page->column_count;
    const char **rows = new_array(page, (size_t)s->layers, sizeof *rows);
    const char **columns = new_array(page, (size_t)page->column_count, sizeof *columns);
    int *details = new_array(page, cells, sizeof *details);
    page->grid = (struct ig_report_grid){.rows = rows,
                                         .columns = columns,
                                         .row_count = s->layers,
                                         .column_count = page->column_count,
                                         .row_name = "layer",
                                         .details = details};
    if (page->failed) return;
    for (int r = 0; r < s->layers; r++)
        rows[r] = format(page, "%d", r);
    for (int c = 0; c < page->column_count; c++)
        columns[c] = s->kinds[page->columns[c]].name;
    for (int r = 0; r < s->layers; r++)
        for (int c = 0; c < page->column_count; c++) {
            const struct ig_sketch_cell *cell = cell_at(page, r, c);
            details[r * page->column_count + c] = cell ? put_detail(page, cell) : -1;
        }
}

/* ---- maps ---- */

/* Which number of a cell a map shows: an input's share, or a measure. */
struct choice {
    int input; /* -1: the measure; CENTER */
    enum ig_sketch_measure measure;
};

static const struct ig_sketch_spread *chosen(const struct ig_sketch_pool *pool, struct choice what)
{
    if (what.input == CENTER) return &pool->center;
    return what.input >= 0 ? &pool->share[what.input] : &pool->measure[what.measure];
}

/* NULL: out of memory. least and most: widened to hold the values; of shares, those from 0 to 1, so
 * that one beyond does not make all others pale. */
static double *map_values(struct page *page, struct choice what, double *least, double *most)
{
    size_t cells = (size_t)page->s->layers * (size_t)page->column_count;
    double *values = new_array(page, cells, sizeof *values);
    bool bounded = what.input >= 0 && !page->s->all.center.count;
    for (int i = 0; values && i < (int)cells; i++) {
        const struct ig_sketch_cell *cell =
            cell_at(page, i / page->column_count, i % page->column_count);
        values[i] = cell ? ig_sketch_mean(chosen(&cell->pool, what)) : (double)NAN;
        if (bounded && (values[i] < 0 || values[i] > 1)) continue;
        if (values[i] > *most) *most = values[i];
        if (values[i] < *least) *least = values[i];
    }
    return values;
}

/* Tenths that hold all values. Without a centre shares are to lie within 0 to 1. */
static void set_scale(struct ig_report_heat *map, double least, double most, bool bounded)
{
    map->low = floor(least * 10 + 1e-9) / 10;
    map->high = ceil(most * 10 - 1e-9) / 10;
    if (bounded) map->low = fmin(0.9, fmax(0, map->low));
    if (bounded) map->high = fmin(1, map->high);
    map->high = fmax(map->low + 0.1, map->high);
}

static void put_share_maps(struct page *page)
{
    const struct ig_sketch_summary *s = page->s;
    bool center = s->all.center.count > 0;
    struct ig_report_heat *maps = new_array(page, (size_t)s->input_count + 1, sizeof *maps);
    double least = 1, most = center ? -1 : 0;
    int count = 0;
    for (int i = 0; maps && i < s->input_count; i++)
        maps[count++] = (struct ig_report_heat){
            .label = s->inputs[i],
            .note = center ? "share beside the centre's" : "share",
            .values = map_values(page, (struct choice){.input = i}, &least, &most),
            .unit = 1,
            .decimals = 2};
    for (int i = 0; i < count; i++)
        set_scale(&maps[i], least, most, !center);
    if (maps && center) {
        least = most = 1;
        maps[count] = (struct ig_report_heat){
            .label = "centre",
            .note = "share of the coordinate-wise median",
            .values = map_values(page, (struct choice){.input = CENTER}, &least, &most),
            .unit = 1,
            .decimals = 2};
        set_scale(&maps[count++], least, most, false);
    }
    if (!page->failed)
        ig_report_heats(page->report,
                        format(page,
                               "The share of every model in the output, by layer and module; "
                               "experts of a layer as their mean. Select a cell (click, or Tab and "
                               "arrow keys) to see its numbers and what they mean.%s",
                               center ? "" : " Orange: below 0 or above 1."),
                        &page->grid, maps, count);
    for (int i = 0; i < count; i++)
        free((void *)(uintptr_t)maps[i].values); /* ours */
    free(maps);
}

/* Shares of something go from 0 to 1; others from 0 to the largest, in the power of ten in which
 * that has two digits. */
static struct ig_report_heat measure_map(struct page *page, enum ig_sketch_measure measure)
{
    static const char *const notes[] = {"Mean over the pairs.",
                                        "The farthest input's distance, in lengths of the input.",
                                        "1: all difference lies along one direction.",
                                        "Share of the bisquare weights under a half.",
                                        "Mean bisquare weight; 1: no doubt.",
                                        "Of the residuals, in the directions kept.",
                                        "Share that sparsifying left of the deltas."};
    double least = 0, most = 0, unit = 1;
    bool is_share = measure != IG_SKETCH_APART && measure != IG_SKETCH_DISTANCE;
    double *values = map_values(page, (struct choice){-1, measure}, &least, &most);
    while (!is_share && most > 0 && most < 10 * unit && unit > 1e-12)
        unit /= 10;
    const char *note = notes[measure];
    return (struct ig_report_heat){
        .label = measure_title(measure),
        .note = is_share ? note : format(page, "%s In units of %g.", note, unit),
        .values = values,
        .high = is_share   ? 1
                : most > 0 ? most
                           : 1,
        .unit = unit,
        .decimals = is_share ? 2 : 1};
}

static void put_measure_maps(struct page *page, enum ig_sketch_measure first,
                             enum ig_sketch_measure last)
{
    const struct ig_sketch_summary *s = page->s;
    struct ig_report_heat maps[IG_SKETCH_MEASURES] = {0};
    int count = 0;
    for (int m = (int)first; m <= (int)last; m++) {
        enum ig_sketch_measure measure = (enum ig_sketch_measure)m;
        bool none = measure == IG_SKETCH_REJECTED && !(s->all.measure[m].high > 0);
        if (cli_sketch_shows(s, measure) && !none) maps[count++] = measure_map(page, measure);
    }
    if (!page->failed) ig_report_heats(page->report, "", &page->grid, maps, count);
    for (int i = 0; i < count; i++)
        free((void *)(uintptr_t)maps[i].values); /* ours */
}

/* What needs no map, because it is the same everywhere. */
static void put_plain_facts(struct page *page)
{
    const struct ig_sketch_spread *m = page->s->all.measure;
    if (m[IG_SKETCH_REJECTED].count && !(m[IG_SKETCH_REJECTED].high > 0))
        ig_report_paragraph(
            page->report, "Rejected: nothing. No bisquare weight is under a half, in any tensor.");
    if (m[IG_SKETCH_ENERGY].count && !cli_sketch_shows(page->s, IG_SKETCH_ENERGY))
        ig_report_paragraph(page->report,
                            "Energy kept: all of it, in every tensor. No direction was dropped.");
}

/* ---- spectra ---- */

/* Energy by direction, layer by layer, a plot for each kind of module. */
static void put_spectra(struct page *page)
{
    static const char *const names[] = {"1st direction", "2nd", "3rd", "4th",
                                        "5th",           "6th", "7th", "8th and more"};
    const struct ig_sketch_summary *s = page->s;
    int points = s->layers, series = IG_SKETCH_DIRECTIONS_MAX, count = 0;
    while (series > 1 && !(s->all.energy[series - 1] > 0))
        series--;
    size_t one = (size_t)points * (size_t)series;
    struct ig_report_line *plots = new_array(page, (size_t)page->column_count, sizeof *plots);
    double *values = new_array(page, one * (size_t)page->column_count, sizeof *values);
    for (int c = 0; !page->failed && c < page->column_count; c++) {
        const struct ig_sketch_kind *kind = &s->kinds[page->columns[c]];
        double *own = values + (size_t)count * one;
        int64_t seen = 0;
        for (int layer = 0; layer < points; layer++) {
            const struct ig_sketch_cell *cell = cell_at(page, layer, c);
            int64_t tensors = cell ? cell->pool.energy_count : 0;
            seen += tensors;
            for (int n = 0; n < series; n++)
                own[n * points + layer] =
                    tensors ? cell->pool.energy[n] / (double)tensors : (double)NAN;
        }
        if (seen) plots[count++] = (struct ig_report_line){kind->name, "", own};
    }
    const struct ig_report_line_axes axes = {
        names, series, points, "layer 0", format(page, "layer %d", points - 1), 0, 1};
    if (!page->failed)
        ig_report_lines(page->report,
                        "Spectra of the residuals: how much of what divides the models lies along "
                        "each direction (squared singular values, as shares).",
                        &axes, plots, count);
    free(plots);
    free(values);
}

/* ---- tables ---- */

struct cells {
    struct ig_report_cell *list;
    int count, room;
};

static void put(struct page *page, struct cells *cells, bool is_number, const char *text)
{
    if (cells->count == cells->room) {
        int room = cells->room ? cells->room * 2 : 128;
        struct ig_report_cell *list = realloc(cells->list, (size_t)room * sizeof *list);
        if (!list) {
            page->failed = true;
            return;
        }
        cells->list = list;
        cells->room = room;
    }
    cells->list[cells->count++] = (struct ig_report_cell){text, IG_REPORT_PLAIN, is_number};
}

static void finish(struct page *page, struct cells *cells, const char *caption, int columns)
{
    if (!page->failed && cells->count > columns)
        ig_report_table(page->report, caption, cells->list, cells->count / columns, columns);
    free(cells->list);
}

static int put_heads(struct page *page, struct cells *cells, const char *first, const char *second)
{
    const struct ig_sketch_summary *s = page->s;
    put(page, cells, false, first);
    if (second) put(page, cells, false, second);
    put(page, cells, true, "tensors");
    for (int i = 0; i < s->input_count; i++)
        put(page, cells, true, s->inputs[i]);
    if (s->all.center.count) put(page, cells, true, "centre");
    for (int m = 0; m < IG_SKETCH_MEASURES; m++)
        if (cli_sketch_shows(s, (enum ig_sketch_measure)m))
            put(page, cells, true, ig_sketch_measure_name((enum ig_sketch_measure)m));
    return cells->count;
}

static void put_pool(struct page *page, struct cells *cells, const struct ig_sketch_pool *pool)
{
    const struct ig_sketch_summary *s = page->s;
    put(page, cells, true, format(page, "%lld", (long long)pool->tensors));
    for (int i = 0; i < s->input_count; i++)
        put(page, cells, true, number(page, ig_sketch_mean(&pool->share[i])));
    if (s->all.center.count) put(page, cells, true, number(page, ig_sketch_mean(&pool->center)));
    for (int m = 0; m < IG_SKETCH_MEASURES; m++)
        if (cli_sketch_shows(s, (enum ig_sketch_measure)m))
            put(page, cells, true, number(page, ig_sketch_mean(&pool->measure[m])));
}

static void put_groups(struct page *page)
{
    const struct ig_sketch_summary *s = page->s;
    struct cells cells = {0};
    int columns = put_heads(page, &cells, "layers", "module");
    for (int part = 0; part < IG_SKETCH_ALL; part++)
        for (int role = 0; role < IG_ROLE_COUNT; role++) {
            if (!s->groups[part][role].tensors) continue;
            put(page, &cells, false, ig_sketch_part_name((enum ig_sketch_part)part));
            put(page, &cells, false, ig_role_name((enum ig_role)role));
            put_pool(page, &cells, &s->groups[part][role]);
        }
    put(page, &cells, false, "all");
    put(page, &cells, false, "");
    put_pool(page, &cells, &s->all);
    finish(page, &cells,
           "Means over tensors, each of the same weight. Shares are what the output is made of; "
           "they need not sum to 1 where the length is restored.",
           columns);
}

static void put_outside(struct page *page)
{
    const struct ig_sketch_summary *s = page->s;
    struct cells cells = {0};
    int columns = put_heads(page, &cells, "tensor", NULL);
    for (int k = 0; k < s->kind_count; k++) {
        if (!s->cells[k]) continue;
        put(page, &cells, false, s->kinds[k].name);
        put_pool(page, &cells, &s->cells[k]->pool);
    }
    finish(page, &cells, "Outside the layers", columns);
}

static void put_marks(struct page *page, enum ig_sketch_list list)
{
    const struct ig_sketch_summary *s = page->s;
    struct cells cells = {0};
    bool whose = s->marks[list][0].input >= 0;
    put(page, &cells, false, "value");
    if (whose) put(page, &cells, false, "model");
    put(page, &cells, false, "tensor"); /* last, and no head: it may need more than one line */
    for (int i = 0; i < s->mark_count[list]; i++) {
        const struct ig_sketch_mark *mark = &s->marks[list][i];
        put(page, &cells, false, number(page, mark->value));
        if (whose) put(page, &cells, false, cli_sketch_whose(s, mark));
        put(page, &cells, false, mark->name);
    }
    const char *title = cli_sketch_list_title(s, list);
    if (list == IG_SKETCH_OUTSIDE && s->outside > s->mark_count[list])
        title = format(page, "%s: the first %d of %lld", title, s->mark_count[list],
                       (long long)s->outside);
    finish(page, &cells, format(page, "%c%s", *title - 'a' + 'A', title + 1), whose ? 3 : 2);
}

/* ---- the page ---- */

static void put_about(struct page *page)
{
    const struct ig_sketch_summary *s = page->s;
    struct ig_buf line = {0};
    const char **items = new_array(page, (size_t)s->head->model_count, sizeof *items);
    cli_sketch_headline(s, &line);
    ig_report_paragraph(page->report, line.data ? line.data : "");
    for (int i = 0; items && i < s->head->model_count; i++)
        items[i] = s->head->models[i].path;
    if (items) ig_report_list(page->report, items, s->head->model_count);
    ig_report_fold_open(page->report, "The recipe");
    ig_report_code(page->report, s->head->recipe);
    ig_report_fold_close(page->report);
    page->failed = page->failed || line.failed;
    ig_buf_release(&line);
    free(items);
}

static void put_sections(struct page *page)
{
    const struct ig_sketch_summary *s = page->s;
    struct ig_report *r = page->report;
    put_about(page);
    ig_report_heading(r, 2, "How much of each model went in");
    put_groups(page);
    ig_report_heading(r, 2, "What stands out");
    for (int list = 0; list < IG_SKETCH_LISTS; list++)
        put_marks(page, (enum ig_sketch_list)list);
    if (s->input_count && !s->outside && !s->all.center.count)
        ig_report_paragraph(r, "No share lies below 0 or above 1.");
    if (s->input_count) ig_report_heading(r, 2, "Shares by layer and module");
    put_share_maps(page);
    put_outside(page);
    if (cli_sketch_shows(s, IG_SKETCH_APART) || cli_sketch_shows(s, IG_SKETCH_DISTANCE)) {
        ig_report_heading(r, 2, "How far the inputs lie apart");
        put_measure_maps(page, IG_SKETCH_APART, IG_SKETCH_DISTANCE);
    }
    if (!s->all.energy_count && !cli_sketch_shows(s, IG_SKETCH_KEPT)) return;
    ig_report_heading(r, 2, "What divides the inputs, and what was kept of it");
    if (s->all.energy_count) put_spectra(page);
    put_plain_facts(page);
    put_measure_maps(page, IG_SKETCH_FIRST, IG_SKETCH_KEPT);
}

bool cli_sketch_page(const struct ig_sketch_summary *s, const char *path, struct ig_err *err)
{
    struct page page = {.s = s, .report = ig_report_new("What the merge did", err)};
    if (!page.report) return false;
    make_grid(&page);
    if (!page.failed) put_sections(&page);
    bool ok = page.failed ? ig_err_nomem(err) : ig_report_write(page.report, path, err);
    for (int i = 0; i < page.count; i++)
        free(page.texts[i]);
    free(page.texts);
    free(page.columns);
    free((void *)(uintptr_t)page.grid.rows);
    free((void *)(uintptr_t)page.grid.columns);
    free((void *)(uintptr_t)page.grid.details);
    ig_report_free(page.report);
    return ok;
}
