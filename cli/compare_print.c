/* SPDX-License-Identifier: Apache-2.0
 * compare_print — scores, differences with their intervals, and what follows, in words. */
#include "cli.h"
#include "compare.h"

#include <math.h>

/* "0.031", "<0.0001". */
const char *cli_compare_p(double p, char out[16])
{
    if (isnan(p))
        snprintf(out, 16, "-");
    else if (p < 0.0001)
        snprintf(out, 16, "<0.0001");
    else
        snprintf(out, 16, p < 0.001 ? "%.4f" : "%.3f", p);
    return out;
}

/* ---- the scores ---- */

double cli_compare_best(const struct ig_comparison *c, int task)
{
    double best = -1;
    for (int i = 0; i < c->model_count; i++) {
        const struct ig_compare_model *m = &c->models[i];
        if (task < 0)
            best = fmax(best, m->mean.value);
        else if (m->scores[task].items)
            best = fmax(best, m->scores[task].value);
    }
    return best;
}

/* The metrics, in few words: what most tasks have, then the others by name. */
static void print_metrics(const struct ig_comparison *c, bool markdown)
{
    if (c->model_count > 1)
        printf(markdown ? "Bold: best of its column, which is no test; "
                        : "* best of its column, which is no test; ");
    for (int t = 0; t < c->task_count; t++) {
        bool said = false;
        for (int k = 0; k < t; k++)
            said = said || strcmp(c->tasks[k].metric, c->tasks[t].metric) == 0;
        if (said) continue;
        printf("%s%s:", t ? "; " : "", c->tasks[t].metric);
        for (int k = t; k < c->task_count; k++)
            if (strcmp(c->tasks[k].metric, c->tasks[t].metric) == 0)
                printf(" %s", c->tasks[k].name);
    }
    putchar('\n');
}

static void print_scores(const struct ig_comparison *c, bool markdown)
{
    struct cli_grid grid = {.columns = c->task_count + 2};
    double mean = cli_compare_best(c, -1);
    cli_grid_put(&grid, "model");
    for (int t = 0; t < c->task_count; t++)
        cli_grid_put(&grid, "%s", c->tasks[t].name);
    cli_grid_put(&grid, "mean of %d", c->mean_tasks);
    for (int i = 0; i < c->model_count; i++) {
        const struct ig_compare_model *m = &c->models[i];
        cli_grid_put(&grid, "%s", m->name);
        for (int t = 0; t < c->task_count; t++) {
            const struct ig_compare_score *s = &m->scores[t];
            if (s->items)
                cli_grid_put(&grid, "%.3f%s", s->value,
                             c->model_count < 2                   ? ""
                             : s->value == cli_compare_best(c, t) ? "*"
                             : markdown                           ? ""
                                                                  : " ");
            else
                cli_grid_put(&grid, "-");
        }
        if (isnan(m->mean.value))
            cli_grid_put(&grid, "-");
        else
            cli_grid_put(&grid, "%.3f%s", m->mean.value,
                         c->model_count > 1 && m->mean.value == mean ? "*" : "");
    }
    cli_grid_print(&grid, markdown);
    if (markdown) putchar('\n');
    print_metrics(c, markdown);
}

/* ---- a model against the baseline ---- */

/* Which way gold answers moved, when that holds; else only the p. */
static void put_margin(struct cli_grid *grid, const struct ig_compare_pair *pair)
{
    char p[16];
    const char *way = pair->margin_p_holm >= 0.05 ? "" : pair->margin_change < 0 ? "down " : "up ";
    if (pair->has_margin)
        cli_grid_put(grid, "%s%s", way, cli_compare_p(pair->margin_p_holm, p));
    else
        cli_grid_put(grid, "-");
}

static void put_pair(struct cli_grid *grid, const struct ig_comparison *c, int model, int task)
{
    const struct ig_compare_pair *p = &c->models[model].pairs[task];
    struct ig_buf words = {0};
    char a[16], b[16];
    cli_grid_put(grid, "%s", c->tasks[task].name);
    cli_grid_put(grid, "%lld", (long long)c->tasks[task].items);
    cli_grid_put(grid, "%lld", (long long)p->lost);
    cli_grid_put(grid, "%lld", (long long)p->gained);
    cli_grid_put(grid, "%+.1f", 100 * p->difference);
    cli_grid_put(grid, "%+.1f to %+.1f", 100 * p->low, 100 * p->high);
    cli_grid_put(grid, "%s", cli_compare_p(p->p, a));
    cli_grid_put(grid, "%s", cli_compare_p(p->p_holm, b));
    put_margin(grid, p);
    if (c->plan > 0) cli_grid_put(grid, "%.0f", p->planned);
    ig_compare_verdict(c, model, task, &words);
    cli_grid_put(grid, "%s", words.data ? words.data : "");
    ig_buf_release(&words);
}

static void put_mean(struct cli_grid *grid, const struct ig_comparison *c, int model)
{
    const struct ig_compare_mean *m = &c->models[model].mean;
    struct ig_buf words = {0};
    char p[16];
    int64_t items = 0;
    for (int t = 0; t < c->task_count; t++)
        items += c->models[model].pairs[t].verdict != IG_VERDICT_NONE ? c->tasks[t].items : 0;
    cli_grid_put(grid, "mean of %d", c->mean_tasks);
    cli_grid_put(grid, "%lld", (long long)items);
    cli_grid_put(grid, "%s", "");
    cli_grid_put(grid, "%s", "");
    cli_grid_put(grid, "%+.1f", 100 * m->difference);
    cli_grid_put(grid, "%+.1f to %+.1f", 100 * m->low, 100 * m->high);
    cli_grid_put(grid, "%s", cli_compare_p(m->p, p));
    cli_grid_put(grid, "%s", "");
    cli_grid_put(grid, "%s", "");
    if (c->plan > 0) cli_grid_put(grid, "%s", "");
    ig_compare_mean_verdict(c, model, &words);
    cli_grid_put(grid, "%s", words.data ? words.data : "");
    ig_buf_release(&words);
}

static void print_model(const struct ig_comparison *c, int model, bool markdown)
{
    struct cli_grid grid = {.columns = c->plan > 0 ? 11 : 10};
    const char *base = c->models[c->baseline].name, *name = c->models[model].name;
    printf(markdown ? "\n**%s** against **%s**\n\n" : "\n%s against %s\n", name, base);
    cli_grid_put(&grid, "task");
    cli_grid_put(&grid, "items");
    cli_grid_put(&grid, "lost");
    cli_grid_put(&grid, "gained");
    cli_grid_put(&grid, "points");
    cli_grid_put(&grid, "95 %% interval");
    cli_grid_put(&grid, "p");
    cli_grid_put(&grid, "p (Holm)");
    cli_grid_put(&grid, "margins");
    if (c->plan > 0) cli_grid_put(&grid, "items for %.3g points", 100 * c->plan);
    cli_grid_put(&grid, "verdict");
    for (int t = 0; t < c->task_count; t++)
        if (c->models[model].pairs[t].verdict != IG_VERDICT_NONE) put_pair(&grid, c, model, t);
    if (c->mean_tasks > 1) put_mean(&grid, c, model);
    cli_grid_print(&grid, markdown);
    printf(markdown ? "\n%s: %s\n" : "%s: %s\n", name, c->models[model].profile);
}

static void print_clusters(const struct ig_comparison *c)
{
    int said = 0;
    for (int t = 0; t < c->task_count; t++) {
        const struct ig_compare_task *task = &c->tasks[t];
        if (!task->cluster_word) continue;
        printf("%s%s %lld items, %lld by %s", said++ ? "; " : "counted together: ", task->name,
               (long long)task->items, (long long)task->clusters, task->cluster_word);
    }
    if (said) putchar('\n');
}

void cli_compare_print(const struct ig_comparison *c, bool markdown)
{
    print_scores(c, markdown);
    for (int i = 0; i < c->model_count; i++)
        if (i != c->baseline) print_model(c, i, markdown);
    if (c->model_count > 1) {
        putchar('\n');
        print_clusters(c);
    }
    for (int i = 0; i < c->note_count; i++)
        printf("%snote: %s\n", markdown ? "\n" : "", c->notes[i]);
}

/* ---- flips ---- */

/* Bytes of a character that steers a terminal or the direction of text: 0 for others. C1 controls
 * are C2 80 to C2 9F in UTF-8; U+202A to 202E and U+2066 to 2069 turn what follows around. */
static size_t steers(struct ig_slice text, size_t at)
{
    const unsigned char *c = (const unsigned char *)text.ptr + at;
    size_t left = text.len - at;
    if (c[0] < 0x20 || c[0] == 0x7F) return 1;
    if (left > 1 && c[0] == 0xC2 && c[1] < 0xA0) return 2;
    if (left < 3 || c[0] != 0xE2) return 0;
    bool turns = (c[1] == 0x80 && c[2] >= 0xAA && c[2] <= 0xAE) ||
                 (c[1] == 0x81 && c[2] >= 0xA6 && c[2] <= 0xA9);
    return turns ? 3 : 0;
}

void cli_compare_foreign(struct ig_slice text, const char *indent)
{
    for (size_t i = 0; i < text.len; i++) {
        size_t bytes = steers(text, i);
        if (text.ptr[i] == '\n') {
            printf("\n%s", indent);
            continue;
        }
        if (!bytes) putchar(text.ptr[i]);
        for (size_t k = 0; k < bytes; k++)
            printf("\\x%02x", (unsigned char)text.ptr[i + k]);
        if (bytes) i += bytes - 1;
    }
}

void cli_compare_clean(struct ig_slice text, struct ig_buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        size_t bytes = steers(text, i);
        if (!bytes) ig_buf_char(out, text.ptr[i]);
        for (size_t k = 0; k < bytes; k++)
            ig_buf_printf(out, "\\x%02x", (unsigned char)text.ptr[i + k]);
        if (bytes) i += bytes - 1;
    }
}

static bool print_flip(void *user, const struct ig_compare_flip *flip)
{
    const struct ig_comparison *c = user;
    const char *model = c->models[flip->model].name, *base = c->models[c->baseline].name;
    bool shared = flip->count > 0;
    printf("\n%s %s %s #%lld", model, flip->gained ? "gained" : "lost", flip->task,
           (long long)flip->doc);
    if (flip->has_margin) printf("  margin %+.3f, was %+.3f", flip->margin, flip->margin_base);
    putchar('\n');
    for (int i = 1; i < flip->count; i++)
        shared = shared && ig_slice_equal(flip->contexts[i], flip->contexts[0]);
    if (shared) {
        fputs("  ", stdout);
        cli_compare_foreign(flip->contexts[0], "  ");
        putchar('\n');
    }
    for (int i = 0; i < flip->count; i++) {
        printf("  %c ", i == flip->gold ? '+' : '-');
        if (!shared) cli_compare_foreign(flip->contexts[i], "    ");
        cli_compare_foreign(flip->choices[i], "    ");
        if (i == flip->pick) printf("  <- %s", model);
        if (i == flip->pick_base) printf("  <- %s", base);
        putchar('\n');
    }
    return true;
}

bool cli_compare_print_flips(const struct ig_comparison *c, struct ig_err *err)
{
    struct ig_comparison copy = *c;
    for (int i = 0; i < c->model_count; i++)
        if (i != c->baseline && !ig_compare_flips(c, i, -1, print_flip, &copy, err)) return false;
    return true;
}
