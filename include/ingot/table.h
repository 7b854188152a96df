/* SPDX-License-Identifier: Apache-2.0
 * table — the rows of a data file as JSON objects, one after the other.
 *
 * Use:   ig_table_open -> ig_table_next until it says that there are no more -> ig_table_close.
 * Reads: Parquet (the Hub's files), Arrow IPC streams (the cache of `datasets`) and files, JSON
 *        Lines. The first bytes decide which, not the name.
 * Gives: what json.dumps makes of the row that pyarrow has: members in the order of the columns,
 *        integers exact, floats as Python's repr (f32 widened), strings checked to be UTF-8.
 *        Lines of JSON Lines come as they are: whoever parses them checks them.
 * Owns:  the file's bytes; of a Parquet file the pages at hand are unpacked, not all of it.
 * Threads: a table belongs to one thread at a time.
 * Limits: TABLE_FILE_BYTES_MAX, TABLE_UNPACKED_BYTES_MAX, TABLE_COLUMNS_MAX, TABLE_DEPTH_MAX
 *        (table_internal.h). What the formats have and this does not read is refused by name and
 *        column: docs/formats/parquet.md. */
#pragma once
#include "ingot/buf.h"
#include <stdint.h>

struct ig_table;

IG_MUST_CHECK bool ig_table_open(const char *path, struct ig_table **out, struct ig_err *err);
/* "Parquet", "Arrow" or "JSON Lines". */
const char *ig_table_format(const struct ig_table *table);
/* Rows in the file; blank lines of JSON Lines are none. */
int64_t ig_table_count(const struct ig_table *table);
/* Appends the next row to out, on one line and without a newline; *done when there was none left.
 * After an error the table can only be closed. */
IG_MUST_CHECK bool ig_table_next(struct ig_table *table, struct ig_buf *out, bool *done,
                                 struct ig_err *err);
/* Where the row that next gave last is, from 1: its line in JSON Lines, else which row it is. */
int64_t ig_table_place(const struct ig_table *table);
void ig_table_close(struct ig_table *table);
