/* SPDX-License-Identifier: Apache-2.0
 * table_internal — what the files of this room share.
 *
 *     bytes --table--> format --parquet | arrow | lines--> rows --cell--> JSON
 *
 * Nothing in a file bounds the work but what comes out of it: levels and values are decoded one at
 * a time, when a row is written, and every one of them writes at least a byte to the caller's
 * buffer, whose cap then ends it. What is unpacked before is charged to `unpacked`. */
#pragma once
#include "base/arena.h"
#include "ingot/table.h"

#include <string.h>

#define TABLE_FILE_BYTES_MAX     ((size_t)1 << 31)
#define TABLE_UNPACKED_BYTES_MAX ((uint64_t)1 << 34) /* of one file, by all its codecs */
#define TABLE_PAGE_BYTES_MAX     ((size_t)1 << 30)   /* of one page or buffer, unpacked */
#define TABLE_COLUMNS_MAX        4096                /* with the nested ones */
#define TABLE_NAME_BYTES_MAX     ((size_t)64 << 10)  /* of a column: names may be shared by many */
#define TABLE_PATH_BYTES_MAX     1024                /* for messages, which show 256 */
#define TABLE_DEPTH_MAX          16 /* the seven benchmarks have 3; JSON readers take 127 */

/* Little-endian loads from any place. */
static inline uint32_t table__u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t table__u64(const unsigned char *p)
{
    return table__u32(p) | (uint64_t)table__u32(p + 4) << 32;
}
static inline const unsigned char *table__bytes(struct ig_slice s)
{
    return (const unsigned char *)(s.ptr ? s.ptr : "");
}

/* What a file may still unpack. */
struct table_budget {
    uint64_t left;
};

/* ---- a format: made by its open, driven by table.c ---- */
struct table_reader {
    const char *format;
    int64_t count;
    void *state;
    bool (*next)(void *state, struct ig_buf *out, int64_t *place, bool *done, struct ig_err *err);
    void (*close)(void *state);
};
/* Each borrows the bytes, fills the reader, and does no more than to look at the file's frame. */
IG_MUST_CHECK bool table__parquet_open(struct ig_slice bytes, uint64_t unpacked_max,
                                       struct table_reader *out, struct ig_err *err);
IG_MUST_CHECK bool table__arrow_open(struct ig_slice bytes, uint64_t unpacked_max,
                                     struct table_reader *out, struct ig_err *err);
IG_MUST_CHECK bool table__lines_open(struct ig_slice bytes, struct table_reader *out,
                                     struct ig_err *err);
/* Picks the format by the first bytes. */
IG_MUST_CHECK bool table__open(struct ig_slice bytes, uint64_t unpacked_max,
                               struct table_reader *out, struct ig_err *err);

/* ---- unpack.c ---- */
enum table_codec { TABLE_SNAPPY, TABLE_GZIP, TABLE_ZSTD };
/* Unpacks into `bytes` bytes at out, exactly. */
IG_MUST_CHECK bool table__unpack(enum table_codec codec, struct ig_slice packed, void *out,
                                 size_t bytes, struct ig_err *err);
/* Takes bytes off the budget and allocates them (at least one; free it). */
IG_MUST_CHECK bool table__unpack_room(struct table_budget *budget, uint64_t bytes, void **out,
                                      struct ig_err *err);
/* CRC-32 as gzip has it. */
uint32_t table__crc(struct ig_slice bytes);

/* ---- cell.c: values as JSON ---- */
void table__put_int(struct ig_buf *out, int64_t value);
void table__put_uint(struct ig_buf *out, uint64_t value);
/* Python's repr. */
IG_MUST_CHECK bool table__put_real(struct ig_buf *out, double value, struct ig_err *err);
IG_MUST_CHECK bool table__put_text(struct ig_buf *out, struct ig_slice text, struct ig_err *err);
/* "name": with the colon, in the arena. */
IG_MUST_CHECK bool table__member(struct ig_arena *arena, struct ig_slice name, struct ig_slice *out,
                                 struct ig_err *err);
/* "parent.name", or "name" at the top, in the arena; cut off where it is long. */
IG_MUST_CHECK bool table__path(struct ig_arena *arena, struct ig_slice parent, struct ig_slice name,
                               struct ig_slice *out, struct ig_err *err);
