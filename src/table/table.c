/* SPDX-License-Identifier: Apache-2.0
 * table — which format a file has, and JSON Lines, which needs no more than its newlines. */
#include "base/file.h"
#include "table/table_internal.h"

#include <stdlib.h>

struct ig_table {
    char *path;
    struct ig_buf bytes;
    struct table_reader reader;
    int64_t place;
};

/* ---- JSON Lines ---- */

struct lines {
    struct ig_slice rest;
    int64_t number; /* of the line cut last */
};

/* Cuts the next line that is not blank; false at the end. */
static bool next_line(struct lines *lines, struct ig_slice *line)
{
    while (lines->rest.len) {
        const char *start = lines->rest.ptr;
        const char *newline = memchr(start, '\n', lines->rest.len);
        size_t n = newline ? (size_t)(newline - start) : lines->rest.len;
        size_t step = newline ? n + 1 : n;
        lines->rest = ig_slice_make(start + step, lines->rest.len - step);
        lines->number++;
        *line = ig_slice_make(start, n);
        for (size_t i = 0; i < n; i++)
            if (start[i] != ' ' && start[i] != '\t' && start[i] != '\r') return true;
    }
    return false;
}

static bool lines_next(void *state, struct ig_buf *out, int64_t *place, bool *done,
                       struct ig_err *err)
{
    struct lines *lines = state;
    struct ig_slice line;
    *done = !next_line(lines, &line);
    if (*done) return true;
    *place = lines->number;
    ig_buf_slice(out, line);
    return ig_buf_ok(out, err);
}

bool table__lines_open(struct ig_slice bytes, struct table_reader *out, struct ig_err *err)
{
    struct lines *lines = calloc(1, sizeof *lines), count = {.rest = bytes};
    struct ig_slice line;
    if (!lines) return ig_err_nomem(err);
    if (ig_slice_starts(bytes, "\xEF\xBB\xBF")) /* a byte order mark, as Windows' editors put it */
        bytes = count.rest = ig_slice_make(bytes.ptr + 3, bytes.len - 3);
    lines->rest = bytes;
    *out = (struct table_reader){
        .format = "JSON Lines", .state = lines, .next = lines_next, .close = free};
    while (next_line(&count, &line))
        out->count++;
    return true;
}

/* ---- which one ---- */

bool table__open(struct ig_slice bytes, uint64_t unpacked_max, struct table_reader *out,
                 struct ig_err *err)
{
    /* First bytes of what is told apart from text; the last two are the usual wrappings. */
    if (ig_slice_starts(bytes, "PAR1")) return table__parquet_open(bytes, unpacked_max, out, err);
    if (ig_slice_starts(bytes, "ARROW1") || ig_slice_starts(bytes, "\xFF\xFF\xFF\xFF"))
        return table__arrow_open(bytes, unpacked_max, out, err);
    if (ig_slice_starts(bytes, "PARE"))
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "the Parquet file is encrypted");
    if (ig_slice_starts(bytes, "\x1F\x8B") || ig_slice_starts(bytes, "\x28\xB5\x2F\xFD"))
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "the file is compressed as a whole: unpack it "
                          "with %s first",
                          bytes.ptr[0] == '\x1F' ? "gzip -d" : "zstd -d");
    return table__lines_open(bytes, out, err);
}

bool ig_table_open(const char *path, struct ig_table **out, struct ig_err *err)
{
    struct ig_table *table = calloc(1, sizeof *table);
    if (!table) return ig_err_nomem(err);
    table->path = strdup(path);
    bool ok = table->path || ig_err_nomem(err);
    ok = ok && ig_file_read(path, TABLE_FILE_BYTES_MAX, &table->bytes, err);
    if (ok &&
        !table__open(ig_buf_view(&table->bytes), TABLE_UNPACKED_BYTES_MAX, &table->reader, err))
        ok = ig_err_within(err, "'%s'", path);
    if (!ok) {
        ig_table_close(table);
        return false;
    }
    *out = table;
    return true;
}

void ig_table_close(struct ig_table *table)
{
    if (!table) return;
    if (table->reader.close) table->reader.close(table->reader.state);
    ig_buf_release(&table->bytes);
    free(table->path);
    free(table);
}

const char *ig_table_format(const struct ig_table *table)
{
    return table->reader.format;
}

int64_t ig_table_count(const struct ig_table *table)
{
    return table->reader.count;
}

bool ig_table_next(struct ig_table *table, struct ig_buf *out, bool *done, struct ig_err *err)
{
    if (table->reader.next(table->reader.state, out, &table->place, done, err)) return true;
    return ig_err_within(err, "'%s'", table->path);
}

int64_t ig_table_place(const struct ig_table *table)
{
    return table->place;
}
