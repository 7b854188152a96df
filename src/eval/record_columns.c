/* SPDX-License-Identifier: Apache-2.0
 * record_columns — rows as a table has them: all with the same members, in the same order.
 *
 * The harness reads JSON Lines into a table first, so a row's hash is taken with the members in the
 * order in which the file first names them, and with null for those that the row has not. */
#include "eval/record_internal.h"

#define COLUMNS_MAX 256 /* of one object; the seven tasks have up to 10 */
#define COLUMNS_NEW 4   /* room of a new one, doubled when it is full: objects may be many */

static struct ig_json *find_member(const struct ig_json *object, struct ig_slice key)
{
    for (uint32_t i = 0; i < object->count; i++)
        if (ig_slice_equal(object->items[i].key, key)) return &object->items[i];
    return NULL;
}

/* A place for one more column, whose count says how much room there is. */
static bool room_for_one(struct ig_json *columns, struct ig_arena *arena, struct ig_err *err)
{
    uint32_t n = columns->count;
    if (n == COLUMNS_MAX)
        return ig_err_set(err, IG_ERR_DATA, "the rows have more than %d different members",
                          COLUMNS_MAX);
    if (n > 0 && (n < COLUMNS_NEW || (n & (n - 1)) != 0)) return true;
    struct ig_json *items =
        ig_arena_array(arena, n < COLUMNS_NEW ? COLUMNS_NEW : 2 * n, sizeof *items);
    if (!items) return ig_err_nomem(err);
    if (n) memcpy(items, columns->items, n * sizeof *items);
    columns->items = items;
    return true;
}

/* Adds the members that the row has and the columns have not. Depth is the parser's. */
static bool merge(struct ig_json *columns, /* NOLINT(misc-no-recursion) */
                  const struct ig_json *row, struct ig_arena *arena, struct ig_err *err)
{
    if (row->type != IG_JSON_OBJECT) return true;
    if (columns->type != IG_JSON_OBJECT) {
        columns->type = IG_JSON_OBJECT;
        columns->count = 0;
    }
    for (uint32_t i = 0; i < row->count; i++) {
        struct ig_slice key = row->items[i].key;
        struct ig_json *column = find_member(columns, key);
        if (!column) {
            if (!room_for_one(columns, arena, err)) return false;
            column = &columns->items[columns->count++];
            *column = (struct ig_json){.key = ig_arena_copy(arena, key)};
            if (!column->key.ptr) return ig_err_nomem(err);
        }
        if (!merge(column, &row->items[i], arena, err)) return false;
    }
    return true;
}

bool eval__columns_read(const struct eval_rows *rows, struct ig_arena *arena,
                        struct ig_json *columns, struct ig_err *err)
{
    *columns = (struct ig_json){0};
    for (int64_t i = 0; i < rows->count; i++) {
        struct ig_arena scratch = {0};
        const struct ig_json *row = ig_json_parse(rows->lines[i], &scratch, err);
        bool ok = row && merge(columns, row, arena, err);
        ig_arena_release(&scratch);
        if (!ok)
            return ig_err_within(err, "'%s', line %lld", rows->path, (long long)rows->numbers[i]);
    }
    return true;
}

bool eval__columns_apply(const struct ig_json *columns, /* NOLINT(misc-no-recursion) */
                         struct ig_json *row, struct ig_arena *arena, struct ig_err *err)
{
    if (columns->type != IG_JSON_OBJECT || row->type != IG_JSON_OBJECT) return true;
    struct ig_json *items = ig_arena_array(arena, columns->count, sizeof *items);
    if (!items) return ig_err_nomem(err);
    for (uint32_t i = 0; i < columns->count; i++) {
        const struct ig_json *found = find_member(row, columns->items[i].key);
        items[i] = found ? *found : (struct ig_json){.key = columns->items[i].key};
        if (!eval__columns_apply(&columns->items[i], &items[i], arena, err)) return false;
    }
    row->items = items;
    row->count = columns->count;
    return true;
}
