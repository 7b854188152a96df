/* SPDX-License-Identifier: Apache-2.0
 * arrow_source — the messages of an Arrow IPC stream or file.
 *
 *     FFFFFFFF | i32 n | n bytes: Message as a FlatBuffer | body
 *     FFFFFFFF | 0                                          the end
 *
 * Source: "Serialization and Interprocess Communication (IPC)" in Columnar.rst of apache/arrow. The
 * framing without FFFFFFFF, of versions before 0.15 (2019), is not read.
 *
 * A file holds such messages at places that its footer lists, dictionaries before batches:
 *     "ARROW1" 00 00 | messages, padded in any way | Footer | i32 length of it | "ARROW1" */
#include "table/arrow_internal.h"

static bool cut(struct ig_slice *rest, uint64_t bytes, struct ig_slice *out)
{
    if (bytes > rest->len) return false;
    *out = ig_slice_make(rest->ptr, (size_t)bytes);
    *rest = ig_slice_make(rest->ptr + bytes, rest->len - (size_t)bytes);
    return true;
}

/* Cuts the next message off *rest; *done at the end of the stream. */
static bool next_message(struct ig_slice *rest, struct arrow_message *out, bool *done,
                         struct ig_err *err)
{
    enum { VERSION, HEADER_TYPE, HEADER, BODY_LENGTH, VERSION_4 = 3, VERSION_5 = 4 };
    struct ig_slice head;
    *done = rest->len == 0; /* a writer may close the stream without saying so */
    if (*done) return true;
    if (!cut(rest, 8, &head) || table__u32(table__bytes(head)) != UINT32_MAX)
        return ig_err_set(err, IG_ERR_DATA, "no message begins where one should");
    uint32_t length = table__u32(table__bytes(head) + 4);
    *done = length == 0;
    if (*done) return true;
    *out = (struct arrow_message){0};
    if (!cut(rest, length, &out->meta.bytes))
        return ig_err_set(err, IG_ERR_DATA, "the file is cut off in the head of a message");
    size_t root = flat_root(&out->meta);
    int64_t version = flat_int(&out->meta, root, VERSION, 2, 0);
    int64_t body = flat_int(&out->meta, root, BODY_LENGTH, 8, 0);
    out->type = flat_int(&out->meta, root, HEADER_TYPE, 1, 0);
    out->header = flat_table(&out->meta, root, HEADER);
    if (out->meta.broken || !out->header)
        return ig_err_set(err, IG_ERR_DATA, "the head of a message is damaged");
    if (version != VERSION_4 && version != VERSION_5)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "metadata version %lld; 4 and 5 are read",
                          (long long)version + 1);
    if (body < 0 || !cut(rest, (uint64_t)body, &out->body))
        return ig_err_set(err, IG_ERR_DATA, "the file is cut off in the body of a message");
    return true;
}

/* ---- files ---- */

enum { MAGIC_BYTES = 6, FILE_HEAD = 8, FILE_TAIL = 10, BLOCK_BYTES = 24 };

/* Block i of a file's footer. */
static void block_at(struct arrow_source *s, size_t i, int64_t *offset, int64_t *bytes)
{
    bool batch = i >= s->blocks[0].count;
    size_t place = s->blocks[batch].place + BLOCK_BYTES * (batch ? i - s->blocks[0].count : i);
    int64_t head = flat_load(&s->footer, place + 8, 4), body = flat_load(&s->footer, place + 16, 8);
    *offset = flat_load(&s->footer, place, 8);
    if (head < 0 || body < 0 || __builtin_add_overflow(head, body, bytes)) *bytes = -1;
}

/* Blocks lie in the file, and together are no larger: else they overlap. */
static bool check_blocks(struct arrow_source *s, struct ig_err *err)
{
    int64_t offset, bytes, end, sum = 0, length = (int64_t)s->file.len;
    for (size_t i = 0; i < s->blocks[0].count + s->blocks[1].count; i++) {
        block_at(s, i, &offset, &bytes);
        if (offset < 0 || bytes < 0 || __builtin_add_overflow(offset, bytes, &end) || end > length)
            return ig_err_set(err, IG_ERR_DATA, "message %zu is not in the file", i + 1);
        sum += bytes; /* both are at most the file's length */
        if (sum > length) return ig_err_set(err, IG_ERR_DATA, "message %zu overlaps others", i + 1);
    }
    return true;
}

static bool open_file(struct arrow_source *s, struct arrow_message *schema, struct ig_err *err)
{
    enum { VERSION, SCHEMA, DICTIONARIES, BATCHES };
    struct ig_slice bytes = s->file;
    if (bytes.len < FILE_HEAD + FILE_TAIL || !ig_slice_ends(bytes, "ARROW1"))
        return ig_err_set(err, IG_ERR_DATA,
                          "the Arrow file is cut off: it does not end in \"ARROW1\"");
    size_t room = bytes.len - FILE_HEAD - FILE_TAIL;
    const char *tail = bytes.ptr + bytes.len - FILE_TAIL;
    uint32_t length = table__u32((const unsigned char *)tail);
    if (length > room)
        return ig_err_set(err, IG_ERR_DATA, "the footer says it has %u bytes; there are %zu",
                          (unsigned)length, room);
    s->footer.bytes = ig_slice_make(tail - length, length);
    size_t root = flat_root(&s->footer);
    s->blocks[0] = flat_list(&s->footer, root, DICTIONARIES, BLOCK_BYTES);
    s->blocks[1] = flat_list(&s->footer, root, BATCHES, BLOCK_BYTES);
    *schema = (struct arrow_message){.type = ARROW_SCHEMA, .meta = s->footer};
    schema->header = flat_table(&schema->meta, root, SCHEMA);
    if (schema->meta.broken || !schema->header)
        return ig_err_set(err, IG_ERR_DATA, "the footer is damaged");
    return check_blocks(s, err);
}

bool arrow_source_open(struct ig_slice bytes, struct arrow_source *out,
                       struct arrow_message *schema, struct ig_err *err)
{
    bool done = false;
    *out = (struct arrow_source){.file = bytes};
    out->is_file = ig_slice_starts(bytes, "ARROW1");
    if (out->is_file) return open_file(out, schema, err);
    out->rest = bytes;
    if (!next_message(&out->rest, schema, &done, err)) return false;
    if (done || schema->type != ARROW_SCHEMA)
        return ig_err_set(err, IG_ERR_DATA, "the Arrow stream does not begin with a schema");
    return true;
}

bool arrow_source_next(struct arrow_source *s, struct arrow_message *out, bool *done,
                       struct ig_err *err)
{
    int64_t offset, bytes;
    if (!s->is_file) return next_message(&s->rest, out, done, err);
    *done = s->next == s->blocks[0].count + s->blocks[1].count;
    if (*done) return true;
    block_at(s, s->next++, &offset, &bytes);
    struct ig_slice block = ig_slice_make(s->file.ptr + offset, (size_t)bytes);
    if (!next_message(&block, out, done, err)) return ig_err_within(err, "message %zu", s->next);
    return !*done || ig_err_set(err, IG_ERR_DATA, "message %zu is empty", s->next);
}
