/* SPDX-License-Identifier: Apache-2.0
 * delta — Parquet's DELTA_BINARY_PACKED, read one value at a time.
 *
 *     head    varint values of a block | varint miniblocks of it | varint values | zigzag first
 * value block   zigzag least delta | width of each miniblock, a byte each | miniblocks miniblock
 * deltas less the least, packed, low bits first
 *
 * A block's miniblocks that hold no value any more have a width but no bytes. */
#pragma once
#include "ingot/slice.h"
#include <stdint.h>

struct table_delta {
    struct ig_slice rest;   /* behind the miniblock at hand; at the end: behind all */
    struct ig_slice widths; /* of the block's miniblocks to come */
    struct ig_slice packed; /* the miniblock at hand */
    uint64_t block_minis, mini_values;
    uint64_t left;    /* values */
    uint64_t in_mini; /* values left of the miniblock at hand */
    uint64_t bit;     /* next, of packed */
    unsigned width;
    uint64_t value, least;
    bool first;
};
/* Reads the head off the bytes; false when it is none. */
bool table__delta_open(struct ig_slice bytes, struct table_delta *out);
/* The next value, modulo 2^64; false at the end, or when the bytes have ended. */
bool table__delta_next(struct table_delta *d, uint64_t *out);
/* What stands behind all values; false when the bytes end before. */
bool table__delta_end(struct table_delta d, struct ig_slice *rest);
