/* SPDX-License-Identifier: Apache-2.0
 * arrow_schema — the schema of an Arrow stream or file as a tree of columns. Source: Schema.fbs of
 * apache/arrow. */
#include "table/arrow_internal.h"

enum type {
    TYPE_NONE,
    TYPE_NULL,
    TYPE_INT,
    TYPE_FLOAT,
    TYPE_BINARY,
    TYPE_UTF8,
    TYPE_BOOL,
    TYPE_LIST = 12,
    TYPE_STRUCT = 13,
    TYPE_FIXED_LIST = 16,
    TYPE_LARGE_UTF8 = 20,
    TYPE_LARGE_LIST = 21,
    TYPE_COUNT = 27,
};
static const char *const type_names[TYPE_COUNT] = {
    "none",          "Null",      "Int",           "FloatingPoint",
    "Binary",        "Utf8",      "Bool",          "Decimal",
    "Date",          "Time",      "Timestamp",     "Interval",
    "List",          "Struct",    "Union",         "FixedSizeBinary",
    "FixedSizeList", "Map",       "Duration",      "LargeBinary",
    "LargeUtf8",     "LargeList", "RunEndEncoded", "BinaryView",
    "Utf8View",      "ListView",  "LargeListView"};
enum { FIELD_NAME, FIELD_NULLABLE, FIELD_TYPE_TYPE, FIELD_TYPE, FIELD_DICTIONARY, FIELD_CHILDREN };

struct build {
    struct flat *meta;
    struct ig_arena *arena;
    int columns; /* so far: tables of a FlatBuffer may be shared, so that few bytes make many */
    struct ig_err *err;
};

static bool refuse(const struct build *b, const struct arrow_column *column, const char *what)
{
    return ig_err_set(b->err, IG_ERR_UNSUPPORTED,
                      "column '" IG_SLICE_FMT "' is %s; only booleans, integers, floats, strings, "
                      "lists and structs are read",
                      IG_SLICE_ARG(column->path), what);
}

/* An Int table: sets kind and width. */
static bool read_int(struct build *b, size_t table, struct arrow_column *column)
{
    enum { BIT_WIDTH, IS_SIGNED };
    int64_t bits = flat_int(b->meta, table, BIT_WIDTH, 4, 0);
    if (bits != 8 && bits != 16 && bits != 32 && bits != 64)
        return refuse(b, column, "an integer of an unknown width");
    column->kind = flat_int(b->meta, table, IS_SIGNED, 1, 0) ? ARROW_INT : ARROW_UINT;
    column->width = (int)(bits / 8);
    return true;
}

static bool read_float(struct build *b, size_t table, struct arrow_column *column)
{
    enum { PRECISION, HALF = 0, SINGLE, DOUBLE };
    int64_t precision = flat_int(b->meta, table, PRECISION, 2, HALF);
    if (precision != SINGLE && precision != DOUBLE) return refuse(b, column, "a half float");
    column->kind = ARROW_REAL;
    column->width = precision == SINGLE ? 4 : 8;
    return true;
}

/* Kind and width of a field's type, and how many children that wants (-1: any number). */
static bool read_type(struct build *b, size_t field, struct arrow_column *column, int *children)
{
    int64_t type = flat_int(b->meta, field, FIELD_TYPE_TYPE, 1, 0);
    size_t table = flat_table(b->meta, field, FIELD_TYPE);
    *children = 0;
    switch (type) {
    case TYPE_NULL: column->kind = ARROW_NULL; return true;
    case TYPE_BOOL: column->kind = ARROW_BOOL; return true;
    case TYPE_INT: return read_int(b, table, column);
    case TYPE_FLOAT: return read_float(b, table, column);
    case TYPE_UTF8:
    case TYPE_LARGE_UTF8:
        column->kind = ARROW_TEXT;
        column->width = type == TYPE_UTF8 ? 4 : 8;
        return true;
    case TYPE_LIST:
    case TYPE_LARGE_LIST:
        column->kind = ARROW_LIST;
        column->width = type == TYPE_LIST ? 4 : 8;
        *children = 1;
        return true;
    case TYPE_FIXED_LIST:
        column->kind = ARROW_FIXED_LIST;
        column->list_size = flat_int(b->meta, table, 0, 4, 0);
        *children = 1;
        return column->list_size >= 0 || refuse(b, column, "a list of fewer than no items");
    case TYPE_STRUCT:
        column->kind = ARROW_STRUCT;
        *children = -1;
        return true;
    default:
        return refuse(b, column,
                      type > 0 && type < TYPE_COUNT ? type_names[type] : "of an unknown type");
    }
}

static bool read_children(struct build *b, struct flat_vector fields, int depth,
                          struct arrow_column *column);

/* Makes the column one of indices, and what it was one of their values. */
static bool read_dictionary(struct build *b, size_t table, struct arrow_column *column)
{
    enum { ID, INDEX_TYPE };
    struct arrow_column *values = ig_arena_array(b->arena, 1, sizeof *values);
    if (!values) return ig_err_nomem(b->err);
    *values = *column;
    *column = (struct arrow_column){.path = values->path,
                                    .member = values->member,
                                    .values = values,
                                    .kind = ARROW_INT,
                                    .width = 4};
    column->dictionary = flat_int(b->meta, table, ID, 8, 0);
    size_t index = flat_table(b->meta, table, INDEX_TYPE);
    return !index || read_int(b, index, column);
}

static bool read_field(struct build *b, /* NOLINT(misc-no-recursion): TABLE_DEPTH_MAX */
                       size_t field, int depth, struct arrow_column *column)
{
    int children;
    if (!read_type(b, field, column, &children)) return false;
    struct flat_vector fields = flat_list(b->meta, field, FIELD_CHILDREN, 4);
    size_t dictionary = flat_table(b->meta, field, FIELD_DICTIONARY);
    if (children >= 0 && fields.count != (size_t)children)
        return ig_err_set(b->err, IG_ERR_DATA, "column '" IG_SLICE_FMT "' has %zu children, not %d",
                          IG_SLICE_ARG(column->path), fields.count, children);
    return read_children(b, fields, depth + 1, column) &&
           (!dictionary || read_dictionary(b, dictionary, column));
}

static bool read_children(struct build *b, /* NOLINT(misc-no-recursion): TABLE_DEPTH_MAX */
                          struct flat_vector fields, int depth, struct arrow_column *column)
{
    if (fields.count > (size_t)(TABLE_COLUMNS_MAX - b->columns) || depth > TABLE_DEPTH_MAX)
        return ig_err_set(b->err, IG_ERR_UNSUPPORTED,
                          "the schema has more than %d columns, or deeper ones than %d",
                          TABLE_COLUMNS_MAX, TABLE_DEPTH_MAX);
    b->columns += (int)fields.count;
    column->count = (int)fields.count;
    column->children = ig_arena_array(b->arena, fields.count, sizeof *column->children);
    if (!column->children) return ig_err_nomem(b->err);
    for (int i = 0; i < column->count; i++) {
        struct arrow_column *child = &column->children[i];
        size_t field = flat_item(b->meta, fields, (size_t)i);
        struct ig_slice name = flat_text(b->meta, field, FIELD_NAME);
        child->path = column->path;
        if (column->kind == ARROW_STRUCT &&
            (!table__path(b->arena, column->path, name, &child->path, b->err) ||
             !table__member(b->arena, name, &child->member, b->err)))
            return false;
        if (!read_field(b, field, depth, child)) return false;
    }
    return true;
}

bool arrow_schema_read(struct arrow_message *message, struct ig_arena *arena,
                       struct arrow_column *root, struct ig_err *err)
{
    enum { ENDIANNESS, FIELDS };
    struct build b = {.meta = &message->meta, .arena = arena, .err = err};
    *root = (struct arrow_column){.kind = ARROW_STRUCT};
    if (flat_int(b.meta, message->header, ENDIANNESS, 2, 0) != 0)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "the file is big-endian");
    struct flat_vector fields = flat_list(b.meta, message->header, FIELDS, 4);
    bool ok = read_children(&b, fields, 1, root);
    if (b.meta->broken) return ig_err_set(err, IG_ERR_DATA, "the schema is damaged");
    return ok;
}
