/* SPDX-License-Identifier: Apache-2.0
 * arrow_batch — the buffers of a record batch or dictionary, handed to the columns in depth-first
 * order.
 *
 *     node    i64 length, i64 nulls         one a column
 *     buffer  i64 offset, i64 bytes         validity; offsets; data: those that the kind has
 *     packed buffer: i64 bytes unpacked, -1 where the rest is not packed | zstd
 *
 * Every buffer is checked to be as long as its column needs. What offsets and indices say is
 * checked when a row is read. */
#include "table/arrow_internal.h"

#include <stdlib.h>

struct load {
    struct arrow_message *message;
    struct table_budget *budget;
    struct flat_vector nodes, buffers;
    size_t node, buffer; /* next */
    bool packed;
    struct ig_err *err;
};

static void release(struct arrow_buffer *buffer)
{
    free(buffer->owned);
    *buffer = (struct arrow_buffer){0};
}

void arrow_column_release(
    struct arrow_column *column, /* NOLINT(misc-no-recursion): as the schema's */
    bool all)
{
    release(&column->valid);
    release(&column->offsets);
    release(&column->data);
    if (all && column->values) arrow_column_release(column->values, true);
    for (int i = 0; i < column->count; i++)
        arrow_column_release(&column->children[i], all);
}

static bool unpack(struct load *l, struct arrow_buffer *out)
{
    struct ig_slice packed = out->bytes;
    if (packed.len == 0) return true;
    if (packed.len < 8) return ig_err_set(l->err, IG_ERR_DATA, "a packed buffer has no length");
    uint64_t bytes = table__u64(table__bytes(packed));
    packed = ig_slice_make(packed.ptr + 8, packed.len - 8);
    out->bytes = packed;
    if (bytes == UINT64_MAX) return true;
    if (!table__unpack_room(l->budget, bytes, &out->owned, l->err)) return false;
    out->bytes = ig_slice_make(out->owned, (size_t)bytes);
    return table__unpack(TABLE_ZSTD, packed, out->owned, (size_t)bytes, l->err);
}

/* The next buffer, which must have `need` bytes at least. */
static bool take_buffer(struct load *l, uint64_t need, struct arrow_buffer *out)
{
    struct flat *meta = &l->message->meta;
    if (l->buffer == l->buffers.count)
        return ig_err_set(l->err, IG_ERR_DATA, "the batch has only %zu buffers", l->buffers.count);
    size_t place = l->buffers.place + 16 * l->buffer++;
    uint64_t offset = (uint64_t)flat_load(meta, place, 8);
    uint64_t bytes = (uint64_t)flat_load(meta, place + 8, 8);
    struct ig_slice body = l->message->body;
    if (offset > body.len || bytes > body.len - offset)
        return ig_err_set(l->err, IG_ERR_DATA, "a buffer is not in the body of its message");
    out->bytes = ig_slice_make(body.ptr + offset, (size_t)bytes);
    if (l->packed && !unpack(l, out)) return false;
    if (out->bytes.len >= need) return true;
    return ig_err_set(l->err, IG_ERR_DATA, "a buffer has %zu bytes of %llu", out->bytes.len,
                      (unsigned long long)need);
}

static bool load_buffers(struct load *l, struct arrow_column *column, int64_t nulls)
{
    uint64_t n = (uint64_t)column->length, width = (uint64_t)column->width; /* n is at most 2^56 */
    enum arrow_kind kind = column->kind;
    if (kind == ARROW_NULL) return true;
    if (!take_buffer(l, nulls ? (n + 7) / 8 : 0, &column->valid)) return false;
    if (nulls == 0) release(&column->valid);
    if (kind == ARROW_STRUCT || kind == ARROW_FIXED_LIST) return true;
    if (kind == ARROW_BOOL) return take_buffer(l, (n + 7) / 8, &column->data);
    if (kind != ARROW_TEXT && kind != ARROW_LIST) return take_buffer(l, n * width, &column->data);
    return take_buffer(l, n ? (n + 1) * width : 0, &column->offsets) &&
           (kind == ARROW_LIST || take_buffer(l, 0, &column->data));
}

static bool load_column(struct load *l, /* NOLINT(misc-no-recursion): as the schema's depth */
                        struct arrow_column *column)
{
    enum { LENGTH_BITS_MAX = 56 };
    struct flat *meta = &l->message->meta;
    if (l->node == l->nodes.count)
        return ig_err_set(l->err, IG_ERR_DATA, "the batch has only %zu columns", l->nodes.count);
    size_t place = l->nodes.place + 16 * l->node++;
    int64_t nulls = flat_load(meta, place + 8, 8);
    column->length = flat_load(meta, place, 8);
    if (column->length < 0 || column->length >> LENGTH_BITS_MAX)
        return ig_err_set(l->err, IG_ERR_DATA, "column '" IG_SLICE_FMT "' has %lld rows",
                          IG_SLICE_ARG(column->path), (long long)column->length);
    if (!load_buffers(l, column, nulls))
        return ig_err_within(l->err, "column '" IG_SLICE_FMT "'", IG_SLICE_ARG(column->path));
    for (int i = 0; i < column->count; i++) {
        struct arrow_column *child = &column->children[i];
        if (!load_column(l, child)) return false;
        int64_t each = column->kind == ARROW_FIXED_LIST ? column->list_size : 1, need;
        bool list = column->kind == ARROW_LIST;
        if (!list && (__builtin_mul_overflow(column->length, each, &need) || child->length < need))
            return ig_err_set(l->err, IG_ERR_DATA,
                              "column '" IG_SLICE_FMT "' has fewer rows than what it is part of",
                              IG_SLICE_ARG(child->path));
    }
    return true;
}

bool arrow_batch_load(struct arrow_message *message, size_t batch, struct arrow_column *root,
                      struct table_budget *budget, struct ig_err *err)
{
    enum { LENGTH, NODES, BUFFERS, COMPRESSION, CODEC = 0, METHOD = 1, LZ4_FRAME = 0, ZSTD = 1 };
    struct flat *meta = &message->meta;
    struct load l = {.message = message, .budget = budget, .err = err};
    l.nodes = flat_list(meta, batch, NODES, 16);
    l.buffers = flat_list(meta, batch, BUFFERS, 16);
    size_t compression = flat_table(meta, batch, COMPRESSION);
    l.packed = compression != 0;
    root->length = flat_int(meta, batch, LENGTH, 8, 0);
    if (meta->broken || root->length < 0)
        return ig_err_set(err, IG_ERR_DATA, "the head of a batch is damaged");
    if (root->count == 0 && root->length > 0) /* rows that nothing in the file stands for */
        return ig_err_set(err, IG_ERR_DATA, "%lld rows without a column", (long long)root->length);
    int64_t codec = l.packed ? flat_int(meta, compression, CODEC, 1, LZ4_FRAME) : ZSTD;
    if (codec != ZSTD || (l.packed && flat_int(meta, compression, METHOD, 1, 0) != 0))
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "its buffers are packed with %s; zstd is read",
                          codec == LZ4_FRAME ? "LZ4" : "an unknown codec");
    for (int i = 0; i < root->count; i++)
        arrow_column_release(&root->children[i], false);
    for (int i = 0; i < root->count; i++) {
        struct arrow_column *column = &root->children[i];
        if (!load_column(&l, column)) return false;
        if (column->length != root->length)
            return ig_err_set(
                err, IG_ERR_DATA, "column '" IG_SLICE_FMT "' has %lld rows, its batch %lld",
                IG_SLICE_ARG(column->path), (long long)column->length, (long long)root->length);
    }
    if (l.node != l.nodes.count || l.buffer != l.buffers.count)
        return ig_err_set(err, IG_ERR_DATA, "the batch has more columns than the schema");
    return true;
}
