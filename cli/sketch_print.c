/* SPDX-License-Identifier: Apache-2.0
 * sketch_print — a merge's summary on a terminal. Names are foreign: control bytes are shown. */
#include "cli.h"
#include "compare.h"
#include "sketch.h"

/* A cell of foreign text. */
static void put_foreign(struct cli_grid *grid, const char *text)
{
    struct ig_buf clean = {0};
    cli_compare_clean(ig_slice_of(text), &clean);
    cli_grid_put(grid, "%s", clean.data ? clean.data : "");
    ig_buf_release(&clean);
}

static void put_number(struct cli_grid *grid, double value)
{
    char text[24];
    cli_grid_put(grid, "%s", cli_sketch_number(value, text));
}

static bool has_center(const struct ig_sketch_summary *s)
{
    return s->all.center.count > 0;
}

static void put_heads(const struct ig_sketch_summary *s, struct cli_grid *grid)
{
    for (int i = 0; i < s->input_count; i++)
        put_foreign(grid, s->inputs[i]);
    if (has_center(s)) cli_grid_put(grid, "centre");
    for (int m = 0; m < IG_SKETCH_MEASURES; m++)
        if (cli_sketch_shows(s, (enum ig_sketch_measure)m))
            cli_grid_put(grid, "%s", ig_sketch_measure_name((enum ig_sketch_measure)m));
}

static void put_pool(const struct ig_sketch_summary *s, struct cli_grid *grid,
                     const struct ig_sketch_pool *pool)
{
    cli_grid_put(grid, "%lld", (long long)pool->tensors);
    for (int i = 0; i < s->input_count; i++)
        put_number(grid, ig_sketch_mean(&pool->share[i]));
    if (has_center(s)) put_number(grid, ig_sketch_mean(&pool->center));
    for (int m = 0; m < IG_SKETCH_MEASURES; m++)
        if (cli_sketch_shows(s, (enum ig_sketch_measure)m))
            put_number(grid, ig_sketch_mean(&pool->measure[m]));
}

static void print_groups(const struct ig_sketch_summary *s)
{
    struct cli_grid grid = {0};
    cli_grid_put(&grid, "layers");
    cli_grid_put(&grid, "module");
    cli_grid_put(&grid, "tensors");
    put_heads(s, &grid);
    grid.columns = grid.count;
    for (int part = 0; part < IG_SKETCH_PARTS; part++)
        for (int role = 0; role < IG_ROLE_COUNT; role++) {
            const struct ig_sketch_pool *pool = &s->groups[part][role];
            if (!pool->tensors || part == IG_SKETCH_ALL) continue;
            cli_grid_put(&grid, "%s", ig_sketch_part_name((enum ig_sketch_part)part));
            cli_grid_put(&grid, "%s", ig_role_name((enum ig_role)role));
            put_pool(s, &grid, pool);
        }
    cli_grid_put(&grid, "all");
    cli_grid_put(&grid, "%s", "");
    put_pool(s, &grid, &s->all);
    cli_grid_print(&grid, false);
}

static void print_marks(const struct ig_sketch_summary *s, enum ig_sketch_list list)
{
    bool whose = s->marks[list][0].input >= 0;
    struct cli_grid grid = {.columns = whose ? 3 : 2};
    if (!s->mark_count[list]) return;
    cli_grid_put(&grid, "%s", cli_sketch_list_title(s, list));
    cli_grid_put(&grid, "value");
    if (whose) cli_grid_put(&grid, "model");
    for (int i = 0; i < s->mark_count[list]; i++) {
        const struct ig_sketch_mark *mark = &s->marks[list][i];
        put_foreign(&grid, mark->name);
        put_number(&grid, mark->value);
        if (whose) put_foreign(&grid, cli_sketch_whose(s, mark));
    }
    putchar('\n');
    cli_grid_print(&grid, false);
    if (list == IG_SKETCH_OUTSIDE && s->outside > s->mark_count[list])
        printf("and %lld more\n", (long long)s->outside - s->mark_count[list]);
}

void cli_sketch_print(const struct ig_sketch_summary *s)
{
    struct ig_buf line = {0};
    cli_sketch_headline(s, &line);
    cli_compare_foreign(ig_buf_view(&line), "");
    printf("\n\n");
    ig_buf_release(&line);
    print_groups(s);
    for (int list = 0; list < IG_SKETCH_LISTS; list++)
        print_marks(s, (enum ig_sketch_list)list);
    if (s->all.measure[IG_SKETCH_ENERGY].count && !cli_sketch_shows(s, IG_SKETCH_ENERGY))
        printf("\nthe energy of every direction was kept\n");
}

void cli_sketch_print_shares(const struct ig_sketch_summary *s)
{
    struct cli_grid grid = {0};
    cli_grid_put(&grid, "layers");
    cli_grid_put(&grid, "tensors");
    for (int i = 0; i < s->input_count; i++)
        put_foreign(&grid, s->inputs[i]);
    grid.columns = grid.count;
    for (int part = 0; part < IG_SKETCH_ALL; part++) {
        const struct ig_sketch_pool *pool = &s->groups[part][IG_ROLE_COUNT];
        if (!pool->tensors) continue;
        cli_grid_put(&grid, "%s", ig_sketch_part_name((enum ig_sketch_part)part));
        cli_grid_put(&grid, "%lld", (long long)pool->tensors);
        for (int i = 0; i < s->input_count; i++)
            put_number(&grid, ig_sketch_mean(&pool->share[i]));
    }
    cli_grid_print(&grid, false);
}
