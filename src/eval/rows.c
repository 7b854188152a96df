/* SPDX-License-Identifier: Apache-2.0
 * rows — a file of JSON Lines, cut at its newlines. Lines are parsed when they are asked for. */
#include "base/file.h"
#include "eval/eval_internal.h"

#include <stdio.h>
#include <stdlib.h>

void eval__rows_release(struct eval_rows *rows)
{
    ig_buf_release(&rows->file);
    free(rows->lines);
    free(rows->numbers);
    *rows = (struct eval_rows){0};
}

/* The first of the names under which the rows may be that exists. */
static bool find_file(const char *dir, const struct eval_task *task, bool pool,
                      char path[IG_PATH_MAX], struct ig_err *err)
{
    const char *split = pool ? "train" : task->split;
    char names[3][128];
    snprintf(names[0], sizeof *names, "%s%s.jsonl", task->name, pool ? ".train" : "");
    snprintf(names[1], sizeof *names, "%s/%s.jsonl", task->name, split);
    snprintf(names[2], sizeof *names, "%s/%s.parquet", task->name, split);
    for (int i = 0; i < 3; i++) {
        if (!ig_path_join(path, dir, names[i], err)) return false;
        if (!ig_path_exists(path)) continue;
        if (i < 2) return true;
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "'%s' is Parquet, which is not read yet: write its rows as JSON Lines to "
                          "'%s'",
                          path, names[1]);
    }
    return ig_err_set(
        err, IG_ERR_IO,
        "no rows for task '%s': neither '%s' nor '%s' is in '%s' (split %s of %s, one "
        "JSON object a line)",
        task->name, names[0], names[1], dir, split, task->hub);
}

static bool is_blank(struct ig_slice line)
{
    return eval__strip_left(line).len == 0;
}

/* The next line of *rest, without its newline; false at the end. */
static bool next_line(struct ig_slice *rest, struct ig_slice *line)
{
    if (rest->len == 0) return false;
    const char *newline = memchr(rest->ptr, '\n', rest->len);
    size_t n = newline ? (size_t)(newline - rest->ptr) : rest->len;
    *line = ig_slice_make(rest->ptr, n);
    size_t step = newline ? n + 1 : n;
    *rest = ig_slice_make(rest->ptr + step, rest->len - step);
    return true;
}

static bool cut(struct eval_rows *rows, struct ig_err *err)
{
    struct ig_slice rest = ig_buf_view(&rows->file), line;
    size_t count = 0;
    while (next_line(&rest, &line))
        count++;
    rows->lines = calloc(count + 1, sizeof *rows->lines);
    rows->numbers = calloc(count + 1, sizeof *rows->numbers);
    if (!rows->lines || !rows->numbers) return ig_err_nomem(err);
    rest = ig_buf_view(&rows->file);
    for (int64_t number = 1; next_line(&rest, &line); number++) {
        if (is_blank(line)) continue;
        rows->lines[rows->count] = line;
        rows->numbers[rows->count++] = number;
    }
    if (rows->count == 0) return ig_err_set(err, IG_ERR_DATA, "'%s' has no rows", rows->path);
    return true;
}

bool eval__rows_open(const char *dir, const struct eval_task *task, bool pool,
                     struct eval_rows *out, struct ig_err *err)
{
    struct eval_rows rows = {0};
    if (!find_file(dir, task, pool, rows.path, err) ||
        !ig_file_read(rows.path, EVAL_FILE_BYTES_MAX, &rows.file, err) || !cut(&rows, err)) {
        eval__rows_release(&rows);
        return false;
    }
    *out = rows;
    return true;
}

bool eval__rows_read(const struct eval_rows *rows, const struct eval_task *task, int64_t index,
                     struct ig_arena *arena, struct ig_json **tree, struct eval_doc *doc,
                     struct ig_err *err)
{
    bool ok = false;
    struct eval_doc read = {0};
    struct ig_json *row = ig_json_parse(rows->lines[index], arena, err);
    if (row && row->type != IG_JSON_OBJECT)
        ig_err_set(err, IG_ERR_DATA, "the row is not a JSON object");
    else if (row)
        ok = task->read(row, arena, &read, err);
    if (!ok)
        return ig_err_within(err, "'%s', line %lld", rows->path, (long long)rows->numbers[index]);
    *doc = read;
    if (tree) *tree = row;
    return true;
}
