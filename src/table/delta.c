/* SPDX-License-Identifier: Apache-2.0
 * delta — see delta.h. Source: "Delta Encoding" in Encodings.md of apache/parquet-format 2.11. */
#include "table/delta.h"

#define BLOCK_VALUES_MAX (UINT64_C(1) << 30) /* writers take 128 to 4096 */

static bool varint(struct ig_slice *rest, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && rest->len; shift += 7) {
        unsigned byte = (unsigned char)*rest->ptr;
        *rest = ig_slice_make(rest->ptr + 1, rest->len - 1);
        value |= (uint64_t)(byte & 0x7F) << shift;
        *out = value;
        if (byte < 0x80) return true;
    }
    return false;
}

static bool zigzag(struct ig_slice *rest, uint64_t *out)
{
    uint64_t value;
    if (!varint(rest, &value)) return false;
    *out = value >> 1 ^ (0 - (value & 1));
    return true;
}

static bool cut(struct ig_slice *rest, uint64_t bytes, struct ig_slice *out)
{
    if (bytes > rest->len) return false;
    *out = ig_slice_make(rest->ptr, (size_t)bytes);
    *rest = ig_slice_make(rest->ptr + bytes, rest->len - (size_t)bytes);
    return true;
}

bool table__delta_open(struct ig_slice bytes, struct table_delta *out)
{
    struct table_delta d = {.rest = bytes, .first = true};
    uint64_t block;
    if (!varint(&d.rest, &block) || !varint(&d.rest, &d.block_minis) || !varint(&d.rest, &d.left) ||
        !zigzag(&d.rest, &d.value) || block > BLOCK_VALUES_MAX || d.block_minis == 0)
        return false;
    d.mini_values = block / d.block_minis;
    if (d.mini_values == 0 || d.mini_values % 8 != 0) return false; /* so it fills whole bytes */
    *out = d;
    return true;
}

/* Goes on to the next miniblock, which has a value at least. */
static bool next_mini(struct table_delta *d)
{
    if (d->widths.len == 0 &&
        (!zigzag(&d->rest, &d->least) || !cut(&d->rest, d->block_minis, &d->widths)))
        return false;
    d->width = (unsigned char)*d->widths.ptr;
    d->widths = ig_slice_make(d->widths.ptr + 1, d->widths.len - 1);
    d->bit = 0;
    d->in_mini = d->mini_values;
    return d->width <= 64 && cut(&d->rest, d->mini_values / 8 * d->width, &d->packed);
}

/* The bits at d->bit. */
static uint64_t unpack(struct table_delta *d)
{
    uint64_t value = 0;
    for (unsigned have = 0; have < d->width;) {
        unsigned at = (unsigned)(d->bit % 8), take = 8 - at;
        if (take > d->width - have) take = d->width - have;
        uint64_t byte = (unsigned char)d->packed.ptr[d->bit / 8];
        value |= (byte >> at & ((1u << take) - 1)) << have;
        have += take;
        d->bit += take;
    }
    return value;
}

bool table__delta_next(struct table_delta *d, uint64_t *out)
{
    if (d->left == 0) return false;
    if (!d->first) {
        if (d->in_mini == 0 && !next_mini(d)) return false;
        d->value += d->least + unpack(d);
        d->in_mini--;
    }
    d->first = false;
    d->left--;
    *out = d->value;
    return true;
}

bool table__delta_end(struct table_delta d, struct ig_slice *rest)
{
    if (d.first && d.left) { /* the first value is in the head */
        d.first = false;
        d.left--;
    }
    while (d.left > d.in_mini) { /* a miniblock at a time: each has a byte at least */
        d.left -= d.in_mini;
        if (!next_mini(&d)) return false;
    }
    *rest = d.rest;
    return true;
}
