/* SPDX-License-Identifier: Apache-2.0
 * thrift — the compact protocol of Apache Thrift, as far as Parquet's structures need it.
 *
 * Use:   struct thrift t = {bytes}; struct thrift_field f = {0};
 *        while (thrift_field(&t, &f)) switch (f.id) { case 1: x = thrift_int(&t, &f); break;
 *                                                     default: thrift_skip(&t, f.type); }
 * Errors are sticky: after the first nothing moves, everything gives 0, fields and lists end, and
 * `broken` is set; check it once.
 *
 *     field:  dddd tttt   d: id less the id before, 0: the id follows as a zigzag varint; t: type
 *     list:   nnnn tttt   n: items, 15: a varint follows
 *     ints:   zigzag varints; binary: varint length, bytes; bool: in the field's type */
#pragma once
#include "ingot/slice.h"
#include <stdint.h>

enum thrift_type {
    THRIFT_STOP,
    THRIFT_TRUE,
    THRIFT_FALSE,
    THRIFT_BYTE,
    THRIFT_I16,
    THRIFT_I32,
    THRIFT_I64,
    THRIFT_DOUBLE,
    THRIFT_BINARY,
    THRIFT_LIST,
    THRIFT_SET,
    THRIFT_MAP,
    THRIFT_STRUCT,
    THRIFT_UUID,
};

struct thrift {
    struct ig_slice rest; /* the bytes not read yet */
    bool broken;
};
/* Zeroed at the start of each structure. */
struct thrift_field {
    int id, type;
};

/* Reads a field's header; false at the end of the structure. */
bool thrift_field(struct thrift *t, struct thrift_field *field);
/* The value of the field just read; broken when it has another type. */
int64_t thrift_int(struct thrift *t, const struct thrift_field *field);
bool thrift_bool(struct thrift *t, const struct thrift_field *field);
struct ig_slice thrift_binary(struct thrift *t, const struct thrift_field *field);
/* The number of items of a list of structures; there are at least as many bytes. */
size_t thrift_structs(struct thrift *t, const struct thrift_field *field);
/* True when the field is a structure, which can be read then. */
bool thrift_struct(struct thrift *t, const struct thrift_field *field);
/* Steps over a value of this type. */
void thrift_skip(struct thrift *t, int type);
