/* SPDX-License-Identifier: Apache-2.0
 * unpack — the codecs of pages and buffers. (The only file that includes snappy, zstd and zlib.)
 *
 * Sizes are known beforehand from the file and must be met exactly: a codec never decides how much
 * memory is taken. */
#include "table/table_internal.h"

#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

static bool unpack_snappy(struct ig_slice packed, void *out, size_t bytes)
{
    size_t found;
    return snappy_uncompressed_length(packed.ptr, packed.len, &found) == SNAPPY_OK &&
           found == bytes && snappy_uncompress(packed.ptr, packed.len, out, &found) == SNAPPY_OK &&
           found == bytes;
}

static bool unpack_zstd(struct ig_slice packed, void *out, size_t bytes)
{
    size_t found = ZSTD_decompress(out, bytes, packed.ptr, packed.len);
    return !ZSTD_isError(found) && found == bytes;
}

static bool unpack_gzip(struct ig_slice packed, void *out, size_t bytes)
{
    unsigned char in_place_of_none;
    z_stream z = {.avail_in = (uInt)packed.len, .avail_out = (uInt)bytes};
    if (packed.len > UINT32_MAX || bytes > UINT32_MAX) return false;
    memcpy(&z.next_in, &packed.ptr, sizeof z.next_in); /* not const in old versions of zlib.h */
    z.next_out = bytes ? out : &in_place_of_none;
    if (inflateInit2(&z, MAX_WBITS + 32) != Z_OK) return false; /* + 32: gzip or zlib by header */
    int status = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return status == Z_STREAM_END && z.total_out == bytes;
}

bool table__unpack(enum table_codec codec, struct ig_slice packed, void *out, size_t bytes,
                   struct ig_err *err)
{
    static const char *const names[] = {"snappy", "gzip", "zstd"};
    bool ok = false;
    switch (codec) {
    case TABLE_SNAPPY: ok = unpack_snappy(packed, out, bytes); break;
    case TABLE_GZIP: ok = unpack_gzip(packed, out, bytes); break;
    case TABLE_ZSTD: ok = unpack_zstd(packed, out, bytes); break;
    }
    if (ok) return true;
    return ig_err_set(err, IG_ERR_DATA, "%zu bytes of %s do not unpack to the %zu that are said",
                      packed.len, names[codec], bytes);
}

bool table__unpack_room(struct table_budget *budget, uint64_t bytes, void **out, struct ig_err *err)
{
    if (bytes > TABLE_PAGE_BYTES_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "%llu bytes unpacked are more than %zu",
                          (unsigned long long)bytes, TABLE_PAGE_BYTES_MAX);
    if (bytes > budget->left)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "the file unpacks to more than %llu bytes",
                          (unsigned long long)TABLE_UNPACKED_BYTES_MAX);
    void *room = malloc(bytes ? bytes : 1);
    if (!room) return ig_err_nomem(err);
    budget->left -= bytes;
    *out = room;
    return true;
}

uint32_t table__crc(struct ig_slice bytes)
{
    return (uint32_t)crc32_z(0, table__bytes(bytes), bytes.len);
}
