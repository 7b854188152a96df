/* SPDX-License-Identifier: Apache-2.0
 * arrow — rows out of the record batches of an Arrow IPC stream or file.
 */
#include "table/arrow_internal.h"

#include <stdlib.h>

struct arrow {
    struct ig_arena arena;
    struct table_budget budget;
    struct arrow_column root;
    struct arrow_source source; /* of the batches to come */
    int64_t batch;              /* at hand, from 1 */
    int64_t index;              /* next row of it */
    int64_t row;                /* begun, from 1 */
};

/* ---- values ---- */

static bool is_valid(const struct arrow_column *column, int64_t i)
{
    const struct ig_slice bits = column->valid.bytes;
    return bits.len == 0 || ((unsigned char)bits.ptr[i / 8] >> i % 8 & 1);
}

static bool at_column(const struct arrow_column *column, struct ig_err *err)
{
    return ig_err_within(err, "column '" IG_SLICE_FMT "'", IG_SLICE_ARG(column->path));
}

/* A number of `width` bytes at index i, without its sign. */
static uint64_t number_at(struct ig_slice data, int width, int64_t i)
{
    const unsigned char *p = table__bytes(data) + (size_t)i * (size_t)width;
    uint64_t value = 0;
    for (int b = 0; b < width; b++)
        value |= (uint64_t)p[b] << 8 * b;
    return value;
}

/* Where item i begins and ends, in a child or text of so many items. */
static bool range_at(const struct arrow_column *column, int64_t i, uint64_t limit, uint64_t *begin,
                     uint64_t *end, struct ig_err *err)
{
    *begin = number_at(column->offsets.bytes, column->width, i);
    *end = number_at(column->offsets.bytes, column->width, i + 1);
    if (*begin <= *end && *end <= limit) return true;
    return ig_err_set(err, IG_ERR_DATA, "an item from %llu to %llu of %llu",
                      (unsigned long long)*begin, (unsigned long long)*end,
                      (unsigned long long)limit);
}

static bool put_real(const struct arrow_column *column, int64_t i, struct ig_buf *out,
                     struct ig_err *err)
{
    uint64_t bits = number_at(column->data.bytes, column->width, i);
    uint32_t low = (uint32_t)bits;
    float single;
    double real;
    memcpy(&single, &low, sizeof single);
    memcpy(&real, &bits, sizeof real);
    return table__put_real(out, column->width == 4 ? (double)single : real, err);
}

static bool put_text(const struct arrow_column *column, int64_t i, struct ig_buf *out,
                     struct ig_err *err)
{
    uint64_t begin, end;
    struct ig_slice data = column->data.bytes;
    return range_at(column, i, data.len, &begin, &end, err) &&
           table__put_text(out, ig_slice_make(table__bytes(data) + begin, (size_t)(end - begin)),
                           err);
}

static bool put_column(const struct arrow_column *column, int64_t i, struct ig_buf *out,
                       struct ig_err *err);

static bool put_items(const struct arrow_column *item, /* NOLINT(misc-no-recursion) */
                      uint64_t begin, uint64_t end, struct ig_buf *out, struct ig_err *err)
{
    ig_buf_char(out, '[');
    for (uint64_t i = begin; i < end; i++) {
        if (i > begin) ig_buf_char(out, ',');
        if (!put_column(item, (int64_t)i, out, err) || !ig_buf_ok(out, err)) return false;
    }
    ig_buf_char(out, ']');
    return true;
}

static bool put_struct(const struct arrow_column *column, /* NOLINT(misc-no-recursion) */
                       int64_t i, struct ig_buf *out, struct ig_err *err)
{
    ig_buf_char(out, '{');
    for (int c = 0; c < column->count; c++) {
        if (c) ig_buf_char(out, ',');
        ig_buf_slice(out, column->children[c].member);
        if (!put_column(&column->children[c], i, out, err)) return false;
    }
    ig_buf_char(out, '}');
    return ig_buf_ok(out, err);
}

static bool put_indexed(const struct arrow_column *column, /* NOLINT(misc-no-recursion) */
                        int64_t i, struct ig_buf *out, struct ig_err *err)
{
    uint64_t index = number_at(column->data.bytes, column->width, i);
    uint64_t count = column->loaded ? (uint64_t)column->values->length : 0;
    bool negative = column->kind == ARROW_INT && index >> (8 * column->width - 1);
    if (index < count && !negative) return put_column(column->values, (int64_t)index, out, err);
    if (negative)
        ig_err_set(err, IG_ERR_DATA, "an index below 0");
    else
        ig_err_set(err, IG_ERR_DATA, "index %llu of a dictionary of %llu",
                   (unsigned long long)index, (unsigned long long)count);
    return at_column(column, err);
}

static bool put_value(const struct arrow_column *column, /* NOLINT(misc-no-recursion) */
                      int64_t i, struct ig_buf *out, struct ig_err *err)
{
    uint64_t begin, end, size;
    unsigned unused;
    switch (column->kind) {
    case ARROW_BOOL:
        ig_buf_text(out, table__bytes(column->data.bytes)[i / 8] >> i % 8 & 1 ? "true" : "false");
        return true;
    case ARROW_INT:
        unused = 64u - 8u * (unsigned)column->width;
        table__put_int(out, (int64_t)(number_at(column->data.bytes, column->width, i) << unused) >>
                                unused);
        return true;
    case ARROW_UINT:
        table__put_uint(out, number_at(column->data.bytes, column->width, i));
        return true;
    case ARROW_REAL: return put_real(column, i, out, err) || at_column(column, err);
    case ARROW_TEXT: return put_text(column, i, out, err) || at_column(column, err);
    case ARROW_LIST:
        if (!range_at(column, i, (uint64_t)column->children->length, &begin, &end, err))
            return at_column(column, err);
        return put_items(column->children, begin, end, out, err);
    case ARROW_FIXED_LIST:
        size = (uint64_t)column->list_size;
        return put_items(column->children, (uint64_t)i * size, ((uint64_t)i + 1) * size, out, err);
    case ARROW_STRUCT: return put_struct(column, i, out, err);
    case ARROW_NULL: break;
    }
    return true;
}

/* The columns' depth is the schema's. Index i is below the column's length. */
static bool put_column(const struct arrow_column *column, /* NOLINT(misc-no-recursion) */
                       int64_t i, struct ig_buf *out, struct ig_err *err)
{
    if (column->kind == ARROW_NULL || !is_valid(column, i)) {
        ig_buf_text(out, "null");
        return true;
    }
    return column->values ? put_indexed(column, i, out, err) : put_value(column, i, out, err);
}

/* ---- messages ---- */

/* Loads a dictionary into every column that names it. */
static bool load_dictionary(struct arrow *a,
                            struct arrow_message *message, /* NOLINT(misc-no-recursion) */
                            struct arrow_column *column, int64_t id, struct ig_err *err)
{
    enum { DATA = 1 };
    for (int i = 0; i < column->count; i++)
        if (!load_dictionary(a, message, &column->children[i], id, err)) return false;
    if (!column->values) return true;
    if (!load_dictionary(a, message, column->values, id, err)) return false;
    if (column->dictionary != id) return true;
    size_t batch = flat_table(&message->meta, message->header, DATA);
    struct arrow_column root = {
        .kind = ARROW_STRUCT, .path = column->path, .children = column->values, .count = 1};
    column->loaded = false;
    if (!batch || !arrow_batch_load(message, batch, &root, &a->budget, err)) {
        if (!batch) ig_err_set(err, IG_ERR_DATA, "it is damaged");
        return ig_err_within(err, "dictionary %lld", (long long)id);
    }
    column->loaded = true;
    return true;
}

static bool read_dictionary(struct arrow *a, struct arrow_message *message, struct ig_err *err)
{
    enum { ID, DATA, IS_DELTA };
    int64_t id = flat_int(&message->meta, message->header, ID, 8, 0);
    if (flat_int(&message->meta, message->header, IS_DELTA, 1, 0))
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "dictionary %lld is written in parts",
                          (long long)id);
    return load_dictionary(a, message, &a->root, id, err);
}

/* Goes on to the next record batch. */
static bool next_batch(struct arrow *a, bool *done, struct ig_err *err)
{
    struct arrow_message message;
    for (;;) {
        if (!arrow_source_next(&a->source, &message, done, err)) return false;
        if (*done) return true;
        if (message.type == ARROW_DICTIONARY_BATCH) {
            if (!read_dictionary(a, &message, err)) return false;
        } else if (message.type == ARROW_RECORD_BATCH) {
            break;
        } else {
            return ig_err_set(err, IG_ERR_DATA, "a message of type %lld among the batches",
                              (long long)message.type);
        }
    }
    a->batch++;
    a->index = 0;
    return arrow_batch_load(&message, message.header, &a->root, &a->budget, err) ||
           ig_err_within(err, "batch %lld", (long long)a->batch);
}

static bool arrow_next(void *state, struct ig_buf *out, int64_t *place, bool *done,
                       struct ig_err *err)
{
    struct arrow *a = state;
    *done = false;
    while (a->index == a->root.length) {
        if (!next_batch(a, done, err)) return false;
        if (*done) return true;
    }
    *place = ++a->row;
    return put_struct(&a->root, a->index++, out, err) ||
           ig_err_within(err, "row %lld", (long long)a->row);
}

static void arrow_close(void *state)
{
    struct arrow *a = state;
    arrow_column_release(&a->root, true);
    ig_arena_release(&a->arena);
    free(a);
}

/* ---- opening ---- */

/* Rows of all batches, by their heads alone. */
static bool count_rows(struct arrow_source source, int64_t *count, struct ig_err *err)
{
    struct arrow_message message;
    bool done = false;
    *count = 0;
    for (;;) {
        if (!arrow_source_next(&source, &message, &done, err)) return false;
        if (done) return true;
        if (message.type != ARROW_RECORD_BATCH) continue;
        int64_t rows = flat_int(&message.meta, message.header, 0, 8, 0);
        if (message.meta.broken || rows < 0 || __builtin_add_overflow(*count, rows, count))
            return ig_err_set(err, IG_ERR_DATA, "the head of a batch is damaged");
    }
}

bool table__arrow_open(struct ig_slice bytes, uint64_t unpacked_max, struct table_reader *out,
                       struct ig_err *err)
{
    struct arrow *a = calloc(1, sizeof *a);
    struct arrow_message schema;
    int64_t count = 0;
    if (!a) return ig_err_nomem(err);
    a->budget.left = unpacked_max;
    if (!arrow_source_open(bytes, &a->source, &schema, err) ||
        !arrow_schema_read(&schema, &a->arena, &a->root, err) ||
        !count_rows(a->source, &count, err)) {
        arrow_close(a);
        return false;
    }
    *out = (struct table_reader){
        .format = "Arrow", .count = count, .state = a, .next = arrow_next, .close = arrow_close};
    return true;
}
