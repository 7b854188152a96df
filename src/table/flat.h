/* SPDX-License-Identifier: Apache-2.0
 * flat — reading FlatBuffers, as far as Arrow's messages need them.
 *
 * Places are offsets into the buffer; 0 stands for what is absent, and everything read from it is
 * absent too. Errors are sticky: a place outside of the buffer sets `broken` and gives absence;
 * check it once.
 *
 *     table:   i32, back to its vtable; fields
 *     vtable:  u16 its bytes, u16 the table's, u16 for each field: its offset in the table, 0: none
 *     vector, string:  u32 count, items. Offsets are u32, counted from where they stand. */
#pragma once
#include "ingot/slice.h"
#include <stdint.h>

struct flat {
    struct ig_slice bytes;
    bool broken;
};
struct flat_vector {
    size_t place, count; /* of the first item */
};

size_t flat_root(struct flat *f);
/* A member of a table by its number: scalars, or `absent`. */
int64_t flat_int(struct flat *f, size_t table, unsigned member, unsigned bytes, int64_t absent);
/* A member that is a table, a string or a vector of items that have `bytes` each. */
size_t flat_table(struct flat *f, size_t table, unsigned member);
struct ig_slice flat_text(struct flat *f, size_t table, unsigned member);
struct flat_vector flat_list(struct flat *f, size_t table, unsigned member, unsigned bytes);
/* Item i of a vector of tables; an integer in an item of a vector of structs. */
size_t flat_item(struct flat *f, struct flat_vector list, size_t i);
int64_t flat_load(struct flat *f, size_t place, unsigned bytes);
