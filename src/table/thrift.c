/* SPDX-License-Identifier: Apache-2.0
 * thrift — see thrift.h. Source: thrift-compact-protocol.md of Apache Thrift. */
#include "table/thrift.h"

#define SKIP_DEPTH_MAX 16 /* Parquet's structures nest 6 deep */

static void fail(struct thrift *t)
{
    t->broken = true;
    t->rest.len = 0;
}

static unsigned next_byte(struct thrift *t)
{
    if (t->rest.len == 0) {
        fail(t);
        return 0;
    }
    unsigned byte = (unsigned char)*t->rest.ptr;
    t->rest = ig_slice_make(t->rest.ptr + 1, t->rest.len - 1);
    return byte;
}

static void step(struct thrift *t, uint64_t bytes)
{
    if (bytes > t->rest.len)
        fail(t);
    else
        t->rest = ig_slice_make(t->rest.ptr + bytes, t->rest.len - (size_t)bytes);
}

static uint64_t varint(struct thrift *t)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        unsigned byte = next_byte(t);
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
    }
    fail(t);
    return 0;
}

static int64_t zigzag(struct thrift *t)
{
    uint64_t value = varint(t);
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}

bool thrift_field(struct thrift *t, struct thrift_field *field)
{
    unsigned head = next_byte(t);
    if (t->broken || (head & 15) == THRIFT_STOP) return false;
    int64_t id = head >> 4 ? field->id + (int64_t)(head >> 4) : zigzag(t);
    if (id < INT16_MIN || id > INT16_MAX || (head & 15) > THRIFT_UUID) fail(t);
    *field = (struct thrift_field){(int)id, (int)(head & 15)};
    return !t->broken;
}

int64_t thrift_int(struct thrift *t, const struct thrift_field *field)
{
    if (field->type == THRIFT_BYTE) return (signed char)next_byte(t);
    if (field->type >= THRIFT_I16 && field->type <= THRIFT_I64) return zigzag(t);
    fail(t);
    return 0;
}

bool thrift_bool(struct thrift *t, const struct thrift_field *field)
{
    if (field->type != THRIFT_TRUE && field->type != THRIFT_FALSE) fail(t);
    return field->type == THRIFT_TRUE;
}

struct ig_slice thrift_binary(struct thrift *t, const struct thrift_field *field)
{
    uint64_t bytes = field->type == THRIFT_BINARY ? varint(t) : UINT64_MAX;
    const char *start = t->rest.ptr;
    step(t, bytes);
    return t->broken ? (struct ig_slice){0} : ig_slice_make(start, (size_t)bytes);
}

/* Items of a list, and their type. */
static uint64_t list_head(struct thrift *t, int *type)
{
    unsigned head = next_byte(t);
    uint64_t count = head >> 4 == 15 ? varint(t) : head >> 4;
    *type = (int)(head & 15);
    if (count > t->rest.len) fail(t); /* no item takes less than a byte */
    return t->broken ? 0 : count;
}

size_t thrift_structs(struct thrift *t, const struct thrift_field *field)
{
    int type = THRIFT_STOP;
    uint64_t count = field->type == THRIFT_LIST ? list_head(t, &type) : 0;
    if (type != THRIFT_STRUCT) fail(t);
    return t->broken ? 0 : (size_t)count;
}

bool thrift_struct(struct thrift *t, const struct thrift_field *field)
{
    if (field->type != THRIFT_STRUCT) fail(t);
    return !t->broken;
}

static void skip(struct thrift *t, int type, bool in_list, int depth);

static void skip_items(struct thrift *t, int depth)
{
    int type;
    uint64_t count = list_head(t, &type);
    for (uint64_t i = 0; i < count && !t->broken; i++)
        skip(t, type, true, depth);
}

static void skip_pairs(struct thrift *t, int depth)
{
    uint64_t count = varint(t);
    unsigned types = count ? next_byte(t) : 0;
    if (count > t->rest.len) fail(t);
    for (uint64_t i = 0; i < count && !t->broken; i++) {
        skip(t, (int)(types >> 4), true, depth);
        skip(t, (int)(types & 15), true, depth);
    }
}

static void skip(struct thrift *t, /* NOLINT(misc-no-recursion): SKIP_DEPTH_MAX */
                 int type, bool in_list, int depth)
{
    struct thrift_field field = {0};
    if (depth > SKIP_DEPTH_MAX) fail(t);
    if (t->broken) return;
    switch (type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE: step(t, in_list ? 1 : 0); break;
    case THRIFT_BYTE: step(t, 1); break;
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64: varint(t); break;
    case THRIFT_DOUBLE: step(t, 8); break;
    case THRIFT_BINARY: step(t, varint(t)); break;
    case THRIFT_LIST:
    case THRIFT_SET: skip_items(t, depth + 1); break;
    case THRIFT_MAP: skip_pairs(t, depth + 1); break;
    case THRIFT_STRUCT:
        while (thrift_field(t, &field))
            skip(t, field.type, false, depth + 1);
        break;
    case THRIFT_UUID: step(t, 16); break;
    default: fail(t);
    }
}

void thrift_skip(struct thrift *t, int type)
{
    skip(t, type, false, 0);
}
