/* SPDX-License-Identifier: Apache-2.0
 * published — a published table, and what it allows one to conclude. */
#include "cli.h"
#include "compare.h"

#include <math.h>
#include <stdlib.h>

const char *cli_published_word(enum ig_verdict verdict)
{
    static const char *const words[] = {"-", "cannot be told", "better", "worse"};
    return words[verdict];
}

int cli_published_next(const struct ig_published *p, const char *table, int row)
{
    for (row++; row < p->row_count && strcmp(p->rows[row].table, table) != 0;)
        row++;
    return row;
}

bool cli_published_leads(const struct ig_published *p, int row)
{
    return cli_published_next(p, p->rows[row].table, -1) == row;
}

double *cli_published_best(const struct ig_published *p, const char *table)
{
    double *best = calloc((size_t)p->task_count + 1, sizeof *best);
    for (int t = 0; best && t <= p->task_count; t++) {
        int values = 0;
        best[t] = (double)NAN;
        for (int i = -1; (i = cli_published_next(p, table, i)) < p->row_count;) {
            const struct ig_published_row *row = &p->rows[i];
            bool mean = t == p->task_count;
            if (mean ? isnan(row->mean) : !row->values[t].present) continue;
            best[t] = fmax(best[t], mean ? row->mean : row->values[t].value);
            values++;
        }
        if (values < 2) best[t] = (double)NAN;
    }
    return best;
}

static void print_impossible(const struct ig_published *p, const char *table, bool markdown)
{
    for (int i = -1; (i = cli_published_next(p, table, i)) < p->row_count;)
        for (int t = 0; t < p->task_count; t++) {
            const struct ig_published_value *v = &p->rows[i].values[t];
            if (!v->impossible) continue;
            printf("%s? %s, %s: no number of right items of %lld gives %.*f: a --limit was used, "
                   "or it is mistyped\n",
                   markdown ? "\n" : "", p->rows[i].model, p->tasks[t], (long long)p->items[t],
                   v->digits, v->value);
        }
}

static void print_values(const struct ig_published *p, const char *table, bool markdown)
{
    struct cli_grid grid = {.columns = p->task_count + 2};
    double *bests = cli_published_best(p, table);
    bool marked = false;
    grid.failed = !bests;
    cli_grid_put(&grid, "model");
    for (int t = 0; t < p->task_count; t++)
        cli_grid_put(&grid, "%s", p->tasks[t]);
    cli_grid_put(&grid, "mean");
    for (int i = -1; bests && (i = cli_published_next(p, table, i)) < p->row_count;) {
        const struct ig_published_row *row = &p->rows[i];
        cli_grid_put(&grid, "%s", row->model);
        for (int t = 0; t < p->task_count; t++) {
            const struct ig_published_value *v = &row->values[t];
            bool best = v->value == bests[t];
            marked = marked || (v->present && best);
            if (v->present)
                cli_grid_put(&grid, "%.*f%s%s", v->digits, v->value, v->impossible ? "?" : "",
                             best ? "*" : "");
            else
                cli_grid_put(&grid, "-");
        }
        cli_grid_put(&grid, isnan(row->mean) ? "-" : "%.4f%s", row->mean,
                     row->mean == bests[p->task_count] ? "*" : "");
    }
    cli_grid_print(&grid, markdown);
    free(bests);
    print_impossible(p, table, markdown);
    if (marked)
        printf(markdown ? "\nBold: best of its column, which is no test.\n"
                        : "* best of its column, which is no test\n");
}

static void put_pair(struct cli_grid *grid, const char *name, int64_t items,
                     const struct ig_published_pair *pair)
{
    struct ig_buf words = {0};
    cli_grid_put(grid, "%s", name);
    cli_grid_put(grid, "%lld", (long long)items);
    cli_grid_put(grid, "%+.1f", 100 * pair->difference);
    cli_grid_put(grid, "%+.1f to %+.1f", 100 * pair->low, 100 * pair->high);
    cli_grid_put(grid, pair->p_holm < 0.0001 ? "<0.0001" : "%.4f", pair->p_holm);
    cli_grid_put(grid, "%.1f / %.1f / %.1f", 100 * pair->paired[0], 100 * pair->paired[1],
                 100 * pair->paired[2]);
    ig_published_verdict(pair, &words);
    cli_grid_put(grid, "%s", words.data ? words.data : "");
    ig_buf_release(&words);
}

static void print_row(const struct ig_published *p, const struct ig_published_row *row,
                      bool markdown)
{
    struct cli_grid grid = {.columns = 7};
    struct ig_buf words = {0};
    int64_t items = 0;
    ig_published_profile(p, (int)(row - p->rows), &words);
    printf(markdown ? "\n**%s** against **%s**\n\n" : "\n%s against %s\n", row->model,
           p->rows[row->baseline].model);
    if (!words.len) {
        printf("%s: no task in common\n", row->model);
        return;
    }
    cli_grid_put(&grid, "task");
    cli_grid_put(&grid, "items");
    cli_grid_put(&grid, "points");
    cli_grid_put(&grid, "95 %% interval");
    cli_grid_put(&grid, "p (Holm)");
    cli_grid_put(&grid, "paired at 3 / 6 / 12 %%");
    cli_grid_put(&grid, "verdict");
    for (int t = 0; t < p->task_count; t++) {
        items += p->items[t];
        if (row->pairs[t].verdict != IG_VERDICT_NONE)
            put_pair(&grid, p->tasks[t], p->items[t], &row->pairs[t]);
    }
    if (row->mean_pair.verdict != IG_VERDICT_NONE) put_pair(&grid, "mean", items, &row->mean_pair);
    cli_grid_print(&grid, markdown);
    printf(markdown ? "\n%s: %s\n" : "%s: %s\n", row->model, words.data ? words.data : "");
    ig_buf_release(&words);
}

void cli_published_print(const struct ig_published *p, bool markdown)
{
    for (int i = 0; i < p->row_count; i++) {
        const char *table = p->rows[i].table;
        if (!cli_published_leads(p, i)) continue;
        if (i) putchar('\n');
        if (*table) printf(markdown ? "### %s\n\n" : "== %s ==\n", table);
        print_values(p, table, markdown);
        for (int k = -1; (k = cli_published_next(p, table, k)) < p->row_count;)
            if (p->rows[k].baseline != k) print_row(p, &p->rows[k], markdown);
    }
    printf("\nFrom numbers alone the answers cannot be paired, so intervals are those of two "
           "independent samples of all items.\n\"paired at\": the differences in points that the "
           "same runs, compared item by item, would find if 3, 6 or 12 %% of the items changed "
           "side: each task by itself, before Holm's adjustment.\n");
}

/* ---- JSON ---- */

/* Releases words. */
static void put_words(struct ig_json_writer *w, const char *key, struct ig_buf *words)
{
    ig_json_key(w, key);
    ig_json_put_text(w, ig_buf_view(words));
    ig_buf_release(words);
}

static void put_pair_json(struct ig_json_writer *w, const char *name,
                          const struct ig_published_pair *pair)
{
    struct ig_buf words = {0};
    ig_published_verdict(pair, &words);
    ig_json_open(w, '{');
    ig_json_add_text(w, "task", name);
    ig_json_add_text(w, "verdict", cli_published_word(pair->verdict));
    put_words(w, "words", &words);
    ig_json_add_real(w, "difference", pair->difference);
    ig_json_add_real(w, "low", pair->low);
    ig_json_add_real(w, "high", pair->high);
    ig_json_add_real(w, "p", pair->p);
    ig_json_add_real(w, "p_holm", pair->p_holm);
    ig_json_key(w, "paired");
    ig_json_open(w, '[');
    for (int i = 0; i < 3; i++)
        ig_json_put_real(w, pair->paired[i]);
    ig_json_close(w, ']');
    ig_json_close(w, '}');
}

static void put_row_json(struct ig_json_writer *w, const struct ig_published *p, int index)
{
    const struct ig_published_row *row = &p->rows[index];
    ig_json_open(w, '{');
    ig_json_add_text(w, "table", row->table);
    ig_json_add_text(w, "model", row->model);
    ig_json_add_real(w, "mean", row->mean);
    ig_json_key(w, "values");
    ig_json_open(w, '{');
    for (int t = 0; t < p->task_count; t++)
        if (row->values[t].present) ig_json_add_real(w, p->tasks[t], row->values[t].value);
    ig_json_close(w, '}');
    ig_json_key(w, "impossible");
    ig_json_open(w, '[');
    for (int t = 0; t < p->task_count; t++)
        if (row->values[t].impossible) ig_json_put_text(w, ig_slice_of(p->tasks[t]));
    ig_json_close(w, ']');
    if (row->baseline != index) {
        ig_json_add_text(w, "baseline", p->rows[row->baseline].model);
        struct ig_buf words = {0};
        ig_published_profile(p, index, &words);
        put_words(w, "profile", &words);
        ig_json_key(w, "pairs");
        ig_json_open(w, '[');
        for (int t = 0; t < p->task_count; t++)
            if (row->pairs[t].verdict != IG_VERDICT_NONE)
                put_pair_json(w, p->tasks[t], &row->pairs[t]);
        if (row->mean_pair.verdict != IG_VERDICT_NONE) put_pair_json(w, "mean", &row->mean_pair);
        ig_json_close(w, ']');
    }
    ig_json_close(w, '}');
}

void cli_published_json(const struct ig_published *p, struct ig_json_writer *w)
{
    ig_json_open(w, '{');
    ig_json_key(w, "items");
    ig_json_open(w, '{');
    for (int t = 0; t < p->task_count; t++) {
        ig_json_add_int(w, p->tasks[t], p->items[t]);
    }
    ig_json_close(w, '}');
    ig_json_key(w, "rows");
    ig_json_open(w, '[');
    for (int i = 0; i < p->row_count; i++)
        put_row_json(w, p, i);
    ig_json_close(w, ']');
    ig_json_close(w, '}');
}
