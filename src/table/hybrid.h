/* SPDX-License-Identifier: Apache-2.0
 * hybrid — Parquet's mix of run lengths and bit packing, read one value at a time.
 *
 *     run:     varint n << 1        value in (width + 7) / 8 bytes      n times the value
 *     packed:  varint n << 1 | 1    n * width bytes                     8 n values, low bits first
 */
#pragma once
#include "ingot/slice.h"
#include <stdint.h>

struct table_hybrid {
    const unsigned char *p, *end;
    unsigned width;  /* bits of a value, at most 32 */
    uint64_t run;    /* values left of the run */
    uint64_t packed; /* values left that are packed */
    uint32_t value;  /* of the run */
    unsigned bits;   /* read ahead, in `ahead` */
    uint64_t ahead;
};

static inline struct table_hybrid table__hybrid(struct ig_slice bytes, unsigned width)
{
    const unsigned char *p = (const unsigned char *)(bytes.ptr ? bytes.ptr : "");
    return (struct table_hybrid){.p = p, .end = p + bytes.len, .width = width};
}
/* The next value; false when the bytes have ended or are no such mix. */
bool table__hybrid_next(struct table_hybrid *h, uint32_t *out);
