/* SPDX-License-Identifier: Apache-2.0
 * parquet_footer — the Thrift structures of a Parquet file. Statistics, indexes, bloom filters and
 * key-value pairs are stepped over.
 *
 *     "PAR1" | pages ... | FileMetaData | u32 length of it | "PAR1" */
#include "table/parquet_internal.h"
#include "table/thrift.h"

/* Numbers that are kept as int: outside of int they are no valid enum either. */
static int small(struct thrift *t, const struct thrift_field *f)
{
    int64_t value = thrift_int(t, f);
    return value < -1 || value > INT32_MAX ? INT32_MAX : (int)value;
}

static void read_integer_type(struct thrift *t, struct pq_element *e)
{
    struct thrift_field f = {0};
    while (thrift_field(t, &f)) {
        switch (f.id) {
        case 1: e->bits = small(t, &f); break;
        case 2: e->is_signed = thrift_bool(t, &f); break;
        default: thrift_skip(t, f.type);
        }
    }
}

static void read_logical(struct thrift *t, struct pq_element *e)
{
    enum { INTEGER = 10 };
    struct thrift_field f = {0};
    while (thrift_field(t, &f)) {
        e->logical = f.id;
        if (f.id == INTEGER && thrift_struct(t, &f))
            read_integer_type(t, e);
        else
            thrift_skip(t, f.type);
    }
}

static void read_element(struct thrift *t, struct pq_element *e)
{
    struct thrift_field f = {0};
    *e = (struct pq_element){.type = -1, .converted = -1};
    while (thrift_field(t, &f)) {
        switch (f.id) {
        case 1: e->type = small(t, &f); break;
        case 3: e->repetition = small(t, &f); break;
        case 4: e->name = thrift_binary(t, &f); break;
        case 5: e->children = thrift_int(t, &f); break;
        case 6: e->converted = small(t, &f); break;
        case 10:
            if (thrift_struct(t, &f)) read_logical(t, e);
            break;
        default: thrift_skip(t, f.type);
        }
    }
}

static void read_column(struct thrift *t, struct pq_chunk *c)
{
    struct thrift_field f = {0};
    c->described = true;
    while (thrift_field(t, &f)) {
        switch (f.id) {
        case 1: c->type = small(t, &f); break;
        case 4: c->codec = small(t, &f); break;
        case 5: c->values = thrift_int(t, &f); break;
        case 7: c->bytes = thrift_int(t, &f); break;
        case 9: c->first_page = thrift_int(t, &f); break;
        case 11: c->dictionary = thrift_int(t, &f); break;
        default: thrift_skip(t, f.type);
        }
    }
}

static void read_chunk(struct thrift *t, struct pq_chunk *c)
{
    struct thrift_field f = {0};
    while (thrift_field(t, &f)) {
        switch (f.id) {
        case 1: c->external = thrift_binary(t, &f).len > 0; break;
        case 3:
            if (thrift_struct(t, &f)) read_column(t, c);
            break;
        case 8:
        case 9:
            c->encrypted = true;
            thrift_skip(t, f.type);
            break;
        default: thrift_skip(t, f.type);
        }
    }
}

static bool read_group(struct thrift *t, struct ig_arena *arena, struct pq_group *g,
                       struct ig_err *err)
{
    struct thrift_field f = {0};
    while (thrift_field(t, &f)) {
        switch (f.id) {
        case 1:
            g->count = thrift_structs(t, &f);
            if (g->count > TABLE_COLUMNS_MAX)
                return ig_err_set(err, IG_ERR_UNSUPPORTED,
                                  "a row group has %zu columns; at most "
                                  "%d are read",
                                  g->count, TABLE_COLUMNS_MAX);
            g->chunks = ig_arena_array(arena, g->count, sizeof *g->chunks);
            if (!g->chunks) return ig_err_nomem(err);
            for (size_t i = 0; i < g->count; i++)
                read_chunk(t, &g->chunks[i]);
            break;
        case 3: g->rows = thrift_int(t, &f); break;
        default: thrift_skip(t, f.type);
        }
    }
    return true;
}

static bool read_elements(struct thrift *t, const struct thrift_field *f, struct ig_arena *arena,
                          struct pq_footer *out, struct ig_err *err)
{
    out->element_count = thrift_structs(t, f);
    if (out->element_count > TABLE_COLUMNS_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "the schema has %zu elements; at most %d are read", out->element_count,
                          TABLE_COLUMNS_MAX);
    out->elements = ig_arena_array(arena, out->element_count, sizeof *out->elements);
    if (!out->elements) return ig_err_nomem(err);
    for (size_t i = 0; i < out->element_count; i++)
        read_element(t, &out->elements[i]);
    return true;
}

static bool read_metadata(struct thrift *t, struct ig_arena *arena, struct pq_footer *out,
                          struct ig_err *err)
{
    struct thrift_field f = {0};
    while (thrift_field(t, &f)) {
        switch (f.id) {
        case 2:
            if (!read_elements(t, &f, arena, out, err)) return false;
            break;
        case 3: out->rows = thrift_int(t, &f); break;
        case 4:
            out->group_count = thrift_structs(t, &f);
            out->groups = ig_arena_array(arena, out->group_count, sizeof *out->groups);
            if (!out->groups) return ig_err_nomem(err);
            for (size_t i = 0; i < out->group_count; i++)
                if (!read_group(t, arena, &out->groups[i], err)) return false;
            break;
        case 8:
            out->encrypted = true;
            thrift_skip(t, f.type);
            break;
        default: thrift_skip(t, f.type);
        }
    }
    return true;
}

bool pq_footer_read(struct ig_slice bytes, struct ig_arena *arena, struct pq_footer *out,
                    struct ig_err *err)
{
    *out = (struct pq_footer){0};
    if (bytes.len < PQ_MAGIC_BYTES + PQ_TAIL_BYTES || !ig_slice_ends(bytes, "PAR1"))
        return ig_err_set(err, IG_ERR_DATA,
                          "the Parquet file is cut off: it does not end in \"PAR1\"");
    size_t room = bytes.len - PQ_MAGIC_BYTES - PQ_TAIL_BYTES;
    const char *tail = bytes.ptr + bytes.len - PQ_TAIL_BYTES;
    uint32_t length = table__u32((const unsigned char *)tail);
    if (length > room)
        return ig_err_set(err, IG_ERR_DATA, "the footer says it has %u bytes; there are %zu",
                          (unsigned)length, room);
    struct thrift t = {.rest = ig_slice_make(tail - length, length)};
    if (!read_metadata(&t, arena, out, err)) return ig_err_within(err, "footer");
    if (t.broken) return ig_err_set(err, IG_ERR_DATA, "the footer is damaged");
    if (out->encrypted) return ig_err_set(err, IG_ERR_UNSUPPORTED, "the Parquet file is encrypted");
    return true;
}

/* ---- pages ---- */

static void read_data_head(struct thrift *t, struct pq_page *p)
{
    struct thrift_field f = {0};
    while (thrift_field(t, &f)) {
        switch (f.id) {
        case 1: p->values = thrift_int(t, &f); break;
        case 2: p->encoding = thrift_int(t, &f); break;
        case 3: p->levels_encoding[0] = thrift_int(t, &f); break;
        case 4: p->levels_encoding[1] = thrift_int(t, &f); break;
        default: thrift_skip(t, f.type);
        }
    }
}

static void read_dictionary_head(struct thrift *t, struct pq_page *p)
{
    struct thrift_field f = {0};
    while (thrift_field(t, &f)) {
        switch (f.id) {
        case 1: p->values = thrift_int(t, &f); break;
        case 2: p->encoding = thrift_int(t, &f); break;
        default: thrift_skip(t, f.type);
        }
    }
}

static void read_v2_head(struct thrift *t, struct pq_page *p)
{
    struct thrift_field f = {0};
    while (thrift_field(t, &f)) {
        switch (f.id) {
        case 1: p->values = thrift_int(t, &f); break;
        case 4: p->encoding = thrift_int(t, &f); break;
        case 5: p->def_bytes = thrift_int(t, &f); break;
        case 6: p->rep_bytes = thrift_int(t, &f); break;
        case 7: p->is_packed = thrift_bool(t, &f); break;
        default: thrift_skip(t, f.type);
        }
    }
}

static void read_page(struct thrift *t, struct pq_page *p)
{
    struct thrift_field f = {0};
    while (thrift_field(t, &f)) {
        bool head = f.type == THRIFT_STRUCT;
        if (f.id == 1) {
            p->type = thrift_int(t, &f);
        } else if (f.id == 2) {
            p->unpacked = thrift_int(t, &f);
        } else if (f.id == 3) {
            p->packed = thrift_int(t, &f);
        } else if (f.id == 4) {
            p->crc = thrift_int(t, &f) & UINT32_MAX;
        } else if (f.id == 5 && head && p->type == PQ_PAGE_DATA) {
            p->described = true;
            read_data_head(t, p);
        } else if (f.id == 7 && head && p->type == PQ_PAGE_DICTIONARY) {
            p->described = true;
            read_dictionary_head(t, p);
        } else if (f.id == 8 && head && p->type == PQ_PAGE_DATA_V2) {
            p->described = true;
            read_v2_head(t, p);
        } else {
            thrift_skip(t, f.type);
        }
    }
}

bool pq_page_read(struct ig_slice *rest, struct pq_page *out, struct ig_err *err)
{
    struct thrift t = {.rest = *rest};
    *out = (struct pq_page){.type = -1, .crc = -1, .is_packed = true};
    read_page(&t, out);
    if (t.broken) return ig_err_set(err, IG_ERR_DATA, "the header of a page is damaged");
    if (out->packed < 0 || (uint64_t)out->packed > t.rest.len)
        return ig_err_set(err, IG_ERR_DATA, "a page says it has %lld bytes; %zu are left",
                          (long long)out->packed, t.rest.len);
    if (out->type != PQ_PAGE_INDEX && (!out->described || out->values < 0 || out->unpacked < 0))
        return ig_err_set(err, IG_ERR_DATA, "the header of a page lacks its type or size");
    *rest = t.rest;
    return true;
}
