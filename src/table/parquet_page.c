/* SPDX-License-Identifier: Apache-2.0
 * parquet_page — a column's pages in a row group, one entry (levels, value) at a time.
 *
 *     V1   header | packed( u32 n, repetition levels | u32 n, definition levels | values )
 *     V2   header | repetition levels | definition levels | packed( values )
 *
 * Levels are a hybrid of the width that the highest level needs, and absent where that is 0. Values
 * stand for entries of the highest definition level only: PLAIN, or codes of a dictionary (a byte
 * that says their width, then a hybrid), or for booleans a hybrid of width 1 behind its u32 length;
 * or DELTA_BINARY_PACKED       integers: delta.h DELTA_LENGTH_BYTE_ARRAY   lengths as such | the
 * texts DELTA_BYTE_ARRAY          bytes taken over from the text before, as such | the rest as the
 * last BYTE_STREAM_SPLIT         all first bytes | all second bytes | ... Source: parquet.thrift
 * and Encodings.md of apache/parquet-format 2.11. */
#include "table/parquet_internal.h"

#include <stdlib.h>

enum encoding {
    ENCODING_PLAIN = 0,
    ENCODING_PLAIN_DICTIONARY = 2,
    ENCODING_RLE = 3,
    ENCODING_DELTA = 5,
    ENCODING_DELTA_LENGTH = 6,
    ENCODING_DELTA_BYTES = 7,
    ENCODING_RLE_DICTIONARY = 8,
    ENCODING_SPLIT = 9,
};

static const char *encoding_name(int64_t encoding)
{
    static const char *const names[] = {
        "PLAIN",          "GROUP_VAR_INT",       "PLAIN_DICTIONARY",        "RLE",
        "BIT_PACKED",     "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY",
        "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"};
    return encoding >= 0 && encoding < 10 ? names[encoding] : "an unknown encoding";
}

/* Bits that hold `level`. */
static unsigned level_width(int level)
{
    return level ? 32u - (unsigned)__builtin_clz((unsigned)level) : 0;
}

static bool cut(struct ig_slice *rest, uint64_t bytes, struct ig_slice *out)
{
    if (bytes > rest->len) return false;
    *out = ig_slice_make(rest->ptr, (size_t)bytes);
    *rest = ig_slice_make(rest->ptr + bytes, rest->len - (size_t)bytes);
    return true;
}

/* A u32 length and so many bytes. */
static bool cut_counted(struct ig_slice *rest, struct ig_slice *out)
{
    struct ig_slice length;
    return cut(rest, 4, &length) && cut(rest, table__u32(table__bytes(length)), out);
}

static bool is_wide(enum pq_type type)
{
    return type == PQ_INT64 || type == PQ_DOUBLE;
}

/* The next value of PLAIN, but for booleans. */
static bool plain_value(struct ig_slice *rest, enum pq_type type, struct pq_value *out)
{
    struct ig_slice bytes;
    if (type == PQ_BYTES) return cut_counted(rest, &out->text);
    bool wide = is_wide(type);
    if (!cut(rest, wide ? 8 : 4, &bytes)) return false;
    out->bits = wide ? table__u64(table__bytes(bytes)) : table__u32(table__bytes(bytes));
    return true;
}

void pq_cursor_start(struct pq_cursor *c, const struct pq_node *leaf, const struct pq_chunk *chunk,
                     struct ig_slice file, struct table_budget *budget)
{
    bool dictionary_first = chunk->dictionary > 0 && chunk->dictionary < chunk->first_page;
    int64_t start = dictionary_first ? chunk->dictionary : chunk->first_page;
    pq_cursor_release(c);
    *c = (struct pq_cursor){.leaf = leaf,
                            .budget = budget,
                            .codec = chunk->codec,
                            .rest = ig_slice_make(file.ptr + start, (size_t)chunk->bytes),
                            .entries = chunk->values};
}

static void release_dictionary(struct pq_cursor *c)
{
    free(c->dictionary_bytes);
    free(c->dictionary);
    c->dictionary_bytes = NULL;
    c->dictionary = NULL;
}

void pq_cursor_release(struct pq_cursor *c)
{
    ig_buf_release(&c->last);
    free(c->page);
    c->page = NULL;
    release_dictionary(c);
}

/* ---- a page's bytes ---- */

/* What the page unpacks to: a view of the file, or new memory in *owned. */
static bool unpack(struct pq_cursor *c, struct ig_slice packed, uint64_t bytes, void **owned,
                   struct ig_slice *out, struct ig_err *err)
{
    enum { UNCOMPRESSED, SNAPPY, GZIP, LZO, BROTLI, LZ4, ZSTD, LZ4_RAW, CODECS };
    static const char *const names[] = {"UNCOMPRESSED", "SNAPPY", "GZIP", "LZO",
                                        "BROTLI",       "LZ4",    "ZSTD", "LZ4_RAW"};
    int codec = c->codec;
    if (codec == UNCOMPRESSED) {
        *out = packed;
        if (packed.len == bytes) return true;
        return ig_err_set(err, IG_ERR_DATA, "a page of %zu bytes says it has %llu", packed.len,
                          (unsigned long long)bytes);
    }
    if (codec != SNAPPY && codec != GZIP && codec != ZSTD)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "its codec is %s; UNCOMPRESSED, SNAPPY, GZIP and ZSTD are read",
                          codec >= 0 && codec < CODECS ? names[codec] : "unknown");
    if (!table__unpack_room(c->budget, bytes, owned, err)) return false;
    *out = ig_slice_make(*owned, (size_t)bytes);
    if (bytes == 0 && packed.len == 0) return true; /* a V2 page of nulls has no values to pack */
    return table__unpack(codec == SNAPPY ? TABLE_SNAPPY
                         : codec == GZIP ? TABLE_GZIP
                                         : TABLE_ZSTD,
                         packed, *owned, (size_t)bytes, err);
}

static bool load_dictionary(struct pq_cursor *c, const struct pq_page *page, struct ig_slice bytes,
                            struct ig_err *err)
{
    struct ig_slice rest;
    void *room;
    if (c->has_dictionary) return ig_err_set(err, IG_ERR_DATA, "it has two dictionaries");
    if (page->encoding != ENCODING_PLAIN && page->encoding != ENCODING_PLAIN_DICTIONARY)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "its dictionary is %s; PLAIN is read",
                          encoding_name(page->encoding));
    if (c->leaf->type == PQ_BOOLEAN || c->leaf->type == PQ_INT96)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "a dictionary of such values is not read");
    if (!unpack(c, bytes, (uint64_t)page->unpacked, &c->dictionary_bytes, &rest, err)) return false;
    if ((uint64_t)page->values > rest.len / 4) /* no value takes less than 4 bytes */
        return ig_err_set(err, IG_ERR_DATA, "a dictionary of %zu bytes cannot hold %lld values",
                          rest.len, (long long)page->values);
    size_t count = (size_t)page->values;
    if (!table__unpack_room(c->budget, count * sizeof *c->dictionary, &room, err)) return false;
    c->dictionary = room;
    c->dictionary_count = count;
    c->has_dictionary = true;
    memset(c->dictionary, 0, count * sizeof *c->dictionary);
    for (size_t i = 0; i < count; i++)
        if (!plain_value(&rest, c->leaf->type, &c->dictionary[i]))
            return ig_err_set(err, IG_ERR_DATA, "the dictionary ends before its value %zu", i);
    return true;
}

/* Cuts V1's levels off the unpacked bytes. */
static bool cut_levels_v1(struct pq_cursor *c, const struct pq_page *page, struct ig_slice *values,
                          struct ig_err *err)
{
    struct ig_slice def = {0}, rep = {0};
    bool has_def = c->leaf->def_max > 0, has_rep = c->leaf->rep_max > 0;
    if ((has_def && page->levels_encoding[0] != ENCODING_RLE) ||
        (has_rep && page->levels_encoding[1] != ENCODING_RLE))
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "its levels are %s; RLE is read",
                          encoding_name(page->levels_encoding[has_def ? 0 : 1]));
    if ((has_rep && !cut_counted(values, &rep)) || (has_def && !cut_counted(values, &def)))
        return ig_err_set(err, IG_ERR_DATA, "the levels of a page exceed it");
    c->def = table__hybrid(def, level_width(c->leaf->def_max));
    c->rep = table__hybrid(rep, level_width(c->leaf->rep_max));
    return true;
}

static bool start_v1(struct pq_cursor *c, const struct pq_page *page, struct ig_slice bytes,
                     struct ig_err *err)
{
    return unpack(c, bytes, (uint64_t)page->unpacked, &c->page, &c->plain, err) &&
           cut_levels_v1(c, page, &c->plain, err);
}

static bool start_v2(struct pq_cursor *c, const struct pq_page *page, struct ig_slice bytes,
                     struct ig_err *err)
{
    struct ig_slice def, rep;
    if (page->def_bytes < 0 || page->rep_bytes < 0 ||
        !cut(&bytes, (uint64_t)page->rep_bytes, &rep) ||
        !cut(&bytes, (uint64_t)page->def_bytes, &def) ||
        (uint64_t)page->unpacked < rep.len + def.len)
        return ig_err_set(err, IG_ERR_DATA, "the levels of a page exceed it");
    c->def = table__hybrid(def, level_width(c->leaf->def_max));
    c->rep = table__hybrid(rep, level_width(c->leaf->rep_max));
    if (page->is_packed)
        return unpack(c, bytes, (uint64_t)page->unpacked - rep.len - def.len, &c->page, &c->plain,
                      err);
    c->plain = bytes;
    return true;
}

static bool start_codes(struct pq_cursor *c, struct ig_err *err)
{
    if (!c->has_dictionary)
        return ig_err_set(err, IG_ERR_DATA, "a page needs a dictionary, and there is none");
    unsigned width = c->plain.len ? (unsigned char)*c->plain.ptr : 0;
    if (width > 32)
        return ig_err_set(err, IG_ERR_DATA, "codes of a dictionary with %u bits", width);
    c->encoding = PQ_DICTIONARY;
    c->codes = table__hybrid(
        c->plain.len ? ig_slice_make(c->plain.ptr + 1, c->plain.len - 1) : c->plain, width);
    return true;
}

/* The encodings that stand in for PLAIN where a column's type allows. */
static bool start_packed(struct pq_cursor *c, int64_t encoding, struct ig_err *err)
{
    struct ig_slice codes;
    bool ok = true;
    switch (encoding) {
    case ENCODING_RLE:
        c->encoding = PQ_RLE;
        ok = cut_counted(&c->plain, &codes);
        if (ok) c->codes = table__hybrid(codes, 1);
        break;
    case ENCODING_DELTA:
        c->encoding = PQ_DELTA;
        ok = table__delta_open(c->plain, &c->delta);
        break;
    case ENCODING_DELTA_BYTES:
        c->encoding = PQ_PREFIXES;
        ig_buf_clear(&c->last);
        ok = table__delta_open(c->plain, &c->prefixes) &&
             table__delta_end(c->prefixes, &c->plain) && table__delta_open(c->plain, &c->delta) &&
             table__delta_end(c->delta, &c->plain);
        break;
    case ENCODING_DELTA_LENGTH:
        c->encoding = PQ_LENGTHS;
        ok = table__delta_open(c->plain, &c->delta) && table__delta_end(c->delta, &c->plain);
        break;
    default:
        c->encoding = PQ_SPLIT;
        c->split_at = 0;
        c->split_count = c->plain.len / (is_wide(c->leaf->type) ? 8 : 4);
    }
    return ok ||
           ig_err_set(err, IG_ERR_DATA, "the values of a page are no %s", encoding_name(encoding));
}

/* How the values in c->plain are to be read. */
static bool start_values(struct pq_cursor *c, const struct pq_page *page, struct ig_err *err)
{
    enum pq_type type = c->leaf->type;
    bool integer = type == PQ_INT32 || type == PQ_INT64, fits = false;
    c->bit = 0;
    switch (page->encoding) {
    case ENCODING_PLAIN: c->encoding = PQ_PLAIN; return true;
    case ENCODING_PLAIN_DICTIONARY:
    case ENCODING_RLE_DICTIONARY: return start_codes(c, err);
    case ENCODING_RLE: fits = type == PQ_BOOLEAN; break;
    case ENCODING_DELTA: fits = integer; break;
    case ENCODING_DELTA_LENGTH:
    case ENCODING_DELTA_BYTES: fits = type == PQ_BYTES; break;
    case ENCODING_SPLIT: fits = integer || type == PQ_FLOAT || type == PQ_DOUBLE; break;
    default: break;
    }
    if (fits) return start_packed(c, page->encoding, err);
    return ig_err_set(err, IG_ERR_UNSUPPORTED, "its values are %s, which is not read for its type",
                      encoding_name(page->encoding));
}

/* Reads the next page, whatever it is. */
static bool next_page(struct pq_cursor *c, struct ig_err *err)
{
    struct pq_page page;
    struct ig_slice bytes;
    if (c->rest.len == 0)
        return ig_err_set(err, IG_ERR_DATA, "its pages end %lld values early",
                          (long long)c->entries);
    if (!pq_page_read(&c->rest, &page, err)) return false;
    bool fits = cut(&c->rest, (uint64_t)page.packed, &bytes); /* as the reader of the header saw */
    if (fits && page.crc >= 0 && table__crc(bytes) != page.crc)
        return ig_err_set(err, IG_ERR_DATA, "the checksum of a page does not fit its bytes");
    if (page.type == PQ_PAGE_INDEX) return true;
    if (page.type == PQ_PAGE_DICTIONARY) return load_dictionary(c, &page, bytes, err);
    if (page.values > c->entries)
        return ig_err_set(err, IG_ERR_DATA, "a page has %lld values; the column has %lld left",
                          (long long)page.values, (long long)c->entries);
    free(c->page);
    c->page = NULL;
    bool ok = page.type == PQ_PAGE_DATA_V2 ? start_v2(c, &page, bytes, err)
                                           : start_v1(c, &page, bytes, err);
    if (!ok || !start_values(c, &page, err)) return false;
    c->entries -= page.values;
    c->page_entries = page.values;
    return true;
}

/* ---- entries ---- */

bool pq_cursor_peek(struct pq_cursor *c, struct ig_err *err)
{
    uint32_t def = 0, rep = 0;
    if (c->loaded || c->ended) return true;
    while (c->page_entries == 0) {
        if (c->entries == 0) {
            c->ended = true;
            return true;
        }
        if (!next_page(c, err)) return false;
    }
    if ((c->leaf->def_max && !table__hybrid_next(&c->def, &def)) ||
        (c->leaf->rep_max && !table__hybrid_next(&c->rep, &rep)))
        return ig_err_set(err, IG_ERR_DATA, "the levels of a page end early");
    if (def > (uint32_t)c->leaf->def_max || rep > (uint32_t)c->leaf->rep_max)
        return ig_err_set(err, IG_ERR_DATA, "level %u of %d", (unsigned)(def > rep ? def : rep),
                          def > rep ? c->leaf->def_max : c->leaf->rep_max);
    c->page_entries--;
    c->def_now = (int)def;
    c->rep_now = (int)rep;
    c->loaded = true;
    return true;
}

static bool plain_bool(struct pq_cursor *c, struct pq_value *out)
{
    if (c->plain.len == 0) return false;
    out->bits = (unsigned char)*c->plain.ptr >> c->bit & 1;
    c->bit = (c->bit + 1) % 8;
    if (c->bit == 0) c->plain = ig_slice_make(c->plain.ptr + 1, c->plain.len - 1);
    return true;
}

/* The next text of PQ_LENGTHS. */
static bool counted_text(struct pq_cursor *c, struct ig_slice *out)
{
    uint64_t bytes;
    return table__delta_next(&c->delta, &bytes) && cut(&c->plain, bytes, out);
}

static bool prefixed_text(struct pq_cursor *c, struct ig_slice *out)
{
    uint64_t prefix;
    struct ig_slice suffix;
    if (!table__delta_next(&c->prefixes, &prefix) || prefix > c->last.len ||
        !counted_text(c, &suffix))
        return false;
    c->last.len = (size_t)prefix;
    ig_buf_slice(&c->last, suffix);
    *out = ig_buf_view(&c->last);
    return !c->last.failed;
}

static bool split_value(struct pq_cursor *c, uint64_t *out)
{
    size_t width = is_wide(c->leaf->type) ? 8 : 4;
    if (c->split_at == c->split_count) return false;
    for (size_t i = 0; i < width; i++)
        *out |= (uint64_t)(unsigned char)c->plain.ptr[i * c->split_count + c->split_at] << 8 * i;
    c->split_at++;
    return true;
}

bool pq_cursor_value(struct pq_cursor *c, struct pq_value *out, struct ig_err *err)
{
    uint32_t code = 0;
    bool ok = false;
    *out = (struct pq_value){0};
    switch (c->encoding) {
    case PQ_PLAIN:
        ok = c->leaf->type == PQ_BOOLEAN ? plain_bool(c, out)
                                         : plain_value(&c->plain, c->leaf->type, out);
        break;
    case PQ_RLE:
        ok = table__hybrid_next(&c->codes, &code);
        out->bits = code;
        break;
    case PQ_DELTA: ok = table__delta_next(&c->delta, &out->bits); break;
    case PQ_LENGTHS: ok = counted_text(c, &out->text); break;
    case PQ_PREFIXES: ok = prefixed_text(c, &out->text); break;
    case PQ_SPLIT: ok = split_value(c, &out->bits); break;
    case PQ_DICTIONARY:
        ok = table__hybrid_next(&c->codes, &code);
        if (ok && code >= c->dictionary_count)
            return ig_err_set(err, IG_ERR_DATA, "code %u of a dictionary of %zu", (unsigned)code,
                              c->dictionary_count);
        if (ok) *out = c->dictionary[code];
        break;
    }
    return ok || ig_err_set(err, IG_ERR_DATA, "the values of a page end early");
}
