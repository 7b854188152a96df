/* SPDX-License-Identifier: Apache-2.0
 * rows — a task's files as lines of JSON. Lines are parsed when they are asked for. */
#include "eval/record_internal.h"
#include "eval/yaml_task.h"
#include "ingot/table.h"

#include <stdio.h>
#include <stdlib.h>

void eval__rows_release(struct eval_rows *rows)
{
    ig_buf_release(&rows->file);
    free(rows->lines);
    free(rows->numbers);
    ig_arena_release(&rows->arena);
    *rows = (struct eval_rows){0};
}

/* Appends the file's rows, a line each, and keeps their numbers: of lines where the file has lines.
 */
static bool load_file(struct eval_rows *rows, const char *path, size_t *cap, struct ig_err *err)
{
    bool ok = true, done = false;
    struct ig_table *table;
    if (!ig_table_open(path, &table, err)) return false;
    int64_t before = rows->count;
    while (ok) {
        ok = ig_table_next(table, &rows->file, &done, err);
        if (!ok || done) break;
        ig_buf_char(&rows->file, '\n');
        if ((size_t)rows->count == *cap) {
            *cap = *cap ? 2 * *cap : 1024;
            int64_t *numbers = realloc(rows->numbers, *cap * sizeof *numbers);
            if (numbers) rows->numbers = numbers;
            ok = numbers || ig_err_nomem(err);
        }
        if (ok) rows->numbers[rows->count++] = before + ig_table_place(table);
    }
    ig_table_close(table);
    return ok;
}

/* Cuts the rows at their newlines, now that they do not move any more. */
static bool cut(struct eval_rows *rows, struct ig_err *err)
{
    rows->lines = calloc((size_t)rows->count + 1, sizeof *rows->lines);
    if (!rows->lines) return ig_err_nomem(err);
    const char *at = rows->file.data;
    for (int64_t i = 0; i < rows->count; i++) {
        const char *newline = memchr(at, '\n', (size_t)(rows->file.data + rows->file.len - at));
        rows->lines[i] = ig_slice_make(at, (size_t)(newline - at));
        at = newline + 1;
    }
    return true;
}

static bool load(struct eval_rows *rows, const struct eval_files *files, struct ig_err *err)
{
    size_t cap = 0;
    rows->file.len_max = EVAL_FILE_BYTES_MAX;
    for (int i = 0; i < files->count; i++)
        if (!load_file(rows, files->paths[i], &cap, err)) return false;
    if (rows->count == 0) return ig_err_set(err, IG_ERR_DATA, "'%s' has no rows", rows->path);
    return ig_buf_ok(&rows->file, err) && cut(rows, err);
}

bool eval__rows_open(const char *dir, const struct eval_task *task, bool pool,
                     struct eval_rows *out, struct ig_err *err)
{
    struct eval_rows rows = {0};
    struct eval_files files;
    struct eval_source source = {.task = task->name,
                                 .hub = task->hub,
                                 .split = pool ? "train" : task->split,
                                 .suffix = pool ? "train" : ""};
    bool found;
    if (task->yaml)
        found = eval__yaml_files(task->yaml, dir, pool ? EVAL_POOL : EVAL_SCORED, &files, err);
    else
        found = dir ? eval__files_find(dir, &source, &files, err)
                    : eval__source_find(&source, &files, err);
    if (!found) return false;
    snprintf(rows.path, sizeof rows.path, "%s", files.paths[0]);
    rows.has_columns = task->yaml != NULL;
    bool ok = load(&rows, &files, err);
    if (ok && rows.has_columns) ok = eval__columns_read(&rows, &rows.arena, &rows.columns, err);
    eval__files_release(&files);
    if (ok)
        *out = rows;
    else
        eval__rows_release(&rows);
    return ok;
}

bool eval__rows_read(const struct eval_rows *rows, const struct eval_task *task, int64_t index,
                     struct ig_arena *arena, struct ig_json **tree, struct eval_doc *doc,
                     struct ig_err *err)
{
    bool ok = false;
    struct eval_doc read = {0};
    struct ig_slice line = rows->lines[index];
    bool list = ig_slice_starts(eval__strip_left(line), "[");
    struct ig_json *row = list ? NULL : ig_json_parse(line, arena, err);
    if (list)
        ig_err_set(err, IG_ERR_DATA,
                   "a JSON array, where each row is an object on a line of its own (jq -c '.[]' "
                   "makes them of one)");
    else if (row && row->type != IG_JSON_OBJECT)
        ig_err_set(err, IG_ERR_DATA, "the row is not a JSON object");
    else if (row && task->yaml)
        ok = eval__columns_apply(&rows->columns, row, arena, err) &&
             eval__yaml_read(task->yaml, row, arena, &read, err);
    else if (row)
        ok = task->read(row, arena, &read, err);
    if (!ok)
        return ig_err_within(err, "'%s', line %lld", rows->path, (long long)rows->numbers[index]);
    *doc = read;
    if (tree) *tree = row;
    return true;
}
