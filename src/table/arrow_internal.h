/* SPDX-License-Identifier: Apache-2.0
 * arrow_internal — what the arrow files of this room share.
 *
 *     bytes --arrow_source--> messages --arrow_schema--> columns --arrow_batch--> their buffers
 *         --arrow--> rows
 *
 * Numbers of enums are the format's: Schema.fbs and Message.fbs of apache/arrow, version 5. */
#pragma once
#include "table/flat.h"
#include "table/table_internal.h"

enum arrow_kind {
    ARROW_NULL,
    ARROW_BOOL,
    ARROW_INT,
    ARROW_UINT,
    ARROW_REAL,
    ARROW_TEXT,
    ARROW_LIST,
    ARROW_FIXED_LIST,
    ARROW_STRUCT,
};

/* A buffer of the batch at hand, and the memory that it was unpacked to, if any. */
struct arrow_buffer {
    struct ig_slice bytes;
    void *owned;
};
struct arrow_column {
    enum arrow_kind kind;
    struct ig_slice path, member; /* as pq_node's */
    int width;                    /* bytes of a number, or of an offset of a text or list */
    int64_t list_size;            /* of ARROW_FIXED_LIST */
    struct arrow_column *children;
    int count;
    /* Dictionary-encoded: this column holds indices, and values the column of what they mean. */
    struct arrow_column *values;
    int64_t dictionary;
    bool loaded; /* values' buffers are there */
    /* of the batch at hand */
    int64_t length;
    struct arrow_buffer valid, offsets, data; /* valid is empty when all are */
};

enum arrow_message_type { ARROW_SCHEMA = 1, ARROW_DICTIONARY_BATCH, ARROW_RECORD_BATCH };
struct arrow_message {
    int64_t type; /* enum arrow_message_type */
    struct flat meta;
    size_t header; /* the table of that type, in meta */
    struct ig_slice body;
};
/* ---- arrow_source.c ---- */
struct arrow_source {           /* copied to read the messages twice */
    struct ig_slice file, rest; /* rest: of a stream */
    bool is_file;
    struct flat footer;
    struct flat_vector blocks[2]; /* dictionaries, batches */
    size_t next;                  /* block, of both */
};
IG_MUST_CHECK bool arrow_source_open(struct ig_slice bytes, struct arrow_source *out,
                                     struct arrow_message *schema, struct ig_err *err);
/* The next message behind the schema; *done when there is none. */
IG_MUST_CHECK bool arrow_source_next(struct arrow_source *source, struct arrow_message *out,
                                     bool *done, struct ig_err *err);

/* ---- arrow_schema.c ---- */
/* The columns of a schema as a struct that is never null. */
IG_MUST_CHECK bool arrow_schema_read(struct arrow_message *message, struct ig_arena *arena,
                                     struct arrow_column *root, struct ig_err *err);

/* ---- arrow_batch.c ---- */
/* Takes a batch's buffers into the columns; batch is its table in the message. */
IG_MUST_CHECK bool arrow_batch_load(struct arrow_message *message, size_t batch,
                                    struct arrow_column *root, struct table_budget *budget,
                                    struct ig_err *err);
/* Frees what the column's buffers were unpacked to; of its dictionary too when `all`. */
void arrow_column_release(struct arrow_column *column, bool all);
