/* SPDX-License-Identifier: Apache-2.0
 * parquet_internal — what the parquet files of this room share.
 *
 *     footer --parquet_footer--> elements, row groups --parquet_schema--> nodes
 *     pages --parquet_page--> entries (levels, value) --parquet--> rows
 *
 * Numbers of enums are the format's: parquet.thrift of apache/parquet-format 2.11. */
#pragma once
#include "table/delta.h"
#include "table/hybrid.h"
#include "table/table_internal.h"

#define PQ_MAGIC_BYTES 4
#define PQ_TAIL_BYTES  8 /* length of the footer, magic */

enum pq_type { PQ_BOOLEAN, PQ_INT32, PQ_INT64, PQ_INT96, PQ_FLOAT, PQ_DOUBLE, PQ_BYTES, PQ_FIXED };
enum pq_repetition { PQ_REQUIRED, PQ_OPTIONAL, PQ_REPEATED };

struct pq_element { /* of the schema, in depth-first order */
    struct ig_slice name;
    int type; /* enum pq_type; -1: a group */
    int repetition;
    int converted; /* -1: none */
    int logical;   /* number of the member of the union LogicalType; 0: none */
    int bits;      /* of the logical type INTEGER */
    bool is_signed;
    int64_t children;
};

struct pq_chunk { /* a column's bytes in a row group */
    bool external, encrypted, described;
    int type, codec;
    int64_t values; /* entries: values and nulls */
    int64_t first_page, dictionary, bytes;
};
struct pq_group {
    int64_t rows;
    struct pq_chunk *chunks;
    size_t count;
};
struct pq_footer {
    struct pq_element *elements;
    size_t element_count;
    struct pq_group *groups;
    size_t group_count;
    int64_t rows;
    bool encrypted;
};
/* ---- parquet_footer.c ---- */
IG_MUST_CHECK bool pq_footer_read(struct ig_slice bytes, struct ig_arena *arena,
                                  struct pq_footer *out, struct ig_err *err);

enum pq_page_type { PQ_PAGE_DATA, PQ_PAGE_INDEX, PQ_PAGE_DICTIONARY, PQ_PAGE_DATA_V2 };
struct pq_page {
    int64_t type, unpacked, packed, crc; /* crc -1: none */
    int64_t values, encoding;
    int64_t levels_encoding[2];   /* V1: definition, repetition */
    int64_t def_bytes, rep_bytes; /* V2 */
    bool is_packed, described;
};
/* Reads the header at the start of *rest, and steps over it. */
IG_MUST_CHECK bool pq_page_read(struct ig_slice *rest, struct pq_page *out, struct ig_err *err);

/* ---- parquet_schema.c ---- */
enum pq_kind { PQ_STRUCT, PQ_LIST, PQ_LEAF };
enum pq_value_kind { PQ_NULL, PQ_BOOL, PQ_INT, PQ_UINT, PQ_REAL, PQ_TEXT };
struct pq_node {
    enum pq_kind kind;
    struct ig_slice path;   /* "choices.text", for messages */
    struct ig_slice member; /* "\"text\":", of a struct's members */
    int def;                /* definition level from which it is not null */
    int def_item, rep;      /* list: level from which it has items; repetition level of the next */
    int leaf, leaves;       /* the first of its leaves, how many */
    struct pq_node *children;
    int count;
    /* of a leaf */
    enum pq_type type;
    enum pq_value_kind value;
    int bits; /* of an integer */
    int def_max, rep_max;
};
/* The root is a struct that is never null. */
IG_MUST_CHECK bool pq_schema_build(const struct pq_footer *footer, struct ig_arena *arena,
                                   struct pq_node *root, struct ig_err *err);

/* ---- parquet_page.c: the entries of a column in a row group ---- */
struct pq_value {
    struct ig_slice text; /* BYTE_ARRAY */
    uint64_t bits;        /* all others, as stored */
};
enum pq_encoding { PQ_PLAIN, PQ_DICTIONARY, PQ_RLE, PQ_DELTA, PQ_LENGTHS, PQ_PREFIXES, PQ_SPLIT };
struct pq_cursor {
    const struct pq_node *leaf;
    struct table_budget *budget;
    int codec;
    struct ig_slice rest; /* pages not begun */
    int64_t entries;      /* not in a page begun */
    int64_t page_entries; /* left of the page begun */
    struct table_hybrid def, rep, codes;
    enum pq_encoding encoding;
    struct ig_slice plain;
    unsigned bit;                       /* of the first byte of plain, for booleans */
    struct table_delta delta, prefixes; /* numbers or lengths; lengths of what is taken over */
    struct ig_buf last;                 /* the value before, for PQ_PREFIXES */
    size_t split_at, split_count;       /* next value of PQ_SPLIT, how many */
    void *page, *dictionary_bytes;
    struct pq_value *dictionary;
    size_t dictionary_count;
    bool has_dictionary;
    /* the entry at hand */
    bool loaded, ended;
    int def_now, rep_now;
};
void pq_cursor_start(struct pq_cursor *c, const struct pq_node *leaf, const struct pq_chunk *chunk,
                     struct ig_slice file, struct table_budget *budget);
void pq_cursor_release(struct pq_cursor *c);
/* Sees to it that def_now and rep_now are those of the next entry, or that `ended` is set. */
IG_MUST_CHECK bool pq_cursor_peek(struct pq_cursor *c, struct ig_err *err);
/* The value of the entry at hand, whose definition level must be the highest. */
IG_MUST_CHECK bool pq_cursor_value(struct pq_cursor *c, struct pq_value *out, struct ig_err *err);
