/* SPDX-License-Identifier: Apache-2.0
 * compare_published — what a published table of accuracies allows one to conclude.
 *
 *     table<TAB>model<TAB>arc_challenge<TAB>..      (or without `table`: then all is one table)
 *     V       <TAB>A    <TAB>0.469        <TAB>..   (an empty cell, "-" or "n/a": not there)
 * Without the items two models' answers cannot be paired, so intervals are those of independent
 * samples (Newcombe). A value that no count of right items gives tells of a limit or a typing
 * error: of 500 items every share is a multiple of 0.002. */
#include "eval/compare/compare_internal.h"

#include "base/file.h"
#include "eval/compare/stats.h"
#include <math.h>
#include <stdlib.h>

#define TABLE_BYTES_MAX   ((size_t)1 << 24)
#define TABLE_COLUMNS_MAX 256
#define TABLE_ROWS_MAX    4096

/* The seven in full (docs/eval.md says which split). */
static const struct {
    const char *task;
    int64_t items;
} known[] = {{"arc_challenge", 1172}, {"arc_easy", 2376}, {"boolq", 3270},     {"hellaswag", 10042},
             {"openbookqa", 500},     {"piqa", 1838},     {"winogrande", 1267}};
static const double discordant[3] = {0.03, 0.06, 0.12};

struct published {
    struct ig_published shown;
    struct ig_arena arena;
    const char **tasks;
    int64_t *items;
    struct ig_published_row *rows;
    struct ig_published_pair **pairs; /* of each row, one a task */
    int first; /* column of the first task: 1, or 2 where there is a column `table` */
    int columns;
};

/* ---- cells ---- */

/* Cells of one line; the count, or -1 for too many. */
static int split(struct ig_slice line, struct ig_slice *cells)
{
    int count = 0;
    for (;;) {
        const char *tab = line.len ? memchr(line.ptr, '\t', line.len) : NULL;
        size_t len = tab ? (size_t)(tab - line.ptr) : line.len;
        if (count == TABLE_COLUMNS_MAX) return -1;
        struct ig_slice cell = {line.ptr, len};
        while (cell.len && (cell.ptr[0] == ' '))
            cell = (struct ig_slice){cell.ptr + 1, cell.len - 1};
        while (cell.len && (cell.ptr[cell.len - 1] == ' ' || cell.ptr[cell.len - 1] == '\r'))
            cell.len--;
        cells[count++] = cell;
        if (!tab) return count;
        line = ig_slice_make(tab + 1, line.len - len - 1);
    }
}

static bool impossible(double value, int digits, int64_t items)
{
    double half = 0.5 * pow(10, -digits) * (1 + 1e-9), n = (double)items;
    double nearest = round(value * n) / n;
    return items > 0 && fabs(nearest - value) > half;
}

static bool read_value(struct ig_slice cell, int64_t items, struct ig_published_value *out,
                       struct ig_err *err)
{
    char text[32], *end;
    if (cell.len == 0 || ig_slice_is(cell, "-") || ig_slice_is(cell, "n/a")) return true;
    bool plain = cell.len < sizeof text;
    for (size_t i = 0; plain && i < cell.len; i++)
        plain = cell.ptr[i] && strchr("0123456789.", cell.ptr[i]);
    if (plain) {
        memcpy(text, cell.ptr, cell.len);
        text[cell.len] = 0;
        out->value = strtod(text, &end);
        plain = !*end;
    }
    if (!plain)
        return ig_err_set(err, IG_ERR_DATA, "'" IG_SLICE_FMT "' is no accuracy",
                          IG_SLICE_ARG(cell));
    if (out->value > 1)
        return ig_err_set(err, IG_ERR_DATA,
                          "'%s' is more than 1: accuracies are shares, 0.469 and not 46.9", text);
    const char *point = strchr(text, '.');
    out->digits = point ? (int)strlen(point + 1) : 0;
    out->present = true;
    out->impossible = impossible(out->value, out->digits, items);
    return true;
}

/* ---- the table ---- */

static bool read_head(struct published *p, struct ig_slice line, struct ig_err *err)
{
    struct ig_slice cells[TABLE_COLUMNS_MAX];
    int count = split(line, cells);
    if (count < 0) return ig_err_set(err, IG_ERR_DATA, "more than %d columns", TABLE_COLUMNS_MAX);
    p->columns = count;
    p->first = ig_slice_is(cells[0], "table") ? 2 : 1;
    if (count <= p->first || !ig_slice_is(cells[p->first - 1], "model"))
        return ig_err_set(err, IG_ERR_DATA, "the head must be [table] model TASK.., split by tabs");
    p->shown.task_count = count - p->first;
    p->tasks = ig_arena_array(&p->arena, (size_t)count, sizeof *p->tasks);
    p->items = ig_arena_array(&p->arena, (size_t)count, sizeof *p->items);
    if (!p->tasks || !p->items) return ig_err_nomem(err);
    for (int t = 0; t < p->shown.task_count; t++) {
        struct ig_slice name = cells[p->first + t];
        if (!name.len)
            return ig_err_set(err, IG_ERR_DATA, "column %d has no name", p->first + t + 1);
        p->tasks[t] = eval__clean_copy(&p->arena, name);
        if (!p->tasks[t]) return ig_err_nomem(err);
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (ig_slice_is(name, known[k].task)) p->items[t] = known[k].items;
    }
    return true;
}

static bool read_row(struct published *p, struct ig_slice line, struct ig_err *err)
{
    struct ig_slice cells[TABLE_COLUMNS_MAX];
    int count = split(line, cells), tasks = p->shown.task_count;
    if (count != p->columns)
        return ig_err_set(err, IG_ERR_DATA, "%d cells, the head has %d", count, p->columns);
    if (p->shown.row_count == TABLE_ROWS_MAX)
        return ig_err_set(err, IG_ERR_DATA, "more than %d rows", TABLE_ROWS_MAX);
    struct ig_published_value *values = ig_arena_array(&p->arena, (size_t)tasks, sizeof *values);
    struct ig_published_pair *pairs = ig_arena_array(&p->arena, (size_t)tasks, sizeof *pairs);
    const char *table = p->first == 2 ? eval__clean_copy(&p->arena, cells[0]) : "";
    const char *model = eval__clean_copy(&p->arena, cells[p->first - 1]);
    if (!values || !pairs || !table || !model) return ig_err_nomem(err);
    struct ig_published_row *row = &p->rows[p->shown.row_count];
    p->pairs[p->shown.row_count] = pairs;
    *row =
        (struct ig_published_row){.table = table, .model = model, .values = values, .pairs = pairs};
    for (int t = 0; t < tasks; t++) {
        if (!read_value(cells[p->first + t], p->items[t], &values[t], err))
            return ig_err_within(err, "%s", p->tasks[t]);
        row->mean += values[t].present ? values[t].value / tasks : (double)NAN;
    }
    p->shown.row_count++;
    return true;
}

static bool read_lines(struct published *p, struct ig_slice text, struct ig_err *err)
{
    bool head = false;
    for (int number = 1; text.len; number++) {
        const char *end = memchr(text.ptr, '\n', text.len);
        struct ig_slice line = {text.ptr, end ? (size_t)(end - text.ptr) : text.len};
        size_t step = line.len + (end != NULL);
        text = ig_slice_make(text.ptr + step, text.len - step);
        if (line.len == 0 || line.ptr[0] == '#' || ig_slice_is(line, "\r")) continue;
        if (!(head ? read_row(p, line, err) : read_head(p, line, err)))
            return ig_err_within(err, "line %d", number);
        head = true;
    }
    if (p->shown.row_count > 0) return true;
    return ig_err_set(err, IG_ERR_DATA, "no rows in it");
}

/* ---- conclusions ---- */

static bool find_baselines(struct published *p, const char *wish, struct ig_err *err)
{
    bool found = !wish;
    for (int i = 0; i < p->shown.row_count; i++) {
        p->rows[i].baseline = -1;
        for (int k = 0; k < p->shown.row_count; k++) {
            if (strcmp(p->rows[k].table, p->rows[i].table) != 0) continue;
            bool named = wish && strcmp(p->rows[k].model, wish) == 0;
            if (named || p->rows[i].baseline < 0) p->rows[i].baseline = k;
            found = found || named;
            if (named) break;
        }
    }
    if (found) return true;
    return ig_err_set(err, IG_ERR_USAGE, "no model '%s' in it to compare with", wish);
}

static void compare_value(double a, double b, double n, struct ig_published_pair *out)
{
    struct eval_interval interval = eval__newcombe(a, n, b, n);
    double pooled = (a + b) / 2, error = sqrt(pooled * (1 - pooled) * 2 / n);
    out->difference = b - a;
    out->low = interval.low;
    out->high = interval.high;
    out->p = error > 0 ? eval__normal_p((b - a) / error) : 1;
    for (int i = 0; i < 3; i++)
        out->paired[i] = EVAL_Z95 * sqrt(discordant[i] / n);
    out->verdict = IG_VERDICT_SAME;
}

static enum ig_verdict decide(double p, double difference)
{
    if (!(p < 0.05)) return IG_VERDICT_SAME;
    return difference > 0 ? IG_VERDICT_BETTER : IG_VERDICT_WORSE;
}

static void compare_means(const struct published *p, const struct ig_published_row *base,
                          const struct ig_published_row *row, struct ig_published_pair *out)
{
    double variance = 0, shares = 0, tasks = p->shown.task_count;
    if (isnan(base->mean) || isnan(row->mean)) return;
    for (int t = 0; t < p->shown.task_count; t++) {
        double a = base->values[t].value, b = row->values[t].value, n = (double)p->items[t];
        if (p->items[t] == 0) return;
        variance += (a * (1 - a) + b * (1 - b)) / n;
        shares += 1 / n;
    }
    double error = sqrt(variance) / tasks;
    out->difference = row->mean - base->mean;
    out->low = out->difference - EVAL_Z95 * error;
    out->high = out->difference + EVAL_Z95 * error;
    out->p = out->p_holm = error > 0 ? eval__normal_p(out->difference / error) : 1;
    for (int i = 0; i < 3; i++)
        out->paired[i] = EVAL_Z95 * sqrt(discordant[i] * shares) / tasks;
    out->verdict = decide(out->p, out->difference);
}

static void compare_row(struct published *p, int index, double *scratch)
{
    struct ig_published_row *row = &p->rows[index];
    const struct ig_published_row *base = &p->rows[row->baseline];
    struct ig_published_pair *pairs = p->pairs[index];
    if (row == base) return;
    for (int t = 0; t < p->shown.task_count; t++) {
        scratch[t] = (double)NAN;
        if (!row->values[t].present || !base->values[t].present || !p->items[t]) continue;
        compare_value(base->values[t].value, row->values[t].value, (double)p->items[t], &pairs[t]);
        scratch[t] = pairs[t].p;
    }
    eval__holm(scratch, p->shown.task_count);
    for (int t = 0; t < p->shown.task_count; t++) {
        if (pairs[t].verdict == IG_VERDICT_NONE) continue;
        pairs[t].p_holm = scratch[t];
        pairs[t].verdict = decide(scratch[t], pairs[t].difference);
    }
    compare_means(p, base, row, &row->mean_pair);
}

static bool open_table(struct published *p, struct ig_slice text, const char *baseline,
                       struct ig_err *err)
{
    double scratch[TABLE_COLUMNS_MAX];
    p->rows = ig_arena_array(&p->arena, TABLE_ROWS_MAX, sizeof *p->rows);
    p->pairs = ig_arena_array(&p->arena, TABLE_ROWS_MAX, sizeof *p->pairs);
    if (!p->rows || !p->pairs) return ig_err_nomem(err);
    if (!read_lines(p, text, err) || !find_baselines(p, baseline, err)) return false;
    for (int i = 0; i < p->shown.row_count; i++)
        compare_row(p, i, scratch);
    p->shown.tasks = p->tasks;
    p->shown.items = p->items;
    p->shown.rows = p->rows;
    return true;
}

bool ig_published_parse(struct ig_slice text, const char *baseline, struct ig_published **out,
                        struct ig_err *err)
{
    struct published *p = calloc(1, sizeof *p);
    if (!p) return ig_err_nomem(err);
    if (!open_table(p, text, baseline, err)) {
        ig_published_close(&p->shown);
        return false;
    }
    *out = &p->shown;
    return true;
}

bool ig_published_read(const char *path, const char *baseline, struct ig_published **out,
                       struct ig_err *err)
{
    struct ig_buf text = {0};
    bool ok = ig_file_read(path, TABLE_BYTES_MAX, &text, err);
    if (ok && !ig_published_parse(ig_buf_view(&text), baseline, out, err))
        ok = ig_err_within(err, "'%s'", path);
    ig_buf_release(&text);
    return ok;
}

void ig_published_close(struct ig_published *published)
{
    if (!published) return;
    struct published *p = (struct published *)published;
    ig_arena_release(&p->arena);
    free(p);
}
